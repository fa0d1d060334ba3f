//! An agent without its machine: the reconciler, the session with the manager, and what waits for the disk.
//!
//! Pure, as its parts are: no disk, no socket, no clock. The daemon drives one on a real machine, the simulation many
//! on paper; so every decision of an agent is made here or below, once.
//!
//! **The disk comes first.** What the reconciler orders after a [`Out::Write`] comes out only when the write is there
//! ([`Pilot::persisted`]); a write is therefore always the last thing that a call gives. Until then what happens is
//! kept in its order, and then taken in all at once: one write serves many reports. While the disk refuses, nothing
//! new begins, what runs runs on, the link stays up, and an assignment that comes is refused with the reason; it is
//! taken as soon as the disk takes it.
//!
//! **One link at a time.** Each connection has a [`LinkId`]; what comes over an earlier one is nothing. What was to be
//! said on a connection that ended is not said on the next one: that begins with a hello, and everything is told anew.
//! At most one update is under way, and none tells what is not on the disk.
//!
//! **Two clocks.** What people read and what survives a restart has the time of the wall, which may be set; the link is
//! kept by one that only goes forward.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use robo_model::name::DeviceName;
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{FileHash, Generation, InstanceKey};
use robo_wire::api::Facts;
use robo_wire::digest::{self, Digest};
use robo_wire::frame::{Frame, FrameError, MAX_CONTROL_FRAME};
use robo_wire::link::{Hello, PROTOCOL, Welcome};
use robo_wire::session::{AgentEffect, AgentSession, SessionError};
use robo_wire::switch::Switches;

use crate::ledger::{self, Ledger, Part, What};
use crate::order::{Addresses, Context, Order, Report, RunId};
use crate::reconcile::{Core, Effect, Input};

/// How often a write that the disk refuses is tried again.
pub const DISK_RETRY: Millis = Millis::from_secs(1);

/// Longest time without a look at what is due: as long as the longest back-off. A clock that is set back must not make
/// a retry wait for a day.
pub const LONGEST_SLEEP: Millis = Millis::from_secs(60);

/// Messages of the manager that may wait for the disk. It says little, and whoever says more than this while a write is
/// under way says it again after the link was up anew.
const MAX_WAITING: usize = 64;

/// Most bytes of those, the newest assignment apart.
const MAX_WAITING_BYTES: usize = 2 * MAX_CONTROL_FRAME;

/// Why an assignment is not taken while the disk is full.
const DISK_REFUSES: &str = "the device's disk does not take the ledger; it is tried again";

/// The time, by both clocks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// What people call the time. May be set, forwards and backwards.
    pub wall: UnixMillis,
    /// Since some moment before the pilot was made; only goes forward.
    pub steady: UnixMillis,
}

/// Tells a connection from all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a pilot begins with.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// What is on the disk, or was made of what is left there.
    pub ledger: Ledger,
    /// What of it is not on the disk as it is here.
    pub rewrite: What,
}

impl From<Ledger> for Loaded {
    fn from(ledger: Ledger) -> Self {
        Self { ledger, rewrite: What::default() }
    }
}

/// What whoever drives a pilot does, strictly in the order given.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// Replace these files of the ledger, in this order, and answer with [`Pilot::persisted`] when all of them are on
    /// the disk, or with [`Pilot::persist_failed`]. The last one of its call; no other comes before the answer.
    Write(Vec<(Part, Vec<u8>)>),
    /// Begin a step; beginning a run again is nothing, or its outcome again.
    Begin(Order),
    /// Look after what the start step of this order made.
    Watch(Order),
    /// End a run at once.
    Abort {
        /// Of which instance.
        key: InstanceKey,
        /// Which run.
        run: RunId,
    },
    /// Write the file with what an instance is told.
    Context(Context),
    /// Remove everything that is left of an instance.
    Forget(InstanceKey),
    /// No recipe files but these are needed any more.
    Tidy(BTreeSet<FileHash>),
    /// Send these bytes on the control stream of the connection.
    Send(LinkId, Vec<u8>),
    /// The manager welcomed us on this connection. For the log, and so that the next one is dialled without delay.
    Up(LinkId, Welcome),
    /// The device has this name now. For the log.
    Named(DeviceName),
    /// This is switched off, and all else is on.
    Switches(Switches),
    /// Make a new key, and have it certified: the manager wants it, or the certificate has ended.
    Renew,
    /// Close the connection, and dial again. Nothing further is said on it.
    HangUp(LinkId, HangUp),
}

