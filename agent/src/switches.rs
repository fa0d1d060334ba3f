//! What of this agent is switched off: by the manager's word, which is kept over restarts, and by the machine's owner,
//! whose word nobody takes back from afar.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use robo_model::quantity::UnixMillis;
use robo_wire::health::{AgentPart, PartState};
use robo_wire::switch::{Off, Subsystem, Switches as Told, reason};
use tokio::sync::watch;

use crate::folders::write_atomic;

/// Most bytes of the file that are read: some names, and who switched them off.
const MAX_FILE: u64 = 64 * 1024;

/// What is switched off. Clones share it.
#[derive(Debug, Clone)]
pub struct Switches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// What the machine's owner forbids.
    without: BTreeSet<Subsystem>,
    told: watch::Sender<State>,
}

/// What the manager said.
#[derive(Debug, Clone)]
enum State {
    Told(Told),
    /// What is kept of it cannot be read: nobody is let in until the manager says it again.
    Damaged,
}

impl Switches {
    /// As they were kept in the file `path`; `without` is what the machine's owner forbids.
    #[must_use]
    pub fn load(path: &Path, without: BTreeSet<Subsystem>) -> Self {
        let state = match read(path) {
            Ok(told) => State::Told(told),
            Err(error) => {
                tracing::error!(%error, "what is switched off cannot be read from {}; nobody is let in until the manager says it again", path.display());
                State::Damaged
            }
        };
        Self(Arc::new(Inner { path: path.to_owned(), without, told: watch::Sender::new(state) }))
    }

    /// The manager says what is off; all else is on. It counts at once, also when it cannot be kept: then the manager says
    /// it again after the next start.
    pub fn set(&self, told: Told) {
        let is_same = |state: &State| matches!(state, State::Told(before) if *before == told);
        if is_same(&self.0.told.borrow()) {
            return;
        }
        let bytes = serde_json::to_vec(&told).map_err(io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| write_atomic(&self.0.path, &bytes, 0o600)) {
            tracing::error!(%error, "what is switched off cannot be kept in {}", self.0.path.display());
        }
        let off: Vec<&str> = told.off.keys().map(String::as_str).collect();
        tracing::info!(off = off.join(" "), "switches");
        self.0.told.send_replace(State::Told(told));
    }

    /// Why this is refused; nothing when it is on.
    #[must_use]
    pub fn refusal(&self, subsystem: Subsystem) -> Option<String> {
        if self.0.without.contains(&subsystem) {
            return Some(format!("the owner of this machine forbids `{subsystem}`: its agent runs with `--without`"));
        }
        match &*self.0.told.borrow() {
            State::Told(told) => told.off(subsystem).map(|off| reason(subsystem, off)),
            State::Damaged => Some(format!("whether `{subsystem}` is switched off is not known yet; try again")),
        }
    }

    /// Waits until something else is off than `before`, and gives all that is refused now, with the reasons.
    pub async fn next_off(&self, before: &BTreeSet<Subsystem>) -> Vec<(Subsystem, String)> {
        let mut moved = self.0.told.subscribe();
        loop {
            moved.borrow_and_update();
            let off: Vec<(Subsystem, String)> =
                Subsystem::ALL.into_iter().filter_map(|one| Some((one, self.refusal(one)?))).collect();
            if off.iter().map(|(one, _)| one).ne(before) {
                return off;
            }
            // The sender is in `self`.
            drop(moved.changed().await);
        }
    }

    /// Waits until this is refused; why.
    pub async fn until_off(&self, subsystem: Subsystem) -> String {
        let mut moved = self.0.told.subscribe();
        loop {
            moved.borrow_and_update();
            if let Some(reason) = self.refusal(subsystem) {
                return reason;
            }
            // The sender is in `self`.
            drop(moved.changed().await);
        }
    }

    /// What the machine's owner forbids, by name, for the manager.
    #[must_use]
    pub fn without(&self) -> Vec<String> {
        self.0.without.iter().map(ToString::to_string).collect()
    }

    /// True when the manager's word keeps something off here: then it has to be said again, even that nothing is.
    #[must_use]
    pub fn holds_off(&self) -> bool {
        match &*self.0.told.borrow() {
            State::Told(told) => !told.off.is_empty(),
            State::Damaged => true,
        }
    }

    /// Puts what is off into the parts of the agent, each under its name there; one that is off and has no part of its own
    /// gets one.
    #[must_use]
    pub fn mark(&self, mut parts: Vec<AgentPart>, began: UnixMillis) -> Vec<AgentPart> {
        for subsystem in Subsystem::ALL {
            let Some((by, since, detail)) = self.off_by(subsystem, began) else { continue };
            let name = part_of(subsystem);
            let at = parts.iter().position(|part| part.name == name).unwrap_or_else(|| {
                parts.push(AgentPart {
                    name: name.to_owned(),
                    state: PartState::Idle,
                    since,
                    restarts: 0,
                    detail: String::new(),
                    last_error: None,
                    last_error_at: None,
                    off: None,
                });
                parts.len() - 1
            });
            if let Some(part) = parts.get_mut(at) {
                (part.state, part.since, part.detail, part.off) = (PartState::Idle, since, detail, Some(by));
            }
        }
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        parts
    }

