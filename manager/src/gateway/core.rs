//! One link of the manager, from the hello to its end, without I/O: no socket, no clock, no store.
//!
//! [`LinkCore`] takes what happens, with the time, and returns what has to be done about it, in order, as [`Out`]s.
//! Whoever drives it moves the bytes, carries each [`Ask`] out on the store, rings what [`Ask::rings`] says, and hands
//! the answer back with [`LinkCore::answered`]. At most one ask is under way at a time; what comes in meanwhile waits
//! in here, bounded by [`LinkCore::takes_frames`]. An error ends the link: the driver sends [`LinkCore::goodbye`],
//! notes in the store that the device is offline since [`LinkCore::last_heard`] when it has no other link, and rings
//! [`LinkCore::ended`].
//!
//! Levels, not edges: everything the device has to be told follows from what the store says now and from what the
//! device was told already. So a [`Woken`] may come too often or for nothing, and one that gets lost is made up for
//! by the look every [`LOOK_ANYWAY`].
//!
//! All times are of a clock that only goes forward, and mean nothing but their distance.

mod ask;
mod imports;
mod missed;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, Generation, InstanceKey};
use robo_wire::api::Facts;
use robo_wire::digest::{Digest, of_assignment};
use robo_wire::frame::{Frame, FrameError};
use robo_wire::link::{Act, Acted, Hello, Released, Update};
use robo_wire::session::{ManagerEffect, ManagerSession, SessionError};
use robo_wire::switch::Switches;

pub use self::ask::{Answer, Ask, Newest};
use self::imports::{Imports, Interest, interest_of};
use self::missed::Missed;
use super::offers::Offers;
use crate::bus::Ring;
use crate::store::{DeviceRecord, Recorded};

/// A link looks into the store at least this often, whether or not it was woken: a message of the bus may be lost.
/// Ten thousand links make some hundred small reads a second of it.
pub const LOOK_ANYWAY: Millis = Millis::from_secs(60);

/// Messages of the device that may wait for the store. An agent has one update, one accepted or refused assignment and
/// one answer under way; the bound is for those that are none of ours.
const MAX_WAITING: usize = 32;

/// Acts that may wait for the welcome.
const MAX_ACTS: usize = 64;

/// The device, as the store knew it when it dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// Its identity.
    pub id: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its project.
    pub project: ProjectName,
    /// The newest assignment made for it.
    pub generation: Generation,
    /// The newest one it accepted.
    pub accepted: Generation,
    /// The highest number of its own events that is stored.
    pub events_stored: u64,
    /// When it is told to renew its certificate; nothing where it never is.
    pub renewal: Option<RenewalDue>,
    /// The public key by which it knows this manager's certificates for SSH.
    pub ssh_authority: Option<String>,
    /// What is switched off there.
    pub switches: Switches,
}

/// When a device is told to renew its certificate: our clock counts, not the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewalDue {
    /// So long after its link began.
    pub first: Millis,
    /// So long after each time: the certificate that it got then is at half its life.
    pub again: Millis,
}

impl From<&DeviceRecord> for LinkRecord {
    fn from(record: &DeviceRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            project: record.project.clone(),
            generation: record.generation,
            accepted: record.accepted,
            events_stored: record.events_stored,
            renewal: None,
            ssh_authority: None,
            switches: record.switches.clone(),
        }
    }
}

