//! Who imports from whom: instances meet in *slots*, one for each variable, or prefix as a whole, that is imported.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut, Range};

use robo_model::name::{ComponentName, Variable, VariableName};
use robo_model::spec::InstanceSpec;
use robo_model::state::Wanted;

use super::change::Pair;
use super::place::Placed;
use super::tree;

/// One value for each position. Positions are only ever those of the column's own making: of pairs, needs or slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Column<T>(Vec<T>);

impl<T: Clone> Column<T> {
    pub(super) fn filled(value: T, length: usize) -> Self {
        Self(vec![value; length])
    }
}

impl<T> Column<T> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T> FromIterator<T> for Column<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> Index<usize> for Column<T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "positions are handed out by the one who made the column")]
    fn index(&self, position: usize) -> &T {
        &self.0[position]
    }
}

impl<T> IndexMut<usize> for Column<T> {
    #[expect(clippy::indexing_slicing, reason = "positions are handed out by the one who made the column")]
    fn index_mut(&mut self, position: usize) -> &mut T {
        &mut self.0[position]
    }
}

/// All pairs as a graph.
pub(super) struct View<'a> {
    pub(super) pairs: &'a [Pair],
    pub(super) family: Family,
    /// How it will be.
    pub(super) after: Net<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(pairs: &'a [Pair]) -> Self {
        let after = Net::new(pairs.iter().map(|pair| pair.new.as_ref()).collect());
        Self { pairs, family: Family::new(pairs), after }
    }

    /// How it was.
    pub(super) fn before(&self) -> Net<'a> {
        Net::new(self.pairs.iter().map(Pair::before).collect())
    }
}

/// Parents and children among the pairs.
pub(super) struct Family {
    pub(super) parents: Column<Option<usize>>,
    pub(super) children: Column<Vec<usize>>,
}

impl Family {
    fn new(pairs: &[Pair]) -> Self {
        let parents = tree::parents(pairs.iter().map(|pair| &pair.path));
        let mut children = Column::filled(Vec::new(), parents.len());
        for (child, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(child);
            }
        }
        Self { parents: Column(parents), children }
    }
}

/// What one instance needs under one prefix.
pub(super) struct Need<'a> {
    pub(super) importer: usize,
    pub(super) prefix: &'a ComponentName,
    /// True when it does not start without.
    pub(super) mandatory: bool,
    /// Whoever offers in one of these serves the need. Empty when it is for other applications only.
    pub(super) slots: Vec<usize>,
}

/// Imports and exports of all instances on one side.
pub(super) struct Net<'a> {
    /// The instances, by pair; nothing where there is none on this side.
    pub(super) members: Column<Option<&'a Placed>>,
    /// All needs, those of one instance side by side.
    pub(super) needs: Column<Need<'a>>,
    needs_of: Column<Range<usize>>,
    slots: BTreeMap<(&'a ComponentName, Option<&'a VariableName>), usize>,
    importers: Column<Vec<usize>>,
    providers: Column<Vec<usize>>,
    offers: Column<Vec<usize>>,
}

impl<'a> Net<'a> {
    fn new(members: Column<Option<&'a Placed>>) -> Self {
        let mut net = Self {
            needs: Column(Vec::new()),
            needs_of: Column(Vec::new()),
            slots: BTreeMap::new(),
            importers: Column(Vec::new()),
            providers: Column(Vec::new()),
            offers: Column(Vec::new()),
            members,
        };
        for position in 0..net.members.0.len() {
            net.add_needs(position);
        }
        net.importers = Column::filled(Vec::new(), net.slots.len());
        for (position, need) in net.needs.iter().enumerate() {
            for slot in &need.slots {
                net.importers[*slot].push(position);
            }
        }
        net.providers = Column::filled(Vec::new(), net.slots.len());
        net.offers = net.members.iter().map(|member| net.offers_of(member.map(|placed| &placed.spec))).collect();
        for (position, offers) in net.offers.iter().enumerate() {
            for slot in offers {
                net.providers[*slot].push(position);
            }
        }
        net
    }

    fn add_needs(&mut self, importer: usize) {
        let from = self.needs.0.len();
        let mut by_prefix: BTreeMap<&'a ComponentName, (bool, Vec<usize>)> = BTreeMap::new();
        for import in self.members[importer].iter().flat_map(|placed| &placed.spec.imports) {
            let (mandatory, slots) = by_prefix.entry(&import.prefix).or_default();
            *mandatory |= !import.optional;
            if !import.external {
                let next = self.slots.len();
                slots.push(*self.slots.entry((&import.prefix, import.variable.as_ref())).or_insert(next));
            }
        }
        let needs = by_prefix.into_iter();
        self.needs.0.extend(needs.map(|(prefix, (mandatory, slots))| Need { importer, prefix, mandatory, slots }));
        self.needs_of.0.push(from..self.needs.0.len());
    }

