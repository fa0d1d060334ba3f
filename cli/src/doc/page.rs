//! What stands on the page, whatever renders it.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{AddressKind, Application, Component, ExportValue, Import, Instance};
use robo_model::name::{ComponentName, Variable};

use super::settings;
use crate::draw::words;

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// As a program reads it.
    Code(String),
    /// To a section.
    Link {
        to: String,
        text: String,
    },
}

pub(super) type Line = Vec<Piece>;

/// `label: line`
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) line: Line,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) head: &'static [&'static str],
    /// Each as long as `head`.
    pub(super) rows: Vec<Vec<Line>>,
}

/// A component or facet.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) anchor: String,
    pub(super) name: String,
    /// The installer, or `facet`.
    pub(super) kind: String,
    /// Lines of the comment above it.
    pub(super) note: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) tables: Vec<Table>,
}

/// One instance in the tree.
#[derive(Debug)]
pub(super) struct Leaf {
    /// 0 for a root.
    pub(super) level: usize,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) component: Piece,
    pub(super) facts: Vec<Fact>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) components: Vec<Section>,
    pub(super) facets: Vec<Section>,
    pub(super) instances: Vec<Leaf>,
}

/// The content of the page about `application`.
pub(super) fn page(application: &Application) -> Page {
    let ties = Ties::of(application);
    Page {
        title: application.name.to_string(),
        version: application.version.clone(),
        description: application.description.clone(),
        tags: application.tags.clone(),
        facts: head(application),
        components: application.components.values().map(|c| component(application, c, &ties)).collect(),
        facets: ties.facets.iter().map(|(name, facet)| facet_section(name, facet)).collect(),
        instances: application.instances.values().map(|i| leaf(application, i)).collect(),
    }
}

pub(super) fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

pub(super) fn code(text: impl AsRef<str>) -> Piece {
    Piece::Code(words::printable(text.as_ref()))
}

fn component_link(name: &ComponentName) -> Piece {
    Piece::Link { to: format!("component-{name}"), text: name.to_string() }
}

fn facet_link(name: &ComponentName) -> Piece {
    Piece::Link { to: format!("facet-{name}"), text: name.to_string() }
}

fn listed(pieces: impl IntoIterator<Item = Piece>) -> Line {
    let mut line = Line::new();
    for piece in pieces {
        if !line.is_empty() {
            line.push(text(", "));
        }
        line.push(piece);
    }
    line
}

fn fact(label: &'static str, line: Line) -> Option<Fact> {
    (!line.is_empty()).then_some(Fact { label, line })
}

/// What is written at one end only, seen from the other.
#[derive(Debug, Default)]
struct Ties<'a> {
    parents: BTreeMap<&'a ComponentName, Vec<&'a ComponentName>>,
    /// Who imports from a prefix of this application.
    users: BTreeMap<&'a ComponentName, BTreeSet<&'a ComponentName>>,
    heirs: BTreeMap<&'a ComponentName, Vec<&'a ComponentName>>,
    instances: BTreeMap<&'a ComponentName, usize>,
    facets: BTreeMap<&'a ComponentName, Facet<'a>>,
}

#[derive(Debug, Default)]
struct Facet<'a> {
    members: Vec<&'a ComponentName>,
    users: Vec<&'a ComponentName>,
    variables: BTreeSet<&'a str>,
}

impl<'a> Ties<'a> {
    fn of(application: &'a Application) -> Self {
        let mut ties = Self::default();
        for component in application.components.values() {
            ties.add(application, component);
        }
        for instance in application.instances.values() {
            *ties.instances.entry(&instance.component).or_default() += 1;
        }
        for (name, facet) in &mut ties.facets {
            facet.users = ties.users.get(name).into_iter().flatten().copied().collect();
        }
        ties
    }

    fn add(&mut self, application: &'a Application, component: &'a Component) {
        let name = &component.name;
        for child in &component.children {
            self.parents.entry(child).or_default().push(name);
        }
        for import in component.imports.iter().filter(|import| !import.external) {
            self.users.entry(&import.prefix).or_default().insert(name);
            if !application.components.contains_key(&import.prefix) {
                self.facets.entry(&import.prefix).or_default();
            }
        }
        if let Some(above) = component.lineage.get(1) {
            self.heirs.entry(above).or_default().push(name);
        }
        for facet in &component.facets {
            let known = self.facets.entry(facet).or_default();
            known.members.push(name);
            let own = component.exports.keys().filter(|variable| variable.prefix == *facet);
            known.variables.extend(own.map(|variable| variable.local.as_str()));
        }
    }
}

fn head(application: &Application) -> Vec<Fact> {
    let hosts = application.instances.values().filter(|instance| application.is_host(instance)).count();
    let size = format!(
        "{}, {} on {}",
        words::count(application.components.len(), "component"),
        words::count(application.instances.len(), "instance"),
        words::count(hosts, "host"),
    );
    let prefix = application.exports_prefix.as_ref();
    let outside = application.exports.iter().map(|(variable, name)| {
        let shown = prefix.map_or_else(|| name.to_string(), |prefix| format!("{prefix}.{name}"));
        code(format!("{shown} = {variable}"))
    });
    let facts = [
        fact("Size", vec![text(size)]),
        fact("Gives to other applications", listed(outside)),
        fact("Rollout", application.rollout.iter().map(|rollout| code(rollout.to_string())).collect()),
    ];
    facts.into_iter().flatten().collect()
}

