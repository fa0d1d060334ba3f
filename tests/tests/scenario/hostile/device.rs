//! Who has a device's key, and is no agent: stolen keys, lies about others, and words that no agent says.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use reqwest::Method;
use robo_agent::identity::Identity;
use robo_model::spec::Generation;
use robo_model::state::InstanceState;
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Manager, folder};
use robo_tests::peer::{Peer, enrolled, hello};
use robo_wire::api::{EnrollResponse, Health};
use robo_wire::frame::{self, MAX_CONTROL_FRAME, MAX_FRAME_BEFORE_WELCOME};
use robo_wire::link::{AcceptedGeneration, FromAgent, FromManager, Update};
use serde_json::{Value, json};

use super::{as_device, ask, assert_well, audit, device, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_is_worth_nothing_after_its_revocation() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let thief = Peer::welcomed(manager.address, &identity).await;
    assert_eq!(as_device(&manager, &identity, Method::GET, "certificate").await.unwrap(), 200);
    let revoked = json!({"standing": "revoked", "reason": "stolen"});
    ask(&manager, Method::PUT, "/projects/default/devices/one/standing", revoked).await;
    let told = thief.end().await.expect("it is told why");
    assert!(told.final_, "{told:?}");
    let mut again = Peer::dial(manager.address, &identity).await.unwrap();
    again.say(&hello()).await;
    let told = again.end().await.expect("it is told why");
    assert!(told.final_ && told.reason.contains("revoked"), "{told:?}");
    // Nor does it get another certificate, or a file.
    let file = format!("files/{}", "ab".repeat(32));
    for (method, path) in [(Method::POST, "certificate"), (Method::GET, "certificate"), (Method::GET, &file)] {
        assert_eq!(as_device(&manager, &identity, method, path).await.unwrap(), 403, "{path}");
    }
    for verb in ["link", "device"] {
        let line = refusal(&manager, verb).await;
        let text = format!("{} {}", line.thing, line.detail);
        assert!(text.contains(identity.enrolled.device.as_str()), "{line:?}");
    }
    assert!(!device(&manager, "one").await.online);
    assert_well(&manager).await;
}

/// Asks for a certificate that names another device.
async fn enrol_as_another(manager: &Manager, other: &Identity) -> EnrollResponse {
    let mut params = CertificateParams::new(vec![other.enrolled.device.to_string()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, other.enrolled.device.as_str());
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let token = manager.api.enroll_token("three").await;
    let body = json!({"token": token, "certificate_request": request, "name": "one"});
    manager.api.call(Method::POST, "/enroll", Some(&body)).await.unwrap()
}

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Db;
}
Db {
	installer: script;
	exports: ip, port = 1;
}
instance of Machine {
	name: one;
	instance of Db {
		name: db;
	}
}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_device_cannot_speak_for_another_one() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let one = enrolled(&manager, &folder.path().join("one"), "one").await;
    let two = enrolled(&manager, &folder.path().join("two"), "two").await;
    // Another's certificate without its key.
    let borrowed = Identity { certificate_pem: one.certificate_pem.clone(), ..two.clone() };
    let dialled = match Peer::dial(manager.address, &borrowed).await {
        Ok(mut peer) => {
            peer.say(&hello()).await;
            peer.hear().await
        }
        Err(_) => None,
    };
    assert_eq!(dialled, None);
    // A certificate that names another: who it is for says the manager, and the token.
    let third = enrol_as_another(&manager, &one).await;
    assert!(third.name.as_str() == "three" && third.device != one.enrolled.device, "{third:?}");

    // What another runs, it cannot tell of, and cannot have.
    let script = "#!/bin/sh\necho secret\n";
    let packed = Packed::new(GRAPH, &[("Db", "scripts/start.sh", script)]);
    manager.api.apply(&packed).await.unwrap();
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(script));
    assert_eq!(as_device(&manager, &one, Method::GET, &format!("files/{hash}")).await.unwrap(), 200);
    assert_eq!(as_device(&manager, &two, Method::GET, &format!("files/{hash}")).await.unwrap(), 403);
    let line = refusal(&manager, "device").await;
    assert!(line.thing.ends_with(&hash) && line.detail.contains(two.enrolled.device.as_str()), "{line:?}");

    let mut peer = Peer::welcomed(manager.address, &two).await;
    let lie = json!({"seq": 1, "full": true,
        "reports": [{"application": "app", "path": "/one/db", "component": "Db", "state": "DEPLOYED_STARTED", "since": 1,
            "exports": {"Db.ip": "6.6.6.6", "Db.port": "1"}}],
        "events": [{"seq": 1, "at": 1, "key": {"application": "app", "path": "/one/db"},
            "body": {"kind": "state", "from": "STARTING", "to": "DEPLOYED_STARTED"}},
            {"seq": 2, "at": 1, "body": {"kind": "revoked", "by": "admin"}}]});
    let lie: Update = serde_json::from_value(lie).unwrap();
    peer.say(&FromAgent::Update(lie)).await;
    let stored = loop {
        if let FromManager::Ack(ack) = peer.hear().await.expect("the link stays") {
            break ack.seq;
        }
    };
    assert_eq!(stored, 1);
    let status = manager.api.status().await;
    let db = status.instances.iter().find(|instance| instance.path.as_str() == "/one/db").unwrap();
    assert!(db.device.as_str() == "one" && db.state == InstanceState::NotDeployed, "{db:?}");
    for event in manager.api.events().await {
        let text = format!("{} {:?}", event.body, event.path);
        assert!(!text.contains("/one/db") && !text.contains("revoked"), "{event:?}");
    }
    assert_well(&manager).await;
}

