//! Answers that nobody reads: a connection ends when an answer that is whole waits for its reader, and nothing is taken.
//!
//! An answer goes out in pieces, each of which counts as owed until it is with the kernel. What has no end known before,
//! as the output of a command, waits for its reader as a pipe does: it is in no more memory than its window.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// How long nothing of what is owed may be taken.
const UNREAD: Duration = Duration::from_secs(60);

/// Most bytes in a piece: a link that is slow takes one within the time.
const PIECE: usize = 16 * 1024;

#[derive(Debug)]
struct Owing {
    /// Answers and pieces of them that are on their way.
    owed: usize,
    /// When one of those was last taken, or the first one came.
    moved: Instant,
}

/// What one connection owes its peer.
#[derive(Debug, Clone)]
pub(super) struct Unread(Arc<Mutex<Owing>>);

impl Unread {
    /// Nothing is owed.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Owing { owed: 0, moved: Instant::now() })))
    }

    fn owing(&self) -> MutexGuard<'_, Owing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is owed until what this gives is dropped.
    fn owe(&self, now: Instant) -> Owed {
        let mut owing = self.owing();
        if owing.owed == 0 {
            owing.moved = now;
        }
        owing.owed += 1;
        Owed(self.clone())
    }

    fn taken(&self, now: Instant) {
        let mut owing = self.owing();
        owing.owed = owing.owed.saturating_sub(1);
        owing.moved = now;
    }

    /// When it has to be looked again; nothing when what is owed was left too long.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let owing = self.owing();
        if owing.owed == 0 {
            return Some(UNREAD);
        }
        (owing.moved + UNREAD).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Returns when the peer has left what is owed to it for too long.
    pub(super) async fn too_long(&self) {
        while let Some(left) = self.patience(Instant::now()) {
            tokio::time::sleep(left).await;
        }
    }

    /// The answer, counted where it is whole.
    pub(super) fn watch(&self, response: Response) -> Response {
        if response.body().size_hint().exact().is_none_or(|bytes| bytes == 0) {
            return response;
        }
        let owed = Some(self.owe(Instant::now()));
        response.map(|body| Body::new(Watched { body, unread: self.clone(), owed, rest: Bytes::new() }))
    }
}

/// Something that is owed.
#[derive(Debug)]
struct Owed(Unread);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.taken(Instant::now());
    }
}

/// A piece on its way; it is owed until nobody holds its bytes.
struct Piece(Bytes, #[expect(dead_code, reason = "it counts while it is there")] Owed);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An answer on its way.
struct Watched {
    body: Body,
    unread: Unread,
    /// It waits for its reader, and not for what makes it.
    owed: Option<Owed>,
    rest: Bytes,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => this.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(other) => {
                    this.owed = None;
                    return Poll::Ready(other);
                }
                Poll::Pending => {
                    this.owed = None;
                    return Poll::Pending;
                }
            }
        }
        let now = Instant::now();
        if this.owed.is_none() {
            this.owed = Some(this.unread.owe(now));
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        let piece = Bytes::from_owner(Piece(piece, this.unread.owe(now)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        self.body.size_hint().exact().map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes + rest))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn only_what_is_owed_and_not_taken_is_left_too_long() {
        let (begin, unread) = (Instant::now(), Unread::new());
        let seconds = |count| begin + Duration::from_secs(count);
        assert_eq!(unread.patience(seconds(1000)), Some(UNREAD), "nothing is owed");
        let (first, second) = (unread.owe(seconds(1000)), unread.owe(seconds(1010)));
        assert_eq!(unread.patience(seconds(1000)), Some(UNREAD));
        assert_eq!(unread.patience(seconds(1059)), Some(Duration::from_secs(1)));
        assert_eq!(unread.patience(seconds(1060)), None);
        // One is taken: the reader is slow, and there.
        std::mem::forget(first);
        unread.taken(seconds(1059));
        assert_eq!(unread.patience(seconds(1060)), Some(Duration::from_secs(59)));
        std::mem::forget(second);
        unread.taken(seconds(1100));
        assert_eq!(unread.patience(seconds(9999)), Some(UNREAD));
    }

    #[tokio::test]
    async fn an_answer_is_the_same_and_owed_until_its_last_piece_is_taken() {
        let (unread, text) = (Unread::new(), "0123456789".repeat(10_000));
        let whole = unread.watch(Response::new(Body::from(text.clone())));
        assert_eq!(whole.body().size_hint().exact(), Some(100_000));
        assert_eq!(unread.owing().owed, 1, "nobody reads it yet");
        let mut body = whole.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), unread.owing().owed), (PIECE, 2));
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!([first.as_ref(), rest.as_ref()].concat(), text.as_bytes());
        drop((first, rest));
        assert_eq!(unread.owing().owed, 0);
        let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let endless = unread.watch(Response::new(endless));
        assert_eq!(unread.owing().owed, 0);
        drop(endless);
    }
}
