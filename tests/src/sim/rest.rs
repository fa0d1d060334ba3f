//! The end of a story: all becomes as it should be, and then nothing moves, whoever comes and goes.

use super::schedule::{SECOND, Time};
use super::watch::Failing;
use super::world::{Event, PATIENCE, World};

/// How often it is looked whether all is as it should be.
const LOOK: Time = 5 * SECOND;

/// How long it is watched that nothing moves: longer than leases and heartbeats.
const WATCHED: Time = 100 * SECOND;

/// How far a story has come to rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Rest {
    /// Some are not connected yet.
    #[default]
    Gathering,
    /// Everything was asked to be tried again.
    Settling,
    /// All was as it should be, after so many steps; agents and manager were started again, until then.
    Watched { steps: u64, until: Time },
}

impl World {
    pub(super) fn look(&mut self) {
        match self.rest {
            Rest::Gathering => {
                if self.store.devices.keys().all(|id| self.manager.newest.contains_key(id)) {
                    self.retry_everything();
                    self.rest = Rest::Settling;
                } else if self.is_too_late() {
                    return self.fail(Failing::NotConverged, self.difference().unwrap_or_default());
                }
            }
            Rest::Settling => match self.difference() {
                None if self.people.is_idle() => self.disturb_all(),
                Some(what) if self.is_too_late() => return self.fail(Failing::NotConverged, what),
                None | Some(_) => {}
            },
            Rest::Watched { steps, until } => {
                if self.watch.steps != steps {
                    let more = self.watch.steps - steps;
                    return self.fail(Failing::Restless, format!("{more} steps began although all was well"));
                }
                if self.now() >= until {
                    return self.finish();
                }
            }
        }
        self.schedule.after(LOOK, Event::Look);
    }

    fn is_too_late(&self) -> bool {
        self.now() > self.end() + PATIENCE
    }

    /// Connections, agents and the manager come and go; no step may follow from that.
    fn disturb_all(&mut self) {
        let now = self.now();
        self.rest = Rest::Watched { steps: self.watch.steps, until: now + WATCHED };
        for device in 0..self.agents.len() {
            if device % 2 == 0 {
                self.cut(device);
            } else if self.agents[device].pilot.is_some() {
                self.agent_ends(device, now + SECOND, false);
            }
        }
        self.manager_dies(now + 2 * SECOND);
    }

    fn finish(&mut self) {
        self.done = true;
        if let Some(what) = self.difference() {
            return self.fail(Failing::Restless, what);
        }
        if let Some(what) = self.lost() {
            return self.fail(Failing::Lost, what);
        }
        let open = self.people.open();
        if !open.is_empty() {
            self.fail(Failing::Verdict, format!("no verdict for the requests {open:?}"));
        }
    }
}
