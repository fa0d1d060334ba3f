//! The two state machines of the link, against each other and against a peer that misbehaves.

#![cfg(test)]

use proptest::prelude::*;
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, Generation, MAX_GENERATION};
use robo_wire::api::Facts;
use robo_wire::event::{AgentEvent, EventBody};
use robo_wire::frame::{self, Frame, FrameError, MAX_CONTROL_FRAME, MAX_FRAME_BEFORE_WELCOME};
use robo_wire::link::{
    AcceptedGeneration, Ack, FromAgent, FromManager, Goodbye, Hello, ImportsChange, PROTOCOL, RefusedGeneration,
    Update, Welcome,
};
use robo_wire::session::{
    AgentEffect, AgentSession, HANDSHAKE, HEARTBEAT, ManagerEffect, ManagerSession, SessionError,
};

const START: UnixMillis = UnixMillis(1_000_000);
const TWO_HEARTBEATS: Millis = Millis(HEARTBEAT.0 * 2);

#[test]
fn from_hello_to_goodbye() {
    let (mut agent, mut manager) = up();
    assert!(agent.is_ready());

    let update = Update { seq: 99, full: true, ..Update::default() };
    let sent = of_agent(agent.update(START, update.clone()).unwrap());
    assert!(!agent.is_ready(), "one update at a time");
    let got = manager.frame(START, &sent).unwrap();
    assert_eq!(got, Some(ManagerEffect::Update(Update { seq: 1, ..update })), "the session numbers updates");
    let ack = of_manager(manager.ack(1, 5).unwrap());
    assert_eq!(agent.frame(START, &ack).unwrap(), Some(AgentEffect::Stored(Ack { seq: 1, events_stored: 5 })));
    assert!(agent.is_ready());

    let assignment = Assignment { generation: Generation(8), instances: vec![] };
    let told = of_manager(manager.assign(assignment.clone()).unwrap());
    assert_eq!(agent.frame(START, &told).unwrap(), Some(AgentEffect::Assign(assignment)));
    let accepted = of_agent(agent.accepted(START, Generation(8)).unwrap());
    assert_eq!(manager.frame(START, &accepted).unwrap(), Some(ManagerEffect::Accepted(Generation(8))));
    let refused = of_agent(agent.refused(START, Generation(9), "full".into()).unwrap());
    assert!(matches!(manager.frame(START, &refused).unwrap(), Some(ManagerEffect::Refused(_))));

    let told = of_manager(manager.imports(ImportsChange::default()).unwrap());
    assert_eq!(agent.frame(START, &told).unwrap(), Some(AgentEffect::Imports(ImportsChange::default())));

    let facts = Facts { cores: 4, ..Facts::default() };
    let told = of_agent(agent.facts(START, facts.clone()).unwrap());
    assert_eq!(manager.frame(START, &told).unwrap(), Some(ManagerEffect::Facts(Box::new(facts))));
    let named = of_manager(manager.named("robot-8".parse().unwrap()).unwrap());
    assert_eq!(agent.frame(START, &named).unwrap(), Some(AgentEffect::Named("robot-8".parse().unwrap())));

    let bye = of_manager(manager.goodbye("stopping".into(), false).unwrap());
    let ended = SessionError::Goodbye { reason: "stopping".into(), final_: false, renew: false };
    assert_eq!(agent.frame(START, &bye), Err(ended));
}

#[test]
fn facts_are_no_larger_than_in_a_hello_and_come_after_the_welcome() {
    let (mut agent, mut manager) = up();
    let large = Facts { hostname: "x".repeat(MAX_FRAME_BEFORE_WELCOME), ..Facts::default() };
    let told = of_agent(agent.facts(START, large).unwrap());
    let answer = manager.frame(START, &told);
    assert!(matches!(answer, Err(SessionError::Frame(FrameError::TooLong { .. }))), "{answer:?}");
    assert!(matches!(greeting().facts(START, Facts::default()), Err(SessionError::OutOfTurn { .. })));
}

#[test]
fn a_goodbye_is_heard_before_the_welcome_too() {
    let bye = manager_says(&FromManager::Goodbye(Goodbye { reason: "removed".into(), final_: true, renew: false }));
    let ended = SessionError::Goodbye { reason: "removed".into(), final_: true, renew: false };
    assert_eq!(greeting().frame(START, &bye), Err(ended));
}

