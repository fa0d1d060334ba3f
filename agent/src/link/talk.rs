//! Carries what is said both ways on the control stream.
//!
//! Reading never waits for writing: both ends may have more to say than the windows between them hold, and two that
//! read only when all was said would wait for one another for ever.

use std::time::Duration;

use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{FromLink, LinkError, Say};

/// A message of which nothing leaves for this time means a dead connection. However long the whole of it takes: a line
/// may be narrow.
const STUCK: Duration = Duration::from_secs(60);

/// How long the loop may take to read the other side's last words: it answers within milliseconds.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(100);

/// How often the loop is told that a message is coming: often enough for a link that is kept by the second.
const HEARD_EVERY: Duration = Duration::from_secs(1);

/// The control stream of one connection.
pub(super) struct Talk<'a, S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    to_loop: &'a mpsc::Sender<FromLink>,
    welcomed: &'a mut bool,
    /// What came and is no whole frame yet.
    buffer: Vec<u8>,
    heard_at: Option<Instant>,
    going: Option<Going>,
}

/// A message that is leaving.
struct Going {
    bytes: Vec<u8>,
    sent: usize,
    /// When something of it left last.
    moved: Instant,
}

/// What happened.
enum Event {
    Read(usize),
    /// So many bytes left; none when the last ones were flushed.
    Sent(usize),
    Said(Option<Say>),
}

impl<'a, S: AsyncRead + AsyncWrite> Talk<'a, S> {
    pub(super) fn new(stream: S, to_loop: &'a mpsc::Sender<FromLink>, welcomed: &'a mut bool) -> Self {
        let (reader, writer) = split(stream);
        Self { reader, writer, to_loop, welcomed, buffer: Vec::new(), heard_at: None, going: None }
    }

    /// Goes on until something ends it; what is to be said comes from `to_say`.
    pub(super) async fn run(mut self, mut to_say: mpsc::Receiver<Say>) -> Result<(), LinkError> {
        loop {
            self.tell_frames().await?;
            let event = tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => Event::Read(read?),
                sent = go_on(&mut self.writer, self.going.as_ref()), if self.going.is_some() => Event::Sent(sent?),
                // One at a time: what waits, waits where it is bounded.
                said = to_say.recv(), if self.going.is_none() => Event::Said(said),
            };
            match event {
                Event::Read(0) => return Err(last_words(&mut to_say).await),
                Event::Read(_) => {}
                Event::Sent(0) => self.going = None,
                Event::Sent(more) => {
                    if let Some(going) = &mut self.going {
                        going.sent += more;
                        going.moved = Instant::now();
                    }
                }
                Event::Said(Some(Say::Bytes(bytes))) => {
                    self.going = Some(Going { bytes, sent: 0, moved: Instant::now() });
                }
                Event::Said(Some(Say::Welcomed)) => *self.welcomed = true,
                Event::Said(Some(Say::HangUp(why))) => return Err(LinkError::HangUp(why)),
                Event::Said(None) if self.to_loop.is_closed() => return Err(LinkError::Stopping),
                Event::Said(None) => return Err(LinkError::Slow),
            }
        }
    }

    /// Gives the loop all frames that are whole.
    async fn tell_frames(&mut self) -> Result<(), LinkError> {
        let began = Instant::now();
        while let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME)? {
            self.to_loop.send(FromLink::Frame(frame)).await.map_err(|_| LinkError::Stopping)?;
        }
        if let Some(going) = &mut self.going {
            // That the loop took its time is no fault of the line.
            going.moved += began.elapsed();
        }
        if !self.buffer.is_empty() && self.heard_at.is_none_or(|at| at.elapsed() >= HEARD_EVERY) {
            self.heard_at = Some(Instant::now());
            // A loop with a full queue has heard enough.
            drop(self.to_loop.try_send(FromLink::Heard));
        }
        Ok(())
    }
}

/// The other side ended. The loop may just be reading why.
async fn last_words(to_say: &mut mpsc::Receiver<Say>) -> LinkError {
    let why = async {
        loop {
            match to_say.recv().await {
                Some(Say::HangUp(why)) => return LinkError::HangUp(why),
                Some(Say::Bytes(_) | Say::Welcomed) => {}
                None => return LinkError::HungUp,
            }
        }
    };
    timeout(LAST_WORDS, why).await.unwrap_or(LinkError::HungUp)
}

