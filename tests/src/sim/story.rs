//! A story: what people do and what breaks, and when, as a list drawn from the seed before anything happens.
//!
//! Because it is a list, a story that fails can be made shorter: what is left out of it changes nothing of the rest.

use std::fmt;

use robo_model::state::Wanted;
use robo_wire::api::Verb;

use super::chance::{self, hits};
use super::schedule::{SECOND, Time};

/// How large a world is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Devices that are enrolled at first.
    pub agents: usize,
    /// Instances of all applications together, about.
    pub instances: usize,
    /// Applications.
    pub applications: usize,
    /// How long the weather lasts, in virtual seconds.
    pub seconds: u64,
}

impl Scale {
    /// The size of a world in the suite: most are small, some are full.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        match seed % 50 {
            0 => Self::full(20, 200),
            1..10 => Self { agents: 8, instances: 50, applications: 3, seconds: 300 },
            _ => Self { agents: 2 + (seed % 4) as usize, instances: 14, applications: 2, seconds: 300 },
        }
    }

    /// A world of full size.
    #[must_use]
    pub const fn full(agents: usize, instances: usize) -> Self {
        Self { agents, instances, applications: 5, seconds: 300 }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// When, in virtual milliseconds.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What people do, and what breaks. Numbers pick among what is there, modulo how much that is.
#[expect(missing_docs, reason = "the words of each variant speak of its fields")]
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Plans a variant and applies that plan at once.
    Apply { application: usize, variant: u32 },
    /// Plans a variant and keeps the plan.
    Save { application: usize, variant: u32 },
    /// Applies the plan that was kept.
    ApplySaved { application: usize },
    /// Applies the revision before the newest again.
    Rollback { application: usize },
    /// Asks for another state.
    Ask { application: usize, pick: usize, wanted: Wanted },
    /// Deletes an application, by force where others are bound to it.
    Delete { application: usize },
    /// Binds all external imports of an application, to all it can be or to none.
    Bind { application: usize, to_none: bool },
    /// Cancels or retries.
    Act { application: usize, pick: usize, verb: Verb },
    /// Enrols another device.
    Enrol,
    /// Removes a device, by force.
    Remove { device: usize },
    /// Gives a device other labels.
    Label { device: usize },
    /// Kills an agent; it comes back after so long.
    KillAgent { device: usize, down: Time },
    /// Kills an agent while it writes its ledger the next time.
    KillAtWrite { device: usize, writes: u32, down: Time },
    /// Takes the power from a device.
    Reboot { device: usize, down: Time },
    /// Stops the whole device for a while, as SIGSTOP does.
    Freeze { device: usize, time: Time },
    /// A device's disk takes nothing for a while.
    FillDisk { device: usize, time: Time },
    /// A device's wall clock jumps.
    JumpClock { device: usize, by: i64 },
    /// Kills the manager; it comes back after so long.
    KillManager { down: Time },
    /// A device's connection breaks.
    Cut { device: usize },
    /// Nothing gets to or from a device for a while.
    Block { device: usize, time: Time },
    /// Nothing gets to or from every second device for a while.
    Partition { time: Time, odd: bool },
    /// Everything to and from a device takes longer for a while.
    Slow { device: usize, by: Time, time: Time },
    /// The bell's messages are lost, late, doubled and swapped for a while.
    LoseBells { time: Time },
    /// A process ends by itself.
    EndProcess { device: usize, pick: usize, code: Option<i32> },
}

impl What {
    /// True for what people do; the rest breaks.
    #[must_use]
    pub const fn is_by_people(&self) -> bool {
        matches!(
            self,
            Self::Apply { .. }
                | Self::Save { .. }
                | Self::ApplySaved { .. }
                | Self::Rollback { .. }
                | Self::Ask { .. }
                | Self::Delete { .. }
                | Self::Bind { .. }
                | Self::Act { .. }
                | Self::Enrol
                | Self::Remove { .. }
                | Self::Label { .. }
        )
    }
}

/// Which kinds of trouble there are, each from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weather {
    /// How much people do.
    pub people: f64,
    /// Agents, devices and disks.
    pub devices: f64,
    /// The manager.
    pub manager: f64,
    /// The network and the bell.
    pub network: f64,
    /// Clocks.
    pub clocks: f64,
    /// Processes that end by themselves.
    pub processes: f64,
    /// Steps that fail, are slow or hang: the probability for each.
    pub steps: f64,
}

/// A story.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// What it was drawn from.
    pub seed: u64,
    /// How large its world is.
    pub scale: Scale,
    /// What kind of weather there is; [`Story::deeds`] are drawn from it, but for the steps.
    pub weather: Weather,
    /// What happens, in order.
    pub deeds: Vec<Deed>,
}

