//! The seeded simulation of the whole system: planner, links, agents, ledgers and reconcilers, in one thread, in
//! virtual time, from one seed; and everything that breaks them.
//!
//! What runs is the production code: `manager::plan`, `gateway::core::LinkCore`, `wire`'s sessions and frames,
//! `agent::pilot::Pilot` with its core and its ledger's bytes, `store::rules`. What is doubled stands here, because the
//! real one waits, asks a clock or needs a machine; `docs/decisions/0002-simulation.md` says how each double is held.
//!
//! - `story`: what people do and what breaks, drawn from the seed; [`shrink`] makes one that fails shorter.
//! - `graph`: the applications. `chance`: draws. `schedule`: virtual time.
//! - `world`: the loop. `agent`, `manager`, `people`, `trouble`: what happens to each.
//! - `net`, `disk`, `machine`: doubles of the network, the disk and the runtime. [`store`]: of the store.
//! - `watch`: what must never be; `expect`: what must be in the end; `rest`: nothing moves once all is well.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a simulation that cannot go on is a failed test")]

mod agent;
mod chance;
mod disk;
mod expect;
mod graph;
mod machine;
mod manager;
mod net;
mod people;
mod rest;
mod schedule;
pub mod shrink;
pub mod store;
mod story;
mod trouble;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::story::{Deed, Scale, Story, Weather, What};
pub use self::watch::Failing;
use self::world::World;

/// What came of one story.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was simulated.
    pub events: u64,
    /// How much virtual time passed, in milliseconds.
    pub time: u64,
    /// Steps that began.
    pub steps: u64,
    /// Requests of people, each with its verdict.
    pub requests: u64,
    /// What went wrong first.
    pub failure: Option<Failure>,
    /// The last lines of what happened, when they were asked for.
    pub trace: Vec<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which promise was broken.
    pub kind: Failing,
    /// When, in virtual milliseconds.
    pub at: u64,
    /// What happened, in words.
    pub what: String,
}

/// Tells a story to its end, or to the first thing that must never be. A panic of the code under test is one.
#[must_use]
pub fn run(story: &Story, traced: bool) -> Outcome {
    let mut world = World::new(story, traced);
    let told = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = told {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.watch.fail(Failing::Panic, world.now(), text.unwrap_or_default());
    }
    world.outcome()
}
