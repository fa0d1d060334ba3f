//! A pilot on a desk: a disk that does as it is told, and the manager's side of the session.

use std::collections::BTreeMap;

use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, InstanceSpec};
use robo_model::state::{InstanceState, Step};
use robo_wire::api::{Scope, Verb};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{Act, FromAgent, FromManager, ImportsChange, Released, Update};
use robo_wire::session::{ManagerEffect, ManagerSession};

use super::*;
use crate::order::Outcome;

const HEARTBEAT: Millis = Millis::from_secs(30);
const DAY: u64 = 24 * 3_600_000;

struct Desk {
    pilot: Pilot,
    now: Now,
    disk: BTreeMap<Part, Vec<u8>>,
    /// The write under way, where the disk waits for the test.
    writing: Option<Vec<(Part, Vec<u8>)>>,
    /// What the disk does.
    mood: Mood,
    writes: usize,
    manager: ManagerSession,
    link: LinkId,
    /// What the manager heard, in order.
    heard: Vec<ManagerEffect>,
    /// What was to be done on the machine.
    done: Vec<Out>,
    hung_up: Option<HangUp>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    Slow,
    Full,
}

impl Desk {
    fn new() -> Self {
        Self::with(Ledger::default(), "one", 1_000_000)
    }

    fn with(ledger: Ledger, boot: &str, wall: u64) -> Self {
        let now = Now { wall: UnixMillis(wall), steady: UnixMillis(5) };
        let (pilot, outs) = Pilot::new(ledger.into(), Addresses::only("10.0.0.1"), boot.into(), now);
        let mut desk = Self {
            pilot,
            now,
            disk: BTreeMap::new(),
            writing: None,
            mood: Mood::Fine,
            writes: 0,
            manager: ManagerSession::new(now.steady, HEARTBEAT),
            link: LinkId(0),
            heard: Vec::new(),
            done: Vec::new(),
            hung_up: None,
        };
        desk.take(outs);
        desk
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (part, bytes) in &self.disk {
            ledger::decode(*part, bytes, &mut ledger).unwrap();
        }
        ledger
    }

    fn take(&mut self, outs: Vec<Out>) {
        let last = outs.len().saturating_sub(1);
        for (at, out) in outs.into_iter().enumerate() {
            match out {
                Out::Write(files) => {
                    assert!(at == last && self.writing.is_none(), "something came behind a write");
                    self.writes += 1;
                    self.writing = Some(files);
                    match self.mood {
                        Mood::Fine => self.written(),
                        Mood::Slow => {}
                        Mood::Full => {
                            self.writing = None;
                            let outs = self.pilot.persist_failed(self.now);
                            self.take(outs);
                        }
                    }
                }
                Out::Send(link, bytes) => {
                    assert_eq!(link, self.link);
                    self.hear(bytes);
                }
                Out::HangUp(link, why) => {
                    assert_eq!(link, self.link);
                    self.hung_up = Some(why);
                }
                Out::Up(..) | Out::Tidy(_) | Out::Named(_) | Out::Switches(_) | Out::Renew => {}
                Out::Begin(_) | Out::Watch(_) | Out::Abort { .. } | Out::Context(_) | Out::Forget(_) => {
                    self.done.push(out);
                }
            }
        }
    }

    fn written(&mut self) {
        self.disk.extend(self.writing.take().unwrap());
        let outs = self.pilot.persisted(self.now);
        self.take(outs);
    }

    fn hear(&mut self, mut bytes: Vec<u8>) {
        let frame = frame::take(&mut bytes, MAX_CONTROL_FRAME).unwrap().unwrap();
        if let Some(effect) = self.manager.frame(self.now.steady, &frame).unwrap() {
            self.heard.push(effect);
        }
    }

    fn connect(&mut self) {
        self.heard.clear();
        self.manager = ManagerSession::new(self.now.steady, HEARTBEAT);
        self.link = LinkId(self.link.0 + 1);
        let (id, outs) = self.pilot.connect(self.now, Addresses::only("10.0.0.1"), Facts::default());
        assert_eq!(id, self.link);
        self.take(outs);
    }

    /// Connected and welcomed.
    fn up(&mut self) -> Hello {
        self.connect();
        let Some(ManagerEffect::Hello(hello)) = self.heard.pop() else { panic!("no hello") };
        let stored = self.ledger().state.next_event - 1;
        let welcome = self.manager.welcome(
            self.now.steady,
            "d".parse().unwrap(),
            "default".parse().unwrap(),
            String::new(),
            stored,
        );
        self.say_effect(welcome.unwrap());
        *hello
    }

