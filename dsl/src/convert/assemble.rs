//! The finished application: components with what they inherit, instances with their copies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use robo_model::graph::{Application, Component, Container, ExportValue, Installer, Instance, Process, Settings};
use robo_model::limits::MAX_INSTANCES;
use robo_model::name::{ComponentName, InstanceName, InstancePath};

use super::graph::{ComponentId, Graph};
use super::instances::{MAX_EXPORTED, Node, too_many, value_of};
use crate::block::Extras;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::Spanned;

/// Puts the application together. `head` has its name and what its block or descriptor says.
pub(crate) fn assemble(head: Application, graph: &Graph, nodes: &[Node], sink: &mut Sink) -> Application {
    let components =
        graph.component_ids().map(|id| (graph.component(id).decl.name.value.clone(), component(graph, id))).collect();
    Application { components, instances: expand(graph, nodes, sink), ..head }
}

fn component(graph: &Graph, id: ComponentId) -> Component {
    let source = graph.component(id);
    let name = |id: &ComponentId| graph.component(*id).decl.name.value.clone();
    Component {
        name: name(&id),
        annotation: source.decl.annotation.clone(),
        lineage: source.lineage.iter().map(name).collect(),
        facets: source.all_facets.iter().map(|facet| graph.facet(*facet).decl.name.value.clone()).collect(),
        installer: installer(graph, id),
        children: source.all_children.iter().map(name).collect::<BTreeSet<ComponentName>>(),
        exports: source
            .exports
            .iter()
            .map(|(variable, export)| (variable.clone(), value_of(&source.decl.name.value, variable, &export.source)))
            .collect(),
        imports: source.imports.iter().map(|import| import.import.clone()).collect(),
        settings: settings(graph, id),
    }
}

fn installer(graph: &Graph, id: ComponentId) -> Installer {
    let name = graph.installer(id).map_or("", |installer| installer.value.as_str());
    let other = || Installer::Other { name: name.to_owned() };
    match name {
        name if name.eq_ignore_ascii_case("target") => Installer::Target,
        "script" => Installer::Script,
        "process" => Installer::Process(process(graph, id)),
        "container" => container(graph, id).map_or_else(other, Installer::Container),
        "logger" => Installer::Logger,
        _ => other(),
    }
}

/// What the lineage says by key: it adds up, the nearest wins.
fn added<'g, K: Clone + Ord + 'g, V: Clone + 'g>(
    graph: &'g Graph,
    id: ComponentId,
    pick: impl Fn(&'g Extras) -> &'g BTreeMap<K, Spanned<V>>,
) -> BTreeMap<K, V> {
    let lineage = graph.component(id).lineage.iter().rev();
    let all = lineage.flat_map(|above| pick(&graph.component(*above).decl.extras));
    all.map(|(key, value)| (key.clone(), value.value.clone())).collect()
}

/// The nearest image, command and network; volumes and environments add up. Nothing for a component without an image,
/// which only others extend.
fn container(graph: &Graph, id: ComponentId) -> Option<Container> {
    let image = graph.nearest(id, |decl| decl.extras.image.as_ref())?;
    Some(Container {
        image: image.value.clone(),
        run: graph.nearest(id, |decl| decl.extras.run.as_ref()).map(|run| run.value.clone()),
        env: added(graph, id, |extras| &extras.env),
        volumes: added(graph, id, |extras| &extras.volumes),
        network: graph.nearest(id, |decl| decl.extras.network.as_ref()).map(|network| network.value.clone()),
    })
}

/// The nearest command and policy; environments add up.
fn process(graph: &Graph, id: ComponentId) -> Process {
    let run = graph.nearest(id, |decl| decl.extras.run.as_ref());
    let restart = graph.nearest(id, |decl| decl.extras.restart.as_ref());
    Process {
        run: run.map(|run| run.value.clone()).unwrap_or_default(),
        restart: restart.map(|restart| restart.value).unwrap_or_default(),
        env: added(graph, id, |extras| &extras.env),
    }
}

fn settings(graph: &Graph, id: ComponentId) -> Settings {
    Settings {
        user: graph.nearest(id, |decl| decl.extras.user.as_ref()).map(|user| user.value.clone()),
        deploy_timeout: graph.nearest(id, |decl| decl.extras.deploy_timeout),
        start_timeout: graph.nearest(id, |decl| decl.extras.start_timeout),
        stop_timeout: graph.nearest(id, |decl| decl.extras.stop_timeout),
        check: graph.nearest(id, |decl| decl.extras.check.as_ref()).map(|check| check.check.clone()),
        lease: graph.nearest(id, |decl| decl.extras.lease),
        memory: graph.nearest(id, |decl| decl.extras.memory),
        cpu: graph.nearest(id, |decl| decl.extras.cpu),
        rollout: graph.nearest(id, |decl| decl.extras.rollout.as_ref()).cloned(),
    }
}

