//! The manager's process: its links, the bell, and what it has the store do.
//!
//! Who is woken by what is decided as in `gateway/registry.rs`, which waits for sockets and so cannot stand here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use robo_manager::bus::Ring;
use robo_manager::gateway::core::{Answer, Ask, LinkCore, LinkEnd, LinkRecord, Newest, Out, Woken};
use robo_manager::gateway::offers::Offers;
use robo_manager::store::FactsMoved;
use robo_model::name::{ApplicationName, DeviceId};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use robo_wire::frame;
use robo_wire::session::SessionError;
use robo_wire::switch::Switches;

use super::chance::hits;
use super::net::{ConnId, Heard, Side};
use super::people::Request;
use super::schedule::{SECOND, Time};
use super::watch::Failing;
use super::world::{Event, World};

/// How often a device has to say something; the manager's setting.
pub(super) const HEARTBEAT: Millis = Millis::from_secs(30);

/// The manager's process.
pub(super) struct Manager {
    pub(super) up: bool,
    /// Counts its processes.
    pub(super) life: u32,
    links: BTreeMap<ConnId, Link>,
    /// The newest link of each device.
    pub(super) newest: BTreeMap<DeviceId, ConnId>,
    /// What each application offers, as looked at last.
    offers: BTreeMap<ApplicationName, Arc<Offers>>,
    /// The store writes one thing after the other.
    writes_until: Time,
    pub(super) bells_bad_until: Time,
    rng: fastrand::Rng,
}

struct Link {
    device: DeviceId,
    core: LinkCore,
    buffer: Vec<u8>,
    interest: BTreeSet<ApplicationName>,
    waits: BTreeSet<InstanceKey>,
    timer: Option<Time>,
}

/// Something that the store is asked to do, as one transaction.
#[derive(Debug)]
pub(super) enum Op {
    Ask(ConnId, DeviceId, Ask),
    /// The device was last heard then.
    Offline(DeviceId, String, Time, Vec<Ring>),
    Needs(BTreeSet<ApplicationName>),
    Request(Box<Request>),
}

impl Manager {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self {
            up: true,
            life: 0,
            links: BTreeMap::new(),
            newest: BTreeMap::new(),
            offers: BTreeMap::new(),
            writes_until: 0,
            bells_bad_until: 0,
            rng,
        }
    }
}

impl World {
    pub(super) fn manager_dies(&mut self, back: Time) {
        if !self.manager.up {
            return;
        }
        self.note(|| "the manager is killed".to_owned());
        let now = self.now();
        self.manager.up = false;
        self.manager.life += 1;
        self.manager.newest.clear();
        self.manager.offers.clear();
        for conn in std::mem::take(&mut self.manager.links).into_keys() {
            let end = self.net.close(now, conn, Side::Manager);
            self.arrive(end);
        }
        self.people_lose_the_manager();
        self.watch.all_disturbed(back);
        self.schedule.at(back, Event::ManagerStart);
    }

    pub(super) fn manager_start(&mut self) {
        self.note(|| "the manager starts".to_owned());
        let now = self.now();
        self.manager.up = true;
        self.manager.writes_until = now;
        self.store.all_offline(now);
        self.leases();
    }

    /// A device dials. False when nobody answers, or it is not one of ours.
    pub(super) fn accept(&mut self, conn: ConnId, device: usize) -> bool {
        let id = self.agents[device].id.clone();
        let Some(record) = self.store.devices.get(&id).filter(|_| self.manager.up) else { return false };
        let record = LinkRecord {
            id: id.clone(),
            name: record.name.clone(),
            project: self.project.clone(),
            generation: record.generation,
            accepted: record.accepted,
            events_stored: record.events_stored,
            renewal: None,
            ssh_authority: None,
            switches: Switches::default(),
        };
        let core = LinkCore::new(record, HEARTBEAT, UnixMillis(self.now()));
        let link = Link {
            device: id.clone(),
            core,
            buffer: Vec::new(),
            interest: BTreeSet::new(),
            waits: BTreeSet::new(),
            timer: None,
        };
        self.manager.links.insert(conn, link);
        if let Some(old) = self.manager.newest.insert(id, conn) {
            self.wake(old, Woken { replaced: true, ..Woken::default() });
        }
        self.rearm_link(conn);
        true
    }