#[test]
fn the_lower_version_is_spoken_and_none_at_all_is_refused() {
    let answer_to = |protocol| {
        let mut manager = ManagerSession::new(START, HEARTBEAT);
        let hello = FromAgent::Hello(Hello {
            protocol,
            facts: Facts::default(),
            generation: Generation(0),
            assignment: None,
            imports: None,
        });
        manager.frame(START, &frame_of(&hello.encode().unwrap()))?;
        FromManager::decode(&of_manager(welcome(&mut manager)?)).map_err(SessionError::Frame)
    };
    for protocol in [PROTOCOL, PROTOCOL + 1] {
        let Ok(FromManager::Welcome(welcome)) = answer_to(protocol) else { panic!("no welcome for {protocol}") };
        assert_eq!(welcome.protocol, PROTOCOL);
    }
    assert_eq!(answer_to(0), Err(SessionError::Version { theirs: 0, ours: PROTOCOL }));
    for theirs in [0, PROTOCOL + 1] {
        let answer = greeting().frame(START, &manager_says(&FromManager::Welcome(a_welcome(theirs))));
        assert_eq!(answer, Err(SessionError::Version { theirs, ours: PROTOCOL }));
    }
}

#[test]
fn a_manager_out_of_turn_ends_the_session() {
    let check = |mut agent: AgentSession, message: FromManager| {
        let answer = agent.frame(START, &manager_says(&message));
        assert!(matches!(answer, Err(SessionError::OutOfTurn { .. })), "{message:?}: {answer:?}");
    };
    check(greeting(), FromManager::Assign(Assignment::default()));
    check(greeting(), FromManager::Imports(ImportsChange::default()));
    check(greeting(), FromManager::Ack(Ack { seq: 1, events_stored: 0 }));
    check(up().0, FromManager::Welcome(a_welcome(PROTOCOL)));
    check(up().0, FromManager::Ack(Ack { seq: 1, events_stored: 0 }));
}

#[test]
fn an_agent_out_of_turn_ends_the_session() {
    let check = |mut manager: ManagerSession, frame: &Frame| {
        let answer = manager.frame(START, frame);
        assert!(matches!(answer, Err(SessionError::OutOfTurn { .. })), "{frame:?}: {answer:?}");
    };
    for message in [
        FromAgent::Update(Update::default()),
        FromAgent::Accepted(AcceptedGeneration { generation: Generation(1) }),
        FromAgent::Heartbeat,
    ] {
        let frame = frame_of(&message.encode().unwrap());
        check(ManagerSession::new(START, HEARTBEAT), &frame);
        check(greeted(), &frame);
    }
    check(greeted(), &hello());
    check(up().1, &hello());
}

#[test]
fn a_number_that_is_none_ends_the_session() {
    let hello = |generation| {
        let facts = Facts::default();
        FromAgent::Hello(Hello { protocol: PROTOCOL, facts, generation, assignment: None, imports: None })
    };
    let above = Generation(MAX_GENERATION.0 + 1);
    for generation in [above, Generation(u64::MAX)] {
        let reason = String::new();
        for (mut manager, message) in [
            (ManagerSession::new(START, HEARTBEAT), hello(generation)),
            (up().1, FromAgent::Update(Update { generation, ..Update::default() })),
            (up().1, FromAgent::Accepted(AcceptedGeneration { generation })),
            (up().1, FromAgent::Refused(RefusedGeneration { generation, reason })),
        ] {
            let answer = manager.frame(START, &frame_of(&message.encode().unwrap()));
            let Err(error @ SessionError::Generation { .. }) = answer else { panic!("{message:?}: {answer:?}") };
            assert!(error.to_string().ends_with("the highest there is is 9007199254740992"), "{error}");
        }
    }
    let mut manager = ManagerSession::new(START, HEARTBEAT);
    assert!(manager.frame(START, &frame_of(&hello(MAX_GENERATION).encode().unwrap())).is_ok());
}

