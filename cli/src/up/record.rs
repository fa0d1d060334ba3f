//! `up.json`: what `robo up` started on this machine, so that a later `robo up` or `robo down` finds it, even when
//! the one that started it was killed.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use robo_agent::folders::write_atomic;
use robo_model::name::DeviceName;
use serde::{Deserialize, Serialize};

use super::process::ProcessId;

/// Largest record that is read, in bytes: 254 agents need a small part of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// The record is for this user alone.
const PRIVATE: u32 = 0o600;

/// What `robo up` started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Where the manager listens, or listened last.
    #[serde(default)]
    pub(crate) address: Option<SocketAddr>,
    /// The manager; nothing when it was stopped.
    #[serde(default)]
    pub(crate) manager: Option<ProcessId>,
    /// The agents that ever were, by the name of their device.
    #[serde(default)]
    pub(crate) agents: BTreeMap<DeviceName, AgentRecord>,
    /// The `robo up` in the foreground that ends all this when it ends.
    #[serde(default)]
    pub(crate) owner: Option<ProcessId>,
    /// True while everything is being stopped: what ends now ends on purpose.
    #[serde(default)]
    pub(crate) stopping: bool,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    /// Its address, kept over stops.
    pub(crate) address: Ipv4Addr,
    /// True once it was seen connected: it has an identity and needs no token.
    #[serde(default)]
    pub(crate) enrolled: bool,
    /// Where it was told that the manager is.
    #[serde(default)]
    pub(crate) manager: Option<SocketAddr>,
    /// The process; nothing when it was stopped.
    #[serde(default)]
    pub(crate) process: Option<ProcessId>,
}

impl Record {
    /// Reads the record; a fresh one where there is no file.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is none of ours.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        serde_json::from_reader(io::Read::take(file, MAX_BYTES)).map_err(io::Error::from)
    }

    /// Writes the record whole or not at all.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        write_atomic(path, &text, PRIVATE)
    }

    /// Every process that was started and not stopped, dead ones too.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &ProcessId> {
        self.manager.iter().chain(self.agents.values().filter_map(|a| a.process.as_ref()))
    }

    /// True when something was started here and not stopped in good order, whether or not it still runs.
    pub(crate) fn was_left(&self) -> bool {
        self.processes().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let me = ProcessId::of(std::process::id()).unwrap();
        let address = Some("127.0.0.1:7626".parse().unwrap());
        let agent = AgentRecord {
            address: Ipv4Addr::new(127, 0, 0, 2),
            enrolled: true,
            manager: address,
            process: Some(me.clone()),
        };
        let record = Record {
            address,
            agents: BTreeMap::from([(DeviceName::new("web-1").unwrap(), agent)]),
            owner: Some(me),
            ..Record::default()
        };
        assert!(record.was_left() && record.processes().all(ProcessId::is_alive));
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
    }

    #[test]
    fn a_broken_record_is_refused_and_one_of_a_newer_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        for bad in ["", "{", "[1]", r#"{"agents":{"/":{"address":"127.0.0.2"}}}"#, r#"{"agents":{"a":{}}}"#] {
            std::fs::write(&path, bad).unwrap();
            assert!(Record::read(&path).is_err(), "{bad}");
        }
        std::fs::write(&path, r#"{"new":1}"#).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Record::default());
    }
}
