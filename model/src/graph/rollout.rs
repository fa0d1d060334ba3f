//! Rollouts: in which batches a change goes over many instances.
//!
//! ```text
//! rollout = batch { "then" batch } { "pause" DURATION | "max-failures" NUMBER | "rollback" }
//! batch   = NUMBER "%" | NUMBER
//! ```
//!
//! A batch says how many instances have the change after it, counted from the beginning, so batches grow. What is left
//! after the last one follows by itself.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_BATCHES;
use crate::quantity::{Millis, Percent, QuantityError};

/// In which batches a change goes over many instances; written `10% then 50% pause 1m max-failures 1 rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rollout {
    batches: Vec<Batch>,
    pause: Option<Millis>,
    max_failures: u32,
    rollback: bool,
}

/// How many instances have the change when the batch is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// A part of them, rounded up.
    Percent(Percent),
    /// That many, or all where there are fewer.
    Count(NonZeroU32),
}

/// Why a text is no rollout, and which part of it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct RolloutError {
    /// The bytes that are wrong.
    pub range: Range<usize>,
    /// What is wrong with them.
    pub kind: RolloutErrorKind,
}

/// What is wrong with a rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutErrorKind {
    /// Nothing at all.
    #[error("the rollout has no batch")]
    Empty,
    /// Not `10%` or `3`.
    #[error("`{0}` is not a batch")]
    Batch(String),
    /// `then` with nothing after it.
    #[error("no batch follows `then`")]
    NothingThen,
    /// A batch that is not larger than the one before it.
    #[error("the batch `{batch}` adds nothing to `{previous}`, which precedes it")]
    NotGrowing {
        /// The later one.
        batch: Batch,
        /// The earlier one.
        previous: Batch,
    },
    /// More than [`MAX_BATCHES`].
    #[error("the rollout has more than {MAX_BATCHES} batches")]
    TooMany,
    /// A second batch without `then`.
    #[error("there is no `then` before the batch `{0}`")]
    MissingThen(Batch),
    /// `then` behind one of the options.
    #[error("`then` stands behind `pause`, `max-failures` or `rollback`")]
    LateThen,
    /// Not one of [`Rollout::WORDS`].
    #[error("`{0}` means nothing in a rollout")]
    UnknownWord(String),
    /// An option for the second time.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    /// An option without what belongs to it.
    #[error("nothing follows `{0}`")]
    NoValue(&'static str),
    /// Not a duration after `pause`.
    #[error(transparent)]
    Pause(#[from] QuantityError),
    /// Not a number after `max-failures`.
    #[error("`{0}` is not a number of failures")]
    Failures(String),
}

impl RolloutErrorKind {
    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Empty | Self::Batch(_) | Self::NothingThen => {
                "a batch is a part of the instances, from `1%` to `100%`, or their number, from `1`: `rollout: 10% then 50%;`"
            }
            Self::NotGrowing { .. } => {
                "batches count from the beginning, so each is larger than the one before it; the rest follows by itself"
            }
            Self::TooMany => "take larger steps",
            Self::MissingThen(_) => "write `then` between two batches: `rollout: 10% then 50%;`",
            Self::LateThen => "write all batches first: `rollout: 10% then 50% pause 1m rollback;`",
            Self::UnknownWord(_) => {
                "write batches with `then` between them, then `pause 1m`, `max-failures 1` or `rollback`"
            }
            Self::Twice(_) => "keep one of the two",
            Self::NoValue("pause") | Self::Pause(_) => "write the time between two batches, as in `pause 1m`",
            Self::NoValue(_) | Self::Failures(_) => {
                "write how many instances may fail before it stops, as in `max-failures 1`"
            }
        }
    }
}

impl Rollout {
    /// The words of the grammar.
    pub const WORDS: [&'static str; 4] = ["then", "pause", "max-failures", "rollback"];

    /// In their order; at least one.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// How long to wait after a batch.
    #[must_use]
    pub const fn pause(&self) -> Option<Millis> {
        self.pause
    }

    /// How many instances may fail before the rollout stops; none where nothing is said.
    #[must_use]
    pub const fn max_failures(&self) -> u32 {
        self.max_failures
    }

    /// Whether instances that have the change go back when the rollout stops.
    #[must_use]
    pub const fn rollback(&self) -> bool {
        self.rollback
    }
}

impl FromStr for Rollout {
    type Err = RolloutError;