#[test]
fn our_own_turn_is_kept_too() {
    assert!(welcome(&mut ManagerSession::new(START, HEARTBEAT)).is_err(), "a welcome without a hello");
    assert!(greeting().update(START, Update::default()).is_err(), "an update before the welcome");
    let (mut agent, _) = up();
    agent.update(START, Update::default()).unwrap();
    assert!(agent.update(START, Update::default()).is_err(), "a second update under way");
}

#[test]
fn silence_before_the_welcome_is_noticed_by_the_time_alone() {
    let end = START.plus(HANDSHAKE);
    let mut agent = greeting();
    assert_eq!(agent.wake_at(), end);
    assert_eq!(agent.tick(before(end)), Ok(None));
    assert_eq!(agent.tick(end), Err(SessionError::Silent(HANDSHAKE)));
    let mut manager = ManagerSession::new(START, HEARTBEAT);
    assert_eq!(manager.wake_at(), end);
    assert_eq!(manager.tick(before(end)), Ok(None));
    assert_eq!(manager.tick(end), Err(SessionError::Silent(HANDSHAKE)));
}

#[test]
fn who_waits_for_a_slow_welcome_is_told_that_we_are_there() {
    let (mut agent, mut manager) = (greeting(), greeted());
    let mut now = START;
    // Far longer than either side waits for the other.
    while now < START.plus(Millis(20 * HANDSHAKE.0)) {
        now = agent.wake_at().min(manager.wake_at());
        assert_eq!(agent.tick(now), Ok(None));
        if let Some(effect) = manager.tick(now).unwrap() {
            assert_eq!(agent.frame(now, &of_manager(effect)), Ok(None), "no agent minds it");
        }
    }
    assert_eq!(manager.last_heard(), START);
    let welcome = a_welcome(PROTOCOL);
    manager.welcome(now, welcome.name, welcome.project, String::new(), 0).unwrap();
    // Its silence counts from the welcome on.
    let end = now.plus(TWO_HEARTBEATS);
    assert_eq!((manager.wake_at(), manager.tick(before(end))), (end, Ok(None)));
    assert_eq!(manager.tick(end), Err(SessionError::Silent(end.since(START))));
}

#[test]
fn heartbeats_keep_a_link_up() {
    let (mut agent, mut manager) = up();
    let beat_at = START.plus(HEARTBEAT);
    assert_eq!((agent.wake_at(), manager.wake_at()), (beat_at, START.plus(TWO_HEARTBEATS)));
    assert_eq!(agent.tick(before(beat_at)), Ok(None));
    let beat = agent.tick(beat_at).unwrap().expect("a heartbeat is due");
    let answer = manager.frame(beat_at, &of_agent(beat)).unwrap().expect("it is answered");
    assert_eq!(manager.wake_at(), beat_at.plus(TWO_HEARTBEATS));

    let (mut unanswered, _) = up();
    assert_eq!(unanswered.tick(START.plus(TWO_HEARTBEATS)), Err(SessionError::Silent(TWO_HEARTBEATS)));
    agent.frame(beat_at, &of_manager(answer)).unwrap();
    assert!(agent.tick(START.plus(TWO_HEARTBEATS)).is_ok());
    assert_eq!(manager.tick(beat_at.plus(TWO_HEARTBEATS)), Err(SessionError::Silent(TWO_HEARTBEATS)));
}

#[test]
fn a_frame_that_is_coming_is_no_silence() {
    let (mut agent, _) = up();
    let end = START.plus(TWO_HEARTBEATS);
    agent.heard(before(end));
    assert!(agent.tick(end).is_ok());
    assert_eq!(
        agent.tick(before(end).plus(TWO_HEARTBEATS)),
        Err(SessionError::Silent(TWO_HEARTBEATS)),
        "and nothing more came"
    );
    // Before the welcome nothing is so large.
    let mut agent = greeting();
    let end = START.plus(HANDSHAKE);
    agent.heard(before(end));
    assert_eq!(agent.tick(end), Err(SessionError::Silent(HANDSHAKE)));
}

#[test]
fn a_clock_that_goes_back_is_no_silence() {
    let (mut agent, mut manager) = up();
    assert_eq!(agent.tick(UnixMillis(0)), Ok(None));
    assert_eq!(manager.tick(UnixMillis(0)), Ok(None));
}