/// Why a connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HangUp {
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The disk is slower than the manager.
    #[error("more of what the manager says waits for the device's disk than is kept")]
    Behind,
}

impl From<FrameError> for HangUp {
    fn from(error: FrameError) -> Self {
        Self::Session(error.into())
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Pilot {
    core: Core,
    disk: Disk,
    /// What happened and is not taken in yet.
    waiting: VecDeque<Input>,
    /// How many bytes of it the manager said, assignments apart.
    waiting_bytes: usize,
    /// What is done when the write under way is there.
    behind: VecDeque<Effect>,
    /// What of the ledger is to be written with the next write.
    rewrite: What,
    link: Option<Link>,
    links: u64,
    /// What the manager was told of this machine.
    about: Facts,
    /// What is to be told of it, in place of that.
    other: Option<Facts>,
    /// True while the core takes the link for up.
    told_up: bool,
    /// What the assignment on the disk is.
    accepted: (Generation, Digest),
    /// The assignment that was last refused for the disk's sake.
    refused: Option<Generation>,
    last_tick: UnixMillis,
    last_wall: UnixMillis,
}

/// Where the write under way stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// There is none: what the core knows is on the disk.
    Idle,
    /// These parts are being written.
    Writing(What),
    /// They could not be written; it is tried again then.
    Refusing(What, UnixMillis),
}

/// The connection that is there.
#[derive(Debug)]
struct Link {
    id: LinkId,
    session: AgentSession,
}

impl Pilot {
    /// Goes on from `loaded`, in the boot that `boot` names. These addresses count where the ledger has none, until
    /// there is a connection.
    #[must_use]
    pub fn new(loaded: Loaded, addresses: Addresses, boot: String, now: Now) -> (Self, Vec<Out>) {
        let Loaded { ledger, rewrite } = loaded;
        let accepted = (ledger.assignment.generation, digest::of_assignment(&ledger.assignment));
        let (core, effects) = Core::boot(ledger, addresses, boot, now.wall);
        let mut pilot = Self {
            core,
            disk: Disk::Idle,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            behind: VecDeque::new(),
            rewrite,
            link: None,
            links: 0,
            about: Facts::default(),
            other: None,
            told_up: false,
            accepted,
            refused: None,
            last_tick: now.steady,
            last_wall: now.wall,
        };
        let mut outs = Vec::new();
        let effects = pilot.sort(effects, VecDeque::new());
        pilot.commit(now, effects, &mut outs);
        pilot.go_on(now, &mut outs);
        (pilot, outs)
    }

    /// The runtime reports. Better many at a time than one by one.
    pub fn reports(&mut self, now: Now, reports: impl IntoIterator<Item = Report>) -> Vec<Out> {
        self.waiting.extend(reports.into_iter().map(Input::Report));
        self.pump(now)
    }

    /// A connection to the manager is there: the hello goes, with `facts`; `addresses` are what exports get from now on.
    /// A connection that was there before is given up.
    pub fn connect(&mut self, now: Now, addresses: Addresses, facts: Facts) -> (LinkId, Vec<Out>) {
        self.drop_link();
        self.links += 1;
        let id = LinkId(self.links);
        self.waiting.push_back(Input::Addresses(addresses));
        let (generation, assignment) = self.accepted;
        let hello = Hello {
            protocol: PROTOCOL,
            facts: facts.clone(),
            generation,
            assignment: Some(assignment),
            imports: Some(self.core.imports_digest()),
        };
        (self.about, self.other) = (facts, None);
        let mut outs = match AgentSession::start(now.steady, &hello) {
            Ok((session, first)) => {
                self.link = Some(Link { id, session });
                self.session_effect(now, first)
            }
            Err(error) => vec![Out::HangUp(id, error.into())],
        };
        self.go_on(now, &mut outs);
        (id, outs)
    }

    /// The machine's network is another one than it was: `addresses` are what exports get from now on, and the manager is
    /// told of `facts` where they are others than it knows.
    pub fn network(&mut self, now: Now, addresses: Addresses, facts: Facts) -> Vec<Out> {
        if addresses != *self.core.addresses() {
            self.waiting.push_back(Input::Addresses(addresses));
        }
        self.other = (facts != self.about).then_some(facts);
        self.pump(now)
    }

