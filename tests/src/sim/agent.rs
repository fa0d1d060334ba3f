//! The agents: a pilot each, with its disk, its machine, its clock and its connection.

use robo_agent::ledger::{self, Damage, Ledger, Part};
use robo_agent::order::{Addresses, Order, Outcome, Report, RunId};
use robo_agent::pilot::{HangUp, LinkId, Loaded, Now, Out, Pilot};
use robo_model::name::DeviceId;
use robo_model::quantity::UnixMillis;
use robo_model::state::Step;
use robo_wire::api::Facts;
use robo_wire::frame;
use robo_wire::session::SessionError;

use super::chance::{self, hits};
use super::disk::Disk;
use super::machine::{Begun, Machine, failed};
use super::net::{ConnId, Heard, Side};
use super::schedule::{SECOND, Time};
use super::watch::Failing;
use super::world::{EPOCH, Event, World};
use super::{graph, net};

/// The longest wait before dialling again, and the first one; as the daemon's.
const LONGEST_DIAL: Time = 15 * SECOND;
const FIRST_DIAL: Time = SECOND / 2;

/// How long an attempt to dial may take.
const DIAL_TIMEOUT: Time = 10 * SECOND;

/// A device and its agent.
pub(super) struct Agent {
    pub(super) id: DeviceId,
    /// Nothing while its process does not run.
    pub(super) pilot: Option<Pilot>,
    pub(super) disk: Disk,
    pub(super) machine: Machine,
    /// Counts the agent's processes.
    pub(super) life: u32,
    pub(super) conn: Option<(LinkId, ConnId)>,
    buffer: Vec<u8>,
    attempts: u32,
    timer: Option<Time>,
    /// What the runtime reported while the disk was busy.
    reports: Vec<Report>,
    pub(super) frozen_until: Time,
    pub(super) disk_full_until: Time,
    /// How far its wall clock is off.
    pub(super) clock: i64,
    /// Kill it at so many writes from now, for so long.
    pub(super) kill_at_write: Option<(u32, Time)>,
    /// It was told that dialling again is useless.
    pub(super) dismissed: bool,
    pub(super) rng: fastrand::Rng,
}

impl Agent {
    /// What a new process of the agent would find.
    pub(super) fn ledger_on_disk(&self) -> Result<Ledger, Damage> {
        let mut ledger = Ledger::default();
        for part in Part::ALL {
            if let Some(bytes) = self.disk.read(part.file_name()) {
                ledger::decode(part, bytes, &mut ledger)?;
            }
        }
        Ok(ledger)
    }
}

impl World {
    /// Another device, and its agent.
    pub(super) fn enrol(&mut self) {
        let index = self.agents.len();
        let id: DeviceId = graph::name(&format!("dev{index}"));
        let now = self.now();
        self.store.enrol(id.clone(), graph::device_name(index), now);
        self.by_id.insert(id.clone(), index);
        self.watch.add_device();
        self.agents.push(Agent {
            id,
            pilot: None,
            disk: Disk::default(),
            machine: Machine::default(),
            life: 0,
            conn: None,
            buffer: Vec::new(),
            attempts: 0,
            timer: None,
            reports: Vec::new(),
            frozen_until: 0,
            disk_full_until: 0,
            clock: 0,
            kill_at_write: None,
            dismissed: false,
            rng: chance::of(self.story.seed, ("agent", index)),
        });
        self.schedule.after(0, Event::AgentStart { device: index, life: 0 });
    }

    pub(super) fn clock(&self, device: usize) -> Now {
        let wall = (EPOCH + self.now()).saturating_add_signed(self.agents[device].clock);
        Now { wall: UnixMillis(wall), steady: UnixMillis(self.now()) }
    }

    /// The agent's process starts, with what is on the disk.
    pub(super) fn agent_start(&mut self, device: usize, life: u32) {
        if self.agents[device].life != life || self.agents[device].pilot.is_some() {
            return;
        }
        self.note(|| format!("d{device}: the agent starts"));
        let ledger = match self.agents[device].ledger_on_disk() {
            Ok(ledger) => ledger,
            Err(damage) => {
                return self.fail(Failing::Ledger, format!("d{device} cannot read its ledger: {damage}"));
            }
        };
        let at = self.now();
        self.watch.agent_started(at, device, &ledger);
        let now = self.clock(device);
        let boot = format!("boot {}", self.agents[device].machine.boot);
        let (pilot, outs) = Pilot::new(Loaded::from(ledger), addresses(device), boot, now);
        let agent = &mut self.agents[device];
        agent.pilot = Some(pilot);
        (agent.timer, agent.attempts) = (None, 0);
        self.carry_out(device, outs);
        self.dial_later(device, 0);
    }