async fn links(manager: &Manager) -> u64 {
    manager.api.call::<(), Health>(Method::GET, "/health", None).await.unwrap().links
}

fn frame_of(message: &FromAgent) -> Vec<u8> {
    message.encode().unwrap()
}

fn update(seq: u64) -> Vec<u8> {
    frame_of(&FromAgent::Update(Update { seq, ..Update::default() }))
}

/// Says it all at once after the welcome; why the manager has hung up.
async fn last_words(manager: &Manager, identity: &Identity, words: &[Vec<u8>]) -> String {
    let mut peer = Peer::welcomed(manager.address, identity).await;
    for bytes in words {
        peer.send(bytes).await;
    }
    peer.end().await.map(|goodbye| goodbye.reason).unwrap_or_default()
}

/// As often as it was refused, the audit log says so; the first time in words.
async fn assert_told(manager: Manager, times: u64, device: &Identity) {
    let line = refusal(&manager, "protocol").await;
    assert_eq!(line.thing, format!("device {}", device.enrolled.device));
    eventually("no link is left", || async { (links(&manager).await == 0).then_some(()) }).await;
    assert_well(&manager).await;
    // What was counted is told at the end.
    let data = manager.data.clone();
    manager.stop().await;
    let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let manager = eventually("it is there again", || async { Manager::start_at(&data, any).await.ok() }).await;
    let told = audit(&manager).await;
    let counted: u64 = told.iter().filter(|line| line.verb == "protocol").map(|line| line.times).sum();
    assert_eq!(counted, times, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_are_said_again_or_out_of_order_end_the_link() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let before = manager.api.events().await.len();
    // An update that was stored, once more.
    let mut peer = Peer::welcomed(manager.address, &identity).await;
    peer.send(&update(1)).await;
    while !matches!(peer.hear().await.expect("the link stays"), FromManager::Ack(_)) {}
    peer.send(&update(1)).await;
    let told = peer.end().await.unwrap();
    assert!(told.reason.contains("out of its order") && !told.final_, "{told:?}");
    let accepted =
        |generation| frame_of(&FromAgent::Accepted(AcceptedGeneration { generation: Generation(generation) }));
    let hello = frame_of(&hello());
    let cases = [
        (vec![update(2), update(1)], "out of its order"),
        (vec![update(1), update(2)], "before the one before it was acknowledged"),
        (vec![accepted(7)], "of an assignment that it was not sent"),
        (vec![accepted(u64::MAX)], "the highest there is"),
        (vec![hello], "a hello for the second time"),
    ];
    let times = cases.len() as u64 + 1;
    for (words, why) in cases {
        let told = last_words(&manager, &identity, &words).await;
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(device(&manager, "one").await.generation, Generation::default());
    let events = manager.api.events().await;
    let said: Vec<String> = events.iter().skip(before).map(|event| event.body.to_string()).collect();
    assert!(said.iter().all(|text| text.starts_with("online") || text.starts_with("offline")), "{said:?}");
    assert_told(manager, times, &identity).await;
}

/// The head of a frame that would have so many bytes.
fn head(length: usize) -> Vec<u8> {
    [u32::try_from(length).unwrap().to_be_bytes().to_vec(), vec![2]].concat()
}

/// An update with one event, of which a field that nobody knows nests so deep.
fn nested(levels: usize) -> Vec<u8> {
    let text = |text: &str| [vec![0x60 + u8::try_from(text.len()).unwrap()], text.as_bytes().to_vec()].concat();
    let event = [
        vec![0xa3],
        text("seq"),
        vec![0x01],
        text("at"),
        vec![0x01],
        text("body"),
        vec![0xa2],
        text("x"),
        vec![0x81; levels],
        vec![0x00],
        text("kind"),
        text("forgotten"),
    ]
    .concat();
    let body = [vec![0xa2], text("seq"), vec![0x01], text("events"), vec![0x81], event].concat();
    frame::encode(2, &body, MAX_CONTROL_FRAME).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_deep_ends_the_link_before_and_after_the_welcome() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let deep_hello = frame::encode(1, &[vec![0x81; 60_000], vec![0]].concat(), MAX_FRAME_BEFORE_WELCOME).unwrap();
    let before = [
        (head(MAX_FRAME_BEFORE_WELCOME + 1), "at most 65536 are allowed"),
        (head(0), "an empty frame"),
        (deep_hello, "deeper than 64 levels"),
        (update(1), "before its welcome"),
    ];
    let after = [
        (head(MAX_CONTROL_FRAME + 1), "at most 16777216 are allowed"),
        (nested(100), "deeper than 64 levels"),
        // Enough to use up the stack of whoever follows it to its end.
        (nested(10_000_000), "deeper than 64 levels"),
    ];
    let times = (before.len() + after.len()) as u64;
    for (bytes, why) in before {
        let mut peer = Peer::dial(manager.address, &identity).await.unwrap();
        peer.send(&bytes).await;
        let told = peer.end().await.unwrap().reason;
        assert!(told.contains(why), "{told}");
    }
    for (bytes, why) in after {
        let told = last_words(&manager, &identity, &[bytes]).await;
        assert!(told.contains(why), "{told}");
    }
    // What an agent of ours says nests a little, and is taken.
    let mut peer = Peer::welcomed(manager.address, &identity).await;
    peer.send(&nested(10)).await;
    while !matches!(peer.hear().await.expect("the link stays"), FromManager::Ack(_)) {}
    drop(peer);
    assert_told(manager, times, &identity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_end_and_bytes_that_are_none_harm_nobody_else() {
    use tokio_util::compat::TokioAsyncReadCompatExt as _;
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (identity, other) = (enrolled(&manager, &one, "one").await, enrolled(&manager, &two, "two").await);
    let mut neighbour = Peer::welcomed(manager.address, &other).await;
    let dial = async || {
        let tls = robo_agent::tls::enrolled(&identity, robo_wire::ALPN_LINK).unwrap();
        robo_agent::dial::dial(&robo_agent::dial::Route::direct(manager.address.to_string()), tls).await.unwrap()
    };
    // Streams that nobody asked for, as many as the multiplexer gives; each says something.
    let mut config = yamux::Config::default();
    config.set_max_num_streams(4_096);
    config.set_max_connection_receive_window(None);
    let mut connection = yamux::Connection::new(dial().await.compat(), config, yamux::Mode::Client);
    let mut streams = Vec::new();
    let opened = async {
        for _ in 0..4_000 {
            let next = std::future::poll_fn(|cx| {
                drop(connection.poll_next_inbound(cx));
                connection.poll_new_outbound(cx)
            });
            let Ok(mut stream) = next.await else { return };
            drop(futures_util::AsyncWriteExt::write_all(&mut stream, &[0xff; 64]).await);
            streams.push(stream);
        }
        while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {}
    };
    tokio::time::timeout(robo_tests::PATIENCE, opened).await.expect("the manager ends it");
    // What is no multiplexer at all.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = dial().await;
    drop(socket.write_all(&[0xee; 4_096]).await);
    let mut rest = Vec::new();
    let read = tokio::time::timeout(robo_tests::PATIENCE, socket.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the manager does not hang up");
    let line = refusal(&manager, "protocol").await;
    assert_eq!(line.thing, format!("device {}", identity.enrolled.device));
    // The neighbour's link is the one it was.
    neighbour.say(&FromAgent::Heartbeat).await;
    while !matches!(neighbour.hear().await.expect("the link stays"), FromManager::Heartbeat) {}
    eventually("one link is left", || async { (links(&manager).await == 1).then_some(()) }).await;
    let lines: Vec<Value> = audit(&manager).await.iter().map(|line| json!(line.verb)).collect();
    assert!(lines.len() < 100, "who only knocks fills nothing: {lines:?}");
    assert_well(&manager).await;
}
