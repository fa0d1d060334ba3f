//! A connection for one copy: the frames that this side says are the request's body, the answer's body what the device
//! says.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use robo_agent::copy::Line;
use robo_model::name::DeviceName;
use robo_wire::copy::CopyOpen;
use tokio::io::{AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;

use crate::client::{Client, ClientError};

/// Bytes between the copy and the connection, each way: a few frames.
const ROOM: usize = 256 * 1024;

/// A connection.
pub(super) struct Wire {
    pub(super) line: Line<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>,
    /// Carries the answer; ends with this.
    pump: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When the manager, or the device, cannot be reached or refuses.
    pub(super) async fn open(client: &Client, device: &DeviceName, open: &CopyOpen) -> Result<Self, ClientError> {
        let unsendable = |error: robo_wire::frame::FrameError| ClientError::Answer {
            path: "copy".to_owned(),
            reason: error.to_string(),
        };
        let first = open.encode().map_err(unsendable)?;
        let (ours, theirs) = duplex(ROOM);
        let (read, mut write) = split(theirs);
        let body = stream::iter([Ok::<_, io::Error>(Bytes::from(first))]).chain(ReaderStream::new(read));
        let mut answer = client.copy(device, body).await?;
        let pump = tokio::spawn(async move {
            while let Some(Ok(bytes)) = answer.next().await {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            write.shutdown().await.ok();
        });
        let (reader, writer) = split(ours);
        Ok(Self { line: Line::new(reader, writer), pump })
    }
}
