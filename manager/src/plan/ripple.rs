//! Which imports move on instances that no change mentions, and what those do about it; in other applications, too.
//!
//! Followed from provider to importer: what differs between before and after, what is withdrawn for a moment because
//! its instance starts again, and what goes because its instance has to wait. An importer that starts again, or
//! waits, is itself a provider that moves.

mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use robo_model::effect::{self, Effect};
use robo_model::name::{ApplicationName, DeviceId, DeviceName, Variable};
use robo_wire::plan::{Action, Change, Consequence, Ripple, RippleKind};

use self::value::Value;
use super::net::{Column, Face, Need, Net, View, faces};
use super::place::Placed;
use super::warning::Warnings;

/// Most lines of one ripple: more than anyone reads, and a plan stays below
/// [`robo_wire::api::MAX_JSON_BODY`].
pub const MAX_RIPPLE: usize = 50_000;

/// What a change sets in motion.
pub(super) struct Motion<'a> {
    /// How everything was.
    pub(super) before: Net<'a>,
    /// Whether an instance runs, before and after.
    pub(super) running: [Column<bool>; 2],
    /// Instances that stop and start again.
    pub(super) bouncing: Column<bool>,
    /// Instances that run their update step, and because of whom.
    pub(super) updating: BTreeMap<usize, BTreeSet<usize>>,
    /// The imports that move, in the order of importers, providers and variables.
    pub(super) ripple: Vec<Ripple>,
}

/// Follows the changes; nothing when there is none.
pub(super) fn motion<'a>(
    view: &'a View<'a>,
    changes: &[Option<Change>],
    names: &BTreeMap<&DeviceId, &DeviceName>,
    warnings: &mut Warnings,
) -> Option<Motion<'a>> {
    if changes.iter().all(Option::is_none) {
        return None;
    }
    let before = view.before();
    let mut spread = Spread::new(view, &before, changes);
    spread.run();
    if spread.lines.len() >= MAX_RIPPLE {
        warnings.add(format!("more than {MAX_RIPPLE} imports move: not all of them are listed"));
    }
    let updating = spread.updating();
    let Spread { running, bouncing, mut lines, .. } = spread;
    for ((importer, _, _), line) in &mut lines {
        if bouncing[*importer] {
            line.consequence = line.consequence.max(Consequence::Restart);
        }
    }
    let ripple = into_ripple(view, lines, names);
    Some(Motion { before, running, bouncing, updating, ripple })
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
    face: Face<'a>,
    before: Option<Value<'a>>,
    after: Option<Value<'a>>,
}

