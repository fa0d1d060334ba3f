//! Who has no key of ours: wrong authorities, tokens that are none, bytes of others.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use reqwest::Method;
use robo_agent::dial::Route;
use robo_agent::enroll::EnrollError;
use robo_agent::identity::Identity;
use robo_manager::tls::provider;
use robo_model::quantity::Millis;
use robo_tests::eventually;
use robo_tests::inside::{Manager, folder};
use robo_tests::peer::{Peer, enrolled, hello, try_to_enroll};
use robo_wire::api::{MAX_ENROLL_BODY, TokenRequest, TokenView};
use robo_wire::problem::ErrorCode;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{as_device, assert_well, audit, device, refusal};

/// The device's identity, with a certificate for its key from an authority of somebody else.
fn certified_by_another(identity: &Identity) -> Identity {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.enrolled.device.as_str());
    let certificate = params.signed_by(&KeyPair::from_pem(&identity.key_pem).unwrap(), &issuer).unwrap();
    Identity { certificate_pem: certificate.pem(), ..identity.clone() }
}

/// Dials, and waits until the manager has hung up without a word.
async fn gets_no_word(manager: &Manager, identity: &Identity) {
    if let Ok(mut peer) = Peer::dial(manager.address, identity).await {
        peer.say(&hello()).await;
        assert_eq!(peer.hear().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_wrong_authority_gets_no_word() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let before = device(&manager, "one").await;
    let wrong = certified_by_another(&identity);
    gets_no_word(&manager, &wrong).await;
    let line = refusal(&manager, "connect").await;
    assert!(line.thing == "TLS" && line.detail.contains("certificate") && line.who.is_none(), "{line:?}");
    assert!(as_device(&manager, &wrong, Method::GET, "certificate").await.is_err());
    assert_eq!(device(&manager, "one").await, before, "nothing of it is taken");
    assert_well(&manager).await;
}

/// Shows a certificate, whoever's it is, and signs with a key of its own.
#[derive(Debug)]
struct Copied(Arc<CertifiedKey>);

impl ResolvesClientCert for Copied {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_worth_nothing_without_its_key() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let before = device(&manager, "one").await;
    // All that goes over the network, and all that may be read there: the certificate, and not the key.
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()];
    let own = PrivateKeyDer::from_pem_slice(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
    let key = provider().key_provider.load_private_key(own).unwrap();
    let mut tls = Arc::unwrap_or_clone(robo_agent::tls::enrolled(&identity, robo_wire::ALPN_LINK).unwrap());
    tls.client_auth_cert_resolver = Arc::new(Copied(Arc::new(CertifiedKey::new(chain, key))));
    let route = Route::direct(manager.address.to_string());
    // With TLS 1.3 the refusal comes after the client's last word.
    if let Ok(mut socket) = robo_agent::dial::dial(&route, Arc::new(tls)).await {
        let mut word = Vec::new();
        assert!(socket.read_to_end(&mut word).await.is_err() && word.is_empty(), "{word:?}");
    }
    let line = refusal(&manager, "connect").await;
    assert!(line.thing == "TLS" && line.who.is_none(), "{line:?}");
    assert_eq!(device(&manager, "one").await, before, "nothing of it is taken");
    assert_well(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_used_up_or_ended_or_of_elsewhere_lets_nobody_in() {
    let folder = folder();
    let elsewhere = Manager::start(&folder.path().join("elsewhere")).await;
    for (case, code, why) in [
        ("used", ErrorCode::TokenUsed, "used"),
        ("ended", ErrorCode::TokenExpired, "ended at"),
        ("elsewhere", ErrorCode::TokenForeign, "another manager"),
        ("invented", ErrorCode::TokenUnknown, "unknown"),
    ] {
        let manager = Manager::start(&folder.path().join(format!("manager-{case}"))).await;
        let own = manager.api.enroll_token("one").await;
        let (good, dot) = own.rsplit_once('.').unwrap();
        let token = match case {
            "used" => {
                try_to_enroll(&manager, &folder.path().join("first"), &own, None).await.unwrap();
                own.clone()
            }
            "ended" => {
                let request = TokenRequest { lifetime: Some(Millis(1)), ..TokenRequest::default() };
                let path = "/projects/default/tokens";
                let view: TokenView = manager.api.call(Method::POST, path, Some(&request)).await.unwrap();
                view.token
            }
            "elsewhere" => elsewhere.api.enroll_token("one").await,
            _ => format!("{good}.{}", "0".repeat(dot.len())),
        };
        // The agent itself goes to no manager that its token is not of; whoever means ill asks all the same.
        let body = serde_json::json!({"token": token, "certificate_request": "x", "name": "two"});
        let code_of = async || {
            let asked = manager.api.call::<_, serde_json::Value>(Method::POST, "/enroll", Some(&body));
            asked.await.unwrap_err().1.code
        };
        let two = folder.path().join(format!("two-{case}"));
        if case == "elsewhere" {
            assert_eq!(code_of().await, code);
            let wrong = try_to_enroll(&manager, &two, &token, Some("two")).await.unwrap_err();
            assert!(matches!(wrong, EnrollError::WrongManager { .. }), "{wrong}");
        } else {
            let told = eventually("it is refused", || async {
                match try_to_enroll(&manager, &two, &token, Some("two")).await {
                    Err(EnrollError::Refused(problem)) => Some(problem.code),
                    Err(other) => panic!("another refusal was expected: {other}"),
                    // A token that ends in a millisecond may be good for that long.
                    Ok(_) => None,
                }
            })
            .await;
            assert_eq!(told, code, "{case}");
            assert!(!two.join("identity.json").exists() || case == "ended");
        }
        let line = refusal(&manager, "enroll").await;
        assert!(line.detail.contains(why), "{case}: {line:?}");
        assert!(!format!("{:?}", audit(&manager).await).contains(&token), "a token stands in no log");
        assert_well(&manager).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_deep_is_refused_before_anybody_is_known() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let enroll = async |body: Vec<u8>| {
        match manager.api.framed(Method::POST, "/enroll", Some(body.into())).await {
            Err(robo_tests::api::Framed::Problem(problem)) => Some(problem),
            // It hangs up on who goes on talking.
            Err(robo_tests::api::Framed::Unreachable) => None,
            Ok(answer) => panic!("{}", answer.status()),
        }
    };
    let large = [b"{\"token\": \"".to_vec(), vec![b'x'; MAX_ENROLL_BODY * 4], b"\"}".to_vec()].concat();
    let deep = [b"{\"facts\": ".to_vec(), vec![b'['; MAX_ENROLL_BODY / 2]].concat();
    let twisted =
        [b"{\"token\": \"x\", \"certificate_request\": \"".to_vec(), vec![b'-'; 9_999], b"\"}".to_vec()].concat();
    let told = enroll(large).await;
    assert!(told.is_none_or(|problem| problem.code == ErrorCode::TooLarge));
    let line = refusal(&manager, "enroll").await;
    assert!(line.detail.contains("more than 65536 bytes"), "{line:?}");
    assert_eq!(enroll(deep).await.unwrap().code, ErrorCode::BadRequest);
    assert_eq!(enroll(twisted).await.unwrap().code, ErrorCode::TokenUnknown);
    // What is no TLS at all, and what is only its begin.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff], &[0x16; 70_000]] {
        let mut socket = TcpStream::connect(manager.address).await.unwrap();
        drop(socket.write_all(bytes).await);
        drop(socket.shutdown().await);
        let mut answer = Vec::new();
        let read = tokio::time::timeout(robo_tests::PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the manager does not hang up");
    }
    assert_eq!(refusal(&manager, "connect").await.thing, "TLS");
    assert!(manager.api.devices().await.is_empty());
    assert_well(&manager).await;
}

/// Passes bytes on to `to`, and keeps those that the client sent.
async fn listen_in(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut from, mut back) = client.into_split();
        let (mut answers, mut into) = TcpStream::connect(to).await.unwrap().into_split();
        let there = async {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                into.write_all(&buffer[..count]).await.ok();
            }
        };
        let answered = async { tokio::io::copy(&mut answers, &mut back).await.ok() };
        tokio::join!(there, answered);
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_connection_is_worth_nothing_when_it_is_played_again() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let (address, heard) = listen_in(manager.address).await;
    let mut peer = Peer::welcomed(address, &identity).await;
    peer.say(&robo_wire::link::FromAgent::Heartbeat).await;
    peer.hear().await.unwrap();
    let recorded = heard.lock().unwrap().clone();
    drop(peer);
    eventually("the link is down", || async { (!device(&manager, "one").await.online).then_some(()) }).await;
    let before = manager.api.events().await.len();
    let mut socket = TcpStream::connect(manager.address).await.unwrap();
    drop(socket.write_all(&recorded).await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(robo_tests::PATIENCE, socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the manager does not hang up");
    let line = refusal(&manager, "connect").await;
    assert_eq!((line.thing.as_str(), line.who), ("TLS", None));
    assert_eq!(manager.api.events().await.len(), before, "nobody came online");
    assert_well(&manager).await;
}