/// What woke a link. Each mark says only that something may have moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Woken {
    /// The device may be gone, or be another machine now: this is looked at before anything is told.
    pub newest: bool,
    /// The device may have a new assignment.
    pub assignment: bool,
    /// What other devices offer may have moved.
    pub imports: bool,
    /// Somebody on the device may be released: look.
    pub releases: bool,
    /// These instances of the device are released.
    pub released: BTreeSet<InstanceKey>,
    /// The device dialled again; this link is the old one.
    pub replaced: bool,
    /// The device was removed.
    pub removed: bool,
    /// The device went to another project.
    pub moved: bool,
    /// An operator wants the device to have a new key.
    pub renew: bool,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send these bytes on the control stream: whole frames.
    Send(Vec<u8>),
    /// Ask the store, and hand its answer to [`LinkCore::answered`]. Never a second one before that.
    Ask(Ask),
    /// The device was welcomed.
    Up,
    /// From here on, wake the link when exports in these applications move; in place of what was said before.
    Interest(BTreeSet<ApplicationName>),
    /// From here on, wake the link when one of these instances is released; in place of what was said before.
    Waits(BTreeSet<InstanceKey>),
    /// What came of an act.
    Acted(Acted),
    /// This is switched off on the device now.
    Switched(Switches),
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// The device broke the protocol, or was silent.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A newer link of the same device took its place.
    #[error("the device dialled again")]
    Replaced,
    /// The device is not one of ours any more.
    #[error("the device was removed from the manager, or shut out; enrol it again to bring it back")]
    Removed,
    /// The device is of another project now, and its next link, too.
    #[error("the device was moved to another project")]
    Moved,
    /// What it told of an instance was not kept, and would be missed now.
    #[error("the device told of `{0}` what its assignment did not say then, and has to tell again")]
    Retell(InstanceKey),
    /// The driver answered something else than was asked.
    #[error("the manager mixed up an answer of its store")]
    Mixed,
}

impl LinkEnd {
    /// True when dialling again is useless.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Removed)
    }
}

impl From<FrameError> for LinkEnd {
    fn from(error: FrameError) -> Self {
        Self::Session(error.into())
    }
}

/// One link of the manager.
#[derive(Debug)]
pub struct LinkCore {
    record: LinkRecord,
    session: ManagerSession,
    /// What the store is asked right now.
    asked: Option<Asked>,
    /// What the device said and the store was not asked yet, in order.
    waiting: VecDeque<Heard>,
    look: Look,
    /// When to look whether or not something was heard; nothing before the welcome.
    look_at: Option<UnixMillis>,
    /// True from an update until its acknowledgement.
    is_updating: bool,
    /// What the device said it has, until it was compared with ours.
    greeting: Option<Greeting>,
    /// The newest assignment that the device has or was sent.
    sent: Generation,
    interest: Interest,
    imports: Imports,
    /// Others' offers may have moved since the device was told of them.
    behind: bool,
    /// What the device said it has of them when it last told of itself. An older agent does not say.
    stated: Option<Digest>,
    applications: BTreeSet<ApplicationName>,
    /// Instances of the device that wait until others have stopped.
    held: BTreeSet<InstanceKey>,
    /// Those of them that were told that they need not.
    released: BTreeSet<InstanceKey>,
    acts: Vec<Act>,
    /// When the device is told to renew its certificate.
    renew_at: Option<UnixMillis>,
    /// What it told and was not kept.
    missed: Missed,
}

/// What the device said that the store has to know.
#[derive(Debug)]
enum Heard {
    Hello(Box<Hello>),
    Update(Update),
    Accepted(Generation),
    Refused(Generation, String),
    Facts(Box<Facts>),
}

/// What the answer is for.
#[derive(Debug)]
enum Asked {
    Online(Greeting),
    Newest,
    Assignment,
    Nothing,
    Raise { greeting: Greeting, raise: Raise },
    Record { seq: u64, imports: Option<Digest>, waits: BTreeSet<ApplicationName> },
    Providers,
    Released,
}

/// The number that our assignment gets, and whether the device has its content under that number already.
#[derive(Debug, Clone, Copy)]
struct Raise {
    to: Generation,
    is_accepted: bool,
}

#[derive(Debug)]
struct Greeting {
    /// The device keeps something switched off.
    holds_off: bool,
    generation: Generation,
    assignment: Option<Digest>,
    imports: Option<Digest>,
}

/// What has to be looked at in the store.
#[derive(Debug, Default)]
struct Look {
    newest: bool,
    assignment: bool,
    imports: bool,
    /// With `imports`: no older look will do.
    fresh: bool,
    releases: bool,
}

type Result<T> = std::result::Result<T, LinkEnd>;