    /// The manager said this, on that connection.
    pub fn frame(&mut self, now: Now, id: LinkId, frame: &Frame) -> Vec<Out> {
        let Some(link) = self.link.as_mut().filter(|link| link.id == id) else { return Vec::new() };
        let mut outs = match link.session.frame(now.steady, frame) {
            Ok(effect) => effect.map(|effect| self.session_effect(now, effect)).unwrap_or_default(),
            Err(error) => self.hang_up(error.into()),
        };
        if self.waiting.back().is_some_and(|input| is_of_link(input) && !matches!(input, Input::Assigned(_))) {
            self.waiting_bytes = self.waiting_bytes.saturating_add(frame.body.len());
            if self.waiting_bytes > MAX_WAITING_BYTES {
                outs.extend(self.hang_up(HangUp::Behind));
            }
        }
        self.go_on(now, &mut outs);
        outs
    }

    /// A part of what the manager says came on that connection; the rest may take a while.
    pub fn heard(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.link.as_mut().filter(|link| link.id == id) {
            link.session.heard(now.steady);
        }
    }

    /// That connection is gone.
    pub fn hung_up(&mut self, now: Now, id: LinkId) -> Vec<Out> {
        if self.link.as_ref().is_some_and(|link| link.id == id) {
            self.drop_link();
        }
        self.pump(now)
    }

    /// The write under way is on the disk.
    pub fn persisted(&mut self, now: Now) -> Vec<Out> {
        let mut outs = Vec::new();
        if let Disk::Writing(what) = self.disk {
            self.disk = Disk::Idle;
            self.refused = None;
            if what.assignment {
                let assignment = &self.core.ledger().assignment;
                self.accepted = (assignment.generation, digest::of_assignment(assignment));
            }
            let effects = std::mem::take(&mut self.behind);
            self.order(now, effects, &mut outs);
            self.go_on(now, &mut outs);
        }
        outs
    }

    /// The write under way is not on the disk; some of its parts may be. It is tried again at [`Pilot::wake_in`].
    pub fn persist_failed(&mut self, now: Now) -> Vec<Out> {
        if let Disk::Writing(what) = self.disk {
            self.disk = Disk::Refusing(what, now.steady.plus(DISK_RETRY));
        }
        let taken = |effect: &Effect| if let Effect::Accepted(generation) = effect { Some(*generation) } else { None };
        let mut outs = Vec::new();
        if let Some(generation) = self.behind.iter().find_map(taken).filter(|it| self.refused != Some(*it)) {
            self.refuse(now, generation, &mut outs);
        }
        outs
    }

    /// Time passed: to be called when [`Pilot::wake_in`] is over, and harmless at any time.
    pub fn tick(&mut self, now: Now) -> Vec<Out> {
        let mut outs = match self.link.as_mut().map(|link| link.session.tick(now.steady)) {
            Some(Ok(Some(effect))) => self.session_effect(now, effect),
            Some(Err(error)) => self.hang_up(error.into()),
            Some(Ok(None)) | None => Vec::new(),
        };
        if let Disk::Refusing(what, at) = self.disk
            && at <= now.steady
        {
            self.write(what, &mut outs);
        }
        let slept = now.steady.since(self.last_tick) >= LONGEST_SLEEP;
        let set_back = now.wall < self.last_wall;
        if self.core.wake_at().is_some_and(|at| at <= now.wall || slept || set_back) {
            self.last_tick = now.steady;
            if !self.waiting.contains(&Input::Tick) {
                self.waiting.push_back(Input::Tick);
            }
        }
        self.last_wall = now.wall;
        self.go_on(now, &mut outs);
        outs
    }

    /// When [`Pilot::tick`] has something to do, if nothing else happens.
    #[must_use]
    pub fn wake_in(&self, now: Now) -> Option<Millis> {
        let core = match self.disk {
            Disk::Idle => self.core.wake_at().map(|at| at.since(now.wall).min(LONGEST_SLEEP)),
            Disk::Writing(_) => None,
            Disk::Refusing(_, at) => Some(at.since(now.steady)),
        };
        let session = self.link.as_ref().map(|link| link.session.wake_at().since(now.steady));
        core.into_iter().chain(session).min()
    }

