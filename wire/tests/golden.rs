//! Golden bytes of every message of the link and of its streams.
//!
//! `golden.txt` has one line for each: its name, then the whole frame in hexadecimal. Lines are only ever added:
//! a changed line means that an older agent or manager no longer understands us. A message that has no line yet
//! fails, and says the line to add.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use robo_model::graph::{
    AddressKind, Check, Drift, ExportValue, Import, Installer, Probe, Process, RestartPolicy, Settings,
};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::resolve::{Provider, Topic};
use robo_model::spec::{Assignment, FileHash, FileRef, Generation, InstanceKey, InstanceSpec, RelativePath};
use robo_model::state::{Failure, InstanceReport, InstanceState, Step, Wanted};
use robo_wire::api::{Facts, Interface, Scope, SshKeyChange, Verb};
use robo_wire::call::{CallTicket, OpenTarget, ResumeRequest};
use robo_wire::collect::CollectOpen;
use robo_wire::copy::{CopyFrame, CopyOpen};
use robo_wire::digest::Digest;
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::forward::{FlowId, ForwardFrame, ForwardRequest};
use robo_wire::frame::{self, Frame, FrameError, MAX_CONTROL_FRAME};
use robo_wire::health::HealthOpen;
use robo_wire::job::{Begun, Ended, Output, RunFrame, RunOpen, RunStart};
use robo_wire::link::{
    AcceptedGeneration, Ack, Act, Acted, FromAgent, FromManager, Goodbye, Hello, ImportsChange, Named,
    RefusedGeneration, Released, Update, Welcome,
};
use robo_wire::log_files::LogFilesOpen;
use robo_wire::relay::{Arrival, FromRelay, Present, ToRelay};
use robo_wire::shell::{AttachRequest, Attached, Joined, ShellFrame, ShellOpen, ShellRequest, ShellStart, Size};
use robo_wire::ssh::SshKeysOpen;
use robo_wire::stream::{
    Answer, Command, DeviceTarget, ExecRequest, LogsOpen, Open, Requirement, StreamFrame, Targets, Verdict,
};
use robo_wire::switch::{Off, Switches};
use robo_wire::tail::{TailFrame, TailOpen};
use robo_wire::upgrade::UpgradeFrame;

#[path = "golden/assignment.rs"]
mod assignment;
#[path = "golden/copy.rs"]
mod copy;
#[path = "golden/forward.rs"]
mod forward;
#[path = "golden/tail.rs"]
mod tail;
#[path = "golden/upgrade.rs"]
mod upgrade;

use self::assignment::{addresses, assignment, bound, containers, faceted};
use self::copy::{copy_frames, copy_opens};
use self::forward::{forward_frames, forward_opens, unix};
use self::tail::{tail_frames, tail_opens};
use self::upgrade::{upgrade_frames, upgrade_opens, upgraded};

const GOLDEN: &str = include_str!("golden.txt");

/// A field of a newer version at the end of a CBOR map: `"new": [1, {"x": null}]`.
const NEW_FIELD: [u8; 10] = [0x63, b'n', b'e', b'w', 0x82, 0x01, 0xa1, 0x61, b'x', 0xf6];

/// A frame kind that no version has given a meaning yet.
const NEW_KIND: u8 = 200;

#[test]
fn what_an_agent_says() {
    let golden = Golden::read();
    for (name, message) in from_agent() {
        golden.check(name, &message, FromAgent::encode, |frame| FromAgent::decode(&frame));
    }
}

#[test]
fn what_a_manager_says() {
    let golden = Golden::read();
    for (name, message) in from_manager() {
        golden.check(name, &message, FromManager::encode, |frame| FromManager::decode(&frame));
    }
}

