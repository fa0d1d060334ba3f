//! The manager's line to a session: one stream to the agent at a time, opened again after each cut, until the end is
//! known.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::backlog::Backlog;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::shell::{MAX_BACKLOG, MAX_INPUT, ShellFrame, ShellOpen, ShellStart, Size};
use robo_wire::stream::{MAX_CHUNK, Open, Verdict};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, timeout};

use super::live::{Live, State};
use super::recording::Recording;
use crate::links::{LinkStream, Links, OpenError};
use crate::service::now;
use crate::streams::StreamFrames;

/// How often it is looked whether a device is there again.
const LOOK: Duration = Duration::from_millis(200);

/// How long an agent may take for its first frame: a program may begin slowly.
const OPENING: Duration = Duration::from_secs(60);

/// How much longer than the session is kept its device may be away before it is given up: the device dials again.
const MARGIN: Millis = Millis::from_secs(60);

type Stream = Box<dyn LinkStream>;

/// What a line needs.
pub(super) struct Line {
    pub(super) links: Arc<dyn Links>,
    pub(super) live: Arc<Live>,
    /// What to run; nothing when it runs already.
    pub(super) start: Option<ShellStart>,
    /// Nothing when recording is not possible any more.
    pub(super) recording: Option<Recording>,
}

/// Why a stream ended.
enum Cut {
    /// The session is over.
    Over(Verdict),
    /// The stream broke.
    Broken,
}

