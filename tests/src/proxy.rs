//! A proxy that is slow, stalls and cuts.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a copier waits for bytes before it looks at the mode again.
const LOOK: Duration = Duration::from_millis(20);

/// What the proxy does to bytes.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Passes them on.
    Pass,
    /// Passes each piece on after so many milliseconds.
    Slow(u64),
    /// Takes no more: both sides see a connection that is there and says nothing.
    Stall,
}

/// A proxy in front of one address. Its threads end with the connections, which end with it.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Milliseconds of delay; the largest number stalls.
    delay: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    /// Directions that bytes are copied in.
    copiers: AtomicUsize,
    /// Those of them that take no more.
    stalled: AtomicUsize,
}

impl Proxy {
    /// Starts one in front of `to`.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (copiers, stalled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { delay: AtomicU64::new(0), open: Mutex::default(), copiers, stalled });
        let proxy = Self { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            // The listener is the last connection's: it ends with the process.
            for here in listener.incoming().flatten() {
                let Ok(there) = TcpStream::connect(to) else { continue };
                for (from, into) in [(&here, &there), (&there, &here)] {
                    let (from, into, shared) =
                        (from.try_clone().expect("a socket"), into.try_clone().expect("a socket"), Arc::clone(&shared));
                    shared.copiers.fetch_add(1, Ordering::SeqCst);
                    std::thread::spawn(move || {
                        copy(from, into, &shared);
                        shared.copiers.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                shared.open.lock().expect("unharmed").extend([here, there]);
            }
        });
        proxy
    }

    /// From now on it does this.
    pub fn set(&self, mode: Mode) {
        let delay = match mode {
            Mode::Pass => 0,
            Mode::Slow(delay) => delay,
            Mode::Stall => u64::MAX,
        };
        self.shared.delay.store(delay, Ordering::SeqCst);
    }

    /// Stalls; nothing passes any more when this returns.
    ///
    /// # Panics
    /// When it does not come to that: a side does not read.
    pub fn stall(&self) {
        self.set(Mode::Stall);
        crate::eventually_blocking("the proxy takes no more", || {
            let stalled = self.shared.stalled.load(Ordering::SeqCst);
            (stalled >= self.shared.copiers.load(Ordering::SeqCst)).then_some(())
        });
    }

    /// Ends all connections there are, in the middle of whatever they carry.
    ///
    /// # Panics
    /// When a thread of it has panicked.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("unharmed").drain(..) {
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
    from.set_read_timeout(Some(LOOK)).expect("a socket");
    let mut buffer = [0; 16 * 1024];
    loop {
        let delay = shared.delay.load(Ordering::SeqCst);
        if delay == u64::MAX {
            shared.stalled.fetch_add(1, Ordering::SeqCst);
            let is_there = stay(&from, shared);
            shared.stalled.fetch_sub(1, Ordering::SeqCst);
            if is_there {
                continue;
            }
            return;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                std::thread::sleep(Duration::from_millis(delay));
                if into.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
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

/// Waits for the end of a stall. False when the connection was cut meanwhile.
fn stay(from: &TcpStream, shared: &Shared) -> bool {
    while shared.delay.load(Ordering::SeqCst) == u64::MAX {
        std::thread::sleep(LOOK);
        if matches!(from.take_error(), Ok(Some(_)) | Err(_)) || from.peer_addr().is_err() {
            return false;
        }
    }
    true
}