#[test]
fn what_streams_carry() {
    let golden = Golden::read();
    let opens = [
        ("open-exec", Open::Exec(command())),
        ("open-logs", Open::Logs(logs())),
        ("open-shell", Open::Shell(shell_open())),
        ("open-shell-user", Open::Shell(shell_as_root())),
        ("open-run", Open::Run(run_open())),
        ("open-run-within", Open::from(run_within())),
        ("open-shell-within", Open::from(shell_within())),
        ("open-collect", Open::Collect(CollectOpen { without_logs: true })),
        ("open-health", Open::Health(HealthOpen {})),
        ("open-log-files", Open::LogFiles(LogFilesOpen {})),
        ("open-ssh-keys", Open::SshKeys(SshKeysOpen { user: None, change: SshKeyChange::List })),
        ("open-ssh-keys-add", Open::SshKeys(ssh_key_added())),
    ];
    for (name, open) in opens {
        golden.check(name, &open, Open::encode, |frame| Open::decode(&frame));
    }
    for (name, targets) in [
        ("exec-names", Targets::Names(vec!["robot-7".into(), "nobody".into()])),
        ("exec-selector", Targets::Selector("site=tokyo".into())),
        ("exec-all", Targets::All),
    ] {
        let request = ExecRequest { targets, command: command(), resumable: false, needs: None };
        golden.check(name, &request, ExecRequest::encode, |frame| ExecRequest::decode(&frame));
    }
    for (name, frame) in stream_frames() {
        golden.check(name, &frame, StreamFrame::encode, StreamFrame::decode);
        let answer = Answer::From(0x0102_0304, frame);
        golden.check(&format!("answer-{name}"), &answer, Answer::encode, Answer::decode);
    }
    let targets = Answer::Targets(vec![
        DeviceTarget { name: "robot-7".into(), device: Some("robot-7".parse().unwrap()) },
        DeviceTarget { name: "nobody".into(), device: None },
    ]);
    golden.check("answer-targets", &targets, Answer::encode, Answer::decode);
    let ticket = CallTicket { id: "c1".parse().unwrap(), asked_at: UnixMillis(3), seal: "5e".into() };
    golden.check("answer-ticket", &Answer::Ticket(ticket.clone()), Answer::encode, Answer::decode);
    let request = ExecRequest { targets: Targets::All, command: command(), resumable: true, needs: None };
    golden.check("exec-resumable", &request, ExecRequest::encode, |frame| ExecRequest::decode(&frame));
    let needs = Some(Requirement::Systemd);
    let request = ExecRequest { targets: Targets::All, command: command(), resumable: false, needs };
    golden.check("exec-needs", &request, ExecRequest::encode, |frame| ExecRequest::decode(&frame));
    let targets = vec![OpenTarget { name: "robot-7".into(), place: 70_000 }];
    let resume = ResumeRequest { ticket, command: command(), targets, input: 9 };
    golden.check("call-resume", &resume, ResumeRequest::encode, |frame| ResumeRequest::decode(&frame));
}

#[test]
fn what_shells_carry() {
    let golden = Golden::read();
    let request = ShellRequest { start: shell_start(), client: 7 };
    golden.check("shell-request", &request, ShellRequest::encode, |frame| ShellRequest::decode(&frame));
    let within = ShellRequest { start: shell_within().start.unwrap(), client: 7 };
    golden.check("shell-request-within", &within, ShellRequest::encode, |frame| ShellRequest::decode(&frame));
    let attach = AttachRequest { client: 7, from: Some(70_000), size: Size::USUAL };
    golden.check("shell-attach", &attach, AttachRequest::encode, |frame| AttachRequest::decode(&frame));
    for (name, frame) in shell_frames() {
        golden.check(name, &frame, ShellFrame::encode, ShellFrame::decode);
    }
}

#[test]
fn what_copies_carry() {
    let golden = Golden::read();
    for (name, open) in copy_opens() {
        golden.check(name, &open, CopyOpen::encode, |frame| CopyOpen::decode(&frame));
        let open = Open::Copy(open);
        golden.check(&format!("open-{name}"), &open, Open::encode, |frame| Open::decode(&frame));
    }
    for (name, frame) in copy_frames() {
        golden.check(name, &frame, CopyFrame::encode, |frame| CopyFrame::decode(&frame));
    }
}

#[test]
fn what_runs_carry() {
    let golden = Golden::read();
    for (name, frame) in run_frames() {
        golden.check(name, &frame, RunFrame::encode, RunFrame::decode);
    }
}

#[test]
fn what_logs_carry() {
    let golden = Golden::read();
    for (name, open) in tail_opens() {
        golden.check(name, &open, TailOpen::encode, |frame| TailOpen::decode(&frame));
        golden.check(&format!("open-{name}"), &Open::Tail(open), Open::encode, |frame| Open::decode(&frame));
    }
    for (name, frame) in tail_frames() {
        golden.check(name, &frame, TailFrame::encode, |frame| TailFrame::decode(&frame));
    }
}