    /// The agent's process ends, whatever it was doing; it comes back at `back`. What it said is on its way.
    pub(super) fn agent_ends(&mut self, device: usize, back: Time, with_machine: bool) {
        let now = self.now();
        let agent = &mut self.agents[device];
        agent.pilot = None;
        agent.life += 1;
        agent.reports.clear();
        agent.buffer.clear();
        agent.disk.crash(&mut agent.rng);
        if let Some((_, conn)) = agent.conn.take() {
            if with_machine {
                self.net.vanish(conn, Side::Agent);
            } else {
                let end = self.net.close(now, conn, Side::Agent);
                self.arrive(end);
            }
        }
        let life = self.agents[device].life;
        self.watch.disturbed(device, back);
        self.schedule.at(back, Event::AgentStart { device, life });
    }

    pub(super) fn killed(&mut self, device: usize, life: u32, down: Time) {
        if self.agents[device].life == life && self.agents[device].pilot.is_some() {
            self.note(|| format!("d{device}: the agent is killed"));
            let back = self.until(down);
            self.agent_ends(device, back, false);
        }
    }

    pub(super) fn dial_later(&mut self, device: usize, wait: Time) {
        let life = self.agents[device].life;
        self.schedule.after(wait, Event::Dial { device, life });
    }

    fn dial_again(&mut self, device: usize) {
        let agent = &mut self.agents[device];
        let most = (FIRST_DIAL << agent.attempts.min(10)).min(LONGEST_DIAL);
        agent.attempts += 1;
        let wait = agent.rng.u64(..=most);
        self.dial_later(device, wait);
    }

    pub(super) fn dial(&mut self, device: usize, life: u32) {
        let agent = &self.agents[device];
        if agent.life != life || agent.pilot.is_none() || agent.conn.is_some() || agent.dismissed {
            return;
        }
        let now = self.now();
        let Some(conn) = self.net.connect(now, device) else {
            return self.dial_later(device, DIAL_TIMEOUT);
        };
        if !self.accept(conn, device) {
            self.net.vanish(conn, Side::Agent);
            self.net.vanish(conn, Side::Manager);
            return self.dial_again(device);
        }
        let time = self.clock(device);
        let facts = Facts { address: address(device), hostname: format!("d{device}"), ..Facts::default() };
        let Some(pilot) = &mut self.agents[device].pilot else { return };
        let (link, outs) = pilot.connect(time, addresses(device), facts);
        self.agents[device].conn = Some((link, conn));
        self.agents[device].buffer.clear();
        self.note(|| format!("d{device}: dials, connection {conn}"));
        self.carry_out(device, outs);
    }

    pub(super) fn agent_hears(&mut self, conn: ConnId) {
        let (heard, next) = self.net.hear(self.now(), conn, Side::Agent);
        self.arrive(next);
        let device = self.net.device(conn);
        for piece in heard {
            let Some((link, current)) = self.agents[device].conn else { return };
            if current != conn {
                return;
            }
            match piece {
                Heard::Bytes(bytes) => self.agent_reads(device, link, &bytes),
                Heard::End => {
                    self.note(|| format!("d{device}: connection {conn} ended"));
                    self.agents[device].conn = None;
                    let time = self.clock(device);
                    let Some(pilot) = &mut self.agents[device].pilot else { return };
                    let outs = pilot.hung_up(time, link);
                    self.carry_out(device, outs);
                    self.dial_again(device);
                }
            }
        }
    }

