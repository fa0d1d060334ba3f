//! How a client is told what went wrong: the one place where errors become HTTP.
//!
//! What a client can do something about is told in full. What it cannot (a disk, a database) stays in the log.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use robo_model::spec::FileHash;
use robo_wire::problem::{ErrorCode, PROBLEM_JSON, Problem};

use crate::files::FilesError;
use crate::service::ServiceError;
use crate::store::StoreError;

/// Most missing files that a refusal names; `files/missing` names all.
const MAX_MISSING_NAMED: usize = 100;

/// What to do about an enrolment token that is not good any more.
const ANOTHER_TOKEN: &str = "ask for a new token; each is good for one device and a short time";

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal(Box<Problem>);

impl Refusal {
    pub(super) fn new(code: ErrorCode, title: impl Into<String>) -> Self {
        let status = status_of(code).as_u16();
        Self(Box::new(Problem { code, status, title: title.into(), detail: None, help: None }))
    }

    #[must_use]
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Another status than the code's own, where HTTP has a finer one.
    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, "the request cannot be read").detail(detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if self.0.code == ErrorCode::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Logs requests that failed by our own fault.
pub(super) async fn log_failures(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if response.status().is_server_error() {
        tracing::warn!(%method, path, status = response.status().as_u16(), "a request failed");
    } else {
        tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    }
    response
}

const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden
        | ErrorCode::TokenForeign
        | ErrorCode::TokenUnknown
        | ErrorCode::TokenExpired
        | ErrorCode::TokenUsed => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::HashMismatch | ErrorCode::GraphInvalid | ErrorCode::UnknownDevice | ErrorCode::Unsupported => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorCode::FilesMissing
        | ErrorCode::PlanMoved
        | ErrorCode::Conflict
        | ErrorCode::NameTaken
        | ErrorCode::InUse => StatusCode::CONFLICT,
        ErrorCode::DeviceOffline | ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal | ErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        match &error {
            ServiceError::Store(store) => of_store(store),
            ServiceError::Files(files) => of_files(files),
            ServiceError::Randomness(_) | ServiceError::Broken(_) => internal(&error),
            ServiceError::NoProject { .. } => {
                told(ErrorCode::NotFound, &error).help("the project that always exists is `default`")
            }
            ServiceError::NoApplication { near, .. } => unknown(&error, near.as_deref(), "`robo status` shows all"),
            ServiceError::NoRevision { .. }
            | ServiceError::NoRollback { .. }
            | ServiceError::NoRevisionFile { .. }
            | ServiceError::NoteTooLong { .. } => of_history(&error),
            ServiceError::NoInstance { near, .. } => unknown(&error, near.as_deref(), "`robo status` shows all"),
            ServiceError::NoComponent { near, application, .. } => {
                unknown(&error, near.as_deref(), &format!("`robo status {application}` shows what each instance is"))
            }
            ServiceError::NoDevice { near, .. } => unknown(&error, near.as_deref(), "`robo device list` shows all"),
            ServiceError::NoComponent { near, application, .. } => {
                unknown(&error, near.as_deref(), &format!("`robo status {application}` shows what each instance is"))
            }
            ServiceError::NothingMeant { application, .. } => {
                told(ErrorCode::NotFound, &error).help(format!("`robo status {application}` shows what there is"))
            }
            ServiceError::HostStopped { path, application } => told(ErrorCode::BadRequest, &error).help(format!(
                "`robo stop {application} {path} --below` stops all that stands on it; \
                 `robo undeploy {application} {path}` removes that"
            )),
            ServiceError::DeviceInUse { .. } => told(ErrorCode::InUse, &error)
                .help("apply the application without it or delete it first; or force it, and the host has no device"),
            ServiceError::LabelTwice(_) => told(ErrorCode::BadRequest, &error),
            ServiceError::FilesMissing(missing) => {
                told(ErrorCode::FilesMissing, &error).detail(named(missing)).help("upload them and ask again")
            }
            ServiceError::BoundToItself { .. } => told(ErrorCode::BadRequest, &error)
                .help("import what the same application offers without `external`"),
            ServiceError::NotImported { application, imported, .. } => {
                let prefixes: Vec<String> = imported.iter().map(|prefix| format!("`{prefix}`")).collect();
                told(ErrorCode::NotFound, &error).help(if prefixes.is_empty() {
                    format!("`{application}` has no import with `external`")
                } else {
                    format!("it imports {}", prefixes.join(", "))
                })
            }
            ServiceError::WrongPrefix { prefix, candidates, .. } => told(ErrorCode::BadRequest, &error).help(
                if candidates.is_empty() {
                    format!("no application offers it; one does with `exports-prefix: {prefix};`")
                } else {
                    let names: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
                    format!("{} offer `{prefix}`", names.join(", "))
                },
            ),
            ServiceError::TooManyBound { .. } => told(ErrorCode::TooLarge, &error)
                .help("bind it to an application that gathers what these offer"),
            ServiceError::InUse { name, .. } => told(ErrorCode::InUse, &error).help(format!(
                "bind them to another one with `robo bind`, or delete with `robo delete {name} --force`: they then wait or go without"
            )),
            ServiceError::WrongSize { .. } | ServiceError::Label(_) => told(ErrorCode::BadRequest, &error),
            ServiceError::TooManyLabels { .. } => told(ErrorCode::BadRequest, &error),
            ServiceError::Lifetime { .. } => {
                told(ErrorCode::BadRequest, &error).help("make the token when the machine is at hand")
            }
            ServiceError::SourceTooLarge { .. } | ServiceError::TooManyFiles { .. } => {
                told(ErrorCode::TooLarge, &error)
            }
            ServiceError::Graph(errors) => told(ErrorCode::GraphInvalid, &error)
                .detail(errors.to_string())
                .help("`robo check` shows them with their lines"),
            ServiceError::Plan(plan) => {
                Self::new(plan.code(), "this cannot be planned").detail(plan.to_string()).help(plan.help())
            }
            ServiceError::PlanMoved { reason } => Self::new(ErrorCode::PlanMoved, "the plan no longer holds")
                .detail(reason.clone())
                .help("plan again and look at what is different"),
            ServiceError::TokenForeign => {
                told(ErrorCode::TokenForeign, &error).help("use a token of this manager, or the manager of this token")
            }
            ServiceError::TokenUnknown => told(ErrorCode::TokenUnknown, &error).help(ANOTHER_TOKEN),
            ServiceError::TokenExpired(_) => told(ErrorCode::TokenExpired, &error).help(ANOTHER_TOKEN),
            ServiceError::TokenUsed(_) => told(ErrorCode::TokenUsed, &error).help(ANOTHER_TOKEN),
            ServiceError::NameTaken(_) => told(ErrorCode::NameTaken, &error).help(
                "enrol under another name; or, when this machine takes that one's place, with a token that replaces",
            ),
            ServiceError::NoName { .. } => told(ErrorCode::BadRequest, &error).help("give the agent a name"),
            ServiceError::CertificateRequest(cause) => told(ErrorCode::BadRequest, &error).detail(cause.to_string()),
        }
    }
}

