//! Calls about shell sessions.

use bytes::Bytes;
use futures_util::stream::Stream;
use reqwest::Method;
use robo_model::name::{DeviceName, SessionId};
use robo_wire::shell::SessionView;

use super::{ByteStream, Client, ClientError};

impl Client {
    /// All sessions that are known, newest first.
    pub(crate) async fn sessions(&self) -> Result<Vec<SessionView>, ClientError> {
        self.json(self.request(Method::GET, "sessions")).await
    }

    /// Begins a session; `body` are its frames, the answer's are as they come.
    pub(crate) async fn shell<S>(&self, device: &DeviceName, body: S) -> Result<ByteStream, ClientError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        self.framed_post(&format!("devices/{device}/shell"), body).await
    }

    /// Copies files to a device or from it; `body` begins with the frame that says which.
    pub(crate) async fn copy<S>(&self, device: &DeviceName, body: S) -> Result<ByteStream, ClientError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        self.framed_post(&format!("devices/{device}/copy"), body).await
    }

    /// Comes to a session that goes on.
    pub(crate) async fn attach<S>(&self, id: &SessionId, body: S) -> Result<ByteStream, ClientError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        self.framed_post(&format!("sessions/{id}/attach"), body).await
    }

    /// Watches a session; `from` is the place of the next byte of output for who comes back.
    pub(crate) async fn watch(&self, id: &SessionId, from: Option<u64>) -> Result<ByteStream, ClientError> {
        let query: Vec<(&str, u64)> = from.into_iter().map(|from| ("from", from)).collect();
        self.framed_get(&format!("sessions/{id}/watch"), &query).await
    }

    /// Ends a session.
    pub(crate) async fn end_session(&self, id: &SessionId) -> Result<SessionView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("sessions/{id}"))).await
    }

    /// A session's recording, as far as it is.
    pub(crate) async fn recording(&self, id: &SessionId) -> Result<Vec<u8>, ClientError> {
        let response = self.send(self.request(Method::GET, &format!("sessions/{id}/recording"))).await?;
        self.whole(response).await
    }
}
