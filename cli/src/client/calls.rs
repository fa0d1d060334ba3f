//! Calls about history, bindings, acts and devices.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use reqwest::Method;
use robo_model::name::{ApplicationName, ComponentName, DeviceName};
use robo_model::spec::FileRef;
use robo_wire::api::{
    Accepted, ActAnswer, ActRequest, BindRequest, BindingView, DeviceView, EnrollTokenView, InstallView, LabelResult,
    LabelsRequest, MAX_DEVICE_PAGE, MoveRequest, NOTICE_HEADER, RenameRequest, RevisionDetail, RevisionDiff,
    RevisionView, StandingRequest, UpgradeLine, UpgradeRequest,
};
use robo_wire::health::HealthView;
use robo_wire::log_files::LogFiles;
use robo_wire::problem::ErrorCode;
use robo_wire::switch::{SwitchRequest, SwitchResult};

use super::{Client, ClientError, DeviceQuery, lines};

impl Client {
    /// The application's revisions that are kept, newest first.
    pub(crate) async fn revisions(&self, name: &ApplicationName) -> Result<Vec<RevisionView>, ClientError> {
        self.json(self.request(Method::GET, &format!("applications/{name}/revisions"))).await
    }

    /// One revision, with what was sent.
    pub(crate) async fn revision(&self, name: &ApplicationName, number: u64) -> Result<RevisionDetail, ClientError> {
        self.json(self.request(Method::GET, &format!("applications/{name}/revisions/{number}"))).await
    }

    /// How two revisions differ.
    pub(crate) async fn revision_diff(
        &self,
        name: &ApplicationName,
        (from, to): (u64, u64),
    ) -> Result<RevisionDiff, ClientError> {
        let request = self.request(Method::GET, &format!("applications/{name}/diff"));
        self.json(request.query(&[("from", from), ("to", to)])).await
    }

    /// A source or recipe file of a revision.
    pub(crate) async fn revision_file(
        &self,
        name: &ApplicationName,
        number: u64,
        file: &FileRef,
    ) -> Result<Bytes, ClientError> {
        let path = format!("applications/{name}/revisions/{number}/files/{}", file.hash);
        let response = self.send(self.request(Method::GET, &path)).await?;
        Ok(self.whole(response).await?.into())
    }

    /// Where the application's external imports come from, and who could give them.
    pub(crate) async fn bindings(&self, name: &ApplicationName) -> Result<Vec<BindingView>, ClientError> {
        self.json(self.request(Method::GET, &format!("applications/{name}/bindings"))).await
    }

    /// Replaces all applications that the imports of a prefix come from.
    pub(crate) async fn bind(
        &self,
        name: &ApplicationName,
        prefix: &ComponentName,
        request: &BindRequest,
    ) -> Result<Accepted, ClientError> {
        // A facet's or component's name may have a blank in it.
        let prefix = prefix.as_str().replace('%', "%25").replace(' ', "%20");
        self.json(self.request(Method::PUT, &format!("applications/{name}/bindings/{prefix}")).json(request)).await
    }

    /// Does something once. The answer is there when every device's verdict is.
    pub(crate) async fn act(&self, name: &ApplicationName, request: &ActRequest) -> Result<ActAnswer, ClientError> {
        self.json(self.request(Method::POST, &format!("applications/{name}/act")).json(request)).await
    }

