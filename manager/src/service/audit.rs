//! What was done, and what was refused, as the audit log keeps it.
//!
//! What somebody is known to have done is a line each, on disk before it begins. What is refused, to somebody known or
//! to nobody that can be named (a wrong token, a failed handshake), is a line the first time, and counted for a minute
//! after: who only knocks fills no disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{AuditEntry, AuditOutcome, AuditVerdict};

use super::error::ServiceError;
use super::{Service, now};
use crate::store::{AuditFilter, AuditLine, Trimmed};

/// How long the same refusal of nobody known is counted before it is a line again.
const WINDOW: Duration = Duration::from_secs(60);

/// Different refusals that are counted at a time; what is more is counted together.
const MAX_COUNTED: usize = 256;

/// Most characters of what comes from outside in a line.
const MAX_TEXT: usize = 500;

/// Most segments of old lines that are taken away at a time.
const MAX_SEGMENTS: usize = 100;

/// Most lines told at once.
pub const MAX_AUDIT: u32 = 10_000;

/// What is refused again and again: to whom, and what.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    /// It was no refusal: a link was used, by nobody known.
    is_use: bool,
    actor: Actor,
    verb: String,
    thing: String,
}

impl Refusal {
    /// Of somebody whom nobody knows: what exactly they tried makes no difference.
    fn of_stranger(from: Option<String>, verb: &str) -> Self {
        Self { is_use: false, actor: Actor { from, ..Actor::default() }, verb: verb.to_owned(), thing: String::new() }
    }

    /// Where there is no place for more: whatever else this user tried, or whoever else it was.
    fn roughly(&self) -> Self {
        let actor = Actor { who: self.actor.who.clone(), ..Actor::default() };
        Self { is_use: self.is_use, actor, ..Self::default() }
    }
}

/// How often since when, and when last.
#[derive(Debug, Clone, Copy)]
struct Times {
    since: Instant,
    untold: u64,
    last: UnixMillis,
}

/// Refusals that are counted.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<Refusal, Times>);

impl Counted {
    /// Counts one more. How many are to be told of now, if any.
    fn more(&mut self, refusal: Refusal, at: UnixMillis, now: Instant) -> Option<u64> {
        let (full, fuller) = (self.0.len() >= MAX_COUNTED, self.0.len() >= 2 * MAX_COUNTED);
        let key = match refusal {
            known if self.0.contains_key(&known) || !full => known,
            rough if rough.actor.who.is_some() && !fuller => rough.roughly(),
            rough if self.0.contains_key(&rough.roughly()) => rough.roughly(),
            rough => Refusal { is_use: rough.is_use, ..Refusal::default() },
        };
        match self.0.get_mut(&key) {
            Some(times) => {
                times.last = at;
                if now.duration_since(times.since) < WINDOW {
                    times.untold += 1;
                    return None;
                }
                times.since = now;
                Some(std::mem::take(&mut times.untold) + 1)
            }
            None => {
                self.0.insert(key, Times { since: now, untold: 0, last: at });
                Some(1)
            }
        }
    }

    /// Takes out what nobody added to for a while, with what was not told of yet.
    fn over(&mut self, now: Instant) -> Vec<(Refusal, Times)> {
        let over = |times: &Times| now.duration_since(times.since) >= WINDOW;
        let keys: Vec<_> = self.0.iter().filter(|(_, times)| over(times)).map(|(key, _)| key.clone()).collect();
        let taken = keys.into_iter().filter_map(|key| self.0.remove_entry(&key));
        taken.filter(|(_, times)| times.untold > 0).collect()
    }
}

