//! What a file of commands is checked against: the instances and components of its application, and the files beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use robo_model::graph::{Application, Installer};
use robo_model::name::{ComponentName, InstancePath};

use super::executes::Sibling;

/// The ending of a commands file's name.
pub(super) const ENDING: &str = ".commands";

/// What a file of commands may refer to. What is not known here is not checked: [`Self::unknown`] knows nothing, and is
/// right for a file that stands alone.
///
/// Cheap to clone; each file of a folder gets the same context with another [`Self::file`].
#[derive(Debug, Clone, Default)]
pub struct CommandContext {
    pub(super) file: Option<String>,
    pub(super) application: Option<Known>,
    pub(super) siblings: Option<Arc<BTreeMap<String, Sibling>>>,
    pub(super) moment: Moment,
}

/// The instances that are there before the first instruction, and every component of the graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) instances: Arc<Instances>,
    pub(super) components: Arc<BTreeMap<ComponentName, ComponentFacts>>,
}

/// Every instance and what it is; nothing for one that only stands in for an index that was not found.
pub(super) type Instances = BTreeMap<InstancePath, Option<ComponentName>>;

/// What is asked of a component.
#[derive(Debug, Clone, Default)]
pub(super) struct ComponentFacts {
    /// Its instances are machines.
    pub(super) is_target: bool,
    /// Components below whose instances its own may stand; none for a root.
    pub(super) parents: BTreeSet<ComponentName>,
}

/// Where the built-in values of `define` come from. Checking needs none of them to be true, so the default is a fixed one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Nanoseconds since 1970.
    pub(super) nanos: u64,
    /// The first identifier; the others follow from it.
    pub(super) uuid: u128,
}

impl CommandContext {
    /// Knows nothing: what depends on instances, components and other files is not checked.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Knows the instances and components of `application`. Files beside it are unknown until
    /// [`Self::sibling`] or [`Self::siblings`] names them.
    #[must_use]
    pub fn of(application: &Application) -> Self {
        let mut components: BTreeMap<ComponentName, ComponentFacts> = application
            .components
            .values()
            .map(|c| {
                let is_target = c.installer == Installer::Target;
                (c.name.clone(), ComponentFacts { is_target, parents: BTreeSet::new() })
            })
            .collect();
        for parent in application.components.values() {
            for child in &parent.children {
                if let Some(facts) = components.get_mut(child) {
                    facts.parents.insert(parent.name.clone());
                }
            }
        }
        let instances = application.instances.values().map(|i| (i.path.clone(), Some(i.component.clone()))).collect();
        let known = Known { instances: Arc::new(instances), components: Arc::new(components) };
        Self { application: Some(known), ..Self::default() }
    }

    /// Adds an instance, or says what another one is. From now on instances and components are known.
    #[must_use]
    pub fn instance(mut self, path: InstancePath, component: ComponentName) -> Self {
        let known = self.application.get_or_insert_default();
        Arc::make_mut(&mut known.instances).insert(path, Some(component));
        self
    }

    /// Adds a component, or replaces it. `parents` are those whose instances may hold one of it; a root has none.
    /// From now on instances and components are known.
    #[must_use]
    pub fn component(
        mut self,
        name: ComponentName,
        is_target: bool,
        parents: impl IntoIterator<Item = ComponentName>,
    ) -> Self {
        let known = self.application.get_or_insert_default();
        let facts = ComponentFacts { is_target, parents: parents.into_iter().collect() };
        Arc::make_mut(&mut known.components).insert(name, facts);
        self
    }

    /// Says that exactly these files of commands are there, each as its name, with or without `.commands`, and its text.
    /// The file that is checked may be among them.
    #[must_use]
    pub fn siblings<'a>(mut self, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let each = files.into_iter().map(|(name, text)| (stem(name).to_owned(), Sibling::read(stem(name), text)));
        self.siblings = Some(Arc::new(each.collect()));
        self
    }

    /// Adds a file of commands to those that are there. From now on an unknown one is a mistake.
    #[must_use]
    pub fn sibling(mut self, name: &str, text: &str) -> Self {
        let name = stem(name);
        let siblings = self.siblings.get_or_insert_default();
        Arc::make_mut(siblings).insert(name.to_owned(), Sibling::read(name, text));
        self
    }

    /// The name of the file that is checked, with or without `.commands`: it must not execute itself.
    #[must_use]
    pub fn file(mut self, name: &str) -> Self {
        self.file = Some(stem(name).to_owned());
        self
    }

    /// The values that `$(NANO_TIME)`, `$(MILLI_TIME)`, `$(FORMATTED_TIME …)` and `$(UUID)` take: `nanos` since 1970,
    /// and identifiers that follow from `uuid`. For carrying the commands out; checking does without.
    #[must_use]
    pub fn at(mut self, nanos: u64, uuid: u128) -> Self {
        self.moment = Moment { nanos, uuid };
        self
    }
}

/// A file's name without its ending.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix(ENDING).unwrap_or(name)
}
