//! The finished application: components with what they inherit, instances with their copies.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{Application, Component, Container, ExportValue, Installer, Instance, Process, Settings};
use robo_model::name::{ComponentName, InstanceName, InstancePath};

use super::graph::{ComponentId, Graph};
use super::instances::{Applied, Node, value_of};
use crate::block::Extras;
use crate::source::Spanned;

/// Puts the application together; all was checked. `head` has its name and what its block or descriptor says.
pub(crate) fn assemble(head: Application, graph: &Graph, nodes: &[Node]) -> Application {
    let components: Vec<Component> = graph.component_ids().map(|id| component(graph, id)).collect();
    let instances = expand(&components, nodes);
    let components = components.into_iter().map(|component| (component.name.clone(), component)).collect();
    Application { components, instances, ..head }
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
        drift: graph.nearest(id, |decl| decl.extras.drift).unwrap_or_default(),
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

fn expand(components: &[Component], nodes: &[Node]) -> BTreeMap<InstancePath, Instance> {
    // Where the nodes in each one begin, once they are in the order of their parents.
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|i| nodes.get(*i).and_then(|node| node.parent));
    let parent = |i: &usize| nodes.get(*i).and_then(|node| node.parent);
    let children = |above: Option<usize>| {
        let start = order.partition_point(|i| parent(i) < above);
        let end = order.partition_point(|i| parent(i) <= above);
        order.get(start..end).unwrap_or_default()
    };
    let mut instances = Vec::with_capacity(nodes.len());
    let mut queue: Vec<Copy<'_>> = Vec::new();
    for node in children(None) {
        copies(nodes, *node, None, &mut queue);
    }
    last_first(&mut queue, 0);
    while let Some(copy) = queue.pop() {
        let Some(node) = nodes.get(copy.node) else { continue };
        let waiting = queue.len();
        for child in children(Some(copy.node)) {
            copies(nodes, *child, Some(&copy), &mut queue);
        }
        last_first(&mut queue, waiting);
        instances.extend(instance(components, node, copy));
    }
    // They come in the map's order, which makes it without moving them about.
    instances.into_iter().map(|instance| (instance.path.clone(), instance)).collect()
}

/// Sorts neighbours so that the first one is taken first from the end.
fn last_first(queue: &mut [Copy<'_>], from: usize) {
    if let Some(neighbours) = queue.get_mut(from..) {
        neighbours.sort_by(|a, b| b.path.cmp(&a.path));
    }
}

fn copies<'n>(nodes: &'n [Node], id: usize, above: Option<&Copy<'n>>, out: &mut Vec<Copy<'n>>) {
    let Some(node) = nodes.get(id) else { return };
    let plain = &node.decl.name.value;
    let mut copy = |name: &InstanceName, number: u32| {
        let first = number == 1 && above.is_none_or(|above| above.first);
        let address = match above {
            Some(above) => above.address,
            None => node.decl.data.get("ip.address").map(String::as_str).filter(|_| first),
        };
        let path = above.map_or_else(|| InstancePath::root(name), |above| above.path.child(name));
        out.push(Copy { node: id, path, first, address });
    };
    let Some(count) = &node.decl.count else { return copy(plain, 1) };
    let width = count.value.to_string().len();
    for number in 1..=count.value {
        // That it is not too long was checked.
        if let Ok(name) = InstanceName::new(format!("{plain}{number:0width$}")) {
            copy(&name, number);
        }
    }
}

/// Nothing for an instance of an unknown component, which was reported.
fn instance(components: &[Component], node: &Node, copy: Copy<'_>) -> Option<Instance> {
    let component = components.get(node.component?.index())?;
    let mut exports = component.exports.clone();
    for (over, applied) in node.decl.overrides.iter().zip(&node.overrides) {
        let value = || ExportValue::Text(over.value.value.clone());
        match applied {
            Applied::Local(variables) => exports.extend(variables.iter().map(|variable| (variable.clone(), value()))),
            Applied::Full(variable) | Applied::Magic(Some(variable)) => {
                exports.insert(variable.clone(), value());
            }
            Applied::Magic(None) | Applied::Binding | Applied::Unknown => {}
        }
    }
    if let Some(address) = copy.address {
        for (variable, value) in &mut exports {
            if variable.local.as_str().eq_ignore_ascii_case("ip") {
                *value = ExportValue::Text(address.to_owned());
            }
        }
    }
    Some(Instance {
        path: copy.path,
        component: component.name.clone(),
        exports,
        data: if copy.first { node.decl.data.clone() } else { BTreeMap::new() },
        channels: node.decl.channels.clone(),
        binding: node.binding.clone(),
    })
}
