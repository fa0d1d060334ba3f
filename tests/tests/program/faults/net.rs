//! Bad networks: a proxy that is slow, stalls and cuts, and a network namespace whose cable can be pulled.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a copier waits for bytes before it looks at the mode again.
const LOOK: Duration = Duration::from_millis(20);

/// What the proxy does to bytes.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    /// Passes them on.
    Pass,
    /// Passes each piece on after so many milliseconds.
    Slow(u64),
    /// Takes no more: both sides see a connection that is there and says nothing.
    Stall,
}

/// A proxy in front of one address. Its threads end with the connections, which end with it.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Milliseconds of delay; the largest number stalls.
    delay: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(super) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { delay: AtomicU64::new(0), open: Mutex::default() });
        let proxy = Self { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            // The listener is the last connection's: it ends with the process.
            for here in listener.incoming().flatten() {
                let Ok(there) = TcpStream::connect(to) else { continue };
                for (from, into) in [(&here, &there), (&there, &here)] {
                    let (from, into, shared) =
                        (from.try_clone().unwrap(), into.try_clone().unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || copy(from, into, &shared));
                }
                shared.open.lock().unwrap().extend([here, there]);
            }
        });
        proxy
    }

    pub(super) fn set(&self, mode: Mode) {
        let delay = match mode {
            Mode::Pass => 0,
            Mode::Slow(delay) => delay,
            Mode::Stall => u64::MAX,
        };
        self.shared.delay.store(delay, Ordering::Relaxed);
    }

    /// Ends all connections there are, in the middle of whatever they carry.
    pub(super) fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn copy(mut from: TcpStream, mut into: TcpStream, shared: &Shared) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        let delay = shared.delay.load(Ordering::Relaxed);
        if delay == u64::MAX {
            std::thread::sleep(LOOK);
            // Cut meanwhile?
            if matches!(from.take_error(), Ok(Some(_)) | Err(_)) || from.peer_addr().is_err() {
                return;
            }
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                std::thread::sleep(Duration::from_millis(delay));
                if into.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    drop(into.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// A network namespace with a cable to this machine; gone with its owner.
pub(super) struct Namespace {
    pub(super) name: String,
    /// This machine's address, as seen from inside.
    pub(super) host: String,
    cable: String,
}

impl Namespace {
    /// Nothing where that is not permitted.
    pub(super) fn new() -> Option<Self> {
        let number = std::process::id();
        let (name, cable, inside) = (format!("robo{number}"), format!("rb{number}a"), format!("rb{number}b"));
        // A network of its own below 10.213; four addresses for each process.
        let network = format!("10.213.{}", number / 64 % 256);
        let first = number % 64 * 4;
        let (host, guest) = (format!("{network}.{}", first + 1), format!("{network}.{}", first + 2));
        if !ip(&["netns", "add", &name]) {
            return None;
        }
        let namespace = Self { name: name.clone(), host: host.clone(), cable: cable.clone() };
        let made = ip(&["link", "add", &cable, "type", "veth", "peer", "name", &inside])
            && ip(&["link", "set", &inside, "netns", &name])
            && ip(&["address", "add", &format!("{host}/30"), "dev", &cable])
            && ip(&["link", "set", &cable, "up"])
            && ip(&["-n", &name, "address", "add", &format!("{guest}/30"), "dev", &inside])
            && ip(&["-n", &name, "link", "set", &inside, "up"])
            && ip(&["-n", &name, "link", "set", "lo", "up"]);
        made.then_some(namespace)
    }

    /// Pulls the cable (`down`) or plugs it in (`up`).
    pub(super) fn link(&self, state: &str) {
        assert!(ip(&["link", "set", &self.cable, state]), "the cable is there");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.cable]);
        ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}
