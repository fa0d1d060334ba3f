//! The keys of links: of each connection alone, and renewed while it is there.

use std::time::Duration;

use robo_agent::identity::{Enrolled, Identity, key_and_request};
use robo_agent::link::rotate as at_agent;
use robo_manager::ca::Ca;
use robo_manager::gateway::rotate as at_manager;
use robo_manager::tls::server_config;
use robo_tests::inside::folder;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// So many pieces are sent each way.
const PIECES: usize = 200;

/// Bytes of a piece: more than one record of TLS.
const PIECE: usize = 40_000;

type Ends = (at_agent::Rotating<DuplexStream>, at_manager::Rotating<DuplexStream>);

/// A link's connection between a device of this name and a manager, whose keys live so long.
async fn connection(ca: &Ca, below: &std::path::Path, name: &str, live: Duration) -> Ends {
    let folder = below.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (key_pem, request) = key_and_request(&folder).unwrap();
    let device = name.parse().unwrap();
    let certificate_pem = ca.sign_device(&device, &request).unwrap().certificate_pem;
    let enrolled =
        Enrolled { device, name: name.parse().unwrap(), project: "default".parse().unwrap(), token_hash: None };
    let identity = Identity { enrolled, key_pem, certificate_pem, ca_pem: ca.pem().to_owned() };
    let tls = robo_agent::tls::enrolled(&identity, robo_wire::ALPN_LINK).unwrap();
    let server = ServerName::try_from(robo_wire::SERVER_NAME).unwrap();
    let (ours, theirs) = duplex(64 * 1024);
    let (connector, acceptor) = (TlsConnector::from(tls), TlsAcceptor::from(server_config(ca).unwrap()));
    let (agent, manager) = tokio::join!(connector.connect(server, ours), acceptor.accept(theirs));
    (at_agent::Rotating::new(agent.unwrap(), live), at_manager::Rotating::new(Box::new(manager.unwrap()), live))
}

fn piece(number: usize) -> Vec<u8> {
    (0..PIECE).map(|at| u8::try_from((at * 31 + number * 7) % 251).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_renewed_within_a_connection_and_nothing_is_lost() {
    let folder = folder();
    let ca = Ca::load_or_create(folder.path()).unwrap();
    let (agent, manager) = connection(&ca, folder.path(), "one", Duration::ZERO).await;
    let agent = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(agent);
        let write = async {
            for number in 0..PIECES {
                writer.write_all(&piece(number)).await.unwrap();
                writer.flush().await.unwrap();
            }
        };
        let read = async {
            for number in 0..PIECES {
                let mut got = vec![0; PIECE];
                reader.read_exact(&mut got).await.unwrap();
                assert!(got == piece(number), "piece {number} to the agent");
            }
        };
        tokio::join!(write, read);
        reader.unsplit(writer).times()
    });
    let (mut reader, mut writer) = tokio::io::split(manager);
    let write = async {
        for number in 0..PIECES {
            writer.write_all(&piece(number)).await.unwrap();
            writer.flush().await.unwrap();
        }
    };
    let read = async {
        for number in 0..PIECES {
            let mut got = vec![0; PIECE];
            reader.read_exact(&mut got).await.unwrap();
            assert!(got == piece(number), "piece {number} to the manager");
        }
    };
    tokio::join!(write, read);
    let times = [agent.await.unwrap(), reader.unsplit(writer).times()];
    assert!(times.iter().all(|times| *times >= PIECES as u64), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn young_keys_stay() {
    let folder = folder();
    let ca = Ca::load_or_create(folder.path()).unwrap();
    let (mut agent, mut manager) = connection(&ca, folder.path(), "one", at_agent::KEYS_LIVE).await;
    agent.write_all(b"hello").await.unwrap();
    agent.flush().await.unwrap();
    let mut got = [0; 5];
    manager.read_exact(&mut got).await.unwrap();
    assert_eq!((&got, agent.times(), manager.times()), (b"hello", 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_has_secrets_of_its_own() {
    let folder = folder();
    let ca = Ca::load_or_create(folder.path()).unwrap();
    let mut secrets = Vec::new();
    for device in ["one", "two", "two"] {
        let (agent, manager) = connection(&ca, folder.path(), device, at_agent::KEYS_LIVE).await;
        let of_agent = agent.stream().get_ref().1.export_keying_material([0; 32], b"test", None).unwrap();
        let of_manager = manager.stream().get_ref().1.export_keying_material([0; 32], b"test", None).unwrap();
        assert_eq!(of_agent, of_manager, "both ends of a connection have one secret");
        secrets.push(of_agent);
    }
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0] != secrets[2]);
}
