//! Any frames at any time to the manager's side of a link, with a store that answers anything: no panic; before the
//! welcome nothing is stored; of each update there is one, in its order; what is said can be read.
//!
//! An input is a hello's fate and then steps: a byte says which, and what belongs to it follows. The rest of the input is
//! frames, taken one by one.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use robo_manager::gateway::core::{Answer, Ask, LinkCore, LinkRecord, Newest, Out, RenewalDue, Woken};
use robo_manager::gateway::offers::Offers;
use robo_manager::store::{FactsMoved, Recorded};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{Assignment, Generation};
use robo_wire::api::Facts;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{FromAgent, FromManager, Hello, PROTOCOL};
use robo_wire::switch::Switches;

/// Steps of one input come before its frames.
const MAX_STEPS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let (steps, frames) = rest.split_at(rest.len().min(usize::from(count) % MAX_STEPS));
    let mut rig = Rig::new(frames.to_vec());
    if count & 0x80 == 0 {
        let hello = FromAgent::Hello(Hello {
            protocol: PROTOCOL,
            facts: Facts::default(),
            generation: Generation(u64::from(count)),
            assignment: None,
            imports: None,
        });
        let mut bytes = hello.encode().expect("it fits");
        let frame = frame::take(&mut bytes, MAX_CONTROL_FRAME).expect("a frame").expect("a whole one");
        let outs = rig.core.frame(rig.now, &frame);
        if rig.carry_out(outs.ok()).is_none() {
            return;
        }
    }
    for step in steps {
        if rig.step(*step).is_none() {
            return;
        }
    }
    // Then everything that is left, as a busy store and a patient clock have it.
    while rig.step(0).is_some() && !rig.frames.is_empty() && rig.step(1).is_some() {}
});

struct Rig {
    core: LinkCore,
    now: UnixMillis,
    frames: Vec<u8>,
    asked: Option<Ask>,
    up: bool,
    last: u64,
}

impl Rig {
    fn new(frames: Vec<u8>) -> Self {
        let record = LinkRecord {
            id: "d-1".parse().expect("a name"),
            name: "one".parse().expect("a name"),
            project: "default".parse().expect("a name"),
            generation: Generation(3),
            accepted: Generation(2),
            events_stored: 7,
            renewal: Some(RenewalDue { first: Millis(10_000), again: Millis(10_000) }),
            ssh_authority: None,
            switches: Switches::default(),
        };
        let core = LinkCore::new(record, Millis(5_000), UnixMillis(0));
        Self { core, now: UnixMillis(0), frames, asked: None, up: false, last: 0 }
    }

    /// One thing happens; nothing when the link has ended.
    fn step(&mut self, step: u8) -> Option<()> {
        let outs = match step % 4 {
            0 => {
                if !self.core.takes_frames() {
                    return self.answer(step);
                }
                let frame = frame::take(&mut self.frames, self.core.max_frame()).ok()??;
                self.core.frame(self.now, &frame)
            }
            1 => return self.answer(step),
            2 => {
                self.now = self.now.plus(Millis(u64::from(step) * 50));
                self.core.tick(self.now)
            }
            _ => self.core.woken(Woken {
                newest: step & 4 != 0,
                assignment: step & 8 != 0,
                imports: step & 16 != 0,
                releases: step & 32 != 0,
                renew: step & 64 != 0,
                ..Woken::default()
            }),
        };
        self.carry_out(outs.ok())
    }

    fn answer(&mut self, step: u8) -> Option<()> {
        let Some(ask) = self.asked.take() else { return Some(()) };
        let generation = Generation(u64::from(step >> 3));
        let answer = match ask {
            Ask::Online(_) => Answer::Online(Vec::new()),
            Ask::Facts(_) => Answer::Facts(FactsMoved::default()),
            Ask::Newest => Answer::Newest(Some(Newest { generation, name: "d".parse().expect("a name"), switches: Switches::default() })),
            Ask::Assignment => Answer::Assignment(Some(Assignment { generation, ..Assignment::default() })),
            Ask::Accepted(_) | Ask::Refused(..) => Answer::Done,
            Ask::RaiseGeneration { .. } => Answer::Raised((step & 8 != 0).then_some(generation)),
            Ask::Record(update) => Answer::Recorded(Recorded {
                events_stored: update.events.iter().map(|event| event.seq).max().unwrap_or(0),
                exports_changed: Vec::new(),
                release_changed: Vec::new(),
                events_added: !update.events.is_empty(),
                unknown: BTreeSet::new(),
                unnamed: BTreeMap::new(),
            }),
            Ask::Providers { applications, .. } => {
                let none = || Arc::new(Offers::new(Vec::new()));
                Answer::Providers(applications.into_iter().map(|name| (name, none())).collect::<BTreeMap<_, _>>())
            }
            Ask::Released(_) => Answer::Released(BTreeSet::new()),
        };
        let outs = self.core.answered(self.now, answer);
        self.carry_out(outs.ok())
    }

    fn carry_out(&mut self, outs: Option<Vec<Out>>) -> Option<()> {
        for out in outs? {
            match out {
                Out::Send(mut bytes) => {
                    while let Some(frame) = frame::take(&mut bytes, MAX_CONTROL_FRAME).expect("our own frame") {
                        FromManager::decode(&frame).expect("our own message");
                    }
                    assert!(bytes.is_empty());
                }
                Out::Ask(ask) => {
                    assert!(self.asked.is_none(), "one at a time");
                    match &ask {
                        Ask::Online(_) => assert!(!self.up),
                        Ask::Record(update) => {
                            assert!(self.up && update.seq == self.last + 1, "{update:?} after {}", self.last);
                            self.last = update.seq;
                        }
                        _ => assert!(self.up),
                    }
                    self.asked = Some(ask);
                }
                Out::Up => self.up = true,
                Out::Interest(_) | Out::Waits(_) | Out::Acted(_) | Out::Switched(_) => assert!(self.up),
            }
        }
        Some(())
    }
}