    /// The slots that an instance offers something in: of each variable, and once of each prefix.
    fn offers_of(&self, spec: Option<&InstanceSpec>) -> Vec<usize> {
        let mut offers = Vec::new();
        let mut prefix = None;
        for variable in spec.into_iter().flat_map(|spec| spec.exports.keys()) {
            if prefix != Some(&variable.prefix) {
                prefix = Some(&variable.prefix);
                offers.extend(self.slots.get(&(&variable.prefix, None)));
            }
            offers.extend(self.slots.get(&(&variable.prefix, Some(&variable.local))));
        }
        offers
    }

    /// How many slots there are.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Who offers something in `slot`, in the order of paths.
    pub(super) fn providers(&self, slot: usize) -> &[usize] {
        &self.providers[slot]
    }

    /// Needs of `importer`.
    pub(super) fn needs_of(&self, importer: usize) -> impl Iterator<Item = &Need<'a>> {
        self.needs_of[importer].clone().map(|need| &self.needs[need])
    }

    /// The need of `importer` under `prefix`.
    pub(super) fn need(&self, importer: usize, prefix: &ComponentName) -> Option<&Need<'a>> {
        self.needs_of(importer).find(|need| need.prefix == prefix)
    }

    /// The slots in which `variable` is asked for: by its name, and with all of its prefix.
    pub(super) fn slots_of(&self, variable: &Variable) -> impl Iterator<Item = usize> + use<> {
        let by_name = self.slots.get(&(&variable.prefix, Some(&variable.local))).copied();
        by_name.into_iter().chain(self.slots.get(&(&variable.prefix, None)).copied())
    }

    /// The slots that `provider` offers something in.
    pub(super) fn offers(&self, provider: usize) -> &[usize] {
        &self.offers[provider]
    }

    /// For each slot who imports in it, those left out that are not to be kept.
    pub(super) fn importers(&self, keep: impl Fn(usize) -> bool) -> Column<Vec<usize>> {
        let importer = |need: &usize| self.needs[*need].importer;
        self.importers.iter().map(|needs| needs.iter().map(importer).filter(|i| keep(*i)).collect()).collect()
    }

    /// For each slot how many offer in it, those left out that do not count.
    pub(super) fn count_providers(&self, counts: impl Fn(usize) -> bool) -> Column<usize> {
        self.providers.iter().map(|providers| providers.iter().filter(|p| counts(**p)).count()).collect()
    }

    /// Whether each instance is wanted started, and all above it.
    pub(super) fn wanted(&self, family: &Family) -> Column<bool> {
        let mut wanted = Column(Vec::with_capacity(self.members.0.len()));
        for (member, parent) in self.members.iter().zip(family.parents.iter()) {
            let above = parent.filter(|parent| self.members[*parent].is_some()).is_none_or(|parent| wanted[parent]);
            wanted.0.push(above && member.is_some_and(|placed| placed.spec.wanted == Wanted::Started));
        }
        wanted
    }

    /// Whether each instance starts once everything that is wanted and can start has: its parent does, and for each
    /// of its mandatory needs somebody who serves it. Who can only start after himself never does.
    pub(super) fn up(&self, family: &Family, wanted: &Column<bool>) -> Column<bool> {
        let mut left: Column<usize> = (0..self.members.0.len()).map(|i| self.conditions(family, i)).collect();
        let mut up = Column::filled(false, self.members.0.len());
        let mut met = Column::filled(false, self.needs.0.len());
        let mut served = Column::filled(false, self.slots.len());
        let mut ready: Vec<usize> = (0..self.members.0.len()).filter(|i| wanted[*i] && left[*i] == 0).collect();
        while let Some(next) = ready.pop() {
            up[next] = true;
            let mut fulfilled: Vec<usize> = family.children[next].clone();
            for slot in &self.offers[next] {
                if std::mem::replace(&mut served[*slot], true) {
                    continue;
                }
                for need in &self.importers[*slot] {
                    if self.needs[*need].mandatory && !std::mem::replace(&mut met[*need], true) {
                        fulfilled.push(self.needs[*need].importer);
                    }
                }
            }
            for instance in fulfilled {
                // One that is up has nothing left: its own offers fulfil nothing any more.
                let Some(less) = left[instance].checked_sub(1) else { continue };
                left[instance] = less;
                if less == 0 && wanted[instance] {
                    ready.push(instance);
                }
            }
        }
        up
    }

    /// How many conditions an instance has: its parent, and each mandatory need.
    fn conditions(&self, family: &Family, instance: usize) -> usize {
        let parent = family.parents[instance].is_some_and(|parent| self.members[parent].is_some());
        self.needs_of(instance).filter(|need| need.mandatory).count() + usize::from(parent)
    }
}
