//! Who comes in crowds, and says nothing or half a word.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::Method;
use robo_tests::PATIENCE;
use robo_tests::inside::{Manager, folder};
use robo_tests::peer::{Peer, enrolled};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::assert_well;

/// Many more than could once be in a handshake at a time.
const CROWD: usize = 2_000;

/// Where somebody comes from who is not of the crowd: all of 127.0.0.0/8 is this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Within this time a peer that takes all takes it.
const SOON: Duration = Duration::from_millis(200);

async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Speaks TLS until a connection is secured.
async fn secured(manager: &Manager, socket: TcpStream) -> TlsStream<TcpStream> {
    let pem = std::fs::read_to_string(manager.data.join("ca.pem")).unwrap();
    let tls = robo_tests::api::trusting(&pem);
    let name = rustls_pki_types::ServerName::try_from(robo_wire::SERVER_NAME).unwrap();
    let connecting = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, socket);
    timeout(PATIENCE, connecting).await.expect("in time").expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_half_a_word_keeps_nobody_out() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let mut crowd = Vec::with_capacity(CROWD);
    for number in 0..CROWD {
        let mut socket = connect_from(Ipv4Addr::LOCALHOST, manager.address).await;
        // Every other one is silent; the rest begin a handshake that they never end.
        if number % 2 == 0 {
            socket.write_all(&[0x16, 3, 1, 2]).await.unwrap();
        }
        crowd.push(socket);
    }
    // From elsewhere, and from the crowd's own address: a person, and a device.
    secured(&manager, connect_from(ELSEWHERE, manager.address).await).await;
    secured(&manager, connect_from(Ipv4Addr::LOCALHOST, manager.address).await).await;
    let peer = timeout(PATIENCE, Peer::welcomed(manager.address, &identity)).await.expect("in time");
    let devices: serde_json::Value =
        manager.api.call::<(), _>(Method::GET, "/projects/default/devices", None).await.unwrap();
    assert_eq!(devices.as_array().map(Vec::len), Some(1));
    assert_eq!(crowd.len(), CROWD);
    drop((crowd, peer));
    assert_well(&manager).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_and_sends_without_end_holds_up_nobody() {
    const SLOW: usize = 64;
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let identity = enrolled(&manager, &folder.path().join("one"), "one").await;
    let ask = "GET /v1/openapi.json HTTP/1.1\r\nhost: robo\r\n\r\n";
    let begin = "POST /v1/enroll HTTP/1.1\r\nhost: robo\r\ncontent-length: 60000\r\n\r\n{";
    let mut slow = Vec::with_capacity(SLOW);
    for number in 0..SLOW {
        let mut stream = secured(&manager, connect_from(Ipv4Addr::LOCALHOST, manager.address).await).await;
        // As many questions as are taken, and no answer is read; or a request of which the rest never comes.
        let words = if number % 2 == 0 { ask.repeat(1_000) } else { begin.to_owned() };
        let sent = timeout(SOON, async { stream.write_all(words.as_bytes()).await.and(stream.flush().await) }).await;
        assert!(number % 2 == 0 || matches!(sent, Ok(Ok(()))));
        slow.push(stream);
    }
    let peer = timeout(PATIENCE, Peer::welcomed(manager.address, &identity)).await.expect("in time");
    assert_eq!(manager.api.devices().await.len(), 1);
    drop((slow, peer));
    assert_well(&manager).await;
}
