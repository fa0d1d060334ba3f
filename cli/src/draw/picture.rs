//! Boxes and arrows as data.

use std::borrow::Cow;

use robo_model::graph::Application;
use serde::Serialize;

/// What is drawn of an application.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) application: &'a Application,
    pub(crate) shows: Shows,
    /// Components or instances; for the size of the whole when only a part is drawn.
    pub(crate) total: usize,
    /// The component whose neighbourhood this is.
    pub(crate) centre: Option<usize>,
    pub(crate) nodes: Vec<Node<'a>>,
    /// By `from`, then in the order in which they are to be read.
    pub(crate) edges: Vec<Edge<'a>>,
}

/// What the boxes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shows {
    Components,
    Instances,
}

/// A box.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    /// Unique in its picture.
    pub(crate) id: Cow<'a, str>,
    pub(crate) kind: NodeKind,
    /// The component's name, or the last part of the instance's path.
    pub(crate) name: &'a str,
    /// What an instance is.
    pub(crate) component: Option<&'a str>,
    pub(crate) installer: Option<&'a str>,
    /// Which machine a host is, as the file says it.
    pub(crate) binding: Option<String>,
    /// Facets of a component, and what it extends.
    pub(crate) facets: Vec<&'a str>,
    pub(crate) extends: Option<&'a str>,
    /// `port = 8080`: what it exports, by local name.
    pub(crate) gives: Vec<String>,
    /// The host that an instance lives on, for boxes in boxes; never itself.
    pub(crate) host: Option<usize>,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeKind {
    Component,
    /// Only facets that something imports from.
    Facet,
    /// The prefix of another application.
    External,
    /// An instance that is a machine.
    Host,
    Instance,
    /// A prefix that many instances import from many.
    Exchange,
}

/// An arrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kind: EdgeKind,
    /// The imported variables by local name, `*` for all.
    pub(crate) variables: Vec<&'a str>,
    /// The prefix of an import between instances.
    pub(crate) prefix: Option<&'a str>,
}

/// What an arrow says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdgeKind {
    /// An instance of the second may stand, or stands, below the first.
    Contains,
    /// The first needs variables of the second.
    Needs,
    /// The first takes variables of the second when they are there.
    MayNeed,
    /// The first has the facet, or gives to the exchange.
    Has,
    /// The first inherits from the second.
    Extends,
}

impl EdgeKind {
    pub(crate) const fn is_import(self) -> bool {
        matches!(self, Self::Needs | Self::MayNeed)
    }
}

impl<'a> Node<'a> {
    /// A box with nothing in it.
    pub(crate) const fn new(id: Cow<'a, str>, kind: NodeKind, name: &'a str) -> Self {
        Self {
            id,
            kind,
            name,
            component: None,
            installer: None,
            binding: None,
            facets: Vec::new(),
            extends: None,
            gives: Vec::new(),
            host: None,
        }
    }
}

impl<'a> Edge<'a> {
    /// An arrow without a text.
    pub(crate) const fn plain(from: usize, to: usize, kind: EdgeKind) -> Self {
        Self { from, to, kind, variables: Vec::new(), prefix: None }
    }
}

/// The edges at each node, by index.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) out: Vec<Vec<usize>>,
    pub(crate) into: Vec<Vec<usize>>,
    /// Those of `into` that are imports.
    pub(crate) users: Vec<Vec<usize>>,
    /// Those of `into` that come from who has the facet.
    pub(crate) members: Vec<Vec<usize>>,
}

impl Picture<'_> {
    /// Who is at which end of which edge.
    pub(crate) fn links(&self) -> Links {
        let none = || vec![Vec::new(); self.nodes.len()];
        let mut links = Links { out: none(), into: none(), users: none(), members: none() };
        let put = |lists: &mut Vec<Vec<usize>>, node: usize, at| {
            if let Some(list) = lists.get_mut(node) {
                list.push(at);
            }
        };
        for (at, edge) in self.edges.iter().enumerate() {
            put(&mut links.out, edge.from, at);
            put(&mut links.into, edge.to, at);
            match edge.kind {
                EdgeKind::Needs | EdgeKind::MayNeed => put(&mut links.users, edge.to, at),
                EdgeKind::Has => put(&mut links.members, edge.to, at),
                EdgeKind::Contains | EdgeKind::Extends => {}
            }
        }
        links
    }
}
