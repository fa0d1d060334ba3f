//! The gateway with a real store and devices that are played by the tests, over real sessions and streams.

use std::future::poll_fn;

use robo_model::spec::Generation;
use robo_wire::api::{Facts, Scope, Verb};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{Hello, PROTOCOL};
use robo_wire::session::{AgentEffect, AgentSession, HEARTBEAT, SessionError};
use robo_wire::stream::Verdict;
use robo_wire::switch::{Off, Switches};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;
use crate::store::{EnrollTokenRecord, NewDevice};
use crate::watchman::{SILENT_AFTER, Watchman};

/// Nothing in these tests takes longer, unless it hangs.
const BOUND: Duration = Duration::from_secs(20);

/// Later than any of these tests.
const LATER: UnixMillis = UnixMillis(u64::MAX / 2);

struct Rig {
    gateway: Arc<Gateway>,
    data: tempfile::TempDir,
}

impl Rig {
    /// A gateway whose store knows the devices `one` and `two`.
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        for name in ["one", "two"] {
            let token = EnrollTokenRecord::new(ProjectName::default_project(), LATER);
            store.add_enroll_token(name, &token, UnixMillis(0)).await.unwrap();
            let (id, device, facts) = (name.parse().unwrap(), name.parse().unwrap(), Facts::default());
            let new = NewDevice {
                token: name,
                id: &id,
                name: &device,
                key_fingerprint: name,
                certificate_ends: None,
                facts: &facts,
            };
            store.enroll(&new, UnixMillis(0)).await.unwrap();
        }
        let gateway = Gateway::new(store, Bus::default(), HEARTBEAT, Renewal { lifetime: Millis(u64::MAX / 2) });
        tokio::spawn(Arc::clone(&gateway).pass_on());
        // The bus keeps nothing for those who do not listen yet.
        until(async || gateway.desk.bus.has_listeners()).await;
        Self { gateway, data }
    }

    /// A device that has said hello.
    async fn dial(&self, name: &str, key: &str) -> Agent {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let gateway = Arc::clone(&self.gateway);
        let peer = Peer { device: name.parse().unwrap(), key_fingerprint: key.to_owned(), certificate_ends: LATER };
        tokio::spawn(async move { gateway.serve(theirs, &peer, &CancellationToken::new()).await });
        Agent::new(ours).await
    }

    async fn up(&self, name: &str) -> Agent {
        let mut agent = self.dial(name, name).await;
        assert!(matches!(agent.next().await, Ok(AgentEffect::Up(_))));
        agent
    }

    fn act(&self, devices: &[&str]) -> tokio::task::JoinHandle<Vec<String>> {
        let target = |name: &&str| ActTarget {
            device: name.parse().unwrap(),
            verb: Verb::Retry,
            scope: Scope::default(),
            by: "admin".to_owned(),
        };
        let (gateway, targets) = (Arc::clone(&self.gateway), devices.iter().map(target).collect());
        tokio::spawn(
            async move { gateway.act(targets).await.iter().map(|judged| judged.verdict.to_string()).collect() },
        )
    }

    async fn is_online(&self, name: &str) -> bool {
        self.gateway.desk.store.device(&name.parse().unwrap()).await.unwrap().unwrap().online
    }
}

async fn until(mut there: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !there().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.unwrap();
}

struct Agent {
    session: AgentSession,
    stream: Compat<yamux::Stream>,
    buffer: Vec<u8>,
    driver: tokio::task::JoinHandle<()>,
}

impl Agent {
    async fn new(socket: DuplexStream) -> Self {
        let mut connection = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
        let stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap();
        let driver =
            tokio::spawn(
                async move { while let Some(Ok(_)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {} },
            );
        let (generation, facts) = (Generation(0), Facts::default());
        let hello = Hello { protocol: PROTOCOL, facts, generation, assignment: None, imports: None };
        let (session, first) = AgentSession::start(uptime(), &hello).unwrap();
        let mut agent = Self { session, stream: stream.compat(), buffer: Vec::new(), driver };
        agent.send(first).await;
        agent
    }

    async fn send(&mut self, effect: AgentEffect) {
        let AgentEffect::Send(bytes) = effect else { panic!("{effect:?} sends nothing") };
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn next(&mut self) -> Result<AgentEffect, SessionError> {
        let read = async {
            loop {
                while let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME).unwrap() {
                    if let Some(effect) = self.session.frame(uptime(), &frame)? {
                        return Ok(effect);
                    }
                }
                assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "hung up without a word");
            }
        };
        tokio::time::timeout(BOUND, read).await.unwrap()
    }

    /// What the manager says next but what is said of imports after each hello.
    async fn said(&mut self) -> Result<AgentEffect, SessionError> {
        loop {
            let effect = self.next().await?;
            let AgentEffect::Imports(change) = effect else { return Ok(effect) };
            assert!(change.full && change.providers.is_empty());
        }
    }

    async fn goodbye(&mut self) -> (String, bool) {
        match self.said().await {
            Err(SessionError::Goodbye { reason, final_, .. }) => (reason, final_),
            other => panic!("no goodbye but {other:?}"),
        }
    }
}

#[tokio::test]
async fn acts_are_answered_once_by_each() {
    let rig = Rig::start().await;
    let mut one = rig.up("one").await;
    let mut two = rig.up("two").await;
    let verdicts = rig.act(&["one", "nobody", "two"]);
    let Ok(AgentEffect::Act(act)) = one.said().await else { panic!("no act") };
    assert_eq!((act.verb, act.by.as_str()), (Verb::Retry, "admin"));
    let Ok(AgentEffect::Act(other)) = two.said().await else { panic!("no act") };
    // Nobody answers for another.
    for id in [other.id, act.id, act.id] {
        let effect = one.session.acted(uptime(), Acted { id, instances: Vec::new() }).unwrap();
        one.send(effect).await;
    }
    two.driver.abort();
    drop(two);
    let verdicts = verdicts.await.unwrap();
    assert_eq!(verdicts[..2], ["ok".to_owned(), Verdict::Offline.to_string()]);
    assert!(verdicts[2].starts_with("lost: "), "{verdicts:?}");
}

