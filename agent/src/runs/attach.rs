//! A stream to a run: carries what is printed to the manager, and what is to be read back.

use std::io;

use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::job::{Begun, RunFrame};
use robo_wire::stream::MAX_CHUNK;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::run::{Run, State};
use crate::framing::{read_frame, write_frame};

/// Serves `stream` until it ends, the run is done, or another stream takes over. The manager has the output up to
/// `from`.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(run: &Run, from: u64, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let number = run.change(|state| state.attach(from));
    let _attachment = Attachment { run, number };
    tokio::select! {
        spoken = speak(run, number, from, &mut writer) => {
            if let Err(error) = spoken {
                tracing::debug!(%error, "a run's stream broke");
            }
        }
        () = listen(run, number, reader) => {}
    }
    writer.shutdown().await.ok();
}

/// Gives the run free again, however the stream ends.
struct Attachment<'a> {
    run: &'a Run,
    number: u64,
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        self.run.change(|state| state.detach(self.number));
    }
}

/// What the manager was told already.
struct Said {
    output: u64,
    taken: u64,
    ended: bool,
}

async fn speak<S: AsyncRead + AsyncWrite>(
    run: &Run,
    number: u64,
    from: u64,
    writer: &mut WriteHalf<S>,
) -> io::Result<()> {
    let mut moved = run.watch();
    let taken = run.look().input.end();
    let mut said = Said { output: from, taken: run.look().input.start(), ended: false };
    say(writer, &RunFrame::Begun(Begun { at: run.began_at(), taken })).await?;
    loop {
        moved.borrow_and_update();
        let next = {
            let state = run.look();
            if state.stream != number || state.done {
                return Ok(());
            }
            said.next(&state)
        };
        match next {
            Some(frame) => say(writer, &frame).await?,
            // The sender is in the run.
            None => drop(moved.changed().await),
        }
    }
}

impl Said {
    /// What is to be said next, if anything is.
    fn next(&mut self, state: &State) -> Option<RunFrame> {
        if state.input.start() > self.taken {
            self.taken = state.input.start();
            return Some(RunFrame::Taken(self.taken));
        }
        if let Some((kind, place, bytes)) = state.printed.read(self.output, MAX_CHUNK) {
            self.output = place + bytes.len() as u64;
            return Some(RunFrame::Output(kind, place, bytes));
        }
        let ended = state.ended.clone().filter(|_| !self.ended)?;
        self.ended = true;
        Some(RunFrame::Ended(ended))
    }
}

async fn say<S: AsyncRead + AsyncWrite>(writer: &mut WriteHalf<S>, frame: &RunFrame) -> io::Result<()> {
    let bytes = frame.encode().map_err(io::Error::other)?;
    write_frame(writer, &bytes).await
}

/// Takes what the manager sends, until it goes or says what cannot be.
async fn listen<S: AsyncRead + AsyncWrite>(run: &Run, number: u64, mut reader: ReadHalf<S>) {
    while let Ok(Some(frame)) = read_frame(&mut reader, MAX_STREAM_FRAME).await {
        let frame = match RunFrame::decode(frame) {
            Ok(frame) => frame,
            Err(error) => return tracing::warn!(%error, "a run's stream says what cannot be read"),
        };
        let is_right = run.change(|state| state.stream != number || hear(state, frame));
        if !is_right {
            return tracing::warn!("a run's input has a gap, or more is sent than was taken");
        }
    }
}

/// False when the peer does not keep the rules.
fn hear(state: &mut State, frame: RunFrame) -> bool {
    match frame {
        RunFrame::Input(place, bytes) => return state.typed(place, &bytes),
        RunFrame::InputEnd => state.input_ends = true,
        RunFrame::Signal(number) => state.signal(number),
        RunFrame::Received(place) => state.arrived(place),
        RunFrame::Cancel => state.cancel = true,
        RunFrame::Done => state.done = state.ended.is_some(),
        // Of a newer version, or not a manager's to say.
        RunFrame::Begun(_) | RunFrame::Output(..) | RunFrame::Taken(_) | RunFrame::Ended(_) | RunFrame::Unknown(_) => {}
    }
    true
}