struct Spread<'a, 'b> {
    view: &'b View<'a>,
    before: &'b Net<'a>,
    after: &'b Net<'a>,
    /// Whether an instance runs, and its exports are there, before and after.
    running: [Column<bool>; 2],
    /// Whether it is to run after.
    wanted: Column<bool>,
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

impl<'a, 'b> Spread<'a, 'b> {
    fn new(view: &'b View<'a>, before: &'b Net<'a>, changes: &[Option<Change>]) -> Self {
        let actions = || changes.iter().map(|change| change.as_ref().map(|change| change.action));
        let after = &view.after;
        let wanted = after.wanted(&view.family);
        let running = running(view, before, &wanted);
        let settled: Column<bool> = actions().map(|action| action.is_some_and(|a| !keeps_running(a))).collect();
        let rewired: Column<bool> =
            before.members.iter().zip(after.members.iter()).map(|(b, a)| is_rewired(*b, *a)).collect();
        let [was, is] = &running;
        // The others see nothing, however many they are.
        let looks = |importer: usize| !settled[importer] && (was[importer] || wanted[importer]);
        let mut spread = Self {
            importers: [after.importers(looks), before.importers(|importer| rewired[importer] && looks(importer))],
            present: after.count_providers(|provider| is[provider]),
            steady: after.count_providers(|provider| was[provider] && is[provider]),
            bouncing: Column::filled(false, changes.len()),
            queue: VecDeque::new(),
            lines: BTreeMap::new(),
            view,
            before,
            after,
            running,
            wanted,
            settled,
            rewired,
        };
        for (position, action) in actions().enumerate() {
            let [was, is] = &spread.running;
            let moved = was[position] != is[position];
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
            let now = self.after.slots_of(provider, moved.face).flat_map(|slot| &now[slot]);
            let then = self.before.slots_of(provider, moved.face).flat_map(|slot| &then[slot]);
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
        let [was, is] = &self.running;
        let old = self.before.members[provider].filter(|_| was[provider]);
        let new = self.after.members[provider].filter(|_| is[provider]);
        let all: BTreeSet<Face<'a>> = [old, new].into_iter().flatten().flat_map(|placed| faces(&placed.spec)).collect();
        let value = |side: Option<&'a Placed>, face| side.and_then(|placed| Value::of(placed, face));
        all.into_iter().map(|face| Move { face, before: value(old, face), after: value(new, face) }).collect()
    }

    /// Notes what `importer` sees of a move, and follows on when it starts again.
    fn record(&mut self, importer: usize, provider: usize, moved: &Move<'a>) {
        let Some(placed) = self.after.members[importer].filter(|_| importer != provider && !self.settled[importer])
        else {
            return;
        };
        let [was, is] = &self.running;
        if !was[importer] && !self.wanted[importer] {
            return;
        }
        let sees = |net: &Net<'a>| !self.rewired[importer] || self.wants(net.members[importer], provider, moved.face);
        let before = moved.before.as_ref().filter(|_| sees(self.before));
        let after = moved.after.as_ref().filter(|_| sees(self.after));
        let kind = match (before, after) {
            (None, None) => return,
            (None, Some(_)) => RippleKind::Appears,
            (Some(_), None) => RippleKind::Vanishes,
            (Some(old), Some(new)) if old == new && !self.bouncing[provider] => return,
            (Some(_), Some(_)) => RippleKind::Changes,
        };
        let variable = moved.face.variable;
        let consequence = match (was[importer], is[importer]) {
            (_, false) => Consequence::Wait,
            (false, true) => Consequence::Start,
            (true, true) => self.consequence(placed, importer, variable),
        };
        let shown = |value: Option<&Value<'_>>| value.and_then(Value::shown);
        let line = Line { before: shown(before), after: shown(after), kind, consequence, same: before == after };
        let line = self.lines.entry((importer, provider, variable)).or_insert(line);
        line.consequence = line.consequence.max(consequence);
        if consequence == Consequence::Restart {
            self.bounce(importer);
        }
    }

    fn consequence(&self, placed: &Placed, importer: usize, variable: &Variable) -> Consequence {
        let [was, is] = &self.running;
        let need = self.after.need(importer, &variable.prefix).filter(|need| need.mandatory);
        if let Some(need) = need {
            if !self.any_other(need, &self.present, is[importer]) {
                return Consequence::Wait;
            }
            let own = was[importer] && is[importer] && !self.bouncing[importer];
            // Between the one who goes and the one who comes, or comes back, there is nobody.
            if !self.any_other(need, &self.steady, own) {
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
            let [was, is] = &self.running;
            if was[next] && is[next] && !std::mem::replace(&mut self.bouncing[next], true) {
                self.queue.push_back(next);
                for slot in self.after.offers(next) {
                    self.steady[*slot] = self.steady[*slot].saturating_sub(1);
                }
                family.extend(&self.view.family.children[next]);
            }
        }
    }

    /// Who runs an update step, and because of whom.
    fn updating(&self) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut updating: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for ((importer, provider, _), line) in &self.lines {
            if line.consequence == Consequence::Update && !self.bouncing[*importer] {
                updating.entry(*importer).or_default().insert(*provider);
            }
        }
        updating
    }

    /// True when an instance asks for what `provider` offers in this face.
    fn wants(&self, importer: Option<&Placed>, provider: usize, face: Face<'_>) -> bool {
        let Some((spec, provider)) = importer.map(|placed| &placed.spec).zip(self.view.pairs.get(provider)) else {
            return false;
        };
        let from: &ApplicationName = &provider.key.application;
        let outside = *from != spec.key.application;
        let variable = face.variable;
        outside == face.outside
            && (!outside || spec.bindings.get(&variable.prefix).is_some_and(|bound| bound.contains(from)))
            && spec.imports.iter().any(|import| {
                import.external == outside
                    && import.prefix == variable.prefix
                    && import.variable.as_ref().is_none_or(|local| *local == variable.local)
            })
    }
}

/// The lines, in their order.
fn into_ripple(
    view: &View<'_>,
    lines: BTreeMap<Key<'_>, Line>,
    names: &BTreeMap<&DeviceId, &DeviceName>,
) -> Vec<Ripple> {
    let mut ripple = Vec::with_capacity(lines.len());
    let mut group: Vec<(Key<'_>, Line)> = Vec::new();
    for (key, line) in lines {
        if group.last().is_some_and(|(last, _)| !is_one_group(last, &key)) {
            tell((view, names), std::mem::take(&mut group), &mut ripple);
        }
        group.push((key, line));
    }
    tell((view, names), group, &mut ripple);
    ripple
}

/// True when both are about what one importer gets of one provider under one prefix.
fn is_one_group(a: &Key<'_>, b: &Key<'_>) -> bool {
    (a.0, a.1, &a.2.prefix) == (b.0, b.1, &b.2.prefix)
}

/// Adds the lines of one group. Where nothing but a restart happens to the provider, the first variable stands for all.
fn tell(
    (view, names): (&View<'_>, &BTreeMap<&DeviceId, &DeviceName>),
    mut group: Vec<(Key<'_>, Line)>,
    ripple: &mut Vec<Ripple>,
) {
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
    let other = |position: usize| {
        let pair = view.pairs.get(position).filter(|_| position >= view.own);
        pair.map(|pair| pair.key.application.clone())
    };
    for ((importer, provider, variable), line) in group {
        let (Some(at), Some(from)) = (view.after.members[importer], view.pairs.get(provider)) else { continue };
        ripple.push(Ripple {
            application: other(importer),
            path: at.spec.key.path.clone(),
            device: names.get(&at.bound.id).copied().unwrap_or(&at.bound.name).clone(),
            variable: variable.clone(),
            provider: from.key.path.clone(),
            provider_application: other(provider),
            before: line.before,
            after: line.after,
            kind: line.kind,
            consequence: line.consequence,
        });
    }
}

/// Whether each instance runs, before and after. Those who only serve each other are taken to run, where nothing but a
/// change starts them; afterwards they do while they did before.
fn running(view: &View<'_>, before: &Net<'_>, wanted: &Column<bool>) -> [Column<bool>; 2] {
    let (family, after, all) = (&view.family, &view.after, 0..view.pairs.len());
    let was_wanted = before.wanted(family);
    let (was_up, is_up) = (before.up(family, &was_wanted), after.up(family, wanted));
    let lasted = before.lasting(family, was_wanted);
    let was: Column<bool> = all.clone().map(|i| was_up[i] || (lasted[i] && !is_up[i])).collect();
    let is = all.map(|i| wanted[i] && (was[i] || is_up[i])).collect();
    let is = after.lasting(family, is);
    [was, is]
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
    let is_other = |(before, after): (&Placed, &Placed)| {
        before.spec.imports != after.spec.imports || before.spec.bindings != after.spec.bindings
    };
    before.zip(after).is_some_and(is_other)
}

#[cfg(test)]
mod tests {
    use robo_model::state::Wanted;

    use super::super::tests::{Store, app};
    use super::super::{Current, Overrides, Prefixes, World, before, change, net};
    use super::*;

    #[test]
    fn importers_that_stand_still_cost_nothing() {
        let lines = |port: &str| {
            app(&[
                "/a Vm target",
                &format!("/a/db Db script | Db.port={port}"),
                "/b Vm2 target",
                "/b/w Web script || Db.*",
            ])
        };
        let looked_at = |stopped: bool| {
            let mut store = Store::new(&["a", "b"]);
            let first = store.apply(&lines("1"));
            let wanted = stopped.then(|| ("/b".parse().unwrap(), Wanted::Stopped));
            store.overrides = Overrides { count: 1, wanted: wanted.into_iter().collect() };
            store.keep_overrides = true;
            let second = store.apply(&lines("2"));
            let of = |port: &str, bindings| {
                let desired = lines(port);
                let none = Prefixes::new();
                let current =
                    Current { revision: 1, desired: &desired, bindings, overrides: &store.overrides, bound_to: &none };
                let world = World {
                    devices: &store.devices,
                    current: Some(current),
                    others: &[],
                    offers: &none,
                    ports: &store.ports,
                    forbidden: &store.forbidden,
                };
                before(&world)
            };
            let pairs = change::pair(of("1", &first.bindings), of("2", &second.bindings));
            let changes = change::changes(&pairs, &second.bindings, &store.devices);
            let applications = net::Applications::new(&pairs);
            let view = View::new(&pairs, pairs.len(), &applications);
            let before = view.before();
            Spread::new(&view, &before, &changes).importers[0].iter().map(Vec::len).sum::<usize>()
        };
        assert_eq!((looked_at(false), looked_at(true)), (1, 0));
    }
}