/// One copy of a declared instance.
struct Copy<'n> {
    node: usize,
    path: InstancePath,
    /// Copies after the first one, and what stands in them, have no data, as in the original.
    first: bool,
    /// The address that the root's data gives, if it is the first copy.
    address: Option<&'n str>,
}

fn expand(graph: &Graph, nodes: &[Node], sink: &mut Sink) -> BTreeMap<InstancePath, Instance> {
    let mut instances = BTreeMap::new();
    if !few_enough(nodes, sink) {
        return instances;
    }
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        children.entry(node.parent).or_default().push(i);
    }
    let mut owners: HashMap<InstancePath, usize> = HashMap::new();
    let none = Vec::new();
    let mut queue: Vec<Copy<'_>> = Vec::new();
    for node in children.get(&None).unwrap_or(&none) {
        queue.extend(copies(nodes, *node, None, sink));
    }
    while let Some(copy) = queue.pop() {
        let Some(node) = nodes.get(copy.node) else { continue };
        for child in children.get(&Some(copy.node)).unwrap_or(&none) {
            queue.extend(copies(nodes, *child, Some(&copy), sink));
        }
        let instance = instance(graph, node, &copy);
        instances.insert(copy.path.clone(), instance);
        if let Some(other) = owners.insert(copy.path.clone(), copy.node).and_then(|other| nodes.get(other)) {
            conflict(node, other, &copy.path, sink);
        }
    }
    instances
}

fn copies<'n>(nodes: &'n [Node], id: usize, above: Option<&Copy<'n>>, sink: &mut Sink) -> Vec<Copy<'n>> {
    let Some(node) = nodes.get(id) else { return Vec::new() };
    let count = node.decl.count.as_ref().map_or(1, |count| count.value);
    let width = count.to_string().len();
    let mut out = Vec::new();
    for number in 1..=count {
        let plain = &node.decl.name.value;
        let name = if count == 1 {
            plain.clone()
        } else {
            match InstanceName::new(format!("{plain}{number:0width$}")) {
                Ok(name) => name,
                Err(error) => {
                    sink.push(
                        Diagnostic::new(Code::NameTooLong, node.name().place, error.to_string())
                            .label("with the number of the copy"),
                    );
                    return out;
                }
            }
        };
        let first = number == 1 && above.is_none_or(|above| above.first);
        let address = match above {
            Some(above) => above.address,
            None => node.decl.data.get("ip.address").map(String::as_str).filter(|_| first),
        };
        let path = above.map_or_else(|| InstancePath::root(&name), |above| above.path.child(&name));
        out.push(Copy { node: id, path, first, address });
    }
    out
}

fn instance(graph: &Graph, node: &Node, copy: &Copy<'_>) -> Instance {
    let mut exports = node.exports.clone();
    if let Some(address) = copy.address {
        for (variable, value) in &mut exports {
            if variable.local.as_str().eq_ignore_ascii_case("ip") {
                *value = ExportValue::Text(address.to_owned());
            }
        }
    }
    Instance {
        path: copy.path.clone(),
        component: graph.component(node.component).decl.name.value.clone(),
        exports,
        data: if copy.first { node.decl.data.clone() } else { BTreeMap::new() },
        channels: node.decl.channels.clone(),
        binding: node.binding.clone(),
    }
}

fn few_enough(nodes: &[Node], sink: &mut Sink) -> bool {
    let mut sizes: Vec<usize> = Vec::with_capacity(nodes.len());
    let (mut total, mut exports) = (0_usize, 0_usize);
    for node in nodes {
        let count = node.decl.count.as_ref().map_or(1, |count| usize::try_from(count.value).unwrap_or(usize::MAX));
        let above = node.parent.and_then(|parent| sizes.get(parent).copied()).unwrap_or(1);
        let size = count.saturating_mul(above);
        sizes.push(size);
        total = total.saturating_add(size);
        exports = exports.saturating_add(size.saturating_mul(node.exports.len()));
        if total > MAX_INSTANCES || exports > MAX_EXPORTED {
            let place = node.decl.count.as_ref().map_or(node.name().place, |count| count.place);
            sink.push(too_many(place));
            return false;
        }
    }
    true
}

/// Neighbours have different names as written, so one of the two at least is a copy.
fn conflict(one: &Node, other: &Node, path: &InstancePath, sink: &mut Sink) {
    let (copied, met) = if one.decl.count.is_some() { (one, other) } else { (other, one) };
    sink.push(
        Diagnostic::new(
            Code::ConflictingInferredInstance,
            copied.name().place,
            format!("`count` makes a second instance `{path}`"),
        )
        .label("one of its copies meets another instance")
        .help("choose a name that no copy gets: copies are the name and a number")
        .related(met.name().place, "this instance"),
    );
}
