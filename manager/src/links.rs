//! The way from the API to a device's link, without saying how a link works.
//!
//! A trait, because the API's tests answer without agents.

use futures_util::future::BoxFuture;
use robo_model::name::DeviceId;
use robo_wire::stream::Open;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream to an agent; what it is for was said already.
pub trait LinkStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> LinkStream for T {}

/// The devices that are connected to this process.
pub trait Links: Send + Sync {
    /// Opens a stream to the device and sends `open` as its first frame.
    fn open(&self, device: &DeviceId, open: Open) -> BoxFuture<'_, Result<Box<dyn LinkStream>, OpenError>>;

    /// How many there are.
    fn count(&self) -> u64;
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The device has no link.
    #[error("the device is not connected")]
    Offline,
    /// The link broke, or what it should carry is too long.
    #[error("the link failed: {0}")]
    Failed(String),
}
