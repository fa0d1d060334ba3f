//! Enrolment: a single-use token becomes a device with a certificate.

use robo_model::label::check_label;
use robo_model::limits::MAX_LABELS;
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use robo_wire::api::{EnrollRequest, EnrollResponse, TokenRequest, TokenView};

use super::error::ServiceError;
use super::identity::token_id;
use super::{Service, now};
use crate::bus::Ring;
use crate::ca::{CaError, Signed};
use crate::store::{EnrollTokenRecord, Enrolment, NewDevice};
use crate::token::{self, EnrollToken, random_hex};

/// Bytes of randomness in a device's identity: no two are ever the same.
const ID_BYTES: usize = 10;

/// Signs a device's certificate request for its identity.
pub type Sign = dyn Fn(&DeviceId, &str) -> Result<Signed, CaError> + Send + Sync;

impl Service {
    /// Makes an enrolment token.
    ///
    /// # Errors
    /// When labels or lifetime break their bounds, or the store fails.
    pub async fn create_token(
        &self,
        project: &ProjectName,
        request: TokenRequest,
        by: &str,
    ) -> Result<TokenView, ServiceError> {
        if request.labels.len() > MAX_LABELS {
            return Err(ServiceError::TooManyLabels { count: request.labels.len(), max: MAX_LABELS });
        }
        for (key, value) in &request.labels {
            check_label(key, value)?;
        }
        if request.replace && request.name.is_none() {
            return Err(ServiceError::ReplaceWhom);
        }
        let uses = request.uses.unwrap_or(1);
        if uses == 0 || uses > TokenRequest::MAX_USES {
            return Err(ServiceError::Uses { asked: uses, max: TokenRequest::MAX_USES });
        }
        if uses > 1
            && let Some(name) = request.name
        {
            return Err(ServiceError::OneNameForMany { name, uses });
        }
        let lifetime = request.lifetime.unwrap_or(TokenRequest::LIFETIME);
        if lifetime > TokenRequest::MAX_LIFETIME {
            return Err(ServiceError::Lifetime { asked: lifetime, max: TokenRequest::MAX_LIFETIME });
        }
        let text = token::new_enroll_token(&self.0.ca_fingerprint)?;
        let expires_at = now().plus(lifetime);
        let record = EnrollTokenRecord {
            uses,
            approve: request.approve,
            created_by: by.to_owned(),
            name: request.name,
            labels: request.labels,
            replace: request.replace,
            ..EnrollTokenRecord::new(project.clone(), expires_at)
        };
        let hash = token::hash(&text);
        self.store().add_enroll_token(&hash, &record, now()).await?;
        Ok(TokenView { id: token_id(&hash).to_owned(), token: text, expires_at })
    }

    /// Enrols a device. A refusal uses nothing up and is logged.
    ///
    /// # Errors
    /// When the token is not good, the name taken or none, the request no certificate request, or the store fails.
    pub async fn enroll(&self, request: EnrollRequest, sign: &Sign) -> Result<EnrollResponse, ServiceError> {
        let hostname = request.facts.hostname.clone();
        let enrolled = self.try_enroll(request, sign).await;
        match &enrolled {
            Ok(done) => tracing::info!(device = %done.device, name = %done.name, "enrolled"),
            Err(error) => {
                tracing::warn!(hostname, error = error as &dyn std::error::Error, "enrolment refused");
            }
        }
        enrolled
    }

    async fn try_enroll(&self, request: EnrollRequest, sign: &Sign) -> Result<EnrollResponse, ServiceError> {
        let hash = match EnrollToken::read(&request.token, &self.0.ca_fingerprint) {
            EnrollToken::Ours { hash } => hash,
            EnrollToken::Foreign => return Err(ServiceError::TokenForeign),
            EnrollToken::Malformed => return Err(ServiceError::TokenUnknown),
        };
        let _enrolling = self.0.enrolling.lock().await;
        let token = self.good_token(&hash).await?;
        if let Some(again) = self.enroll_again(&hash, &request, sign).await? {
            return Ok(again);
        }
        if token.used >= token.uses {
            return Err(ServiceError::TokenUsed(token.used_by.filter(|_| token.uses == 1)));
        }
        let name = name_of(&token, &request)?;
        let holder = self.store().device_named(&token.project, &name).await?;
        let is_again = holder.is_some();
        let id = match holder {
            None => new_id()?,
            // Whoever made the token said whom it replaces.
            Some(device) if token.replace && token.name.is_some() => device.id,
            Some(_) => return Err(ServiceError::NameTaken(name)),
        };
        let signed = sign(&id, &request.certificate_request).map_err(ServiceError::CertificateRequest)?;
        let device = NewDevice {
            token: &hash,
            id: &id,
            name: &name,
            key_fingerprint: &signed.key_fingerprint,
            certificate_ends: Some(signed.ends_at),
            facts: &request.facts,
        };
        match self.store().enroll(&device, now()).await? {
            Enrolment::Done => {}
            Enrolment::TokenUsed => return Err(ServiceError::TokenUsed(None)),
            Enrolment::NameTaken => return Err(ServiceError::NameTaken(name)),
            Enrolment::Full { max } => return Err(ServiceError::ProjectFull { project: token.project, max }),
        }
        if is_again {
            self.bus().ring(Ring::Identity(id.clone()));
        }
        self.bus().ring(Ring::Devices(token.project.clone()));
        self.bus().ring(Ring::Events(token.project.clone()));
        Ok(EnrollResponse { device: id, name, project: token.project, certificate: signed.certificate_pem })
    }

    /// For a device whose first answer was lost on its way: whoever shows that it has the key that this very token
    /// enrolled gets its certificate once more. Nothing is stored.
    async fn enroll_again(
        &self,
        hash: &str,
        request: &EnrollRequest,
        sign: &Sign,
    ) -> Result<Option<EnrollResponse>, ServiceError> {
        // Only the key is looked at here; the certificate is for the device that has it.
        let asked = sign(&new_id()?, &request.certificate_request).map_err(ServiceError::CertificateRequest)?;
        let Some(device) = self.store().enrolled_with(hash, &asked.key_fingerprint).await? else { return Ok(None) };
        let signed = sign(&device.id, &request.certificate_request).map_err(ServiceError::CertificateRequest)?;
        Ok(Some(EnrollResponse {
            device: device.id,
            name: device.name,
            project: device.project,
            certificate: signed.certificate_pem,
        }))
    }

    pub(super) async fn good_token(&self, hash: &str) -> Result<EnrollTokenRecord, ServiceError> {
        let Some(token) = self.store().enroll_token(hash).await? else { return Err(ServiceError::TokenUnknown) };
        if token.expires_at <= now() {
            return Err(ServiceError::TokenExpired(token.expires_at));
        }
        Ok(token)
    }
}

/// The token's name goes first, then the agent's, then the host's.
fn name_of(token: &EnrollTokenRecord, request: &EnrollRequest) -> Result<DeviceName, ServiceError> {
    if let Some(name) = token.name.as_ref().or(request.name.as_ref()) {
        return Ok(name.clone());
    }
    let hostname = request.facts.hostname.trim();
    DeviceName::new(hostname).map_err(|_| ServiceError::NoName { hostname: hostname.to_owned() })
}

fn new_id() -> Result<DeviceId, ServiceError> {
    let text = format!("d-{}", random_hex(ID_BYTES)?);
    DeviceId::new(text).map_err(|error| ServiceError::Broken(error.to_string()))
}
