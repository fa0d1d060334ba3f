//! Tells the manager how this device is: what the doctor finds, and how the agent's parts are.

use std::time::Duration;

use robo_wire::health::{AgentPart, CheckStatus, HealthCheck, HealthReport, MAX_HEALTH, PartState};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::code::Code;
use crate::dial::Route;
use crate::doctor::{self, Finding, Status};
use crate::folders::Folders;
use crate::framing::answer;

/// How long the doctor may take: whoever asks looks at a screen.
const DOCTOR: Duration = Duration::from_secs(10);

/// Looks that are taken at a time; the next ones wait. Each dials the manager.
static LOOKING: Semaphore = Semaphore::const_new(2);

/// What is looked at.
#[derive(Debug)]
pub struct Whole {
    /// The way to the manager.
    pub route: Route,
    /// Where everything lies.
    pub folders: Folders,
    /// How the parts are.
    pub parts: Vec<AgentPart>,
}

/// Serves a stream that the manager opened: a report, and a verdict. Ends early when the stream does.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(whole: Whole, stream: S) {
    answer(stream, tell(whole)).await;
}

async fn tell(whole: Whole) -> Result<Vec<u8>, String> {
    let _turn = LOOKING.acquire().await.map_err(|error| error.to_string())?;
    let bytes = serde_json::to_vec(&look(whole).await).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_HEALTH {
        return Err(format!("there is more to say than {MAX_HEALTH} bytes"));
    }
    Ok(bytes)
}

async fn look(whole: Whole) -> HealthReport {
    let Whole { route, folders, parts } = whole;
    let options = doctor::Options { state: folders.root().to_owned(), route: Ok(Some(route)) };
    let checks: Vec<HealthCheck> = match timeout(DOCTOR, Box::pin(doctor::examine(&options))).await {
        Ok(report) => report.checks.into_iter().map(check).collect(),
        Err(_) => vec![HealthCheck {
            check: "doctor".to_owned(),
            status: CheckStatus::Skipped,
            found: format!("it took longer than {} s", DOCTOR.as_secs()),
            code: None,
            cause: None,
            remedy: None,
        }],
    };
    let is_bad = |check: &HealthCheck| check.status == CheckStatus::Failed;
    let ok = !checks.iter().any(is_bad) && parts.iter().all(|part| part.state != PartState::Error);
    HealthReport { ok, checks, parts }
}

fn check(finding: Finding) -> HealthCheck {
    let Finding { check, status, code, found, remedy } = finding;
    let status = match status {
        Status::Ok => CheckStatus::Ok,
        Status::Failed => CheckStatus::Failed,
        Status::Skipped => CheckStatus::Skipped,
    };
    let cause = code.and_then(Code::named).map(|code| code.cause().to_owned());
    HealthCheck {
        check: check.to_owned(),
        status,
        found,
        code: code.map(ToOwned::to_owned),
        cause,
        remedy: remedy.map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_doctor_finds_is_told_with_its_cause() {
        let failed = Finding {
            check: "room",
            status: Status::Failed,
            code: Some(Code::DiskFull.as_str()),
            found: "1 MB are free".to_owned(),
            remedy: Some(Code::DiskFull.remedy()),
        };
        let told = check(failed);
        assert_eq!((told.status, told.code.as_deref()), (CheckStatus::Failed, Some("AGT_DISK_FULL")));
        assert_eq!(
            (told.cause.as_deref(), told.remedy.as_deref()),
            (Some(Code::DiskFull.cause()), Some(Code::DiskFull.remedy()))
        );
    }
}
