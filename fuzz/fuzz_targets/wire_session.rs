//! Any frames at any time to both sessions: no panic, and nothing happens before the welcome.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_model::quantity::UnixMillis;
use robo_model::spec::Generation;
use robo_wire::api::Facts;
use robo_wire::frame::{self, Frame};
use robo_wire::link::{Hello, PROTOCOL};
use robo_wire::session::{AgentEffect, AgentSession, HEARTBEAT, ManagerEffect, ManagerSession};

const START: UnixMillis = UnixMillis(0);

fuzz_target!(|bytes: &[u8]| {
    manager(bytes);
    agent(bytes);
});

/// The manager welcomes whoever says hello.
fn manager(bytes: &[u8]) {
    let mut session = ManagerSession::new(START, HEARTBEAT);
    let mut buffer = bytes.to_vec();
    let mut welcomed = false;
    while let Ok(Some(frame)) = frame::take(&mut buffer, session.max_frame()) {
        match session.frame(START, &frame) {
            Ok(Some(
                ManagerEffect::Update(_)
                | ManagerEffect::Accepted(_)
                | ManagerEffect::Refused(_)
                | ManagerEffect::Resync
                | ManagerEffect::Acted(_)
                | ManagerEffect::Facts(_),
            )) => assert!(welcomed),
            Ok(Some(ManagerEffect::Hello(_))) => {
                let name = "device".parse().expect("a name");
                let project = "default".parse().expect("a name");
                welcomed = session.welcome(START, name, project, String::new(), 0).is_ok();
            }
            Ok(Some(ManagerEffect::Send(_)) | None) => {}
            Err(_) => return,
        }
    }
}

fn agent(bytes: &[u8]) {
    let hello = Hello { protocol: PROTOCOL, facts: Facts::default(), generation: Generation(0), assignment: None, imports: None };
    let (mut session, _) = AgentSession::start(START, &hello).expect("a hello");
    let mut buffer = bytes.to_vec();
    let mut welcomed = false;
    while let Ok(Some(Frame { kind, body })) = frame::take(&mut buffer, bytes.len().max(1)) {
        match session.frame(START, &Frame { kind, body }) {
            Ok(Some(AgentEffect::Up(_))) => welcomed = true,
            Ok(Some(
                AgentEffect::Assign(_)
                | AgentEffect::Imports(_)
                | AgentEffect::Stored(_)
                | AgentEffect::Released(_)
                | AgentEffect::Act(_)
                | AgentEffect::Renew
                | AgentEffect::Named(_)
                | AgentEffect::Switches(_),
            )) => assert!(welcomed),
            Ok(Some(AgentEffect::Send(_)) | None) => {}
            Err(_) => return,
        }
    }
}