fn component(application: &Application, component: &Component, ties: &Ties<'_>) -> Section {
    let name = &component.name;
    let links = |names: Option<&Vec<&ComponentName>>| listed(names.into_iter().flatten().map(|n| component_link(n)));
    let users = ties.users.get(name).into_iter().flatten();
    let facts = [
        fact("Extends", component.lineage.get(1).map(component_link).into_iter().collect()),
        fact("Extended by", links(ties.heirs.get(name))),
        fact("Facets", listed(component.facets.iter().map(facet_link))),
        fact("May stand on", links(ties.parents.get(name))),
        fact("May carry", listed(component.children.iter().map(component_link))),
        fact("Needed by", listed(users.map(|user| component_link(user)))),
        fact("Instances", vec![text(ties.instances.get(name).copied().unwrap_or_default().to_string())]),
    ];
    let note = component.annotation.iter().flat_map(|note| note.lines());
    let tables = [exports(component), imports(application, component), settings::table(component)];
    Section {
        anchor: format!("component-{name}"),
        name: name.to_string(),
        kind: component.installer.name().to_owned(),
        note: note.map(|line| words::printable(line.trim())).collect(),
        facts: facts.into_iter().flatten().collect(),
        tables: tables.into_iter().filter(|table| !table.rows.is_empty()).collect(),
    }
}

fn exports(component: &Component) -> Table {
    let row = |(variable, export): (&Variable, &ExportValue)| {
        let prefix = &variable.prefix;
        let from = if *prefix == component.name {
            Line::new()
        } else if component.facets.contains(prefix) {
            vec![text("as "), facet_link(prefix)]
        } else {
            vec![text("as "), component_link(prefix)]
        };
        vec![vec![code(variable.local.as_str())], vec![value(export)], from]
    };
    let (own, others): (Vec<_>, Vec<_>) = component.exports.iter().partition(|(v, _)| v.prefix == component.name);
    Table { title: "Gives", head: &["Variable", "Value", ""], rows: own.into_iter().chain(others).map(row).collect() }
}

fn value(value: &ExportValue) -> Piece {
    match value {
        ExportValue::Text(text) => code(text),
        ExportValue::Address => text("the machine's address"),
        ExportValue::Addresses(AddressKind::V4) => text("the machine's IPv4 address"),
        ExportValue::Addresses(AddressKind::V6) => text("the machine's IPv6 address"),
        ExportValue::Addresses(AddressKind::All) => text("all the machine's addresses"),
        ExportValue::RandomPort => text("a port that robo picks once and keeps"),
        ExportValue::Missing => text("set by each instance"),
    }
}

fn imports(application: &Application, component: &Component) -> Table {
    let row = |import: &Import| {
        let from = if import.external {
            code(import.prefix.as_str())
        } else if application.components.contains_key(&import.prefix) {
            component_link(&import.prefix)
        } else {
            facet_link(&import.prefix)
        };
        let variable = import.variable.as_ref().map_or_else(|| text("all"), |variable| code(variable.as_str()));
        let kind = if import.optional { "taken when it is there" } else { "must be there" };
        let outside = if import.external { ", from another application" } else { "" };
        vec![vec![variable], vec![from], vec![text(format!("{kind}{outside}"))]]
    };
    Table { title: "Needs", head: &["Variable", "From", ""], rows: component.imports.iter().map(row).collect() }
}

fn facet_section(name: &ComponentName, facet: &Facet<'_>) -> Section {
    let facts = [
        fact("Variables", listed(facet.variables.iter().map(code))),
        fact("Components", listed(facet.members.iter().map(|member| component_link(member)))),
        fact("Needed by", listed(facet.users.iter().map(|user| component_link(user)))),
    ];
    Section {
        anchor: format!("facet-{name}"),
        name: name.to_string(),
        kind: "facet".into(),
        note: Vec::new(),
        facts: facts.into_iter().flatten().collect(),
        tables: Vec::new(),
    }
}

fn leaf(application: &Application, instance: &Instance) -> Leaf {
    let facts = [
        fact("Machine", instance.binding.iter().map(|binding| text(words::binding(binding))).collect()),
        fact("Differs", differences(application, instance)),
        fact("Data", listed(instance.data.iter().map(|(key, value)| code(format!("{key} = {value}"))))),
    ];
    Leaf {
        level: instance.path.depth().saturating_sub(1),
        name: instance.path.leaf().to_owned(),
        path: instance.path.to_string(),
        component: component_link(&instance.component),
        facts: facts.into_iter().flatten().collect(),
    }
}

/// What this instance exports otherwise than its component says.
fn differences(application: &Application, instance: &Instance) -> Line {
    let general = application.components.get(&instance.component).map(|component| &component.exports);
    let changed = instance.exports.iter().filter(|(variable, export)| {
        let before = general.and_then(|general| general.get(*variable));
        before != Some(*export)
    });
    listed(changed.map(|(variable, export)| {
        let own = variable.prefix == instance.component;
        let name = if own { variable.local.to_string() } else { variable.to_string() };
        match export {
            ExportValue::Text(text) => code(format!("{name} = {text}")),
            ExportValue::Address | ExportValue::Addresses(_) | ExportValue::RandomPort | ExportValue::Missing => {
                code(name)
            }
        }
    }))
}