#[test]
fn a_stranger_gets_little_memory() {
    let allowed = |manager: &ManagerSession, length: usize| {
        let [a, b, c, d] = u32::try_from(length).unwrap().to_be_bytes();
        frame::read_header([a, b, c, d, 1], manager.max_frame()).is_ok()
    };
    for manager in [ManagerSession::new(START, HEARTBEAT), greeted()] {
        assert!(allowed(&manager, MAX_FRAME_BEFORE_WELCOME));
        assert!(!allowed(&manager, MAX_FRAME_BEFORE_WELCOME + 1));
    }
    let (_, manager) = up();
    assert!(allowed(&manager, MAX_CONTROL_FRAME));
    assert!(!allowed(&manager, MAX_CONTROL_FRAME + 1));
}

#[test]
fn an_update_that_is_too_large_is_not_sent_and_blocks_nothing() {
    let (mut agent, _) = up();
    let reason = "x".repeat(MAX_CONTROL_FRAME);
    let event = AgentEvent { seq: 1, at: START, key: None, body: EventBody::Offline { reason } };
    let error = agent.update(START, Update { events: vec![event], ..Update::default() });
    assert!(matches!(error, Err(SessionError::Frame(FrameError::Unsendable { .. }))));
    assert!(agent.is_ready());
}

#[test]
fn bytes_that_are_no_message_end_the_session() {
    let garbage = |kind| Frame { kind, body: b"GET / HTTP/1.1".to_vec() };
    let mut manager = ManagerSession::new(START, HEARTBEAT);
    assert!(matches!(manager.frame(START, &garbage(1)), Err(SessionError::Frame(FrameError::Body { .. }))));
    assert!(matches!(greeting().frame(START, &garbage(65)), Err(SessionError::Frame(FrameError::Body { .. }))));
}

proptest! {
    /// Whatever comes, the manager hands out an update only of one that was welcomed, and never panics.
    #[test]
    fn no_update_before_the_welcome(
        script in prop::collection::vec((any_frame(agent_frames()), any::<bool>(), any::<u64>()), 0..30),
    ) {
        let mut manager = ManagerSession::new(START, HEARTBEAT);
        let mut welcomed = false;
        for (frame, then_welcome, now) in script {
            match manager.frame(UnixMillis(now), &frame) {
                Ok(Some(
                    ManagerEffect::Update(_)
                    | ManagerEffect::Accepted(_)
                    | ManagerEffect::Refused(_)
                    | ManagerEffect::Resync
                    | ManagerEffect::Acted(_)
                    | ManagerEffect::Facts(_),
                )) => {
                    prop_assert!(welcomed);
                }
                Ok(Some(ManagerEffect::Hello(_) | ManagerEffect::Send(_)) | None) => {}
                Err(_) => break,
            }
            // Who just spoke is not silent; one that waits for its welcome may be due to hear that we are there.
            let now = UnixMillis(now);
            let says_so = |manager: &mut ManagerSession| matches!(manager.tick(now), Ok(Some(ManagerEffect::Send(_))));
            prop_assert!(manager.wake_at() >= now || says_so(&mut manager));
            welcomed |= then_welcome && welcome(&mut manager).is_ok();
        }
    }

    /// The same for the agent: nothing is assigned before the welcome.
    #[test]
    fn no_assignment_before_the_welcome(
        script in prop::collection::vec((any_frame(manager_frames()), any::<u64>()), 0..30),
    ) {
        let mut agent = greeting();
        let mut welcomed = false;
        for (frame, now) in script {
            match agent.frame(UnixMillis(now), &frame) {
                Ok(Some(AgentEffect::Up(_))) => welcomed = true,
                Ok(Some(
                    AgentEffect::Assign(_)
                    | AgentEffect::Imports(_)
                    | AgentEffect::Stored(_)
                    | AgentEffect::Released(_)
                    | AgentEffect::Act(_)
                    | AgentEffect::Renew
                    | AgentEffect::Named(_)
                    | AgentEffect::Switches(_),
                )) => {
                    prop_assert!(welcomed);
                }
                Ok(Some(AgentEffect::Send(_)) | None) => {}
                Err(_) => break,
            }
            prop_assert_eq!(agent.is_ready(), welcomed);
        }
    }
}

