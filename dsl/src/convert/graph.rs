//! Components and facets with their names looked up.

use std::collections::{HashMap, HashSet};

use robo_model::name::{ComponentName, Variable};

use super::exports::Export;
use crate::block::{ComponentDecl, FacetDecl, ImportDecl};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// A component, by its place in [`Graph::components`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ComponentId(pub(super) usize);

/// A facet, by its place in [`Graph::facets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FacetId(pub(super) usize);

/// Who may stand in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildRef {
    Component(ComponentId),
    Facet(FacetId),
}

/// All components and facets, in the order they were read.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    components: Vec<Component>,
    facets: Vec<Facet>,
    component_ids: HashMap<ComponentName, ComponentId>,
    facet_ids: HashMap<ComponentName, FacetId>,
}

/// A component and what it has, its own and inherited.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) decl: ComponentDecl,
    pub(crate) extends: Option<ComponentId>,
    pub(crate) facets: Vec<FacetId>,
    pub(crate) children: Vec<ChildRef>,
    /// Itself, then what it extends, nearest first; each once, also in a circle.
    pub(crate) lineage: Vec<ComponentId>,
    /// It extends itself in the end.
    pub(crate) in_circle: bool,
    /// Its own facets, inherited ones and those they extend.
    pub(crate) all_facets: Vec<FacetId>,
    /// Every component whose instances may stand in one of this.
    pub(crate) all_children: Vec<ComponentId>,
    /// Every component in whose instances one of this may stand.
    pub(crate) parents: Vec<ComponentId>,
    pub(crate) exports: std::collections::BTreeMap<Variable, Export>,
    pub(crate) imports: Vec<ImportDecl>,
}

/// A facet.
#[derive(Debug)]
pub(crate) struct Facet {
    pub(crate) decl: FacetDecl,
    pub(crate) extends: Vec<FacetId>,
    pub(crate) children: Vec<ChildRef>,
    /// Components that name it themselves.
    pub(crate) users: Vec<ComponentId>,
}

impl Graph {
    #[expect(clippy::indexing_slicing, reason = "an id is made from a place in this list, which only grows")]
    pub(crate) fn component(&self, id: ComponentId) -> &Component {
        &self.components[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "an id is made from a place in this list, which only grows")]
    pub(super) fn component_mut(&mut self, id: ComponentId) -> &mut Component {
        &mut self.components[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "an id is made from a place in this list, which only grows")]
    pub(crate) fn facet(&self, id: FacetId) -> &Facet {
        &self.facets[id.0]
    }

    pub(crate) fn component_ids(&self) -> impl Iterator<Item = ComponentId> + use<> {
        (0..self.components.len()).map(ComponentId)
    }

    pub(crate) fn facet_ids(&self) -> impl Iterator<Item = FacetId> + use<> {
        (0..self.facets.len()).map(FacetId)
    }

    pub(crate) fn find(&self, name: &str) -> Option<ComponentId> {
        self.component_ids.get(name).copied()
    }

    pub(crate) fn find_facet(&self, name: &str) -> Option<FacetId> {
        self.facet_ids.get(name).copied()
    }

    pub(crate) fn component_names(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|component| component.decl.name.value.as_str())
    }

    pub(crate) fn facet_names(&self) -> impl Iterator<Item = &str> {
        self.facets.iter().map(|facet| facet.decl.name.value.as_str())
    }

    /// The nearest of something along what a component extends, its own first.
    pub(crate) fn nearest<'g, T>(
        &'g self,
        id: ComponentId,
        pick: impl Fn(&'g ComponentDecl) -> Option<T>,
    ) -> Option<T> {
        self.component(id).lineage.iter().find_map(|above| pick(&self.component(*above).decl))
    }

    /// The installer as written, inherited where the component has none.
    pub(crate) fn installer(&self, id: ComponentId) -> Option<&Spanned<String>> {
        self.nearest(id, |decl| decl.installer.as_ref())
    }

    /// Instances of it are machines.
    pub(crate) fn is_host(&self, id: ComponentId) -> bool {
        self.installer(id).is_some_and(|installer| installer.value.eq_ignore_ascii_case("target"))
    }
}

