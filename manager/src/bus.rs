//! The bell between manager processes, and between the parts of one.
//!
//! A message says that something changed; what changed is in the store. A receiver that misses a message, or lags
//! and loses some, looks into the store again: so nothing here is durable, and nothing needs to be.
//! This one rings inside one process; a broker takes its place where several managers run.

use std::collections::BTreeSet;

use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use tokio::sync::broadcast;

/// Messages that a slow receiver may be behind before it is told that it lost some and has to look by itself.
const BACKLOG: usize = 4096;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// A device has a new assignment.
    Assignment(DeviceId),
    /// Instances of an application offer other variables than before.
    Exports(ProjectName, ApplicationName),
    /// Instances of these applications need, offer or wait for other things than before: somebody may be
    /// [released](robo_model::release).
    Needs(ProjectName, BTreeSet<ApplicationName>),
    /// A project's history grew.
    Events(ProjectName),
    /// A device came, went or changed its name.
    Devices(ProjectName),
    /// Who a device is moved: it was enrolled again with another key, or shut out, or let in. A link that was made
    /// before looks whether it is still the device's.
    Identity(DeviceId),
    /// A device is to make itself a new key.
    Rotate(DeviceId),
    /// A device went to another project: its link ends, and the next one is of that.
    Moved(DeviceId),
    /// A device was removed: its link ends for good.
    Removed(DeviceId),
}

impl Ring {
    /// Says that somebody may be released in these applications; nothing when there are none.
    #[must_use]
    pub fn needs(project: &ProjectName, applications: BTreeSet<ApplicationName>) -> Option<Self> {
        (!applications.is_empty()).then(|| Self::Needs(project.clone(), applications))
    }
}

/// The bell.
#[derive(Debug, Clone)]
pub struct Bus(broadcast::Sender<Ring>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Bus {
    /// Tells everyone who listens now.
    pub fn ring(&self, what: Ring) {
        // No listener is no error: who comes later looks into the store first.
        drop(self.0.send(what));
    }

    /// True when somebody listens.
    #[cfg(test)]
    pub(crate) fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// A listener's end.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Ring>);

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// This changed.
    Ring(Ring),
    /// Anything may have changed: messages were lost.
    Lost,
    /// The manager stops.
    Closed,
}

impl Listener {
    /// Waits for the next message.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(ring) => Heard::Ring(ring),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Lost,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}