/// What is wrong with a revision or a note.
fn of_history(error: &ServiceError) -> Refusal {
    if let ServiceError::NoRevision { kept, application, .. } = error {
        return told(ErrorCode::NotFound, error).help(match kept {
            Some((oldest, newest)) if oldest == newest => format!("{newest} is the only one there is"),
            Some((oldest, newest)) => format!("{oldest} to {newest} are kept: `robo history {application}`"),
            None => "nothing was applied yet".to_owned(),
        });
    }
    if matches!(error, ServiceError::NoRevisionFile { .. }) {
        return told(ErrorCode::NotFound, error);
    }
    let help = if matches!(error, ServiceError::NoteTooLong { .. }) {
        "say it shorter"
    } else {
        "leave `rollback_of` out, or send that revision's own bundle"
    };
    told(ErrorCode::BadRequest, error).help(help)
}

fn of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::NoApplication { .. } => told(ErrorCode::NotFound, error),
        StoreError::AssignmentTooLarge { .. } => {
            told(ErrorCode::TooLarge, error).help("spread the instances over more devices")
        }
        StoreError::NoDevice { .. }
        | StoreError::Folder { .. }
        | StoreError::Locked { .. }
        | StoreError::NotADatabase { .. }
        | StoreError::NewerSchema { .. }
        | StoreError::Migration { .. }
        | StoreError::Query { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Encode { .. } => internal(error),
    }
}

fn of_files(error: &FilesError) -> Refusal {
    match error {
        FilesError::WrongHash { .. } => {
            told(ErrorCode::HashMismatch, error).help("the file changed on the way; send it again")
        }
        FilesError::TooLarge { .. } => told(ErrorCode::TooLarge, error).help("let the recipe fetch what is this large"),
        FilesError::BrokenOff(_) => told(ErrorCode::BadRequest, error),
        FilesError::Busy => told(ErrorCode::Busy, error).help("try again in a moment"),
        FilesError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            internal(error);
            Refusal::new(ErrorCode::Internal, "the manager's disk is full")
        }
        FilesError::Disk { .. } | FilesError::Name(_) => internal(error),
    }
}

fn told(code: ErrorCode, error: &dyn std::error::Error) -> Refusal {
    Refusal::new(code, error.to_string())
}

fn unknown(error: &ServiceError, near: Option<&str>, otherwise: &str) -> Refusal {
    let help = near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"));
    told(ErrorCode::NotFound, error).help(help)
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "the manager failed");
    Refusal::new(ErrorCode::Internal, "the manager failed").help("its log says more")
}

fn named(missing: &[FileHash]) -> String {
    let mut lines: Vec<&str> = missing.iter().take(MAX_MISSING_NAMED).map(FileHash::as_str).collect();
    if missing.len() > lines.len() {
        lines.push("…");
    }
    lines.join("\n")
}
