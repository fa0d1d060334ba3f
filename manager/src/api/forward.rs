//! Connections through a device: this passes the frames of one flow on, both ways, and keeps nothing of it.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use robo_model::access::Verb;
use robo_wire::api::AuditOutcome;
use robo_wire::forward::{ForwardOpen, ForwardRequest, Opened, Target, Wish};
use robo_wire::frame::{self, Frame, MAX_STREAM_FRAME};
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::Open;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;

use super::ApiState;
use super::above::{self, Above};
use super::auth::{Caller, May};
use super::exec::framed;
use super::extract::{Device, Project};
use super::frames::BodyFrames;
use super::problem::Refusal;
use super::switches::SWITCH_ON;
use crate::links::{LinkStream, OpenError};
use crate::sessions::SessionError;
use crate::streams::StreamFrames;

/// Frames on their way to one client. Few: the ends keep what is under way.
const OUTPUT_QUEUE: usize = 8;

type Stream = Box<dyn LinkStream>;

/// Connects through a device, or has it listen, or comes back to either. The request's body is frames: a
/// `ForwardRequest`, then those of the flow; the answer's too. The flow is the device's and the client's: when this
/// connection breaks, whoever began the flow comes back to it with another request, within two minutes.
#[utoipa::path(post, path = "/v1/projects/{project}/devices/{name}/forward", tag = "devices",
    security(("token" = [])), params(("project" = String, Path), ("name" = String, Path)),
    request_body(content = robo_wire::forward::Wish, content_type = "application/vnd.robo.frames"),
    responses((status = 200, body = Opened, content_type = "application/vnd.robo.frames"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem, description = "the device is offline, or too much goes through it")))]
pub(super) async fn forward(
    State(state): State<ApiState>,
    Extension(Caller(by)): Extension<Caller>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Device(name): Device,
    request: Request,
) -> Result<Response, Refusal> {
    let mut input = BodyFrames::new(request.into_body());
    let request = input.first(ForwardRequest::decode).await?;
    if let Some(wish) = &request.wish {
        wish.check().map_err(Refusal::bad_request)?;
    }
    let device = state.service.record_of(&project, &name).await?;
    if let Some(wish) = &request.wish {
        let thing = format!("device {name}");
        let wish = format!("{wish:?}");
        state.service.audit(&may.actor, (Verb::Forward.name(), &thing), AuditOutcome::Allowed, &wish).await?;
    }
    let above = match &request.wish {
        // Who may open a socket says who may use it, and the agent opens it as its own user.
        Some(Wish::Connect(Target::Unix { path })) if device.facts.is_agent_above() => {
            above::check(&state, &may, (&project, &device), ("forward", path)).await?
        }
        Some(_) | None => Above(Vec::new()),
    };
    let open = ForwardOpen { flow: request.flow, by: by.clone(), wish: request.wish.clone(), taken: request.taken };
    let stream = state.links.open(&device.id, Open::Forward(open)).await.map_err(|error| match error {
        OpenError::Offline => SessionError::Offline(device.name.clone()).into(),
        OpenError::Off(reason) => Refusal::new(ErrorCode::Conflict, reason).help(SWITCH_ON),
        error @ OpenError::Failed(_) => Refusal::new(ErrorCode::Busy, error.to_string()),
    })?;
    if let Some(wish) = &request.wish {
        tracing::info!(device = %device.name, by, ?wish, "a connection through the device");
    }
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(Relay { output }.run(stream, input));
    Ok((Extension(above), framed(answer)).into_response())
}

struct Relay {
    output: mpsc::Sender<Bytes>,
}

impl Relay {
    /// Passes on until one of both ends is gone. What the ends do not know to have arrived they send again.
    async fn run(self, stream: Stream, input: BodyFrames) {
        let (read, write) = split(stream);
        let up = async {
            // Who has said all is still told how it ends.
            if self.up(write, input).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.down(read) => {}
            () = up => {}
            () = self.output.closed() => {}
        }
    }

    async fn up(&self, mut write: WriteHalf<Stream>, mut input: BodyFrames) -> Result<(), String> {
        loop {
            let frame = input.next(MAX_STREAM_FRAME).await.map_err(|error| error.to_string())?;
            let Some(frame) = frame else {
                return write.shutdown().await.map_err(|error| error.to_string());
            };
            let bytes = whole(&frame)?;
            write.write_all(&bytes).await.map_err(|error| error.to_string())?;
            write.flush().await.map_err(|error| error.to_string())?;
        }
    }

    async fn down(&self, read: ReadHalf<Stream>) {
        let mut frames = StreamFrames::new(read);
        while let Ok(Some(frame)) = frames.next(MAX_STREAM_FRAME).await {
            let Ok(bytes) = whole(&frame) else { return };
            if self.output.send(bytes.into()).await.is_err() {
                return;
            }
        }
    }
}

fn whole(frame: &Frame) -> Result<Vec<u8>, String> {
    frame::encode(frame.kind, &frame.body, MAX_STREAM_FRAME).map_err(|error| error.to_string())
}
