//! Who imports from whom: instances meet in *slots*, one for each variable, or prefix as a whole, that is imported; inside
//! of an application, or between two of them.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut, Range};

use robo_model::graph::Import;
use robo_model::name::{ApplicationName, ComponentName, Variable, VariableName};
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

/// Which application each pair belongs to.
pub(super) struct Applications<'a> {
    numbers: BTreeMap<&'a ApplicationName, usize>,
    of: Column<usize>,
}

impl<'a> Applications<'a> {
    pub(super) fn new(pairs: &'a [Pair]) -> Self {
        let mut numbers: BTreeMap<&ApplicationName, usize> = BTreeMap::new();
        let mut of = Vec::with_capacity(pairs.len());
        for pairs in by_application(pairs) {
            let next = numbers.len();
            let number = pairs.first().map_or(next, |pair| *numbers.entry(&pair.key.application).or_insert(next));
            of.resize(of.len() + pairs.len(), number);
        }
        Self { numbers, of: Column(of) }
    }
}

/// The pairs of one application stand side by side.
fn by_application(pairs: &[Pair]) -> impl Iterator<Item = &[Pair]> {
    pairs.chunk_by(|a, b| a.key.application == b.key.application)
}

/// All pairs as a graph.
pub(super) struct View<'a> {
    pub(super) pairs: &'a [Pair],
    /// How many of them, from the first on, are the planned application's.
    pub(super) own: usize,
    pub(super) applications: &'a Applications<'a>,
    pub(super) family: Family,
    /// How it will be.
    pub(super) after: Net<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(pairs: &'a [Pair], own: usize, applications: &'a Applications<'a>) -> Self {
        let after = Net::new(pairs.iter().map(|pair| pair.new.as_ref()).collect(), applications);
        Self { pairs, own, applications, family: Family::new(pairs), after }
    }

    /// How it was.
    pub(super) fn before(&self) -> Net<'a> {
        Net::new(self.pairs.iter().map(Pair::before).collect(), self.applications)
    }
}

/// Parents and children among the pairs.
pub(super) struct Family {
    pub(super) parents: Column<Option<usize>>,
    pub(super) children: Column<Vec<usize>>,
}

impl Family {
    fn new(pairs: &[Pair]) -> Self {
        let mut parents: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
        for pairs in by_application(pairs) {
            let first = parents.len();
            let within = tree::parents(pairs.iter().map(|pair| &pair.key.path));
            parents.extend(within.into_iter().map(|parent| parent.map(|parent| first + parent)));
        }
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
    /// Whoever offers in one of these serves the need. Empty when it is for other applications, and bound to none.
    pub(super) slots: Vec<usize>,
}

/// Where exports and imports meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot<'a> {
    /// The provider's.
    application: usize,
    /// True for what is offered to other applications.
    outside: bool,
    prefix: &'a ComponentName,
    /// Nothing for all of the prefix.
    local: Option<&'a VariableName>,
}

/// A variable of an instance as importers see it: by its own name in the application, by its name outside in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Face<'a> {
    pub(super) outside: bool,
    pub(super) variable: &'a Variable,
}

/// All variables of an instance, in both faces.
pub(super) fn faces(spec: &InstanceSpec) -> impl Iterator<Item = Face<'_>> {
    let inside = spec.exports.keys().map(|variable| Face { outside: false, variable });
    inside.chain(spec.outside.keys().map(|variable| Face { outside: true, variable }))
}

/// Imports and exports of all instances on one side.
pub(super) struct Net<'a> {
    /// The instances, by pair; nothing where there is none on this side.
    pub(super) members: Column<Option<&'a Placed>>,
    /// All needs, those of one instance side by side.
    pub(super) needs: Column<Need<'a>>,
    applications: &'a Applications<'a>,
    needs_of: Column<Range<usize>>,
    slots: BTreeMap<Slot<'a>, usize>,
    importers: Column<Vec<usize>>,
    providers: Column<Vec<usize>>,
    offers: Column<Vec<usize>>,
}