#[test]
fn what_upgrades_carry() {
    let golden = Golden::read();
    for (name, open) in upgrade_opens() {
        golden.check(name, &open, Open::encode, |frame| Open::decode(&frame));
    }
    for (name, frame) in upgrade_frames() {
        golden.check(name, &frame, UpgradeFrame::encode, UpgradeFrame::decode);
    }
}

#[test]
fn what_forwards_carry() {
    let golden = Golden::read();
    for (name, open) in forward_opens() {
        golden.check(name, &Open::Forward(open), Open::encode, |frame| Open::decode(&frame));
    }
    let request = ForwardRequest { flow: FlowId([7; 16]), wish: Some(unix()), taken: 0 };
    golden.check("forward-request", &request, ForwardRequest::encode, |frame| ForwardRequest::decode(&frame));
    for (name, frame) in forward_frames() {
        golden.check(name, &frame, ForwardFrame::encode, ForwardFrame::decode);
    }
}

#[test]
fn what_a_manager_and_its_relay_say() {
    let golden = Golden::read();
    for (name, message) in to_relay() {
        golden.check(name, &message, ToRelay::encode, |frame| ToRelay::decode(&frame));
    }
    for (name, message) in FROM_RELAY {
        golden.check(name, &message, FromRelay::encode, |frame| Ok(FromRelay::decode(&frame)));
    }
    golden.check("relay-arrival", &arrival(), Arrival::encode, |frame| Arrival::decode(&frame));
}

