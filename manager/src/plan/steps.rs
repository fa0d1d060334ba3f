//! The steps that follow from a change, in an order in which agents can carry them out.
//!
//! What stops does so before what it needs, and what stands on something before that; then what goes is removed, what
//! comes is put in place, parents first; then everything starts after what it needs, and whoever only notices is
//! updated when those have started because of whom. Waves say what may run at the same time, not what has to wait:
//! agents go on as soon as what an instance itself needs is there.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::effect::Effect;
use robo_model::name::{DeviceId, DeviceName};
use robo_model::state::{Step, Wanted};
use robo_wire::plan::{Action, Change, PlannedStep};

use super::net::{Column, View};
use super::place::Placed;
use super::ripple::Motion;
use super::waves;

/// Orders waves: the phase, the place in it, and the place among those who need each other.
type Order = (Phase, usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Stop,
    Undeploy,
    Deploy,
    Start,
}

/// The steps of all instances, wave by wave; those of one wave in the order of applications and paths. `level` is the
/// wave in which each starts.
pub(super) fn steps(
    view: &View<'_>,
    changes: &[Option<Change>],
    motion: &Motion<'_>,
    level: &Column<usize>,
    names: &BTreeMap<&DeviceId, &DeviceName>,
) -> Vec<Vec<PlannedStep>> {
    let planner = Planner::new(view, changes, motion, level);
    let mut waves: BTreeMap<Order, Vec<PlannedStep>> = BTreeMap::new();
    for (position, pair) in view.pairs.iter().enumerate() {
        for (order, step) in planner.steps_of(position) {
            let placed = match step {
                Step::Stop | Step::Undeploy => motion.before.members[position],
                Step::Deploy | Step::Start | Step::Update => view.after.members[position],
            };
            let Some(Placed { bound, .. }) = placed else { continue };
            waves.entry(order).or_default().push(PlannedStep {
                path: pair.key.path.clone(),
                application: (position >= view.own).then(|| pair.key.application.clone()),
                device: names.get(&bound.id).copied().unwrap_or(&bound.name).clone(),
                step,
            });
        }
    }
    waves.into_values().collect()
}

struct Planner<'a> {
    view: &'a View<'a>,
    motion: &'a Motion<'a>,
    actions: Column<Option<Action>>,
    /// Whether each is put away and set up anew, since it or something that it stands on becomes something else.
    replaced: Column<bool>,
    /// What is wished, before and after.
    wishes: [Column<Option<Wanted>>; 2],
    /// In which wave each would start, before and after.
    levels: [Column<usize>; 2],
    /// The highest of those before.
    highest: usize,
    /// How many stand above each that are in the same wave, before and after: with whom it needs each other.
    below: [Column<usize>; 2],
}

impl<'a> Planner<'a> {
    fn new(view: &'a View<'a>, changes: &[Option<Change>], motion: &'a Motion<'a>, level: &Column<usize>) -> Self {
        let actions: Column<Option<Action>> =
            changes.iter().map(|change| change.as_ref().map(|change| change.action)).collect();
        let mut replaced = Column::filled(false, view.pairs.len());
        for position in 0..view.pairs.len() {
            let above = view.family.parents[position].is_some_and(|parent| replaced[parent]);
            let stays = motion.before.members[position].is_some() && view.after.members[position].is_some();
            let own = actions[position] == Some(Action::Change(Effect::Replace));
            replaced[position] = stays && (own || above);
        }
        let before = waves::levels(&motion.before, &view.family);
        let highest = before.iter().copied().max().unwrap_or_default();
        let wishes = [motion.before.wishes(&view.family), view.after.wishes(&view.family)];
        let levels = [before, level.clone()];
        let below = levels.each_ref().map(|levels| below(view, levels));
        Self { view, motion, actions, replaced, wishes, levels, highest, below }
    }

    /// What happens to one instance, in its order. A machine has no steps.
    fn steps_of(&self, position: usize) -> Vec<(Order, Step)> {
        let is_host = self
            .view
            .pairs
            .get(position)
            .is_none_or(|pair| pair.new.as_ref().or_else(|| pair.before()).is_none_or(|placed| placed.is_host()));
        let is_moved = self.actions[position].is_some()
            || self.replaced[position]
            || self.motion.bouncing[position]
            || self.motion.updating.contains_key(&position)
            || self.runs(0, position) != self.runs(1, position);
        if is_host || !is_moved {
            return Vec::new();
        }
        let depth = self.view.pairs.get(position).map_or(0, |pair| pair.key.path.depth());
        let [before, after] = &self.levels;
        let [stops, starts] = &self.below;
        let mut steps = Vec::new();
        let again = self.starts_again(position);
        if self.runs(0, position) && (again || !self.runs(1, position)) {
            let order = (Phase::Stop, self.highest.saturating_sub(before[position]), usize::MAX - stops[position]);
            steps.push((order, Step::Stop));
        }
        let [was, is] = [self.is_deployed(0, position), self.is_deployed(1, position)];
        if was && (!is || self.replaced[position]) {
            steps.push(((Phase::Undeploy, usize::MAX - depth, 0), Step::Undeploy));
        }
        let anew = self.replaced[position] || self.actions[position] == Some(Action::Change(Effect::Redeploy));
        if is && (!was || anew) {
            steps.push(((Phase::Deploy, depth, 0), Step::Deploy));
        }
        if self.runs(1, position) && (again || !self.runs(0, position)) {
            steps.push(((Phase::Start, after[position], starts[position]), Step::Start));
        } else if let Some(because) = self.motion.updating.get(&position).filter(|_| self.runs(1, position)) {
            steps.push((self.update(position, because), Step::Update));
        }
        steps
    }

    /// An update comes after the last of those that start because of whom it runs; with none, before anything stops.
    fn update(&self, position: usize, because: &BTreeSet<usize>) -> Order {
        let [_, after] = &self.levels;
        let starts = |provider: &&usize| {
            self.runs(1, **provider) && (self.starts_again(**provider) || !self.runs(0, **provider))
        };
        match because.iter().filter(starts).map(|provider| after[*provider]).max() {
            Some(last) => (Phase::Start, after[position].max(last + 1), 0),
            None => (Phase::Stop, 0, usize::MAX),
        }
    }

    fn runs(&self, side: usize, position: usize) -> bool {
        let [was, is] = &self.motion.running;
        if side == 0 { was[position] } else { is[position] }
    }

    fn starts_again(&self, position: usize) -> bool {
        self.motion.bouncing[position] || self.replaced[position]
    }

    /// Whether its files are to be there.
    fn is_deployed(&self, side: usize, position: usize) -> bool {
        let [before, after] = &self.wishes;
        let wish = if side == 0 { before[position] } else { after[position] };
        wish.is_some_and(|wish| wish > Wanted::NotDeployed)
    }
}

/// How many of those above each instance are in its wave.
fn below(view: &View<'_>, levels: &Column<usize>) -> Column<usize> {
    let mut below = Column::filled(0, view.pairs.len());
    for position in 0..view.pairs.len() {
        let parent = view.family.parents[position].filter(|parent| levels[*parent] == levels[position]);
        below[position] = parent.map_or(0, |parent| below[parent] + 1);
    }
    below
}