    fn say_effect(&mut self, effect: ManagerEffect) {
        let ManagerEffect::Send(bytes) = effect else { panic!("nothing to send") };
        self.say_bytes(self.link, bytes);
    }

    fn say_bytes(&mut self, link: LinkId, mut bytes: Vec<u8>) {
        let frame = frame::take(&mut bytes, MAX_CONTROL_FRAME).unwrap().unwrap();
        let outs = self.pilot.frame(self.now, link, &frame);
        self.take(outs);
    }

    fn say(&mut self, message: &FromManager) {
        self.say_bytes(self.link, message.encode().unwrap());
    }

    /// What the manager heard since the last time; updates are stored and acknowledged.
    fn listen(&mut self) -> Vec<ManagerEffect> {
        let mut all = Vec::new();
        while !self.heard.is_empty() {
            for effect in std::mem::take(&mut self.heard) {
                if let ManagerEffect::Update(Update { seq, events, .. }) = &effect {
                    let stored = events.last().map_or(0, |event| event.seq);
                    let ack = self.manager.ack(*seq, stored).unwrap();
                    self.say_effect(ack);
                }
                all.push(effect);
            }
        }
        all
    }

    fn pass(&mut self, time: Millis) {
        self.now = Now { wall: self.now.wall.plus(time), steady: self.now.steady.plus(time) };
        let outs = self.pilot.tick(self.now);
        self.take(outs);
    }

    /// Time passes as long as the pilot wants to sleep.
    fn sleep(&mut self) -> Millis {
        let wait = self.pilot.wake_in(self.now).unwrap();
        self.pass(wait);
        wait
    }

    fn done(&mut self) -> Vec<String> {
        let line = |out: Out| match out {
            Out::Begin(order) => format!("{} {}", order.step, order.key.path),
            Out::Watch(order) => format!("watch {}", order.key.path),
            Out::Abort { key, .. } => format!("abort {}", key.path),
            Out::Context(context) => format!("context {}", context.key.path),
            Out::Forget(key) => format!("forget {}", key.path),
            Out::Write(_)
            | Out::Tidy(_)
            | Out::Send(..)
            | Out::Up(..)
            | Out::Named(_)
            | Out::Switches(_)
            | Out::Renew
            | Out::HangUp(..) => {
                panic!("{out:?}")
            }
        };
        std::mem::take(&mut self.done).into_iter().map(line).collect()
    }

    /// Every step that began ends so, until none begins.
    fn run(&mut self, outcome: &Outcome) -> Vec<String> {
        let mut log = Vec::new();
        for _ in 0..100 {
            let begun: Vec<Report> = self.done.iter().filter_map(|out| ended(out, outcome)).collect();
            log.extend(self.done());
            if begun.is_empty() {
                return log;
            }
            let outs = self.pilot.reports(self.now, begun);
            self.take(outs);
        }
        panic!("no end: {log:?}");
    }

    fn state(&self, path: &str) -> InstanceState {
        self.pilot.core().reports().find(|report| report.path.as_str() == path).unwrap().state
    }
}

fn ended(out: &Out, outcome: &Outcome) -> Option<Report> {
    let Out::Begin(Order { key, run, .. }) = out else { return None };
    Some(Report::StepEnded { key: key.clone(), run: *run, outcome: outcome.clone() })
}

fn failed() -> Outcome {
    Outcome::Failed { reason: "no".to_owned(), exit_code: Some(1), output: Vec::new() }
}

fn spec(path: &str, kind: &str, exports: &str, imports: &[&str]) -> InstanceSpec {
    let imports: Vec<String> =
        imports.iter().map(|prefix| format!(r#"{{"prefix": "{prefix}", "variable": null}}"#)).collect();
    let text = format!(
        r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "X", "installer": {{"kind": "{kind}"}},
            "exports": {{{exports}}}, "imports": [{}]}}"#,
        imports.join(", ")
    );
    serde_json::from_str(&text).unwrap()
}

fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

