//! Instances that wait for each other, so that none of them ever starts.

use std::collections::BTreeMap;

use robo_model::name::{ApplicationName, InstancePath};
use robo_model::state::InstanceState;
use robo_wire::api::{InstanceView, Status};

use super::paint::Palette;

/// Most instances of a circle that are named.
const NAMED: usize = 8;

/// Says who waits for whom, when some instances wait for each other in a circle; empty when none do.
pub(crate) fn told(status: &Status, palette: Palette) -> String {
    let Some(circle) = circle(status) else { return String::new() };
    let name = |view: &InstanceView| view.path.to_string();
    let after = circle.iter().cycle().skip(1);
    let mut waits: Vec<String> = circle
        .iter()
        .zip(after)
        .take(NAMED)
        .map(|(one, next)| format!("{} waits for {}", name(one), name(next)))
        .collect();
    if circle.len() > NAMED {
        waits.push("…".to_owned());
    }
    format!(
        "{} these wait for each other: {}\n  {} make one of these imports `(optional)`, so that one of them can start\n",
        palette.busy("warning:"),
        waits.join(", "),
        palette.hint("→"),
    )
}

/// What is waited for, as a node of the graph: instances, and between them the prefixes that several may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// By its place among those that wait.
    Instance(usize),
    /// By its place among the prefixes.
    Prefix(usize),
}

/// The first circle among those that wait, in order.
fn circle(status: &Status) -> Option<Vec<&InstanceView>> {
    let waits = |view: &&InstanceView| {
        matches!(view.state, InstanceState::Unresolved | InstanceState::WaitingForAncestor) && view.report.is_some()
    };
    let waiting: Vec<&InstanceView> = status.instances.iter().filter(waits).collect();
    let graph = Graph::new(&waiting);
    let mut seen = Seen { instances: vec![Mark::New; waiting.len()], prefixes: vec![Mark::New; graph.offered.len()] };
    for start in 0..waiting.len() {
        if let Some(nodes) = walk(&graph, &mut seen, Node::Instance(start)) {
            let instances = nodes.into_iter().filter_map(|node| match node {
                Node::Instance(at) => waiting.get(at).copied(),
                Node::Prefix(_) => None,
            });
            return Some(instances.collect());
        }
    }
    None
}

/// Who waits for what, linear in what is waited for.
struct Graph {
    /// What each instance waits for.
    needs: Vec<Vec<Node>>,
    /// Who could give each prefix, of those that wait themselves.
    offered: Vec<Vec<usize>>,
}

impl Graph {
    fn new(waiting: &[&InstanceView]) -> Self {
        let mut paths: BTreeMap<(&ApplicationName, &InstancePath), usize> = BTreeMap::new();
        let mut prefixes: BTreeMap<(&ApplicationName, &str), usize> = BTreeMap::new();
        let mut offered: Vec<Vec<usize>> = Vec::new();
        for (at, view) in waiting.iter().enumerate() {
            paths.insert((&view.application, &view.path), at);
            let prefix = *prefixes.entry((&view.application, view.component.as_str())).or_insert_with(|| {
                offered.push(Vec::new());
                offered.len() - 1
            });
            if let Some(list) = offered.get_mut(prefix) {
                list.push(at);
            }
        }
        let node = |view: &InstanceView, wait: &str| {
            if wait.starts_with('/') {
                let path: InstancePath = wait.parse().ok()?;
                return paths.get(&(&view.application, &path)).copied().map(Node::Instance);
            }
            let prefix = wait.split_once('.').map_or(wait, |(prefix, _)| prefix);
            prefixes.get(&(&view.application, prefix)).copied().map(Node::Prefix)
        };
        let needs = waiting.iter().map(|view| {
            let waits = view.report.iter().flat_map(|report| &report.waits_for);
            let mut nodes: Vec<Node> = waits.filter_map(|wait| node(view, wait)).collect();
            nodes.dedup();
            nodes
        });
        Self { needs: needs.collect(), offered }
    }

    fn next(&self, node: Node, turn: usize) -> Option<Node> {
        match node {
            Node::Instance(at) => self.needs.get(at)?.get(turn).copied(),
            Node::Prefix(at) => self.offered.get(at)?.get(turn).copied().map(Node::Instance),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    /// On the way that is walked.
    Here,
    /// No circle begins here.
    Done,
}

struct Seen {
    instances: Vec<Mark>,
    prefixes: Vec<Mark>,
}

impl Seen {
    fn mark(&mut self, node: Node) -> Option<&mut Mark> {
        match node {
            Node::Instance(at) => self.instances.get_mut(at),
            Node::Prefix(at) => self.prefixes.get_mut(at),
        }
    }

    fn of(&mut self, node: Node) -> Mark {
        self.mark(node).map_or(Mark::Done, |mark| *mark)
    }

    fn set(&mut self, node: Node, to: Mark) {
        if let Some(mark) = self.mark(node) {
            *mark = to;
        }
    }
}

/// Walks from `start`, deep first and without recursion; gives the nodes of the first circle.
fn walk(graph: &Graph, seen: &mut Seen, start: Node) -> Option<Vec<Node>> {
    if seen.of(start) != Mark::New {
        return None;
    }
    seen.set(start, Mark::Here);
    let mut way = vec![(start, 0)];
    while let Some((node, turn)) = way.last_mut() {
        let Some(next) = graph.next(*node, *turn) else {
            seen.set(*node, Mark::Done);
            way.pop();
            continue;
        };
        *turn += 1;
        match seen.of(next) {
            Mark::New => {
                seen.set(next, Mark::Here);
                way.push((next, 0));
            }
            Mark::Here => return Some(way.iter().map(|(node, _)| *node).skip_while(|node| *node != next).collect()),
            Mark::Done => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::view;

    fn check(instances: &[(&str, &str, &[&str])], expect: &str) {
        let instances = instances.iter().map(|(path, component, waits)| {
            let mut view = view(path, component, "one", InstanceState::Unresolved);
            view.report.as_mut().unwrap().waits_for = waits.iter().map(|w| (*w).to_owned()).collect();
            view
        });
        let status = Status { cursor: 0, applications: vec![], instances: instances.collect() };
        let text = told(&status, Palette::new(false));
        assert_eq!(text.lines().next().unwrap_or_default(), expect);
    }

    #[test]
    fn who_waits_for_whom_is_said() {
        check(
            &[("/vm/a", "A", &["B.ip", "B.port"]), ("/vm/b", "B", &["A.*"])],
            "warning: these wait for each other: /vm/a waits for /vm/b, /vm/b waits for /vm/a",
        );
        check(&[("/vm/a", "A", &["B.ip"]), ("/vm/b", "B", &["C.ip"])], "");
        check(
            &[("/vm/x", "X", &["A.ip"]), ("/vm/a", "A", &["B.ip"]), ("/vm/b", "B", &["/vm/a"])],
            "warning: these wait for each other: /vm/a waits for /vm/b, /vm/b waits for /vm/a",
        );
        check(&[("/vm/a", "A", &["A.ip"])], "warning: these wait for each other: /vm/a waits for /vm/a");
        check(&[], "");
    }

    #[test]
    fn many_that_wait_for_many_are_quickly_seen() {
        let many: Vec<_> = (0..5_000).map(|i| (format!("/vm/a{i}"), format!("/vm/b{i}"))).collect();
        let mut instances: Vec<(&str, &str, &[&str])> = Vec::new();
        for (a, b) in &many {
            instances.push((a, "A", &["B.ip"]));
            instances.push((b, "B", &["C.ip"]));
        }
        check(&instances, "");
    }
}
