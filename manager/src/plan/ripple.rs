//! Which imports move on instances that no change mentions, and what those do about it.
//!
//! Followed from provider to importer: what differs between before and after, what is withdrawn for a moment because
//! its instance starts again, and what goes because its instance has to wait. An importer that starts again, or
//! waits, is itself a provider that moves.

mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use robo_model::effect::{self, Effect};
use robo_model::name::Variable;
use robo_wire::plan::{Action, Change, Consequence, Ripple, RippleKind};

use self::value::Value;
use super::net::{Column, Need, Net, View};
use super::place::Placed;
use super::warning::Warnings;

/// Most lines of one ripple: more than anyone reads, and a plan stays below
/// [`robo_wire::api::MAX_JSON_BODY`].
pub const MAX_RIPPLE: usize = 50_000;

/// The imports that move, in the order of importers, providers and variables.
pub(super) fn ripple(view: &View<'_>, changes: &[Option<Change>], warnings: &mut Warnings) -> Vec<Ripple> {
    if changes.iter().all(Option::is_none) {
        return Vec::new();
    }
    let before = view.before();
    let mut spread = Spread::new(view, &before, changes);
    spread.run();
    if spread.lines.len() >= MAX_RIPPLE {
        warnings.add(format!("more than {MAX_RIPPLE} imports move: not all of them are listed"));
    }
    spread.into_ripple()
}

/// Importer, provider, variable.
type Key<'a> = (usize, usize, &'a Variable);

/// A line so far.
struct Line {
    before: Option<String>,
    after: Option<String>,
    kind: RippleKind,
    consequence: Consequence,
    /// The value is withdrawn and comes back as it was.
    same: bool,
}

/// A variable of a provider that moves.
struct Move<'a> {
    variable: &'a Variable,
    before: Option<Value<'a>>,
    after: Option<Value<'a>>,
}

struct Spread<'a> {
    view: &'a View<'a>,
    before: &'a Net<'a>,
    after: &'a Net<'a>,
    /// Whether an instance's exports are there, before and after.
    offered: [Column<bool>; 2],
    /// Instances whose own change says all there is to say.
    settled: Column<bool>,
    /// Instances whose imports are others than before.
    rewired: Column<bool>,
    /// Instances that stop and start again.
    bouncing: Column<bool>,
    /// For each slot the importers to look at, after; and before, those only that are wired otherwise now.
    importers: [Column<Vec<usize>>; 2],
    /// For each slot how many serve it after all.
    present: Column<usize>,
    /// For each slot how many serve it all the time.
    steady: Column<usize>,
    queue: VecDeque<usize>,
    lines: BTreeMap<Key<'a>, Line>,
}

impl<'a> Spread<'a> {
    fn new(view: &'a View<'a>, before: &'a Net<'a>, changes: &[Option<Change>]) -> Self {
        let actions = || changes.iter().map(|change| change.as_ref().map(|change| change.action));
        let after = &view.after;
        let offered = offered(view, before);
        let settled: Column<bool> = actions().map(|action| action.is_some_and(|a| !keeps_running(a))).collect();
        let rewired: Column<bool> =
            before.members.iter().zip(after.members.iter()).map(|(b, a)| is_rewired(*b, *a)).collect();
        let [was, is] = &offered;
        let mut spread = Self {
            importers: [
                after.importers(|importer| !settled[importer]),
                before.importers(|importer| rewired[importer] && !settled[importer]),
            ],
            present: after.count_providers(|provider| is[provider]),
            steady: after.count_providers(|provider| was[provider] && is[provider]),
            bouncing: Column::filled(false, changes.len()),
            queue: VecDeque::new(),
            lines: BTreeMap::new(),
            view,
            before,
            after,
            offered,
            settled,
            rewired,
        };
        for (position, action) in actions().enumerate() {
            let moved = spread.offered[0][position] != spread.offered[1][position];
            if moved || action.is_some() {
                spread.queue.push_back(position);
            }
            if matches!(action, Some(Action::Change(Effect::Restart | Effect::Redeploy | Effect::Replace))) {
                spread.bounce(position);
            }
        }
        spread
    }

    fn run(&mut self) {
        let rewired: Vec<usize> = self.rewired.iter().enumerate().filter(|(_, r)| **r).map(|(i, _)| i).collect();
        for importer in rewired {
            self.rewire(importer);
        }
        while let Some(provider) = self.queue.pop_front() {
            self.spread_from(provider);
            if self.lines.len() >= MAX_RIPPLE {
                return;
            }
        }
    }

