//! What differs from what was applied last, with its reasons in words.

mod reason;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use robo_model::effect::{self, Effect};
use robo_model::name::{DeviceId, DeviceName, InstancePath};
use robo_model::spec::InstanceKey;
use robo_model::state::Wanted;
use robo_wire::plan::{Action, Bound, Change};

use super::Device;
use super::place::Placed;

/// One path before and after.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: InstanceKey,
    pub(super) old: Old,
    pub(super) new: Option<Placed>,
}

/// How an instance was before.
#[derive(Debug)]
pub(super) enum Old {
    /// It was not.
    Absent,
    /// To the letter as it will be: kept once, since that is nearly all of a large application.
    Same,
    /// Otherwise.
    Other(Box<Placed>),
}

impl Pair {
    /// An instance that no change is about.
    pub(super) fn standing(placed: Placed) -> Self {
        Self { key: placed.spec.key.clone(), old: Old::Same, new: Some(placed) }
    }

    /// How it was.
    pub(super) fn before(&self) -> Option<&Placed> {
        match &self.old {
            Old::Absent => None,
            Old::Same => self.new.as_ref(),
            Old::Other(placed) => Some(placed),
        }
    }
}

/// Brings both sides together, in the order of the paths.
pub(super) fn pair(before: Vec<Placed>, after: Vec<Placed>) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(before.len().max(after.len()));
    let mut before = before.into_iter().peekable();
    let mut after = after.into_iter().peekable();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.spec.key.path.cmp(&new.spec.key.path),
        };
        let old = if order == Ordering::Greater { None } else { before.next() };
        let new = if order == Ordering::Less { None } else { after.next() };
        let Some(key) = old.as_ref().or(new.as_ref()).map(|placed| placed.spec.key.clone()) else { continue };
        let old = match old {
            None => Old::Absent,
            Some(old) if new.as_ref().is_some_and(|new| is_same(&old, new)) => Old::Same,
            Some(old) => Old::Other(Box::new(old)),
        };
        pairs.push(Pair { key, old, new });
    }
}

fn is_same(old: &Placed, new: &Placed) -> bool {
    old.bound.id == new.bound.id && old.spec == new.spec
}

/// What happens to each pair; nothing where nothing does.
pub(super) fn changes(
    pairs: &[Pair],
    bindings: &BTreeMap<InstancePath, Bound>,
    devices: &[Device],
) -> Vec<Option<Change>> {
    let names = names(bindings, devices);
    pairs.iter().map(|pair| change(pair, &names)).collect()
}

/// How the devices are called now.
pub(super) fn names<'a>(
    bindings: &'a BTreeMap<InstancePath, Bound>,
    devices: &'a [Device],
) -> BTreeMap<&'a DeviceId, &'a DeviceName> {
    let mut names: BTreeMap<&DeviceId, &DeviceName> = devices.iter().map(|d| (&d.id, &d.name)).collect();
    names.extend(bindings.values().map(|bound| (&bound.id, &bound.name)));
    names
}

fn change(pair: &Pair, names: &BTreeMap<&DeviceId, &DeviceName>) -> Option<Change> {
    let name = |bound: &Bound| names.get(&bound.id).copied().unwrap_or(&bound.name).clone();
    let line = |placed: &Placed, action, reasons| Change {
        path: pair.key.path.clone(),
        component: placed.spec.component.clone(),
        device: name(&placed.bound),
        action,
        reasons,
    };
    match (&pair.old, &pair.new) {
        (Old::Absent, Some(new)) => Some(line(new, Action::Create, Vec::new())),
        (Old::Other(old), None) => Some(line(old, Action::Delete, Vec::new())),
        (Old::Other(old), Some(new)) => {
            let moved = old.bound.id != new.bound.id;
            let effect = if moved { Effect::Replace } else { effect::of_change(&old.spec, &new.spec) };
            let again = by_hand(old.spec.wanted, new.spec.wanted);
            let action = match (effect, again) {
                (Effect::None, None) => return None,
                (Effect::None, Some(_)) if new.spec.wanted > old.spec.wanted => Action::Start,
                (Effect::None, Some(_)) => Action::Change(Effect::Note),
                (effect, _) => Action::Change(effect),
            };
            let from_to = moved.then(|| format!("moved from device {} to {}", name(&old.bound), name(&new.bound)));
            let mut reasons: Vec<String> = from_to.into_iter().collect();
            reasons.extend(reason::reasons(&old.spec, &new.spec));
            reasons.extend(again.map(str::to_owned));
            Some(line(new, action, reasons))
        }
        (Old::Absent | Old::Same, None) | (Old::Same, Some(_)) => None,
    }
}

/// Why something else is wished of an instance than before.
fn by_hand(old: Wanted, new: Wanted) -> Option<&'static str> {
    match (old, new) {
        (old, new) if old == new => None,
        (Wanted::Stopped, Wanted::Started | Wanted::Stopped) => Some("was stopped by hand"),
        (Wanted::NotDeployed, _) => Some("was undeployed by hand"),
        (_, Wanted::NotDeployed) => Some("what stands above it was undeployed by hand"),
        (_, Wanted::Stopped | Wanted::Started) => Some("what stands above it was stopped by hand"),
    }
}
