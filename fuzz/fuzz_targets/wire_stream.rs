//! Any bytes as frames of every kind of stream: what can be read is written and read again alike, and what two ends of a
//! forwarded connection are told never breaks what they keep.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_wire::backlog::Backlog;
use robo_wire::copy::{CopyFrame, CopyOpen, parts};
use robo_wire::forward::ForwardFrame;
use robo_wire::forward::flow::{Flow, Said, ToSocket};
use robo_wire::frame::{self, Frame, FrameError, MAX_PLACE, MAX_STREAM_FRAME};
use robo_wire::job::RunFrame;
use robo_wire::shell::{AttachRequest, ShellFrame, ShellRequest};
use robo_wire::upgrade::UpgradeFrame;

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = bytes.to_vec();
    let (mut flow, mut printed) = (Flow::default(), Backlog::new(0, 64));
    while let Ok(Some(frame)) = frame::take(&mut buffer, MAX_STREAM_FRAME) {
        again(&frame, CopyOpen::encode, |f| CopyOpen::decode(&f));
        again(&frame, CopyFrame::encode, |f| CopyFrame::decode(&f));
        again(&frame, ShellRequest::encode, |f| ShellRequest::decode(&f));
        again(&frame, AttachRequest::encode, |f| AttachRequest::decode(&f));
        again(&frame, ShellFrame::encode, ShellFrame::decode);
        again(&frame, RunFrame::encode, RunFrame::decode);
        again(&frame, ForwardFrame::encode, ForwardFrame::decode);
        again(&frame, UpgradeFrame::encode, UpgradeFrame::decode);
        if let Ok(CopyFrame::Entry(entry)) = CopyFrame::decode(&frame)
            && let Ok(parts) = parts(&entry.name)
        {
            assert!(parts.iter().all(|part| !part.is_empty() && *part != b".." && !part.contains(&b'/')));
        }
        match RunFrame::decode(frame.clone()) {
            Ok(RunFrame::Output(_, place, data) | RunFrame::Input(place, data)) => {
                assert!(place <= MAX_PLACE);
                printed.push(&data);
                drop(printed.read(place, 16));
            }
            Ok(RunFrame::Taken(place) | RunFrame::Received(place)) => printed.forget_before(place),
            _ => {}
        }
        if let Ok(said) = ForwardFrame::decode(frame) {
            carry(&mut flow, said);
        }
    }
});

/// One end of a connection hears this, reads a little, writes a little, and says what there is to say.
fn carry(flow: &mut Flow, said: ForwardFrame) {
    let before = flow.taken();
    if flow.hear(said).is_err() {
        return;
    }
    flow.read(&b"answer"[..flow.room().min(6)]);
    match flow.to_socket(100) {
        Some(ToSocket::Bytes(bytes)) => flow.wrote(bytes.len()),
        Some(ToSocket::Close) => flow.closed(),
        None => {}
    }
    assert!(flow.taken() >= before);
    let mut voice = Said::new(flow, before);
    for _ in 0..4 {
        if let Some(frame) = voice.next(flow) {
            assert!(frame.encode().is_ok());
        }
    }
}

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
