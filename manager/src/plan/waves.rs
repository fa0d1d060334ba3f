//! The order in which everything can start, and what stands in the way of it.

use std::collections::BTreeMap;

use robo_model::graph::Import;
use robo_model::name::{ApplicationName, InstancePath};

use super::Prefixes;
use super::layers::Layers;
use super::net::{Column, Family, Net, View};
use super::warning::{Warnings, list};

/// The order in which everything can start.
pub(super) struct Waves {
    /// The planned application's instances, wave by wave.
    pub(super) own: Vec<Vec<InstancePath>>,
    /// The wave of each instance, of other applications, too; from 1.
    pub(super) level: Column<usize>,
}

/// Layers: what an instance needs stands in earlier ones, and what needs each other in the same. Tells of what
/// will not start by itself. `offers` are the applications that offer something to others.
pub(super) fn waves(view: &View<'_>, offers: &Prefixes, warnings: &mut Warnings) -> Waves {
    let layers = layers(&view.after, &view.family);
    warn_of_cycles(view, &layers, warnings);
    warn_of_missing(view, warnings);
    warn_of_external(view, offers, warnings);
    let mut waves: Vec<Vec<InstancePath>> = Vec::new();
    for (position, pair) in view.pairs.iter().enumerate().take(view.own).filter(|(_, pair)| pair.new.is_some()) {
        let level = layers.level[position];
        waves.resize_with(waves.len().max(level), Vec::new);
        if let Some(wave) = level.checked_sub(1).and_then(|wave| waves.get_mut(wave)) {
            wave.push(pair.key.path.clone());
        }
    }
    Waves { own: waves, level: layers.level }
}

/// The wave of each instance on one side, from 1.
pub(super) fn levels(net: &Net<'_>, family: &Family) -> Column<usize> {
    layers(net, family).level
}

fn layers(net: &Net<'_>, family: &Family) -> Layers {
    Layers::new(net.members.iter().len(), edges(net, family))
}

/// From each instance to its parent and the slots it cannot do without, and from each slot to all who offer in it.
fn edges(net: &Net<'_>, family: &Family) -> Column<Vec<usize>> {
    let instances = net.members.iter().len();
    let of_instances = (0..instances).map(|instance| {
        let parent = family.parents[instance].filter(|parent| net.members[*parent].is_some());
        let needs = net.needs_of(instance).filter(|need| need.mandatory);
        let slots = needs.flat_map(|need| &need.slots).map(|slot| instances + slot);
        parent.into_iter().filter(|_| net.members[instance].is_some()).chain(slots).collect()
    });
    let of_slots = (0..net.slot_count()).map(|slot| net.providers(slot).to_vec());
    of_instances.chain(of_slots).collect()
}

fn warn_of_cycles(view: &View<'_>, layers: &Layers, warnings: &mut Warnings) {
    let own: Vec<&Vec<usize>> =
        layers.cycles.iter().filter(|cycle| cycle.iter().any(|member| *member < view.own)).collect();
    if own.is_empty() {
        return;
    }
    let up = view.after.up(&view.family, &view.after.wanted(&view.family));
    for cycle in own {
        let circle = circle(view, layers, cycle);
        let outcome = if cycle.iter().all(|instance| up[*instance]) {
            "others serve them, too, so that they start, in an order that is not fixed"
        } else {
            "they wait for one another and never start; mark one of the imports `(optional)`"
        };
        warnings.add(format!("{circle}: {outcome}"));
    }
}

/// Most instances of a circle that are named.
const MAX_CIRCLE: usize = 8;