/// Who does something, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Writes down that somebody was refused, or counts it where the same was a moment ago: a line a minute each.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit_refused(
        &self,
        actor: &Actor,
        (verb, thing): (&str, &str),
        detail: &str,
    ) -> Result<(), ServiceError> {
        let refusal = Refusal { is_use: false, actor: actor.clone(), verb: bounded(verb), thing: bounded(thing) };
        let lines = self.count(refusal, |times| line(actor, (verb, thing), AuditOutcome::Refused, detail, times));
        if lines.is_empty() { Ok(()) } else { Ok(self.store().add_audit(&lines).await?) }
    }

    /// Writes down that somebody nobody knows was refused, or counts it where the same was a moment ago.
    pub async fn audit_stranger(&self, from: Option<String>, verb: &str, thing: &str, detail: &str) {
        let refusal = Refusal::of_stranger(from, verb);
        let actor = refusal.actor.clone();
        let lines = self.count(refusal, |times| line(&actor, (verb, thing), AuditOutcome::Refused, detail, times));
        self.write_refusals(&lines).await;
    }

    /// Writes down that something open was used, by somebody nobody knows, or counts it where the same was a moment ago.
    ///
    /// # Errors
    /// When the store fails: then it must not be used.
    pub async fn audit_use(
        &self,
        actor: &Actor,
        (verb, thing): (&str, &str),
        detail: &str,
    ) -> Result<(), ServiceError> {
        let used = Refusal { is_use: true, actor: actor.clone(), verb: bounded(verb), thing: bounded(thing) };
        let lines = self.count(used, |times| line(actor, (verb, thing), AuditOutcome::Allowed, detail, times));
        if lines.is_empty() { Ok(()) } else { Ok(self.store().add_audit(&lines).await?) }
    }

    /// Counts one more. The lines that are due.
    fn count(&self, refusal: Refusal, due: impl FnOnce(u64) -> AuditLine) -> Vec<AuditLine> {
        let moment = Instant::now();
        let mut counted = self.0.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut lines: Vec<AuditLine> = counted.over(moment).into_iter().map(again).collect();
        lines.extend(counted.more(refusal, now(), moment).map(due));
        lines
    }

    /// Writes down what was counted for a minute and not told of yet.
    pub async fn audit_over(&self) {
        let lines: Vec<AuditLine> = {
            let mut counted = self.0.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            counted.over(Instant::now()).into_iter().map(again).collect()
        };
        self.write_refusals(&lines).await;
    }

    /// Writes down what was counted and not told of yet, for the end of the manager.
    pub async fn audit_counted(&self) {
        let lines: Vec<AuditLine> = {
            let mut counted = self.0.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let all = std::mem::take(&mut counted.0);
            all.into_iter().filter(|(_, times)| times.untold > 0).map(again).collect()
        };
        self.write_refusals(&lines).await;
    }

    async fn write_refusals(&self, lines: &[AuditLine]) {
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.store().add_audit(lines).await {
            tracing::error!(error = &error as &dyn std::error::Error, "refusals cannot be written down");
        }
    }

    /// Takes away the lines that are older than `keep`, in whole segments that were verified first; each is a new line.
    pub async fn trim_audit(&self, keep: Millis) {
        // Bounded: more than so many thousand lines go the next time.
        for _ in 0..MAX_SEGMENTS {
            let older_than = UnixMillis(now().0.saturating_sub(keep.0));
            match self.store().trim_audit(older_than, now()).await {
                Ok(Trimmed::Nothing) => return,
                Ok(Trimmed::Done { first, last }) => {
                    let thing = format!("lines {first} to {} of the audit log, whose time was over", last.id);
                    let actor = Actor { who: Some("manager".to_owned()), ..Actor::default() };
                    let told = self.audit(&actor, ("trim", &thing), AuditOutcome::Allowed, &last.hash).await;
                    if let Err(error) = told {
                        tracing::error!(error = &error as &dyn std::error::Error, "a trim cannot be written down");
                    }
                }
                Ok(Trimmed::Broken(broken)) => {
                    tracing::error!(
                        line = broken.id,
                        broken.reason,
                        "the audit log was changed: nothing of it is taken away"
                    );
                    return;
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "old lines cannot be taken away");
                    return;
                }
            }
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

/// The line for what was counted; its time is that of the last.
fn again((refusal, times): (Refusal, Times)) -> AuditLine {
    let Refusal { is_use, actor, verb, thing } = refusal;
    let verb = if verb.is_empty() { "various" } else { &verb };
    let outcome = if is_use { AuditOutcome::Allowed } else { AuditOutcome::Refused };
    let again = line(&actor, (verb, &thing), outcome, "the same again", times.untold);
    AuditLine { at: times.last, ..again }
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

    fn stranger(from: &str, verb: &str) -> Refusal {
        Refusal::of_stranger(Some(from.to_owned()), verb)
    }

    fn user(who: &str, thing: &str) -> Refusal {
        let actor = Actor { who: Some(who.to_owned()), ..Actor::default() };
        Refusal { is_use: false, actor, verb: "exec".to_owned(), thing: thing.to_owned() }
    }

    #[test]
    fn who_only_knocks_is_counted() {
        let (mut counted, start) = (Counted::default(), Instant::now());
        let mut more = |verb: &str, after: Duration| {
            let at = UnixMillis(u64::try_from(after.as_millis()).unwrap());
            counted.more(stranger("1.2.3.4", verb), at, start + after)
        };
        let second = Duration::from_secs(1);
        assert_eq!(more("token", Duration::ZERO), Some(1));
        for _ in 0..1000 {
            assert_eq!(more("token", second), None);
        }
        assert_eq!(more("enroll", Duration::ZERO), Some(1));
        assert_eq!(more("token", WINDOW), Some(1001));
        assert_eq!(more("token", WINDOW + second), None);
        let left = counted.over(start + WINDOW * 3);
        let left: Vec<_> =
            left.into_iter().map(again).map(|line| (line.from, line.verb, line.times, line.at)).collect();
        let expect = (Some("1.2.3.4".to_owned()), "token".to_owned(), 1, UnixMillis(61_000));
        assert_eq!(left, [expect], "what was told of is not told again, and the last one's time is told");
        assert!(counted.0.is_empty());
    }

    #[test]
    fn many_strangers_are_counted_together() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let told =
            (0..10_000).filter(|n| counted.more(stranger(&n.to_string(), "token"), UnixMillis(0), now).is_some());
        assert_eq!(told.count(), MAX_COUNTED + 1);
        assert_eq!(counted.0.len(), MAX_COUNTED + 1);
    }

    #[test]
    fn uses_are_counted_apart_from_refusals() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        for n in 0..10_000 {
            counted.more(stranger(&n.to_string(), "token"), UnixMillis(0), now);
            counted.more(Refusal { is_use: true, ..stranger(&n.to_string(), "shared") }, UnixMillis(0), now);
        }
        assert!(counted.0.len() <= MAX_COUNTED + 2, "{}", counted.0.len());
        let left: Vec<_> = counted.over(now + WINDOW).into_iter().map(again).collect();
        let told = |outcome| left.iter().filter(|line| line.outcome == outcome).map(|line| line.times).sum::<u64>();
        let each = MAX_COUNTED as u64 / 2 + 1;
        assert_eq!((told(AuditOutcome::Allowed), told(AuditOutcome::Refused)), (10_000 - each, 10_000 - each));
    }

    #[test]
    fn a_user_who_tries_everything_fills_no_log() {
        let (mut counted, now) = (Counted::default(), Instant::now());
        let mut tell = |who: &str, n: u32| counted.more(user(who, &n.to_string()), UnixMillis(0), now).is_some();
        let of_eve = (0..10_000).filter(|n| tell("eve", *n)).count();
        assert_eq!(of_eve, MAX_COUNTED + 1);
        assert!(tell("bob", 1), "another one's first is a line");
        assert!(!tell("bob", 2));
        let of_all = (0..10_000).filter(|n| tell(&format!("u{n}"), 1)).count();
        assert!(of_all <= MAX_COUNTED, "{of_all}");
        let left: u64 = counted.over(now + WINDOW).iter().map(|(_, times)| times.untold).sum();
        assert_eq!(left, 20_002 - (MAX_COUNTED + 1 + 1 + of_all) as u64, "each is counted");
    }

    #[test]
    fn what_comes_from_outside_is_bounded_and_harmless() {
        assert_eq!(bounded("a\x1b[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(bounded(&"ü".repeat(MAX_TEXT + 1)).chars().count(), MAX_TEXT + 1);
    }
}
