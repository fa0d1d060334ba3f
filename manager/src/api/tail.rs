//! Logs of a device. The manager passes them on and keeps nothing: a slow reader slows the device's reading down.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use robo_model::access::Verb;
use robo_model::name::DeviceName;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::{Open, Verdict};
use robo_wire::tail::{Source, SourceAt, TailOpen};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::ApiState;
use super::auth::{BegunOn, May};
use super::exec::framed;
use super::extract::{Device, Project};
use super::frames::BodyFrames;
use super::problem::Refusal;
use super::switches::SWITCH_ON;
use crate::links::{LinkStream, OpenError};
use crate::store::DeviceRecord;

/// Pieces on their way to the client. Few, so that a slow one slows the device down.
const OUTPUT_QUEUE: usize = 4;

/// Bytes read from the device at a time.
const CHUNK: usize = 32 * 1024;

/// Tells logs of a device. The request's body is one frame, a `TailOpen`; the answer's frames are the device's
/// `TailFrame`s. An answer without a verdict was cut: ask again with the positions. Units of the system's journal need
/// the verb `exec`.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/logs", tag = "devices", security(("token" = [])),
    params(("project" = String, Path), ("name" = String, Path)),
    request_body(content = TailOpen, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn tail(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    request: Request,
) -> Result<Response, Refusal> {
    let open = BodyFrames::new(request.into_body()).first(TailOpen::decode).await?;
    open.check().map_err(Refusal::bad_request)?;
    let device = state.service.record_of(&project, &name).await?;
    if open.sources.iter().any(|at| matches!(at.source, Source::Unit(_))) {
        may.check(Verb::Exec, &project, &device.labels)?;
    }
    begin(&state, &device, Open::Tail(open)).await
}

/// Tells the log of one instance, wherever it is: for who may read logs of some devices, and not the state of all. The
/// request's body is a `TailOpen` with this instance alone; the answer is as that of a device.
#[utoipa::path(post, path = "/v1/projects/{project}/logs", tag = "applications", security(("token" = [])),
    params(("project" = String, Path)),
    request_body(content = TailOpen, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Verdict, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "the device is offline")))]
pub(super) async fn tail_instance(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    request: Request,
) -> Result<Response, Refusal> {
    let open = BodyFrames::new(request.into_body()).first(TailOpen::decode).await?;
    open.check().map_err(Refusal::bad_request)?;
    let [SourceAt { source: Source::Instance(key), .. }] = open.sources.as_slice() else {
        return Err(Refusal::bad_request("without a device one instance can be asked for, and nothing else"));
    };
    let device = state.service.device_of(&project, &key.application, &key.path).await?;
    may.check(Verb::Logs, &project, &device.labels)?;
    let begun_on = BegunOn(vec![device.name.clone()]);
    Ok((Extension(begun_on), begin(&state, &device, Open::Tail(open)).await?).into_response())
}

/// Opens a stream on which only the device speaks, and passes on what it says.
pub(super) async fn begin(state: &ApiState, device: &DeviceRecord, open: Open) -> Result<Response, Refusal> {
    let stream = state.links.open(&device.id, open).await.map_err(|error| not_opened(&device.name, error))?;
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(relay(stream, output));
    Ok(framed(answer))
}

/// Why nothing is asked of the device `name`.
pub(super) fn not_opened(name: &DeviceName, error: OpenError) -> Refusal {
    match error {
        OpenError::Offline => Refusal::new(ErrorCode::DeviceOffline, format!("`{name}` is not connected"))
            .help(format!("see since when: `robo device inspect {name}`")),
        OpenError::Off(reason) => Refusal::new(ErrorCode::Conflict, reason).help(SWITCH_ON),
        OpenError::Failed(reason) => {
            Refusal::new(ErrorCode::DeviceOffline, format!("the link to `{name}` failed: {reason}"))
        }
    }
}

/// Passes bytes on until the device has said everything, or nobody listens any more.
async fn relay(stream: Box<dyn LinkStream>, output: mpsc::Sender<Bytes>) {
    // The device takes an end of the other half for nobody listening.
    let (mut reader, _writer) = tokio::io::split(stream);
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
        () = back => {}
        () = output.closed() => {}
    }
}