    pub(super) fn link_hears(&mut self, conn: ConnId) {
        let (heard, next) = self.net.hear(self.now(), conn, Side::Manager);
        self.arrive(next);
        for piece in heard {
            match piece {
                Heard::Bytes(bytes) => {
                    let Some(link) = self.manager.links.get_mut(&conn) else { return };
                    link.buffer.extend_from_slice(&bytes);
                    self.link_reads(conn);
                }
                Heard::End => self.link_ends(conn, "the device hung up"),
            }
        }
    }

    fn link_reads(&mut self, conn: ConnId) {
        loop {
            let now = UnixMillis(self.now());
            let Some(link) = self.manager.links.get_mut(&conn) else { return };
            if !link.core.takes_frames() {
                return;
            }
            let frame = match frame::take(&mut link.buffer, link.core.max_frame()) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.fail(Failing::Protocol, format!("the manager hears no frame: {error}")),
            };
            let result = link.core.frame(now, &frame);
            self.link_does(conn, result);
        }
    }

    pub(super) fn link_timer(&mut self, conn: ConnId, at: Time) {
        let now = UnixMillis(self.now());
        let Some(link) = self.manager.links.get_mut(&conn).filter(|link| link.timer == Some(at)) else { return };
        link.timer = None;
        let result = link.core.tick(now);
        self.link_does(conn, result);
    }

    pub(super) fn link_woken(&mut self, conn: ConnId, woken: Woken) {
        let Some(link) = self.manager.links.get_mut(&conn) else { return };
        let result = link.core.woken(woken);
        self.link_does(conn, result);
    }

    pub(super) fn link_answered(&mut self, conn: ConnId, answer: Answer) {
        // Whoever asked the store rings, also when the link is gone by then.
        for ring in Ask::rings(&self.project, &answer) {
            self.ring(ring);
        }
        let now = UnixMillis(self.now());
        let Some(link) = self.manager.links.get_mut(&conn) else { return };
        let result = link.core.answered(now, answer);
        self.link_does(conn, result);
        self.link_reads(conn);
    }

    pub(super) fn link_acts(&mut self, device: &DeviceId, act: robo_wire::link::Act) -> bool {
        let Some(conn) = self.manager.newest.get(device).copied() else { return false };
        let Some(link) = self.manager.links.get_mut(&conn) else { return false };
        let id = act.id;
        let result = link.core.act(act);
        self.note(|| format!("{device} is asked for act {id}"));
        self.link_does(conn, result);
        true
    }

    fn link_does(&mut self, conn: ConnId, result: Result<Vec<Out>, LinkEnd>) {
        let outs = match result {
            Ok(outs) => outs,
            Err(end) => return self.link_fails(conn, &end),
        };
        for out in outs {
            let Some(link) = self.manager.links.get_mut(&conn) else { return };
            match out {
                Out::Send(bytes) => {
                    let now = self.now();
                    let arrival = self.net.send(now, conn, Side::Manager, bytes);
                    self.arrive(arrival);
                }
                Out::Ask(ask) => {
                    let device = link.device.clone();
                    self.ask_store(Op::Ask(conn, device, ask));
                }
                Out::Up => {
                    let device = link.device.clone();
                    self.note(|| format!("{device}: link {conn} is up"));
                    let now = self.now();
                    self.watch.disturbed(self.by_id[&device], now);
                }
                Out::Interest(applications) => link.interest = applications,
                Out::Waits(keys) => link.waits = keys,
                Out::Acted(acted) => self.acted(conn, acted),
                Out::Switched(_) => {}
            }
        }
        self.rearm_link(conn);
    }

    fn rearm_link(&mut self, conn: ConnId) {
        let (now, life) = (self.now(), self.manager.life);
        let Some(link) = self.manager.links.get_mut(&conn) else { return };
        let at = link.core.wake_at().0.max(now + 1);
        if link.timer.is_none_or(|timer| at < timer) {
            link.timer = Some(at);
            self.schedule.at(at, Event::LinkTimer { conn, life, at });
        }
    }

    fn link_fails(&mut self, conn: ConnId, end: &LinkEnd) {
        match end {
            LinkEnd::Session(SessionError::Silent(_))
            | LinkEnd::Replaced
            | LinkEnd::Removed
            | LinkEnd::Moved
            | LinkEnd::Retell(_) => {}
            LinkEnd::Mixed | LinkEnd::Session(_) => {
                self.fail(Failing::Protocol, format!("link {conn} ends: {end}"));
            }
        }
        let goodbye = self.manager.links.get(&conn).and_then(|l| l.core.goodbye(&end.to_string(), end.is_final()));
        if let Some(bytes) = goodbye {
            let now = self.now();
            let arrival = self.net.send(now, conn, Side::Manager, bytes);
            self.arrive(arrival);
        }
        self.link_ends(conn, &end.to_string());
    }

    fn link_ends(&mut self, conn: ConnId, reason: &str) {
        let now = self.now();
        let end = self.net.close(now, conn, Side::Manager);
        self.arrive(end);
        let Some(link) = self.manager.links.remove(&conn) else { return };
        self.note(|| format!("{}: link {conn} ended: {reason}", link.device));
        self.acts_lose(conn);
        if self.manager.newest.get(&link.device) == Some(&conn) {
            self.manager.newest.remove(&link.device);
            let last_heard = link.core.last_heard().0;
            self.ask_store(Op::Offline(link.device, reason.to_owned(), last_heard, link.core.ended()));
        }
    }

    /// Has the store do something; it is done a little later, what writes one after the other.
    pub(super) fn ask_store(&mut self, op: Op) {
        let reads = match &op {
            Op::Ask(_, _, ask) => {
                matches!(ask, Ask::Newest | Ask::Assignment | Ask::Providers { .. } | Ask::Released(_))
            }
            Op::Needs(_) => true,
            Op::Offline(..) | Op::Request(_) => false,
        };
        let (now, life) = (self.now(), self.manager.life);
        let takes = self.manager.rng.u64(..=if self.calm { 1 } else { 3 });
        let at = if reads { now + takes } else { self.manager.writes_until.max(now) + takes };
        if !reads {
            self.manager.writes_until = at;
        }
        self.schedule.at(at, Event::Commit { life, op });
    }

    /// The store does it: from here on it is on disk.
    pub(super) fn commit(&mut self, op: Op) {
        match op {
            Op::Ask(conn, device, ask) => match self.answer(&device, ask) {
                Ok(answer) => {
                    let life = self.manager.life;
                    let wait = self.manager.rng.u64(..=2);
                    self.schedule.after(wait, Event::Answered { life, conn, answer });
                }
                Err(reason) => self.link_ends(conn, &reason),
            },
            Op::Offline(device, reason, last_heard, rings) => {
                self.store.offline(&device, last_heard, &reason);
                for ring in rings {
                    self.ring(ring);
                }
                self.leases();
            }
            Op::Needs(applications) => {
                let applications: Vec<ApplicationName> = applications.into_iter().collect();
                let released = self.store.released(&applications);
                self.wake_released(&released);
            }
            Op::Request(request) => self.commit_request(*request),
        }
    }

    fn answer(&mut self, id: &DeviceId, ask: Ask) -> Result<Answer, String> {
        let device = self.by_id[id];
        Ok(match ask {
            Ask::Online(_) => Answer::Online(self.store.online(id)?.into_iter().collect()),
            Ask::Facts(_) => Answer::Facts(FactsMoved::default()),
            Ask::Newest => Answer::Newest(self.store.devices.get(id).map(|device| Newest {
                generation: device.generation,
                name: device.name.clone(),
                switches: Switches::default(),
            })),
            Ask::Assignment => Answer::Assignment(self.store.assignment(id)),
            Ask::Accepted(generation) => {
                if let Some(what) = self.watch.accepted(device, generation) {
                    self.fail(Failing::Lost, what);
                }
                self.store.accepted(id, generation);
                Answer::Done
            }
            Ask::Refused(generation, reason) => {
                self.store.refused(id, generation, &reason);
                Answer::Done
            }
            Ask::RaiseGeneration { from, to } => Answer::Raised(self.store.raise_generation(id, from, to)?),
            Ask::Record(update) => {
                if let Some(what) = self.watch.update(device, &update) {
                    self.fail(Failing::Exports, what);
                }
                Answer::Recorded(self.store.record(id, &update)?)
            }
            Ask::Providers { applications, fresh } => {
                let mut all = BTreeMap::new();
                for application in applications {
                    let offers = self.offers(&application, fresh);
                    all.insert(application, offers);
                }
                Answer::Providers(all)
            }
            Ask::Released(applications) => {
                let applications: Vec<ApplicationName> = applications.into_iter().collect();
                Answer::Released(self.store.released(&applications))
            }
        })
    }

    fn offers(&mut self, application: &ApplicationName, fresh: bool) -> Arc<Offers> {
        let kept = self.manager.offers.get(application).cloned();
        if let Some(kept) = kept.as_ref().filter(|_| !fresh) {
            return Arc::clone(kept);
        }
        let now = self.store.providers(std::slice::from_ref(application));
        let offers = match kept {
            Some(kept) => kept.next(now).map_or(kept, Arc::new),
            None => Arc::new(Offers::new(now)),
        };
        self.manager.offers.insert(application.clone(), Arc::clone(&offers));
        offers
    }

    /// Rings. In bad weather bells are lost, doubled, late and swapped.
    pub(super) fn ring(&mut self, ring: Ring) {
        if matches!(ring, Ring::Events(_) | Ring::Devices(_)) {
            return;
        }
        let life = self.manager.life;
        let bad = self.manager.bells_bad_until > self.now();
        let rng = &mut self.manager.rng;
        if bad && hits(rng, 0.3) {
            return;
        }
        let most = if bad { 5 * SECOND } else { 3 };
        let twice = bad && hits(rng, 0.3);
        let waits = [Some(rng.u64(..=most)), twice.then(|| rng.u64(..=most))];
        for wait in waits.into_iter().flatten() {
            self.schedule.after(wait, Event::Rung { life, ring: ring.clone() });
        }
    }

    pub(super) fn rung(&mut self, ring: Ring) {
        match ring {
            Ring::Assignment(device) => self.wake_device(&device, &Woken { assignment: true, ..Woken::default() }),
            Ring::Removed(device) => self.wake_device(&device, &Woken { removed: true, ..Woken::default() }),
            Ring::Moved(device) => self.wake_device(&device, &Woken { moved: true, ..Woken::default() }),
            Ring::Rotate(_) => {}
            Ring::Identity(device) => self.wake_device(&device, &Woken { newest: true, ..Woken::default() }),
            Ring::Exports(_, application) => {
                // Looked at once for all whom it concerns.
                self.offers(&application, true);
                let interested = self.manager.links.iter().filter(|(_, link)| link.interest.contains(&application));
                let interested: Vec<ConnId> = interested.map(|(conn, _)| *conn).collect();
                for conn in interested {
                    self.wake(conn, Woken { imports: true, ..Woken::default() });
                }
            }
            Ring::Needs(_, applications) => {
                if self.manager.links.values().any(|link| !link.waits.is_empty()) {
                    self.ask_store(Op::Needs(applications));
                }
            }
            Ring::Events(_) | Ring::Devices(_) => {}
        }
    }

    fn wake_released(&mut self, released: &BTreeSet<(DeviceId, InstanceKey)>) {
        let mut woken: BTreeMap<ConnId, BTreeSet<InstanceKey>> = BTreeMap::new();
        for (device, key) in released {
            let Some(conn) = self.manager.newest.get(device) else { continue };
            if self.manager.links.get_mut(conn).is_some_and(|link| link.waits.remove(key)) {
                woken.entry(*conn).or_default().insert(key.clone());
            }
        }
        for (conn, released) in woken {
            self.wake(conn, Woken { released, ..Woken::default() });
        }
    }

    fn wake_device(&mut self, device: &DeviceId, woken: &Woken) {
        if let Some(conn) = self.manager.newest.get(device).copied() {
            self.wake(conn, woken.clone());
        }
    }

    fn wake(&mut self, conn: ConnId, woken: Woken) {
        let life = self.manager.life;
        let wait = self.manager.rng.u64(..=2);
        self.schedule.after(wait, Event::Woken { conn, life, woken });
    }

    /// Lets leases lapse that are due, and comes back for the next.
    pub(super) fn leases(&mut self) {
        let (now, life) = (self.now(), self.manager.life);
        for application in self.store.lapse(now) {
            self.note(|| format!("leases of {application} end"));
            self.ring(Ring::Exports(self.project.clone(), application));
        }
        if let Some(at) = self.store.next_lapse() {
            self.schedule.at(at.max(now + 1), Event::Leases { life });
        }
    }
}
