//! One link without sockets and store: what the device says, what the store answers, what comes of it.

use robo_model::name::Variable;
use robo_model::resolve::Provider;
use robo_model::spec::{InstanceSpec, MAX_GENERATION};
use robo_wire::api::Verb;
use robo_wire::digest::of_providers;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{AcceptedGeneration, FromAgent, FromManager, ImportsChange, PROTOCOL, RefusedGeneration};
use robo_wire::session::HEARTBEAT;
use robo_wire::switch::{Off, Switches};
use serde_json::json;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);

/// A link whose store is what stands here.
struct Rig {
    core: LinkCore,
    now: UnixMillis,
    assignment: Option<Assignment>,
    generation: Generation,
    offers: BTreeMap<ApplicationName, Arc<Offers>>,
    released: BTreeSet<(DeviceId, InstanceKey)>,
    release_changed: Vec<ApplicationName>,
    unknown: BTreeSet<InstanceKey>,
    unnamed: BTreeMap<InstanceKey, BTreeSet<Variable>>,
    /// What the store was asked, one word each.
    asked: Vec<String>,
    /// What the device was told.
    told: Vec<FromManager>,
    outs: Vec<Out>,
    name: DeviceName,
    switches: Switches,
    removed: bool,
    /// The number of an assignment that is made while ours is to be numbered anew.
    applied_meanwhile: Option<u64>,
}

impl Rig {
    fn new(generation: u64) -> Self {
        let generation = Generation(generation);
        let record = LinkRecord {
            id: "robot".parse().unwrap(),
            name: "robot".parse().unwrap(),
            project: ProjectName::default_project(),
            generation,
            accepted: generation,
            events_stored: 7,
            renewal: None,
            ssh_authority: None,
            switches: Switches::default(),
        };
        Self {
            core: LinkCore::new(record, HEARTBEAT, NOW),
            now: NOW,
            assignment: None,
            generation,
            offers: BTreeMap::new(),
            released: BTreeSet::new(),
            release_changed: Vec::new(),
            unknown: BTreeSet::new(),
            unnamed: BTreeMap::new(),
            asked: Vec::new(),
            told: Vec::new(),
            outs: Vec::new(),
            removed: false,
            switches: Switches::default(),
            name: "robot".parse().unwrap(),
            applied_meanwhile: None,
        }
    }

    /// A device that imports `Db.ip` of the shop, up, with generation 1.
    fn up() -> Self {
        let mut rig = Self::new(1).assigned(1, &["Db.ip"]);
        rig.hello(1, None, None);
        rig.told.clear();
        rig.asked.clear();
        rig
    }

    fn assigned(mut self, generation: u64, imports: &[&str]) -> Self {
        self.assign(generation, imports);
        self
    }

    fn assign(&mut self, generation: u64, imports: &[&str]) {
        self.generation = Generation(generation);
        self.assignment = Some(Assignment { generation: self.generation, instances: vec![spec("/web", imports)] });
    }

    fn offering(mut self, offers: &[(&str, &str, &str)]) -> Self {
        self.offer(offers);
        self
    }

    fn offer(&mut self, offers: &[(&str, &str, &str)]) {
        let found = offers.iter().map(|(device, path, ip)| (device.parse().unwrap(), provider(path, ip))).collect();
        let next = match self.offers.get("shop") {
            Some(before) => before.next(found).map(Arc::new).unwrap_or_else(|| Arc::clone(before)),
            None => Arc::new(Offers::new(found)),
        };
        self.offers.insert("shop".parse().unwrap(), next);
    }

    fn hello(&mut self, generation: u64, assignment: Option<Digest>, imports: Option<Digest>) {
        let generation = Generation(generation);
        let facts = robo_wire::api::Facts::default();
        self.say(&FromAgent::Hello(Hello { protocol: PROTOCOL, facts, generation, assignment, imports }));
    }

    fn say(&mut self, message: &FromAgent) {
        self.try_say(message).unwrap();
    }

    fn try_say(&mut self, message: &FromAgent) -> Result<()> {
        let outs = self.core.frame(self.now, &frame_of(&message.encode().unwrap()))?;
        self.carry_out(outs)
    }

