//! Our standard input on its way to the targets.

use std::io;

use bytes::Bytes;
use robo_wire::stream::{MAX_CHUNK, StreamFrame};
use tokio::sync::mpsc::Sender;

/// Frames that wait for the connection: two hundred kilobytes, enough to keep it busy.
pub(super) const QUEUE: usize = 8;

/// Reads standard input to its end, on a thread of its own: such a read cannot be broken off, so it must hold up
/// neither the runtime nor the end of the program. The thread ends with the input or with the program.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn forward(to: Sender<io::Result<Bytes>>) -> io::Result<()> {
    std::thread::Builder::new().name("stdin".into()).spawn(move || copy(io::stdin(), &to)).map(drop)
}

fn copy(mut from: impl io::Read, to: &Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; MAX_CHUNK];
    loop {
        let frame = match from.read(&mut buffer) {
            Ok(0) => StreamFrame::StdinEnd,
            Ok(count) => StreamFrame::Stdin(buffer.get(..count).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("standard input cannot be read any further: {error}");
                StreamFrame::StdinEnd
            }
        };
        let is_end = frame == StreamFrame::StdinEnd;
        let Ok(bytes) = frame.encode() else { return };
        if to.blocking_send(Ok(bytes.into())).is_err() || is_end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::frame::{self, MAX_STREAM_FRAME};
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn input_is_sent_in_pieces_and_ends_once() {
        let text = vec![b'x'; MAX_CHUNK + 10];
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        copy(text.as_slice(), &sender);
        drop(sender);
        let mut sizes = Vec::new();
        while let Some(bytes) = receiver.blocking_recv() {
            let mut bytes = bytes.unwrap().to_vec();
            let frame = frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap();
            if let StreamFrame::Stdin(data) = StreamFrame::decode(frame.clone()).unwrap() {
                sizes.push(data.len());
            } else {
                assert_eq!(StreamFrame::decode(frame).unwrap(), StreamFrame::StdinEnd);
            }
        }
        assert_eq!(sizes, [MAX_CHUNK, 10]);
    }
}
