//! A stream to a flow: carries what came out of its socket to the manager, and what comes for it back.

use std::io;

use robo_wire::forward::flow::Said;
use robo_wire::forward::{Broken, BrokenKind, ForwardFrame, Opened};
use robo_wire::frame::MAX_STREAM_FRAME;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::shared::{Shared, State};
use crate::framing::{read_frame, write_frame};

/// Serves `stream` until it ends, the flow does, or another stream takes over. The client has taken so much.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, taken: u64, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (number, arrived) = shared.change(|state| (state.attach(), state.flow.arrived(taken)));
    let _attachment = Attachment { shared, number };
    if let Err(broken) = arrived {
        shared.break_off(broken);
    }
    tokio::select! {
        spoken = speak(shared, number, &mut writer) => {
            if let Err(error) = spoken {
                tracing::debug!(%error, "a forwarded connection's stream broke");
            }
        }
        () = listen(shared, number, reader) => {}
    }
    writer.shutdown().await.ok();
}

/// Gives the flow free again, however the stream ends.
struct Attachment<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        self.shared.change(|state| state.detach(self.number));
    }
}

async fn speak<S: AsyncRead + AsyncWrite>(shared: &Shared, number: u64, writer: &mut WriteHalf<S>) -> io::Result<()> {
    let mut moved = shared.watch();
    let mut speech = Speech::default();
    loop {
        moved.borrow_and_update();
        let next = {
            let state = shared.look();
            if state.stream != number {
                return Ok(());
            }
            speech.next(&state)
        };
        let Some(frame) = next else {
            // The sender is in the flow.
            moved.changed().await.ok();
            continue;
        };
        write_frame(writer, &frame.encode().map_err(io::Error::other)?).await?;
        if let ForwardFrame::Broken(_) = frame {
            shared.change(|state| state.is_told = true);
            return Ok(());
        }
    }
}

/// What was said over this stream.
#[derive(Default)]
struct Speech {
    /// Nothing before the flow is open.
    said: Option<Said>,
    accepted: u64,
}

impl Speech {
    /// What is to be said next, if anything is.
    fn next(&mut self, state: &State) -> Option<ForwardFrame> {
        if let Some(broken) = &state.broken {
            return Some(ForwardFrame::Broken(broken.clone()));
        }
        let port = state.opened?;
        let Some(said) = &mut self.said else {
            let taken = state.flow.taken();
            self.said = Some(Said::new(&state.flow, taken));
            return Some(ForwardFrame::Opened(Opened { taken, port }));
        };
        if let Some((count, accepted)) = state.next_accepted(self.accepted) {
            self.accepted = count;
            return Some(ForwardFrame::Accepted(accepted));
        }
        said.next(&state.flow)
    }
}

/// Takes what comes until the stream ends, or says what cannot be.
async fn listen<S: AsyncRead + AsyncWrite>(shared: &Shared, number: u64, mut reader: ReadHalf<S>) {
    while let Ok(Some(frame)) = read_frame(&mut reader, MAX_STREAM_FRAME).await {
        let heard = match ForwardFrame::decode(frame) {
            Ok(frame) => {
                let says_broken = matches!(frame, ForwardFrame::Broken(_));
                shared.change(|state| {
                    if state.stream != number {
                        return Ok(());
                    }
                    // Who says it knows it.
                    state.is_told |= says_broken;
                    state.flow.hear(frame)
                })
            }
            Err(error) => Err(Broken::new(BrokenKind::Lost, error.to_string())),
        };
        if let Err(broken) = heard {
            tracing::debug!(%broken, "a forwarded connection is broken off");
            shared.break_off(broken);
        }
    }
}
