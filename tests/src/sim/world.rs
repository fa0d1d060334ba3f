//! The world: everything there is, and the loop in which things happen one after the other.

use std::collections::BTreeMap;

use robo_agent::order::{Report, RunId};
use robo_manager::bus::Ring;
use robo_manager::gateway::core::{Answer, Woken};
use robo_model::name::{DeviceId, ProjectName};

use super::agent::Agent;
use super::graph::Graphs;
use super::manager::{Manager, Op};
use super::net::{ConnId, Net, Side};
use super::people::People;
use super::rest::Rest;
use super::schedule::{SECOND, Schedule, Time};
use super::store::Store;
use super::story::Story;
use super::watch::{Failing, Watch};
use super::{Outcome, chance};

/// The wall clocks of all nodes at first, in milliseconds since 1970.
pub(super) const EPOCH: u64 = 1_700_000_000_000;

/// How long after the weather cleared everything has to be as it should: retries wait for up to a minute each, drains
/// for half of one, and a chain of both is long.
pub(super) const PATIENCE: Time = 40 * 60 * SECOND;

/// Most things that happen in one story: twenty times more than in any that ends.
const MAX_EVENTS: u64 = 500_000;

/// Lines of a trace that are kept.
const MAX_TRACE: usize = 20_000;

/// Something that happens. What has a `life` happens only while that life of the node lasts.
#[derive(Debug)]
pub(super) enum Event {
    Deed(usize),
    /// Something arrived at an end of a connection.
    Arrive(ConnId, Side),
    AgentStart {
        device: usize,
        life: u32,
    },
    Dial {
        device: usize,
        life: u32,
    },
    AgentTimer {
        device: usize,
        life: u32,
        at: Time,
    },
    Written {
        device: usize,
        life: u32,
    },
    Killed {
        device: usize,
        life: u32,
        down: Time,
    },
    StepEnds {
        device: usize,
        run: RunId,
    },
    Report {
        device: usize,
        life: u32,
        report: Report,
    },
    ManagerStart,
    LinkTimer {
        conn: ConnId,
        life: u32,
        at: Time,
    },
    Woken {
        conn: ConnId,
        life: u32,
        woken: Woken,
    },
    Commit {
        life: u32,
        op: Op,
    },
    Answered {
        life: u32,
        conn: ConnId,
        answer: Answer,
    },
    Rung {
        life: u32,
        ring: Ring,
    },
    Leases {
        life: u32,
    },
    /// The next request of people is taken up.
    Request {
        life: u32,
    },
    Verdicts {
        life: u32,
    },
    Calm,
    Look,
}

impl Event {
    /// The device that it happens to; one that is frozen comes to it later.
    fn device(&self, net: &Net) -> Option<usize> {
        match self {
            Self::Arrive(conn, Side::Agent) => Some(net.device(*conn)),
            Self::Dial { device, .. }
            | Self::AgentTimer { device, .. }
            | Self::Written { device, .. }
            | Self::StepEnds { device, .. }
            | Self::Report { device, .. } => Some(*device),
            Self::Deed(_)
            | Self::Arrive(_, Side::Manager)
            | Self::AgentStart { .. }
            | Self::Killed { .. }
            | Self::ManagerStart
            | Self::LinkTimer { .. }
            | Self::Woken { .. }
            | Self::Commit { .. }
            | Self::Answered { .. }
            | Self::Rung { .. }
            | Self::Leases { .. }
            | Self::Request { .. }
            | Self::Verdicts { .. }
            | Self::Calm
            | Self::Look => None,
        }
    }
}

/// Everything there is.
pub(super) struct World {
    pub(super) story: Story,
    pub(super) graphs: Graphs,
    pub(super) schedule: Schedule<Event>,
    pub(super) net: Net,
    pub(super) agents: Vec<Agent>,
    pub(super) by_id: BTreeMap<DeviceId, usize>,
    pub(super) manager: Manager,
    pub(super) store: Store,
    pub(super) people: People,
    pub(super) watch: Watch,
    pub(super) rest: Rest,
    /// True once the weather cleared.
    pub(super) calm: bool,
    pub(super) done: bool,
    pub(super) project: ProjectName,
    traced: bool,
    trace: Vec<String>,
}

