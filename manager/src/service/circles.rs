//! Which instances wait for one another: from what they should be and what they are, without I/O.
//!
//! One waits for all that it needs, and for each need one of those who offer it is enough. So first everything is taken
//! away that starts sooner or later, because somebody who runs or is on the way serves it; of those that are left,
//! circles are told, and not those who only wait for a circle, or for what nobody offers.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, ComponentName, InstancePath};
use robo_model::resolve::{Topic, topics_of};
use robo_model::spec::InstanceSpec;
use robo_model::state::{InstanceState, Wanted};
use robo_wire::api::{Circle, CircleMember};

/// True for an instance that cannot start, because of what it needs or stands on.
pub(super) const fn waits(state: InstanceState) -> bool {
    matches!(state, InstanceState::Unresolved | InstanceState::WaitingForAncestor)
}

/// An instance, as far as it counts here.
pub(super) struct Known<'a> {
    pub(super) spec: &'a InstanceSpec,
    /// As its device told last.
    pub(super) state: InstanceState,
}

/// All circles among the instances, in order; each instance stands in one at most. Linear in instances, imports and
/// exports.
pub(super) fn circles(known: &[Known<'_>]) -> Vec<Circle> {
    let all = Everything::new(known);
    let stuck = all.stuck();
    let numbers: BTreeMap<usize, usize> = stuck.iter().enumerate().map(|(number, at)| (*at, number)).collect();
    let of_instances = stuck.iter().map(|at| all.edges(*at, &numbers));
    let of_slots = all.slots.iter().map(|slot| slot.offer.iter().filter_map(|at| numbers.get(at).copied()).collect());
    let edges = of_instances.chain(of_slots).collect();
    let rounds = crate::plan::circles(stuck.len(), edges).into_iter();
    let mut circles: Vec<Circle> = rounds.map(|round| all.told(&round, &stuck)).collect();
    circles.sort();
    circles
}

/// What an instance waits for; it needs all of them.
struct Need<'a> {
    /// Nothing for its parent.
    prefix: Option<&'a ComponentName>,
    /// Whoever is one of these serves it.
    instances: Vec<usize>,
    /// Whoever offers in one of these serves it.
    slots: Vec<usize>,
}

/// Where exports and imports meet.
#[derive(Default)]
struct Slot {
    /// Who offers something here, in order.
    offer: Vec<usize>,
    /// Whose needs it would serve: the instance, and which of its needs.
    serves: Vec<(usize, usize)>,
}

struct Everything<'a> {
    known: &'a [Known<'a>],
    /// Of those that wait; nothing of all others.
    needs: Vec<Vec<Need<'a>>>,
    slots: Vec<Slot>,
    /// Who waits for it as for a parent: the instance, and which of its needs.
    children: BTreeMap<usize, Vec<(usize, usize)>>,
    /// In which slots it offers something, by instance.
    offers: Vec<Vec<usize>>,
}

