//! Ways for SSH: certificates with which people log in to devices, and the keys that may log in there without one.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json as Answer};
use robo_model::access::Verb;
use robo_model::name::DeviceId;
use robo_wire::api::{AuditOutcome, SshCertificate, SshCertificateRequest, SshKeyChange, SshKeys, SshKeysRequest};
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::ssh::{MAX_SSH_KEYS_ANSWER, SshKeysOpen};
use robo_wire::stream::Open;
use tokio::time::timeout;

use super::ApiState;
use super::above;
use super::auth::May;
use super::extract::{Device, Json, Project};
use super::problem::Refusal;
use crate::links::OpenError;
use crate::sessions::SessionError;
use crate::streams::{Unanswered, answer};

/// How long a device may take: its agent gives up after ten seconds.
const ANSWER: Duration = Duration::from_secs(15);

/// Signs a certificate with which one logs in to this device by SSH, as one of its users. It takes the rights to
/// `forward` and `shell`, and for another user than the device's own, or root, the right to `root`.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/ssh-certificate", tag = "devices",
    security(("token" = [])), params(("project" = String, Path), ("name" = String, Path)),
    request_body = SshCertificateRequest,
    responses((status = 200, body = SshCertificate), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn certificate(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    Json(request): Json<SshCertificateRequest>,
) -> Result<Answer<SshCertificate>, Refusal> {
    let device = state.service.record_of(&project, &name).await?;
    may.check(Verb::Forward, &project, &device.labels)?;
    let user = state.service.ssh_user(&device, &request)?;
    let thing = format!("device {name}: ssh");
    if device.facts.is_login_above(&user) {
        above::check(&state, &may, (&project, &device), ("ssh", &format!("as {user}"))).await?;
    }
    let certificate = state.service.ssh_certificate(&may.access, &device, user, &request)?;
    let SshCertificate { serial, user, expires_at, .. } = &certificate;
    let told = format!("certificate {serial} as {user}, until {}", expires_at.0 / 1000);
    state.service.audit(&may.actor, (Verb::Shell.name(), &thing), AuditOutcome::Allowed, &told).await?;
    Ok(Answer(certificate))
}

/// Tells the keys that may log in as a user of the device, lets one more in, or one in no more.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/ssh-keys", tag = "devices",
    security(("token" = [])), params(("project" = String, Path), ("name" = String, Path)),
    request_body = SshKeysRequest,
    responses((status = 200, body = SshKeys), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "the device cannot, and says why"),
        (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn keys(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    Json(request): Json<SshKeysRequest>,
) -> Result<Answer<SshKeys>, Refusal> {
    request.change.check().map_err(Refusal::bad_request)?;
    let device = state.service.record_of(&project, &name).await?;
    let SshKeysRequest { user, change } = request;
    if let Some(user) = user.as_deref().filter(|user| device.facts.is_above(Some(user))) {
        above::check(&state, &may, (&project, &device), ("ssh", &format!("keys of {user}"))).await?;
    }
    let whose = user.as_deref().or(device.facts.own_user()).unwrap_or("its own user");
    let told = match &change {
        SshKeyChange::List => format!("the keys of {whose}"),
        SshKeyChange::Add { key, .. } => format!("{key} added to the keys of {whose}"),
        SshKeyChange::Remove { key } => format!("{key} taken from the keys of {whose}"),
    };
    let thing = format!("device {name}: ssh keys");
    state.service.audit(&may.actor, (Verb::Shell.name(), &thing), AuditOutcome::Allowed, &told).await?;
    let open = Open::SshKeys(SshKeysOpen { user, change });
    let asked = timeout(ANSWER, ask(&state, &device.id, open)).await;
    let late = || Refused::Device(format!("it does not answer within {} s", ANSWER.as_secs()));
    asked.unwrap_or_else(|_| Err(late())).map(Answer).map_err(|refused| match refused {
        Refused::Offline => SessionError::Offline(device.name.clone()).into(),
        Refused::Device(reason) => {
            Refusal::new(ErrorCode::Conflict, format!("device `{}` did not do it", device.name)).detail(reason)
        }
    })
}

/// Why nothing came of it.
enum Refused {
    Offline,
    Device(String),
}

/// What the device says to it.
async fn ask(state: &ApiState, device: &DeviceId, open: Open) -> Result<SshKeys, Refused> {
    let stream = state.links.open(device, open).await.map_err(|error| match error {
        OpenError::Offline => Refused::Offline,
        error @ (OpenError::Failed(_) | OpenError::Off(_)) => Refused::Device(error.to_string()),
    })?;
    let said = answer(stream, MAX_SSH_KEYS_ANSWER).await.map_err(|why| match why {
        Unanswered::Refused(reason) | Unanswered::Broken(reason) => Refused::Device(reason),
    })?;
    serde_json::from_slice(&said).map_err(|error| Refused::Device(format!("what it says cannot be read: {error}")))
}
