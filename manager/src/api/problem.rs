//! How a client is told what went wrong: the one place where errors become HTTP.
//!
//! What a client can do something about is told in full. What it cannot (a disk, a database) stays in the log.

mod refused;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use robo_model::spec::FileHash;
use robo_wire::problem::{ErrorCode, PROBLEM_JSON, Problem};

use crate::files::FilesError;
use crate::jobs::JobError;
use crate::service::ServiceError;
use crate::sessions::SessionError;
use crate::store::StoreError;
use crate::uploads::UploadError;

/// Most missing files that a refusal names; `files/missing` names all.
const MAX_MISSING_NAMED: usize = 100;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal {
    problem: Box<Problem>,
    /// Seconds after which it may be asked again.
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, title: impl Into<String>) -> Self {
        let status = status_of(code).as_u16();
        let problem = Problem { code, status, title: title.into(), detail: None, help: None };
        Self { problem: Box::new(problem), retry_after: None }
    }

    #[must_use]
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    /// What happened, in one line.
    pub(super) fn title(&self) -> &str {
        &self.problem.title
    }

    /// Another status than the code's own, where HTTP has a finer one.
    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.problem.status = status.as_u16();
        self
    }

    /// Says after how many seconds it may be asked again.
    #[must_use]
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, "the request cannot be read").detail(detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.problem.code == ErrorCode::Unauthorized {
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
        | ErrorCode::ProjectFull
        | ErrorCode::InUse => StatusCode::CONFLICT,
        ErrorCode::DeviceOffline | ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal | ErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::Store(store) = &error {
            return of_store(store);
        }
        if let ServiceError::Files(files) = &error {
            return of_files(files);
        }
        let Some(code) = refused::code(&error) else { return internal(&error) };
        let mut refusal = told(code, &error);
        if let ServiceError::Plan(plan) = &error {
            refusal = Self::new(code, "this cannot be planned").detail(plan.to_string());
        } else if let ServiceError::PlanMoved { reason } = &error {
            refusal = Self::new(code, "the plan no longer holds").detail(reason.clone());
        } else if let ServiceError::Graph(errors) = &error {
            refusal = refusal.detail(errors.to_string());
        } else if let ServiceError::FilesMissing(missing) = &error {
            refusal = refusal.detail(named(missing));
        } else if let ServiceError::CertificateRequest(cause) = &error {
            refusal = refusal.detail(cause.to_string());
        }
        match refused::help(&error) {
            Some(help) => refusal.help(help),
            None => refusal,
        }
    }
}

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        let (code, help) = match error {
            JobError::Service(error) => return error.into(),
            JobError::Output(_) => return internal(&error),
            JobError::Unknown(_) => (ErrorCode::NotFound, "`robo job list` shows all".to_owned()),
            JobError::NoTarget { ref job, .. } => {
                (ErrorCode::NotFound, format!("`robo job show {job}` shows its devices"))
            }
            JobError::Ended(ref id) => (ErrorCode::Conflict, format!("`robo job show {id}` shows how")),
            JobError::TooMany => {
                (ErrorCode::Busy, "`robo job list` shows them; end one with `robo job cancel ID`".to_owned())
            }
            JobError::Request(_) => return told(ErrorCode::BadRequest, &error),
        };
        told(code, &error).help(help)
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        if let UploadError::Service(error) = error {
            return error.into();
        }
        let Some(code) = error.code() else { return internal(&error) };
        let refusal = told(code, &error);
        match error.help() {
            Some(help) => refusal.help(help),
            None => refusal,
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        let (code, help) = match &error {
            SessionError::Service(_) | SessionError::Recording(_) => (ErrorCode::Internal, None),
            SessionError::Unknown(_) => (ErrorCode::NotFound, Some("`robo session list` shows all".to_owned())),
            SessionError::NoRecording(_) => (ErrorCode::NotFound, None),
            SessionError::Ended { id, .. } => {
                (ErrorCode::Conflict, Some(format!("`robo session play {id}` shows what was on its screen")))
            }
            SessionError::Offline(_) => {
                (ErrorCode::DeviceOffline, Some("`robo device list` shows when each was there last".to_owned()))
            }
            SessionError::TooMany | SessionError::Crowded(_) => {
                (ErrorCode::Busy, Some("`robo session list` shows them; end one with `robo session end ID`".to_owned()))
            }
            SessionError::Start(_) => (ErrorCode::BadRequest, None),
        };
        match error {
            SessionError::Service(error) => error.into(),
            SessionError::Recording(_) => internal(&error),
            SessionError::Unknown(_)
            | SessionError::NoRecording(_)
            | SessionError::Ended { .. }
            | SessionError::Offline(_)
            | SessionError::TooMany
            | SessionError::Crowded(_)
            | SessionError::Start(_) => {
                let refusal = told(code, &error);
                match help {
                    Some(help) => refusal.help(help),
                    None => refusal,
                }
            }
        }
    }
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
