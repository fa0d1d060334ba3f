//! Any frames at any time to all that an agent decides: no panic; before the welcome nothing is taken; nothing runs
//! before what asked for it is on the disk; what is said can be read.

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use robo_agent::ledger::Ledger;
use robo_agent::order::{Addresses, Outcome, Report};
use robo_agent::pilot::{LinkId, Loaded, Now, Out, Pilot};
use robo_model::quantity::UnixMillis;
use robo_wire::api::Facts;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{FromAgent, FromManager, Welcome};
use robo_wire::session::HEARTBEAT;

/// Steps of one input come before its frames.
const MAX_STEPS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let (steps, frames) = rest.split_at(rest.len().min(usize::from(count) % MAX_STEPS));
    let mut rig = Rig::new(frames.to_vec());
    if count & 0x80 == 0 {
        let welcome = FromManager::Welcome(Welcome {
            protocol: 1,
            manager_version: String::new(),
            name: "one".parse().expect("a name"),
            project: "default".parse().expect("a name"),
            heartbeat: HEARTBEAT,
            events_stored: 0,
            ssh_authority: None,
        });
        let mut bytes = welcome.encode().expect("it fits");
        bytes.append(&mut rig.frames);
        rig.frames = bytes;
        rig.step(0);
    }
    for step in steps {
        rig.step(*step);
    }
    while !rig.frames.is_empty() && rig.step(0) {
        rig.step(1);
    }
});

struct Rig {
    pilot: Pilot,
    link: LinkId,
    steady: u64,
    frames: Vec<u8>,
    up: bool,
    writing: bool,
    ended: VecDeque<Report>,
}

impl Rig {
    fn new(frames: Vec<u8>) -> Self {
        let addresses = Addresses::only("127.0.0.1");
        let (pilot, outs) = Pilot::new(Loaded::from(Ledger::default()), addresses, "boot".to_owned(), now(0));
        let mut rig =
            Self { pilot, link: LinkId(0), steady: 0, frames, up: false, writing: false, ended: VecDeque::new() };
        rig.carry_out(outs);
        rig.connect();
        rig
    }

    fn connect(&mut self) {
        let addresses = Addresses::only("127.0.0.1");
        self.up = false;
        let (link, outs) = self.pilot.connect(now(self.steady), addresses, Facts::default());
        self.link = link;
        self.carry_out(outs);
    }

    /// One thing happens. False when there are no more frames.
    fn step(&mut self, step: u8) -> bool {
        let now = now(self.steady);
        let outs = match step % 4 {
            0 => {
                let Ok(Some(frame)) = frame::take(&mut self.frames, MAX_CONTROL_FRAME) else {
                    self.frames.clear();
                    return false;
                };
                self.pilot.frame(now, self.link, &frame)
            }
            1 if self.writing => {
                self.writing = false;
                if step & 0x80 == 0 { self.pilot.persisted(now) } else { self.pilot.persist_failed(now) }
            }
            1 => match self.ended.pop_front() {
                Some(report) => self.pilot.reports(now, [report]),
                None => Vec::new(),
            },
            2 => {
                self.steady += u64::from(step) * 50;
                self.pilot.tick(self::now(self.steady))
            }
            _ => {
                let outs = self.pilot.hung_up(now, self.link);
                self.carry_out(outs);
                self.connect();
                Vec::new()
            }
        };
        self.carry_out(outs);
        true
    }

    fn carry_out(&mut self, outs: Vec<Out>) {
        let mut again = false;
        for out in outs {
            match out {
                Out::Write(parts) => {
                    assert!(!self.writing, "one at a time");
                    assert!(!parts.is_empty());
                    self.writing = true;
                }
                Out::Begin(order) => {
                    let (key, run) = (order.key, order.run);
                    self.ended.push_back(Report::StepEnded { key, run, outcome: Outcome::Done });
                }
                Out::Send(link, mut bytes) => {
                    assert!(self.link == link || self.link == LinkId(0));
                    while let Some(frame) = frame::take(&mut bytes, MAX_CONTROL_FRAME).expect("our own frame") {
                        let said = FromAgent::decode(&frame).expect("our own message");
                        assert!(self.up || matches!(said, FromAgent::Hello(_)), "{said:?}");
                    }
                    assert!(bytes.is_empty());
                }
                Out::Up(..) => self.up = true,
                Out::HangUp(..) => again = true,
                Out::Watch(_)
                | Out::Abort { .. }
                | Out::Context(_)
                | Out::Forget(_)
                | Out::Tidy(_)
                | Out::Named(_)
                | Out::Switches(_)
                | Out::Renew => {}
            }
        }
        if again {
            let outs = self.pilot.hung_up(now(self.steady), self.link);
            self.carry_out(outs);
            self.connect();
        }
    }
}

fn now(steady: u64) -> Now {
    Now { wall: UnixMillis(1_700_000_000_000 + steady), steady: UnixMillis(steady) }
}
