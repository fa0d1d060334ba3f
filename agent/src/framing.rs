//! Reads and writes `robo_wire::frame` frames on anything that carries bytes.

use std::io;

use robo_wire::frame::{self, Frame, HEADER_BYTES};
use robo_wire::stream::{MAX_CHUNK, StreamFrame, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Room that is taken for a body before its bytes are there: a length field alone costs a peer's victim no more.
const FIRST_ROOM: usize = 64 * 1024;

/// Reads one frame of at most `max` bytes; nothing when the peer closed between two frames.
///
/// Not safe to cancel: a frame that was read half is lost.
///
/// # Errors
/// `InvalidData` when the header is wrong, `UnexpectedEof` when the peer closed within a frame, and what the
/// reader says.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    let first = reader.read(&mut header).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(header.get_mut(first..).unwrap_or_default()).await?;
    let (kind, length) = frame::read_header(header, max).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let mut body = Vec::with_capacity(length.min(FIRST_ROOM));
    let read = reader.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { kind, body }))
}

/// Writes the bytes of one frame, as the messages of `robo_wire` encode themselves, and flushes.
///
/// # Errors
/// What the writer says.
pub async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    writer.write_all(frame).await?;
    writer.flush().await
}

/// Answers a stream that the manager opened: with the bytes that come of `work` as output and the verdict that all is
/// well, or with the reason why nothing does. Ends early when the stream does.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, work: impl Future<Output = Result<Vec<u8>, String>>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let work = async {
        // A peer that is gone needs none.
        say(&mut writer, work.await).await.ok();
        writer.shutdown().await.ok();
    };
    until_gone(reader, work).await;
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), said: Result<Vec<u8>, String>) -> io::Result<()> {
    let mut frames = Vec::new();
    let verdict = match said {
        Ok(bytes) => {
            frames.extend(bytes.chunks(MAX_CHUNK).map(|piece| StreamFrame::Stdout(piece.to_vec())));
            Verdict::Ok
        }
        Err(reason) => Verdict::Refused { reason },
    };
    frames.push(StreamFrame::Verdict(verdict));
    for frame in frames {
        write_frame(writer, &frame.encode().map_err(io::Error::other)?).await?;
    }
    Ok(())
}

/// Does `work`, which writes to a peer, unless the peer goes first: nothing else is expected of it.
pub async fn until_gone(mut reader: impl AsyncRead + Unpin, work: impl Future<Output = ()>) {
    let mut ignored = [0; 512];
    let gone = async { while reader.read(&mut ignored).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = work => {}
        () = gone => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(bytes: &[u8], expect: Result<Option<(u8, &[u8])>, io::ErrorKind>) {
        let mut reader = bytes;
        let got = read_frame(&mut reader, 10).await;
        let got = got.map(|f| f.map(|f| (f.kind, f.body))).map_err(|e| e.kind());
        assert_eq!(got, expect.map(|f| f.map(|(kind, body)| (kind, body.to_vec()))), "{bytes:?}");
    }

    #[tokio::test]
    async fn frames_are_read_whole_or_refused() {
        check(&[], Ok(None)).await;
        check(&[0, 0, 0, 3, 7, 1, 2], Ok(Some((7, &[1, 2])))).await;
        check(&[0, 0, 0, 1, 7], Ok(Some((7, &[])))).await;
        check(&[0, 0], Err(io::ErrorKind::UnexpectedEof)).await;
        check(&[0, 0, 0, 3, 7, 1], Err(io::ErrorKind::UnexpectedEof)).await;
        check(&[0, 0, 0, 0, 7], Err(io::ErrorKind::InvalidData)).await;
        check(&[255, 0, 0, 0, 7], Err(io::ErrorKind::InvalidData)).await;
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &frame::encode(3, b"abc", 10).unwrap()).await.unwrap();
        check(&bytes, Ok(Some((3, b"abc")))).await;
    }
}