    /// Removes a device; with `force` even while applications have something on it.
    pub(crate) async fn remove_device(&self, name: &DeviceName, force: bool) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &format!("devices/{name}"));
        self.send(if force { request.query(&[("force", true)]) } else { request }).await.map(drop)
    }

    /// Lets a device in, or shuts it out.
    pub(crate) async fn set_standing(
        &self,
        name: &DeviceName,
        request: &StandingRequest,
    ) -> Result<DeviceView, ClientError> {
        self.json(self.request(Method::PUT, &format!("devices/{name}/standing")).json(request)).await
    }

    /// Takes a device to another project.
    pub(crate) async fn move_device(
        &self,
        name: &DeviceName,
        request: &MoveRequest,
    ) -> Result<DeviceView, ClientError> {
        self.json(self.request(Method::POST, &format!("devices/{name}/move")).json(request)).await
    }

    /// Has a device make itself a new key.
    pub(crate) async fn rotate_key(&self, name: &DeviceName) -> Result<DeviceView, ClientError> {
        self.json(self.request(Method::POST, &format!("devices/{name}/rotate-key"))).await
    }

    /// How the device is, as it says itself; nothing where the manager is of a version that does not ask.
    pub(crate) async fn health(&self, name: &DeviceName) -> Result<Option<HealthView>, ClientError> {
        match self.json(self.request(Method::GET, &format!("devices/{name}/health"))).await {
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The files of logs on a device.
    pub(crate) async fn log_files(&self, name: &DeviceName) -> Result<LogFiles, ClientError> {
        self.json(self.request(Method::GET, &format!("devices/{name}/log-files"))).await
    }

    /// The machines that are on their way to become devices; none where this user may not see them, or the manager is of a
    /// version that does not know.
    pub(crate) async fn installs(&self) -> Result<Vec<InstallView>, ClientError> {
        match self.json(self.request(Method::GET, "installs")).await {
            Err(error) if matches!(error.code(), Some(ErrorCode::NotFound | ErrorCode::Forbidden)) => Ok(Vec::new()),
            answer => answer,
        }
    }

    /// The enrolment tokens.
    pub(crate) async fn tokens(&self) -> Result<Vec<EnrollTokenView>, ClientError> {
        self.json(self.request(Method::GET, "tokens")).await
    }

    /// Revokes an enrolment token.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<EnrollTokenView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("tokens/{id}"))).await
    }

    /// The devices that are meant, by name, asked for a page at a time; and what is odd about the question.
    pub(crate) async fn devices_where(
        &self,
        query: &DeviceQuery,
    ) -> Result<(Vec<DeviceView>, Option<String>), ClientError> {
        let mut all: Vec<DeviceView> = Vec::new();
        loop {
            let mut request = self.request(Method::GET, "devices").query(query).query(&[("limit", MAX_DEVICE_PAGE)]);
            if let Some(last) = all.last() {
                request = request.query(&[("after", &last.name)]);
            }
            let response = self.send(request).await?;
            let notice = response.headers().get(NOTICE_HEADER).and_then(|text| text.to_str().ok()).map(str::to_owned);
            let page: Vec<DeviceView> = self.read(response).await?;
            let more = page.len() == MAX_DEVICE_PAGE;
            all.extend(page);
            if !more {
                return Ok((all, notice));
            }
        }
    }

    /// Gives a device another name.
    pub(crate) async fn rename_device(
        &self,
        name: &DeviceName,
        request: &RenameRequest,
    ) -> Result<DeviceView, ClientError> {
        self.json(self.request(Method::POST, &format!("devices/{name}/rename")).json(request)).await
    }

    /// Brings agents up to the program that the manager gives away. Lines come as it goes on.
    pub(crate) async fn upgrade(
        &self,
        request: &UpgradeRequest,
    ) -> Result<BoxStream<'static, Result<UpgradeLine, ClientError>>, ClientError> {
        let response = self.send(self.endless(Method::POST, "upgrade").json(request)).await?;
        Ok(lines(self.bytes(response), "upgrade").boxed())
    }

    /// Changes labels of many devices.
    pub(crate) async fn label_devices(&self, request: &LabelsRequest) -> Result<Vec<LabelResult>, ClientError> {
        self.json(self.request(Method::POST, "labels").json(request)).await
    }

    /// Switches parts of devices off and on; a result for each.
    pub(crate) async fn switch_devices(&self, request: &SwitchRequest) -> Result<Vec<SwitchResult>, ClientError> {
        self.json(self.request(Method::POST, "switches").json(request)).await
    }
}