/// Who waits for whom, once round: `` `/a` waits for `/b` (Db), `/b` for `/a` (Web)``.
fn circle(view: &View<'_>, layers: &Layers, members: &[usize]) -> String {
    let round = layers.round(members);
    let name = |position: usize| match view.pairs.get(position) {
        Some(pair) if position < view.own => format!("`{}`", pair.key.path),
        Some(pair) => format!("`{}`", pair.key),
        None => String::new(),
    };
    let mut parts: Vec<String> = Vec::with_capacity(round.len());
    for (waiting, on) in round.iter().zip(round.iter().cycle().skip(1)) {
        let verb = if parts.is_empty() { "waits for" } else { "for" };
        parts.push(format!("{} {verb} {} ({})", name(*waiting), name(*on), because(view, *waiting, *on)));
    }
    let more = parts.len().saturating_sub(MAX_CIRCLE);
    parts.truncate(MAX_CIRCLE);
    let rest = if more > 0 { format!(", and {more} more on the way back") } else { String::new() };
    format!("{}{rest}", parts.join(", "))
}

/// What makes one instance wait for another.
fn because(view: &View<'_>, waiting: usize, on: usize) -> String {
    if view.family.parents[waiting] == Some(on) {
        return "which it stands on".to_owned();
    }
    let serves = |slot: &usize| view.after.providers(*slot).binary_search(&on).is_ok();
    let need = view.after.needs_of(waiting).find(|need| need.mandatory && need.slots.iter().any(serves));
    need.map_or_else(String::new, |need| need.prefix.to_string())
}

fn warn_of_missing(view: &View<'_>, warnings: &mut Warnings) {
    let net = &view.after;
    let mut waiting: BTreeMap<String, Vec<&InstancePath>> = BTreeMap::new();
    for need in net.needs.iter().take_while(|need| need.importer < view.own).filter(|need| need.mandatory) {
        let served = need.slots.iter().flat_map(|slot| net.providers(*slot)).any(|p| *p != need.importer);
        let Some(placed) = net.members[need.importer].filter(|_| !served) else { continue };
        let imports = placed.spec.imports.iter().filter(|i| i.prefix == *need.prefix && !i.external && !i.optional);
        let imports: Vec<&Import> = imports.collect();
        if !imports.is_empty() {
            waiting.entry(list(imports.into_iter())).or_default().push(&placed.spec.key.path);
        }
    }
    for (imports, importers) in waiting {
        let importers = list(importers.into_iter());
        warnings.add(format!(
            "nothing in the application offers {imports}, and {importers} cannot start without: \
             add an instance that exports it, or mark the import `(optional)`"
        ));
    }
}

/// Who imports from others and gets nothing: by the import, whether it is optional, and where it is to come from.
type Unserved<'a> = BTreeMap<(&'a Import, bool, Vec<&'a ApplicationName>), Vec<&'a InstancePath>>;

fn warn_of_external(view: &View<'_>, offers: &Prefixes, warnings: &mut Warnings) {
    let net = &view.after;
    let mut unserved = Unserved::new();
    for placed in net.members.iter().take(view.own).flatten() {
        for import in placed.spec.imports.iter().filter(|import| import.external) {
            let to: Vec<&ApplicationName> = placed.spec.bindings.get(&import.prefix).into_iter().flatten().collect();
            if to.is_empty() || !net.is_offered(&to, import) {
                unserved.entry((import, import.optional, to)).or_default().push(&placed.spec.key.path);
            }
        }
    }
    let Some(name) = view.pairs.first().map(|pair| &pair.key.application) else { return };
    for ((import, optional, to), importers) in unserved {
        let importers = list(importers.into_iter());
        let outcome = if optional { "goes without" } else { "does not start" };
        if !to.is_empty() {
            let to = list(to.into_iter());
            warnings.add(format!("nothing in {to} offers `{import}` to others: {importers} {outcome}"));
            continue;
        }
        let prefix = &import.prefix;
        let from: Vec<&ApplicationName> = offers.get(prefix).into_iter().flatten().filter(|o| *o != name).collect();
        let help = match from.first() {
            None => format!("apply one with `exports-prefix: {prefix};`, then `robo bind {name} {prefix} NAME`"),
            Some(first) => {
                let by = list(from.iter());
                format!("`robo bind {name} {prefix} {first}` takes it from there; it is offered by {by}")
            }
        };
        warnings.add(format!(
            "`{import}` comes from another application, and none is bound: {importers} {outcome}; {help}"
        ));
    }
}