impl<'a> Net<'a> {
    fn new(members: Column<Option<&'a Placed>>, applications: &'a Applications<'a>) -> Self {
        let mut net = Self {
            applications,
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
        net.offers = (0..net.members.0.len()).map(|position| net.offers_of(position)).collect();
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
        let spec = self.members[importer].map(|placed| &placed.spec);
        for (spec, import) in spec.into_iter().flat_map(|spec| spec.imports.iter().map(move |import| (spec, import))) {
            let (mandatory, slots) = by_prefix.entry(&import.prefix).or_default();
            *mandatory |= !import.optional;
            let own = self.applications.of[importer];
            for application in sources(self.applications, (own, spec), import) {
                let (outside, prefix) = (import.external, &import.prefix);
                let slot = Slot { application, outside, prefix, local: import.variable.as_ref() };
                let next = self.slots.len();
                slots.push(*self.slots.entry(slot).or_insert(next));
            }
        }
        let needs = by_prefix.into_iter();
        self.needs.0.extend(needs.map(|(prefix, (mandatory, slots))| Need { importer, prefix, mandatory, slots }));
        self.needs_of.0.push(from..self.needs.0.len());
    }

    /// The slots that an instance offers something in: of each variable, and once of each prefix.
    fn offers_of(&self, provider: usize) -> Vec<usize> {
        let mut offers = Vec::new();
        let mut last = None;
        for face in self.members[provider].into_iter().flat_map(|placed| faces(&placed.spec)) {
            if last != Some((face.outside, &face.variable.prefix)) {
                last = Some((face.outside, &face.variable.prefix));
                offers.extend(self.slot(provider, face, false));
            }
            offers.extend(self.slot(provider, face, true));
        }
        offers
    }

    /// The slot of one variable, or of all of its prefix, where anybody asks for it.
    fn slot(&self, provider: usize, face: Face<'_>, by_name: bool) -> Option<usize> {
        let Face { outside, variable } = face;
        let local = by_name.then_some(&variable.local);
        let slot = Slot { application: self.applications.of[provider], outside, prefix: &variable.prefix, local };
        self.slots.get(&slot).copied()
    }

    /// True when somebody in one of these applications offers `import` to others.
    pub(super) fn is_offered(&self, by: &[&ApplicationName], import: &Import) -> bool {
        let numbers = by.iter().filter_map(|name| self.applications.numbers.get(name));
        let slot = |number: &usize| {
            let local = import.variable.as_ref();
            self.slots.get(&Slot { application: *number, outside: true, prefix: &import.prefix, local })
        };
        numbers.filter_map(slot).any(|slot| !self.providers[*slot].is_empty())
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

    /// The slots in which a variable of `provider` is asked for: by its name, and with all of its prefix.
    pub(super) fn slots_of(&self, provider: usize, face: Face<'_>) -> impl Iterator<Item = usize> + use<> {
        self.slot(provider, face, true).into_iter().chain(self.slot(provider, face, false))
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

    /// What is wished of each instance: no more than of what stands above it; nothing where there is none on this side.
    pub(super) fn wishes(&self, family: &Family) -> Column<Option<Wanted>> {
        let mut wishes: Column<Option<Wanted>> = Column(Vec::with_capacity(self.members.0.len()));
        for (member, parent) in self.members.iter().zip(family.parents.iter()) {
            let above = parent.and_then(|parent| wishes[parent]).unwrap_or_default();
            wishes.0.push(member.map(|placed| placed.spec.wanted.min(above)));
        }
        wishes
    }

    /// Whether each instance is wanted started, and all above it.
    pub(super) fn wanted(&self, family: &Family) -> Column<bool> {
        self.wishes(family).iter().map(|wish| *wish == Some(Wanted::Started)).collect()
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

    /// Those of `running` that go on running, as far as they are served: those who only serve each other are among them,
    /// though they would never start.
    pub(super) fn lasting(&self, family: &Family, running: Column<bool>) -> Column<bool> {
        let mut alive = running;
        let mut serving = self.count_providers(|provider| alive[provider]);
        let mut doubtful: Vec<usize> = (0..self.members.0.len()).filter(|i| alive[*i]).collect();
        while let Some(next) = doubtful.pop() {
            let orphan = family.parents[next].is_some_and(|parent| self.members[parent].is_some() && !alive[parent]);
            let offers = &self.offers[next];
            let served = |need: &Need<'_>| need.slots.iter().any(|s| serving[*s] > usize::from(offers.contains(s)));
            if !alive[next] || (!orphan && self.needs_of(next).filter(|need| need.mandatory).all(served)) {
                continue;
            }
            alive[next] = false;
            doubtful.extend(&family.children[next]);
            for slot in offers {
                serving[*slot] -= 1;
                // Nobody is worse off while two are left.
                if serving[*slot] < 2 {
                    doubtful.extend(self.importers[*slot].iter().map(|need| self.needs[*need].importer));
                }
            }
        }
        alive
    }

    /// How many conditions an instance has: its parent, and each mandatory need.
    fn conditions(&self, family: &Family, instance: usize) -> usize {
        let parent = family.parents[instance].is_some_and(|parent| self.members[parent].is_some());
        self.needs_of(instance).filter(|need| need.mandatory).count() + usize::from(parent)
    }
}

/// The applications that an import looks at: its own, or those that are bound.
fn sources(
    applications: &Applications<'_>,
    (own, spec): (usize, &InstanceSpec),
    import: &Import,
) -> impl Iterator<Item = usize> {
    let bound = import.external.then(|| spec.bindings.get(&import.prefix)).flatten();
    let bound = bound.into_iter().flatten().filter_map(|name| applications.numbers.get(name).copied());
    (!import.external).then_some(own).into_iter().chain(bound.filter(move |other| *other != own))
}
