//! Who comes in crowds, and says nothing or half a word.

use std::net::{Ipv4Addr, SocketAddr};

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
