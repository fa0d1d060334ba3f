//! robo's own properties and the installer that they need, the other way round as well.

use std::collections::{HashMap, HashSet};

use robo_model::graph::MountPath;
use robo_model::name::VolumeName;

use crate::block::{Extras, Part};
use crate::code::Code;
use crate::convert::{ComponentId, Graph, Node};
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};

pub(super) fn check(graph: &Graph, nodes: &[Node], sink: &mut Sink) {
    let extended: HashSet<ComponentId> = graph.component_ids().filter_map(|id| graph.component(id).extends).collect();
    let mut instances: HashMap<ComponentId, Place> = HashMap::new();
    for node in nodes {
        if let Some(id) = node.component {
            instances.entry(id).or_insert(node.decl.place);
        }
    }
    for id in graph.component_ids() {
        // Without an installer there is nothing to compare with, and that is a mistake of its own.
        let Some(installer) = graph.installer(id) else { continue };
        // What could not be read may be what is missed here; it was reported.
        let open = graph.component(id).open;
        if open.has(Part::Installer) || open.has(Part::Extras) {
            continue;
        }
        let kind = Kind::of(&installer.value);
        foreign(graph, id, kind, sink);
        // What only others extend may leave to them what is to run.
        let instance = instances.get(&id);
        if instance.is_some() || !extended.contains(&id) {
            missing(graph, id, kind, instance, sink);
        }
        if kind == Kind::Container {
            same_paths(graph, id, sink);
        }
    }
}

/// What the installers are to these properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Process,
    Container,
    Other,
}

impl Kind {
    fn of(installer: &str) -> Self {
        match installer {
            "process" => Self::Process,
            "container" => Self::Container,
            _ => Self::Other,
        }
    }
}

/// A property, where it stands, and which installers know it.
type Use = (String, Place, &'static [Kind]);

const PROCESS: &[Kind] = &[Kind::Process];
const CONTAINER: &[Kind] = &[Kind::Container];
const EITHER: &[Kind] = &[Kind::Process, Kind::Container];

/// Of several variables, or several volumes, the first one in the file.
fn uses(extras: &Extras) -> Vec<Use> {
    let env = extras.env.iter().min_by_key(|(_, value)| value.place);
    let volume = extras.volumes.iter().min_by_key(|(_, path)| path.place);
    let all = [
        extras.run.as_ref().map(|run| ("run".to_owned(), run.place, EITHER)),
        extras.restart.as_ref().map(|restart| ("restart".to_owned(), restart.place, PROCESS)),
        env.map(|(key, value)| (format!("env.{key}"), value.place, EITHER)),
        extras.image.as_ref().map(|image| ("image".to_owned(), image.place, CONTAINER)),
        volume.map(|(name, path)| (format!("volume.{name}"), path.place, CONTAINER)),
        extras.network.as_ref().map(|network| ("network".to_owned(), network.place, CONTAINER)),
    ];
    all.into_iter().flatten().collect()
}

/// Properties of another installer, which would have no effect.
fn foreign(graph: &Graph, id: ComponentId, kind: Kind, sink: &mut Sink) {
    let decl = &graph.component(id).decl;
    for (what, place, installers) in uses(&decl.extras) {
        if installers.contains(&kind) {
            continue;
        }
        let (code, needed, label) = match installers {
            [Kind::Container] => (Code::ImageWithoutContainer, "`installer: container`", "only a container has this"),
            [Kind::Process] => (Code::RunWithoutProcess, "`installer: process`", "only a process has this"),
            _ => (
                Code::RunWithoutProcess,
                "`installer: process` or `installer: container`",
                "only a process or a container has this",
            ),
        };
        let message = format!("`{what}` of `{}` has no effect without {needed}", decl.name.value);
        sink.push(
            Diagnostic::new(code, place, message).label(label).help(format!("write {needed}, or leave the line out")),
        );
    }
}

/// A process without a command, a container without an image.
fn missing(graph: &Graph, id: ComponentId, kind: Kind, instance: Option<&Place>, sink: &mut Sink) {
    let (code, thing, what, property) = match kind {
        Kind::Process if graph.nearest(id, |decl| decl.extras.run.as_ref()).is_none() => {
            (Code::ProcessWithoutRun, "process", "command", "run: command and arguments;")
        }
        Kind::Container if graph.nearest(id, |decl| decl.extras.image.as_ref()).is_none() => {
            (Code::ContainerWithoutImage, "container", "image", "image: registry.example/app:1.4;")
        }
        Kind::Process | Kind::Container | Kind::Other => return,
    };
    let name = &graph.component(id).decl.name;
    let word = property.split(':').next().unwrap_or_default();
    let found = Diagnostic::new(code, name.place, format!("the {thing} `{}` has no {what}", name.value))
        .label(format!("`{word}` is missing in this block"))
        .help(format!("write `{property}`"));
    sink.push(match instance {
        Some(instance) => found.related(*instance, "an instance of it"),
        None => found,
    });
}

/// Two volumes at one place of a container; what it extends counts, and the nearest of one name.
fn same_paths(graph: &Graph, id: ComponentId, sink: &mut Sink) {
    let mut names: HashSet<&VolumeName> = HashSet::new();
    let mut paths: HashMap<&MountPath, (&VolumeName, &Spanned<MountPath>)> = HashMap::new();
    for above in &graph.component(id).lineage {
        for (name, path) in &graph.component(*above).decl.extras.volumes {
            if !names.insert(name) {
                continue;
            }
            if let Some((other, first)) = paths.insert(&path.value, (name, path)) {
                let component = &graph.component(id).decl.name.value;
                let message = format!("the volumes `{other}` and `{name}` of `{component}` have one path");
                let (later, earlier) = if path.place < first.place { (first, path) } else { (path, first) };
                sink.push(
                    Diagnostic::new(Code::InvalidVolume, later.place, message)
                        .label("already taken")
                        .help("choose another path for one of them, or give both one name")
                        .related(earlier.place, "the first volume at this path"),
                );
            }
        }
    }
}
