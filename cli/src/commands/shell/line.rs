//! A connection to a session: frames both ways.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use robo_model::name::{DeviceName, SessionId};
use robo_wire::shell::{AttachRequest, Joined, ShellFrame, ShellRequest, ShellStart, Size};
use tokio::sync::mpsc::{self, Sender};

use crate::client::{Client, ClientError};
use crate::commands::exec::{Frames, FramesError};
use crate::error::CliError;

/// Frames that wait for the connection: few, so that what is typed waits where it can be sent again.
const QUEUE: usize = 4;

/// How one comes to a session.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// It begins.
    Begin {
        /// Where.
        device: DeviceName,
        /// What is run.
        start: ShellStart,
    },
    /// It goes on; the visitor uses it, and has its output up to `from`.
    Come {
        /// Which.
        id: SessionId,
        /// Nothing for somebody who has seen none of it.
        from: Option<u64>,
    },
    /// It goes on; the visitor watches, and has its output up to `from`.
    Watch {
        /// Which.
        id: SessionId,
        /// Nothing for somebody who has seen none of it.
        from: Option<u64>,
    },
}

/// A connection.
pub(super) struct Line {
    pub(super) frames: Frames,
    /// Where what is to be said goes; whoever watches has nothing to say.
    pub(super) to_manager: Option<Sender<io::Result<Bytes>>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Frames(#[from] FramesError),
    #[error("{0}")]
    Other(String),
}

impl From<LineError> for CliError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Client(error) | LineError::Frames(FramesError::Client(error)) => error.into(),
            error @ (LineError::Frames(_) | LineError::Other(_)) => Self::new(error.to_string()),
        }
    }
}

impl LineError {
    /// True when it may work in a moment.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Client(error) | Self::Frames(FramesError::Client(error)) => error.is_passing(),
            Self::Frames(FramesError::Cut) => true,
            Self::Frames(FramesError::Frame(_)) | Self::Other(_) => false,
        }
    }
}

/// Makes a connection. `client_number` is by which the manager knows the client again.
pub(super) async fn open(
    client: Client,
    way: Way,
    client_number: u64,
    size: Size,
) -> Result<(Line, Joined), LineError> {
    let unsendable = |error: robo_wire::frame::FrameError| LineError::Other(error.to_string());
    let (to_manager, queue) = mpsc::channel(QUEUE);
    let body = stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|item| (item, queue)) });
    let first = |bytes: Vec<u8>| drop(to_manager.try_send(Ok(bytes.into())));
    let mut says = true;
    let bytes = match way {
        Way::Begin { device, start } => {
            first(ShellRequest { start, client: client_number }.encode().map_err(unsendable)?);
            client.shell(&device, body).await?
        }
        Way::Come { id, from } => {
            first(AttachRequest { client: client_number, from, size }.encode().map_err(unsendable)?);
            client.attach(&id, body).await?
        }
        Way::Watch { id, from } => {
            says = false;
            client.watch(&id, from).await?
        }
    };
    let mut line = Line { frames: Frames::new(bytes), to_manager: says.then_some(to_manager) };
    loop {
        match line.next().await? {
            Some(ShellFrame::Joined(joined)) => return Ok((line, joined)),
            Some(_) => {}
            None => return Err(FramesError::Cut.into()),
        }
    }
}

impl Line {
    /// The next frame; nothing at the end. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Option<ShellFrame>, FramesError> {
        Ok(self.frames.next_frame().await?.map(ShellFrame::decode).transpose()?)
    }
}