    /// True while a write is under way or refused: better keep reports back, where they can wait.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        !matches!(self.disk, Disk::Idle)
    }

    /// The connection that is there, whether it is welcomed or not.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        self.link.as_ref().map(|link| link.id)
    }

    /// What decides.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    fn pump(&mut self, now: Now) -> Vec<Out> {
        let mut outs = Vec::new();
        self.go_on(now, &mut outs);
        outs
    }

    /// Takes in what waits, as far as the disk has taken all before it.
    fn go_on(&mut self, now: Now, outs: &mut Vec<Out>) {
        while self.disk == Disk::Idle && !self.waiting.is_empty() {
            let mut effects = VecDeque::new();
            while let Some(input) = self.waiting.pop_front() {
                let comes = matches!(input, Input::Connected { .. });
                self.told_up = comes || (self.told_up && input != Input::Disconnected);
                let more = self.core.handle(now.wall, input);
                effects = self.sort(more, effects);
            }
            self.waiting_bytes = 0;
            self.commit(now, effects, outs);
        }
        self.tell(now, outs);
    }

    /// Gives out what the core ordered, behind a write where there is something to write.
    fn commit(&mut self, now: Now, effects: VecDeque<Effect>, outs: &mut Vec<Out>) {
        let what = std::mem::take(&mut self.rewrite);
        if what.is_empty() {
            self.order(now, effects, outs);
        } else {
            self.behind = effects;
            self.write(what, outs);
        }
    }

    /// Puts aside what is to be written, so that one write stands before all else.
    fn sort(&mut self, effects: Vec<Effect>, mut sorted: VecDeque<Effect>) -> VecDeque<Effect> {
        for effect in effects {
            if let Effect::Persist(what) = effect {
                self.rewrite = self.rewrite.and(what);
            } else {
                sorted.push_back(effect);
            }
        }
        sorted
    }

    fn write(&mut self, what: What, outs: &mut Vec<Out>) {
        self.disk = Disk::Writing(what);
        let ledger = self.core.ledger();
        outs.push(Out::Write(what.parts().map(|part| (part, ledger::encode(ledger, part))).collect()));
    }

    /// Gives out what the core ordered; all it relies on is on the disk.
    fn order(&mut self, now: Now, effects: VecDeque<Effect>, outs: &mut Vec<Out>) {
        for effect in effects {
            match effect {
                // Sorted out before; a telling comes by itself.
                Effect::Persist(_) | Effect::Tell => {}
                Effect::Begin(order) => outs.push(Out::Begin(order)),
                Effect::Watch(order) => outs.push(Out::Watch(order)),
                Effect::Abort { key, run } => outs.push(Out::Abort { key, run }),
                Effect::Context(context) => outs.push(Out::Context(context)),
                Effect::Forget(key) => outs.push(Out::Forget(key)),
                Effect::Accepted(generation) => {
                    self.say(outs, |session| session.accepted(now.steady, generation));
                    outs.push(Out::Tidy(self.needed_files()));
                }
                Effect::Refused { generation, reason } => {
                    self.say(outs, |session| session.refused(now.steady, generation, reason));
                }
                Effect::Acted(acted) => self.say(outs, |session| session.acted(now.steady, acted)),
                Effect::Resync => self.say(outs, |session| session.resync(now.steady)),
            }
        }
    }

    /// Tells what is to be told, one update at a time.
    fn tell(&mut self, now: Now, outs: &mut Vec<Out>) {
        // Nothing is said behind a write.
        if self.disk == Disk::Idle
            && self.link.as_ref().is_some_and(|link| link.session.is_up())
            && let Some(facts) = self.other.take()
        {
            self.about = facts.clone();
            self.say(outs, |session| session.facts(now.steady, facts));
        }
        let ready = self.link.as_ref().is_some_and(|link| link.session.is_ready());
        if !ready || !self.told_up || self.disk != Disk::Idle {
            return;
        }
        if let Some(update) = self.core.next_update() {
            self.say(outs, |session| session.update(now.steady, update));
        }
    }

    /// Says something, where somebody listens.
    fn say<E: Into<HangUp>>(
        &mut self,
        outs: &mut Vec<Out>,
        message: impl FnOnce(&mut AgentSession) -> Result<AgentEffect, E>,
    ) {
        let Some(link) = &mut self.link else { return };
        match message(&mut link.session) {
            Ok(AgentEffect::Send(bytes)) => outs.push(Out::Send(link.id, bytes)),
            Ok(_) => {}
            Err(error) => outs.extend(self.hang_up(error.into())),
        }
    }

    fn refuse(&mut self, now: Now, generation: Generation, outs: &mut Vec<Out>) {
        self.refused = Some(generation);
        self.say(outs, |session| session.refused(now.steady, generation, DISK_REFUSES.to_owned()));
    }

    /// Does what the session says; what concerns the core waits for its turn.
    fn session_effect(&mut self, now: Now, effect: AgentEffect) -> Vec<Out> {
        let mut outs = Vec::new();
        let refusing = matches!(self.disk, Disk::Refusing(..));
        let input = match effect {
            AgentEffect::Send(bytes) => {
                outs.extend(self.link.as_ref().map(|link| Out::Send(link.id, bytes)));
                return outs;
            }
            AgentEffect::Renew => {
                outs.push(Out::Renew);
                return outs;
            }
            AgentEffect::Named(name) => {
                outs.push(Out::Named(name));
                return outs;
            }
            AgentEffect::Switches(told) => {
                outs.push(Out::Switches(told));
                return outs;
            }
            AgentEffect::Up(welcome) => {
                let events_stored = welcome.events_stored;
                outs.extend(self.link.as_ref().map(|link| Out::Up(link.id, welcome)));
                Input::Connected { events_stored }
            }
            AgentEffect::Assign(assignment) => {
                // Only the newest one counts.
                self.waiting.retain(|input| !matches!(input, Input::Assigned(_)));
                if refusing {
                    self.refuse(now, assignment.generation, &mut outs);
                }
                Input::Assigned(assignment)
            }
            AgentEffect::Imports(change) => Input::Imports(change),
            AgentEffect::Stored(ack) => Input::Stored { events_stored: ack.events_stored },
            AgentEffect::Released(released) => Input::Released(released.keys.into_iter().collect()),
            // Whoever asked is told soon that there was no answer; what was asked for must not happen hours later.
            AgentEffect::Act(_) if refusing => return outs,
            AgentEffect::Act(act) => Input::Act(act),
        };
        self.waiting.push_back(input);
        if self.waiting.iter().filter(|input| is_of_link(input)).count() > MAX_WAITING {
            outs.extend(self.hang_up(HangUp::Behind));
        }
        outs
    }

    fn hang_up(&mut self, why: HangUp) -> Vec<Out> {
        let id = self.link();
        self.drop_link();
        let needs_renewal = matches!(why, HangUp::Session(SessionError::Goodbye { renew: true, .. }));
        let renew = needs_renewal.then_some(Out::Renew);
        id.map(|id| Out::HangUp(id, why)).into_iter().chain(renew).collect()
    }

    /// The link is over: what it said and nobody heard yet is said again on the next one.
    fn drop_link(&mut self) {
        if self.link.take().is_none() {
            return;
        }
        self.waiting.retain(|input| !is_of_link(input));
        self.waiting_bytes = 0;
        self.behind.retain(|effect| !is_answer(effect));
        if self.told_up {
            self.waiting.push_back(Input::Disconnected);
        }
    }

    fn needed_files(&self) -> BTreeSet<FileHash> {
        let specs = self.core.ledger().assignment.instances.iter();
        specs.flat_map(|spec| spec.files.values().map(|file| file.hash.clone())).collect()
    }
}

/// True for what the manager said on the connection that is there.
const fn is_of_link(input: &Input) -> bool {
    match input {
        Input::Assigned(_)
        | Input::Imports(_)
        | Input::Connected { .. }
        | Input::Stored { .. }
        | Input::Released(_)
        | Input::Act(_) => true,
        Input::Addresses(_) | Input::Boot(_) | Input::Report(_) | Input::Disconnected | Input::Tick => false,
    }
}

/// True for what is said to the manager.
const fn is_answer(effect: &Effect) -> bool {
    match effect {
        Effect::Accepted(_) | Effect::Refused { .. } | Effect::Acted(_) | Effect::Resync => true,
        Effect::Persist(_)
        | Effect::Tell
        | Effect::Begin(_)
        | Effect::Watch(_)
        | Effect::Abort { .. }
        | Effect::Context(_)
        | Effect::Forget(_) => false,
    }
}
