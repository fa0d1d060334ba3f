//! Peers that must not get in, and peers that talk nonsense.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use robo_agent::dial::Route;
use robo_agent::enroll::{EnrollError, Enrolment, enroll};
use robo_agent::identity::{Enrolled, Identity, key_and_request};
use robo_model::quantity::Millis;
use robo_tests::eventually;
use robo_tests::inside::{Manager, folder};
use robo_wire::api::{Facts, TokenRequest, TokenView};
use robo_wire::link::{FromAgent, Hello, PROTOCOL};
use robo_wire::problem::ErrorCode;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn try_to_enroll(manager: &Manager, folder: &std::path::Path, token: &str) -> Result<Identity, EnrollError> {
    std::fs::create_dir_all(folder).unwrap();
    let enrolment = Enrolment { token: token.to_owned(), ca_pem: None, name: Some("dev".parse().unwrap()) };
    enroll(&Route::direct(manager.address.to_string()), folder, &enrolment, Facts::default()).await
}

fn refusal(result: Result<Identity, EnrollError>) -> ErrorCode {
    match result {
        Err(EnrollError::Refused(problem)) => problem.code,
        Err(other) => panic!("another refusal was expected: {other}"),
        Ok(_) => panic!("a refusal was expected"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_here_and_now() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let other = Manager::start(&folder.path().join("other")).await;
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));

    let token = manager.api.enroll_token("dev").await;
    let wrong = try_to_enroll(&other, &one, &token).await.unwrap_err();
    assert!(matches!(wrong, EnrollError::WrongManager { .. }), "{wrong}");

    let identity = try_to_enroll(&manager, &one, &token).await.unwrap();
    assert_eq!(identity.enrolled.name.as_str(), "dev");
    assert_eq!(refusal(try_to_enroll(&manager, &two, &token).await), ErrorCode::TokenUsed);
    // The same device may ask again: its first answer may have been lost on the way.
    std::fs::remove_file(one.join("identity.json")).unwrap();
    let again = try_to_enroll(&manager, &one, &token).await.unwrap();
    assert_eq!(again.enrolled, identity.enrolled);

    let mut invented = token.clone();
    invented.truncate(token.len() - 4);
    invented.push_str("0000");
    assert_eq!(refusal(try_to_enroll(&manager, &two, &invented).await), ErrorCode::TokenUnknown);

    let request = TokenRequest { lifetime: Some(Millis(1)), ..TokenRequest::default() };
    let short: TokenView =
        manager.api.call(reqwest::Method::POST, "/projects/default/tokens", Some(&request)).await.unwrap();
    let code = eventually("the token has expired", || async {
        Some(refusal(try_to_enroll(&manager, &two, &short.token).await))
    })
    .await;
    assert_eq!(code, ErrorCode::TokenExpired);

    let taken = manager.api.enroll_token("dev").await;
    assert_eq!(refusal(try_to_enroll(&manager, &two, &taken).await), ErrorCode::NameTaken);
    assert!(!two.join("identity.json").exists(), "nothing half-done is left behind");
}

