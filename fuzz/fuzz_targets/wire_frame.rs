//! Any bytes as frames, and the frames as messages: what can be read is written and read again alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_wire::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use robo_wire::link::{FromAgent, FromManager};
use robo_wire::relay::{Arrival, FromRelay, ToRelay};
use robo_wire::stream::{Answer, ExecRequest, Open, StreamFrame};

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = bytes.to_vec();
    while let Ok(Some(frame)) = frame::take(&mut buffer, MAX_STREAM_FRAME) {
        assert!(frame.body.len() < MAX_STREAM_FRAME);
        again(&frame, FromAgent::encode, |f| FromAgent::decode(&f));
        again(&frame, FromManager::encode, |f| FromManager::decode(&f));
        again(&frame, Open::encode, |f| Open::decode(&f));
        again(&frame, ExecRequest::encode, |f| ExecRequest::decode(&f));
        again(&frame, StreamFrame::encode, StreamFrame::decode);
        again(&frame, Answer::encode, Answer::decode);
        again(&frame, ToRelay::encode, |f| ToRelay::decode(&f));
        again(&frame, FromRelay::encode, |f| Ok(FromRelay::decode(&f)));
        again(&frame, Arrival::encode, |f| Arrival::decode(&f));
    }
});

fn again<T: std::fmt::Debug + PartialEq>(
    frame: &Frame,
    encode: impl Fn(&T) -> Result<Vec<u8>, FrameError>,
    decode: impl Fn(Frame) -> Result<T, FrameError>,
) {
    let Ok(message) = decode(frame.clone()) else { return };
    // What defaults fill in may make a message longer than the bound; that is told, not sent.
    let Ok(mut bytes) = encode(&message) else { return };
    let frame = frame::take(&mut bytes, usize::MAX).expect("our own frame").expect("a whole one");
    assert_eq!(decode(frame).expect("our own message"), message);
}
