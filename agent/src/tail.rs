//! Logs of this device, over a stream to the manager: what instances, the agent itself and units of the journal print.
//!
//! Every source is read by a task of its own, and all that is known of a source is where it is: nothing is kept for who
//! was cut but the logs themselves, and whoever comes back says the position.
//!
//! - `files`: logs that lie in files of ours; `journal`: those of systemd; `pick`: which lines are wanted.
//! - `listing`: which files there are.

pub(crate) mod files;
mod journal;
pub(crate) mod listing;
mod pick;

use std::io;
use std::time::Duration;

use robo_wire::stream::Verdict;
use robo_wire::tail::{
    Line, Lines, MAX_BATCH_BYTES, MAX_BATCH_LINES, Note, Position, Source, SourceAt, SourceEnd, TailFrame, TailOpen,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use self::files::{Reader, Step};
use self::journal::Journal;
pub use self::pick::check_filter;
use self::pick::{Last, Pick};
use crate::folders::Folders;
use crate::framing::{until_gone, write_frame};
use crate::keeper::output::Shelf;
use crate::runtime::in_background;

/// How often a log that has come to its end is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Frames that wait for a slow stream; then reading waits.
const WAITING_FRAMES: usize = 4;

/// After so many bytes of lines that nobody wants the position is told, so that they are not read again after a cut.
const TELL_AFTER: usize = 256 * 1024;

/// A line, and the place after it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: Line,
    pub(crate) after: Position,
}

/// Why a source is read no further.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    /// One sentence for people.
    Refused(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

/// Serves a stream that the manager opened, until all sources are told, or nobody listens any more.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(folders: Folders, open: TailOpen, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let work = async {
        let verdict = match open.check().and_then(|()| Pick::new(&open)) {
            Ok(pick) => tell(&folders, &open, &pick, &mut writer).await,
            Err(reason) => Verdict::Refused { reason },
        };
        if let Ok(frame) = TailFrame::Verdict(verdict).encode() {
            // A peer that is gone needs none.
            write_frame(&mut writer, &frame).await.ok();
        }
        writer.shutdown().await.ok();
    };
    until_gone(reader, work).await;
}

/// Tells all sources, at the same time.
async fn tell(folders: &Folders, open: &TailOpen, pick: &Pick, writer: &mut (impl AsyncWrite + Unpin)) -> Verdict {
    let (give, mut take) = mpsc::channel(WAITING_FRAMES);
    let tellers = open.sources.iter().zip(0..).map(|(at, source)| {
        let teller = Teller { source, open, pick, give: give.clone(), silent: 0 };
        Box::pin(teller.run(folders, at))
    });
    let tellers = futures_util::future::join_all(tellers);
    // Writing ends when the last of them has ended.
    drop(give);
    let sources = async { tellers.await.into_iter().all(|well| well) };
    let writing = async move {
        while let Some(frame) = take.recv().await {
            if write_frame(writer, &frame).await.is_err() {
                return;
            }
        }
    };
    match tokio::join!(sources, writing) {
        (true, ()) => Verdict::Ok,
        (false, ()) => Verdict::Failed { code: 1 },
    }
}

/// Tells one source.
struct Teller<'a> {
    source: u32,
    open: &'a TailOpen,
    pick: &'a Pick,
    give: mpsc::Sender<Vec<u8>>,
    /// Bytes of lines since the position was told.
    silent: usize,
}