/// Opens a link as `identity` and sends `bytes` on the control stream; gives what came back until the end.
async fn talk(manager: &Manager, identity: &Identity, bytes: &[u8]) -> Vec<u8> {
    use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
    let tls = robo_agent::tls::enrolled(identity, robo_wire::ALPN_LINK).unwrap();
    let socket = robo_agent::dial::dial(&Route::direct(manager.address.to_string()), tls).await.unwrap();
    let mut connection = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
    let stream = std::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap();
    let drive = tokio::spawn(async move {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {}
    });
    let mut stream = stream.compat();
    let mut answer = Vec::new();
    // The manager may hang up at any byte; what counts is that it does, and what it said before.
    if stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok() {
        let read = tokio::time::timeout(robo_tests::PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the manager does not hang up");
    }
    drop(stream);
    drive.abort();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_link_ends_the_link_and_nothing_else() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let token = manager.api.enroll_token("dev").await;
    let identity = try_to_enroll(&manager, &folder.path().join("dev"), &token).await.unwrap();

    let hello = FromAgent::Hello(Hello {
        protocol: PROTOCOL,
        facts: Facts::default(),
        generation: Default::default(),
        assignment: None,
        imports: None,
    });
    let hello = hello.encode().unwrap();
    let heartbeat = FromAgent::Heartbeat.encode().unwrap();
    let huge = [0xff, 0xff, 0xff, 0xff, 1];
    let zero = [0, 0, 0, 0, 1];
    let nested: Vec<u8> = {
        let body = [vec![0x81; 60_000], vec![0]].concat();
        robo_wire::frame::encode(1, &body, 64 * 1024).unwrap()
    };
    for (what, bytes) in [
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a huge frame", huge.to_vec()),
        ("an empty frame", zero.to_vec()),
        ("a heartbeat before the hello", heartbeat),
        ("two hellos", [hello.clone(), hello.clone()].concat()),
        ("deep nesting", nested),
        ("an update that is none", [hello.clone(), vec![0, 0, 0, 3, 2, 0xff, 0xff]].concat()),
    ] {
        talk(&manager, &identity, &bytes).await;
        let health: robo_wire::api::Health =
            manager.api.call::<(), _>(reqwest::Method::GET, "/health", None).await.unwrap();
        assert_eq!(health.version, env!("CARGO_PKG_VERSION"), "after {what}");
    }
    // Half a frame, then silence: the connection ends with its peer.
    let half = &hello[..hello.len() / 2];
    let tls = robo_agent::tls::enrolled(&identity, robo_wire::ALPN_LINK).unwrap();
    let mut socket = robo_agent::dial::dial(&Route::direct(manager.address.to_string()), tls).await.unwrap();
    socket.write_all(half).await.unwrap();
    drop(socket);
    eventually("no link is left", || async {
        let health: robo_wire::api::Health =
            manager.api.call::<(), _>(reqwest::Method::GET, "/health", None).await.unwrap();
        (health.links == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_nothing_is_told() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let pem = std::fs::read_to_string(manager.data.join("ca.pem")).unwrap();
    for token in ["", "rbt1.0000", &"x".repeat(10_000)] {
        let stranger = robo_tests::api::Api::new(manager.address, &pem, token);
        for path in ["/projects/default/devices", "/projects/default/status", "/projects/nobody/status"] {
            let (status, problem) =
                stranger.call::<(), serde_json::Value>(reqwest::Method::GET, path, None).await.unwrap_err();
            assert_eq!((status.as_u16(), problem.code), (401, ErrorCode::Unauthorized), "{path}");
        }
    }
    // A link without a certificate is closed before a byte of it is read.
    let pin = robo_agent::tls::Pin::new(robo_agent::tls::fingerprint_of(&pem).unwrap());
    let tls = robo_agent::tls::pinned(&Arc::clone(&pin), robo_wire::ALPN_LINK).unwrap();
    let mut socket = robo_agent::dial::dial(&Route::direct(manager.address.to_string()), tls).await.unwrap();
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer).await);
    assert!(answer.is_empty());
}

/// Listens as somebody who has a certificate for `name`, from the authority `issuer` or from none.
async fn impostor(name: &str, issuer: Option<&Issuer<'_, KeyPair>>) -> std::net::SocketAddr {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&pair, issuer).unwrap(),
        None => params.self_signed(&pair).unwrap(),
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(robo_manager::tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        drop(tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await);
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_or_of_nobody_is_refused() {
    let folder = folder();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let (key_pem, _) = key_and_request(folder.path()).unwrap();
    let own = CertificateParams::new(vec!["device".to_owned()]).unwrap();
    let certificate_pem = own.signed_by(&KeyPair::from_pem(&key_pem).unwrap(), &issuer).unwrap().pem();
    let enrolled = Enrolled {
        device: "d-1".parse().unwrap(),
        name: "dev".parse().unwrap(),
        project: "default".parse().unwrap(),
        token_hash: None,
    };
    let identity = Identity { enrolled, key_pem, certificate_pem, ca_pem };
    let tls = robo_agent::tls::enrolled(&identity, b"http/1.1").unwrap();
    for (address, refused) in [
        (impostor(robo_wire::SERVER_NAME, Some(&issuer)).await, false),
        (impostor("another-manager", Some(&issuer)).await, true),
        (impostor(robo_wire::SERVER_NAME, None).await, true),
    ] {
        let dialled = robo_agent::dial::dial(&Route::direct(address.to_string()), Arc::clone(&tls)).await;
        assert_eq!(dialled.err().is_some_and(|error| error.is_wrong_authority()), refused, "{address}");
    }
}
