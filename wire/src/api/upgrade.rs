//! Upgrades of agents over the link: what is asked for, and how it goes for each device.

use std::fmt;

use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::stream::Targets;
use crate::upgrade::UpgradeStage;

/// Devices that are upgraded at a time where nothing else is said: each takes some megabytes of the manager's line, and a
/// program that is of no use is noticed before many have it.
pub const UPGRADES_AT_A_TIME: u32 = 4;

/// Most devices that are upgraded at a time.
pub const MAX_UPGRADES_AT_A_TIME: u32 = 256;

/// How the last upgrade of an agent over the link ended; a part of what a device tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastUpgrade {
    /// Names it, as whoever asked for it did.
    pub id: String,
    /// SHA-256 of the program that was to run, in hexadecimal.
    #[serde(default)]
    pub sha256: String,
    /// When it ended, by the device's clock.
    #[serde(default)]
    pub at: UnixMillis,
    /// Of a failure: its [code](crate::code::Code); empty where that program runs now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Of a failure: what happened; at most [`crate::upgrade::MAX_UPGRADE_REASON`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// `POST …/upgrade`: brings agents up to the program that the manager gives away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpgradeRequest {
    /// On which devices.
    pub targets: Targets,
    /// So many at a time, 1 to [`MAX_UPGRADES_AT_A_TIME`]; [`UPGRADES_AT_A_TIME`] where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// After so many devices on which it failed, at least 1, it is begun on no other one; never where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// Also where somebody has a shell, a command or a forward, which then ends.
    #[serde(default)]
    pub force: bool,
    /// Only say what would come of it.
    #[serde(default)]
    pub dry_run: bool,
}

impl UpgradeRequest {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        if self.concurrency.is_some_and(|number| !(1..=MAX_UPGRADES_AT_A_TIME).contains(&number)) {
            return Err(format!("1 to {MAX_UPGRADES_AT_A_TIME} devices are upgraded at a time"));
        }
        if self.max_failures == Some(0) {
            return Err("`max_failures` is at least 1: with 0 nothing would be begun".to_owned());
        }
        Ok(())
    }
}

/// One line of the answer. The targets come first, in one line or more, and then each has exactly one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpgradeLine {
    /// First: the names of targets.
    Targets {
        /// As they were asked for.
        targets: Vec<String>,
    },
    /// How far a target is.
    Progress {
        /// Which.
        device: String,
        /// What it is at.
        stage: UpgradeStage,
        /// How much of that is done, 0 to 100.
        #[serde(default)]
        percent: u8,
    },
    /// How it ended for a target.
    Verdict {
        /// Which.
        device: String,
        /// How.
        #[serde(flatten)]
        verdict: UpgradeVerdict,
    },
    /// A line of a newer version.
    #[serde(other)]
    Unknown,
}

/// How an upgrade ended for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpgradeVerdict {
    /// It runs the new program.
    Upgraded {
        /// SHA-256 of the program before; empty where nobody knows.
        #[serde(default)]
        from: String,
        /// SHA-256 of the program now.
        to: String,
    },
    /// Of a dry run: it would get this program.
    WouldUpgrade {
        /// SHA-256 of the program now; empty where nobody knows.
        #[serde(default)]
        from: String,
        /// SHA-256 of the program that it would get.
        to: String,
    },
    /// That program ran already.
    Same,
    /// The new program is of no use there, and the one before runs.
    Failed {
        /// The [code](crate::code::Code).
        code: String,
        /// What happened.
        reason: String,
    },
    /// The device is not connected.
    Offline,
    /// It was not begun.
    Refused {
        /// The [code](crate::code::Code); empty where the device was not asked.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        code: String,
        /// Why, and what to do.
        reason: String,
    },
    /// It is not known how it ended: the device did not come back within a time.
    Lost {
        /// What is known.
        reason: String,
    },
    /// It was not begun, because it failed elsewhere.
    Cancelled {
        /// Why.
        reason: String,
    },
}

impl UpgradeVerdict {
    /// True where the device runs the program that it should, or would.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        match self {
            Self::Upgraded { .. } | Self::WouldUpgrade { .. } | Self::Same => true,
            Self::Failed { .. } | Self::Offline | Self::Refused { .. } | Self::Lost { .. } | Self::Cancelled { .. } => {
                false
            }
        }
    }

    /// True where it was begun and did not end well.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Lost { .. })
    }
}

impl fmt::Display for UpgradeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coded = |f: &mut fmt::Formatter<'_>, word: &str, code: &str, reason: &str| match code {
            "" => write!(f, "{word}: {reason}"),
            code => write!(f, "{word}: {code}: {reason}"),
        };
        match self {
            Self::Upgraded { .. } => f.write_str("upgraded"),
            Self::WouldUpgrade { .. } => f.write_str("would be upgraded"),
            Self::Same => f.write_str("same"),
            Self::Failed { code, reason } => coded(f, "failed", code, reason),
            Self::Offline => f.write_str("offline"),
            Self::Refused { code, reason } => coded(f, "refused", code, reason),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Cancelled { reason } => write!(f, "cancelled: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let device = || "robot-7".to_owned();
        let verdicts = [
            UpgradeVerdict::Upgraded { from: String::new(), to: "ab".into() },
            UpgradeVerdict::WouldUpgrade { from: "cd".into(), to: "ab".into() },
            UpgradeVerdict::Same,
            UpgradeVerdict::Failed { code: "AGT_X".into(), reason: "why".into() },
            UpgradeVerdict::Offline,
            UpgradeVerdict::Refused { code: String::new(), reason: "why".into() },
            UpgradeVerdict::Lost { reason: "why".into() },
            UpgradeVerdict::Cancelled { reason: "why".into() },
        ];
        let lines = verdicts.into_iter().map(|verdict| UpgradeLine::Verdict { device: device(), verdict }).chain([
            UpgradeLine::Targets { targets: vec![device()] },
            UpgradeLine::Progress { device: device(), stage: UpgradeStage::Trying, percent: 0 },
        ]);
        for line in lines {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<UpgradeLine>(&text).unwrap(), line, "{text}");
        }
        let newer = r#"{"line":"weather","sun":true}"#;
        assert_eq!(serde_json::from_str::<UpgradeLine>(newer).unwrap(), UpgradeLine::Unknown);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let request = |concurrency, max_failures| UpgradeRequest {
            targets: Targets::All,
            concurrency,
            max_failures,
            force: false,
            dry_run: false,
        };
        for good in [request(None, None), request(Some(1), Some(1)), request(Some(MAX_UPGRADES_AT_A_TIME), None)] {
            assert_eq!(good.check(), Ok(()));
        }
        for bad in [request(Some(0), None), request(Some(MAX_UPGRADES_AT_A_TIME + 1), None), request(None, Some(0))] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
