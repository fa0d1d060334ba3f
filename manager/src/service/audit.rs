//! What was done, and what was refused, as the audit log keeps it.
//!
//! What somebody is known to have done is a line each, on disk before it begins. What nobody can be named for (a wrong
//! token, a failed handshake) is a line the first time, and counted for a minute after: who only knocks fills no disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use robo_wire::api::{AuditEntry, AuditOutcome, AuditVerdict};

use super::error::ServiceError;
use super::{Service, now};
use crate::store::{AuditFilter, AuditLine};

/// How long the same refusal of nobody known is counted before it is a line again.
const WINDOW: Duration = Duration::from_secs(60);

/// Different refusals that are counted at a time; what is more is counted together.
const MAX_COUNTED: usize = 256;

/// Most characters of what comes from outside in a line.
const MAX_TEXT: usize = 500;

/// Most lines told at once.
pub const MAX_AUDIT: u32 = 10_000;

/// Refusals that are counted: from where and what, and how often since when.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<(String, String), (Instant, u64)>);

impl Counted {
    /// Counts one more. How many are to be told of now, if any.
    fn more(&mut self, from: &str, verb: &str, now: Instant) -> Option<u64> {
        let key = (from.to_owned(), verb.to_owned());
        let full = self.0.len() >= MAX_COUNTED && !self.0.contains_key(&key);
        let key = if full { (String::new(), String::new()) } else { key };
        match self.0.get_mut(&key) {
            Some((since, count)) if now.duration_since(*since) < WINDOW => {
                *count += 1;
                None
            }
            Some((since, count)) => {
                *since = now;
                Some(std::mem::take(count) + 1)
            }
            None => {
                self.0.insert(key, (now, 0));
                Some(1)
            }
        }
    }

    /// Takes out what nobody added to for a while, with what was not told of yet.
    fn over(&mut self, now: Instant) -> Vec<((String, String), u64)> {
        let over = |since: &Instant| now.duration_since(*since) >= WINDOW;
        let keys: Vec<_> = self.0.iter().filter(|(_, (since, _))| over(since)).map(|(key, _)| key.clone()).collect();
        let taken = keys.into_iter().filter_map(|key| self.0.remove(&key).map(|(_, count)| (key, count)));
        taken.filter(|(_, count)| *count > 0).collect()
    }
}

/// Who does something, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub who: Option<String>,
    /// With which token.
    pub token: Option<String>,
    /// From which address.
    pub from: Option<String>,
    /// In which project.
    pub project: Option<String>,
}

impl Service {
    /// Writes down what somebody does or did. It is on disk when this is done.
    ///
    /// # Errors
    /// When the store fails: then it must not be done.
    pub async fn audit(
        &self,
        actor: &Actor,
        (verb, thing): (&str, &str),
        outcome: AuditOutcome,
        detail: &str,
    ) -> Result<(), ServiceError> {
        Ok(self.store().add_audit(&[line(actor, (verb, thing), outcome, detail, 1)]).await?)
    }

    /// Writes down that somebody nobody knows was refused, or counts it where the same was a moment ago.
    pub async fn audit_stranger(&self, from: Option<String>, verb: &str, thing: &str, detail: &str) {
        let now = Instant::now();
        let mut lines = Vec::new();
        {
            let mut counted = self.0.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            lines.extend(counted.over(now).into_iter().map(again));
            if let Some(times) = counted.more(from.as_deref().unwrap_or_default(), verb, now) {
                let actor = Actor { from, ..Actor::default() };
                lines.push(line(&actor, (verb, thing), AuditOutcome::Refused, detail, times));
            }
        }
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.store().add_audit(&lines).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a refusal cannot be written down");
        }
    }

    /// Writes down what was counted and not told of yet, for the end of the manager.
    pub async fn audit_counted(&self) {
        let lines: Vec<AuditLine> = {
            let mut counted = self.0.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let all = std::mem::take(&mut counted.0);
            all.into_iter().filter(|(_, (_, n))| *n > 0).map(|(key, (_, count))| again((key, count))).collect()
        };
        if let Err(error) = self.store().add_audit(&lines).await {
            tracing::error!(error = &error as &dyn std::error::Error, "refusals cannot be written down");
        }
    }

    /// The newest lines of the log, the oldest of them first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit_log(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, ServiceError> {
        Ok(self.store().audit(filter).await?)
    }

    /// Looks at each line of the log whether it is what was written.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, ServiceError> {
        Ok(self.store().verify_audit().await?)
    }
}

fn again(((from, verb), times): ((String, String), u64)) -> AuditLine {
    let verb = if verb.is_empty() { "various".to_owned() } else { verb };
    let actor = Actor { from: (!from.is_empty()).then_some(from), ..Actor::default() };
    line(&actor, (&verb, ""), AuditOutcome::Refused, "the same again", times)
}

fn line(actor: &Actor, (verb, thing): (&str, &str), outcome: AuditOutcome, detail: &str, times: u64) -> AuditLine {
    AuditLine {
        at: now(),
        who: actor.who.clone(),
        token: actor.token.clone(),
        from: actor.from.clone(),
        project: actor.project.clone(),
        verb: bounded(verb),
        thing: bounded(thing),
        outcome,
        detail: bounded(detail),
        times,
    }
}

/// At most [`MAX_TEXT`] characters, and no control characters: the log is read in terminals.
fn bounded(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut bounded: String = text.chars().take(MAX_TEXT).map(clean).collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        bounded.push('…');
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_knocks_is_counted() {
        let (mut counted, start) = (Counted::default(), Instant::now());
        assert_eq!(counted.more("1.2.3.4", "token", start), Some(1));
        for _ in 0..1000 {
            assert_eq!(counted.more("1.2.3.4", "token", start + Duration::from_secs(1)), None);
        }
        assert_eq!(counted.more("1.2.3.4", "enroll", start), Some(1));
        assert_eq!(counted.more("1.2.3.4", "token", start + WINDOW), Some(1001));
        assert_eq!(counted.more("1.2.3.4", "token", start + WINDOW), None);
        let left = counted.over(start + WINDOW * 3);
        assert_eq!(left, [(("1.2.3.4".to_owned(), "token".to_owned()), 1)], "what was told of is not told again");
        assert!(counted.0.is_empty());
    }

    #[test]
    fn many_strangers_are_counted_together() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let told = (0..10_000).filter(|n| counted.more(&n.to_string(), "token", now).is_some()).count();
        assert_eq!((told, counted.0.len()), (MAX_COUNTED + 1, MAX_COUNTED + 1));
    }

    #[test]
    fn what_comes_from_outside_is_bounded_and_harmless() {
        assert_eq!(bounded("a\x1b[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(bounded(&"ü".repeat(MAX_TEXT + 1)).chars().count(), MAX_TEXT + 1);
    }
}