impl LinkCore {
    /// A link on which nothing was said. The device has to say something at least every `heartbeat`.
    #[must_use]
    pub fn new(record: LinkRecord, heartbeat: Millis, now: UnixMillis) -> Self {
        let imports = Imports::new(record.id.clone(), None);
        let renew_at = record.renewal.map(|due| now.plus(due.first));
        Self {
            record,
            renew_at,
            session: ManagerSession::new(now, heartbeat),
            asked: None,
            waiting: VecDeque::new(),
            look: Look::default(),
            look_at: None,
            is_updating: false,
            greeting: None,
            sent: Generation::default(),
            interest: Interest::new(),
            imports,
            behind: true,
            stated: None,
            applications: BTreeSet::new(),
            held: BTreeSet::new(),
            released: BTreeSet::new(),
            acts: Vec::new(),
            missed: Missed::default(),
        }
    }

    /// Whose link it is.
    #[must_use]
    pub const fn record(&self) -> &LinkRecord {
        &self.record
    }

    /// The bound for the next frame: small until the device was welcomed.
    #[must_use]
    pub fn max_frame(&self) -> usize {
        self.session.max_frame()
    }

    /// False while so much waits for the store that no further frame may be handed in.
    #[must_use]
    pub fn takes_frames(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// True while an answer of the store is missing.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// True when the device was told all that others offer, as far as anybody here knows of it, and has told of itself
    /// since: what is stored of it is how it stands knowing that.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        !self.behind && self.imports.is_told(self.stated)
    }

    /// When the device was last heard; before its hello, when the link began.
    #[must_use]
    pub const fn last_heard(&self) -> UnixMillis {
        self.session.last_heard()
    }

    /// When [`LinkCore::tick`] has something to do next.
    #[must_use]
    pub fn wake_at(&self) -> UnixMillis {
        let session_at = self.session.wake_at();
        // Before the welcome nothing is told.
        let own = self.look_at.map(|look_at| self.renew_at.map_or(look_at, |renew_at| renew_at.min(look_at)));
        own.map_or(session_at, |own| own.min(session_at))
    }

    /// Takes a frame of the device; only while [`LinkCore::takes_frames`].
    ///
    /// # Errors
    /// Ends the link.
    pub fn frame(&mut self, now: UnixMillis, frame: &Frame) -> Result<Vec<Out>> {
        let mut outs = Vec::new();
        match self.session.frame(now, frame)? {
            None => {}
            Some(ManagerEffect::Send(bytes)) => outs.push(Out::Send(bytes)),
            Some(ManagerEffect::Acted(acted)) => outs.push(Out::Acted(acted)),
            Some(ManagerEffect::Resync) => {
                tracing::info!(device = %self.record.id, "the device lacks something of other devices' exports; it is told all of them");
                self.imports.resync();
                self.look_at_imports();
            }
            Some(ManagerEffect::Facts(facts)) => self.waiting.push_back(Heard::Facts(facts)),
            Some(ManagerEffect::Hello(hello)) => self.waiting.push_back(Heard::Hello(hello)),
            Some(ManagerEffect::Accepted(generation)) => {
                self.check_sent("an acceptance", generation)?;
                self.waiting.push_back(Heard::Accepted(generation));
            }
            Some(ManagerEffect::Refused(m)) => {
                self.check_sent("a refusal", m.generation)?;
                self.waiting.push_back(Heard::Refused(m.generation, m.reason));
            }
            Some(ManagerEffect::Update(update)) => {
                if std::mem::replace(&mut self.is_updating, true) {
                    let (what, when) = ("an update", "before the one before it was acknowledged");
                    return Err(SessionError::OutOfTurn { what, when }.into());
                }
                self.waiting.push_back(Heard::Update(update));
            }
        }
        self.go_on(&mut outs)?;
        Ok(outs)
    }

    /// Refuses an answer to an assignment that the device was never sent.
    fn check_sent(&self, what: &'static str, generation: Generation) -> Result<()> {
        if generation <= self.sent {
            return Ok(());
        }
        Err(SessionError::OutOfTurn { what, when: "of an assignment that it was not sent" }.into())
    }