    fn from_str(text: &str) -> Result<Self, RolloutError> {
        let mut words = Words { text, at: 0 };
        let batches = batches(&mut words)?;
        let (mut pause, mut max_failures, mut rollback) = (None, None, false);
        while let Some(word) = words.next() {
            match word.text {
                "pause" if pause.is_none() => {
                    let value = words.value_of(&word, "pause")?;
                    pause = Some(value.text.parse().map_err(|error| value.wrong(RolloutErrorKind::Pause(error)))?);
                }
                "max-failures" if max_failures.is_none() => {
                    let value = words.value_of(&word, "max-failures")?;
                    let bad = || value.wrong(RolloutErrorKind::Failures(value.text.to_owned()));
                    max_failures = Some(number(value.text).ok_or_else(bad)?);
                }
                "rollback" if !rollback => rollback = true,
                other => return Err(word.wrong(misplaced(other))),
            }
        }
        Ok(Self { batches, pause, max_failures: max_failures.unwrap_or_default(), rollback })
    }
}

/// Why a word may not stand where an option was expected.
fn misplaced(word: &str) -> RolloutErrorKind {
    match word {
        "then" => RolloutErrorKind::LateThen,
        "pause" => RolloutErrorKind::Twice("pause"),
        "max-failures" => RolloutErrorKind::Twice("max-failures"),
        "rollback" => RolloutErrorKind::Twice("rollback"),
        other => match batch(other) {
            Some(batch) => RolloutErrorKind::MissingThen(batch),
            None => RolloutErrorKind::UnknownWord(other.to_owned()),
        },
    }
}

/// `batch { "then" batch }`
fn batches(words: &mut Words<'_>) -> Result<Vec<Batch>, RolloutError> {
    let mut out: Vec<Batch> = Vec::new();
    let empty = RolloutError { range: 0..words.text.len(), kind: RolloutErrorKind::Empty };
    let mut next = words.next().ok_or(empty)?;
    loop {
        let batch = batch(next.text).ok_or_else(|| next.wrong(RolloutErrorKind::Batch(next.text.to_owned())))?;
        // Percentages and numbers cannot be compared before it is known how many instances there are.
        let alike = |other: &&Batch| std::mem::discriminant(*other) == std::mem::discriminant(&batch);
        let all = out.iter().find(|other| **other == Batch::Percent(Percent::ALL));
        if let Some(previous) = all.or_else(|| out.iter().rfind(alike).filter(|other| other.size() >= batch.size())) {
            return Err(next.wrong(RolloutErrorKind::NotGrowing { batch, previous: *previous }));
        }
        if out.len() == MAX_BATCHES {
            return Err(next.wrong(RolloutErrorKind::TooMany));
        }
        out.push(batch);
        let Some(then) = words.next_if("then") else { return Ok(out) };
        next = words.next().ok_or_else(|| then.wrong(RolloutErrorKind::NothingThen))?;
    }
}

fn batch(text: &str) -> Option<Batch> {
    let percent = text.parse().ok().map(Batch::Percent);
    percent.or_else(|| number(text).and_then(NonZeroU32::new).map(Batch::Count))
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

impl Batch {
    fn size(self) -> u32 {
        match self {
            Self::Percent(percent) => percent.get().into(),
            Self::Count(count) => count.get(),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => percent.fmt(f),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, batch) in self.batches.iter().enumerate() {
            f.write_str(if i > 0 { " then " } else { "" })?;
            batch.fmt(f)?;
        }
        if let Some(pause) = self.pause {
            // `1h 30m` is one word here.
            write!(f, " pause {}", pause.to_string().replace(' ', ""))?;
        }
        if self.max_failures > 0 {
            write!(f, " max-failures {}", self.max_failures)?;
        }
        f.write_str(if self.rollback { " rollback" } else { "" })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Rollout {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        String::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Rollout {}

impl TryFrom<String> for Rollout {
    type Error = RolloutError;
    fn try_from(text: String) -> Result<Self, RolloutError> {
        text.parse()
    }
}

impl From<Rollout> for String {
    fn from(rollout: Rollout) -> Self {
        rollout.to_string()
    }
}

/// The words of a text, with where they stand.
struct Words<'t> {
    text: &'t str,
    at: usize,
}

struct Word<'t> {
    text: &'t str,
    range: Range<usize>,
}

impl<'t> Words<'t> {
    fn next(&mut self) -> Option<Word<'t>> {
        let rest = self.text.get(self.at..)?;
        let trimmed = rest.trim_start();
        let start = self.at + (rest.len() - trimmed.len());
        let text = trimmed.split_whitespace().next()?;
        self.at = start + text.len();
        Some(Word { text, range: start..self.at })
    }

    /// The next word, if it is `text`.
    fn next_if(&mut self, text: &str) -> Option<Word<'t>> {
        let at = self.at;
        let word = self.next().filter(|word| word.text == text);
        if word.is_none() {
            self.at = at;
        }
        word
    }

    fn value_of(&mut self, option: &Word<'_>, name: &'static str) -> Result<Word<'t>, RolloutError> {
        self.next().ok_or_else(|| option.wrong(RolloutErrorKind::NoValue(name)))
    }
}