impl World {
    pub(super) fn new(story: &Story, traced: bool) -> Self {
        let seed = story.seed;
        let graphs = Graphs { seed, scale: story.scale.clone() };
        let mut world = Self {
            graphs,
            schedule: Schedule::new(),
            net: Net::new(chance::of(seed, "net"), (1, 40)),
            agents: Vec::new(),
            by_id: BTreeMap::new(),
            manager: Manager::new(chance::of(seed, "manager")),
            store: Store::default(),
            people: People::default(),
            watch: Watch::default(),
            rest: Rest::default(),
            calm: false,
            done: false,
            project: ProjectName::default_project(),
            traced,
            trace: Vec::new(),
            story: story.clone(),
        };
        for _ in 0..story.scale.agents {
            world.enrol();
        }
        for (at, deed) in story.deeds.iter().enumerate() {
            world.schedule.at(deed.at, Event::Deed(at));
        }
        world.schedule.at(world.end(), Event::Calm);
        world
    }

    pub(super) fn run(&mut self) {
        while !self.done && self.watch.failure.is_none() {
            let Some(event) = self.schedule.next() else { return };
            if self.schedule.count() > MAX_EVENTS {
                return self.fail(Failing::NotConverged, "it never comes to rest".to_owned());
            }
            if let Some(device) = event.device(&self.net)
                && self.agents[device].frozen_until > self.now()
            {
                self.schedule.at(self.agents[device].frozen_until, event);
                continue;
            }
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let life = self.manager.life;
        match event {
            Event::Deed(at) => self.deed(at),
            Event::Arrive(conn, Side::Agent) => self.agent_hears(conn),
            Event::Arrive(conn, Side::Manager) => self.link_hears(conn),
            Event::AgentStart { device, life } => self.agent_start(device, life),
            Event::Dial { device, life } => self.dial(device, life),
            Event::AgentTimer { device, life, at } => self.agent_timer(device, life, at),
            Event::Written { device, life } => self.written(device, life),
            Event::Killed { device, life, down } => self.killed(device, life, down),
            Event::StepEnds { device, run } => self.step_ends(device, run),
            Event::Report { device, life, report } => self.reported(device, life, report),
            Event::ManagerStart => self.manager_start(),
            Event::LinkTimer { conn, life: of, at } if of == life => self.link_timer(conn, at),
            Event::Woken { conn, life: of, woken } if of == life => self.link_woken(conn, woken),
            Event::Commit { life: of, op } if of == life => self.commit(op),
            Event::Answered { life: of, conn, answer } if of == life => self.link_answered(conn, answer),
            Event::Rung { life: of, ring } if of == life => self.rung(ring),
            Event::Leases { life: of } if of == life => self.leases(),
            Event::Request { life: of } if of == life => self.take_request(),
            Event::Verdicts { life: of } if of == life => self.act_deadlines(),
            Event::LinkTimer { .. }
            | Event::Woken { .. }
            | Event::Commit { .. }
            | Event::Answered { .. }
            | Event::Rung { .. }
            | Event::Leases { .. }
            | Event::Request { .. }
            | Event::Verdicts { .. } => {}
            Event::Calm => self.clear_up(),
            Event::Look => self.look(),
        }
    }

    pub(super) const fn now(&self) -> Time {
        self.schedule.now()
    }

    /// When the weather clears.
    pub(super) const fn end(&self) -> Time {
        self.story.scale.seconds * SECOND
    }

    /// The end of something that lasts so long: no trouble outlasts the weather.
    pub(super) fn until(&self, time: Time) -> Time {
        if self.calm { self.now() } else { (self.now() + time).min(self.end()) }
    }

    pub(super) fn fail(&mut self, kind: Failing, what: String) {
        self.note(|| format!("FAILURE: {what}"));
        self.watch.fail(kind, self.now(), what);
    }

    /// A line of the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.traced {
            if self.trace.len() >= MAX_TRACE {
                self.trace.drain(..MAX_TRACE / 2);
            }
            let now = self.now();
            self.trace.push(format!("{:7}.{:03} {}", now / 1_000, now % 1_000, line()));
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        Outcome {
            events: self.schedule.count(),
            time: self.now(),
            steps: self.watch.steps,
            requests: self.people.asked,
            failure: self.watch.failure,
            trace: self.trace,
        }
    }
}