/// Frames as a peer would send them, the same with their bodies cut, and any bytes at all.
fn any_frame(known: Vec<Frame>) -> impl Strategy<Value = Frame> {
    let kinds: Vec<u8> = known.iter().map(|frame| frame.kind).collect();
    let kind = prop_oneof![prop::sample::select(kinds), any::<u8>()];
    let cut = |(frame, cut): (Frame, prop::sample::Index)| {
        let length = cut.index(frame.body.len() + 1);
        Frame { kind: frame.kind, body: frame.body[..length].to_vec() }
    };
    prop_oneof![
        8 => prop::sample::select(known.clone()),
        1 => (prop::sample::select(known), any::<prop::sample::Index>()).prop_map(cut),
        1 => (kind, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| Frame { kind, body }),
    ]
}

fn agent_frames() -> Vec<Frame> {
    let messages = [
        FromAgent::Update(Update { seq: 1, ..Update::default() }),
        FromAgent::Accepted(AcceptedGeneration { generation: Generation(1) }),
        FromAgent::Heartbeat,
        FromAgent::Unknown(200),
    ];
    messages.iter().map(|message| frame_of(&message.encode().unwrap())).chain([hello(), hello()]).collect()
}

fn manager_frames() -> Vec<Frame> {
    let messages = [
        FromManager::Welcome(a_welcome(PROTOCOL)),
        FromManager::Assign(Assignment::default()),
        FromManager::Imports(ImportsChange::default()),
        FromManager::Ack(Ack { seq: 1, events_stored: 0 }),
        FromManager::Heartbeat,
        FromManager::Goodbye(Goodbye { reason: String::new(), final_: true, renew: false }),
    ];
    messages.iter().map(manager_says).collect()
}

/// An agent that has said hello.
fn greeting() -> AgentSession {
    start().0
}

fn hello() -> Frame {
    of_agent(start().1)
}

fn start() -> (AgentSession, AgentEffect) {
    let hello = Hello {
        protocol: PROTOCOL,
        facts: Facts::default(),
        generation: Generation(0),
        assignment: None,
        imports: None,
    };
    AgentSession::start(START, &hello).unwrap()
}

/// A manager that has heard a hello and not answered yet.
fn greeted() -> ManagerSession {
    let mut manager = ManagerSession::new(START, HEARTBEAT);
    let effect = manager.frame(START, &hello()).unwrap();
    assert!(matches!(effect, Some(ManagerEffect::Hello(_))));
    manager
}

fn up() -> (AgentSession, ManagerSession) {
    let (mut agent, mut manager) = (greeting(), greeted());
    let welcome = of_manager(welcome(&mut manager).unwrap());
    assert_eq!(agent.frame(START, &welcome), Ok(Some(AgentEffect::Up(a_welcome(PROTOCOL)))));
    (agent, manager)
}

fn welcome(manager: &mut ManagerSession) -> Result<ManagerEffect, SessionError> {
    let welcome = a_welcome(PROTOCOL);
    manager.welcome(START, welcome.name, welcome.project, welcome.manager_version, welcome.events_stored)
}

fn a_welcome(protocol: u16) -> Welcome {
    Welcome {
        protocol,
        manager_version: "0.1.0".into(),
        name: "robot-7".parse().unwrap(),
        project: "default".parse().unwrap(),
        heartbeat: HEARTBEAT,
        events_stored: 5,
        ssh_authority: None,
    }
}

fn manager_says(message: &FromManager) -> Frame {
    frame_of(&message.encode().unwrap())
}

fn of_agent(effect: AgentEffect) -> Frame {
    let AgentEffect::Send(bytes) = effect else { panic!("{effect:?} sends nothing") };
    frame_of(&bytes)
}

fn of_manager(effect: ManagerEffect) -> Frame {
    let ManagerEffect::Send(bytes) = effect else { panic!("{effect:?} sends nothing") };
    frame_of(&bytes)
}

fn frame_of(bytes: &[u8]) -> Frame {
    frame::take(&mut bytes.to_vec(), MAX_CONTROL_FRAME).unwrap().expect("a whole frame")
}

const fn before(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - 1)
}
