//! Calls about files of devices that the manager keeps.

use reqwest::{Method, StatusCode};
use robo_model::name::{DeviceName, FileName};
use robo_wire::upload::{
    Meta, ShareRequest, ShareView, UploadPage, UploadRequest, UploadSort, UploadState, UploadView,
};

use super::{ByteStream, Client, ClientError};

/// Which files, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadQuery {
    /// Those in this state.
    pub(crate) state: Option<UploadState>,
    /// Those of this device.
    pub(crate) device: Option<DeviceName>,
    /// Those with all of these keys and values.
    pub(crate) meta: Meta,
    /// By what they are sorted.
    pub(crate) sort: UploadSort,
}

impl UploadQuery {
    fn pairs(&self, after: Option<String>) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("sort", self.sort.name().to_owned()), ("limit", robo_wire::upload::MAX_PAGE.to_string())];
        pairs.extend(self.state.map(|state| ("state", state.name().to_owned())));
        pairs.extend(self.device.as_ref().map(|device| ("device", device.to_string())));
        pairs.extend(self.meta.iter().map(|(key, value)| ("meta", format!("{key}={value}"))));
        pairs.extend(after.map(|after| ("after", after)));
        pairs
    }
}

impl Client {
    /// All files that are asked for, page by page.
    pub(crate) async fn uploads(&self, query: &UploadQuery) -> Result<Vec<UploadView>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = self.request(Method::GET, "uploads").query(&query.pairs(after.clone()));
            let page: UploadPage = self.json(request).await?;
            all.extend(page.uploads);
            // One that does not get on would be asked for for ever.
            if page.next.is_none() || page.next == after {
                return Ok(all);
            }
            after = page.next;
        }
    }

    /// Asks for a file of a device.
    pub(crate) async fn put_upload(&self, request: &UploadRequest) -> Result<UploadView, ClientError> {
        self.json(self.request(Method::POST, "uploads").json(request)).await
    }

    /// One file.
    pub(crate) async fn upload(&self, name: &FileName) -> Result<UploadView, ClientError> {
        self.json(self.request(Method::GET, &format!("uploads/{name}"))).await
    }

    /// Cancels one that is to come.
    pub(crate) async fn cancel_upload(&self, name: &FileName) -> Result<UploadView, ClientError> {
        self.json(self.request(Method::POST, &format!("uploads/{name}/cancel"))).await
    }

    /// Removes one.
    pub(crate) async fn remove_upload(&self, name: &FileName) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("uploads/{name}"))).await.map(drop)
    }

    /// Where the content of one is, for who has a token.
    pub(crate) fn upload_url(&self, name: &FileName) -> String {
        format!("{}/v1/projects/{}/uploads/{name}/content", self.url(), self.project())
    }

    /// The content of one from byte `from` on.
    pub(crate) async fn upload_content(&self, name: &FileName, from: u64) -> Result<ByteStream, ClientError> {
        let path = format!("uploads/{name}/content");
        let request = self.endless(Method::GET, &path).header(reqwest::header::RANGE, format!("bytes={from}-"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let reason = format!("a part was asked for, and the answer is {}", response.status());
            return Err(ClientError::Answer { path, reason });
        }
        Ok(self.bytes(response))
    }

    /// Makes a link to one.
    pub(crate) async fn share(&self, name: &FileName, request: &ShareRequest) -> Result<ShareView, ClientError> {
        self.json(self.request(Method::POST, &format!("uploads/{name}/shares")).json(request)).await
    }

    /// The links to one that are good.
    pub(crate) async fn shares(&self, name: &FileName) -> Result<Vec<ShareView>, ClientError> {
        self.json(self.request(Method::GET, &format!("uploads/{name}/shares"))).await
    }

    /// Takes a link back.
    pub(crate) async fn unshare(&self, id: &str) -> Result<ShareView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("shares/{id}"))).await
    }
}