    /// Takes the answer to the ask under way.
    ///
    /// # Errors
    /// Ends the link.
    pub fn answered(&mut self, now: UnixMillis, answer: Answer) -> Result<Vec<Out>> {
        let mut outs = Vec::new();
        match (self.asked.take(), answer) {
            (Some(Asked::Nothing), Answer::Done | Answer::Facts(_)) => {}
            (Some(Asked::Raise { greeting, raise }), Answer::Raised(other)) => self.raised(greeting, raise, other),
            (Some(Asked::Online(greeting)), Answer::Online(_)) => self.welcome(now, greeting, &mut outs)?,
            (Some(Asked::Newest), Answer::Newest(newest)) => {
                let newest = newest.ok_or(LinkEnd::Removed)?;
                self.look.assignment |= newest.generation > self.sent;
                self.tell_name(newest.name, &mut outs)?;
                self.tell_switches(newest.switches, &mut outs)?;
            }
            (Some(Asked::Assignment), Answer::Assignment(assignment)) => {
                self.take_assignment(assignment.unwrap_or_default(), &mut outs)?;
            }
            (Some(Asked::Record { seq, imports, waits }), Answer::Recorded(recorded)) => {
                self.stated = imports.or(self.stated);
                self.recorded(seq, &waits, &recorded, &mut outs)?;
            }
            (Some(Asked::Providers), Answer::Providers(offers)) => self.tell_imports(&offers, &mut outs),
            (Some(Asked::Released), Answer::Released(all)) => {
                let own = all.into_iter().filter(|(device, _)| *device == self.record.id).map(|(_, key)| key);
                self.tell_released(own.collect(), &mut outs)?;
            }
            (None | Some(_), _) => return Err(LinkEnd::Mixed),
        }
        self.go_on(&mut outs)?;
        Ok(outs)
    }

    /// Something may have moved.
    ///
    /// # Errors
    /// Ends the link: the device dialled again, or was removed.
    pub fn woken(&mut self, woken: Woken) -> Result<Vec<Out>> {
        let Woken { newest, assignment, imports, releases, released, replaced, removed, moved, renew } = woken;
        if removed {
            return Err(LinkEnd::Removed);
        }
        if moved {
            return Err(LinkEnd::Moved);
        }
        if replaced {
            return Err(LinkEnd::Replaced);
        }
        let mut outs = Vec::new();
        self.look.newest |= newest;
        if renew {
            self.renew_at = Some(UnixMillis(0));
        }
        if self.look_at.is_some() {
            self.look.assignment |= assignment;
            if imports {
                self.look_at_imports();
            }
            self.look.releases |= releases;
            self.tell_released(released, &mut outs)?;
            self.go_on(&mut outs)?;
        }
        // Before the welcome there is nothing to tell yet, and after it everything else is looked at anyway.
        Ok(outs)
    }

    /// Asks the device to do something once; the answer comes as [`Out::Acted`], or not at all.
    ///
    /// # Errors
    /// Ends the link: the message cannot be sent.
    pub fn act(&mut self, act: Act) -> Result<Vec<Out>> {
        if self.look_at.is_some() {
            return Ok(vec![send(self.session.act(act)?)].into_iter().flatten().collect());
        }
        // What is one too many is not done; who asked for it hears nothing in time.
        if self.acts.len() < MAX_ACTS {
            self.acts.push(act);
        }
        Ok(Vec::new())
    }

    /// Looks at the time. Call it at [`LinkCore::wake_at`] at the latest.
    ///
    /// # Errors
    /// Ends the link: the device was silent for too long.
    pub fn tick(&mut self, now: UnixMillis) -> Result<Vec<Out>> {
        let mut outs: Vec<Out> = self.session.tick(now)?.and_then(send).into_iter().collect();
        if self.look_at.is_some() && self.renew_at.is_some_and(|at| now >= at) {
            self.renew_at = self.record.renewal.map(|due| now.plus(due.again));
            outs.extend(send(self.session.renew()?));
        }
        if self.look_at.is_some_and(|at| now >= at) {
            self.look_at = Some(now.plus(LOOK_ANYWAY));
            self.look = Look { newest: true, imports: true, fresh: true, releases: true, ..self.look };
            self.go_on(&mut outs)?;
        }
        Ok(outs)
    }

