//! Calls: commands in the foreground whose callers may come back, also to another process of this manager.
//!
//! The manager writes nothing down of a call. Its ticket, sealed with a key of the manager's, says whose it is and
//! which command it runs; the runs themselves are the agents', who know them by the call's identity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use robo_model::name::{JobId, ProjectName, UserName};
use robo_model::quantity::UnixMillis;
use robo_wire::call::CallTicket;
use robo_wire::stream::Command;
use sha2::Sha256;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::service::{Service, ServiceError, now};
use crate::token;

/// Bytes of a call's identity: nobody guesses it.
const ID_BYTES: usize = 16;

/// Bytes of the key that seals tickets.
const KEY_BYTES: usize = 32;

/// Most calls that are waited for after their callers went away; of more it is written down at once how they ended.
const MAX_AWAY: usize = 1024;

/// The calls of this process. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    key: OnceCell<String>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Of each call the connection that has it.
    held: HashMap<JobId, (u64, CancellationToken)>,
    connections: u64,
    away: usize,
}

/// A connection that has a call, until it is dropped or the caller comes back over another one.
pub(super) struct Held {
    calls: Calls,
    id: JobId,
    number: u64,
    /// The caller came back over another connection.
    pub(super) taken_over: CancellationToken,
}

impl Calls {
    /// A ticket for a new call.
    ///
    /// # Errors
    /// When the store fails, or the system has no randomness.
    pub(super) async fn issue(
        &self,
        service: &Service,
        whose: (&ProjectName, &UserName),
        command: &Command,
    ) -> Result<CallTicket, ServiceError> {
        let id = token::random_hex(ID_BYTES)?;
        let id = JobId::new(&id).map_err(|error| ServiceError::Broken(error.to_string()))?;
        let asked_at = now();
        let seal = seal(self.key(service).await?, whose, (&id, asked_at), command)?;
        let seal = hex::encode(seal.finalize().into_bytes());
        Ok(CallTicket { id, asked_at, seal })
    }

    /// True when the ticket is of a call of this user's, with this command.
    ///
    /// # Errors
    /// When the store fails, or the system has no randomness.
    pub(super) async fn knows(
        &self,
        service: &Service,
        whose: (&ProjectName, &UserName),
        ticket: &CallTicket,
        command: &Command,
    ) -> Result<bool, ServiceError> {
        let right = seal(self.key(service).await?, whose, (&ticket.id, ticket.asked_at), command)?;
        // In a time that tells nothing of how much of it is right.
        Ok(hex::decode(&ticket.seal).is_ok_and(|said| right.verify_slice(&said).is_ok()))
    }

    async fn key(&self, service: &Service) -> Result<&str, ServiceError> {
        let make = || async {
            let fresh = token::random_hex(KEY_BYTES)?;
            Ok::<_, ServiceError>(service.store().call_key(&fresh).await?)
        };
        self.0.key.get_or_try_init(make).await.map(String::as_str)
    }

    /// Gives the call to a connection; the one that had it lets it go.
    pub(super) fn hold(&self, id: &JobId) -> Held {
        let taken_over = CancellationToken::new();
        let mut table = self.table();
        table.connections += 1;
        let number = table.connections;
        if let Some((_, before)) = table.held.insert(id.clone(), (number, taken_over.clone())) {
            before.cancel();
        }
        drop(table);
        Held { calls: self.clone(), id: id.clone(), number, taken_over }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Waits for the caller, who went away, for at most so long; true when it came back.
    pub(super) async fn comes_back(&self, within: Duration) -> bool {
        {
            let mut table = self.calls.table();
            if table.away >= MAX_AWAY {
                return self.taken_over.is_cancelled();
            }
            table.away += 1;
        }
        let back = tokio::time::timeout(within, self.taken_over.cancelled()).await.is_ok();
        self.calls.table().away -= 1;
        back
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.calls.table();
        if table.held.get(&self.id).is_some_and(|(number, _)| *number == self.number) {
            table.held.remove(&self.id);
        }
    }
}

/// The seal of a ticket: an HMAC with SHA-256 (RFC 2104) of all that it is for. Each part is told apart from the next by
/// its length.
fn seal(
    key: &str,
    (project, user): (&ProjectName, &UserName),
    (id, at): (&JobId, UnixMillis),
    command: &Command,
) -> Result<Hmac<Sha256>, ServiceError> {
    let broken = |error: &dyn std::fmt::Display| ServiceError::Broken(error.to_string());
    let command = serde_json::to_vec(command).map_err(|error| broken(&error))?;
    let mut seal = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|error| broken(&error))?;
    for part in
        [project.as_str().as_bytes(), user.as_str().as_bytes(), id.as_str().as_bytes(), &at.0.to_be_bytes(), &command]
    {
        seal.update(&(part.len() as u64).to_be_bytes());
        seal.update(part);
    }
    Ok(seal)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seal_is_of_one_user_and_one_command() {
        let command = |words: &[&str]| Command {
            argv: words.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            cwd: None,
            user: None,
            timeout: None,
            stdin: false,
            within: None,
        };
        let of = |key: &str, project: &str, user: &str, id: &str, at: u64, words: &[&str]| {
            let whose = (&project.parse().unwrap(), &user.parse().unwrap());
            seal(key, whose, (&id.parse().unwrap(), UnixMillis(at)), &command(words)).unwrap().finalize().into_bytes()
        };
        let right = of("k", "p", "ann", "c1", 1, &["a", "b"]);
        assert_eq!(right, of("k", "p", "ann", "c1", 1, &["a", "b"]));
        let others = [
            of("l", "p", "ann", "c1", 1, &["a", "b"]),
            of("k", "q", "ann", "c1", 1, &["a", "b"]),
            of("k", "p", "bob", "c1", 1, &["a", "b"]),
            of("k", "p", "ann", "c2", 1, &["a", "b"]),
            of("k", "p", "ann", "c1", 2, &["a", "b"]),
            of("k", "p", "ann", "c1", 1, &["a b"]),
            of("k", "pa", "nn", "c1", 1, &["a", "b"]),
        ];
        assert!(!others.contains(&right));
    }

    #[tokio::test]
    async fn who_comes_back_takes_over() {
        let calls = Calls::default();
        let id: JobId = "c1".parse().unwrap();
        let first = calls.hold(&id);
        let second = calls.hold(&id);
        assert!(first.comes_back(Duration::ZERO).await);
        drop(first);
        assert!(!second.comes_back(Duration::ZERO).await);
        assert_eq!(calls.table().held.len(), 1);
        drop(second);
        assert_eq!(calls.table().held.len(), 0);
        assert_eq!(calls.table().away, 0);
        calls.table().away = MAX_AWAY;
        assert!(!calls.hold(&id).comes_back(Duration::MAX).await, "too many are waited for");
    }
}
