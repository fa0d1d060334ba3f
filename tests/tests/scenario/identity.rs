//! Who may connect: keys that are renewed and revoked, devices that are let in and shut out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use reqwest::Method;
use robo_agent::dial::Route;
use robo_agent::identity::Identity;
use robo_model::quantity::Millis;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_wire::api::{
    DeviceChange, DeviceState, DeviceView, EnrollTokenView, Standing, StandingRequest, TokenRequest, TokenView,
};
use robo_wire::event::EventBody;
use robo_wire::frame;
use robo_wire::link::{FromManager, Goodbye};
use tokio::io::AsyncReadExt as _;

const ADDRESS: &str = "127.0.0.2";

async fn manager_with(data: &Path, lifetime: Millis) -> Manager {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Manager::config(data, any);
    config.device_lifetime = lifetime;
    Manager::start_with(config).await.unwrap()
}

async fn device(manager: &Manager, name: &str) -> Option<DeviceView> {
    manager.api.devices().await.into_iter().find(|device| device.name.as_str() == name)
}

async fn until_online(manager: &Manager, name: &str) -> DeviceView {
    eventually("it is online", || async { device(manager, name).await.filter(|device| device.online) }).await
}

async fn set_standing(manager: &Manager, name: &str, standing: Standing, reason: &str) -> DeviceView {
    let path = format!("/projects/default/devices/{name}/standing");
    let request = StandingRequest { standing, reason: reason.to_owned() };
    manager.api.call(Method::PUT, &path, Some(&request)).await.unwrap()
}

async fn rotate(manager: &Manager, name: &str) {
    let path = format!("/projects/default/devices/{name}/rotate-key");
    manager.api.call::<(), DeviceView>(Method::POST, &path, None).await.unwrap();
}

async fn token(manager: &Manager, request: TokenRequest) -> TokenView {
    manager.api.call(Method::POST, "/projects/default/tokens", Some(&request)).await.unwrap()
}

/// How often that happened to anybody.
async fn count(manager: &Manager, is_it: impl Fn(&EventBody) -> bool) -> usize {
    manager.api.events().await.iter().filter(|event| is_it(&event.body)).count()
}

