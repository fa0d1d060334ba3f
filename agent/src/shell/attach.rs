//! A stream to a session: carries what is printed to the manager, and what is typed back.

use std::io;

use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::shell::{Attached, ShellFrame};
use robo_wire::stream::MAX_CHUNK;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::session::{Session, State};
use crate::framing::{read_frame, write_frame};

/// Serves `stream` until it ends, the session does, or another stream takes over. The manager has the output up to
/// `from`.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(session: &Session, from: u64, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (number, attached) = session.change(|state| {
        let number = state.attach(from);
        (number, Attached { from: state.delivered, taken: state.input.end() })
    });
    let _attachment = Attachment { session, number };
    tokio::select! {
        spoken = speak(session, number, attached, &mut writer) => {
            if let Err(error) = spoken {
                tracing::debug!(%error, "a session's stream broke");
            }
        }
        () = listen(session, number, reader) => {}
    }
    writer.shutdown().await.ok();
}

/// Gives the session free again, however the stream ends.
struct Attachment<'a> {
    session: &'a Session,
    number: u64,
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        self.session.change(|state| state.detach(self.number));
    }
}

/// What the manager was told already.
struct Said {
    output: u64,
    taken: u64,
    notice: u64,
}

async fn speak<S: AsyncRead + AsyncWrite>(
    session: &Session,
    number: u64,
    attached: Attached,
    writer: &mut WriteHalf<S>,
) -> io::Result<()> {
    let mut moved = session.watch();
    let notice = session.look().notice.0;
    let mut said = Said { output: attached.from, taken: session.look().input.start(), notice };
    say(writer, &ShellFrame::Attached(attached)).await?;
    loop {
        moved.borrow_and_update();
        let next = {
            let state = session.look();
            if state.stream != number {
                return Ok(());
            }
            said.next(&state)
        };
        let Some(frame) = next else {
            // The sender is in the session.
            moved.changed().await.ok();
            continue;
        };
        say(writer, &frame).await?;
        if let ShellFrame::Verdict(_) = frame {
            session.change(|state| state.told = true);
            return Ok(());
        }
        session.change(|state| state.delivered = state.delivered.max(said.output));
    }
}

impl Said {
    /// What is to be said next, if anything is.
    fn next(&mut self, state: &State) -> Option<ShellFrame> {
        if state.input.start() > self.taken {
            self.taken = state.input.start();
            return Some(ShellFrame::Taken(self.taken));
        }
        if let Some((place, bytes)) = state.output.read(self.output, MAX_CHUNK) {
            self.output = place + bytes.len() as u64;
            return Some(ShellFrame::Output(place, bytes));
        }
        if state.notice.0 > self.notice {
            self.notice = state.notice.0;
            return Some(ShellFrame::Notice(state.notice.1.clone()));
        }
        state.verdict.clone().map(ShellFrame::Verdict)
    }
}

async fn say<S: AsyncRead + AsyncWrite>(writer: &mut WriteHalf<S>, frame: &ShellFrame) -> io::Result<()> {
    let bytes = frame.encode().map_err(io::Error::other)?;
    write_frame(writer, &bytes).await
}

/// Takes what the manager sends, until it goes or says what cannot be.
async fn listen<S: AsyncRead + AsyncWrite>(session: &Session, number: u64, mut reader: ReadHalf<S>) {
    while let Ok(Some(frame)) = read_frame(&mut reader, MAX_STREAM_FRAME).await {
        let frame = match ShellFrame::decode(frame) {
            Ok(frame) => frame,
            Err(error) => return tracing::warn!(%error, "a session's stream says what cannot be read"),
        };
        let is_right = session.change(|state| state.stream != number || hear(state, frame));
        if !is_right {
            return tracing::warn!("a session's input has a gap, or more is sent than was taken");
        }
    }
}

/// False when the peer does not keep the rules.
fn hear(state: &mut State, frame: ShellFrame) -> bool {
    match frame {
        ShellFrame::Input(place, bytes) => return state.typed(place, &bytes),
        ShellFrame::Resize(size) => state.size = size,
        ShellFrame::End => state.end = true,
        ShellFrame::Present(present) => state.set_present(present),
        ShellFrame::Redraw => state.redraw = true,
        // Of a newer version, or not a manager's to say.
        ShellFrame::Attached(_)
        | ShellFrame::Output(..)
        | ShellFrame::Taken(_)
        | ShellFrame::Notice(_)
        | ShellFrame::Reachable(_)
        | ShellFrame::Joined(_)
        | ShellFrame::Verdict(_)
        | ShellFrame::Unknown(_) => {}
    }
    true
}
