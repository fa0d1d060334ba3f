//! `robo forward`, both ways, through cuts of the network, in crowds, and with what is wrong.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started, robo_agent};
use robo_tests::proxy::Proxy;
use rustix::process::Signal;

use super::Lab;

/// Bytes sent each way through cuts where `ROBO_BIG` does not say more.
const MANY: u64 = 64 * 1024 * 1024;

/// Cuts on the way: of the device's link and of the client's connection by turns.
const CUTS: u64 = 5;

/// Connections at once; the device allows some more.
const CROWD: u64 = 50;

/// A manager and a device.
pub(super) struct Place {
    pub(super) lab: Lab,
    /// Before the device's link.
    pub(super) link: Proxy,
    /// Before the client's connection.
    way: Proxy,
    agent: Option<Running>,
}

impl Place {
    pub(super) fn new(arguments: &[&str]) -> Self {
        let lab = Lab::new();
        let (link, way) = (Proxy::start(lab.address), Proxy::start(lab.address));
        let (url, ca, token) =
            (format!("https://{}", way.address), lab.path("manager/ca.pem"), lab.path("manager/admin.token"));
        lab.user.run(&["context", "add", "way", "--url", &url, "--ca", &ca, "--token-file", &token]).expect(0);
        lab.user.run(&["context", "use", "way"]).expect(0);
        let (token, state) = (lab.token("d"), lab.path("d"));
        let mut command = lab.user.command();
        let program = robo_agent();
        let mut agent = std::process::Command::new(program);
        agent
            .env_clear()
            .envs(command.env("ROBO_LOG", "warn").get_envs().filter_map(|(name, value)| Some((name, value?))));
        agent.args(["--manager", &link.address.to_string(), "--state", &state, "--token-file", &token]);
        agent.args(["--ssh-keys", &lab.path("ssh")]).args(arguments);
        let agent = Running::start(agent.stdin(Stdio::null()).stderr(Stdio::null()));
        let place = Self { lab, link, way, agent: Some(agent) };
        place.until_online(true);
        place
    }

    fn until_online(&self, online: bool) {
        eventually_blocking("the device comes or goes", || {
            let devices = self.lab.user.run(&["device", "list", "-o", "json"]).expect(0).json();
            (devices[0]["online"] == online).then_some(())
        });
    }

    /// A forward that runs, and where it listens.
    fn forward(&self, arguments: &[&str]) -> (Started, SocketAddr) {
        let started = self.lab.user.start(&[&["forward", "-o", "name"], arguments].concat());
        let at = eventually_blocking("it says where it listens", || started.so_far().0.lines().next()?.parse().ok());
        (started, at)
    }
}

fn end(started: Started) -> String {
    started.process.signal(Signal::INT);
    started.wait().expect(130).err
}

/// Gives back to each connection what it sends, and its end after it.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The thread ends with the process.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut reader, mut writer) = (socket.try_clone().unwrap(), socket);
                drop(std::io::copy(&mut reader, &mut writer));
                drop(writer.shutdown(Shutdown::Write));
            });
        }
    });
    port
}

/// The byte at a place: no two pieces of a stream look the same.
fn byte(at: u64) -> u8 {
    u8::try_from((at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) & 0xff).unwrap()
}

/// Sends so many bytes, and checks that they come back; `got` counts them.
fn there_and_back(at: SocketAddr, all: u64, got: &AtomicU64) {
    let mut reader = TcpStream::connect(at).unwrap();
    let mut writer = reader.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let mut sent = 0;
        while sent < all {
            let piece: Vec<u8> = (sent..all.min(sent + 64 * 1024)).map(byte).collect();
            writer.write_all(&piece).unwrap();
            sent += piece.len() as u64;
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut place = 0;
    loop {
        let count = reader.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        let is_right = buffer[..count].iter().zip(place..).all(|(got, at)| *got == byte(at));
        assert!(is_right, "bytes after {place} are not what was sent");
        place += count as u64;
        got.store(place, Ordering::Relaxed);
    }
    writing.join().unwrap();
    assert_eq!(place, all);
}

#[test]
fn a_connection_goes_on_through_cuts_bit_by_bit() {
    let place = Place::new(&[]);
    let (started, at) = place.forward(&[&format!("0:d:{}", echo())]);
    let all = std::env::var("ROBO_BIG").ok().map_or(MANY, |text| text.parse().expect("ROBO_BIG is a number of bytes"));
    let got = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&got);
    let going = thread::spawn(move || there_and_back(at, all, &counter));
    for cut in 1..=CUTS {
        eventually_blocking("a part has come", || {
            (got.load(Ordering::Relaxed) > all * cut / (CUTS + 1) || going.is_finished()).then_some(())
        });
        if cut % 2 == 0 { place.way.cut() } else { place.link.cut() }
    }
    going.join().unwrap();
    assert_eq!(end(started), "");
}