    /// The last words, for a link that ends because of `reason`.
    #[must_use]
    pub fn goodbye(&self, reason: &str, is_final: bool) -> Option<Vec<u8>> {
        match self.session.goodbye(reason.to_owned(), is_final) {
            Ok(ManagerEffect::Send(bytes)) => Some(bytes),
            Ok(_) | Err(_) => None,
        }
    }

    /// What to ring once the store has noted that the device is offline: nobody has to wait for its instances.
    #[must_use]
    pub fn ended(&self) -> Vec<Ring> {
        let project = &self.record.project;
        let mut rings = vec![Ring::Devices(project.clone()), Ring::Events(project.clone())];
        rings.extend(Ring::needs(project, self.applications.clone()));
        rings
    }

    /// Asks the store for the next thing, unless an answer is missing.
    fn go_on(&mut self, outs: &mut Vec<Out>) -> Result<()> {
        while self.asked.is_none() {
            let next = match self.waiting.pop_front() {
                Some(heard) => self.ask_for(heard, outs),
                // Before the welcome nothing is looked at, whatever else the device may say by then.
                None => self.look_at.and_then(|_| self.ask_to_look()),
            };
            if let Some((asked, ask)) = next {
                self.asked = Some(asked);
                outs.push(Out::Ask(ask));
            } else if std::mem::take(&mut self.look.imports) {
                // There is nobody to ask about; the device may still have what it does not need any more.
                self.tell_imports(&BTreeMap::new(), outs);
            } else {
                // Ten thousand idle links must not hold room for what they heard.
                self.waiting = VecDeque::new();
                return Ok(());
            }
        }
        Ok(())
    }

    fn ask_for(&mut self, heard: Heard, outs: &mut Vec<Out>) -> Option<(Asked, Ask)> {
        Some(match heard {
            Heard::Hello(hello) => {
                let Hello { facts, generation, assignment, imports, .. } = *hello;
                let greeting = Greeting { holds_off: facts.holds_off, generation, assignment, imports };
                (Asked::Online(greeting), Ask::Online(Box::new(facts)))
            }
            Heard::Facts(facts) => (Asked::Nothing, Ask::Facts(facts)),
            Heard::Accepted(generation) => (Asked::Nothing, Ask::Accepted(generation)),
            Heard::Refused(generation, reason) => {
                tracing::warn!(device = %self.record.id, %generation, reason, "the device refuses its assignment");
                (Asked::Nothing, Ask::Refused(generation, reason))
            }
            Heard::Update(update) => {
                let waits = self.note_held(&update, outs);
                (Asked::Record { seq: update.seq, imports: update.imports, waits }, Ask::Record(update))
            }
        })
    }

    fn ask_to_look(&mut self) -> Option<(Asked, Ask)> {
        let look = &mut self.look;
        if std::mem::take(&mut look.newest) {
            return Some((Asked::Newest, Ask::Newest));
        }
        if std::mem::take(&mut look.assignment) {
            return Some((Asked::Assignment, Ask::Assignment));
        }
        if look.imports && !self.interest.is_empty() {
            look.imports = false;
            let (applications, fresh) = (self.interest.keys().cloned().collect(), std::mem::take(&mut look.fresh));
            return Some((Asked::Providers, Ask::Providers { applications, fresh }));
        }
        if std::mem::take(&mut look.releases) && !self.held.is_empty() {
            return Some((Asked::Released, Ask::Released(applications_of(&self.held))));
        }
        None
    }

