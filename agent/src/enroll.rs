//! Enrolment: a token and our own key in, a certificate out.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Full, Limited};
use robo_model::name::DeviceName;
use robo_wire::SERVER_NAME;
use robo_wire::api::{EnrollRequest, EnrollResponse, Facts, MAX_ENROLL_BODY};
use robo_wire::problem::{ErrorCode, Problem};
use sha2::{Digest as _, Sha256};

use crate::code::Code;
use crate::dial::{self, DialError, Route};
use crate::identity::{Enrolled, Identity, IdentityError, key_and_request};
use crate::tls::{self, Pin, TlsError};

/// What a device needs to enrol.
#[derive(Clone)]
pub struct Enrolment {
    /// The token as it was given.
    pub token: String,
    /// The authority that was given apart from the token, in PEM; must be the one the token pins.
    pub ca_pem: Option<String>,
    /// The name the machine would like.
    pub name: Option<DeviceName>,
}

impl Enrolment {
    /// SHA-256 of the token, in hexadecimal: what tells a token that was used from a new one.
    #[must_use]
    pub fn token_hash(&self) -> String {
        hex::encode(Sha256::digest(self.token.trim()))
    }
}

/// Why a device cannot enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The text is no token.
    #[error(
        "this is not an enrolment token: it has the form `rbe1.<fingerprint>.<secret>`; make one with `robo device enroll`"
    )]
    NotAToken,
    /// Token and authority do not belong together.
    #[error("the token is for another manager than the given CA: the token pins {token}, the CA is {ca}")]
    Foreign {
        /// The token's fingerprint.
        token: String,
        /// The authority's.
        ca: String,
    },
    /// The manager is another one than the token was made by.
    #[error(
        "the manager at {manager} is not the one that made this token: its certificate is not signed by the CA that the token pins; check the address, or get a token from this manager"
    )]
    WrongManager {
        /// Where.
        manager: String,
    },
    /// The manager says no.
    #[error("the manager refuses: {0}")]
    Refused(Problem),
    /// The manager cannot be reached; trying again may help.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The answer cannot be understood.
    #[error("the manager's answer cannot be understood: {0}")]
    Answer(String),
    /// The identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl EnrollError {
    /// What to look up about it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(problem) if problem.code == ErrorCode::ProjectFull => Code::ProjectFull,
            Self::NotAToken | Self::Refused(_) => Code::Token,
            Self::Foreign { .. } | Self::WrongManager { .. } => Code::WrongManager,
            Self::Dial(error) => error.code(),
            Self::Answer(_) => Code::Answer,
            Self::Identity(_) => Code::Identity,
            Self::Tls(_) => Code::Key,
        }
    }

    /// True when trying again may help: the manager did not answer, or is busy.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_wrong_authority(),
            Self::Refused(problem) => problem.status >= 500,
            Self::NotAToken
            | Self::Foreign { .. }
            | Self::WrongManager { .. }
            | Self::Answer(_)
            | Self::Identity(_)
            | Self::Tls(_) => false,
        }
    }
}

/// Enrols this device and keeps its identity in `folder`. Trying again after a failure is safe: the key stays.
///
/// # Errors
/// Says why; [`EnrollError::is_passing`] tells whether to try again.
pub async fn enroll(
    route: &Route,
    folder: &Path,
    enrolment: &Enrolment,
    facts: Facts,
) -> Result<Identity, EnrollError> {
    let pin = Pin::new(pinned_fingerprint(enrolment)?);
    let (key_pem, certificate_request) = key_and_request(folder)?;
    let body =
        EnrollRequest { token: enrolment.token.clone(), certificate_request, name: enrolment.name.clone(), facts };
    let body = serde_json::to_vec(&body).map_err(|e| EnrollError::Answer(e.to_string()))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/enroll")
        .header("host", SERVER_NAME)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| EnrollError::Answer(e.to_string()))?;
    let tls = tls::pinned(&pin, b"http/1.1")?;
    let answer = dial::request(route, Arc::clone(&tls), request).await.map_err(|error| {
        if error.is_wrong_authority() {
            EnrollError::WrongManager { manager: route.to_string() }
        } else {
            EnrollError::Dial(error)
        }
    })?;
    let status = answer.status();
    let mut answer = Limited::new(answer.into_body(), MAX_ENROLL_BODY);
    let mut body = Vec::new();
    let cut = |reason| DialError::Http { manager: route.to_string(), reason };
    while let Some(data) = dial::next_data(&mut answer, dial::BODY_SILENCE).await.map_err(cut)? {
        body.extend_from_slice(&data);
    }
    if !status.is_success() {
        let problem = serde_json::from_slice(&body).map_err(|_| EnrollError::Answer(status.to_string()))?;
        return Err(EnrollError::Refused(problem));
    }
    let response: EnrollResponse = serde_json::from_slice(&body).map_err(|e| EnrollError::Answer(e.to_string()))?;
    let identity = Identity {
        enrolled: Enrolled {
            device: response.device,
            name: response.name,
            project: response.project,
            token_hash: Some(enrolment.token_hash()),
        },
        key_pem,
        certificate_pem: response.certificate,
        ca_pem: pin.authority().ok_or_else(|| EnrollError::Answer("no authority in the handshake".into()))?,
    };
    identity.save(folder)?;
    Ok(identity)
}

fn pinned_fingerprint(enrolment: &Enrolment) -> Result<String, EnrollError> {
    let mut parts = enrolment.token.trim().split('.');
    let (Some("rbe1"), Some(fingerprint), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(EnrollError::NotAToken);
    };
    let is_hash = fingerprint.len() == 64 && fingerprint.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash || secret.is_empty() {
        return Err(EnrollError::NotAToken);
    }
    if let Some(pem) = &enrolment.ca_pem {
        let ca = tls::fingerprint_of(pem)?;
        if ca != fingerprint {
            return Err(EnrollError::Foreign { token: fingerprint.to_owned(), ca });
        }
    }
    Ok(fingerprint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_a_token() {
        let check =
            |token: &str| pinned_fingerprint(&Enrolment { token: token.into(), ca_pem: None, name: None }).is_ok();
        let fingerprint = "ab".repeat(32);
        assert!(check(&format!("rbe1.{fingerprint}.secret")));
        assert!(check(&format!("rbe1.{fingerprint}.secret\n")));
        for bad in ["", "secret", "rbe1.ab.secret", &format!("rbe2.{fingerprint}.s"), &format!("rbe1.{fingerprint}.")] {
            assert!(!check(bad), "{bad}");
        }
    }
}