#[test]
fn many_connections_at_once_and_a_clean_end() {
    let place = Place::new(&[]);
    let (port, other) = (echo(), echo());
    let (started, at) = place.forward(&[&format!("0:d:{port}"), &format!("0:d:localhost:{other}")]);
    let second: SocketAddr =
        eventually_blocking("the second says so too", || started.so_far().0.lines().nth(1)?.parse().ok());
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            thread::spawn(move || {
                there_and_back(if number % 2 == 0 { at } else { second }, 200_000, &AtomicU64::new(0));
            })
        })
        .collect();
    for one in crowd {
        one.join().unwrap();
    }
    // What is open when it ends is broken off, at both ends.
    let mut open = TcpStream::connect(at).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    assert_eq!(end(started), "");
    let ended = open.read(&mut [0]).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "it must not look like an end");
    assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_other_way_round_the_device_listens() {
    let place = Place::new(&[]);
    let (started, at) = place.forward(&["--reverse", &format!("0:d:{}", echo())]);
    there_and_back(at, 1_000_000, &AtomicU64::new(0));
    // Cut, and it goes on listening; what comes meanwhile comes out later.
    place.link.cut();
    there_and_back(at, 1_000_000, &AtomicU64::new(0));
    place.way.cut();
    there_and_back(at, 1_000_000, &AtomicU64::new(0));
    let taken = place.lab.user.run(&["forward", "--reverse", &format!("{}:d:1", at.port())]).expect(1).err;
    assert!(taken.contains("in use on the device") && taken.contains("another port"), "{taken}");
    assert_eq!(end(started), "");
    let refused = eventually_blocking("the port is free again", || TcpStream::connect(at).err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Nothing is there where connections come out.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (started, at) = place.forward(&["--reverse", &format!("0:d:{closed}")]);
    TcpStream::connect(at).unwrap().read(&mut [0]).unwrap_err();
    assert!(end(started).contains("cannot be reached from here"));
}

#[test]
fn what_cannot_be_forwarded_is_told() {
    let mut place = Place::new(&[]);
    let wrong = |arguments: &[&str], code: i32, says: &str| {
        let told = place.lab.user.run(&[&["forward"], arguments].concat()).expect(code).err;
        assert!(told.contains(says), "{arguments:?}: {told}");
    };
    wrong(&[], 1, "Usage");
    wrong(&["8080"], 1, "[BIND:]PORT:DEVICE:[HOST:]PORT");
    wrong(&["65536:d:80"], 1, "65535");
    wrong(&["0:d:0"], 1, "port 0");
    wrong(&["0:d:53/udp"], 1, "UDP is not forwarded");
    wrong(&["0:nobody:80"], 1, "there is no device `nobody`");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    wrong(&[&format!("{}:d:80", held.local_addr().unwrap().port())], 1, "is in use already");
    wrong(&["--reverse", "0.0.0.0:0:d:80"], 1, "--forward any");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reset = |at: SocketAddr| TcpStream::connect(at).unwrap().read(&mut [0]).unwrap_err().kind();
    let (started, at) = place.forward(&[&format!("0:d:{closed}"), "0:d:192.0.2.1:80"]);
    let far = eventually_blocking("the second one listens", || started.so_far().0.lines().nth(1)?.parse().ok());
    assert_eq!(reset(at), ErrorKind::ConnectionReset);
    assert_eq!(reset(far), ErrorKind::ConnectionReset);
    let told = end(started);
    assert!(told.contains("nothing listens at") && told.contains("--forward any"), "{told}");

    // The device goes away for good, in the middle of a connection.
    let (started, at) = place.forward(&[&format!("0:d:{}", echo())]);
    let mut open = TcpStream::connect(at).unwrap();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    drop(place.agent.take());
    place.until_online(false);
    assert_eq!(reset(at), ErrorKind::ConnectionReset);
    let told = end(started);
    assert!(told.contains("`d` is not connected"), "{told}");
    let (started, _) = place.forward(&["0:d:1"]);
    assert!(end(started).contains("d is offline; connections work when it is back"));
}

#[test]
fn an_agent_may_let_nothing_through() {
    let place = Place::new(&["--forward", "none"]);
    let told = place.lab.user.run(&["ssh-proxy", "d"]).expect(255).err;
    assert!(told.contains("--forward none"), "{told}");
    let told = place.lab.user.run(&["forward", "--reverse", "0:d:1"]).expect(1).err;
    assert!(told.contains("--forward none"), "{told}");
}
