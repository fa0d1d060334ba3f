//! Bodies of requests that come as a stream and may have to be sent again: until the manager has taken the request, what
//! was given of the stream is kept.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};

/// Most bytes that are given before the manager has taken the request; what it needs to do that is far less.
const MAX_KEPT: usize = 256 * 1024;

type Source = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A body that can be sent again. Clones share it.
#[derive(Clone)]
pub(super) struct Again(Arc<Mutex<State>>);

struct State {
    source: Source,
    /// What was given of it.
    kept: Vec<Bytes>,
    /// Bytes of that.
    bytes: usize,
    /// The request was taken: nothing more is kept.
    is_taken: bool,
    /// Which of the bodies is the newest.
    turn: u64,
    /// Who waits until the request is taken.
    waiting: Option<Waker>,
}

impl Again {
    /// Nothing was given yet.
    pub(super) fn new(source: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        // It may be asked again after its end.
        let source = Box::pin(source.fuse());
        Self(Arc::new(Mutex::new(State {
            source,
            kept: Vec::new(),
            bytes: 0,
            is_taken: false,
            turn: 0,
            waiting: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body, from its begin. One that was made before breaks off.
    pub(super) fn body(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let turn = {
            let mut state = self.state();
            state.turn += 1;
            state.turn
        };
        let (again, mut next) = (self.clone(), 0);
        stream::poll_fn(move |cx| again.state().poll(turn, &mut next, cx))
    }

    /// The request was taken.
    pub(super) fn taken(&self) {
        let mut state = self.state();
        state.is_taken = true;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }
}

impl State {
    fn poll(&mut self, turn: u64, next: &mut usize, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if turn != self.turn {
            return Poll::Ready(Some(Err(io::Error::other("it is sent again"))));
        }
        if let Some(piece) = self.kept.get(*next) {
            *next += 1;
            return Poll::Ready(Some(Ok(piece.clone())));
        }
        if self.is_taken {
            (self.kept, *next) = (Vec::new(), 0);
        } else if self.bytes >= MAX_KEPT {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let polled = self.source.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled
            && !self.is_taken
        {
            self.bytes += piece.len();
            self.kept.push(piece.clone());
            *next += 1;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn pieces(count: usize, size: usize) -> Vec<io::Result<Bytes>> {
        (0..count).map(|number| Ok(vec![u8::try_from(number).unwrap(); size].into())).collect()
    }

    #[tokio::test]
    async fn what_was_given_is_given_again_until_it_is_taken() {
        // A stream has no begin again after its end.
        let again = Again::new(stream::iter(pieces(5, 10)));
        let mut first = again.body();
        assert_eq!(first.next().await.unwrap().unwrap()[0], 0);
        assert_eq!(first.next().await.unwrap().unwrap()[0], 1);
        let mut second = again.body();
        assert!(first.next().await.unwrap().is_err(), "the one before breaks off");
        assert_eq!(second.next().await.unwrap().unwrap()[0], 0);
        again.taken();
        let rest: Vec<u8> = second.map(|piece| piece.unwrap()[0]).collect().await;
        assert_eq!(rest, [1, 2, 3, 4]);
        assert!(again.state().kept.is_empty());
    }

    #[tokio::test]
    async fn little_is_given_before_it_is_taken() {
        let again = Again::new(stream::iter(pieces(40, MAX_KEPT / 8)));
        let mut body = again.body();
        for _ in 0..8 {
            body.next().await.unwrap().unwrap();
        }
        assert!(body.next().now_or_never().is_none(), "it waits");
        again.taken();
        assert_eq!(body.count().await, 32);
    }
}
