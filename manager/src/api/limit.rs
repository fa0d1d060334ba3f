//! What somebody is told who asks too often.

use std::time::{Duration, Instant};

use axum::extract::MatchedPath;
use http::request::Parts;
use http::{Method, StatusCode};
use robo_wire::problem::ErrorCode;

use super::problem::Refusal;
use super::{ApiState, PeerAddress};

/// Uploads are not counted: an application may have thousands of files, and the client's own network slows them.
const UPLOADS: &str = "/files/{hash}";

/// Says when to come again.
pub(super) fn too_many(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Refusal::new(ErrorCode::Busy, "too many requests")
        .status(StatusCode::TOO_MANY_REQUESTS)
        .help(format!("try again in {seconds} s"))
        .retry_after(seconds)
}

/// True for what counts against how often a user may ask.
pub(super) fn counts(parts: &Parts) -> bool {
    let path = parts.extensions.get::<MatchedPath>();
    parts.method != Method::PUT || !path.is_some_and(|path| path.as_str().ends_with(UPLOADS))
}

/// What somebody is told who was wrong: that, or to come again later when it was so too often.
pub(super) fn wrong(state: &ApiState, from: Option<PeerAddress>, refusal: Refusal) -> Refusal {
    match from.map(|from| state.limits.failure(from.ip, Instant::now())) {
        Some(Err(wait)) => too_many(wait),
        Some(Ok(())) | None => refusal,
    }
}
