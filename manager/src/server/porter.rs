//! Lets guests in as [`Door`] says: each has its time, a turn to be computed with, and goes when another needs its place.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::door::{Door, GuestId, Places, Source};
use super::incoming::Again;

/// Guests at a time: ten thousand devices that come back at once, and a flood beside them. One costs some kilobytes.
const PLACES: usize = 16_384;

/// Those of one source: many devices share an address behind a router.
const PLACES_OF_A_SOURCE: usize = 12_288;

/// Most bytes of first words: a hello has one or two thousand.
const MAX_FIRST_WORDS: usize = 32 * 1024;

/// How a guest is told something.
#[derive(Debug, Clone, Default)]
struct Calls {
    /// It is its turn.
    turn: Arc<Notify>,
    /// Somebody else has its place.
    cut: CancellationToken,
}

#[derive(Debug)]
struct Hall {
    door: Door,
    calls: HashMap<GuestId, Calls>,
}

/// Who is at the door, and what is said to them.
#[derive(Debug)]
pub(super) struct Porter {
    hall: Mutex<Hall>,
}

impl Porter {
    /// A porter who lets as many compute at a time as there are processors.
    pub(super) fn new() -> Arc<Self> {
        let computing = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(Places { all: PLACES, source: PLACES_OF_A_SOURCE, computing })
    }

    fn with(places: Places) -> Arc<Self> {
        Arc::new(Self { hall: Mutex::new(Hall { door: Door::new(places), calls: HashMap::new() }) })
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the door something, and whose turn it is then.
    fn tell(&self, what: impl FnOnce(&mut Door, Instant) -> Option<GuestId>) {
        let mut hall = self.hall();
        let turn = what(&mut hall.door, Instant::now());
        if let Some(calls) = turn.and_then(|id| hall.calls.get(&id)) {
            calls.turn.notify_one();
        }
    }

    /// Somebody came from there. Whoever has to go for it is told.
    pub(super) fn arrive(self: &Arc<Self>, from: Source) -> Visit {
        let calls = Calls::default();
        let mut hall = self.hall();
        let (id, gone) = hall.door.arrive(from, Instant::now());
        if let Some(gone) = gone.and_then(|gone| hall.calls.get(&gone)) {
            gone.cut.cancel();
        }
        hall.calls.insert(id, calls.clone());
        drop(hall);
        Visit { porter: Arc::clone(self), id, calls }
    }
}

/// A guest's place, until it is dropped: then the guest is known, or gone.
#[derive(Debug)]
pub(super) struct Visit {
    porter: Arc<Porter>,
    id: GuestId,
    calls: Calls,
}

impl Visit {
    /// Secures the connection.
    ///
    /// # Errors
    /// When the peer speaks no TLS, takes too long, or others need its place.
    pub(super) async fn secure<S>(&self, mut socket: S, tls: &Arc<ServerConfig>) -> io::Result<TlsStream<Again<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let said = self.in_time(first_words(&mut socket)).await?;
        self.porter.tell(|door, now| door.wait(self.id, now));
        self.in_time(async {
            self.calls.turn.notified().await;
            Ok(())
        })
        .await?;
        let mut securing = pin!(TlsAcceptor::from(Arc::clone(tls)).accept(Again::new(said, socket)));
        // What costs most is done here: keys are made and a signature, and nobody is waited for.
        let answered = poll_fn(|cx| Poll::Ready(securing.as_mut().poll(cx))).await;
        self.porter.tell(|door, now| door.computed(self.id, now));
        let secured = match answered {
            Poll::Ready(secured) => secured?,
            Poll::Pending => self.in_time(securing).await?,
        };
        self.porter.hall().door.secured(self.id);
        Ok(secured)
    }

    /// What comes of `what`, which waits for the peer, within the time that the guest has.
    ///
    /// # Errors
    /// When it fails, takes too long, or others need the guest's place.
    pub(super) async fn in_time<T>(&self, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let until = self.porter.hall().door.until(self.id);
        let Some(until) = until else { return Err(crowded()) };
        tokio::select! {
            biased;
            () = self.cut() => Err(crowded()),
            outcome = what => outcome,
            () = tokio::time::sleep_until(until.into()) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the peer took too long"))
            }
        }
    }

    /// Returns when somebody else has its place.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + use<> {
        self.calls.cut.clone().cancelled_owned()
    }
}

/// What a peer says until a handshake can begin, or it is certain that none does: that is told by who answers.
async fn first_words(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut acceptor, mut said) = (Acceptor::default(), Vec::new());
    while said.len() < MAX_FIRST_WORDS {
        let before = said.len();
        if socket.read_buf(&mut said).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer hung up"));
        }
        let mut new = said.get(before..).unwrap_or_default();
        while !new.is_empty() {
            if !matches!(acceptor.read_tls(&mut new), Ok(1..)) {
                return Ok(said);
            }
        }
        if !matches!(acceptor.accept(), Ok(None)) {
            break;
        }
    }
    Ok(said)
}

fn crowded() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "too many come at once, most of them from there")
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.porter.hall().calls.remove(&self.id);
        self.porter.tell(|door, now| door.leave(self.id, now));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::ca::Ca;
    use crate::tls::server_config;

    const FEW: Places = Places { all: 4, source: 3, computing: 1 };

    fn source(number: u8) -> Source {
        Source::of(IpAddr::from([10, 0, 0, number]))
    }

    #[tokio::test]
    async fn who_has_to_go_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let tls = server_config(&Ca::load_or_create(folder.path()).unwrap()).unwrap();
        let porter = Porter::with(FEW);
        let (oldest, _second, _third) = (porter.arrive(source(1)), porter.arrive(source(1)), porter.arrive(source(1)));
        let (socket, mut peer) = tokio::io::duplex(1024);
        // A part of the first words holds the place, and nothing else.
        peer.write_all(&[0x16, 3, 1]).await.unwrap();
        let securing = oldest.secure(socket, &tls);
        let coming = async { porter.arrive(source(1)) };
        let (secured, newcomer) = tokio::join!(securing, coming);
        assert_eq!(secured.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let hall = porter.hall();
        assert!(hall.door.until(newcomer.id).is_some() && hall.door.until(oldest.id).is_none());
    }

    #[tokio::test]
    async fn whoever_is_gone_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let tls = server_config(&Ca::load_or_create(folder.path()).unwrap()).unwrap();
        let porter = Porter::with(FEW);
        for round in 0..20 {
            let visit = porter.arrive(source(round));
            let (socket, mut peer) = tokio::io::duplex(1024);
            peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(visit.secure(socket, &tls).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(porter.hall().calls.is_empty());
    }
}