/// Looks up every name that components and facets use, then applies inheritance.
pub(crate) fn graph(components: Vec<ComponentDecl>, facets: Vec<FacetDecl>, sink: &mut Sink) -> Graph {
    let mut graph = Graph::default();
    let mut definitions: HashMap<ComponentName, Vec<Place>> = HashMap::new();
    for decl in components {
        definitions.entry(decl.name.value.clone()).or_default().push(decl.name.place);
        graph.add_component(decl);
    }
    report_duplicates(graph.components.iter().map(|c| &c.decl.name), &definitions, Code::DuplicateComponent, sink);
    let mut definitions: HashMap<ComponentName, Vec<Place>> = HashMap::new();
    for decl in facets {
        definitions.entry(decl.name.value.clone()).or_default().push(decl.name.place);
        graph.add_facet(decl);
    }
    report_duplicates(graph.facets.iter().map(|f| &f.decl.name), &definitions, Code::DuplicateFacet, sink);
    conflicts(&graph, sink);
    for id in graph.component_ids() {
        link_component(&mut graph, id, sink);
    }
    for id in graph.facet_ids() {
        link_facet(&mut graph, id, sink);
    }
    super::inherit::apply(&mut graph, sink);
    graph
}

impl Graph {
    /// The first declaration of a name wins.
    fn add_component(&mut self, decl: ComponentDecl) {
        let id = ComponentId(self.components.len());
        if let std::collections::hash_map::Entry::Vacant(free) = self.component_ids.entry(decl.name.value.clone()) {
            free.insert(id);
            self.components.push(Component {
                decl,
                extends: None,
                facets: Vec::new(),
                children: Vec::new(),
                lineage: Vec::new(),
                in_circle: false,
                all_facets: Vec::new(),
                all_children: Vec::new(),
                parents: Vec::new(),
                exports: std::collections::BTreeMap::new(),
                imports: Vec::new(),
            });
        }
    }

    fn add_facet(&mut self, decl: FacetDecl) {
        let id = FacetId(self.facets.len());
        if let std::collections::hash_map::Entry::Vacant(free) = self.facet_ids.entry(decl.name.value.clone()) {
            free.insert(id);
            self.facets.push(Facet { decl, extends: Vec::new(), children: Vec::new(), users: Vec::new() });
        }
    }

    fn child(&self, name: &str) -> Option<ChildRef> {
        let component = self.find(name).map(ChildRef::Component);
        component.or_else(|| self.find_facet(name).map(ChildRef::Facet))
    }
}

/// One diagnostic for each declaration of a name that has several.
fn report_duplicates<'a>(
    names: impl Iterator<Item = &'a Spanned<ComponentName>>,
    definitions: &HashMap<ComponentName, Vec<Place>>,
    code: Code,
    sink: &mut Sink,
) {
    let noun = if code == Code::DuplicateFacet { "facet" } else { "component" };
    for name in names {
        let places = definitions.get(&name.value).map_or(&[] as &[Place], Vec::as_slice);
        let [first, others @ ..] = places else { continue };
        let Some(second) = others.first() else { continue };
        for (i, place) in places.iter().enumerate() {
            let (there, label) = if i == 0 { (second, "defined again here") } else { (first, "first defined here") };
            sink.push(
                Diagnostic::new(code, *place, format!("the {noun} `{}` is defined {} times", name.value, places.len()))
                    .label("one of its definitions")
                    .help("keep one, or give them different names")
                    .related(*there, label),
            );
        }
    }
}

