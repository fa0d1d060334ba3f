//! Components and facets with their names looked up.

use std::collections::{HashMap, HashSet};

use robo_model::name::{ComponentName, Variable};

use super::exports::Export;
use crate::block::{ComponentDecl, FacetDecl, Gaps, ImportDecl, Named, Part, Reference, Unread};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};
use crate::suggest::{closest, did_you_mean};
use crate::syntax::short;

/// A component, by its place in [`Graph::components`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ComponentId(pub(super) usize);

impl ComponentId {
    /// Its place in [`Graph::components`].
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

/// A facet, by its place in [`Graph::facets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FacetId(pub(super) usize);

/// Who may stand in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Names that something unreadable may define or use.
    pub(crate) gaps: Gaps,
    /// Inheritance was applied: without it nothing can be said of the whole.
    pub(crate) complete: bool,
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
    /// What may be missing here, because it could not be read or found; reported. With what is inherited.
    pub(crate) open: Unread,
    /// It may stand in another, although none is known: a reported name was most probably meant to be it.
    pub(crate) maybe_child: bool,
    /// Another one of the same name came before.
    pub(crate) shadowed: bool,
}

/// A facet.
#[derive(Debug)]
pub(crate) struct Facet {
    pub(crate) decl: FacetDecl,
    pub(crate) extends: Vec<FacetId>,
    pub(crate) children: Vec<ChildRef>,
    /// Components that name it themselves.
    pub(crate) users: Vec<ComponentId>,
    /// What may be missing here, with what it extends.
    pub(crate) open: Unread,
    /// A reported name was most probably meant to be it.
    pub(crate) maybe_used: bool,
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
        let sound = self.components.iter().filter(|component| component.decl.named == Named::Well);
        sound.map(|component| component.decl.name.value.as_str())
    }

    pub(crate) fn facet_names(&self) -> impl Iterator<Item = &str> {
        let sound = self.facets.iter().filter(|facet| facet.decl.named == Named::Well);
        sound.map(|facet| facet.decl.name.value.as_str())
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
pub(crate) fn graph(components: Vec<ComponentDecl>, facets: Vec<FacetDecl>, gaps: Gaps, sink: &mut Sink) -> Graph {
    let mut graph = Graph { gaps, ..Graph::default() };
    let mut again: HashMap<ComponentName, Vec<Place>> = HashMap::new();
    for decl in components {
        graph.add_component(decl, &mut again);
    }
    report_duplicates(graph.components.iter().map(|c| &c.decl.name), &again, Code::DuplicateComponent, sink);
    let mut again: HashMap<ComponentName, Vec<Place>> = HashMap::new();
    for decl in facets {
        graph.add_facet(decl, &mut again);
    }
    report_duplicates(graph.facets.iter().map(|f| &f.decl.name), &again, Code::DuplicateFacet, sink);
    conflicts(&graph, sink);
    let mut guesses = Guesses::default();
    for id in graph.component_ids() {
        link_component(&mut graph, id, &mut guesses, sink);
    }
    for id in graph.facet_ids() {
        link_facet(&mut graph, id, &mut guesses, sink);
    }
    // Once all facets have their children.
    for id in guesses.facets.iter() {
        if let Some(facet) = graph.facets.get_mut(id.0) {
            facet.maybe_used = true;
            guesses.children.extend(&facet.children);
        }
    }
    super::inherit::apply(&mut graph, &guesses, sink);
    graph
}

/// What reported names were most probably meant to be.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    pub(super) children: HashSet<ChildRef>,
    facets: HashSet<FacetId>,
}

impl Graph {
    /// The first declaration of a name wins; the places of all go to `again` where there are several.
    fn add_component(&mut self, decl: ComponentDecl, again: &mut HashMap<ComponentName, Vec<Place>>) {
        let id = ComponentId(self.components.len());
        let name = &decl.name;
        let mut shadowed = false;
        if decl.named != Named::Not {
            let first = *self.component_ids.entry(name.value.clone()).or_insert(id);
            shadowed = first != id;
            // What the later ones say belongs to it too.
            if let Some(first) = self.components.get_mut(first.0) {
                first.open.mark_all();
                if decl.named == Named::Well && first.decl.named == Named::Well {
                    let places = again.entry(name.value.clone()).or_insert_with(|| vec![first.decl.name.place]);
                    places.push(name.place);
                }
            }
        }
        self.components.push(Component {
            open: decl.unread,
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
            maybe_child: false,
            shadowed,
        });
    }

    fn add_facet(&mut self, decl: FacetDecl, again: &mut HashMap<ComponentName, Vec<Place>>) {
        let id = FacetId(self.facets.len());
        let name = &decl.name;
        let mut maybe_used = decl.named == Named::Not;
        if decl.named != Named::Not {
            let first = *self.facet_ids.entry(name.value.clone()).or_insert(id);
            maybe_used = first != id;
            if let Some(first) = self.facets.get_mut(first.0) {
                first.open.mark_all();
                if decl.named == Named::Well && first.decl.named == Named::Well {
                    let places = again.entry(name.value.clone()).or_insert_with(|| vec![first.decl.name.place]);
                    places.push(name.place);
                }
            }
        }
        let open = decl.unread;
        self.facets.push(Facet {
            decl,
            extends: Vec::new(),
            children: Vec::new(),
            users: Vec::new(),
            open,
            maybe_used,
        });
    }