    fn off_by(&self, subsystem: Subsystem, began: UnixMillis) -> Option<(String, UnixMillis, String)> {
        let detail = self.refusal(subsystem)?;
        if self.0.without.contains(&subsystem) {
            return Some(("the machine's owner".to_owned(), began, detail));
        }
        let told = self.0.told.borrow();
        let off = match &*told {
            State::Told(told) => told.off(subsystem).cloned(),
            State::Damaged => None,
        };
        let Off { by, at } = off.unwrap_or(Off { by: "this agent".to_owned(), at: began });
        Some((by, at, detail))
    }
}

/// What a subsystem is called among the parts of the agent.
const fn part_of(subsystem: Subsystem) -> &'static str {
    match subsystem {
        Subsystem::Exec => "commands",
        Subsystem::Shell => "shells",
        Subsystem::Copy => "copies",
        Subsystem::Forward => "forwards",
        Subsystem::Logs => "logs",
        Subsystem::Collect => "collect",
    }
}

fn read(path: &Path) -> io::Result<Told> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Told::default()),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(names: &[&str]) -> Told {
        let off = |name: &&str| ((*name).to_owned(), Off { by: "ann".into(), at: UnixMillis(1_000) });
        Told { off: names.iter().map(off).collect() }
    }

    #[test]
    fn what_was_told_outlives_the_agent_and_its_owner_has_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switches");
        let switches = Switches::load(&path, BTreeSet::new());
        assert!(!switches.holds_off() && Subsystem::ALL.iter().all(|one| switches.refusal(*one).is_none()));
        switches.set(off(&["shell", "newer"]));
        let again = Switches::load(&path, BTreeSet::from([Subsystem::Forward]));
        let told = again.refusal(Subsystem::Shell).unwrap();
        assert!(told.contains("by ann, at 1970-01-01 00:00:01 UTC"), "{told}");
        assert!(again.refusal(Subsystem::Forward).unwrap().contains("owner of this machine forbids `forward`"));
        assert_eq!((again.refusal(Subsystem::Exec), again.holds_off()), (None, true));
        again.set(Told::default());
        assert_eq!((again.refusal(Subsystem::Shell), again.holds_off()), (None, false));
        assert!(again.refusal(Subsystem::Forward).is_some(), "the manager cannot switch it on");
        assert_eq!(again.without(), ["forward"]);
        assert!(!Switches::load(&path, BTreeSet::new()).holds_off());
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_in_until_the_manager_speaks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switches");
        for damage in ["", "{", "[1]", "{\"off\":{\"shell\":1}}"] {
            std::fs::write(&path, damage).unwrap();
            let switches = Switches::load(&path, BTreeSet::new());
            assert!(Subsystem::ALL.iter().all(|one| switches.refusal(*one).is_some()), "{damage}");
            assert!(switches.holds_off());
            switches.set(Told::default());
            assert!(Subsystem::ALL.iter().all(|one| switches.refusal(*one).is_none()), "{damage}");
            assert!(!Switches::load(&path, BTreeSet::new()).holds_off(), "{damage}");
        }
    }

    #[tokio::test]
    async fn who_waits_hears_of_it_and_the_parts_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let switches = Switches::load(&folder.path().join("switches"), BTreeSet::from([Subsystem::Collect]));
        let first = switches.next_off(&BTreeSet::new()).await;
        assert_eq!(first.iter().map(|(one, _)| *one).collect::<Vec<_>>(), [Subsystem::Collect]);
        let waiting = tokio::spawn({
            let switches = switches.clone();
            async move { switches.until_off(Subsystem::Shell).await }
        });
        switches.set(off(&["exec"]));
        switches.set(off(&["exec", "shell"]));
        assert!(waiting.await.unwrap().contains("`shell`"));
        let parts = crate::parts::Parts::default().all(&[("shells", 1), ("commands", 0), ("forwards", 0)]);
        let marked = switches.mark(parts, UnixMillis(5));
        let shown: Vec<_> = marked.iter().map(|part| (part.name.as_str(), part.off.as_deref(), part.since.0)).collect();
        assert_eq!(shown[0], ("collect", Some("the machine's owner"), 5));
        assert_eq!(shown[1], ("commands", Some("ann"), 1_000));
        assert_eq!((shown[2].0, shown[2].1, shown[3].1), ("forwards", None, Some("ann")));
    }
}