fn conflicts(graph: &Graph, sink: &mut Sink) {
    for facet in &graph.facets {
        let name = &facet.decl.name;
        let Some(component) = graph.find(name.value.as_str()).map(|id| &graph.component(id).decl.name) else {
            continue;
        };
        let message = format!("`{}` is the name of a component and of a facet", name.value);
        for (here, there, noun) in [(component, name, "facet"), (name, component, "component")] {
            sink.push(
                Diagnostic::new(Code::ConflictingName, here.place, message.clone())
                    .label("this name is used twice")
                    .help("give one of them another name")
                    .related(there.place, format!("the {noun} of this name")),
            );
        }
    }
}

fn link_component(graph: &mut Graph, id: ComponentId, sink: &mut Sink) {
    let decl = &graph.component(id).decl;
    let extends = decl.extends.as_ref().and_then(|name| {
        let found = graph.find(&name.value);
        if found.is_none() {
            sink.push_unknown(|| unknown_super(graph, name));
        }
        found
    });
    let facets = found_facets(graph, &decl.facets, sink);
    let children = found_children(graph, &decl.children, sink);
    for facet in &facets {
        if let Some(facet) = graph.facets.get_mut(facet.0) {
            facet.users.push(id);
        }
    }
    let component = graph.component_mut(id);
    component.extends = extends;
    component.facets = facets;
    component.children = children;
}

fn link_facet(graph: &mut Graph, id: FacetId, sink: &mut Sink) {
    let decl = &graph.facet(id).decl;
    let extends = found_facets(graph, &decl.extends, sink);
    let children = found_children(graph, &decl.children, sink);
    if let Some(facet) = graph.facets.get_mut(id.0) {
        facet.extends = extends;
        facet.children = children;
    }
}

fn found_facets(graph: &Graph, names: &[Spanned<ComponentName>], sink: &mut Sink) -> Vec<FacetId> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for name in names {
        match graph.find_facet(name.value.as_str()) {
            Some(id) if !seen.insert(id) => {}
            Some(id) => found.push(id),
            None => sink.push_unknown(|| {
                let text = name.value.as_str();
                let help = if graph.find(text).is_some() {
                    format!("`{text}` is a component; a facet begins with `facet {text} {{`")
                } else {
                    did_you_mean(text, graph.facet_names(), || format!("define it: `facet {text} {{`"))
                };
                Diagnostic::new(Code::UnknownFacet, name.place, format!("the facet `{text}` is not defined"))
                    .label("unknown facet")
                    .help(help)
            }),
        }
    }
    found
}

fn found_children(graph: &Graph, names: &[Spanned<ComponentName>], sink: &mut Sink) -> Vec<ChildRef> {
    let mut found = Vec::new();
    for name in names {
        match graph.child(name.value.as_str()) {
            Some(child) => found.push(child),
            None => sink.push_unknown(|| {
                let text = name.value.as_str();
                let names = graph.component_names().chain(graph.facet_names());
                Diagnostic::new(Code::UnknownChild, name.place, format!("the child `{text}` is not defined"))
                    .label("neither a component nor a facet")
                    .help(did_you_mean(text, names, || format!("define it: `{text} {{`")))
            }),
        }
    }
    found
}

fn unknown_super(graph: &Graph, name: &Spanned<String>) -> Diagnostic {
    let text = name.value.as_str();
    let trimmed = text.trim();
    let help = if text.contains(',') {
        "a component extends one component; several facets are given with `facets:`".to_owned()
    } else if trimmed != text && graph.find(trimmed).is_some() {
        format!("write `extends: {trimmed};` without a blank before `;`")
    } else if graph.find_facet(text).is_some() {
        format!("`{text}` is a facet: write `facets: {text};`")
    } else {
        did_you_mean(text, graph.component_names(), || format!("define it: `{text} {{`"))
    };
    Diagnostic::new(Code::UnknownComponent, name.place, format!("the component `{}` is not defined", short(text)))
        .label("unknown component")
        .help(help)
}
