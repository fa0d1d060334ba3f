//! What connections through devices carry.

use robo_wire::forward::{
    Accepted, Broken, BrokenKind, FlowId, ForwardFrame, ForwardOpen, Opened, Place, Target, Wish,
};

pub(super) fn unix() -> Wish {
    Wish::Connect(Target::Unix { path: "/run/x".into() })
}

pub(super) fn forward_opens() -> [(&'static str, ForwardOpen); 2] {
    let tcp = Wish::Connect(Target::Tcp { host: "localhost".into(), port: 22 });
    let open = |wish, taken| ForwardOpen { flow: FlowId([200; 16]), by: "anna".into(), wish, taken };
    [("open-forward", open(Some(tcp), 0)), ("open-forward-again", open(None, 70_000))]
}

pub(super) fn forward_frames() -> Vec<(&'static str, ForwardFrame)> {
    let place = Place { host: "::1".into(), port: 0 };
    vec![
        ("forward-opened", ForwardFrame::Opened(Opened { taken: 70_000, port: Some(8080) })),
        ("forward-data", ForwardFrame::Data(70_000, b"\x03".to_vec())),
        ("forward-end", ForwardFrame::End(70_001)),
        ("forward-taken", ForwardFrame::Taken(70_002)),
        ("forward-broken", ForwardFrame::Broken(Broken::new(BrokenKind::TimedOut, place.to_string()))),
        ("forward-accepted", ForwardFrame::Accepted(Accepted { flow: FlowId([1; 16]), from: "[::1]:5".into() })),
    ]
}