    /// Tells all importers of `provider` what moves.
    fn spread_from(&mut self, provider: usize) {
        let bouncing = self.bouncing[provider];
        for moved in self.moves(provider) {
            if moved.before == moved.after && !bouncing {
                continue;
            }
            let [now, then] = &self.importers;
            let now = self.after.slots_of(moved.variable).flat_map(|slot| &now[slot]);
            let then = self.before.slots_of(moved.variable).flat_map(|slot| &then[slot]);
            let importers: Vec<usize> = now.chain(then).copied().collect();
            for importer in importers {
                self.record(importer, provider, &moved);
            }
            if self.lines.len() >= MAX_RIPPLE {
                return;
            }
        }
    }

    /// Looks at everything that an instance with other imports receives and received.
    fn rewire(&mut self, importer: usize) {
        if self.settled[importer] {
            return;
        }
        let providers = |net: &Net<'_>| -> BTreeSet<usize> {
            let slots = net.needs_of(importer).flat_map(|need| &need.slots);
            slots.flat_map(|slot| net.providers(*slot)).copied().collect()
        };
        for provider in &providers(self.before) | &providers(self.after) {
            for moved in self.moves(provider) {
                self.record(importer, provider, &moved);
            }
            if self.lines.len() >= MAX_RIPPLE {
                return;
            }
        }
    }

    /// All variables of `provider`, before and after.
    fn moves(&self, provider: usize) -> Vec<Move<'a>> {
        let [was, is] = &self.offered;
        let old = self.before.members[provider].filter(|_| was[provider]);
        let new = self.after.members[provider].filter(|_| is[provider]);
        let variables: BTreeSet<&'a Variable> =
            [old, new].into_iter().flatten().flat_map(|placed| placed.spec.exports.keys()).collect();
        let value = |side: Option<&'a Placed>, variable| side.and_then(|placed| Value::of(placed, variable));
        let each = variables.into_iter();
        each.map(|variable| Move { variable, before: value(old, variable), after: value(new, variable) }).collect()
    }

    /// Notes what `importer` sees of a move, and follows on when it starts again.
    fn record(&mut self, importer: usize, provider: usize, moved: &Move<'a>) {
        let Some(placed) = self.after.members[importer].filter(|_| importer != provider && !self.settled[importer])
        else {
            return;
        };
        let sees = |net: &Net<'a>| !self.rewired[importer] || wants(net.members[importer], moved.variable);
        let before = moved.before.as_ref().filter(|_| sees(self.before));
        let after = moved.after.as_ref().filter(|_| sees(self.after));
        let kind = match (before, after) {
            (None, None) => return,
            (None, Some(_)) => RippleKind::Appears,
            (Some(_), None) => RippleKind::Vanishes,
            (Some(old), Some(new)) if old == new && !self.bouncing[provider] => return,
            (Some(_), Some(_)) => RippleKind::Changes,
        };
        let consequence = self.consequence(placed, importer, provider, moved.variable);
        let shown = |value: Option<&Value<'_>>| value.and_then(Value::shown);
        let line = Line { before: shown(before), after: shown(after), kind, consequence, same: before == after };
        let line = self.lines.entry((importer, provider, moved.variable)).or_insert(line);
        line.consequence = line.consequence.max(consequence);
        if consequence == Consequence::Restart {
            self.bounce(importer);
        }
    }

    fn consequence(&self, placed: &Placed, importer: usize, provider: usize, variable: &Variable) -> Consequence {
        let [was, is] = &self.offered;
        let need = self.after.need(importer, &variable.prefix).filter(|need| need.mandatory);
        if let Some(need) = need {
            if !self.any_other(need, &self.present, is[importer]) {
                return Consequence::Wait;
            }
            let own = was[importer] && is[importer] && !self.bouncing[importer];
            if self.bouncing[provider] && !self.any_other(need, &self.steady, own) {
                return Consequence::Restart;
            }
        }
        match effect::of_import_change(&placed.spec, &variable.prefix, &variable.local) {
            Effect::Restart | Effect::Redeploy | Effect::Replace => Consequence::Restart,
            Effect::None | Effect::Note | Effect::Republish => Consequence::Update,
        }
    }

    /// True when one of those who are counted serves `need`, other than the importer himself, if he is counted.
    fn any_other(&self, need: &Need<'_>, counted: &Column<usize>, own: bool) -> bool {
        let offers = self.after.offers(need.importer);
        need.slots.iter().any(|slot| counted[*slot] > usize::from(own && offers.contains(slot)))
    }

    /// `instance` stops and starts again, and all below it.
    fn bounce(&mut self, instance: usize) {
        let mut family = vec![instance];
        while let Some(next) = family.pop() {
            let [was, is] = &self.offered;
            if was[next] && is[next] && !std::mem::replace(&mut self.bouncing[next], true) {
                self.queue.push_back(next);
                for slot in self.after.offers(next) {
                    self.steady[*slot] = self.steady[*slot].saturating_sub(1);
                }
                family.extend(&self.view.family.children[next]);
            }
        }
    }

    /// The lines, in their order.
    fn into_ripple(self) -> Vec<Ripple> {
        let mut ripple = Vec::with_capacity(self.lines.len());
        let mut group: Vec<(Key<'a>, Line)> = Vec::new();
        for (key, line) in self.lines {
            if group.last().is_some_and(|(last, _)| !is_one_group(last, &key)) {
                tell(self.view, std::mem::take(&mut group), &mut ripple);
            }
            group.push((key, line));
        }
        tell(self.view, group, &mut ripple);
        ripple
    }
}

