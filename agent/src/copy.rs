//! Copies of files and folders, over a stream to the other side: what `robo_wire::copy` says, carried out.
//!
//! Who sends and who receives is the same on both sides, so the client uses this module as the agent does. Nothing is
//! trusted of what the other side says: names are checked, links never followed, and content is taken for good only
//! when its checksum is right.
//!
//! - `walk`: what there is to be sent; `send`: sends it; `pace`: no faster than it may.
//! - `place`: where it goes to; `part`: files that are not whole yet; `receive`: receives.
//! - `purge`: removes what is elsewhere by now.

mod fault;
mod line;
mod pace;
mod part;
mod place;
mod purge;
mod receive;
mod send;
#[cfg(test)]
mod tests;
mod walk;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use robo_wire::copy::{CopyFrame, CopyOpen, MAX_TOLD, Told};
use robo_wire::frame::FrameError;
use robo_wire::stream::Verdict;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::line::Line;
pub use self::receive::{Passed, receive, receive_into};
pub use self::send::{Source, name_of, send};
use crate::keeper::user::User;

/// Why a copy goes no further.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The connection ended in the middle: it may go on over another one.
    #[error("the connection was cut: {0}")]
    Cut(String),
    /// It cannot be done on this side.
    #[error("{0}")]
    Refused(String),
    /// The other side ended it.
    #[error("{0}")]
    Ended(Verdict),
    /// What comes is no copy.
    #[error("what the other side says cannot be understood: {0}")]
    Frame(#[from] FrameError),
}

/// What became of a copy, as one side knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were copied.
    pub files: u64,
    /// Entries that could not be copied.
    pub failed: u64,
    /// The first of those, with reasons.
    pub failures: Vec<Told>,
    /// Entries that were left out, or copied with a remark.
    pub skipped: u64,
    /// The first of those.
    pub remarks: Vec<Told>,
}

impl Report {
    /// One more failure.
    pub fn fail(&mut self, told: Told) {
        self.failed += 1;
        if self.failed <= MAX_TOLD {
            self.failures.push(told);
        }
    }

    /// One more remark.
    pub fn skip(&mut self, told: Told) {
        self.skipped += 1;
        if self.skipped <= MAX_TOLD {
            self.remarks.push(told);
        }
    }

    /// How it ended.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.failed == 0 { Verdict::Ok } else { Verdict::Failed { code: 1 } }
    }
}

/// How far a copy is, for who looks at it meanwhile.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes of content that are to be copied, as far as is known.
    expected: AtomicU64,
    /// Bytes of content that are there, those included that were before.
    there: AtomicU64,
    /// Bytes of content that were carried.
    carried: AtomicU64,
}

impl Gauge {
    /// Bytes that are expected, that are there, and that were carried.
    #[must_use]
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.expected), read(&self.there), read(&self.carried))
    }

    /// So many bytes more are to be copied.
    pub fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were there already.
    pub fn had(&self, bytes: u64) {
        self.there.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were carried.
    pub fn carry(&self, bytes: u64) {
        self.had(bytes);
        self.carried.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Serves a stream that the manager opened, until the copy or the stream ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(open: CopyOpen, stream: S) {
    let (reader, writer) = tokio::io::split(stream);
    let mut line = Line::new(reader, writer);
    let gauge = Gauge::default();
    let home = std::env::var_os("HOME").map_or_else(|| User::own().home, PathBuf::from);
    let done = match open {
        CopyOpen::Push(push) => Box::pin(receive(&push, &home, &mut line, &gauge)).await,
        CopyOpen::Pull(pull) => {
            let source = Source::of(&pull, &home);
            Box::pin(send(source, &mut line, &gauge)).await
        }
        CopyOpen::Purge(asked) => {
            send::in_background(move || purge::purge(&asked, &home)).await.map(|()| Report::default())
        }
    };
    let verdict = match done {
        Ok(report) => report.verdict(),
        Err(CopyError::Refused(reason)) => Verdict::Refused { reason },
        Err(error @ (CopyError::Frame(_) | CopyError::Ended(_))) => Verdict::Refused { reason: error.to_string() },
        // Nobody is there to be told.
        Err(CopyError::Cut(reason)) => return tracing::debug!(reason, "a copy was cut"),
    };
    // A peer that is gone needs none.
    line.say(&CopyFrame::Verdict(verdict)).await.ok();
    line.close().await;
}