/// What a manager tells whoever dials with this identity and is not served.
async fn goodbye(manager: &Manager, identity: &Identity) -> Goodbye {
    use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
    let tls = robo_agent::tls::enrolled(identity, robo_wire::ALPN_LINK).unwrap();
    let socket = robo_agent::dial::dial(&Route::direct(manager.address.to_string()), tls).await.unwrap();
    let mut connection = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
    let stream = std::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap();
    let drive = tokio::spawn(async move {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {}
    });
    let mut stream = stream.compat();
    // A stream is known to the other side with its first bytes.
    let hello = robo_wire::link::FromAgent::Heartbeat.encode().unwrap();
    drop(tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(robo_tests::PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the manager does not hang up");
    drive.abort();
    let frame = frame::take(&mut answer, frame::MAX_CONTROL_FRAME).unwrap().expect("it says why");
    let FromManager::Goodbye(goodbye) = FromManager::decode(&frame).unwrap() else { panic!("it says something else") };
    goodbye
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_renewed_before_its_end_and_the_link_stays_up() {
    let folder = folder();
    let manager = manager_with(&folder.path().join("manager"), Millis::from_secs(6)).await;
    let agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    let first = until_online(&manager, "robot").await;
    let stolen = Identity::load(&agent.state.join("identity")).unwrap().unwrap();
    eventually("it has its third key", || async {
        (count(&manager, |body| matches!(body, EventBody::KeyRotated { .. })).await >= 2).then_some(())
    })
    .await;
    let now = until_online(&manager, "robot").await;
    assert_ne!(now.key_fingerprint, first.key_fingerprint);
    assert!(now.certificate_ends > first.certificate_ends);
    let (online, offline) = (EventBody::Online, |body: &EventBody| matches!(body, EventBody::Offline { .. }));
    assert_eq!((count(&manager, |body| *body == online).await, count(&manager, offline).await), (1, 0));
    let told = goodbye(&manager, &stolen).await;
    assert!(told.final_ && told.reason.contains("another key"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_past_the_end_of_its_certificate_comes_back_by_itself() {
    let folder = folder();
    let data = folder.path().join("manager");
    let manager = manager_with(&data, Millis::from_secs(2)).await;
    let mut agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    let before = until_online(&manager, "robot").await;
    agent.crash().await;
    let asleep = eventually("it is offline", || async { device(&manager, "robot").await.filter(|d| !d.online) }).await;
    let identity = Identity::load(&agent.state.join("identity")).unwrap().unwrap();
    let told = eventually("its certificate has ended", || async {
        let told = goodbye(&manager, &identity).await;
        told.renew.then_some(told)
    })
    .await;
    assert!(!told.final_ && told.reason.contains("ended"), "{told:?}");
    assert!(asleep.certificate_ends.is_some());
    agent.resume(&manager, None, ADDRESS);
    let back = until_online(&manager, "robot").await;
    assert_ne!(back.key_fingerprint, before.key_fingerprint);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_a_new_key_at_once_or_when_the_device_comes() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    let keys = async |before: &DeviceView| {
        eventually("it has a new key", || async {
            device(&manager, "robot").await.filter(|now| now.key_fingerprint != before.key_fingerprint)
        })
        .await
    };
    let first = until_online(&manager, "robot").await;
    rotate(&manager, "robot").await;
    let second = keys(&first).await;
    assert!(second.online);
    agent.crash().await;
    eventually("it is offline", || async { device(&manager, "robot").await.filter(|d| !d.online) }).await;
    rotate(&manager, "robot").await;
    agent.resume(&manager, None, ADDRESS);
    keys(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_shut_out_is_cut_off_at_once_and_may_be_let_back_in() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    until_online(&manager, "robot").await;
    let shut_out = set_standing(&manager, "robot", Standing::Revoked, "stolen in Osaka").await;
    assert_eq!(shut_out.standing, Standing::Revoked);
    let gone = eventually("its link is cut", || async { device(&manager, "robot").await.filter(|d| !d.online) }).await;
    assert_eq!(gone.reason, "stolen in Osaka");
    let identity = Identity::load(&agent.state.join("identity")).unwrap().unwrap();
    let told = goodbye(&manager, &identity).await;
    assert!(told.final_ && told.reason.contains("stolen in Osaka"), "{told:?}");
    let refused = manager.api.call::<(), DeviceView>(Method::POST, "/projects/default/devices/robot/rotate-key", None);
    let (status, problem) = refused.await.unwrap_err();
    assert_eq!((status.as_u16(), problem.title.contains("revoked")), (409, true), "{problem:?}");

    set_standing(&manager, "robot", Standing::Accepted, "").await;
    let back = until_online(&manager, "robot").await;
    assert_eq!((back.reason.as_str(), back.key_fingerprint), ("", shut_out.key_fingerprint));
    let told: Vec<String> = manager.api.events().await.iter().map(|event| event.body.to_string()).collect();
    assert!(told.contains(&"its key was revoked by admin: stolen in Osaka".to_owned()), "{told:?}");
    assert!(told.contains(&"let in by admin".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_all_of_a_device_and_each_state_since_when() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    let online = until_online(&manager, "robot").await;
    assert_eq!((online.state, online.reason.as_str()), (DeviceState::Online, ""));
    assert!(online.since >= Some(online.enrolled_at) && online.last_seen >= online.since, "{online:?}");
    let facts = &online.facts;
    assert!(facts.cores > 0 && facts.memory > 0 && facts.disk > 0, "{facts:?}");
    assert!(facts.interfaces.iter().any(|interface| interface.name == "lo"), "{facts:?}");

    agent.crash().await;
    let offline = eventually("it is offline", || async { device(&manager, "robot").await.filter(|d| !d.online) }).await;
    assert_eq!(offline.state, DeviceState::Offline);
    assert!(!offline.reason.is_empty() && offline.since > online.since, "{offline:?}");
    assert!(offline.last_seen <= offline.since, "it was seen until then: {offline:?}");
    let shut_out = set_standing(&manager, "robot", Standing::Revoked, "lost").await;
    assert_eq!((shut_out.state, shut_out.reason.as_str()), (DeviceState::Revoked, "lost"));
    assert!(shut_out.since >= offline.since);
    set_standing(&manager, "robot", Standing::Accepted, "").await;
    agent.resume(&manager, None, ADDRESS);
    let back = until_online(&manager, "robot").await;
    assert_eq!((back.state, back.id, back.enrolled_at), (DeviceState::Online, online.id, online.enrolled_at));
    let events = manager.api.events().await;
    let told: Vec<&EventBody> = events.iter().map(|event| &event.body).collect();
    let kinds = told.iter().map(|body| body.to_string()).collect::<Vec<_>>().join("\n");
    let order = ["enrolled", "online", "offline: ", "revoked by admin: lost", "let in by admin", "online"];
    let mut rest = kinds.as_str();
    for expect in order {
        (_, rest) = rest.split_once(expect).unwrap_or_else(|| panic!("no `{expect}` in its place: {kinds}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_many_lets_in_so_many_and_each_waits_for_an_operator() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let request = TokenRequest { uses: Some(2), approve: true, ..TokenRequest::default() };
    let token = token(&manager, request).await;
    let mut agents = Vec::new();
    for name in ["robot-1", "robot-2", "robot-3"] {
        let folder = folder.path().join(name).join("identity");
        std::fs::create_dir_all(&folder).unwrap();
        let enrolment = robo_agent::enroll::Enrolment {
            token: token.token.clone(),
            ca_pem: None,
            name: Some(name.parse().unwrap()),
        };
        let at = Route::direct(manager.address.to_string());
        agents.push(robo_agent::enroll::enroll(&at, &folder, &enrolment, Default::default()).await);
    }
    assert_eq!(agents.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    let listed: Vec<EnrollTokenView> =
        manager.api.call::<(), _>(Method::GET, "/projects/default/tokens", None).await.unwrap();
    let seen: Vec<_> = listed.iter().map(|t| (t.id.as_str(), t.used, t.uses, t.created_by.as_str())).collect();
    assert_eq!(seen, [(token.id.as_str(), 2, 2, "admin")]);

    let waiting = device(&manager, "robot-1").await.unwrap();
    assert_eq!((waiting.standing, waiting.online), (Standing::Pending, false));
    assert_eq!((waiting.state, waiting.enrolled_by.as_str()), (DeviceState::Pending, "admin"));
    let told = goodbye(&manager, agents[0].as_ref().unwrap()).await;
    assert!(!told.final_ && told.reason.contains("robo device accept robot-1"), "{told:?}");
    let agent = Agent::on(&folder.path().join("robot-1"), &manager, None, ADDRESS);
    assert_eq!(device(&manager, "robot-1").await.unwrap().last_seen, None, "nothing of it is taken");
    set_standing(&manager, "robot-1", Standing::Accepted, "").await;
    until_online(&manager, "robot-1").await;
    drop(agent);

    // The other one is none of ours: it is told apart from one that was.
    let rejected = set_standing(&manager, "robot-2", Standing::Revoked, "unknown").await;
    assert_eq!((rejected.state, rejected.reason.as_str()), (DeviceState::Rejected, "unknown"));
    let told: Vec<String> = manager.api.events().await.iter().map(|event| event.body.to_string()).collect();
    assert!(told.contains(&"not let in by admin: unknown".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_shut_out_enrols_anew_and_keeps_its_labels() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "robot", ADDRESS).await;
    let first = until_online(&manager, "robot").await;
    let change = DeviceChange { set: [("site".to_owned(), "tokyo".to_owned())].into(), unset: Vec::new() };
    let path = "/projects/default/devices/robot";
    manager.api.call::<_, DeviceView>(Method::PATCH, path, Some(&change)).await.unwrap();
    set_standing(&manager, "robot", Standing::Revoked, "").await;
    agent.crash().await;

    // A token that is no good changes nothing.
    agent.resume(&manager, Some(format!("rbe1.{}.guess", "ab".repeat(32))), ADDRESS);
    agent.crash().await;
    let request = TokenRequest { name: Some("robot".parse().unwrap()), replace: true, ..TokenRequest::default() };
    let again = token(&manager, request).await;
    agent.resume(&manager, Some(again.token.clone()), ADDRESS);
    let back = until_online(&manager, "robot").await;
    assert_eq!((back.id, &back.labels["site"]), (first.id, &"tokyo".to_owned()));
    assert_ne!(back.key_fingerprint, first.key_fingerprint);
    // The token is used up, and still stands in the service's file: nothing happens.
    agent.crash().await;
    eventually("it is offline", || async { device(&manager, "robot").await.filter(|d| !d.online) }).await;
    agent.resume(&manager, Some(again.token), ADDRESS);
    assert_eq!(until_online(&manager, "robot").await.key_fingerprint, back.key_fingerprint);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_change_nothing() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let post = async |request: TokenRequest| {
        manager.api.call::<_, TokenView>(Method::POST, "/projects/default/tokens", Some(&request)).await.err()
    };
    let named = TokenRequest { name: Some("robot".parse().unwrap()), ..TokenRequest::default() };
    for (request, expect) in [
        (TokenRequest { uses: Some(0), ..TokenRequest::default() }, "1 to 10000 devices, not 0"),
        (TokenRequest { uses: Some(10_001), ..TokenRequest::default() }, "not 10001"),
        (TokenRequest { uses: Some(2), ..named }, "cannot all be called `robot`"),
    ] {
        let (status, problem) = post(request).await.expect("a refusal");
        assert_eq!((status.as_u16(), problem.title.contains(expect)), (400, true), "{problem:?}");
    }
    let gone = manager.api.call::<(), EnrollTokenView>(Method::DELETE, "/projects/default/tokens/0a1b", None).await;
    assert_eq!(gone.unwrap_err().0.as_u16(), 404);
    let path = "/projects/default/devices/nobody/standing";
    let request = StandingRequest { standing: Standing::Revoked, reason: String::new() };
    assert_eq!(manager.api.call::<_, DeviceView>(Method::PUT, path, Some(&request)).await.unwrap_err().0.as_u16(), 404);
    for (standing, reason) in [(Standing::Pending, String::new()), (Standing::Revoked, "x".repeat(501))] {
        let request = StandingRequest { standing, reason };
        let refused = manager.api.call::<_, DeviceView>(Method::PUT, path, Some(&request)).await;
        assert_eq!(refused.unwrap_err().0.as_u16(), 400);
    }
    let token = token(&manager, TokenRequest::default()).await;
    let path = format!("/projects/default/tokens/{}", token.id);
    manager.api.call::<(), EnrollTokenView>(Method::DELETE, &path, None).await.unwrap();
    let at = Route::direct(manager.address.to_string());
    let enrolment =
        robo_agent::enroll::Enrolment { token: token.token, ca_pem: None, name: Some("robot".parse().unwrap()) };
    let refused = robo_agent::enroll::enroll(&at, folder.path(), &enrolment, Default::default()).await;
    assert!(refused.unwrap_err().to_string().contains("unknown"), "a revoked token is none");
}