/// True when both are about what one importer gets of one provider under one prefix.
fn is_one_group(a: &Key<'_>, b: &Key<'_>) -> bool {
    (a.0, a.1, &a.2.prefix) == (b.0, b.1, &b.2.prefix)
}

/// Adds the lines of one group. Where nothing but a restart happens to the provider, the first variable stands for all.
fn tell(view: &View<'_>, mut group: Vec<(Key<'_>, Line)>, ripple: &mut Vec<Ripple>) {
    let most = group.iter().map(|(_, line)| line.consequence).max();
    if group.iter().any(|(_, line)| !line.same) {
        group.retain(|(_, line)| !line.same);
    } else {
        group.truncate(1);
    }
    let kept = group.iter().map(|(_, line)| line.consequence).max();
    if let (Some((_, first)), Some(most)) = (group.first_mut().filter(|_| kept != most), most) {
        first.consequence = most;
    }
    for ((importer, provider, variable), line) in group {
        let (Some(at), Some(from)) = (view.after.members[importer], view.pairs.get(provider)) else { continue };
        ripple.push(Ripple {
            application: None,
            path: at.spec.key.path.clone(),
            device: at.bound.name.clone(),
            variable: variable.clone(),
            provider: from.path.clone(),
            before: line.before,
            after: line.after,
            kind: line.kind,
            consequence: line.consequence,
        });
    }
}

/// Whether each instance's exports are there, before and after. An instance that waits on one side only offers
/// nothing there; one that waits on both, say in a cycle, is taken for what its file says.
fn offered(view: &View<'_>, before: &Net<'_>) -> [Column<bool>; 2] {
    let wanted = [before.wanted(&view.family), view.after.wanted(&view.family)];
    let [was, is] = [before.up(&view.family, &wanted[0]), view.after.up(&view.family, &wanted[1])];
    let all = 0..view.pairs.len();
    [
        all.clone().map(|i| wanted[0][i] && (was[i] || !is[i])).collect(),
        all.map(|i| wanted[1][i] && (is[i] || !was[i])).collect(),
    ]
}

/// True when an instance with this action goes on running, so that it sees its imports move.
const fn keeps_running(action: Action) -> bool {
    match action {
        Action::Change(effect) => match effect {
            Effect::None | Effect::Note | Effect::Republish => true,
            Effect::Restart | Effect::Redeploy | Effect::Replace => false,
        },
        Action::Create | Action::Start | Action::Delete => false,
    }
}

fn is_rewired(before: Option<&Placed>, after: Option<&Placed>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if before.spec.imports != after.spec.imports)
}

fn wants(placed: Option<&Placed>, variable: &Variable) -> bool {
    placed.is_some_and(|placed| {
        placed.spec.imports.iter().any(|import| {
            !import.external
                && import.prefix == variable.prefix
                && import.variable.as_ref().is_none_or(|local| *local == variable.local)
        })
    })
}