impl<'a> Everything<'a> {
    fn new(known: &'a [Known<'a>]) -> Self {
        let places: BTreeMap<(&ApplicationName, &InstancePath), usize> =
            known.iter().enumerate().map(|(at, one)| ((&one.spec.key.application, &one.spec.key.path), at)).collect();
        let mut numbers: BTreeMap<Topic, usize> = BTreeMap::new();
        let mut all = Self {
            known,
            needs: Vec::with_capacity(known.len()),
            slots: Vec::new(),
            children: BTreeMap::new(),
            offers: Vec::with_capacity(known.len()),
        };
        for (at, one) in known.iter().enumerate() {
            let mut needs = if all.starts(at) { Vec::new() } else { imports(one.spec, &mut numbers) };
            let parent = one.spec.key.path.parent();
            let parent = parent.and_then(|path| places.get(&(&one.spec.key.application, &path)).copied());
            if let Some(parent) = parent.filter(|_| !all.starts(at)) {
                all.children.entry(parent).or_default().push((at, needs.len()));
                needs.push(Need { prefix: None, instances: vec![parent], slots: Vec::new() });
            }
            all.needs.push(needs);
        }
        all.slots.resize_with(numbers.len(), Slot::default);
        all.fill(&numbers);
        all
    }

    /// Who offers where, and whom that serves.
    fn fill(&mut self, numbers: &BTreeMap<Topic, usize>) {
        for (at, one) in self.known.iter().enumerate() {
            let offers = offered(one.spec).into_iter().filter_map(|topic| numbers.get(&topic).copied());
            let offers: Vec<usize> = offers.filter(|_| one.spec.wanted == Wanted::Started).collect();
            for number in &offers {
                if let Some(slot) = self.slots.get_mut(*number) {
                    slot.offer.push(at);
                }
            }
            self.offers.push(offers);
        }
        for (at, needs) in self.needs.iter().enumerate() {
            for (which, need) in needs.iter().enumerate() {
                for number in &need.slots {
                    if let Some(slot) = self.slots.get_mut(*number) {
                        slot.serves.push((at, which));
                    }
                }
            }
        }
    }

    /// True for one that runs, or is on the way, or need not run.
    fn starts(&self, at: usize) -> bool {
        self.known.get(at).is_none_or(|one| !waits(one.state) || one.spec.wanted != Wanted::Started)
    }

    /// Those that wait for what will not come by itself, in order.
    fn stuck(&self) -> Vec<usize> {
        let mut open: Vec<usize> = (0..self.known.len()).filter(|at| self.starts(*at)).collect();
        let mut met: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut missing: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let waiting = (0..self.known.len()).filter(|at| !self.starts(*at));
        // One that waits for nothing that is known here is on the way, too: its device says so in a moment.
        open.extend(waiting.clone().filter(|at| missing.get(*at) == Some(&0)));
        let mut served = vec![false; self.slots.len()];
        while let Some(at) = open.pop() {
            let mut serves: Vec<(usize, usize)> = self.children.get(&at).into_iter().flatten().copied().collect();
            for number in self.offers.get(at).into_iter().flatten() {
                if let (Some(slot), Some(served)) = (self.slots.get(*number), served.get_mut(*number))
                    && !std::mem::replace(served, true)
                {
                    serves.extend(&slot.serves);
                }
            }
            for (importer, need) in serves {
                if let Some(missing) = missing.get_mut(importer)
                    && met.insert((importer, need))
                {
                    *missing -= 1;
                    if *missing == 0 {
                        open.push(importer);
                    }
                }
            }
        }
        waiting.filter(|at| missing.get(*at).is_some_and(|missing| *missing > 0)).collect()
    }

    /// What one that is stuck waits for, as numbers among the stuck, and of slots after them. Of those who serve a need
    /// either all are stuck, or none: then it does not wait for them.
    fn edges(&self, at: usize, numbers: &BTreeMap<usize, usize>) -> Vec<usize> {
        let mut edges = Vec::new();
        for need in self.needs.get(at).into_iter().flatten() {
            edges.extend(need.instances.iter().filter_map(|other| numbers.get(other).copied()));
            edges.extend(need.slots.iter().map(|slot| numbers.len() + slot));
        }
        edges
    }

    fn told(&self, round: &[usize], stuck: &[usize]) -> Circle {
        let places = || round.iter().filter_map(|number| stuck.get(*number).copied());
        let members = places().zip(places().cycle().skip(1)).filter_map(|(at, next)| {
            let key = &self.known.get(at)?.spec.key;
            let serves = |slot: &Slot| slot.offer.binary_search(&next).is_ok();
            let need = self.needs.get(at)?.iter().find(|need| {
                need.instances.contains(&next) || need.slots.iter().filter_map(|n| self.slots.get(*n)).any(serves)
            });
            let prefix = need.and_then(|need| need.prefix).cloned();
            Some(CircleMember { application: key.application.clone(), path: key.path.clone(), prefix })
        });
        Circle { members: members.collect() }
    }
}

/// The mandatory imports, by prefix.
fn imports<'a>(spec: &'a InstanceSpec, numbers: &mut BTreeMap<Topic, usize>) -> Vec<Need<'a>> {
    let mut by_prefix: BTreeMap<&ComponentName, BTreeSet<usize>> = BTreeMap::new();
    for import in spec.imports.iter().filter(|import| !import.optional) {
        let slots = by_prefix.entry(&import.prefix).or_default();
        for topic in topics_of(spec, import) {
            let next = numbers.len();
            slots.insert(*numbers.entry(topic).or_insert(next));
        }
    }
    let need = |(prefix, slots): (_, BTreeSet<usize>)| Need {
        prefix: Some(prefix),
        instances: Vec::new(),
        slots: slots.into_iter().collect(),
    };
    by_prefix.into_iter().map(need).collect()
}

