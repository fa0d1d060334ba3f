//! The picture of the instances: what stands on which machine, and what each receives from whom.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::{Application, Instance};
use robo_model::name::{ComponentName, InstancePath};

use super::picture::{Edge, EdgeKind, Node, NodeKind, Picture, Shows};
use super::words;

/// Most arrows of one prefix from instance to instance. Beyond that, importers point to an exchange
/// and providers stand behind it, so that arrows are never more than instances and what they import.
const PAIRS: usize = 64;

/// All instances, on their machines.
pub(crate) fn instances(application: &Application) -> Picture<'_> {
    let mut nodes = Vec::with_capacity(application.instances.len());
    let mut edges = Vec::new();
    let mut at: BTreeMap<&InstancePath, usize> = BTreeMap::new();
    for instance in application.instances.values() {
        let parent = instance.path.parent().and_then(|parent| at.get(&parent).copied());
        let own = nodes.len();
        nodes.push(node(application, instance, &nodes, parent));
        edges.extend(parent.map(|parent| Edge::plain(parent, own, EdgeKind::Contains)));
        at.insert(&instance.path, own);
    }
    for (prefix, asked) in markets(application) {
        trade(prefix, &asked, &mut nodes, &mut edges);
    }
    edges.sort_by_key(|edge| (edge.from, edge.kind));
    let total = application.instances.len();
    Picture { application, shows: Shows::Instances, total, centre: None, nodes, edges }
}

fn node<'a>(
    application: &'a Application,
    instance: &'a Instance,
    nodes: &[Node<'_>],
    parent: Option<usize>,
) -> Node<'a> {
    let component = application.components.get(&instance.component);
    let kind = if application.is_host(instance) { NodeKind::Host } else { NodeKind::Instance };
    let above = parent.and_then(|parent| Some((parent, nodes.get(parent)?)));
    Node {
        component: Some(instance.component.as_str()),
        installer: component.map(|component| component.installer.name()),
        binding: instance.binding.as_ref().map(words::binding),
        gives: words::offers(&instance.component, &instance.exports),
        host: above.and_then(|(at, node)| if node.kind == NodeKind::Host { Some(at) } else { node.host }),
        ..Node::new(Cow::Borrowed(instance.path.as_str()), kind, instance.path.leaf())
    }
}

/// Who asks for a prefix, and who gives it.
#[derive(Debug, Default)]
struct Market<'a> {
    importers: BTreeMap<usize, Wish<'a>>,
    providers: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Wish<'a> {
    variables: BTreeSet<&'a str>,
    needed: bool,
}

/// Within this application only: what comes from others is not known here.
fn markets(application: &Application) -> BTreeMap<&ComponentName, Market<'_>> {
    let mut markets: BTreeMap<&ComponentName, Market<'_>> = BTreeMap::new();
    for (at, instance) in application.instances.values().enumerate() {
        let Some(component) = application.components.get(&instance.component) else { continue };
        for import in component.imports.iter().filter(|import| !import.external) {
            let wish = markets.entry(&import.prefix).or_default().importers.entry(at).or_default();
            wish.variables.insert(import.variable.as_ref().map_or("*", |variable| variable.as_str()));
            wish.needed |= !import.optional;
        }
        for variable in instance.exports.keys() {
            markets.entry(&variable.prefix).or_default().providers.insert(at);
        }
    }
    markets.retain(|_, market| !market.importers.is_empty() && !market.providers.is_empty());
    markets
}

fn trade<'a>(prefix: &'a ComponentName, market: &Market<'a>, nodes: &mut Vec<Node<'a>>, edges: &mut Vec<Edge<'a>>) {
    let arrow = |from: usize, to: usize, wish: &Wish<'a>| Edge {
        from,
        to,
        kind: if wish.needed { EdgeKind::Needs } else { EdgeKind::MayNeed },
        variables: wish.variables.iter().copied().collect(),
        prefix: Some(prefix.as_str()),
    };
    if market.importers.len().saturating_mul(market.providers.len()) > PAIRS {
        let exchange = nodes.len();
        nodes.push(Node::new(format!("exchange {prefix}").into(), NodeKind::Exchange, prefix.as_str()));
        edges.extend(market.importers.iter().map(|(from, wish)| arrow(*from, exchange, wish)));
        edges.extend(market.providers.iter().map(|provider| Edge::plain(*provider, exchange, EdgeKind::Has)));
        return;
    }
    for (from, wish) in &market.importers {
        // An instance never imports from itself.
        let others = market.providers.iter().filter(|provider| *provider != from);
        edges.extend(others.map(|provider| arrow(*from, *provider, wish)));
    }
}