#[tokio::test]
async fn who_dials_again_takes_the_place_and_stays_online() {
    let rig = Rig::start().await;
    let mut old = rig.up("one").await;
    let mut new = rig.up("one").await;
    assert_eq!(old.goodbye().await, ("the device dialled again".to_owned(), false));
    let answered = rig.act(&["one"]);
    let Ok(AgentEffect::Act(act)) = new.said().await else { panic!("no act") };
    let effect = new.session.acted(uptime(), Acted { id: act.id, instances: Vec::new() }).unwrap();
    new.send(effect).await;
    assert_eq!(answered.await.unwrap(), ["ok"]);
    assert!(rig.is_online("one").await);
    new.driver.abort();
    drop(new);
    until(async || !rig.is_online("one").await).await;
    // It leaves the registry only after the store knows that it is gone.
    until(async || rig.gateway.count() == 0).await;
}

#[tokio::test]
async fn who_counts_as_connected_and_is_not_is_found() {
    let rig = Rig::start().await;
    let _one = rig.up("one").await;
    let store = rig.gateway.desk.store.clone();
    // As if the end of its link could not be noted.
    store.device_online(&"two".parse().unwrap(), &Facts::default(), now()).await.unwrap();
    let watchman = Watchman {
        files: crate::files::Files::open(rig.data.path()).unwrap(),
        store,
        bus: rig.gateway.desk.bus.clone(),
        links: Arc::clone(&rig.gateway) as Arc<dyn Links>,
        silent_after: SILENT_AFTER,
    };
    let watching = tokio::spawn(watchman.run());
    until(async || !rig.is_online("two").await).await;
    assert!(rig.is_online("one").await);
    watching.abort();
}

#[tokio::test]
async fn the_link_of_the_old_machine_ends_when_the_device_is_enrolled_again() {
    let rig = Rig::start().await;
    let mut old = rig.up("one").await;
    let store = &rig.gateway.desk.store;
    let token = EnrollTokenRecord {
        name: Some("one".parse().unwrap()),
        replace: true,
        ..EnrollTokenRecord::new(ProjectName::default_project(), LATER)
    };
    store.add_enroll_token("again", &token, UnixMillis(0)).await.unwrap();
    let (id, name, facts) = ("one".parse().unwrap(), "one".parse().unwrap(), Facts::default());
    let new = NewDevice {
        token: "again",
        id: &id,
        name: &name,
        key_fingerprint: "new",
        certificate_ends: None,
        facts: &facts,
    };
    store.enroll(&new, UnixMillis(0)).await.unwrap();
    rig.gateway.desk.bus.ring(Ring::Identity(id));
    assert!(old.goodbye().await.1);
}

#[tokio::test]
async fn who_was_removed_is_told_for_good() {
    let rig = Rig::start().await;
    let mut agent = rig.up("one").await;
    rig.gateway.desk.bus.ring(Ring::Removed("one".parse().unwrap()));
    let (reason, is_final) = agent.goodbye().await;
    assert!(is_final && reason.contains("removed"), "{reason}");
    for (device, key) in [("stranger", "stranger"), ("two", "stolen")] {
        let mut agent = rig.dial(device, key).await;
        assert!(agent.goodbye().await.1, "{device}");
    }
    assert!(!rig.is_online("two").await);
}

#[tokio::test]
async fn what_is_off_is_not_opened_whatever_the_agent_does() {
    let rig = Rig::start().await;
    let (store, id): (_, DeviceId) = (&rig.gateway.desk.store, "one".parse().unwrap());
    let off = |names: &[&str]| {
        let off = Off { by: "ann".into(), at: UnixMillis(1_769_867_100_000) };
        Switches { off: names.iter().map(|name| ((*name).to_owned(), off.clone())).collect() }
    };
    let set = async |switches: Switches| {
        let project = ProjectName::default_project();
        store.set_switches(&project, &[(id.clone(), switches)], "ann", UnixMillis(1)).await.unwrap();
        rig.gateway.desk.bus.ring(Ring::Identity(id.clone()));
    };
    let collect = || Open::Collect(robo_wire::collect::CollectOpen::default());
    let health = || Open::Health(robo_wire::health::HealthOpen {});
    // Before it dialled, and while it is there.
    set(off(&["collect"])).await;
    let mut agent = rig.up("one").await;
    assert!(matches!(agent.said().await, Ok(AgentEffect::Switches(told)) if told == off(&["collect"])));
    let refused = rig.gateway.open(&id, collect()).await.err();
    let reason = "`collect` is switched off on this device: by ann, at 2026-01-31 13:45:00 UTC";
    assert_eq!(refused, Some(OpenError::Off(reason.to_owned())));
    assert!(rig.gateway.open(&id, health()).await.is_ok(), "how it is can be seen");
    set(off(&["logs"])).await;
    assert!(matches!(agent.said().await, Ok(AgentEffect::Switches(told)) if told == off(&["logs"])));
    until(async || rig.gateway.open(&id, collect()).await.is_ok()).await;
    set(Switches::default()).await;
    assert!(matches!(agent.said().await, Ok(AgentEffect::Switches(told)) if told == Switches::default()));
}