/// A machine, a database, and a web server that needs it.
fn shop(generation: u64) -> Assignment {
    let db = spec("/vm/db", "script", r#""X.port": {"kind": "text", "value": "1"}"#, &[]);
    let instances = vec![spec("/vm", "target", "", &[]), db, spec("/vm/web", "script", "", &["X"])];
    Assignment { generation: Generation(generation), instances }
}

fn provider(path: &str) -> Provider {
    let text = format!(
        r#"{{"key": {{"application": "shop", "path": "{path}"}}, "component": "Db", "exports": {{"Db.ip": "10.0.0.2"}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn offer(path: &str) -> FromManager {
    FromManager::Imports(ImportsChange { providers: vec![provider(path)], ..ImportsChange::default() })
}

fn accepted(generation: u64) -> ManagerEffect {
    ManagerEffect::Accepted(Generation(generation))
}

fn running() -> Desk {
    let mut desk = Desk::new();
    desk.up();
    desk.say(&FromManager::Assign(shop(1)));
    let log = desk.run(&Outcome::Done);
    assert_eq!(log, ["deploy /vm/db", "deploy /vm/web", "start /vm/db", "start /vm/web"]);
    assert!(desk.listen().contains(&accepted(1)));
    desk
}

#[test]
fn nothing_leaves_before_what_it_relies_on_is_on_the_disk() {
    let mut desk = Desk::new();
    desk.up();
    desk.listen();
    desk.mood = Mood::Slow;
    desk.say(&FromManager::Assign(shop(1)));
    assert!(desk.done.is_empty() && desk.heard.is_empty() && desk.pilot.is_writing());
    desk.written();
    assert_eq!(desk.ledger().assignment.generation, Generation(1));
    assert_eq!(desk.heard.first(), Some(&accepted(1)));
    assert!(matches!(desk.heard.get(1), Some(ManagerEffect::Update(_))), "{:?}", desk.heard);

    // Both steps end while nobody writes: one write for both, and what follows from them comes behind it.
    let writes = desk.writes;
    let reports: Vec<Report> = desk.done.iter().filter_map(|out| ended(out, &Outcome::Done)).collect();
    assert_eq!(desk.done(), ["deploy /vm/db", "deploy /vm/web"]);
    let outs = desk.pilot.reports(desk.now, reports);
    desk.take(outs);
    desk.heard.clear();
    assert!(desk.done.is_empty());
    desk.written();
    assert_eq!((desk.done(), desk.writes), (vec!["start /vm/db".to_owned()], writes + 1));
}

#[test]
fn what_happens_during_a_write_is_taken_in_together() {
    let mut desk = Desk::new();
    desk.up();
    desk.listen();
    desk.mood = Mood::Slow;
    desk.say(&FromManager::Assign(shop(1)));
    for path in ["/a/db", "/b/db"] {
        desk.say(&offer(path));
    }
    desk.say(&FromManager::Assign(shop(2)));
    desk.say(&FromManager::Assign(shop(3)));
    let writes = desk.writes;
    desk.written();
    assert_eq!(desk.writes, writes + 1, "one more, for all that came meanwhile");
    desk.written();
    assert_eq!(desk.ledger().imports.len(), 2);
    assert!(!desk.heard.contains(&accepted(2)) && desk.heard.contains(&accepted(3)), "{:?}", desk.heard);
}

#[test]
fn a_disk_that_refuses_ends_nothing_and_begins_nothing() {
    let mut desk = running();
    desk.mood = Mood::Full;
    let mut next = shop(2);
    next.instances.pop();
    desk.say(&FromManager::Assign(next));
    let refusals = |heard: &[ManagerEffect]| {
        heard.iter().filter(|effect| matches!(effect, ManagerEffect::Refused(r) if r.reason == DISK_REFUSES)).count()
    };
    desk.say(&FromManager::Act(Act { id: 7, verb: Verb::Retry, scope: Scope::default(), by: "admin".to_owned() }));
    for _ in 0..100 {
        desk.sleep();
        desk.say(&FromManager::Heartbeat);
    }
    assert_eq!(desk.hung_up, None);
    assert!(desk.done.is_empty() && desk.pilot.is_writing());
    assert_eq!(refusals(&desk.heard), 1, "{:?}", desk.heard);
    assert_eq!(desk.ledger().assignment.generation, Generation(1));
    // The same assignment again, as after a new link: refused again, and taken once the disk takes it.
    desk.up();
    desk.heard.clear();
    desk.say(&FromManager::Assign(shop(3)));
    assert_eq!(refusals(&desk.heard), 1);
    desk.mood = Mood::Fine;
    assert!(desk.sleep() <= DISK_RETRY);
    assert_eq!(desk.ledger().assignment.generation, Generation(3));
    let heard = desk.listen();
    assert!(heard.contains(&accepted(3)) && !heard.contains(&accepted(2)), "{heard:?}");
    assert!(!heard.iter().any(|effect| matches!(effect, ManagerEffect::Acted(_))), "an act that is hours old");
}

#[test]
fn what_was_for_an_earlier_link_is_for_nobody() {
    let mut desk = running();
    let earlier = desk.link;
    desk.mood = Mood::Slow;
    desk.say(&FromManager::Assign(shop(2)));
    desk.say(&offer("/a/db"));
    let hello = desk.up();
    assert_eq!(hello.generation, Generation(1), "only what is on the disk is there");
    desk.say_bytes(earlier, FromManager::Assign(shop(9)).encode().unwrap());
    let outs = desk.pilot.hung_up(desk.now, earlier);
    assert_eq!((outs, desk.pilot.link()), (Vec::new(), Some(desk.link)));
    desk.mood = Mood::Fine;
    desk.written();
    let heard = desk.listen();
    assert!(!heard.contains(&accepted(2)), "{heard:?}");
    assert!(matches!(&heard[0], ManagerEffect::Update(update) if update.full && update.seq == 1), "{heard:?}");
    assert_eq!(desk.ledger().assignment.generation, Generation(2));
    assert!(desk.ledger().imports.is_empty(), "the new link tells them again");
    desk.say(&FromManager::Assign(shop(2)));
    assert_eq!(desk.listen(), [accepted(2)]);
}

#[test]
fn a_hello_says_what_is_there() {
    let mut desk = running();
    let hello = desk.up();
    assert_eq!(hello.assignment, Some(digest::of_assignment(&shop(1))));
    assert_eq!(hello.imports, Some(digest::of_providers([])));
    desk.say(&offer("/a/db"));
    let hello = desk.up();
    assert_eq!(hello.imports, Some(digest::of_providers([&provider("/a/db")])));
    desk.listen();
    // A change that begins with something else: all of it is asked for, once.
    let change = |full: bool| ImportsChange {
        full,
        providers: vec![provider("/b/db")],
        before: Some(Digest(1)),
        after: Some(digest::of_providers([&provider("/b/db")])),
        ..ImportsChange::default()
    };
    desk.say(&FromManager::Imports(change(false)));
    assert_eq!(desk.hung_up, None);
    // And what it has now is told.
    let [ManagerEffect::Resync, ManagerEffect::Update(update)] = &desk.heard[..] else { panic!("{:?}", desk.heard) };
    assert_eq!(update.imports, Some(digest::of_providers([&provider("/a/db"), &provider("/b/db")])));
    desk.heard.clear();
    desk.say(&FromManager::Imports(change(true)));
    assert_eq!(desk.heard, []);
    assert_eq!(desk.pilot.core().imports_digest(), digest::of_providers([&provider("/b/db")]));
}

#[test]
fn acts_are_answered_when_they_are_on_the_disk() {
    let mut desk = Desk::new();
    desk.up();
    desk.say(&FromManager::Assign(shop(1)));
    desk.run(&failed());
    desk.listen();
    desk.mood = Mood::Slow;
    let act = Act { id: 7, verb: Verb::Retry, scope: Scope::default(), by: "admin".to_owned() };
    desk.say(&FromManager::Act(act));
    assert_eq!(desk.heard, []);
    desk.written();
    let answered = |effect: &ManagerEffect| matches!(effect, ManagerEffect::Acted(acted) if acted.id == 7 && !acted.instances.is_empty());
    assert!(desk.heard.iter().any(answered), "{:?}", desk.heard);
    assert_eq!(desk.done(), ["deploy /vm/db", "deploy /vm/web"]);
}

#[test]
fn a_clock_that_jumps_ends_no_link_and_stalls_no_retry() {
    for days in [-30_i64, -1, 1, 30] {
        let mut desk = Desk::with(Ledger::default(), "one", 100 * DAY);
        desk.up();
        desk.say(&FromManager::Assign(shop(1)));
        desk.run(&failed());
        desk.listen();
        desk.now.wall = UnixMillis(desk.now.wall.0.saturating_add_signed(days * DAY as i64));
        let mut slept = 0;
        while desk.done.is_empty() {
            slept += desk.sleep().0;
            desk.say(&FromManager::Heartbeat);
            assert!(slept <= LONGEST_SLEEP.0, "{days} days: not tried again");
        }
        assert_eq!(desk.done(), ["deploy /vm/db", "deploy /vm/web"], "{days} days");
        assert_eq!(desk.hung_up, None, "{days} days");
    }
}

#[test]
fn a_silent_manager_is_given_up_by_the_clock_that_only_goes_forward() {
    let mut desk = running();
    let mut slept = 0;
    while desk.hung_up.is_none() {
        slept += desk.sleep().0;
    }
    assert_eq!(slept, 2 * HEARTBEAT.0);
    assert_eq!(desk.pilot.link(), None);
}

#[test]
fn other_versions_are_understood_or_told_apart() {
    let welcome = |protocol: u16| {
        let text = format!(r#"{{"protocol": {protocol}, "name": "d", "project": "default", "heartbeat": 30000}}"#);
        FromManager::Welcome(serde_json::from_str(&text).unwrap())
    };
    for (protocol, good) in [(0, false), (1, true), (PROTOCOL, true), (PROTOCOL + 1, false)] {
        let mut desk = Desk::new();
        desk.connect();
        desk.manager
            .welcome(desk.now.steady, "d".parse().unwrap(), "default".parse().unwrap(), String::new(), 0)
            .unwrap();
        desk.say(&welcome(protocol));
        let version = matches!(desk.hung_up, Some(HangUp::Session(SessionError::Version { .. })));
        assert_eq!((version, desk.pilot.link().is_some()), (!good, good), "protocol {protocol}");
    }

    // A manager of tomorrow: kinds that nobody knows yet, before and after the welcome, and fields in known ones.
    let mut desk = Desk::new();
    desk.connect();
    desk.manager.welcome(desk.now.steady, "d".parse().unwrap(), "default".parse().unwrap(), String::new(), 0).unwrap();
    desk.heard.clear();
    desk.say(&FromManager::Unknown(200));
    desk.say(&welcome(1));
    desk.say(&FromManager::Unknown(201));
    let more = r#"{"generation": 1, "instances": [], "colour": "green"}"#;
    let more: serde_json::Value = serde_json::from_str(more).unwrap();
    let body = frame::to_body(66, &more).unwrap();
    desk.say_bytes(desk.link, frame::encode(66, &body, MAX_CONTROL_FRAME).unwrap());
    assert!(desk.listen().contains(&accepted(1)));
    // One of yesterday: no digests, all of the imports each time, and nothing comes of what it does not know.
    desk.say(&FromManager::Imports(ImportsChange { full: true, ..ImportsChange::default() }));
    desk.say(&offer("/a/db"));
    assert!(!desk.listen().contains(&ManagerEffect::Resync));
    assert_eq!(desk.pilot.core().ledger().imports.len(), 1);
    // What an agent of yesterday says is what ours says without the digests.
    let old = r#"{"protocol": 1, "facts": {}, "generation": 4}"#;
    let old: Hello = serde_json::from_str(old).unwrap();
    assert_eq!((old.assignment, old.imports), (None, None));
    let bytes = FromAgent::Hello(old).encode().unwrap();
    desk.manager = ManagerSession::new(desk.now.steady, HEARTBEAT);
    desk.hear(bytes);
    assert!(matches!(desk.heard.as_slice(), [ManagerEffect::Hello(_)]));
}

#[test]
fn bytes_that_are_no_message_end_the_link_and_nothing_else() {
    let mut desk = running();
    desk.say_bytes(desk.link, frame::encode(66, b"\xff\xff", MAX_CONTROL_FRAME).unwrap());
    assert!(matches!(desk.hung_up, Some(HangUp::Session(SessionError::Frame(_)))), "{:?}", desk.hung_up);
    assert_eq!((desk.pilot.link(), desk.done()), (None, Vec::new()));
    assert_eq!(desk.state("/vm/web"), InstanceState::DeployedStarted);
}

#[test]
fn a_manager_that_talks_faster_than_the_disk_writes_is_asked_to_begin_anew() {
    let mut desk = Desk::new();
    desk.up();
    desk.mood = Mood::Slow;
    desk.say(&FromManager::Assign(shop(1)));
    for n in 0..=MAX_WAITING {
        assert_eq!(desk.hung_up, None);
        desk.say(&offer(&format!("/a/db{n}")));
    }
    assert_eq!(desk.hung_up, Some(HangUp::Behind));
    desk.mood = Mood::Fine;
    desk.written();
    assert!(desk.ledger().imports.is_empty());
}

#[test]
fn what_the_machine_is_now_is_told_once_and_after_the_welcome() {
    let mut desk = Desk::new();
    let told = |desk: &mut Desk| -> Vec<String> {
        let all = desk.listen().into_iter();
        all.filter_map(|effect| if let ManagerEffect::Facts(facts) = effect { Some(facts.hostname) } else { None })
            .collect()
    };
    let other = |desk: &mut Desk, hostname: &str| {
        let facts = Facts { hostname: hostname.into(), ..Facts::default() };
        let outs = desk.pilot.network(desk.now, Addresses::only("10.0.0.2"), facts);
        desk.take(outs);
    };
    other(&mut desk, "away");
    desk.up();
    assert_eq!(told(&mut desk), [""; 0], "the hello said it all");
    other(&mut desk, "a");
    other(&mut desk, "a");
    assert_eq!(told(&mut desk), ["a"]);
    assert_eq!(desk.pilot.core().addresses().main, "10.0.0.2");
    desk.connect();
    other(&mut desk, "b");
    desk.heard.clear();
    let welcome =
        desk.manager.welcome(desk.now.steady, "d".parse().unwrap(), "default".parse().unwrap(), String::new(), 0);
    desk.say_effect(welcome.unwrap());
    assert_eq!(told(&mut desk), ["b"]);
    let named = desk.manager.named("other".parse().unwrap()).unwrap();
    desk.say_effect(named);
    assert_eq!(desk.hung_up, None);
}

#[test]
fn large_messages_wait_for_the_disk_only_as_far_as_there_is_room() {
    let mut desk = Desk::new();
    desk.up();
    desk.mood = Mood::Slow;
    desk.say(&FromManager::Assign(shop(1)));
    let mut large = provider("/a/db");
    large.exports.values_mut().for_each(|value| *value = "x".repeat(MAX_CONTROL_FRAME * 3 / 4));
    let large = FromManager::Imports(ImportsChange { providers: vec![large], ..ImportsChange::default() });
    for _ in 0..2 {
        desk.say(&large);
        assert_eq!(desk.hung_up, None);
    }
    desk.say(&large);
    assert_eq!(desk.hung_up, Some(HangUp::Behind));
    // What waits is gone with the link, and the next one begins with nothing.
    assert_eq!(desk.pilot.waiting_bytes, 0);
    desk.mood = Mood::Fine;
    desk.written();
    desk.hung_up = None;
    desk.up();
    desk.say(&large);
    assert_eq!((desk.hung_up.clone(), desk.ledger().imports.len()), (None, 1));
}

#[test]
fn who_may_stop_is_passed_on() {
    let mut desk = running();
    desk.say(&FromManager::Released(Released { keys: vec![key("/vm/db")] }));
    assert_eq!((desk.hung_up.clone(), desk.done()), (None, Vec::new()));
}

#[test]
fn a_restart_begins_nothing_anew_and_another_boot_everything_in_its_order() {
    let desk = running();
    let ledger = desk.ledger();
    assert_eq!(ledger.state.boot.as_deref(), Some("one"));
    let mut same = Desk::with(ledger.clone(), "one", 2_000_000);
    assert_eq!(same.run(&Outcome::Done), Vec::<String>::new());
    let mut unnamed = Desk::with(ledger.clone(), "", 2_000_000);
    assert_eq!(unnamed.run(&Outcome::Done), Vec::<String>::new());
    let mut other = Desk::with(ledger.clone(), "two", 2_000_000);
    assert_eq!(other.done(), ["start /vm/db"], "what needs it must wait");
    other = Desk::with(ledger, "two", 2_000_000);
    assert_eq!(other.run(&Outcome::Done), ["start /vm/db", "start /vm/web"]);

    // The power went while the web server was starting: it was being started in a world that is gone.
    let mut ledger = desk.ledger();
    let record = ledger.state.records.get_mut(&key("/vm/web")).unwrap();
    record.state = InstanceState::Starting;
    record.run = Some(ledger::Run::new(RunId(99), Step::Start, None));
    ledger.state.next_run = RunId(100);
    let mut cut = Desk::with(ledger, "two", 2_000_000);
    assert_eq!(cut.run(&Outcome::Done), ["start /vm/db", "start /vm/web"]);
}

#[test]
fn what_was_made_of_a_damaged_ledger_is_written_first() {
    let ledger = running().ledger();
    let all = What { assignment: true, imports: true, state: true };
    let now = Now { wall: UnixMillis(1), steady: UnixMillis(1) };
    let loaded = Loaded { ledger, rewrite: all };
    let (_, outs) = Pilot::new(loaded, Addresses::only("10.0.0.1"), "two".into(), now);
    let [Out::Write(files)] = outs.as_slice() else { panic!("{outs:?}") };
    assert_eq!(files.iter().map(|(part, _)| *part).collect::<Vec<_>>(), Part::ALL);
}