    fn welcome(&mut self, now: UnixMillis, greeting: Greeting, outs: &mut Vec<Out>) -> Result<()> {
        // It is said once, and not kept for as long as the link lasts.
        if let Some(key) = self.record.ssh_authority.take() {
            self.session.tell_ssh_authority(key);
        }
        let LinkRecord { id, name, project, events_stored, .. } = self.record.clone();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        outs.extend(send(self.session.welcome(now, name, project, version, events_stored)?));
        outs.push(Out::Up);
        if greeting.holds_off || !self.record.switches.off.is_empty() {
            outs.extend(send(self.session.switches(self.record.switches.clone())?));
        }
        for act in std::mem::take(&mut self.acts) {
            outs.extend(send(self.session.act(act)?));
        }
        self.sent = greeting.generation;
        self.imports = Imports::new(id, greeting.imports);
        self.greeting = Some(greeting);
        self.look = Look { newest: self.look.newest, assignment: true, imports: true, ..Look::default() };
        self.look_at = Some(now.plus(LOOK_ANYWAY));
        Ok(())
    }

    fn take_assignment(&mut self, mut assignment: Assignment, outs: &mut Vec<Out>) -> Result<()> {
        // A device that never was assigned anything has a number all the same when it had one in a store that is lost.
        assignment.generation = assignment.generation.max(self.record.generation);
        if let Some(greeting) = self.greeting.take()
            && let Some(raise) = self.compare(&greeting, &assignment)
        {
            outs.push(Out::Ask(Ask::RaiseGeneration { from: assignment.generation, to: raise.to }));
            self.asked = Some(Asked::Raise { greeting, raise });
            return Ok(());
        }
        if let Some(key) = self.missed.of(&assignment) {
            return Err(LinkEnd::Retell(key.clone()));
        }
        self.set_interest(&assignment, outs);
        if assignment.generation > self.sent {
            self.sent = assignment.generation;
            outs.extend(send(self.session.assign(assignment)?));
        }
        Ok(())
    }

    /// Compares what the device said it has with ours. The number that ours has to get first, where it has to.
    fn compare(&mut self, greeting: &Greeting, ours: &Assignment) -> Option<Raise> {
        let theirs = greeting.generation;
        let is_ours = (theirs >= ours.generation).then(|| greeting.assignment.map(|d| d == of_assignment(ours)));
        let raise = match is_ours.flatten() {
            // An older agent does not say what it has. A number that the store never gave comes from before it was
            // brought back from a backup, and the device would take all we tell it for old.
            None if theirs > ours.generation => Raise { to: theirs.next(), is_accepted: false },
            Some(true) if theirs > ours.generation => Raise { to: theirs, is_accepted: true },
            Some(false) => Raise { to: theirs.next(), is_accepted: false },
            None | Some(true) => {
                if theirs > self.record.accepted && theirs <= ours.generation {
                    // It accepted while the link was down, or we were killed before that was stored. It does not say
                    // so again.
                    self.waiting.push_back(Heard::Accepted(theirs));
                }
                return None;
            }
        };
        tracing::warn!(device = %self.record.id, %theirs, ours = %ours.generation, "the device has an assignment that the store does not know; it is told ours anew");
        Some(raise)
    }

    /// Our assignment has its new number, unless another one was made in between: `other` is that one's number, and what the
    /// device said it has has to be compared with it.
    fn raised(&mut self, greeting: Greeting, raise: Raise, other: Option<Generation>) {
        self.record.generation = other.unwrap_or(raise.to);
        if other.is_some() {
            self.greeting = Some(greeting);
        } else if raise.is_accepted {
            self.waiting.push_back(Heard::Accepted(raise.to));
        }
        self.look.assignment = true;
    }

    fn set_interest(&mut self, assignment: &Assignment, outs: &mut Vec<Out>) {
        self.applications = assignment.instances.iter().map(|spec| spec.key.application.clone()).collect();
        let interest = interest_of(assignment);
        if interest.keys().ne(self.interest.keys()) {
            outs.push(Out::Interest(interest.keys().cloned().collect()));
        }
        if interest != self.interest {
            self.look_at_imports();
        }
        self.interest = interest;
    }

    /// Tells the device that it has another name than it was welcomed by.
    fn tell_name(&mut self, name: DeviceName, outs: &mut Vec<Out>) -> Result<()> {
        if name != self.record.name {
            if self.look_at.is_some() {
                outs.extend(send(self.session.named(name.clone())?));
            }
            self.record.name = name;
        }
        Ok(())
    }

