//! Copies of files to devices and from them. The manager passes the bytes on, both ways, and holds none of them: a slow
//! side slows the other down.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use robo_model::access::Verb;
use robo_wire::api::AuditOutcome;
use robo_wire::copy::CopyOpen;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::{Open, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::ApiState;
use super::above::{self, Above};
use super::auth::May;
use super::exec::framed;
use super::extract::{Device, Project};
use super::frames::BodyFrames;
use super::problem::Refusal;
use super::switches::SWITCH_ON;
use crate::links::{LinkStream, OpenError};

/// Pieces on their way to the client. Few, so that a slow one slows the device down.
const OUTPUT_QUEUE: usize = 4;

/// Bytes read from the device at a time.
const CHUNK: usize = 32 * 1024;

/// Copies files. The request's body is frames: a `CopyOpen`, then what the client's side of the copy says. The answer's
/// are what the device says, and how it ended. An answer without a verdict was cut; the copy can be gone on with.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/copy", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    request_body(content = CopyOpen, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn copy(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    request: Request,
) -> Result<Response, Refusal> {
    let mut input = BodyFrames::new(request.into_body());
    let open = input.first(CopyOpen::decode).await?;
    let (thing, what) = (format!("device {name}"), said(&open));
    state.service.audit(&may.actor, (Verb::Copy.name(), &thing), AuditOutcome::Allowed, &what).await?;
    let device = state.service.record_of(&project, &name).await?;
    let above = match device.facts.is_agent_above() {
        // With the agent's rights a file can be put anywhere, and then it runs.
        true => above::check(&state, &may, (&project, &device), ("copy", &what)).await?,
        false => Above(Vec::new()),
    };
    let stream = state.links.open(&device.id, Open::Copy(open)).await.map_err(|error| match error {
        OpenError::Offline => Refusal::new(ErrorCode::DeviceOffline, format!("`{name}` is not connected"))
            .help(format!("see since when: `robo device inspect {name}`")),
        OpenError::Off(reason) => Refusal::new(ErrorCode::Conflict, reason).help(SWITCH_ON),
        OpenError::Failed(reason) => {
            Refusal::new(ErrorCode::DeviceOffline, format!("the link to `{name}` failed: {reason}"))
        }
    })?;
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(relay(stream, input, output));
    Ok((Extension(above), framed(answer)).into_response())
}

/// What is copied, for the audit log.
fn said(open: &CopyOpen) -> String {
    match open {
        CopyOpen::Push(push) => format!("{} to {}", push.name, push.path),
        CopyOpen::Pull(pull) => format!("from {}", pull.path),
        CopyOpen::Purge(purge) => format!("remove {}", purge.path),
    }
}

/// Passes bytes on until the device has said everything, or nobody listens any more.
async fn relay(stream: Box<dyn LinkStream>, mut input: BodyFrames, output: mpsc::Sender<Bytes>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let there = async {
        while let Some(bytes) = input.bytes().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        writer.shutdown().await.ok();
        // The device has the last word.
        std::future::pending::<()>().await;
    };
    let back = async {
        let mut piece = vec![0; CHUNK];
        while let Ok(read @ 1..) = reader.read(&mut piece).await {
            let bytes = Bytes::copy_from_slice(piece.get(..read).unwrap_or_default());
            if output.send(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        () = output.closed() => {}
    }
}
