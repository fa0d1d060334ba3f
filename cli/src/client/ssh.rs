//! Calls about certificates for SSH, and keys of people on devices.

use reqwest::Method;
use robo_model::name::DeviceName;
use robo_wire::api::{SshCertificate, SshCertificateRequest, SshKeys, SshKeysRequest};
use sha2::{Digest as _, Sha256};

use super::{Client, ClientError};

impl Client {
    /// A certificate with which one logs in to a device.
    pub(crate) async fn ssh_certificate(
        &self,
        device: &DeviceName,
        request: &SshCertificateRequest,
    ) -> Result<SshCertificate, ClientError> {
        self.json(self.request(Method::POST, &format!("devices/{device}/ssh-certificate")).json(request)).await
    }

    /// The keys of a user on a device, looked at or changed.
    pub(crate) async fn ssh_keys(&self, device: &DeviceName, request: &SshKeysRequest) -> Result<SshKeys, ClientError> {
        self.json(self.request(Method::POST, &format!("devices/{device}/ssh-keys")).json(request)).await
    }

    /// What is another text for another manager, project or user of the manager's; it tells none of them.
    pub(crate) fn standpoint(&self) -> String {
        let all = format!("{}\n{}\n{}", self.address, self.project, self.token);
        hex::encode(Sha256::digest(all))
    }
}
