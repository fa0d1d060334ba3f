//! The door: who goes when it is full, whose turn it is, and until when.

use proptest::prelude::*;

use super::*;

const PLACES: Places = Places { all: 10, source: 6, computing: 2 };

/// A source of that number.
fn source(number: u8) -> Source {
    Source::of(IpAddr::from([10, 0, 0, number]))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_source_is_what_one_customer_has() {
    let of = |address: &str| Source::of(address.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
}

#[test]
fn whoever_takes_most_places_gives_one() {
    let (now, mut door) = (Instant::now(), Door::new(PLACES));
    let one: Vec<_> = (0..6).map(|_| door.arrive(source(1), now)).collect();
    assert!(one.iter().all(|(_, cut)| cut.is_none()));
    // The share of one is full: the oldest of its own goes.
    let (seventh, cut) = door.arrive(source(1), now);
    assert_eq!(cut, Some(one[0].0));
    // All is full: the one that has most gives its oldest, others keep theirs.
    for number in 2..6 {
        assert_eq!(door.arrive(source(number), now).1, None);
    }
    assert_eq!(door.arrive(source(2), now).1, Some(one[1].0));
    assert_eq!(door.arrive(source(7), now).1, Some(one[2].0));
    // One that has said something goes after those that have not.
    door.wait(one[3].0, now);
    assert_eq!(door.arrive(source(8), now).1, Some(one[4].0));
    assert_eq!(door.arrive(source(9), now).1, Some(one[5].0));
    door.wait(seventh, now);
    assert!(door.until(one[3].0).is_some() && door.until(one[5].0).is_none());
}

#[test]
fn each_phase_has_its_time_but_the_last() {
    let (begin, mut door) = (Instant::now(), Door::new(Places { computing: 1, ..PLACES }));
    let (first, _) = door.arrive(source(1), begin);
    let (second, _) = door.arrive(source(1), begin);
    assert_eq!(door.until(first), Some(begin + FIRST_WORDS));
    assert_eq!(door.wait(first, begin + seconds(19)), Some(first));
    assert_eq!(door.wait(second, begin + seconds(19)), None);
    assert_eq!(door.until(second), Some(begin + seconds(19) + IN_LINE));
    assert_eq!(door.computed(first, begin + seconds(21)), Some(second));
    assert_eq!(door.until(first), Some(begin + seconds(21) + ANSWER));
    door.secured(first);
    assert_eq!(door.until(first), None);
    assert_eq!(door.leave(second, begin), None);
}

#[test]
fn who_comes_from_elsewhere_waits_for_no_flood() {
    let now = Instant::now();
    let mut door = Door::new(Places { all: 100, source: 50, computing: 1 });
    let flood: Vec<_> = (0..50).map(|_| door.arrive(source(1), now).0).collect();
    for id in &flood {
        door.wait(*id, now);
    }
    let (other, _) = door.arrive(source(2), now);
    assert_eq!(door.wait(other, now), None);
    assert_eq!(door.computed(flood[0], now), Some(other));
    assert_eq!(door.computed(other, now), Some(flood[1]));
}

#[derive(Debug, Clone)]
enum Act {
    Arrive(u8),
    Wait(usize),
    Computed(usize),
    Secured(usize),
    Leave(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..4_u8).prop_map(Act::Arrive),
        2 => any::<usize>().prop_map(Act::Wait),
        2 => any::<usize>().prop_map(Act::Computed),
        1 => any::<usize>().prop_map(Act::Secured),
        1 => any::<usize>().prop_map(Act::Leave),
    ];
    proptest::collection::vec(act, 0..200)
}

/// One of these, if there is one.
fn pick(ids: &BTreeSet<GuestId>, at: usize) -> Option<GuestId> {
    ids.iter().nth(at.checked_rem(ids.len())?).copied()
}

proptest! {
    #[test]
    fn bounds_hold_and_everybody_has_a_turn(acts in acts()) {
        let (now, mut door) = (Instant::now(), Door::new(PLACES));
        let (mut silent, mut waiting, mut computing) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut here: HashMap<GuestId, u8> = HashMap::new();
        for act in acts {
            let turn = match act {
                Act::Arrive(number) => {
                    let most = (0..4).map(|of| here.values().filter(|from| **from == of).count()).max();
                    let (id, cut) = door.arrive(source(number), now);
                    if let Some(cut) = cut {
                        let from = here[&cut];
                        let crowd = here.values().filter(|other| **other == from).count();
                        prop_assert!(from == number && crowd == PLACES.source || Some(crowd) == most);
                        here.remove(&cut);
                        silent.remove(&cut);
                        // Who had to go says so, as its owner does.
                        waiting.remove(&cut);
                        computing.remove(&cut);
                        let turn = door.leave(cut, now);
                        if let Some(turn) = turn {
                            prop_assert!(waiting.remove(&turn));
                            computing.insert(turn);
                        }
                    }
                    here.insert(id, number);
                    silent.insert(id);
                    None
                }
                Act::Wait(at) => pick(&silent, at).and_then(|id| {
                    silent.remove(&id);
                    waiting.insert(id);
                    door.wait(id, now)
                }),
                Act::Computed(at) => pick(&computing, at).and_then(|id| {
                    computing.remove(&id);
                    door.computed(id, now)
                }),
                Act::Secured(at) => {
                    let answering = here.keys().copied().filter(|id| !silent.contains(id) && !waiting.contains(id));
                    let answering: BTreeSet<_> = answering.filter(|id| !computing.contains(id)).collect();
                    if let Some(id) = pick(&answering, at) {
                        door.secured(id);
                    }
                    None
                }
                Act::Leave(at) => pick(&here.keys().copied().collect(), at).and_then(|id| {
                    here.remove(&id);
                    silent.remove(&id);
                    waiting.remove(&id);
                    computing.remove(&id);
                    door.leave(id, now)
                }),
            };
            if let Some(turn) = turn {
                prop_assert!(waiting.remove(&turn), "a turn of who does not wait");
                computing.insert(turn);
            }
            prop_assert_eq!(door.guests.len(), here.len());
            prop_assert!(here.len() <= PLACES.all && computing.len() <= PLACES.computing);
            for number in 0..4 {
                prop_assert!(here.values().filter(|from| **from == number).count() <= PLACES.source);
            }
            prop_assert!(waiting.is_empty() || computing.len() == PLACES.computing, "nobody waits for nothing");
        }
        for id in here.keys() {
            door.leave(*id, now);
        }
        prop_assert!(door.guests.is_empty() && door.sources.is_empty() && door.crowds.is_empty());
        prop_assert!(door.waiting.is_empty() && door.computing.is_empty());
    }
}