impl Word<'_> {
    fn wrong(&self, kind: RolloutErrorKind) -> RolloutError {
        RolloutError { range: self.range.clone(), kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) -> Rollout {
        let rollout: Rollout = text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(rollout.to_string(), shown);
        assert_eq!(shown.parse(), Ok(rollout.clone()), "{shown}");
        assert_eq!(serde_json::from_str::<Rollout>(&serde_json::to_string(&rollout).unwrap()).unwrap(), rollout);
        rollout
    }

    #[test]
    fn rollouts_are_read_and_printed() {
        let rollout = check(
            "10%  then 50% pause 90m max-failures 1\trollback",
            "10% then 50% pause 1h30m max-failures 1 rollback",
        );
        let percent = |text: &str| Batch::Percent(text.parse().unwrap());
        assert_eq!(rollout.batches(), [percent("10%"), percent("50%")]);
        assert_eq!(rollout.pause(), Some(Millis::from_secs(5400)));
        assert_eq!((rollout.max_failures(), rollout.rollback()), (1, true));
    }

    #[test]
    fn batches_of_both_kinds_mix() {
        check("1 then 10% then 5 then 100%", "1 then 10% then 5 then 100%");
        let plain = check("100% max-failures 0", "100%");
        assert_eq!((plain.pause(), plain.max_failures(), plain.rollback()), (None, 0, false));
        check("1 rollback pause 1s", "1 pause 1s rollback");
    }

    fn refused(text: &str, wrong: &str, expect: &str) {
        let error = text.parse::<Rollout>().unwrap_err();
        assert_eq!(text.get(error.range.clone()), Some(wrong), "{text}: {error:?}");
        assert!(format!("{:?}", error.kind).starts_with(expect), "{text}: {error:?}");
        assert!(!error.kind.help().is_empty() && !error.to_string().is_empty());
    }

    #[test]
    fn the_wrong_word_is_shown() {
        refused("", "", "Empty");
        refused("  ", "  ", "Empty");
        refused("0%", "0%", "Batch");
        refused("10% then 101%", "101%", "Batch");
        refused("0", "0", "Batch");
        refused("+3", "+3", "Batch");
        refused("ten percent", "ten", "Batch");
        refused("10%, 50%", "10%,", "Batch");
        refused("10% then", "then", "NothingThen");
        refused("10% then pause 1m", "pause", "Batch");
        refused("10% then 10%", "10%", "NotGrowing");
        refused("3 then 10% then 2", "2", "NotGrowing");
        refused("100% then 5", "5", "NotGrowing");
        refused("10% 50%", "50%", "MissingThen");
        refused("10% pause 1m then 50%", "then", "LateThen");
        refused("10% than 50%", "than", "UnknownWord");
        refused("10% pause", "pause", "NoValue");
        refused("10% pause soon", "soon", "Pause");
        refused("10% pause 400days", "400days", "Pause");
        refused("10% pause 1m pause 2m", "pause", "Twice");
        refused("10% max-failures", "max-failures", "NoValue");
        refused("10% max-failures 1%", "1%", "Failures");
        refused("10% max-failures -1", "-1", "Failures");
        refused("10% rollback rollback", "rollback", "Twice");
        let many: Vec<String> = (1..=MAX_BATCHES + 1).map(|n| n.to_string()).collect();
        refused(&many.join(" then "), "33", "TooMany");
    }
}