impl Teller<'_> {
    /// True when it could be read.
    async fn run(mut self, folders: &Folders, at: &SourceAt) -> bool {
        let done = match &at.source {
            Source::Instance(key) => {
                let logs = folders.instance(key).logs();
                let none = || format!("this device has no output of an instance `{key}`");
                if logs.is_dir() { self.files(Shelf::of_instance(&logs), at).await } else { Err(none().into()) }
            }
            Source::Agent => {
                let (logs, none) = (folders.log(), "this agent keeps no log: it was started within another program");
                if logs.is_dir() { self.files(Shelf::of_agent(&logs), at).await } else { Err(none.to_owned().into()) }
            }
            Source::Unit(name) => Journal::of_system().tell(&mut self, name, at.position.as_ref()).await,
        };
        let refused = match done {
            Ok(()) => None,
            Err(Stop::Unheard) => return false,
            Err(Stop::Refused(reason)) => Some(reason),
        };
        let well = refused.is_none();
        self.say(&TailFrame::End(SourceEnd { source: self.source, refused })).await.is_ok() && well
    }

    async fn files(&mut self, shelf: Shelf, at: &SourceAt) -> Result<(), Stop> {
        let position = at.position.clone();
        let mut reader = background(move || Reader::new(shelf, position.as_ref())).await?;
        let mut last = self.open.lines.filter(|_| at.position.is_none()).map(Last::new);
        let mut unknown = 0_u64;
        if last.is_none() {
            self.lines(Vec::new(), reader.position()).await?;
        }
        loop {
            let (next, step) = background(move || reader.step().map(|step| (reader, step))).await?;
            reader = next;
            if reader.has_missed() {
                self.note("the files with some lines are gone: more was printed than is kept".to_owned()).await?;
            }
            match step {
                Step::Rows(rows) => {
                    let wanted = self.pick.wanted(rows, &mut unknown, &mut self.silent);
                    match &mut last {
                        Some(last) => last.push(wanted),
                        None => self.rows(wanted, reader.position()).await?,
                    }
                }
                Step::Dry | Step::Gone => {
                    if std::mem::take(&mut unknown) > 0 {
                        self.note("lines whose time is not known are left out".to_owned()).await?;
                    }
                    let over = matches!(step, Step::Gone) || !self.open.follow || self.pick.is_over(crate::now());
                    let rest = if over { reader.rest() } else { None };
                    if let Some(mut last) = last.take() {
                        last.push(self.pick.wanted(rest.into_iter().collect(), &mut 0, &mut self.silent));
                        self.told(last.rows(), reader.position()).await?;
                    } else if let Some(row) = rest {
                        let wanted = self.pick.wanted(vec![row], &mut 0, &mut self.silent);
                        self.told(wanted, reader.position()).await?;
                    }
                    if over {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Tells these rows, and the position where there is something new to know about it.
    async fn rows(&mut self, rows: Vec<Row>, position: Position) -> Result<(), Stop> {
        if rows.is_empty() && self.silent < TELL_AFTER { Ok(()) } else { self.told(rows, position).await }
    }

    /// Tells these rows, in frames that fit, and then the position.
    async fn told(&mut self, rows: Vec<Row>, position: Position) -> Result<(), Stop> {
        let (mut lines, mut bytes, mut after) = (Vec::new(), 0, None);
        for Row { line, after: next } in rows {
            if lines.len() == MAX_BATCH_LINES || bytes + line.text.0.len() > MAX_BATCH_BYTES {
                let full = std::mem::take(&mut lines);
                bytes = 0;
                self.lines(full, after.take().unwrap_or_else(|| position.clone())).await?;
            }
            bytes += line.text.0.len();
            lines.push(line);
            after = Some(next);
        }
        self.lines(lines, position).await
    }

    async fn lines(&mut self, lines: Vec<Line>, after: Position) -> Result<(), Stop> {
        self.silent = 0;
        self.say(&TailFrame::Lines(Lines { source: self.source, lines, after })).await
    }

    async fn note(&self, text: String) -> Result<(), Stop> {
        self.say(&TailFrame::Note(Note { source: self.source, text })).await
    }

    async fn say(&self, frame: &TailFrame) -> Result<(), Stop> {
        let bytes = frame.encode().map_err(|error| Stop::Refused(error.to_string()))?;
        self.give.send(bytes).await.map_err(|_| Stop::Unheard)
    }
}

async fn background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Stop> {
    let done = in_background(move || work().map_err(|error| format!("the log cannot be read: {error}"))).await;
    Ok(done?)
}

#[cfg(test)]
mod tests;
