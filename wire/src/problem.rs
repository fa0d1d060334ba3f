//! Error bodies of the API: `application/problem+json` (RFC 9457) with a stable code.

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, for machines: clients match on this and never on texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ErrorCode {
    /// The request's body or query cannot be read.
    BadRequest,
    /// No credentials, or wrong ones.
    Unauthorized,
    /// The credentials do not allow this.
    Forbidden,
    /// The project, application, instance, device or file does not exist.
    NotFound,
    /// The body is larger than its bound.
    TooLarge,
    /// Files of a bundle were not uploaded.
    FilesMissing,
    /// The bytes do not hash to what they were announced as.
    HashMismatch,
    /// The graph has errors.
    GraphInvalid,
    /// A host instance names a device that is not enrolled, or has none at all.
    UnknownDevice,
    /// The graph asks for something that this version cannot do.
    Unsupported,
    /// What the plan read has changed since; plan again.
    PlanMoved,
    /// Another change of the same thing is under way or came first.
    Conflict,
    /// The enrolment token is not of this manager.
    TokenForeign,
    /// The enrolment token is unknown.
    TokenUnknown,
    /// The enrolment token's time is over.
    TokenExpired,
    /// The enrolment token was used already.
    TokenUsed,
    /// The name is taken.
    NameTaken,
    /// The project has as many devices as it may have.
    ProjectFull,
    /// Others depend on it: it has to be let go first.
    InUse,
    /// The device is not connected.
    DeviceOffline,
    /// A bound of the manager is reached.
    Busy,
    /// The manager failed; its log says more.
    Internal,
    /// A code of a newer manager.
    #[serde(other)]
    Unknown,
}

/// One error, told to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// For machines.
    pub code: ErrorCode,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What happened, in one line.
    pub title: String,
    /// Where and why, as far as it helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_code_is_still_a_problem() {
        let read: Problem = serde_json::from_str(r#"{"code":"on-fire","status":500,"title":"x","new":1}"#).unwrap();
        assert_eq!(read.code, ErrorCode::Unknown);
        assert_eq!(serde_json::to_value(ErrorCode::PlanMoved).unwrap(), "plan-moved");
    }
}