    /// Whether something of this part may be missing in what is called `name`.
    pub(crate) fn is_open(&self, name: &str, part: Part) -> bool {
        let component = self.find(name).is_some_and(|id| self.component(id).open.has(part));
        let facet = || self.find_facet(name).is_some_and(|id| self.facet(id).open.has(part));
        self.gaps.mention(name) || component || facet()
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
    if definitions.is_empty() {
        return;
    }
    let noun = if code == Code::DuplicateFacet { "facet" } else { "component" };
    for name in names {
        let Some([first, second, ..]) = definitions.get(&name.value).map(Vec::as_slice) else { continue };
        let count = definitions.get(&name.value).map_or(0, Vec::len);
        let (there, label) =
            if name.place == *first { (second, "defined again here") } else { (first, "first defined here") };
        sink.push_with(code, name.place, || {
            Diagnostic::new(code, name.place, format!("the {noun} `{}` is defined {count} times", name.value))
                .label("one of its definitions")
                .help("keep one, or give them different names")
                .related(*there, label)
        });
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

fn link_component(graph: &mut Graph, id: ComponentId, guesses: &mut Guesses, sink: &mut Sink) {
    let component = graph.component(id);
    let decl = &component.decl;
    let mut open = component.open;
    let extends = decl.extends.as_ref().and_then(|name| {
        let found = graph.find(&name.value);
        if found.is_none() {
            open.mark(Part::Extends);
            if !graph.gaps.mention(name.value.trim()) {
                sink.push_with(Code::UnknownComponent, name.place, || unknown_super(graph, name));
            }
        }
        found
    });
    let facets = found_facets(graph, &decl.facets, (&mut open, Part::Facets), guesses, sink);
    let children = found_children(graph, &decl.children, &mut open, guesses, sink);
    for facet in &facets {
        if let Some(facet) = graph.facets.get_mut(facet.0) {
            facet.users.push(id);
        }
    }
    let component = graph.component_mut(id);
    component.extends = extends;
    component.facets = facets;
    component.children = children;
    component.open = open;
}

fn link_facet(graph: &mut Graph, id: FacetId, guesses: &mut Guesses, sink: &mut Sink) {
    let facet = graph.facet(id);
    let decl = &facet.decl;
    let mut open = facet.open;
    let extends = found_facets(graph, &decl.extends, (&mut open, Part::Extends), guesses, sink);
    let children = found_children(graph, &decl.children, &mut open, guesses, sink);
    if let Some(facet) = graph.facets.get_mut(id.0) {
        facet.extends = extends;
        facet.children = children;
        facet.open = open;
    }
}

fn found_facets(
    graph: &Graph,
    names: &[Reference],
    (open, part): (&mut Unread, Part),
    guesses: &mut Guesses,
    sink: &mut Sink,
) -> Vec<FacetId> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for Reference { name, reported } in names {
        let text = name.value.as_str();
        if let Some(id) = graph.find_facet(text) {
            if seen.insert(id) {
                found.push(id);
            }
            continue;
        }
        open.mark(part);
        if graph.gaps.mention(text) {
            continue;
        }
        let meant = if sink.is_full() { None } else { closest(text, graph.facet_names()) };
        if let Some(facet) = meant.and_then(|meant| graph.find_facet(meant)) {
            guesses.facets.insert(facet);
        }
        if !reported {
            sink.push_with(Code::UnknownFacet, name.place, || {
                let help = if graph.find(text).is_some() {
                    format!("`{text}` is a component; a facet begins with `facet {text} {{`")
                } else {
                    did_you_mean(text, meant, || format!("define it: `facet {text} {{`"))
                };
                Diagnostic::new(Code::UnknownFacet, name.place, format!("the facet `{text}` is not defined"))
                    .label("unknown facet")
                    .help(help)
            });
        }
    }
    found
}

fn found_children(
    graph: &Graph,
    names: &[Reference],
    open: &mut Unread,
    guesses: &mut Guesses,
    sink: &mut Sink,
) -> Vec<ChildRef> {
    let mut found = Vec::new();
    for Reference { name, reported } in names {
        let text = name.value.as_str();
        if let Some(child) = graph.child(text) {
            found.push(child);
            continue;
        }
        open.mark(Part::Children);
        if graph.gaps.mention(text) {
            continue;
        }
        let known = graph.component_names().chain(graph.facet_names());
        let meant = if sink.is_full() { None } else { closest(text, known) };
        guesses.children.extend(meant.and_then(|meant| graph.child(meant)));
        if !reported {
            sink.push_with(Code::UnknownChild, name.place, || {
                Diagnostic::new(Code::UnknownChild, name.place, format!("the child `{text}` is not defined"))
                    .label("neither a component nor a facet")
                    .help(did_you_mean(text, meant, || format!("define it: `{text} {{`")))
            });
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