    fn wake(&mut self, woken: Woken) {
        let outs = self.core.woken(woken).unwrap();
        self.carry_out(outs).unwrap();
    }

    /// Waits until the link looks by itself, with heartbeats in between.
    fn wait_for_look(&mut self) -> Result<()> {
        let end = self.now.plus(LOOK_ANYWAY);
        while self.now < end {
            self.now = self.now.plus(HEARTBEAT).min(end);
            self.try_say(&FromAgent::Heartbeat)?;
            let outs = self.core.tick(self.now)?;
            self.carry_out(outs)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, outs: Vec<Out>) -> Result<()> {
        let mut outs = VecDeque::from(outs);
        while let Some(out) = outs.pop_front() {
            match &out {
                Out::Send(bytes) => self.told.push(FromManager::decode(&frame_of(bytes)).unwrap()),
                Out::Ask(ask) => {
                    assert!(outs.is_empty(), "an ask is the last word");
                    let answer = self.answer(ask.clone());
                    outs.extend(self.core.answered(self.now, answer)?);
                }
                Out::Up | Out::Interest(_) | Out::Waits(_) | Out::Acted(_) | Out::Switched(_) => {}
            }
            self.outs.push(out);
        }
        Ok(())
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let word = |ask: &Ask| format!("{ask:?}").chars().take_while(|c| c.is_alphanumeric()).collect::<String>();
        self.asked.push(match &ask {
            Ask::Accepted(g) | Ask::Refused(g, _) | Ask::RaiseGeneration { to: g, .. } => format!("{} {g}", word(&ask)),
            Ask::Providers { fresh: true, .. } => "Providers fresh".to_owned(),
            Ask::Online(_)
            | Ask::Facts(_)
            | Ask::Newest
            | Ask::Assignment
            | Ask::Record(_)
            | Ask::Providers { fresh: false, .. }
            | Ask::Released(_) => word(&ask),
        });
        match ask {
            Ask::Online(_) => Answer::Online(Vec::new()),
            Ask::Facts(_) => Answer::Facts(crate::store::FactsMoved::default()),
            Ask::Newest => {
                let (name, switches) = (self.name.clone(), self.switches.clone());
                Answer::Newest((!self.removed).then_some(Newest { generation: self.generation, name, switches }))
            }
            Ask::Assignment => Answer::Assignment(self.assignment.clone()),
            Ask::Accepted(_) | Ask::Refused(..) => Answer::Done,
            Ask::RaiseGeneration { from, to } => {
                if let Some(generation) = self.applied_meanwhile.take() {
                    self.assign(generation, &["Db.ip", "Db.port"]);
                }
                if self.generation != from {
                    return Answer::Raised(Some(self.generation));
                }
                self.generation = to;
                if let Some(assignment) = &mut self.assignment {
                    assignment.generation = to;
                }
                Answer::Raised(None)
            }
            Ask::Record(_) => Answer::Recorded(Recorded {
                events_stored: 9,
                release_changed: self.release_changed.clone(),
                unknown: self.unknown.clone(),
                unnamed: self.unnamed.clone(),
                ..Recorded::default()
            }),
            Ask::Providers { applications, .. } => {
                let none = || Arc::new(Offers::new(Vec::new()));
                let of = |a: ApplicationName| (a.clone(), self.offers.get(&a).cloned().unwrap_or_else(none));
                Answer::Providers(applications.into_iter().map(of).collect())
            }
            Ask::Released(_) => Answer::Released(self.released.clone()),
        }
    }

    /// What was told since the last time: one word each, with what counts.
    fn words(&mut self) -> Vec<String> {
        let word = |message: FromManager| match message {
            FromManager::Welcome(_) => "welcome".to_owned(),
            FromManager::Assign(assignment) => format!("assign {}", assignment.generation),
            FromManager::Imports(change) => imports_word(&change),
            FromManager::Ack(ack) => format!("ack {}", ack.seq),
            FromManager::Heartbeat => "heartbeat".to_owned(),
            FromManager::Released(released) => {
                let paths: Vec<&str> = released.keys.iter().map(|key| key.path.as_str()).collect();
                format!("released {}", paths.join(" "))
            }
            FromManager::Act(act) => format!("act {}", act.id),
            FromManager::Renew => "renew".to_owned(),
            FromManager::Named(named) => format!("named {}", named.name),
            FromManager::Switches(told) => {
                let off: Vec<&str> = told.off.keys().map(String::as_str).collect();
                format!("off {}", off.join(" "))
            }
            FromManager::Goodbye(_) | FromManager::Unknown(_) => "?".to_owned(),
        };
        std::mem::take(&mut self.told).into_iter().map(word).collect()
    }
}

fn imports_word(change: &ImportsChange) -> String {
    let came = change.providers.iter().map(|p| format!(" +{}={}", p.key.path, p.exports.values().next().unwrap()));
    let went = change.removed.iter().map(|key| format!(" -{}", key.path));
    let kind = if change.full { "all" } else { "imports" };
    format!("{kind}{}", came.chain(went).collect::<String>())
}

fn spec(path: &str, imports: &[&str]) -> InstanceSpec {
    let import = |text: &&str| {
        let (prefix, variable) = text.split_once('.').unwrap();
        json!({"prefix": prefix, "variable": variable, "optional": false, "external": prefix == "Wh"})
    };
    serde_json::from_value(json!({
        "key": {"application": "shop", "path": path}, "component": "Web", "installer": {"kind": "script"},
        "imports": imports.iter().map(import).collect::<Vec<_>>(), "bindings": {"Wh": ["stock"]}
    }))
    .unwrap()
}

fn provider(path: &str, ip: &str) -> Provider {
    serde_json::from_value(json!({
        "key": {"application": "shop", "path": path}, "component": "Db", "exports": {"Db.ip": ip, "Unused.x": "1"}
    }))
    .unwrap()
}

/// As the device sees it: cut to what it imports.
fn seen(path: &str, ip: &str) -> Provider {
    let mut provider = provider(path, ip);
    provider.exports.retain(|variable, _| variable.prefix.as_str() == "Db");
    provider
}

fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

fn update(seq: u64, full: bool, held: &[(&str, bool)]) -> FromAgent {
    let report = |(path, is_held): &(&str, bool)| {
        let topics = if *is_held { json!([{"application": "shop", "prefix": "Db"}]) } else { json!([]) };
        json!({"application": "shop", "path": path, "component": "Db", "state": "DEPLOYED_STARTED", "since": 0,
            "held_for": topics})
    };
    let reports = held.iter().map(report).collect::<Vec<_>>();
    FromAgent::Update(serde_json::from_value(json!({"seq": seq, "full": full, "reports": reports})).unwrap())
}

fn frame_of(bytes: &[u8]) -> Frame {
    frame::take(&mut bytes.to_vec(), MAX_CONTROL_FRAME).unwrap().expect("a whole frame")
}

/// What a device that says this of itself is told, and what the store is asked.
fn check_hello(mut rig: Rig, hello: (u64, Option<Digest>, Option<Digest>), told: &[&str], asked: &[&str]) {
    rig.hello(hello.0, hello.1, hello.2);
    assert_eq!(rig.words(), told, "{hello:?}");
    assert_eq!(rig.asked, asked, "{hello:?}");
}

#[test]
fn a_hello_is_told_what_it_lacks() {
    let rig = || Rig::new(3).assigned(3, &["Db.ip"]).offering(&[("other", "/db", "1"), ("robot", "/own", "2")]);
    let ours = Some(of_assignment(rig().assignment.as_ref().unwrap()));
    let theirs = Some(Digest(1));
    let imports = Some(of_providers([&seen("/db", "1")]));
    let looks = ["Online", "Assignment", "Providers"];
    // An agent that knows no digests is told all of the imports, and the assignment by its number.
    check_hello(rig(), (0, None, None), &["welcome", "assign 3", "all +/db=1"], &looks);
    check_hello(rig(), (3, None, None), &["welcome", "all +/db=1"], &looks);
    check_hello(rig(), (3, ours, imports), &["welcome"], &looks);
    check_hello(rig(), (3, ours, theirs), &["welcome", "all +/db=1"], &looks);
    check_hello(rig(), (2, theirs, imports), &["welcome", "assign 3"], &looks);
    // The same number with other content: ours is numbered anew.
    let anew = ["Online", "Assignment", "RaiseGeneration 4", "Assignment", "Providers"];
    check_hello(rig(), (3, theirs, imports), &["welcome", "assign 4"], &anew);
    // The store was brought back from a backup.
    let anew = ["Online", "Assignment", "RaiseGeneration 10", "Assignment", "Providers"];
    check_hello(rig(), (9, None, imports), &["welcome", "assign 10"], &anew);
    check_hello(rig(), (9, theirs, imports), &["welcome", "assign 10"], &anew);
    let same = ["Online", "Assignment", "RaiseGeneration 9", "Accepted 9", "Assignment", "Providers"];
    check_hello(rig(), (9, ours, imports), &["welcome"], &same);
    // It accepted while we did not hear.
    let mut behind = rig();
    behind.core.record.accepted = Generation(2);
    let accepted = ["Online", "Assignment", "Accepted 3", "Providers"];
    check_hello(behind, (3, ours, imports), &["welcome"], &accepted);
    // The store that came back never knew that the device had anything.
    let nothing = ["Online", "Assignment", "RaiseGeneration 6", "Assignment"];
    check_hello(Rig::new(0), (5, theirs, Some(Digest::default())), &["welcome", "assign 6"], &nothing);
    check_hello(Rig::new(0), (0, None, None), &["welcome", "all"], &["Online", "Assignment"]);
}

#[test]
fn an_assignment_that_is_made_meanwhile_is_not_taken_for_the_one_that_was_compared() {
    let mut rig = Rig::new(3).assigned(3, &["Db.ip"]);
    let ours = Some(of_assignment(rig.assignment.as_ref().unwrap()));
    // The device has the content of 3 under the number 4; somebody just made another 4.
    rig.applied_meanwhile = Some(4);
    rig.hello(4, ours, Some(Digest::default()));
    assert_eq!(rig.words(), ["welcome", "assign 5"]);
    let anew =
        ["Online", "Assignment", "RaiseGeneration 4", "Assignment", "RaiseGeneration 5", "Assignment", "Providers"];
    assert_eq!(rig.asked, anew);

    // The highest number of all, and other content: nothing can follow, and nothing breaks.
    let mut rig = Rig::new(3).assigned(3, &["Db.ip"]);
    rig.hello(MAX_GENERATION.0, Some(Digest(1)), Some(Digest::default()));
    assert_eq!(rig.words(), ["welcome"]);
    assert!(!rig.asked.iter().any(|asked| asked.starts_with("Accepted")), "{:?}", rig.asked);
}

#[test]
fn whether_the_device_is_still_ours_is_looked_at_before_anything_is_told() {
    let all = || Woken { newest: true, assignment: true, imports: true, releases: true, ..Woken::default() };
    let mut rig = Rig::up();
    rig.offer(&[("other", "/db", "1")]);
    rig.wake(all());
    assert_eq!(rig.asked, ["Newest", "Assignment", "Providers"]);
    rig.removed = true;
    rig.assignment = None;
    rig.told.clear();
    let outs = rig.core.woken(all()).unwrap();
    assert_eq!(rig.carry_out(outs), Err(LinkEnd::Removed));
    assert_eq!(rig.words(), <[&str; 0]>::default(), "no import is taken away");
    // Before the welcome it is kept in mind.
    let mut rig = Rig::new(1).assigned(1, &[]);
    rig.wake(Woken { newest: true, ..Woken::default() });
    rig.hello(1, None, None);
    assert_eq!(rig.asked, ["Online", "Newest", "Assignment"]);
}

#[test]
fn a_change_is_told_with_what_it_fits_to() {
    let mut rig = Rig::up();
    rig.offer(&[("other", "/db", "1")]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    let Some(FromManager::Imports(change)) = rig.told.last().cloned() else { panic!("{:?}", rig.told) };
    let one = of_providers([&seen("/db", "1")]);
    assert_eq!((change.before, change.after), (Some(Digest::default()), Some(one)));
    assert_eq!(rig.words(), ["imports +/db=1"]);

    rig.offer(&[("other", "/db", "2"), ("third", "/db2", "3")]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    let Some(FromManager::Imports(change)) = rig.told.last().cloned() else { panic!("{:?}", rig.told) };
    let two = of_providers([&seen("/db", "2"), &seen("/db2", "3")]);
    assert_eq!((change.before, change.after), (Some(one), Some(two)));

    rig.wake(Woken { imports: true, ..Woken::default() });
    rig.told.clear();
    assert_eq!(rig.words(), <[&str; 0]>::default(), "nothing moved");
    rig.offer(&[]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    assert_eq!(rig.words(), ["imports -/db -/db2"]);
    // An assignment that imports nothing any more: what the device has goes.
    rig.offer(&[("other", "/db", "2")]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    rig.assign(2, &[]);
    rig.wake(Woken { assignment: true, ..Woken::default() });
    assert_eq!(rig.words(), ["imports +/db=2", "assign 2", "imports -/db"]);
}

#[test]
fn in_step_is_who_was_told_everything_and_has_told_of_itself_since() {
    let mut rig = Rig::up();
    assert!(rig.core.is_in_step(), "an older agent does not say what it has");
    let states = |seq, digest| FromAgent::Update(Update { seq, imports: Some(digest), ..Update::default() });
    let nothing = of_providers([]);
    rig.say(&states(1, nothing));
    assert!(rig.core.is_in_step());
    rig.offer(&[("other", "/db", "10.0.0.1")]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    assert!(!rig.core.is_in_step(), "told, and not heard of since");
    rig.say(&FromAgent::Update(Update { seq: 2, ..Update::default() }));
    assert!(!rig.core.is_in_step(), "this was under way when it was told");
    rig.say(&states(3, of_providers([&seen("/db", "10.0.0.1")])));
    assert!(rig.core.is_in_step());
    drop(rig.wait_for_look());
    assert!(rig.core.is_in_step(), "to look now and then is no news");
}

#[test]
fn external_imports_come_from_the_bound_application() {
    let mut rig = Rig::new(1).assigned(1, &["Wh.ip"]);
    let mut stock = provider("/wh", "9");
    stock.key.application = "stock".parse().unwrap();
    stock.outside = [("Wh.ip".parse().unwrap(), "9".to_owned()), ("X.y".parse().unwrap(), "1".to_owned())].into();
    rig.offers.insert("stock".parse().unwrap(), Arc::new(Offers::new(vec![("other".parse().unwrap(), stock)])));
    rig.hello(1, None, None);
    assert!(rig.outs.contains(&Out::Interest(["stock".parse().unwrap()].into())));
    let Some(FromManager::Imports(change)) = rig.told.last() else { panic!("{:?}", rig.told) };
    let [told] = change.providers.as_slice() else { panic!("{change:?}") };
    assert_eq!((told.exports.len(), told.outside.len()), (0, 1), "only what is imported");
}

#[test]
fn a_device_that_asks_for_everything_gets_it_but_not_for_ever_with_digests() {
    let mut rig = Rig::up();
    rig.offer(&[("other", "/db", "1")]);
    rig.wake(Woken { imports: true, ..Woken::default() });
    rig.told.clear();
    for has_digest in [true, true, false, false] {
        rig.say(&FromAgent::Resync);
        let Some(FromManager::Imports(change)) = rig.told.last() else { panic!("{:?}", rig.told) };
        assert_eq!((change.full, change.before, change.after.is_some()), (true, None, has_digest));
        assert_eq!(rig.words(), ["all +/db=1"]);
    }
}

#[test]
fn one_ask_at_a_time_and_the_rest_waits() {
    let mut rig = Rig::up();
    let frame = |message: FromAgent| frame_of(&message.encode().unwrap());
    let first = rig.core.frame(NOW, &frame(update(1, false, &[]))).unwrap();
    assert!(matches!(first.as_slice(), [Out::Ask(Ask::Record(_))]));
    assert!(rig.core.is_asking());
    let accepted = FromAgent::Accepted(AcceptedGeneration { generation: Generation(1) });
    assert_eq!(rig.core.frame(NOW, &frame(accepted.clone())), Ok(vec![]));
    assert!(matches!(rig.core.frame(NOW, &frame(FromAgent::Heartbeat)).unwrap().as_slice(), [Out::Send(_)]));
    assert_eq!(rig.core.woken(Woken { assignment: true, ..Woken::default() }), Ok(vec![]));
    let refused = FromAgent::Refused(RefusedGeneration { generation: Generation(1), reason: "full".into() });
    rig.core.frame(NOW, &frame(refused)).unwrap();
    rig.carry_out(first).unwrap();
    assert_eq!(rig.asked, ["Record", "Accepted 1", "Refused 1", "Assignment"]);
    assert_eq!(rig.words(), ["ack 1"]);

    rig.core.frame(NOW, &frame(update(2, false, &[]))).unwrap();
    let second = rig.core.frame(NOW, &frame(update(3, false, &[])));
    assert!(matches!(second, Err(LinkEnd::Session(SessionError::OutOfTurn { .. }))), "{second:?}");
    let mut flood = 0;
    while rig.core.takes_frames() {
        rig.core.frame(NOW, &frame(accepted.clone())).unwrap();
        flood += 1;
    }
    assert_eq!(flood, MAX_WAITING);
}

#[test]
fn an_answer_to_another_question_ends_the_link() {
    let mut rig = Rig::up();
    assert_eq!(rig.core.answered(NOW, Answer::Done), Err(LinkEnd::Mixed));
    rig.core.frame(NOW, &frame_of(&update(1, false, &[]).encode().unwrap())).unwrap();
    assert_eq!(rig.core.answered(NOW, Answer::Newest(None)), Err(LinkEnd::Mixed));
}

#[test]
fn the_released_are_told_all_of_them_each_time() {
    let mut rig = Rig::up();
    let own = |path: &str| ("robot".parse::<DeviceId>().unwrap(), key(path));
    rig.released = [own("/a"), ("other".parse().unwrap(), key("/b")), own("/nobody")].into();
    // After a reconnect nothing of it is news to the store, so nobody rings.
    rig.say(&update(1, true, &[("/a", true), ("/b", true), ("/c", false)]));
    assert_eq!(rig.outs.iter().filter(|out| matches!(out, Out::Waits(keys) if keys.len() == 2)).count(), 1);
    assert_eq!(rig.words(), ["ack 1", "released /a"]);
    rig.wake(Woken { released: [key("/b"), key("/c")].into(), ..Woken::default() });
    assert_eq!(rig.words(), ["released /a /b"]);
    rig.wake(Woken { released: [key("/b")].into(), ..Woken::default() });
    assert_eq!(rig.words(), <[&str; 0]>::default());
    // One stopped, and waits again: that is another time.
    rig.released.clear();
    rig.release_changed = vec!["shop".parse().unwrap()];
    rig.say(&update(2, false, &[("/a", true), ("/b", false)]));
    assert_eq!(rig.words(), ["ack 2"]);
    assert_eq!(rig.asked.last().unwrap(), "Record", "the bus says it");
    rig.wake(Woken { released: [key("/a"), key("/b")].into(), ..Woken::default() });
    assert_eq!(rig.words(), ["released /a"]);
    rig.say(&update(3, true, &[]));
    rig.wake(Woken { released: [key("/a")].into(), releases: true, ..Woken::default() });
    assert_eq!(rig.words(), ["ack 3"], "nobody waits");
}

#[test]
fn while_the_store_is_slow_the_device_is_told_that_we_are_there() {
    let mut rig = Rig::new(0);
    let facts = robo_wire::api::Facts::default();
    let hello = Hello { protocol: PROTOCOL, facts, generation: Generation(0), assignment: None, imports: None };
    let outs = rig.core.frame(NOW, &frame_of(&FromAgent::Hello(hello).encode().unwrap())).unwrap();
    assert!(matches!(outs[..], [Out::Ask(Ask::Online(_))]));
    let (end, mut told) = (NOW.plus(Millis::from_secs(300)), 0);
    while rig.now < end {
        rig.now = rig.core.wake_at();
        let outs = rig.core.tick(rig.now).unwrap();
        told += outs.len();
        rig.carry_out(outs).unwrap();
    }
    assert!(told >= 300 / 20 && rig.words().iter().all(|word| word == "heartbeat"));
    rig.carry_out(outs).unwrap();
    assert_eq!(rig.words().first().map(String::as_str), Some("welcome"));
    let silent_from = rig.core.wake_at();
    assert!(silent_from > end, "its silence counts from here");
    assert_eq!(rig.core.last_heard(), NOW, "and its last word was the hello");
}

#[test]
fn what_was_told_before_it_was_assigned_is_told_again() {
    let after = |first: &[FromAgent]| {
        let mut rig = Rig::up();
        rig.unknown = [key("/web")].into();
        rig.say(&update(1, true, &[("/web", false)]));
        rig.unknown.clear();
        first.iter().for_each(|message| rig.say(message));
        rig.assign(2, &[]);
        let outs = rig.core.woken(Woken { assignment: true, ..Woken::default() }).unwrap();
        rig.carry_out(outs)
    };
    assert_eq!(after(&[]), Err(LinkEnd::Retell(key("/web"))));
    let gone = Update { seq: 2, removed: vec![key("/web")], ..Update::default() };
    assert_eq!(after(&[FromAgent::Update(gone)]), Ok(()));
    assert_eq!(after(&[update(2, true, &[])]), Ok(()));
}

#[test]
fn what_was_told_while_it_might_not_be_offered_is_told_again_once_it_may() {
    let after = |told: &[FromAgent], imports: &[&str], exports: &[&str]| {
        let mut rig = Rig::up();
        rig.unnamed = [(key("/web"), ["Web.ip".parse().unwrap()].into())].into();
        rig.say(&update(1, false, &[("/web", false)]));
        rig.unnamed.clear();
        told.iter().for_each(|message| rig.say(message));
        rig.assign(2, imports);
        for name in exports {
            let all = &mut rig.assignment.as_mut().unwrap().instances[0].exports;
            all.insert(name.parse().unwrap(), serde_json::from_value(json!({"kind": "address"})).unwrap());
        }
        let outs = rig.core.woken(Woken { assignment: true, ..Woken::default() }).unwrap();
        rig.carry_out(outs)
    };
    assert_eq!(after(&[], &["Db.ip"], &["Web.ip"]), Err(LinkEnd::Retell(key("/web"))));
    assert_eq!(after(&[], &["Db.ip"], &["Web.port"]), Ok(()), "what it said is still not named");
    let again = update(2, false, &[("/web", false)]);
    assert_eq!(after(&[again], &["Db.ip"], &["Web.ip"]), Ok(()), "it told meanwhile");
}

#[test]
fn a_lost_bell_is_found_at_the_next_look() {
    let mut rig = Rig::up();
    rig.say(&update(1, true, &[("/web", true)]));
    rig.words();
    rig.offer(&[("other", "/db", "1")]);
    rig.assign(2, &["Db.ip"]);
    rig.released = [("robot".parse().unwrap(), key("/web"))].into();
    rig.asked.clear();
    rig.wait_for_look().unwrap();
    let mut words = rig.words();
    words.retain(|word| word != "heartbeat");
    assert_eq!(words, ["assign 2", "imports +/db=1", "released /web"]);
    assert_eq!(rig.asked, ["Newest", "Assignment", "Providers fresh", "Released"]);
    rig.removed = true;
    assert_eq!(rig.wait_for_look(), Err(LinkEnd::Removed));
    assert!(LinkEnd::Removed.is_final());
}

#[test]
fn acts_wait_for_the_welcome_and_answers_come_back() {
    let act = |id| Act { id, verb: Verb::Cancel, scope: robo_wire::api::Scope::default(), by: "admin".into() };
    let mut rig = Rig::new(0);
    for id in 0..=MAX_ACTS as u64 {
        assert_eq!(rig.core.act(act(id)), Ok(vec![]));
    }
    rig.hello(0, None, None);
    assert_eq!(rig.words().iter().filter(|word| word.starts_with("act")).count(), MAX_ACTS);
    let outs = rig.core.act(act(99)).unwrap();
    rig.carry_out(outs).unwrap();
    assert_eq!(rig.words(), ["act 99"]);
    let acted = Acted { id: 99, instances: vec![key("/a")] };
    rig.say(&FromAgent::Acted(acted.clone()));
    assert!(rig.outs.contains(&Out::Acted(acted)));
}

#[test]
fn versions_that_know_less_or_more_are_served() {
    let mut rig = Rig::new(0);
    let hello = Hello {
        protocol: 2,
        facts: robo_wire::api::Facts::default(),
        generation: Generation(0),
        assignment: None,
        imports: None,
    };
    rig.say(&FromAgent::Hello(hello));
    let Some(FromManager::Welcome(welcome)) = rig.told.first() else { panic!("{:?}", rig.told) };
    assert_eq!((welcome.protocol, welcome.events_stored), (PROTOCOL, 7));
    rig.told.clear();
    rig.say(&FromAgent::Unknown(200));
    assert_eq!(rig.words(), <[&str; 0]>::default());
}

#[test]
fn marks_before_the_welcome_tell_nothing_and_the_end_is_heard_at_any_time() {
    let mut rig = Rig::new(1);
    let all = Woken {
        newest: true,
        assignment: true,
        imports: true,
        releases: true,
        released: [key("/a")].into(),
        ..Woken::default()
    };
    assert_eq!(rig.core.woken(all), Ok(vec![]));
    // Nor does a word of a newer version that comes before the hello.
    rig.say(&FromAgent::Unknown(200));
    assert_eq!(rig.words(), <[&str; 0]>::default());
    assert_eq!(rig.asked, <[&str; 0]>::default());
    assert_eq!(rig.core.woken(Woken { replaced: true, ..Woken::default() }), Err(LinkEnd::Replaced));
    assert_eq!(rig.core.woken(Woken { removed: true, ..Woken::default() }), Err(LinkEnd::Removed));
    assert_eq!((LinkEnd::Removed.is_final(), LinkEnd::Replaced.is_final()), (true, false));
}

#[test]
fn the_end_rings_for_those_who_waited_for_the_device() {
    let rig = Rig::up();
    let needs = Ring::Needs(ProjectName::default_project(), ["shop".parse().unwrap()].into());
    assert!(rig.core.ended().contains(&needs));
    assert!(!Rig::new(0).core.ended().iter().any(|ring| matches!(ring, Ring::Needs(..))));
}

#[test]
fn a_device_is_told_its_new_name_once() {
    let mut rig = Rig::up();
    let look = || Woken { newest: true, ..Woken::default() };
    rig.wake(look());
    assert_eq!(rig.words(), [""; 0]);
    rig.name = "hall".parse().unwrap();
    rig.wake(look());
    rig.wake(look());
    assert_eq!(rig.words(), ["named hall"]);
    // Nobody rang: it is found by the look that comes anyway.
    rig.name = "yard".parse().unwrap();
    rig.wait_for_look().unwrap();
    assert!(rig.words().contains(&"named yard".to_owned()));
}

#[test]
fn a_device_is_told_what_is_off_at_its_welcome_and_at_each_change() {
    let switches = |names: &[&str]| {
        let off = |name: &&str| ((*name).to_owned(), Off { by: "ann".into(), at: NOW });
        Switches { off: names.iter().map(off).collect() }
    };
    let off =
        |words: Vec<String>| -> Vec<String> { words.into_iter().filter(|word| word.starts_with("off")).collect() };
    let mut rig = Rig::new(1);
    rig.hello(1, None, None);
    assert_eq!(off(rig.words()), [""; 0], "nothing is off, and it holds nothing off");
    for (now, told) in [(&["shell"][..], "off shell"), (&["exec", "shell"], "off exec shell"), (&[], "off ")] {
        rig.switches = switches(now);
        rig.wake(Woken { newest: true, ..Woken::default() });
        assert_eq!(off(rig.words()), [told]);
        assert!(rig.outs.contains(&Out::Switched(switches(now))));
        rig.wake(Woken { newest: true, ..Woken::default() });
        assert_eq!(off(rig.words()), [""; 0], "once");
    }
    let mut rig = Rig::new(1);
    let facts = robo_wire::api::Facts { holds_off: true, ..Default::default() };
    let generation = Generation(1);
    rig.say(&FromAgent::Hello(Hello { protocol: PROTOCOL, facts, generation, assignment: None, imports: None }));
    assert_eq!(off(rig.words()), ["off "], "a store that was brought back from a backup counts");
}