impl Story {
    /// Draws the story of a seed.
    #[must_use]
    pub fn draw(seed: u64, scale: Scale) -> Self {
        let weather = weather(seed);
        let mut rng = chance::of(seed, "deeds");
        let mut deeds: Vec<Deed> = (0..scale.applications).map(|index| first(&mut rng, index)).collect();
        deeds.extend((1..scale.applications).map(|application| Deed {
            at: 3 * SECOND + rng.u64(..20 * SECOND),
            what: What::Bind { application, to_none: false },
        }));
        let end = scale.seconds * SECOND;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small numbers"
        )]
        let number = |share: f64, per: f64| (share * per * (scale.agents as f64).max(8.0)).ceil() as usize;
        let mut add = |count: usize, make: &dyn Fn(&mut fastrand::Rng, &Scale) -> What| {
            for _ in 0..count {
                let at = 2 * SECOND + rng.u64(..end - 2 * SECOND);
                deeds.push(Deed { at, what: make(&mut rng, &scale) });
            }
        };
        add(number(weather.people, 1.0), &by_people);
        add(number(weather.devices, 1.0), &of_devices);
        add(number(weather.network, 1.5), &of_network);
        add(number(weather.manager, 0.2), &of_manager);
        add(number(weather.clocks, 0.5), &of_clocks);
        add(number(weather.processes, 1.0), &of_processes);
        deeds.sort_by_key(|deed| deed.at);
        Self { seed, scale, weather, deeds }
    }
}

fn first(rng: &mut fastrand::Rng, application: usize) -> Deed {
    Deed { at: rng.u64(..10 * SECOND), what: What::Apply { application, variant: 0 } }
}

/// Some seeds are calm, some have one kind of trouble, most have several, each in its own strength.
fn weather(seed: u64) -> Weather {
    let mut rng = chance::of(seed, "weather");
    if hits(&mut rng, 0.05) {
        return Weather { people: 1.0, ..Weather::default() };
    }
    let mut some = |most: f64| if hits(&mut rng, 0.4) { 0.0 } else { rng.f64() * most };
    Weather {
        people: some(1.5).max(0.2),
        devices: some(1.0),
        manager: some(1.0),
        network: some(1.0),
        clocks: some(0.5),
        processes: some(1.0),
        steps: some(0.2),
    }
}

fn by_people(rng: &mut fastrand::Rng, scale: &Scale) -> What {
    let application = rng.usize(..scale.applications);
    let pick = rng.usize(..10_000);
    match rng.usize(..24) {
        0..5 => What::Apply { application, variant: rng.u32(1..1_000) },
        5 => What::Save { application, variant: rng.u32(1..1_000) },
        6 => What::ApplySaved { application },
        7 => What::Rollback { application },
        8..14 => {
            let wanted = [Wanted::Started, Wanted::Stopped, Wanted::NotDeployed][rng.usize(..3)];
            What::Ask { application, pick, wanted }
        }
        14 => What::Delete { application },
        15 | 16 => What::Bind { application, to_none: rng.bool() },
        17..20 => What::Act { application, pick, verb: if rng.bool() { Verb::Cancel } else { Verb::Retry } },
        20 => What::Enrol,
        21 => What::Remove { device: pick },
        _ => What::Label { device: pick },
    }
}

fn of_devices(rng: &mut fastrand::Rng, _scale: &Scale) -> What {
    let device = rng.usize(..10_000);
    let down = span(rng);
    match rng.usize(..8) {
        0 | 1 => What::KillAgent { device, down },
        2 | 3 => What::KillAtWrite { device, writes: rng.u32(1..8), down },
        4 | 5 => What::Reboot { device, down },
        6 => What::Freeze { device, time: down },
        _ => What::FillDisk { device, time: down },
    }
}

fn of_network(rng: &mut fastrand::Rng, _scale: &Scale) -> What {
    let device = rng.usize(..10_000);
    let time = span(rng);
    match rng.usize(..12) {
        0..5 => What::Cut { device },
        5..8 => What::Block { device, time },
        8 => What::Partition { time, odd: rng.bool() },
        9 | 10 => What::Slow { device, by: rng.u64(100..5_000), time },
        _ => What::LoseBells { time },
    }
}

fn of_manager(rng: &mut fastrand::Rng, _scale: &Scale) -> What {
    What::KillManager { down: span(rng) / 3 }
}

fn of_clocks(rng: &mut fastrand::Rng, _scale: &Scale) -> What {
    let device = rng.usize(..10_000);
    let days = 24 * 3_600 * 1_000;
    let by = if rng.bool() { rng.i64(-5_000..5_000) } else { rng.i64(-3 * days..3 * days) };
    What::JumpClock { device, by }
}

fn of_processes(rng: &mut fastrand::Rng, _scale: &Scale) -> What {
    let code = [None, Some(0), Some(1)][rng.usize(..3)];
    What::EndProcess { device: rng.usize(..10_000), pick: rng.usize(..10_000), code }
}

/// How long something lasts: mostly short, sometimes longer than leases and heartbeats bear.
fn span(rng: &mut fastrand::Rng) -> Time {
    match rng.usize(..4) {
        0 | 1 => rng.u64(10..3 * SECOND),
        2 => rng.u64(SECOND..40 * SECOND),
        _ => rng.u64(30 * SECOND..180 * SECOND),
    }
}

impl fmt::Display for Deed {
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} s  {:?}", self.at as f64 / 1_000.0, self.what)
    }
}
