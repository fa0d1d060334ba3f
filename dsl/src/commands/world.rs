//! The instances and variables as the instructions so far leave them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use robo_model::limits::MAX_INSTANCES;
use robo_model::name::{ComponentName, InstanceName, InstancePath};

use super::context::{CommandContext, ComponentFacts, Instances};
use super::line::Value;

/// Most paths that the instructions of one file look at, copy or remove: some seconds of work. A file that needs more is
/// made to need it.
const MAX_STEPS: usize = 20_000_000;

/// Most bytes that variables put into the lines of one file. Variables made of variables would double with each line.
pub(super) const MAX_SUBSTITUTED_BYTES: usize = 16 * 1024 * 1024;

/// The name of the instance that stands in for an index that was not found.
pub(super) const FAKE: &str = "fake";

/// Why an instruction's effect is not worked out. Nothing after it can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// More instances than an application may have.
    Instances,
    /// More than [`MAX_STEPS`].
    Steps,
}

impl Limit {
    /// What happened.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Instances => "this would be more instances than an application may have",
            Self::Steps => "the instructions of this file go through too many instances, again and again",
        }
    }
}

/// Instances and variables.
#[derive(Debug)]
pub(super) struct World<'c> {
    pub(super) context: &'c CommandContext,
    pub(super) variables: HashMap<String, Value>,
    /// Variables whose definition has a mistake, and its line.
    pub(super) not_defined: HashMap<String, usize>,
    instances: Arc<Instances>,
    /// Made when first asked for.
    by_component: Option<HashMap<ComponentName, BTreeSet<InstancePath>>>,
    /// For each pattern of a path, the index below which all are taken; as long as nothing is removed.
    taken: HashMap<(String, String), u64>,
    steps: usize,
    /// How many identifiers were given out.
    pub(super) identifiers: u128,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'w> {
    /// An instance of a component of the graph.
    Instance(&'w ComponentName, &'w ComponentFacts),
    /// It stands in for an index that was not found.
    Fake,
    /// Whether there is one is not known.
    Unknown,
    /// Nothing.
    Nothing,
}

impl<'c> World<'c> {
    pub(super) fn new(context: &'c CommandContext) -> Self {
        let instances = context.application.as_ref().map(|known| Arc::clone(&known.instances)).unwrap_or_default();
        Self {
            context,
            variables: HashMap::new(),
            not_defined: HashMap::new(),
            instances,
            by_component: None,
            taken: HashMap::new(),
            steps: 0,
            identifiers: 0,
        }
    }

