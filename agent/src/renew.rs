//! Renewal: the key we have vouches for the next one.
//!
//! The manager says when, by its own clock. The next key is on disk before it is asked about, and both are good until the
//! new one is used, so an answer that is lost costs nothing but another try.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Full, Limited};
use robo_wire::SERVER_NAME;
use robo_wire::api::{CertificateRequest, CertificateView, KeyView, MAX_ENROLL_BODY};
use robo_wire::problem::Problem;
use serde::de::DeserializeOwned;

use crate::credentials::Credentials;
use crate::dial::{self, DialError, Route};
use crate::identity::{Identity, IdentityError};
use crate::parts::{CERTIFICATE, Parts};
use crate::tls::TlsError;

/// Where a device asks for its next certificate, and says that it has it.
const PATH: &str = "/v1/agent/certificate";

/// Pause after the first try that failed; doubled for each further one up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(2);

/// Longest pause between two tries. A certificate is renewed days before its end.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// Why a certificate cannot be renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The manager says no.
    #[error("the manager refuses: {0}")]
    Refused(Problem),
    /// The manager cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer cannot be understood.
    #[error("the manager's answer cannot be understood: {0}")]
    Answer(String),
    /// The identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl RenewError {
    /// True when asking again is useless.
    fn is_final(&self) -> bool {
        matches!(self, Self::Refused(problem) if (400..500).contains(&problem.status))
    }
}

/// Renews until it is done, or the manager says no. From then on everything that is dialled has the new key.
pub async fn renew(route: Route, folder: PathBuf, credentials: Arc<Credentials>, parts: Parts) {
    parts.works(CERTIFICATE, "a new one is asked for");
    let mut pause = PAUSE;
    loop {
        match once(&route, &folder, &credentials).await {
            Ok(fingerprint) => {
                parts.rests(CERTIFICATE);
                return tracing::info!(fingerprint, "this device has a new key and certificate");
            }
            Err(error) if error.is_final() => {
                parts.fails(CERTIFICATE, &error);
                return tracing::error!(%error, "the certificate is not renewed");
            }
            Err(error) => {
                parts.fails(CERTIFICATE, &error);
                tracing::warn!(%error, "cannot renew the certificate yet; trying again");
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn once(route: &Route, folder: &Path, credentials: &Credentials) -> Result<String, RenewError> {
    let (next, certificate_request) = Identity::next_key(folder)?;
    let body = serde_json::to_vec(&CertificateRequest { certificate_request })
        .map_err(|e| RenewError::Answer(e.to_string()))?;
    let signed: CertificateView = ask(route, credentials, (Method::POST, PATH), body).await?;
    let identity = Identity::keep_next(folder, &next, &signed.certificate)?;
    credentials.replace(&identity)?;
    // The first use: from here on the old key is worth nothing. When this gets lost, the next connection does it.
    let known: KeyView = ask(route, credentials, (Method::GET, PATH), Vec::new()).await?;
    Ok(known.key_fingerprint)
}

/// Asks the manager something as this device.
pub(crate) async fn ask<T: DeserializeOwned>(
    route: &Route,
    credentials: &Credentials,
    (method, path): (Method, &str),
    body: Vec<u8>,
) -> Result<T, RenewError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", SERVER_NAME)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| RenewError::Answer(e.to_string()))?;
    let answer = dial::request(route, credentials.http(), request).await?;
    let status = answer.status();
    let mut answer = Limited::new(answer.into_body(), MAX_ENROLL_BODY);
    let mut body = Vec::new();
    let cut = |reason| DialError::Http { manager: route.to_string(), reason };
    while let Some(data) = dial::next_data(&mut answer, dial::BODY_SILENCE).await.map_err(cut)? {
        body.extend_from_slice(&data);
    }
    if !status.is_success() {
        let problem = serde_json::from_slice(&body).map_err(|_| RenewError::Answer(status.to_string()))?;
        return Err(RenewError::Refused(problem));
    }
    serde_json::from_slice(&body).map_err(|e| RenewError::Answer(e.to_string()))
}
