//! What a link wants of the store, and what the store answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use robo_model::name::{ApplicationName, DeviceId, DeviceName, ProjectName};
use robo_model::spec::{Assignment, Generation, InstanceKey};
use robo_wire::api::Facts;
use robo_wire::link::Update;
use robo_wire::switch::Switches;

use crate::bus::Ring;
use crate::gateway::offers::Offers;
use crate::store::{FactsMoved, Recorded};

/// What the store is asked, about the link's own device where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The device is there, and tells this of itself. Answer: [`Answer::Online`].
    Online(Box<Facts>),
    /// It tells this of itself now. Answer: [`Answer::Facts`].
    Facts(Box<Facts>),
    /// The number of its newest assignment, and its name. Answer: [`Answer::Newest`].
    Newest,
    /// Everything it should run. Answer: [`Answer::Assignment`].
    Assignment,
    /// It has this assignment on its disk. Answer: [`Answer::Done`].
    Accepted(Generation),
    /// It cannot take this assignment, for this reason. Answer: [`Answer::Done`].
    Refused(Generation, String),
    /// Number its assignment anew, unless another one was made in between. Answer: [`Answer::Raised`].
    RaiseGeneration {
        /// The number it has, as far as is known.
        from: Generation,
        /// The number it gets.
        to: Generation,
    },
    /// Store what it told. Answer: [`Answer::Recorded`].
    Record(Update),
    /// What the instances of these applications offer, on all devices. Answer: [`Answer::Providers`], with each of
    /// them. The look may be older than the ask when nothing was rung since; where `fresh` is said, it may not be older
    /// than [`super::LOOK_ANYWAY`].
    Providers {
        /// Which.
        applications: BTreeSet<ApplicationName>,
        /// True when a lost message of the bus is to be made up for.
        fresh: bool,
    },
    /// The instances that are released in these applications, and in those bound to them or by them, on all devices.
    /// Answer: [`Answer::Released`].
    Released(BTreeSet<ApplicationName>),
}

/// What the store answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Written.
    Done,
    /// Written; or nothing was, because the assignment has this number by now.
    Raised(Option<Generation>),
    /// Written. Exports in these applications were withdrawn because the device was silent, and are back.
    Online(Vec<ApplicationName>),
    /// Written, and that moved.
    Facts(FactsMoved),
    /// Its number and its name; nothing when the device was removed, or enrolled again with another key.
    Newest(Option<Newest>),
    /// The assignment; nothing before the first one.
    Assignment(Option<Assignment>),
    /// Written.
    Recorded(Recorded),
    /// What was looked for.
    Providers(BTreeMap<ApplicationName, Arc<Offers>>),
    /// Who is released.
    Released(BTreeSet<(DeviceId, InstanceKey)>),
}

/// What a link looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The number of the device's newest assignment.
    pub generation: Generation,
    /// What the device is called.
    pub name: DeviceName,
    /// What is switched off there.
    pub switches: Switches,
}

impl Ask {
    /// What the bus has to say when this ask was answered. Whoever asked the store rings, also when the link is gone
    /// by then: what was written would be found by nobody otherwise.
    #[must_use]
    pub fn rings(project: &ProjectName, answer: &Answer) -> Vec<Ring> {
        let exports = |application: &ApplicationName| Ring::Exports(project.clone(), application.clone());
        match answer {
            Answer::Online(back) => {
                let mut rings = vec![Ring::Devices(project.clone()), Ring::Events(project.clone())];
                rings.extend(back.iter().map(exports));
                rings
            }
            Answer::Facts(moved) => {
                let devices = moved.facts.then(|| Ring::Devices(project.clone()));
                devices.into_iter().chain(moved.events.then(|| Ring::Events(project.clone()))).collect()
            }
            Answer::Recorded(recorded) => {
                let mut rings: Vec<Ring> = recorded.exports_changed.iter().map(exports).collect();
                rings.extend(Ring::needs(project, recorded.release_changed.iter().cloned().collect()));
                rings.extend(recorded.events_added.then(|| Ring::Events(project.clone())));
                rings
            }
            Answer::Done
            | Answer::Raised(_)
            | Answer::Newest(_)
            | Answer::Assignment(_)
            | Answer::Providers(_)
            | Answer::Released(_) => Vec::new(),
        }
    }
}
