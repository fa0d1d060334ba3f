//! Looks at a device from the inside, and says what keeps it from its manager: `robo-agent doctor`.
//!
//! Each check tells what it found; one that fails has a [`Code`], and with it a remedy. A check that cannot be made,
//! because another one failed, is told as skipped. Nothing is changed, nobody but the manager (and the proxy on the way
//! to it) is spoken to, and an agent that runs is not disturbed.

mod credentials;
mod disk;
mod network;

use std::path::PathBuf;

use serde::Serialize;

use crate::code::Code;
use crate::dial::Route;
use crate::folders::Folders;

/// What is looked at.
#[derive(Debug)]
pub struct Options {
    /// The agent's folder.
    pub state: PathBuf,
    /// The way to the manager, or why there is none.
    pub route: Result<Option<Route>, String>,
}

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it went.
    pub status: Status,
    /// Of one that failed: what to look up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What was found; no secrets.
    pub found: String,
    /// Of one that failed: what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// True when none failed.
    pub ok: bool,
    /// In the order in which they were made.
    pub checks: Vec<Finding>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, code: None, found: found.into(), remedy: None }
    }

    fn failed(check: &'static str, code: Code, found: impl Into<String>) -> Self {
        let (status, found) = (Status::Failed, found.into());
        Self { check, status, code: Some(code.as_str()), found, remedy: Some(code.remedy()) }
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, status: Status::Skipped, code: None, found: why.into(), remedy: None }
    }
}

impl Report {
    /// For people: a line for each check, and one with the remedy below each that failed.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.checks.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for Finding { check, status, code, found, remedy } in &self.checks {
            let status = match status {
                Status::Ok => "ok     ",
                Status::Failed => "failed ",
                Status::Skipped => "skipped",
            };
            let code = code.map(|code| format!("{code}: ")).unwrap_or_default();
            lines.push(format!("{status}  {check:width$}  {code}{found}"));
            lines.extend(remedy.map(|remedy| format!("{:1$}{remedy}", "", "skipped".len() + width + 4)));
        }
        let failed = self.checks.iter().filter(|finding| finding.status == Status::Failed).count();
        lines.push(match failed {
            0 => "All is well.".to_owned(),
            1 => "One thing is wrong; docs/agent-codes.md says more about its code.".to_owned(),
            _ => format!("{failed} things are wrong; docs/agent-codes.md says more about their codes."),
        });
        lines.join("\n") + "\n"
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Looks at everything.
pub async fn examine(options: &Options) -> Report {
    let folders = Folders::new(&options.state);
    let mut checks = disk::examine(&folders);
    let (found, identity) = credentials::examine(&folders.identity());
    checks.extend(found);
    checks.extend(network::examine(options, &folders, identity.as_ref()).await);
    Report { ok: checks.iter().all(|finding| finding.status != Status::Failed), checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_device_that_never_was_one_is_told_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { state: folder.path().join("none"), route: Ok(None) };
        let report = examine(&options).await;
        let codes: Vec<&str> = report.checks.iter().filter_map(|finding| finding.code).collect();
        assert_eq!(codes, ["AGT_STATE_FOLDER", "AGT_NOT_ENROLLED", "AGT_NO_MANAGER"]);
        assert!(!report.ok && !options.state.exists(), "it changes nothing");
        let text = report.text();
        assert!(
            text.contains("failed   identity     AGT_NOT_ENROLLED: ") && text.contains("3 things are wrong"),
            "{text}"
        );
        assert!(text.contains("\n                      Make a token with `robo device enroll NAME`"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["checks"][0]["status"], "failed");
    }
}
