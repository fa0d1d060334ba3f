//! A device that reaches its manager only through a proxy, to which it speaks by TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use robo_agent::dial::Route;
use robo_agent::proxy::{Proxy, SettingError, Variables};
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::until_as_wished;

/// The manager as devices know it. Only the proxy finds it.
const MANAGER: &str = "manager.example:7626";

/// me:secret, in base64.
const AUTHORIZATION: &str = "Basic bWU6c2VjcmV0";

/// A proxy with a certificate of its own authority.
struct HttpsProxy {
    address: SocketAddr,
    ca_pem: String,
    asked: Arc<Mutex<Vec<String>>>,
    opened: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl HttpsProxy {
    async fn start(to: SocketAddr) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, opened) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (asks, opens) = (Arc::clone(&asked), Arc::clone(&opened));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, asks, opens) = (acceptor.clone(), Arc::clone(&asks), Arc::clone(&opens));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, to, &asks, &opens).await;
                    }
                });
            }
        });
        Self { address, ca_pem: issued.cert.pem(), asked, opened, task }
    }

    fn seen_by(&self, user: &str, ca: &str) -> Result<Option<Proxy>, SettingError> {
        let url = format!("https://{user}@localhost:{}", self.address.port());
        Variables::read(|name| (name == "https_proxy").then(|| url.clone())).proxy_for(MANAGER, Some(ca))
    }
}

impl Drop for HttpsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    to: SocketAddr,
    asks: &Mutex<Vec<String>>,
    opens: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let knows = head.contains(&format!("proxy-authorization: {AUTHORIZATION}\r\n"));
    asks.lock().unwrap().push(head.lines().next().unwrap().to_owned());
    if !knows {
        drop(stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await);
        return;
    }
    let mut manager = TcpStream::connect(to).await.unwrap();
    opens.fetch_add(1, Ordering::SeqCst);
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut stream, &mut manager).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_device_says_goes_through_its_proxy() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let proxy = HttpsProxy::start(manager.address).await;
    let seen = proxy.seen_by("me:secret", &proxy.ca_pem).unwrap();
    let route = Route { manager: MANAGER.to_owned(), proxy: seen };
    let agent = Agent::start_on(route, &manager, folder.path(), "a").await;
    eventually("the device is online", || async { manager.api.devices().await.iter().any(|d| d.online).then_some(()) })
        .await;
    let graph = "application app {\n\tversion: 1.0.0;\n}\nMachine {\n\tinstaller: target;\n\tchildren: Job;\n}\n\
                 Job {\n\tinstaller: script;\n}\n\
                 instance of Machine {\n\tname: a;\n\tinstance of Job {\n\t\tname: job;\n\t}\n}\n";
    let script = "#!/bin/sh\nexit 0\n";
    manager
        .api
        .apply(&Packed::new(graph, &[("Job", "scripts/start.sh", script), ("Job", "scripts/deploy.sh", script)]))
        .await
        .unwrap();
    until_as_wished(&manager).await;
    // Enrolment, link, and the two files.
    assert!(proxy.opened.load(Ordering::SeqCst) >= 3);
    let asked = proxy.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|line| line == "CONNECT manager.example:7626 HTTP/1.1"), "{asked:?}");
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_another_or_does_not_know_us_is_told() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let (proxy, other) = (HttpsProxy::start(manager.address).await, HttpsProxy::start(manager.address).await);
    let pin = robo_agent::tls::Pin::new("00".repeat(32));
    let tls = robo_agent::tls::pinned(&pin, b"http/1.1").unwrap();
    let route = Route { manager: MANAGER.to_owned(), proxy: proxy.seen_by("me:secret", &proxy.ca_pem).unwrap() };
    let other_manager = robo_agent::dial::dial(&route, Arc::clone(&tls)).await.unwrap_err();
    assert!(other_manager.is_wrong_authority(), "{other_manager}");
    let shown = format!("the proxy https://localhost:{}", proxy.address.port());
    for (user, ca, expect) in [
        ("me:wrong", &proxy.ca_pem, "user and a password (407)"),
        ("me:secret", &other.ca_pem, "no secure connection to it"),
    ] {
        let route = Route { manager: MANAGER.to_owned(), proxy: proxy.seen_by(user, ca).unwrap() };
        let error = eventually("a refusal", || async { robo_agent::dial::dial(&route, Arc::clone(&tls)).await.err() })
            .await
            .to_string();
        assert!(error.contains(expect) && error.contains(&shown), "{error}");
        assert!(!error.contains("secret") && !error.contains("wrong"), "{error}");
    }
}
