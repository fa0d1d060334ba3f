//! The simulation, with the seeds of the suite; the long run is `cargo run --release -p robo-tests --bin sim`.

mod store;

use robo_tests::sim::{Scale, Story, run, shrink};

/// Enough to meet each pair of troubles many times, few enough for a minute.
const SEEDS: u64 = 200;

/// Seeds that once failed: here for good, whatever the numbers above become.
const ONCE_FAILED: [u64; 6] = [949, 1852, 2276, 2428, 2689, 2905];

/// The same, in worlds of the long run: so many agents and instances.
const ONCE_FAILED_LARGE: [u64; 2] = [658, 3307];
const AGENTS: usize = 20;
const INSTANCES: usize = 200;

fn check(seed: u64, scale: Scale) {
    let story = Story::draw(seed, scale);
    let Some(failure) = run(&story, false).failure else { return };
    let mut lines = vec![format!("seed {seed}: {:?} after {} ms: {}", failure.kind, failure.at, failure.what)];
    if let Some(shrunk) = shrink::shrink(&story) {
        lines.push(format!("the short story ({} devices): {}", story.scale.agents, shrunk.failure.what));
        lines.extend(shrunk.story.deeds.iter().map(|deed| format!("  {deed}")));
    }
    let is_mixed = story.scale == Scale::of_seed(seed);
    let size = if is_mixed { "--mixed".to_owned() } else { format!("--agents {AGENTS} --instances {INSTANCES}") };
    lines.push(format!("see it: cargo run -p robo-tests --bin sim -- {size} --replay {seed} --shrink"));
    panic!("{}", lines.join("\n"));
}

#[test]
fn whatever_happens_all_becomes_as_it_should_be() {
    for seed in 0..SEEDS {
        check(seed, Scale::of_seed(seed));
    }
}

#[test]
fn what_once_failed_does_not_fail_again() {
    for seed in ONCE_FAILED {
        check(seed, Scale::of_seed(seed));
    }
    for seed in ONCE_FAILED_LARGE {
        check(seed, Scale::full(AGENTS, INSTANCES));
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let story = Story::draw(7, Scale::of_seed(7));
    let [a, b] = [run(&story, true), run(&story, true)];
    assert_eq!((a.events, a.time, a.trace), (b.events, b.time, b.trace));
}