    /// What stands at `path`.
    pub(super) fn find(&self, path: &InstancePath) -> Found<'_> {
        let Some(known) = &self.context.application else { return Found::Unknown };
        match self.instances.get(path) {
            None => Found::Nothing,
            Some(None) => Found::Fake,
            Some(Some(name)) => match known.components.get(name) {
                Some(facts) => Found::Instance(name, facts),
                None => Found::Nothing,
            },
        }
    }

    /// The component `name` of the graph; nothing inside when the graph is not known.
    pub(super) fn component(&self, name: &ComponentName) -> Option<Option<&'c ComponentFacts>> {
        match &self.context.application {
            None => Some(None),
            Some(known) => known.components.get(name).map(Some),
        }
    }

    /// Whether a path is taken, even by an instance of no component.
    pub(super) fn is_taken(&self, path: &InstancePath) -> bool {
        self.context.application.is_some() && self.instances.contains_key(path)
    }

    /// Every path.
    pub(super) fn paths(&self) -> impl ExactSizeIterator<Item = &InstancePath> {
        self.instances.keys()
    }

    /// Adds an instance; without a component it stands in for an index that was not found.
    ///
    /// # Errors
    /// When there would be too many.
    pub(super) fn add(&mut self, path: InstancePath, component: Option<ComponentName>) -> Result<(), Limit> {
        if self.context.application.is_none() {
            return Ok(());
        }
        if self.instances.len() >= MAX_INSTANCES {
            return Err(Limit::Instances);
        }
        self.count(1)?;
        if let (Some(index), Some(name)) = (&mut self.by_component, &component) {
            index.entry(name.clone()).or_default().insert(path.clone());
        }
        Arc::make_mut(&mut self.instances).insert(path, component);
        Ok(())
    }

    /// Removes an instance and all below it, and gives them back.
    ///
    /// # Errors
    /// When there were too many steps.
    pub(super) fn remove(&mut self, path: &InstancePath) -> Result<Vec<(InstancePath, Option<ComponentName>)>, Limit> {
        let removed = self.tree(path)?;
        if removed.is_empty() {
            return Ok(removed);
        }
        self.taken.clear();
        let instances = Arc::make_mut(&mut self.instances);
        for (path, component) in &removed {
            instances.remove(path);
            if let (Some(index), Some(name)) = (&mut self.by_component, component)
                && let Some(paths) = index.get_mut(name)
            {
                paths.remove(path);
            }
        }
        Ok(removed)
    }

    /// Removes every instance of a component, and all below them.
    ///
    /// # Errors
    /// When there were too many steps.
    pub(super) fn remove_all_of(&mut self, component: &ComponentName) -> Result<(), Limit> {
        if self.by_component.is_none() {
            let mut index: HashMap<ComponentName, BTreeSet<InstancePath>> = HashMap::new();
            for (path, component) in &*self.instances {
                if let Some(name) = component {
                    index.entry(name.clone()).or_default().insert(path.clone());
                }
            }
            self.count(self.instances.len())?;
            self.by_component = Some(index);
        }
        let paths = self.by_component.as_ref().and_then(|index| index.get(component)).cloned().unwrap_or_default();
        for path in paths {
            self.remove(&path)?;
        }
        Ok(())
    }

    /// Copies an instance and all below it to another path.
    ///
    /// # Errors
    /// When there would be too many.
    pub(super) fn copy(&mut self, from: &InstancePath, to: &InstancePath) -> Result<(), Limit> {
        let tree = self.tree(from)?;
        self.add_moved(tree, from, to)
    }

    /// Moves an instance and all below it to another path.
    ///
    /// # Errors
    /// When there were too many steps.
    pub(super) fn rename(&mut self, from: &InstancePath, to: &InstancePath) -> Result<(), Limit> {
        let tree = self.remove(from)?;
        self.add_moved(tree, from, to)
    }

    /// The first index from 1 for which nothing stands at `before`, the index, `after`; `$(SMART_INDEX)` inside of
    /// `after` is the index too.
    ///
    /// # Errors
    /// When there were too many steps.
    pub(super) fn free_index(&mut self, before: &str, after: &str) -> Result<u64, Limit> {
        let key = (before.to_owned(), after.to_owned());
        let mut index = self.taken.get(&key).copied().unwrap_or(1);
        loop {
            let digits = index.to_string();
            let path = format!("{before}{digits}{}", after.replace(super::define::SMART_INDEX, &digits));
            let taken =
                InstancePath::new(path).is_ok_and(|path| matches!(self.find(&path), Found::Instance(..) | Found::Fake));
            if !taken {
                self.taken.insert(key, index);
                return Ok(index);
            }
            self.count(1)?;
            index += 1;
        }
    }

    /// Counts work against [`MAX_STEPS`].
    ///
    /// # Errors
    /// When it was too much.
    pub(super) fn count(&mut self, steps: usize) -> Result<(), Limit> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { Err(Limit::Steps) } else { Ok(()) }
    }

    /// An instance and all below it.
    fn tree(&mut self, path: &InstancePath) -> Result<Vec<(InstancePath, Option<ComponentName>)>, Limit> {
        let below = self.instances.range(path.clone()..).take_while(|(other, _)| other.is_within(path));
        let tree: Vec<_> = below.map(|(path, component)| (path.clone(), component.clone())).collect();
        self.count(tree.len())?;
        Ok(tree)
    }

    fn add_moved(
        &mut self,
        tree: Vec<(InstancePath, Option<ComponentName>)>,
        from: &InstancePath,
        to: &InstancePath,
    ) -> Result<(), Limit> {
        for (path, component) in tree {
            let below = path.as_str().strip_prefix(from.as_str()).unwrap_or_default();
            // The name has been checked and the depth is the same, so that this is a path.
            if let Ok(path) = InstancePath::new(format!("{to}{below}")) {
                self.add(path, component)?;
            }
        }
        Ok(())
    }
}

/// The path of `name` beside `path`.
pub(super) fn sibling(path: &InstancePath, name: &InstanceName) -> InstancePath {
    path.parent().map_or_else(|| InstancePath::root(name), |parent| parent.child(name))
}
