//! The long run of the simulation, and how to see again what failed in it.
//!
//! `sim --seeds 10000 [--from N] [--agents 20] [--instances 200] [--mixed]` runs many seeds; `sim --replay SEED` tells
//! one with its trace; with `--shrink` it is made as short as can be first.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people; its answer goes to its output")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use robo_tests::sim::{Failing, Outcome, Scale, Story, run, shrink};

/// How often a long run says how far it is, in seeds.
const SAY_EVERY: u64 = 100;

/// Seeds that failed and are named at the end: more help nobody.
const MAX_NAMED: usize = 50;

const HELP: &str = "usage: sim [--seeds N] [--from SEED] [--agents N] [--instances N] [--mixed]\n       \
                    sim --replay SEED [--shrink] [--agents N] [--instances N] [--mixed]\n\n\
                    --mixed takes the sizes of the suite (most worlds small) in place of full ones.";

struct Options {
    seeds: u64,
    from: u64,
    replay: Option<u64>,
    shrink: bool,
    agents: usize,
    instances: usize,
    mixed: bool,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { seeds: 100, from: 0, replay: None, shrink: false, agents: 20, instances: 200, mixed: false };
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64, String> {
                let text = words.next().ok_or_else(|| format!("`{word}` needs a number"))?;
                text.parse().map_err(|_| format!("`{text}` is no number"))
            };
            let size = |number: u64| usize::try_from(number).map_err(|e| e.to_string());
            match word.as_str() {
                "--seeds" => options.seeds = number()?,
                "--from" => options.from = number()?,
                "--replay" => options.replay = Some(number()?),
                "--agents" => options.agents = size(number()?)?.max(1),
                "--instances" => options.instances = size(number()?)?,
                "--shrink" => options.shrink = true,
                "--mixed" => options.mixed = true,
                other => return Err(format!("`{other}` is unknown\n{HELP}")),
            }
        }
        Ok(options)
    }

    /// The words that make worlds of the same size again.
    fn size(&self) -> String {
        if self.mixed {
            return "--mixed".to_owned();
        }
        format!("--agents {} --instances {}", self.agents, self.instances)
    }

    fn story(&self, seed: u64) -> Story {
        let scale = if self.mixed { Scale::of_seed(seed) } else { Scale::full(self.agents, self.instances) };
        Story::draw(seed, scale)
    }
}

fn main() -> ExitCode {
    // A panic of the code under test is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match Options::read(std::env::args().skip(1)) {
        Ok(options) => match options.replay {
            Some(seed) => replay(&options, seed),
            None => many(&options),
        },
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn replay(options: &Options, seed: u64) -> ExitCode {
    let mut story = options.story(seed);
    if options.shrink
        && let Some(shrunk) = shrink::shrink(&story)
    {
        println!("made shorter in {} runs", shrunk.runs);
        story = shrunk.story;
    }
    let outcome = run(&story, true);
    for line in &outcome.trace {
        println!("{line}");
    }
    tell_story(&story);
    match &outcome.failure {
        Some(failure) => {
            println!("seed {seed}: {:?} after {} ms: {}", failure.kind, failure.at, failure.what);
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: all is well ({} events, {} steps)", outcome.events, outcome.steps);
            ExitCode::SUCCESS
        }
    }
}

fn tell_story(story: &Story) {
    println!("the story of seed {} ({} devices, {:?}):", story.seed, story.scale.agents, story.weather);
    for deed in &story.deeds {
        println!("  {deed}");
    }
}

/// What came of many seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    events: u64,
    steps: u64,
    requests: u64,
    seconds: u64,
    failed: BTreeMap<Failing, Vec<u64>>,
}

impl Sum {
    fn add(&mut self, options: &Options, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.steps += outcome.steps;
        self.requests += outcome.requests;
        self.seconds += outcome.time / 1_000;
        if let Some(failure) = &outcome.failure {
            self.failed.entry(failure.kind).or_default().push(seed);
            println!("seed {seed} FAILED: {:?} after {} ms: {}", failure.kind, failure.at, failure.what);
            let size = options.size();
            println!("  see it again: cargo run --release -p robo-tests --bin sim -- {size} --replay {seed} --shrink");
        }
    }

    fn failures(&self, kinds: &[Failing]) -> usize {
        kinds.iter().filter_map(|kind| self.failed.get(kind)).map(Vec::len).sum()
    }

    fn tell(&self, seconds: f64) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.events as f64 / seconds.max(0.001);
        println!("seeds                     {}", self.seeds);
        println!("premature starts          {}", self.failures(&[Failing::Premature]));
        println!("lost acknowledged writes  {}", self.failures(&[Failing::Lost, Failing::Ledger]));
        println!("targets without verdict   {}", self.failures(&[Failing::Verdict]));
        println!("not converged             {}", self.failures(&[Failing::NotConverged]));
        println!("moved without a reason    {}", self.failures(&[Failing::Restless]));
        println!("stopped before consumers  {}", self.failures(&[Failing::Release]));
        let others = [Failing::Order, Failing::Transition, Failing::Exports, Failing::Protocol, Failing::Panic];
        println!("other broken promises     {}", self.failures(&others));
        println!("steps, requests           {}, {}", self.steps, self.requests);
        println!("events                    {} ({rate:.0} per second)", self.events);
        println!("virtual time              {} h in {seconds:.0} s", self.seconds / 3_600);
        for (kind, seeds) in &self.failed {
            println!("{kind:?}: {:?}", seeds.iter().take(MAX_NAMED).collect::<Vec<_>>());
        }
    }
}

/// Each story is told by one thread; stories share nothing, so there is one thread for each core.
fn many(options: &Options) -> ExitCode {
    let begin = Instant::now();
    let mut sum = Sum::default();
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let (told, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (told, next) = (told.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || told.send((seed, run(&options.story(seed), false))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        for (seed, outcome) in outcomes {
            sum.add(options, seed, &outcome);
            if sum.seeds.is_multiple_of(SAY_EVERY) {
                let failed: usize = sum.failed.values().map(Vec::len).sum();
                println!("{} seeds, {failed} failed, {} events, {:?}", sum.seeds, sum.events, begin.elapsed());
            }
        }
    });
    sum.tell(begin.elapsed().as_secs_f64());
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
