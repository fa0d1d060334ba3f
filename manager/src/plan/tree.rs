//! The instances of an application in the order of their paths, each with its parent and its host.

use robo_model::graph::{Application, Component, Installer, Instance};
use robo_model::limits::MAX_INSTANCES;
use robo_model::name::InstancePath;

use super::problem::{Problem, Problems};

/// One instance where it stands.
pub(super) struct Node<'a> {
    pub(super) instance: &'a Instance,
    pub(super) component: &'a Component,
    /// The position of its parent.
    pub(super) parent: Option<usize>,
    /// The position of the host instance it lives on, which may be itself.
    pub(super) host: Option<usize>,
}

impl Node<'_> {
    pub(super) fn is_host(&self) -> bool {
        self.component.installer == Installer::Target
    }
}

/// All instances; a parent stands before its children.
pub(super) struct Tree<'a> {
    pub(super) application: &'a Application,
    pub(super) nodes: Vec<Node<'a>>,
}

impl<'a> Tree<'a> {
    /// Lines them up. An instance that is wrong is told of and left out.
    pub(super) fn new(application: &'a Application, problems: &mut Problems) -> Self {
        let count = application.instances.len();
        if count > MAX_INSTANCES {
            problems.add(|| Problem::TooManyInstances { count });
            return Self { application, nodes: Vec::new() };
        }
        let known: Vec<(&Instance, &Component)> = application
            .instances
            .values()
            .filter_map(|instance| {
                let component = application.components.get(&instance.component);
                if component.is_none() {
                    problems.add(|| Problem::UnknownComponent {
                        path: instance.path.clone(),
                        component: instance.component.clone(),
                    });
                }
                Some((instance, component?))
            })
            .collect();
        let parents = parents(known.iter().map(|(instance, _)| &instance.path));
        let mut nodes: Vec<Node<'a>> = Vec::with_capacity(known.len());
        for ((instance, component), parent) in known.into_iter().zip(parents) {
            let above = parent.and_then(|p| nodes.get(p)).and_then(|node| node.host);
            let host = if component.installer == Installer::Target { Some(nodes.len()) } else { above };
            if host.is_none() {
                problems.add(|| Problem::NoHost { path: instance.path.clone() });
            }
            nodes.push(Node { instance, component, parent, host });
        }
        Self { application, nodes }
    }
}

/// The position of the nearest ancestor of each path, for paths in their order.
pub(super) fn parents<'a>(paths: impl Iterator<Item = &'a InstancePath>) -> Vec<Option<usize>> {
    let mut open: Vec<(usize, &InstancePath)> = Vec::new();
    paths
        .enumerate()
        .map(|(position, path)| {
            while open.last().is_some_and(|(_, above)| !path.is_within(above)) {
                open.pop();
            }
            let parent = open.last().map(|(above, _)| *above);
            open.push((position, path));
            parent
        })
        .collect()
}
