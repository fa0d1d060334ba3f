//! The way from the API to a device's link, without saying how a link works.
//!
//! A trait, because the API's tests answer without agents.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use robo_model::name::DeviceId;
use robo_wire::api::{Scope, Verb};
use robo_wire::stream::Open;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::acts::Judged;
use crate::store::StoreError;

/// A stream to an agent; what it is for was said already.
pub trait LinkStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> LinkStream for T {}

/// The devices that are connected to this process.
pub trait Links: Send + Sync {
    /// Opens a stream to the device and sends `open` as its first frame.
    fn open(&self, device: &DeviceId, open: Open) -> BoxFuture<'_, Result<Box<dyn LinkStream>, OpenError>>;

    /// Asks each of these devices to do something once. The verdicts come in the order of the targets, one for each,
    /// within [`crate::acts::DEADLINE`].
    fn act(&self, targets: Vec<ActTarget>) -> BoxFuture<'_, Vec<Judged>>;

    /// True when the device has a link.
    fn is_linked(&self, device: &DeviceId) -> bool;

    /// Which of these devices, as far as they have a link, do not know yet what others offer by now, or have not told
    /// of themselves since they know. Looks into the store for it.
    fn behind(&self, devices: BTreeSet<DeviceId>) -> BoxFuture<'_, Result<BTreeSet<DeviceId>, StoreError>>;

    /// How many there are.
    fn count(&self) -> u64;
}

/// What one device is asked to do once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActTarget {
    /// The device.
    pub device: DeviceId,
    /// What.
    pub verb: Verb,
    /// To which instances.
    pub scope: Scope,
    /// Who asks.
    pub by: String,
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The device has no link.
    #[error("the device is not connected")]
    Offline,
    /// It is switched off there, for this reason.
    #[error("{0}")]
    Off(String),
    /// The link broke, or what it should carry is too long.
    #[error("the link failed: {0}")]
    Failed(String),
}