    fn agent_reads(&mut self, device: usize, link: LinkId, bytes: &[u8]) {
        self.agents[device].buffer.extend_from_slice(bytes);
        loop {
            let time = self.clock(device);
            let agent = &mut self.agents[device];
            let frame = match frame::take(&mut agent.buffer, frame::MAX_CONTROL_FRAME) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.fail(Failing::Protocol, format!("d{device} hears no frame: {error}")),
            };
            let Some(pilot) = &mut agent.pilot else { return };
            let outs = pilot.frame(time, link, &frame);
            self.carry_out(device, outs);
            if self.agents[device].conn.is_none_or(|(current, _)| current != link) {
                return;
            }
        }
    }

    pub(super) fn agent_timer(&mut self, device: usize, life: u32, at: Time) {
        let time = self.clock(device);
        let agent = &mut self.agents[device];
        if agent.life != life || agent.timer != Some(at) {
            return;
        }
        agent.timer = None;
        let Some(pilot) = &mut agent.pilot else { return };
        let outs = pilot.tick(time);
        self.carry_out(device, outs);
    }

    /// The write under way is there, or the disk refuses it.
    pub(super) fn written(&mut self, device: usize, life: u32) {
        if self.agents[device].life != life {
            return;
        }
        let time = self.clock(device);
        let refuses = self.agents[device].disk_full_until > self.now();
        let agent = &mut self.agents[device];
        let Some(pilot) = &mut agent.pilot else { return };
        let outs = if refuses {
            self.note(|| format!("d{device}: the disk is full"));
            let agent = &mut self.agents[device];
            let Some(pilot) = &mut agent.pilot else { return };
            // Some of its files may be there all the same.
            agent.disk.crash(&mut agent.rng);
            pilot.persist_failed(time)
        } else {
            agent.disk.finish();
            let found = self.watch.persisted(self.schedule.now(), device, pilot.core().ledger());
            if let Some((kind, what)) = found {
                return self.fail(kind, what);
            }
            pilot.persisted(time)
        };
        self.carry_out(device, outs);
        self.pass_reports(device);
    }

    /// Reports that waited for the disk are handed in together, as the daemon does.
    fn pass_reports(&mut self, device: usize) {
        let time = self.clock(device);
        let agent = &mut self.agents[device];
        let Some(pilot) = &mut agent.pilot else { return };
        if agent.reports.is_empty() || pilot.is_writing() {
            return;
        }
        let reports = std::mem::take(&mut agent.reports);
        let outs = pilot.reports(time, reports);
        self.carry_out(device, outs);
    }

    pub(super) fn reported(&mut self, device: usize, life: u32, report: Report) {
        if self.agents[device].life == life {
            self.agents[device].reports.push(report);
            self.pass_reports(device);
        }
    }

    /// Whatever the runtime reports, the agent that runs now hears, if one does.
    pub(super) fn report(&mut self, device: usize, reports: impl IntoIterator<Item = Report>) {
        let life = self.agents[device].life;
        if self.agents[device].pilot.is_some() {
            for report in reports {
                self.schedule.after(0, Event::Report { device, life, report });
            }
        }
    }

    pub(super) fn step_ends(&mut self, device: usize, run: RunId) {
        let reports = self.agents[device].machine.end(run);
        self.report(device, reports);
    }

    pub(super) fn carry_out(&mut self, device: usize, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Write(files) => self.write(device, files),
                Out::Begin(order) => self.begin(device, &order),
                Out::Watch(order) => {
                    let report = self.agents[device].machine.watch(&order);
                    self.report(device, report);
                }
                Out::Abort { key, run } => {
                    self.note(|| format!("d{device}: ends run {} of {key}", run.0));
                    let reports = self.agents[device].machine.abort(run);
                    self.report(device, reports);
                }
                // The simulated manager never asks for a new key.
                Out::Context(_) | Out::Tidy(_) | Out::Named(_) | Out::Switches(_) | Out::Renew => {}
                Out::Forget(key) => {
                    if let Err(what) = self.agents[device].machine.forget(&key) {
                        self.fail(Failing::Order, format!("d{device}: {what}"));
                    }
                }
                Out::Send(link, bytes) => {
                    if let Some((current, conn)) = self.agents[device].conn
                        && current == link
                    {
                        let now = self.now();
                        let arrival = self.net.send(now, conn, Side::Agent, bytes);
                        self.arrive(arrival);
                    }
                }
                Out::Up(..) => self.agents[device].attempts = 0,
                Out::HangUp(link, why) => self.agent_hangs_up(device, link, &why),
            }
        }
        self.rearm(device);
    }

    fn agent_hangs_up(&mut self, device: usize, link: LinkId, why: &HangUp) {
        let Some((_, conn)) = self.agents[device].conn.take_if(|(current, _)| *current == link) else { return };
        self.note(|| format!("d{device}: hangs up: {why}"));
        match why {
            HangUp::Session(SessionError::Goodbye { final_: true, .. }) => self.agents[device].dismissed = true,
            HangUp::Session(
                SessionError::Frame(_)
                | SessionError::OutOfTurn { .. }
                | SessionError::Version { .. }
                | SessionError::Generation { .. },
            ) => {
                return self.fail(Failing::Protocol, format!("d{device} hangs up: {why}"));
            }
            HangUp::Session(SessionError::Silent(_) | SessionError::Goodbye { .. }) | HangUp::Behind => {}
        }
        let now = self.now();
        let end = self.net.close(now, conn, Side::Agent);
        self.arrive(end);
        self.watch.disturbed(device, now);
        self.dial_again(device);
    }

    fn write(&mut self, device: usize, files: Vec<(Part, Vec<u8>)>) {
        let now = self.now();
        let calm = self.calm;
        let agent = &mut self.agents[device];
        agent.disk.begin(files.into_iter().map(|(part, bytes)| (part.file_name(), bytes)).collect());
        let takes = agent.rng.u64(..=if calm { 1 } else { 6 });
        let life = agent.life;
        if let Some((left, down)) = &mut agent.kill_at_write {
            *left -= 1;
            if *left == 0 {
                let down = *down;
                agent.kill_at_write = None;
                // Somewhere in the write; what was asked for after it never comes.
                self.schedule.at(now, Event::Killed { device, life, down });
            }
        }
        self.schedule.at(now + takes, Event::Written { device, life });
    }

    fn begin(&mut self, device: usize, order: &Order) {
        let (takes, outcome) = self.fate(device, order);
        let now = self.now();
        let begun = self.agents[device].machine.begin(now, order, takes, outcome);
        match begun {
            Err(what) => self.fail(Failing::Order, format!("d{device}: {what}")),
            Ok(Begun::Before) => {}
            Ok(Begun::Ended(reports)) => self.report(device, reports),
            Ok(Begun::Now(ends)) => {
                self.note(|| format!("d{device}: {} {} (run {})", order.step, order.key, order.run.0));
                self.schedule.at(ends, Event::StepEnds { device, run: order.run });
                self.check_begin(device, order);
            }
        }
    }

    /// How long a step takes and how it ends.
    fn fate(&self, device: usize, order: &Order) -> (Time, Outcome) {
        let mut rng = chance::of(self.story.seed, ("step", device, order.run.0, order.key.to_string()));
        let takes = match order.step {
            Step::Start => rng.u64(50..2_000),
            Step::Deploy => rng.u64(20..1_500),
            Step::Update | Step::Stop | Step::Undeploy => rng.u64(20..800),
        };
        if self.calm {
            return (takes.min(300), Outcome::Done);
        }
        if !hits(&mut rng, self.story.weather.steps) {
            return (takes, Outcome::Done);
        }
        match rng.usize(..8) {
            0..5 => (takes, failed("it failed".to_owned())),
            5 | 6 => (rng.u64(SECOND..60 * SECOND), Outcome::Done),
            _ => (Time::MAX, Outcome::Done),
        }
    }

    fn rearm(&mut self, device: usize) {
        let time = self.clock(device);
        let now = self.now();
        let agent = &mut self.agents[device];
        let Some(wait) = agent.pilot.as_ref().and_then(|pilot| pilot.wake_in(time)) else { return };
        let at = now + wait.0.max(1);
        if agent.timer.is_none_or(|timer| at < timer) {
            agent.timer = Some(at);
            let life = agent.life;
            self.schedule.at(at, Event::AgentTimer { device, life, at });
        }
    }

    pub(super) fn arrive(&mut self, arrivals: impl IntoIterator<Item = net::Arrival>) {
        for (time, conn, side) in arrivals {
            self.schedule.at(time, Event::Arrive(conn, side));
        }
    }
}

fn address(device: usize) -> String {
    format!("10.0.{}.{}", device / 200, device % 200 + 1)
}

fn addresses(device: usize) -> Addresses {
    Addresses { main: address(device), all: vec![address(device)] }
}