    /// Tells the device what is switched off, where that is other than it was.
    fn tell_switches(&mut self, switches: Switches, outs: &mut Vec<Out>) -> Result<()> {
        if switches != self.record.switches {
            if self.look_at.is_some() {
                outs.extend(send(self.session.switches(switches.clone())?));
            }
            outs.push(Out::Switched(switches.clone()));
            self.record.switches = switches;
        }
        Ok(())
    }

    const fn look_at_imports(&mut self) {
        self.look.imports = true;
        self.behind = true;
    }

    fn recorded(
        &mut self,
        seq: u64,
        waits: &BTreeSet<ApplicationName>,
        recorded: &Recorded,
        outs: &mut Vec<Out>,
    ) -> Result<()> {
        self.is_updating = false;
        self.missed.note(recorded);
        outs.extend(send(self.session.ack(seq, recorded.events_stored)?));
        // Where the update changed something, the bus says so and the answer comes from there.
        self.look.releases |= waits.iter().any(|application| !recorded.release_changed.contains(application));
        Ok(())
    }

    /// Keeps which instances wait for others. Each that is told to wait may have begun to do so anew. Answers with
    /// their applications.
    fn note_held(&mut self, update: &Update, outs: &mut Vec<Out>) -> BTreeSet<ApplicationName> {
        let key_of = |report: &robo_model::state::InstanceReport| InstanceKey {
            application: report.application.clone(),
            path: report.path.clone(),
        };
        let before = self.held.clone();
        if update.full {
            self.held.clear();
            self.missed.clear();
        }
        for key in &update.removed {
            self.missed.gone(key);
        }
        for key in update.reports.iter().map(key_of).chain(update.removed.iter().cloned()) {
            self.held.remove(&key);
            self.released.remove(&key);
            self.missed.told_again(&key);
        }
        let now_held: BTreeSet<InstanceKey> =
            update.reports.iter().filter(|report| !report.held_for.is_empty()).map(key_of).collect();
        self.held.extend(now_held.iter().cloned());
        self.released.retain(|key| self.held.contains(key));
        if self.held != before || !now_held.is_empty() {
            outs.push(Out::Waits(self.held.clone()));
        }
        applications_of(&now_held)
    }

    /// Tells the device all its released instances when there are new ones. Nobody is held again: who was released
    /// may have begun to stop.
    fn tell_released(&mut self, released: BTreeSet<InstanceKey>, outs: &mut Vec<Out>) -> Result<()> {
        let known = self.released.len();
        self.released.extend(released.into_iter().filter(|key| self.held.contains(key)));
        if self.released.len() > known {
            let keys = self.released.iter().cloned().collect();
            outs.extend(send(self.session.released(Released { keys })?));
        }
        Ok(())
    }

    fn tell_imports(&mut self, offers: &BTreeMap<ApplicationName, Arc<Offers>>, outs: &mut Vec<Out>) {
        // What moved while the store was asked is looked at next.
        self.behind = self.look.imports;
        let next = self.imports.next(&self.interest, offers);
        if let Some(change) = &next.change {
            match self.session.imports(change.clone()) {
                Ok(effect) => outs.extend(send(effect)),
                // The link stays: whoever has to make the application smaller needs it.
                Err(error) => {
                    return tracing::error!(device = %self.record.id, %error, "what other devices offer is too much to be told; the device goes on with what it has");
                }
            }
        }
        self.imports.said(next);
    }
}

fn applications_of(keys: &BTreeSet<InstanceKey>) -> BTreeSet<ApplicationName> {
    keys.iter().map(|key| key.application.clone()).collect()
}

/// The bytes of an effect of ours; the session gives nothing else for what we say.
fn send(effect: ManagerEffect) -> Option<Out> {
    match effect {
        ManagerEffect::Send(bytes) => Some(Out::Send(bytes)),
        ManagerEffect::Hello(_)
        | ManagerEffect::Update(_)
        | ManagerEffect::Accepted(_)
        | ManagerEffect::Refused(_)
        | ManagerEffect::Resync
        | ManagerEffect::Acted(_)
        | ManagerEffect::Facts(_) => None,
    }
}

#[cfg(test)]
mod tests;
