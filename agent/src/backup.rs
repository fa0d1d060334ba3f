//! A copy of what instances print, in files of JSON that others read: without the manager, and without a link.
//!
//! A thread of its own looks at the logs where they lie, once a second or two, and copies what is new. Nobody waits for it, and a
//! disk that is full or gone stops nothing else; it goes on when it can.
//!
//! - `options`: what is asked for; `set`: the files, and their bounds; `stamp`: the times in their names.
//! - `scribe`: writes lines; `notes`: how far it is, on disk; `copyist`: which logs there are, and what is new in them.

mod copyist;
mod notes;
pub(crate) mod options;
mod scribe;
mod set;
mod stamp;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use robo_model::spec::InstanceKey;
use tokio::sync::oneshot;

use self::copyist::{Copyist, Found};
pub use self::options::{Asked, Options, OptionsError};
pub(crate) use self::set::files;
use crate::folders::Folders;
use crate::parts::{LOG_BACKUP, Parts};

/// How often it looks whether something was printed: a log keeps some megabytes, so nothing is missed by that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it looks after nothing was printed for a while: each look wakes a machine that has nothing to do.
const QUIET_LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks that find nothing until it looks less often.
const QUIET_LOOKS: u32 = 30;

/// The pause after the files could not be written.
const FAILED_PAUSE: Duration = Duration::from_secs(2);

/// Instances that go at a time, and wait for a last look: more than any real device has at once.
const MAX_LAST: usize = 256;

/// How long the last look at an instance's log is waited for. A disk that takes longer costs its last lines.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// The instance whose log goes, and whom to tell when it was looked at.
type Last = (InstanceKey, oneshot::Sender<()>);

/// A backup that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Backup {
    last: SyncSender<Last>,
}

impl Backup {
    /// Begins.
    pub(crate) fn start(folders: Folders, options: &Options, parts: Parts) -> std::io::Result<Self> {
        let (last, asked) = sync_channel(MAX_LAST);
        let copyist = Copyist::new(folders, options);
        let keeping = Keeping { copyist, folder: options.folder.display().to_string(), parts, works: None, quiet: 0 };
        std::thread::Builder::new().name("log-backup".into()).spawn(move || keeping.run(&asked))?;
        Ok(Self { last })
    }

    /// Has all copied that the instance printed: its log goes. Waits a few seconds at most.
    pub(crate) async fn last_look(&self, key: &InstanceKey) {
        let (done, told) = oneshot::channel();
        if self.last.try_send((key.clone(), done)).is_ok() {
            // In vain where the disk is full: then there is nothing to wait for.
            drop(tokio::time::timeout(LAST_LOOK, told).await);
        }
    }
}

/// The thread's own.
struct Keeping {
    copyist: Copyist,
    /// Where the files lie, for people.
    folder: String,
    parts: Parts,
    /// How it went last; nothing before the first time.
    works: Option<bool>,
    /// Looks that found nothing, one after the other.
    quiet: u32,
}

impl Keeping {
    fn run(mut self, asked: &Receiver<Last>) {
        let mut pause = Duration::ZERO;
        loop {
            match asked.recv_timeout(pause) {
                Ok((key, done)) => {
                    let looked = self.copyist.last_look(&key);
                    self.tell(&looked);
                    // Whoever asked may have gone on.
                    done.send(()).ok();
                    pause = Duration::ZERO;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let looked = self.copyist.look(self.works != Some(true));
                    self.tell(&looked);
                    pause = looked.map_or(FAILED_PAUSE, |found| self.pause(found));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The time until the next look.
    fn pause(&mut self, found: Found) -> Duration {
        self.quiet = if found == Found::Nothing { self.quiet.saturating_add(1) } else { 0 };
        match found {
            Found::More => Duration::ZERO,
            Found::Nothing if self.quiet > QUIET_LOOKS => QUIET_LOOK_EVERY,
            Found::Nothing | Found::All => LOOK_EVERY,
        }
    }

    /// Says it once when it goes wrong, and once when it goes well again.
    fn tell<T>(&mut self, looked: &std::io::Result<T>) {
        let (before, folder) = (self.works.replace(looked.is_ok()), &self.folder);
        match looked {
            Err(error) if before != Some(false) => {
                self.parts.fails(LOG_BACKUP, &format!("{folder}: {error}"));
                tracing::warn!(%error, "logs cannot be copied to {folder}; it is tried again until it can be done");
            }
            Ok(_) if before != Some(true) => {
                self.parts.works(LOG_BACKUP, folder);
                tracing::info!("logs are copied to {folder}");
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