#[test]
fn the_golden_file_has_no_line_too_many() {
    let mut names: Vec<String> = from_agent().into_iter().map(|(name, _)| name.to_owned()).collect();
    names.extend(from_manager().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(stream_frames().into_iter().flat_map(|(name, _)| [name.to_owned(), format!("answer-{name}")]));
    names.extend(
        ["shell-request", "shell-attach", "open-shell", "open-run"]
            .into_iter()
            .chain(run_frames().into_iter().map(|(name, _)| name))
            .chain(shell_frames().into_iter().map(|(name, _)| name))
            .map(str::to_owned),
    );
    names.extend(copy_opens().into_iter().flat_map(|(name, _)| [name.to_owned(), format!("open-{name}")]));
    names.extend(copy_frames().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(["answer-ticket", "exec-resumable", "exec-needs", "call-resume"].map(str::to_owned));
    names.push("forward-request".to_owned());
    names.push("relay-arrival".to_owned());
    names.extend(to_relay().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(FROM_RELAY.into_iter().map(|(name, _)| name.to_owned()));
    names.extend(forward_opens().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(forward_frames().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(tail_opens().into_iter().flat_map(|(name, _)| [name.to_owned(), format!("open-{name}")]));
    names.extend(tail_frames().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(upgrade_opens().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(upgrade_frames().into_iter().map(|(name, _)| name.to_owned()));
    names.extend(
        [
            "open-exec",
            "open-logs",
            "open-shell-user",
            "open-run-within",
            "open-shell-within",
            "shell-request-within",
            "open-collect",
            "open-health",
            "open-log-files",
            "open-ssh-keys",
            "open-ssh-keys-add",
            "exec-names",
            "exec-selector",
            "exec-all",
            "answer-targets",
        ]
        .map(str::to_owned),
    );
    names.sort();
    assert_eq!(Golden::read().0.into_keys().collect::<Vec<_>>(), names);
}

const FROM_RELAY: [(&str, FromRelay); 4] = [
    ("relay-welcome", FromRelay::Welcome),
    ("relay-refused", FromRelay::Refused),
    ("relay-occupied", FromRelay::Occupied),
    ("relay-heartbeat", FromRelay::Heartbeat),
];

fn to_relay() -> [(&'static str, ToRelay); 2] {
    let present = Present { protocol: 1, token: "rbr1.ab.cd".into(), process: "7f".into(), heartbeat: Millis(30_000) };
    [("relay-present", ToRelay::Present(present)), ("relay-manager-heartbeat", ToRelay::Heartbeat)]
}

fn arrival() -> Arrival {
    Arrival { from: "203.0.113.7:40000".into() }
}

#[test]
fn a_field_of_a_newer_version_is_skipped() {
    for (name, message) in
        from_agent().into_iter().filter(|(_, m)| !matches!(m, FromAgent::Heartbeat | FromAgent::Resync))
    {
        let frame = with_new_field(&message.encode().unwrap());
        assert_eq!(FromAgent::decode(&frame).as_ref(), Ok(&message), "{name}");
    }
    for (name, message) in from_manager().into_iter().filter(|(_, message)| has_body(message)) {
        let frame = with_new_field(&message.encode().unwrap());
        assert_eq!(FromManager::decode(&frame).as_ref(), Ok(&message), "{name}");
    }
    for (name, message) in stream_frames().into_iter().filter(|(_, m)| matches!(m, StreamFrame::Verdict(_))) {
        let frame = with_new_field(&message.encode().unwrap());
        assert_eq!(StreamFrame::decode(frame).as_ref(), Ok(&message), "{name}");
    }
}

#[test]
fn a_field_that_an_older_version_does_not_send_has_a_default() {
    #[derive(serde::Serialize)]
    struct OldHello {
        protocol: u16,
        facts: BTreeMap<String, String>,
    }
    #[derive(serde::Serialize)]
    struct OldAck {
        seq: u64,
    }
    let hello = frame::to_body(1, &OldHello { protocol: 1, facts: BTreeMap::new() }).unwrap();
    let expect = FromAgent::Hello(Hello {
        protocol: 1,
        facts: Facts::default(),
        generation: Generation(0),
        assignment: None,
        imports: None,
    });
    assert_eq!(FromAgent::decode(&Frame { kind: 1, body: hello }), Ok(expect));
    let ack = frame::to_body(68, &OldAck { seq: 9 }).unwrap();
    let expect = FromManager::Ack(Ack { seq: 9, events_stored: 0 });
    assert_eq!(FromManager::decode(&Frame { kind: 68, body: ack }), Ok(expect));
}

#[test]
fn a_kind_of_a_newer_version_is_told_as_unknown() {
    let frame = Frame { kind: NEW_KIND, body: vec![0xff; 30] };
    assert_eq!(FromAgent::decode(&frame), Ok(FromAgent::Unknown(NEW_KIND)));
    assert_eq!(FromManager::decode(&frame), Ok(FromManager::Unknown(NEW_KIND)));
    assert_eq!(Answer::decode(frame.clone()), Ok(Answer::From(u32::MAX, StreamFrame::Unknown(NEW_KIND))));
    assert_eq!(StreamFrame::decode(frame), Ok(StreamFrame::Unknown(NEW_KIND)));
}

#[test]
fn an_event_of_a_newer_version_does_not_spoil_its_update() {
    #[derive(serde::Serialize)]
    struct NewUpdate {
        seq: u64,
        events: Vec<NewEvent>,
    }
    #[derive(serde::Serialize)]
    struct NewEvent {
        seq: u64,
        at: u64,
        body: BTreeMap<&'static str, &'static str>,
    }
    let events = vec![NewEvent { seq: 1, at: 2, body: [("kind", "on-fire"), ("where", "kitchen")].into() }];
    let body = frame::to_body(2, &NewUpdate { seq: 1, events }).unwrap();
    let Ok(FromAgent::Update(update)) = FromAgent::decode(&Frame { kind: 2, body }) else { panic!("no update") };
    assert_eq!(update.events[0].body, EventBody::Unknown);
}

#[test]
fn half_a_message_is_none() {
    for (name, message) in from_manager().into_iter().filter(|(_, message)| has_body(message)) {
        let whole = frame_of(&message.encode().unwrap());
        let half = Frame { kind: whole.kind, body: whole.body[..whole.body.len() / 2].to_vec() };
        assert!(matches!(FromManager::decode(&half), Err(FrameError::Body { .. })), "{name}");
    }
}

fn has_body(message: &FromManager) -> bool {
    !matches!(message, FromManager::Heartbeat | FromManager::Renew)
}

/// The lines of the golden file by name.
struct Golden(BTreeMap<String, Vec<u8>>);

impl Golden {
    fn read() -> Self {
        let line = |line: &str| {
            let (name, hex) = line.split_once(' ').expect("a name, a blank, the bytes");
            (name.to_owned(), hex::decode(hex).expect("hexadecimal"))
        };
        Self(GOLDEN.lines().map(line).collect())
    }

    fn check<T: Debug + PartialEq>(
        &self,
        name: &str,
        value: &T,
        encode: impl Fn(&T) -> Result<Vec<u8>, FrameError>,
        decode: impl Fn(Frame) -> Result<T, FrameError>,
    ) {
        let bytes = encode(value).unwrap();
        let golden = self.0.get(name);
        let golden = golden.unwrap_or_else(|| panic!("golden.txt lacks this line:\n{name} {}", hex::encode(&bytes)));
        assert_eq!(hex::encode(&bytes), hex::encode(golden), "{name} is written in another way than before");
        assert_eq!(decode(frame_of(golden)).as_ref(), Ok(value), "{name} is read in another way than before");
    }
}

fn frame_of(bytes: &[u8]) -> Frame {
    let mut bytes = bytes.to_vec();
    let frame = frame::take(&mut bytes, MAX_CONTROL_FRAME).unwrap().expect("a whole frame");
    assert!(bytes.is_empty(), "bytes after the frame");
    frame
}

/// The frame with one more field in its map.
fn with_new_field(bytes: &[u8]) -> Frame {
    let mut frame = frame_of(bytes);
    assert!((0xa0..0xb7).contains(&frame.body[0]), "a map of few fields, its length in the first byte");
    frame.body[0] += 1;
    frame.body.extend_from_slice(&NEW_FIELD);
    frame
}

fn ssh_key_added() -> SshKeysOpen {
    let (key, note) = ("ssh-ed25519 AAAA".into(), "ann@desk".into());
    let change = SshKeyChange::Add { key, note, expires_at: Some(UnixMillis(70_000)) };
    SshKeysOpen { user: Some("robot".into()), change }
}

fn from_agent() -> Vec<(&'static str, FromAgent)> {
    let hello = Hello { protocol: 1, facts: facts(), generation: Generation(41), assignment: None, imports: None };
    let digests = Hello {
        facts: Facts { addresses: vec!["192.0.2.7".into(), "2001:db8::7".into()], ports: vec![18_080], ..facts() },
        assignment: Some(Digest(u64::MAX)),
        imports: Some(Digest(1)),
        ..hello.clone()
    };
    vec![
        ("hello", FromAgent::Hello(hello)),
        ("update", FromAgent::Update(update())),
        ("update-empty", FromAgent::Update(Update { seq: 1, ..Update::default() })),
        ("accepted", FromAgent::Accepted(AcceptedGeneration { generation: Generation(42) })),
        ("refused", FromAgent::Refused(RefusedGeneration { generation: Generation(43), reason: "disk full".into() })),
        ("agent-heartbeat", FromAgent::Heartbeat),
        ("hello-digests", FromAgent::Hello(digests)),
        ("update-release", FromAgent::Update(update_2())),
        ("update-part", FromAgent::Update(Update { seq: 1, more: true, ..Update::default() })),
        ("update-imports", FromAgent::Update(Update { seq: 1, imports: Some(Digest(1)), ..Update::default() })),
        ("facts", FromAgent::Facts(machine())),
        ("facts-users", FromAgent::Facts(users())),
        ("facts-upgrade", FromAgent::Facts(upgraded(facts()))),
        ("facts-without", FromAgent::Facts(Facts { without: vec!["shell".into()], holds_off: true, ..facts() })),
        ("resync", FromAgent::Resync),
        ("acted", FromAgent::Acted(Acted { id: 7, instances: vec![key("/vm/web")] })),
    ]
}

fn switches() -> Switches {
    let off = Off { by: "ann".into(), at: UnixMillis(1_769_867_100_000) };
    Switches { off: [("shell".to_owned(), off)].into() }
}

fn from_manager() -> Vec<(&'static str, FromManager)> {
    let welcome = Welcome {
        protocol: 1,
        manager_version: "0.1.0".into(),
        name: "robot-7".parse().unwrap(),
        project: "default".parse().unwrap(),
        heartbeat: Millis::from_secs(30),
        events_stored: 70_000,
        ssh_authority: None,
    };
    let ssh = Welcome { ssh_authority: Some("ssh-ed25519 AAAA".into()), ..welcome.clone() };
    let imports = ImportsChange {
        full: true,
        providers: vec![Provider {
            key: key("/vm/db"),
            component: "Database".parse().unwrap(),
            exports: [("Database.ip".parse().unwrap(), "10.0.0.7".into())].into(),
            outside: BTreeMap::new(),
        }],
        removed: vec![key("/vm/old")],
        before: None,
        after: None,
    };
    let versions = ImportsChange {
        full: false,
        providers: vec![Provider {
            outside: [("Wh.ip".parse().unwrap(), "10.0.0.7".into())].into(),
            ..imports.providers[0].clone()
        }],
        before: Some(Digest(1)),
        after: Some(Digest(2)),
        ..imports.clone()
    };
    let scope = Scope {
        path: Some("/vm".parse().unwrap()),
        below: true,
        component: Some("Web".parse().unwrap()),
        application: Some("shop".parse().unwrap()),
    };
    vec![
        ("welcome", FromManager::Welcome(welcome)),
        ("welcome-ssh", FromManager::Welcome(ssh)),
        ("assign", FromManager::Assign(assignment())),
        ("assign-container", FromManager::Assign(containers())),
        ("assign-nothing", FromManager::Assign(Assignment { generation: Generation(2), instances: vec![] })),
        ("imports", FromManager::Imports(imports)),
        ("ack", FromManager::Ack(Ack { seq: 3, events_stored: 500 })),
        ("manager-heartbeat", FromManager::Heartbeat),
        ("switches", FromManager::Switches(switches())),
        ("goodbye", FromManager::Goodbye(Goodbye { reason: "removed".into(), final_: true, renew: false })),
        ("assign-bound", FromManager::Assign(bound())),
        ("assign-facets", FromManager::Assign(faceted())),
        ("assign-addresses", FromManager::Assign(addresses())),
        ("imports-versions", FromManager::Imports(versions)),
        ("released", FromManager::Released(Released { keys: vec![key("/vm/db")] })),
        ("act", FromManager::Act(Act { id: 7, verb: Verb::Cancel, scope, by: "ann".into() })),
        ("act-all", FromManager::Act(Act { id: 8, verb: Verb::Retry, scope: Scope::default(), by: String::new() })),
        ("renew", FromManager::Renew),
        ("named", FromManager::Named(Named { name: "robot-8".parse().unwrap() })),
        ("goodbye-renew", FromManager::Goodbye(Goodbye { reason: "ended".into(), final_: false, renew: true })),
    ]
}

fn stream_frames() -> Vec<(&'static str, StreamFrame)> {
    vec![
        ("stdin", StreamFrame::Stdin(b"in\n".to_vec())),
        ("stdin-end", StreamFrame::StdinEnd),
        ("signal", StreamFrame::Signal(15)),
        ("stdout", StreamFrame::Stdout(vec![0, 0xff, b'\n'])),
        ("stderr", StreamFrame::Stderr(b"err\n".to_vec())),
        ("verdict-ok", StreamFrame::Verdict(Verdict::Ok)),
        ("verdict-failed", StreamFrame::Verdict(Verdict::Failed { code: 137 })),
        ("verdict-timeout", StreamFrame::Verdict(Verdict::Timeout)),
        ("verdict-offline", StreamFrame::Verdict(Verdict::Offline)),
        ("verdict-refused", StreamFrame::Verdict(Verdict::Refused { reason: "no such program".into() })),
        ("verdict-lost", StreamFrame::Verdict(Verdict::Lost { reason: "link down".into() })),
        ("call-received", StreamFrame::Received(7, 70_000)),
        ("call-seen", StreamFrame::Seen(7)),
        ("call-taken", StreamFrame::Taken(70_000)),
    ]
}

fn shell_start() -> ShellStart {
    ShellStart {
        argv: vec!["htop".into()],
        env: [("LANG".into(), "C.UTF-8".into())].into(),
        cwd: Some("/srv".into()),
        user: None,
        term: "xterm-256color".into(),
        size: Size { cols: 200, rows: 50 },
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: None,
    }
}

fn shell_as_root() -> ShellOpen {
    let start = ShellStart { user: Some("root".into()), ..shell_start() };
    ShellOpen { start: Some(start), ..shell_open() }
}

fn shell_within() -> ShellOpen {
    let start = ShellStart { within: Some(key("/vm/db")), ..shell_start() };
    ShellOpen { start: Some(start), ..shell_open() }
}

fn run_within() -> RunOpen {
    let mut open = run_open();
    open.start.as_mut().unwrap().command.within = Some(key("/vm/db"));
    open
}

fn shell_open() -> ShellOpen {
    ShellOpen { session: "s1".parse().unwrap(), start: Some(shell_start()), from: 70_000 }
}

fn shell_frames() -> Vec<(&'static str, ShellFrame)> {
    let joined = Joined {
        session: "s1".parse().unwrap(),
        device: "robot-7".parse().unwrap(),
        from: 70_000,
        taken: Some(3),
        keep: ShellStart::KEEP,
        size: Size::USUAL,
    };
    vec![
        ("shell-input", ShellFrame::Input(3, b"\x03".to_vec())),
        ("shell-resize", ShellFrame::Resize(Size { cols: 200, rows: 50 })),
        ("shell-end", ShellFrame::End),
        ("shell-present", ShellFrame::Present(true)),
        ("shell-redraw", ShellFrame::Redraw),
        ("shell-attached", ShellFrame::Attached(Attached { from: 70_000, taken: 4 })),
        ("shell-output", ShellFrame::Output(70_000, "ü".into())),
        ("shell-taken", ShellFrame::Taken(4)),
        ("shell-notice", ShellFrame::Notice("bye".into())),
        ("shell-reachable", ShellFrame::Reachable(false)),
        ("shell-joined", ShellFrame::Joined(joined)),
        ("shell-verdict", ShellFrame::Verdict(Verdict::Failed { code: 130 })),
    ]
}

fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

fn facts() -> Facts {
    Facts {
        hostname: "robot-7".into(),
        os: "Debian GNU/Linux 12 (bookworm)".into(),
        kernel: "Linux 6.1.0".into(),
        arch: "aarch64".into(),
        agent_version: "0.1.0".into(),
        address: "192.0.2.7".into(),
        installers: vec!["target".into(), "script".into()],
        ..Facts::default()
    }
}

fn users() -> Facts {
    Facts { exec_user: "robot".into(), agent_user: "root".into(), ..facts() }
}

fn machine() -> Facts {
    let interface = |name: &str, addresses: &[&str]| Interface {
        name: name.into(),
        addresses: addresses.iter().map(|text| (*text).into()).collect(),
    };
    Facts {
        interfaces: vec![interface("eth0", &["192.0.2.7", "2001:db8::7"]), interface("lo", &["127.0.0.1"])],
        cores: 4,
        memory: 8 << 30,
        disk: 64_000_000_000,
        capabilities: vec!["gpu".into(), "systemd".into()],
        ..facts()
    }
}

fn command() -> Command {
    Command {
        argv: vec!["sh".into(), "-c".into(), "echo ü".into()],
        env: [("LANG".into(), "C".into())].into(),
        cwd: Some("/srv".into()),
        user: None,
        timeout: Some(Millis::from_secs(90)),
        stdin: true,
        within: None,
    }
}

fn run_open() -> RunOpen {
    let command = Command { user: Some("robot".into()), ..command() };
    let start = Some(RunStart { command, background: true });
    RunOpen { job: "j1".parse().unwrap(), start, asked: Some(Millis::from_secs(3)), from: 70_000 }
}

fn run_frames() -> Vec<(&'static str, RunFrame)> {
    let at = UnixMillis(1_700_000_000_000);
    let cancelled = Verdict::Cancelled { reason: "on request".into() };
    let ended = |verdict| RunFrame::Ended(Ended { verdict, began_at: Some(at), ended_at: UnixMillis(at.0 + 5) });
    vec![
        ("run-input", RunFrame::Input(3, b"\x03".to_vec())),
        ("run-input-end", RunFrame::InputEnd),
        ("run-signal", RunFrame::Signal(15)),
        ("run-received", RunFrame::Received(70_000)),
        ("run-cancel", RunFrame::Cancel),
        ("run-done", RunFrame::Done),
        ("run-begun", RunFrame::Begun(Begun { at, taken: 4 })),
        ("run-stdout", RunFrame::Output(Output::Stdout, 70_000, "ü".into())),
        ("run-stderr", RunFrame::Output(Output::Stderr, 70_002, "ü".into())),
        ("run-taken", RunFrame::Taken(4)),
        ("run-ended", ended(Verdict::Failed { code: 130 })),
        ("run-cancelled", ended(cancelled)),
        ("run-expired", ended(Verdict::Expired)),
    ]
}

fn logs() -> LogsOpen {
    LogsOpen { key: key("/vm/web"), lines: 100, follow: true }
}

fn failure() -> Failure {
    Failure {
        step: Step::Start,
        reason: "start.sh exited with 3".into(),
        exit_code: Some(3),
        output: vec!["no space".into()],
        at: UnixMillis(1_700_000_000_123),
        attempts: 2,
        retry_at: Some(UnixMillis(1_700_000_060_123)),
    }
}

fn update() -> Update {
    let report = InstanceReport {
        application: "shop".parse().unwrap(),
        path: "/vm/web".parse().unwrap(),
        component: "Web".parse().unwrap(),
        state: InstanceState::DeployedStarted,
        since: UnixMillis(1_700_000_000_000),
        waits_for: vec!["Database.ip".into()],
        failure: Some(failure()),
        exports: [("Web.port".parse().unwrap(), "8080".into())].into(),
        pid: Some(4242),
        restarts: 1,
        healthy: false,
        settled: false,
        outside: BTreeMap::new(),
        needs: Vec::new(),
        held_for: BTreeSet::new(),
        drift: Vec::new(),
        hold: None,
    };
    let event = |(seq, body)| AgentEvent { seq, at: UnixMillis(1_700_000_000_000), key: Some(key("/vm/web")), body };
    Update {
        seq: 7,
        full: true,
        generation: Generation(42),
        reports: vec![report],
        removed: vec![key("/vm/old")],
        events: (1..).zip(event_bodies()).map(event).collect(),
        imports: None,
        more: false,
    }
}

fn event_bodies() -> Vec<EventBody> {
    vec![
        EventBody::State {
            from: InstanceState::DeployedStopped,
            to: InstanceState::Unresolved,
            waits_for: vec!["Database.ip".into()],
        },
        EventBody::Failed { failure: failure() },
        EventBody::Updated { changes: vec!["Database.ip of /vm/db came".into()] },
        EventBody::Health { healthy: false, reason: "503".into() },
        EventBody::Adopted { pid: 4242 },
        EventBody::Forgotten,
        EventBody::Assigned { generation: Generation(42) },
        EventBody::Gap { lost: 10 },
        EventBody::Enrolled,
        EventBody::Online,
        EventBody::Offline { reason: "silent".into() },
        EventBody::Applied { revision: 3, of: None },
        EventBody::Asked { subtree: Some("/vm".parse().unwrap()), component: None, wanted: Wanted::Stopped },
        EventBody::Deleted,
        EventBody::Executed { command: vec!["true".into()], verdict: Verdict::Failed { code: 1 } },
    ]
}

/// What came later: waiting for others, cancelled steps, drift; events of these.
fn update_2() -> Update {
    let topic = |prefix: &str, outside| Topic {
        application: "shop".parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        outside,
    };
    let first = update();
    let report = InstanceReport {
        outside: [("Wh.ip".parse().unwrap(), "10.0.0.7".into())].into(),
        needs: vec![[topic("Database", false), topic("Wh", true)].into()],
        held_for: [topic("Web", false)].into(),
        drift: vec!["web.conf changed".into()],
        hold: Some("cancelled by ann".into()),
        ..first.reports[0].clone()
    };
    let later = [
        EventBody::Cancelled { by: "ann".into() },
        EventBody::Retried { by: "ann".into() },
        EventBody::Drift { changes: vec!["web.conf changed".into()] },
        EventBody::LeaseEnded,
        EventBody::Removed,
        EventBody::Labelled { labels: [("site".into(), "tokyo".into())].into() },
        EventBody::Bound { prefix: "Wh".parse().unwrap(), applications: vec!["stock".parse().unwrap()] },
        EventBody::Applied { revision: 4, of: Some(2) },
        EventBody::Asked { subtree: None, component: Some("Web".parse().unwrap()), wanted: Wanted::Stopped },
    ];
    let event = |(at, body)| AgentEvent { seq: at as u64 + 1, at: UnixMillis(0), key: None, body };
    Update { reports: vec![report], events: later.into_iter().enumerate().map(event).collect(), ..first }
}