/// Sends a part of what is going, and flushes behind the last one. Nothing is lost when this is cancelled.
async fn go_on(writer: &mut (impl AsyncWrite + Unpin), going: Option<&Going>) -> Result<usize, LinkError> {
    let Some(Going { bytes, sent, moved }) = going else { return Ok(0) };
    let step = async {
        match bytes.get(*sent..) {
            Some(rest) if !rest.is_empty() => match writer.write(rest).await? {
                0 => Err(std::io::ErrorKind::WriteZero.into()),
                more => Ok(more),
            },
            Some(_) | None => writer.flush().await.map(|()| 0),
        }
    };
    Ok(timeout_at(*moved + STUCK, step).await.map_err(|_| LinkError::Stuck(STUCK))??)
}

#[cfg(test)]
mod tests {
    use robo_wire::session::SessionError;
    use tokio::io::duplex;

    use super::*;
    use crate::pilot::HangUp;

    const LARGE: usize = MAX_CONTROL_FRAME / 2;
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn two_who_say_much_at_once_both_get_through() {
        let (ours, mut theirs) = duplex(64 * 1024);
        let (to_loop, mut heard) = mpsc::channel(4);
        let (say, to_say) = mpsc::channel(4);
        let mut welcomed = false;
        say.send(Say::Bytes(vec![7; LARGE])).await.unwrap();
        say.send(Say::Welcomed).await.unwrap();
        say.send(Say::Bytes(vec![8; 10])).await.unwrap();
        let manager = async move {
            // It reads only when all was said.
            let message = frame::encode(9, &vec![1; LARGE], MAX_CONTROL_FRAME).unwrap();
            theirs.write_all(&message).await.unwrap();
            let mut got = vec![0; LARGE + 10];
            theirs.read_exact(&mut got).await.unwrap();
            assert!(got.ends_with(&[7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]));
        };
        let talk = Talk::new(ours, &to_loop, &mut welcomed).run(to_say);
        let (ended, ()) = timeout(PATIENCE, async { tokio::join!(talk, manager) }).await.unwrap();
        assert!(matches!(ended, Err(LinkError::HungUp)), "{ended:?}");
        assert!(welcomed);
        assert!(matches!(heard.recv().await, Some(FromLink::Heard)));
        assert!(matches!(heard.recv().await, Some(FromLink::Frame(frame)) if frame.body.len() == LARGE));
    }

    #[tokio::test]
    async fn who_hung_up_with_last_words_is_heard() {
        let (ours, mut theirs) = duplex(64);
        let (to_loop, mut heard) = mpsc::channel(4);
        let (say, to_say) = mpsc::channel(4);
        let mut welcomed = false;
        theirs.write_all(&frame::encode(9, b"goodbye", MAX_CONTROL_FRAME).unwrap()).await.unwrap();
        drop(theirs);
        let agent = async move {
            while !matches!(heard.recv().await, Some(FromLink::Frame(_))) {}
            tokio::task::yield_now().await;
            say.send(Say::Bytes(Vec::new())).await.unwrap();
            let why = HangUp::Session(SessionError::Goodbye { reason: "enough".into(), final_: true, renew: false });
            say.send(Say::HangUp(why)).await.unwrap();
        };
        let talk = Talk::new(ours, &to_loop, &mut welcomed).run(to_say);
        let (ended, ()) = timeout(PATIENCE, async { tokio::join!(talk, agent) }).await.unwrap();
        assert!(matches!(ended, Err(LinkError::HangUp(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_part_of_a_message_is_a_sign_of_life() {
        let (ours, mut theirs) = duplex(64);
        let (to_loop, mut heard) = mpsc::channel(4);
        let (_say, to_say) = mpsc::channel(4);
        let mut welcomed = false;
        let message = frame::encode(9, b"some words", MAX_CONTROL_FRAME).unwrap();
        let manager = async move {
            theirs.write_all(&message[..8]).await.unwrap();
            assert!(matches!(heard.recv().await, Some(FromLink::Heard)));
            theirs.write_all(&message[8..]).await.unwrap();
            assert!(matches!(heard.recv().await, Some(FromLink::Frame(_))));
        };
        let talk = Talk::new(ours, &to_loop, &mut welcomed).run(to_say);
        drop(timeout(PATIENCE, async { tokio::join!(talk, manager) }).await.unwrap());
    }
}
