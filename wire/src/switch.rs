//! Switches: the parts of an agent that let people in, which an operator can switch off and on for each device.
//!
//! The manager keeps what is off, and tells the agent all of it at its welcome and at each change; the agent keeps it over
//! restarts and enforces it. What the machine's owner forbids on the machine itself nobody switches on from afar.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::stream::{Open, Targets};

/// A part of the agent that lets people in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Subsystem {
    /// Commands, in the foreground and in the background.
    Exec,
    /// Terminals.
    Shell,
    /// Files there and back.
    Copy,
    /// Connections through the device.
    Forward,
    /// What instances, the agent and the system's units print.
    Logs,
    /// The bundle that helps to find a fault.
    Collect,
}

impl Subsystem {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Exec, Self::Shell, Self::Copy, Self::Forward, Self::Logs, Self::Collect];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Shell => "shell",
            Self::Copy => "copy",
            Self::Forward => "forward",
            Self::Logs => "logs",
            Self::Collect => "collect",
        }
    }

    /// What a stream is for; nothing for what cannot be switched off.
    #[must_use]
    pub const fn of(open: &Open) -> Option<Self> {
        match open {
            Open::Exec(_) | Open::Run(_) | Open::RunWithin(_) => Some(Self::Exec),
            // The keys are those of shells by another way.
            Open::Shell(_) | Open::ShellWithin(_) | Open::SshKeys(_) => Some(Self::Shell),
            Open::Copy(_) => Some(Self::Copy),
            Open::Forward(_) => Some(Self::Forward),
            Open::Logs(_) | Open::Tail(_) | Open::LogFiles(_) => Some(Self::Logs),
            Open::Collect(_) => Some(Self::Collect),
            // Whoever switched something off wants to see that it is, and another program lets in nobody.
            Open::Health(_) | Open::Upgrade(_) => None,
        }
    }
}

impl fmt::Display for Subsystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Subsystem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|subsystem| subsystem.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is nothing that can be switched; these can: {}", names()))
    }
}

fn names() -> String {
    Subsystem::ALL.map(Subsystem::as_str).join(", ")
}

/// Who switched something off, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Off {
    /// Who.
    pub by: String,
    /// When, by the manager's clock.
    pub at: UnixMillis,
}

/// What is switched off on a device; all else is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Switches {
    /// By the names of subsystems; one that a newer version knows stands there too.
    #[serde(default)]
    pub off: BTreeMap<String, Off>,
}

impl Switches {
    /// Who switched this off, and when; nothing when it is on.
    #[must_use]
    pub fn off(&self, subsystem: Subsystem) -> Option<&Off> {
        self.off.get(subsystem.as_str())
    }
}

/// Why something is refused that is switched off: who did that, and when.
#[must_use]
pub fn reason(subsystem: Subsystem, off: &Off) -> String {
    format!("`{subsystem}` is switched off on this device: by {}, at {}", off.by, utc(off.at))
}

/// A time as `2026-01-31 13:45:00 UTC`: reasons are read where nobody knows the reader's zone.
fn utc(at: UnixMillis) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = at.0 / 1000;
    let (days, rest) = (seconds / DAY, seconds % DAY);
    // Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last one.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", era * 400 + year + after)
}

/// `POST …/switches`: switches subsystems of devices off and on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SwitchRequest {
    /// Of which; at most [`MAX_LABELLED`](crate::api::MAX_LABELLED).
    pub targets: Targets,
    /// What each becomes: true for on.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, bool>))]
    pub set: BTreeMap<Subsystem, bool>,
}

/// What came of a change of switches for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SwitchResult {
    /// The device's name, as it was asked for.
    pub device: String,
    /// How it went.
    pub outcome: SwitchOutcome,
    /// What is off there then.
    #[serde(default)]
    pub switches: Switches,
    /// Why nothing was changed; empty where nothing is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How a change of switches went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SwitchOutcome {
    /// Something is on or off that was not.
    Changed,
    /// All of it was so already.
    Same,
    /// Nothing was changed.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, expect) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399_000, "2000-02-28 23:59:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00 UTC"),
            (1_769_867_100_000, "2026-01-31 13:45:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(UnixMillis(millis)), expect);
        }
        assert!(utc(UnixMillis(u64::MAX)).ends_with("UTC"));
    }

    #[test]
    fn a_subsystem_is_read_by_its_name() {
        for subsystem in Subsystem::ALL {
            assert_eq!(subsystem.as_str().parse(), Ok(subsystem));
        }
        for bad in ["", "Shell", "shells", "health", "link"] {
            let told = bad.parse::<Subsystem>().unwrap_err();
            assert!(told.contains("exec, shell, copy, forward, logs, collect"), "{told}");
        }
    }

    #[test]
    fn what_is_off_says_who_and_when() {
        let off = Off { by: "ann".into(), at: UnixMillis(1_769_867_100_000) };
        let switches = Switches { off: [("shell".to_owned(), off.clone()), ("newer".to_owned(), off)].into() };
        assert_eq!(switches.off(Subsystem::Exec), None);
        let told = reason(Subsystem::Shell, switches.off(Subsystem::Shell).unwrap());
        assert_eq!(told, "`shell` is switched off on this device: by ann, at 2026-01-31 13:45:00 UTC");
    }
}
