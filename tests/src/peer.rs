//! Somebody with a device's key who speaks to the manager by hand: frame by frame, and not as an agent would.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use robo_agent::dial::Route;
use robo_agent::enroll::{EnrollError, Enrolment, enroll};
use robo_agent::identity::Identity;
use robo_wire::api::Facts;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{FromAgent, FromManager, Goodbye, Hello, PROTOCOL};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use crate::PATIENCE;
use crate::inside::Manager;

/// Streams of the manager that nobody took yet: a test that lets more wait is wrong.
const STREAMS: usize = 256;

/// A stream of a link.
pub type Stream = Compat<yamux::Stream>;

/// What comes from the manager.
pub enum Heard {
    /// On the control stream.
    Message(FromManager),
    /// A stream of its own.
    Stream(Stream),
}

/// One link.
pub struct Peer {
    control: Stream,
    buffer: Vec<u8>,
    streams: mpsc::Receiver<yamux::Stream>,
    freeze: Arc<Notify>,
    driver: JoinHandle<()>,
}

/// Enrols a device of that name, with its files in `folder`.
///
/// # Panics
/// When it cannot be enrolled.
pub async fn enrolled(manager: &Manager, folder: &Path, name: &str) -> Identity {
    let token = manager.api.enroll_token(name).await;
    try_to_enroll(manager, folder, &token, Some(name)).await.expect("it is let in")
}

/// Tries to enrol a device with this token.
///
/// # Errors
/// Why it is not let in.
///
/// # Panics
/// When there is no folder, or the name is none.
pub async fn try_to_enroll(
    manager: &Manager,
    folder: &Path,
    token: &str,
    name: Option<&str>,
) -> Result<Identity, EnrollError> {
    std::fs::create_dir_all(folder).expect("a folder");
    let name = name.map(|name| name.parse().expect("a name"));
    let enrolment = Enrolment { token: token.to_owned(), ca_pem: None, name };
    enroll(&Route::direct(manager.address.to_string()), folder, &enrolment, Facts::default()).await
}

/// What an agent with nothing says first.
#[must_use]
pub fn hello() -> FromAgent {
    FromAgent::Hello(Hello {
        protocol: PROTOCOL,
        facts: Facts::default(),
        generation: robo_model::spec::Generation::default(),
        assignment: None,
        imports: None,
    })
}

impl Peer {
    /// Dials as `identity`, and opens the control stream.
    ///
    /// # Errors
    /// When the manager cannot be reached, or refuses.
    pub async fn dial(address: SocketAddr, identity: &Identity) -> Result<Self, String> {
        let tls = robo_agent::tls::enrolled(identity, robo_wire::ALPN_LINK).map_err(|error| error.to_string())?;
        let socket = robo_agent::dial::dial(&Route::direct(address.to_string()), tls).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let mut connection = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
        let control = std::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await.map_err(|e| e.to_string())?;
        let (give, streams) = mpsc::channel(STREAMS);
        let freeze = Arc::new(Notify::new());
        let frozen = Arc::clone(&freeze);
        let driver = tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)) => next,
                    // The connection is kept, and nobody looks at it any more.
                    () = frozen.notified() => std::future::pending().await,
                };
                let Some(Ok(stream)) = next else { return };
                drop(give.try_send(stream));
            }
        });
        Ok(Self { control: control.compat(), buffer: Vec::new(), streams, freeze, driver })
    }

    /// Dials, and is welcomed as an agent that has nothing.
    ///
    /// # Panics
    /// When it is not.
    pub async fn welcomed(address: SocketAddr, identity: &Identity) -> Self {
        let mut peer = Self::dial(address, identity).await.expect("a link");
        peer.say(&hello()).await;
        loop {
            match peer.hear().await {
                Some(FromManager::Welcome(_)) => return peer,
                Some(FromManager::Heartbeat) => {}
                other => panic!("no welcome: {other:?}"),
            }
        }
    }

    /// Says something. A manager that hung up is seen by what is heard.
    ///
    /// # Panics
    /// When it is too long for a frame.
    pub async fn say(&mut self, message: &FromAgent) {
        self.send(&message.encode().expect("it fits")).await;
    }

    /// Sends bytes on the control stream; false when nobody takes them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.control.write_all(bytes).await.is_ok() && self.control.flush().await.is_ok()
    }

    /// What the manager says next; nothing when it has hung up.
    ///
    /// # Panics
    /// When it says nothing for too long, or what cannot be read.
    pub async fn hear(&mut self) -> Option<FromManager> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME).expect("a frame") {
                return Some(FromManager::decode(&frame).expect("a message"));
            }
            let read = tokio::time::timeout(PATIENCE, self.control.read_buf(&mut self.buffer)).await;
            match read.expect("the manager neither speaks nor hangs up") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Waits for the end of the link. The manager's last words, where it had any.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(mut self) -> Option<Goodbye> {
        let mut last = None;
        while let Some(message) = self.hear().await {
            if let FromManager::Goodbye(goodbye) = message {
                last = Some(goodbye);
            }
        }
        last
    }

    /// What comes next: a message or a stream; nothing when the link has ended. May be cancelled.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Ok(Some(frame)) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME) {
                return FromManager::decode(&frame).ok().map(Heard::Message);
            }
            tokio::select! {
                read = self.control.read_buf(&mut self.buffer) => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return None,
                },
                stream = self.streams.recv() => return stream.map(|stream| Heard::Stream(stream.compat())),
            }
        }
    }

    /// From now on nothing is read and nothing is answered, and the connection stays.
    pub fn freeze(&self) {
        self.freeze.notify_one();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