/// Where it offers something while it is started.
fn offered(spec: &InstanceSpec) -> BTreeSet<Topic> {
    let inside = spec.exports.keys().map(|variable| (variable, false));
    let outside = spec.outside.keys().map(|variable| (variable, true));
    let topic = |(variable, outside): (&robo_model::name::Variable, bool)| Topic {
        application: spec.key.application.clone(),
        prefix: variable.prefix.clone(),
        outside,
    };
    inside.chain(outside).map(topic).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `app/path`, exports, imports, and whether it waits. An import of `other:Prefix` comes from an application.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], bool);

    fn spec(&(name, exports, imports, _): &Row<'_>) -> InstanceSpec {
        let (application, path) = name.split_once('/').unwrap();
        let external = |import: &str| import.split_once(':').map(|(app, prefix)| (app.to_owned(), prefix.to_owned()));
        let bindings: BTreeMap<String, Vec<String>> =
            imports.iter().filter_map(|i| external(i)).map(|(app, prefix)| (prefix, vec![app])).collect();
        let import = |import: &&str| {
            let name = external(import).map_or((*import).to_owned(), |(_, prefix)| prefix);
            let optional = name.ends_with('?');
            json!({"prefix": name.trim_end_matches('?'), "variable": "ip", "optional": optional,
                "external": import.contains(':')})
        };
        let exported = |inside: bool| {
            exports.iter().filter(move |name| name.starts_with('^') != inside).map(|name| name.trim_start_matches('^'))
        };
        let inside: serde_json::Map<_, _> =
            exported(true).map(|p| (format!("{p}.ip"), json!({"kind": "address"}))).collect();
        let outside: serde_json::Map<_, _> = exported(false).map(|p| (format!("{p}.ip"), json!("X.ip"))).collect();
        serde_json::from_value(json!({
            "key": {"application": application, "path": format!("/{path}")}, "component": "X",
            "installer": {"kind": "script"}, "exports": inside, "outside": outside,
            "imports": imports.iter().map(import).collect::<Vec<_>>(), "bindings": bindings,
        }))
        .unwrap()
    }

    fn check(rows: &[Row<'_>], expect: &[&str]) {
        let specs: Vec<InstanceSpec> = rows.iter().map(spec).collect();
        let state = |waits| if waits { InstanceState::Unresolved } else { InstanceState::DeployedStarted };
        let known: Vec<Known<'_>> =
            specs.iter().zip(rows).map(|(spec, row)| Known { spec, state: state(row.3) }).collect();
        let told = circles(&known).into_iter().map(|circle| {
            let member = |m: &CircleMember| {
                format!("{}{} for {}", m.application, m.path, m.prefix.as_ref().map_or("parent", |p| p.as_str()))
            };
            circle.members.iter().map(member).collect::<Vec<_>>().join(", ")
        });
        assert_eq!(told.collect::<Vec<_>>(), expect, "{rows:?}");
    }

    #[test]
    fn who_waits_for_one_another_is_found_and_nobody_else() {
        check(&[], &[]);
        // Two circles, and one that only waits for one of them.
        check(
            &[
                ("s/a", &["A"], &["B"], true),
                ("s/b", &["B"], &["A"], true),
                ("s/c", &["C"], &["D"], true),
                ("s/d", &["D"], &["C", "A"], true),
                ("s/e", &["E"], &["A"], true),
            ],
            &["s/a for B, s/b for A", "s/c for D, s/d for C"],
        );
        // What a facet or an inherited prefix offers counts, whatever the component is called; an optional one does not.
        check(&[("s/a", &["F"], &["G"], true), ("s/b", &["X", "G"], &["F"], true)], &["s/a for G, s/b for F"]);
        check(&[("s/a", &["A"], &["B?"], true), ("s/b", &["B"], &["A"], true)], &[]);
        // Nobody imports from himself, but two of a kind may wait for each other.
        check(&[("s/a", &["A"], &["A"], true)], &[]);
        check(&[("s/a", &["A"], &["A"], true), ("s/b", &["A"], &["A"], true)], &["s/a for A, s/b for A"]);
        // One that runs, or is on the way, serves one of them: the others follow.
        check(&[("s/a", &["A"], &["B"], true), ("s/b", &["B"], &["A"], true), ("s/c", &["B"], &[], false)], &[]);
        // What nobody offers is no circle; a parent that waits for its child is one.
        check(&[("s/a", &["A"], &["B"], true), ("s/b", &["C"], &["A"], true)], &[]);
        check(&[("s/vm", &["V"], &["A"], true), ("s/vm/a", &["A"], &[], true)], &["s/vm for A, s/vm/a for parent"]);
    }

    #[test]
    fn a_circle_may_lead_through_another_application() {
        let rows: [Row<'_>; 2] = [("s/a", &["^Sh"], &["t:Wh"], true), ("t/b", &["^Wh"], &["s:Sh"], true)];
        check(&rows, &["s/a for Wh, t/b for Sh"]);
        // Inside of an application the name of another one's prefix means nothing.
        check(&[("s/a", &["Sh"], &["t:Wh"], true), ("t/b", &["^Wh"], &["s:Sh"], true)], &[]);
    }

    #[test]
    fn many_that_wait_for_many_are_quickly_seen() {
        let names: Vec<String> = (0..10_000).map(|at| format!("s/a{at}")).collect();
        let rows: Vec<Row<'_>> = names.iter().map(|name| (name.as_str(), &["A"][..], &["A"][..], true)).collect();
        check(&rows, &["s/a0 for A, s/a1 for A"]);
    }
}