impl Line {
    /// Keeps the line until the session's end; that verdict.
    pub(super) async fn run(&mut self) -> Verdict {
        let mut away_since = None::<Instant>;
        loop {
            let opened = self.open().await;
            let cut = match opened {
                Ok(stream) => {
                    let cut = self.carry(stream).await;
                    if self.live.look().reachable {
                        away_since = None;
                    }
                    cut
                }
                Err(OpenError::Off(reason)) => Cut::Over(Verdict::Refused { reason }),
                Err(OpenError::Offline | OpenError::Failed(_)) => Cut::Broken,
            };
            if let Cut::Over(verdict) = cut {
                return verdict;
            }
            self.live.change(|state| state.reachable = false);
            let since = *away_since.get_or_insert_with(Instant::now);
            let longest = Millis(self.live.record.keep.0 + MARGIN.0).duration();
            if since.elapsed() >= longest {
                let reason = format!("the device was out of reach for longer than {}", self.live.record.keep);
                return Verdict::Lost { reason };
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn open(&self) -> Result<Stream, OpenError> {
        let record = &self.live.record;
        let from = self.live.look().output.end();
        let start = self.start.clone().filter(|_| !self.live.look().began);
        let open = ShellOpen { session: record.id.clone(), start, from };
        self.links.open(&record.device, Open::from(open)).await
    }

    /// Carries everything both ways until the stream ends.
    async fn carry(&mut self, stream: Stream) -> Cut {
        let (read, write) = split(stream);
        let mut frames = StreamFrames::new(read);
        let taken = match timeout(OPENING, self.attach(&mut frames)).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(cut)) => return cut,
            Err(_) => return Cut::Broken,
        };
        let live = Arc::clone(&self.live);
        let speaking = async {
            if let Err(error) = speak(&live, write, taken).await {
                tracing::debug!(%error, "a session's stream takes no more");
            }
            // An agent may have said all and gone: how it ends is heard, not told.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            cut = self.hear(frames) => cut,
            () = speaking => Cut::Broken,
        }
    }

    /// The agent's first frame: how much input it has. Or it is over before it began.
    async fn attach(&mut self, frames: &mut StreamFrames<ReadHalf<Stream>>) -> Result<u64, Cut> {
        loop {
            let frame = match frames.next(MAX_STREAM_FRAME).await {
                Ok(Some(frame)) => frame,
                // It hung up without a word, and its link is still there: it did not understand us.
                Ok(None) if self.links.is_linked(&self.live.record.device) && !self.live.look().began => {
                    let is_within = self.start.as_ref().is_some_and(|start| start.within.is_some());
                    let what = if is_within { "shells within an instance" } else { "shells" };
                    let reason = format!("the device's agent is too old for {what}; update it, or take `robo exec`");
                    return Err(Cut::Over(Verdict::Refused { reason }));
                }
                Ok(None) | Err(_) => return Err(Cut::Broken),
            };
            match ShellFrame::decode(frame) {
                Ok(ShellFrame::Attached(attached)) => {
                    self.live.change(|state| begin_again(state, attached.from, attached.taken));
                    return Ok(attached.taken);
                }
                Ok(ShellFrame::Verdict(verdict)) => return Err(Cut::Over(verdict)),
                Ok(_) => {}
                Err(_) => return Err(Cut::Broken),
            }
        }
    }

    /// Takes what the agent says.
    async fn hear(&mut self, mut frames: StreamFrames<ReadHalf<Stream>>) -> Cut {
        let mut moved = self.live.watch();
        let mut size = self.live.record.size;
        loop {
            while !self.live.look().has_room() {
                // The sender is in the session.
                moved.changed().await.ok();
            }
            let Ok(Some(frame)) = frames.next(MAX_STREAM_FRAME).await else { return Cut::Broken };
            match ShellFrame::decode(frame) {
                Ok(ShellFrame::Output(place, bytes)) => {
                    let wished = self.live.look().size;
                    self.record(place, &bytes, (wished != size).then_some(wished));
                    size = wished;
                    self.live.change(|state| print(state, place, &bytes));
                }
                Ok(ShellFrame::Taken(place)) => self.live.change(|state| state.input.forget_before(place)),
                Ok(ShellFrame::Notice(text)) => self.live.change(|state| state.say(text)),
                Ok(ShellFrame::Verdict(verdict)) => return Cut::Over(verdict),
                // Of a newer version, or not an agent's to say.
                Ok(
                    ShellFrame::Input(..)
                    | ShellFrame::Resize(_)
                    | ShellFrame::End
                    | ShellFrame::Present(_)
                    | ShellFrame::Redraw
                    | ShellFrame::Attached(_)
                    | ShellFrame::Reachable(_)
                    | ShellFrame::Joined(_)
                    | ShellFrame::Unknown(_),
                ) => {}
                Err(error) => {
                    tracing::warn!(session = %self.live.record.id, %error, "an agent says of a session what cannot be read");
                    return Cut::Broken;
                }
            }
        }
    }

    fn record(&mut self, place: u64, bytes: &[u8], size: Option<Size>) {
        let Some(recording) = &mut self.recording else { return };
        let end = place + bytes.len() as u64;
        let resized = size.map_or(Ok(()), |size| recording.resize(size, now()));
        let written = resized.and_then(|()| recording.output(end, bytes, now()));
        let recorded = recording.bytes();
        match written {
            Ok(()) => self.live.look().recorded = recorded,
            Err(error) => {
                tracing::error!(session = %self.live.record.id, %error, "a session is not recorded any more");
                self.recording = None;
                let text = "this session is no longer recorded: the manager cannot write to its disk".to_owned();
                self.live.change(|state| state.say(text));
            }
        }
    }
}

/// The agent has the session. What it lacks of the input is sent again; what is gone of the output is gone.
fn begin_again(state: &mut State, from: u64, taken: u64) {
    (state.reachable, state.began) = (true, true);
    if from > state.output.end() {
        state.output = Backlog::new(from, MAX_BACKLOG);
    }
    if taken > state.input.end() {
        // A manager that has just started does not know what was typed before.
        state.input = Backlog::new(taken, MAX_INPUT);
    }
}

fn print(state: &mut State, place: u64, bytes: &[u8]) {
    if place > state.output.end() {
        state.output = Backlog::new(place, MAX_BACKLOG);
    }
    // What is known already does not come twice.
    let known = usize::try_from(state.output.end().saturating_sub(place)).unwrap_or(usize::MAX);
    state.output.push(bytes.get(known..).unwrap_or_default());
}

/// What the agent was told on this stream.
struct Said {
    size: Option<Size>,
    present: bool,
    redraws: u64,
    end: bool,
    input: u64,
}

/// Says what is to be said until the stream breaks.
async fn speak(live: &Live, mut write: WriteHalf<Stream>, taken: u64) -> io::Result<()> {
    let mut moved = live.watch();
    let mut said = Said { size: None, present: false, redraws: 0, end: false, input: taken };
    loop {
        moved.borrow_and_update();
        let next = said.next(&live.look());
        let Some(frame) = next else {
            // The sender is in the session.
            moved.changed().await.ok();
            continue;
        };
        write.write_all(&frame.encode().map_err(io::Error::other)?).await?;
        write.flush().await?;
    }
}

impl Said {
    fn next(&mut self, state: &State) -> Option<ShellFrame> {
        if self.size != Some(state.size) {
            self.size = Some(state.size);
            return Some(ShellFrame::Resize(state.size));
        }
        let present = state.crowd().0 > 0;
        if self.present != present {
            self.present = present;
            return Some(ShellFrame::Present(present));
        }
        if self.redraws != state.redraws {
            self.redraws = state.redraws;
            return Some(ShellFrame::Redraw);
        }
        if state.end_by.is_some() && !self.end {
            self.end = true;
            return Some(ShellFrame::End);
        }
        let (place, bytes) = state.input.read(self.input, MAX_CHUNK)?;
        self.input = place + bytes.len() as u64;
        Some(ShellFrame::Input(place, bytes))
    }
}

/// Goes on with a recording, or begins it anew where it is not to be had.
pub(super) fn resume_recording(folder: &Path, live: &crate::store::SessionRecord) -> Option<Recording> {
    Recording::resume(folder, &live.id, live.started_at, now())
        .inspect_err(|error| tracing::error!(session = %live.id, %error, "the recording of a session cannot go on"))
        .ok()
}
