//! Enrolment: tokens, requests and certificates.

use robo_model::label::Labels;
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use serde::{Deserialize, Serialize};

use super::Facts;

/// `POST …/tokens`: makes an enrolment token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// The device's name; where none is given, the agent proposes one.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// Labels it gets.
    #[serde(default)]
    pub labels: Labels,
    /// How long the token is good for; [`TokenRequest::LIFETIME`] where none is given.
    #[serde(default)]
    pub lifetime: Option<Millis>,
    /// When a device of that name exists: its key is replaced and it keeps its identity, instead of a refusal.
    #[serde(default)]
    pub replace: bool,
    /// How many devices it lets in, 1 to [`TokenRequest::MAX_USES`]; one where nothing is said.
    #[serde(default)]
    pub uses: Option<u32>,
    /// Whether an operator has to accept each device that comes with it.
    #[serde(default)]
    pub approve: bool,
}

impl TokenRequest {
    /// An hour: long enough to walk to the machine.
    pub const LIFETIME: Millis = Millis::from_secs(3600);
    /// Longest lifetime that may be asked for: a week.
    pub const MAX_LIFETIME: Millis = Millis::from_secs(7 * 24 * 3600);
    /// Most devices that one token lets in: a fleet's image.
    pub const MAX_USES: u32 = 10_000;
}

/// `GET …/tokens`: an enrolment token that may still let devices in, or was used up or ended not long ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollTokenView {
    /// Names the token: the beginning of its hash.
    pub id: String,
    /// The device's name, where it gives one.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// The labels that devices get.
    pub labels: Labels,
    /// Whether it replaces a device's key.
    #[serde(default)]
    pub replace: bool,
    /// Whether an operator has to accept each device.
    #[serde(default)]
    pub approve: bool,
    /// How many devices it lets in.
    pub uses: u32,
    /// How many came already.
    pub used: u32,
    /// The device that came last.
    #[serde(default)]
    pub last_used_by: Option<DeviceName>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Whose token made it.
    #[serde(default)]
    pub created_by: String,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// `POST /v1/agent/certificate`: a device that has a certificate asks for one for its next key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateRequest {
    /// A PKCS#10 request (RFC 2986) in PEM, signed with the next key.
    pub certificate_request: String,
}

/// A device's certificate. The key it is for becomes the device's with its first use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateView {
    /// In PEM.
    pub certificate: String,
    /// When it ends.
    pub ends_at: UnixMillis,
}

/// `GET /v1/agent/certificate`: the manager knows the device's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// SHA-256 of the device's public key, in hexadecimal.
    pub key_fingerprint: String,
}

/// A new enrolment token. It is told once and stored only as a hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// What it is called in lists.
    #[serde(default)]
    pub id: String,
    /// The token: `rbe1.<SHA-256 of the manager's CA>.<secret>`.
    pub token: String,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// `POST /v1/enroll`: the only request that needs no credentials but the token in it.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    /// The enrolment token.
    pub token: String,
    /// A PKCS#10 request (RFC 2986) in PEM, signed with the device's key.
    pub certificate_request: String,
    /// The name the machine proposes; the token's goes first.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// What it tells of itself.
    #[serde(default)]
    pub facts: Facts,
}

/// The answer to an enrolment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollResponse {
    /// The device's identity.
    pub device: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its project.
    pub project: ProjectName,
    /// Its certificate, in PEM.
    pub certificate: String,
}

/// A file that no application has. An agent's doctor asks for it: who knows the device refuses it that file. It is the
/// only one that a device may ask for in vain without being told of in the audit log.
pub const NO_FILE: &str = "/v1/agent/files/0000000000000000000000000000000000000000000000000000000000000000";

/// Largest body of an enrolment, in bytes: it comes from an unauthenticated peer.
pub const MAX_ENROLL_BODY: usize = 64 * 1024;
