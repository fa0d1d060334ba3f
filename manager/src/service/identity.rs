//! Who may connect: letting devices in and shutting them out, their keys, and the tokens they come with.

use robo_model::name::{DeviceName, ProjectName};
use robo_wire::api::{CertificateView, DeviceView, EnrollTokenView, KeyView, MAX_REASON, Standing, StandingRequest};

use super::error::ServiceError;
use super::{Service, Sign, now, to_the_end};
use crate::bus::Ring;
use crate::store::{DeviceRecord, EnrollTokenRecord, Promoted};

/// Characters of a token's hash that name it: no two of a project are ever the same.
const TOKEN_ID: usize = 12;

impl Service {
    /// Lets a device in, or shuts it out: then its link is cut at once, and its key is worth nothing. The same again
    /// changes nothing.
    ///
    /// # Errors
    /// When there is no such device, nothing can be made of the request, or the store fails.
    pub async fn set_standing(
        &self,
        project: &ProjectName,
        name: &DeviceName,
        request: StandingRequest,
        by: &str,
    ) -> Result<DeviceView, ServiceError> {
        let StandingRequest { standing, reason } = request;
        let length = reason.chars().count();
        if length > MAX_REASON {
            return Err(ServiceError::ReasonTooLong { length, max: MAX_REASON });
        }
        if standing == Standing::Pending {
            return Err(ServiceError::BackToPending);
        }
        let (service, project, name, by) = (self.clone(), project.clone(), name.clone(), by.to_owned());
        to_the_end(async move {
            let _enrolling = service.0.enrolling.lock().await;
            let device = service.record_of(&project, &name).await?;
            if service.store().set_standing(&device.id, standing, (&by, reason.trim()), now()).await? {
                tracing::info!(device = %device.id, %name, ?standing, by, "standing changed");
                service.bus().ring(Ring::Identity(device.id));
                service.bus().ring(Ring::Devices(project.clone()));
                service.bus().ring(Ring::Events(project.clone()));
            }
            service.device(&project, &name).await
        })
        .await
    }

    /// Has a device make itself a new key: at once, or when it comes next.
    ///
    /// # Errors
    /// When there is no such device, it is not one that may connect, or the store fails.
    pub async fn rotate_key(&self, project: &ProjectName, name: &DeviceName) -> Result<DeviceView, ServiceError> {
        let device = self.record_of(project, name).await?;
        if device.standing != Standing::Accepted {
            return Err(ServiceError::NotLetIn { name: name.clone(), standing: device.standing });
        }
        self.store().ask_for_new_key(&device.id).await?;
        self.bus().ring(Ring::Rotate(device.id));
        self.device(project, name).await
    }

    /// Certifies a device's next key, which takes the place of the one it has with its first use.
    ///
    /// # Errors
    /// When the request is no certificate request, or the store fails.
    pub async fn certify(
        &self,
        device: &DeviceRecord,
        request: &str,
        sign: &Sign,
    ) -> Result<CertificateView, ServiceError> {
        let signed = sign(&device.id, request).map_err(ServiceError::CertificateRequest)?;
        self.store().certified(&device.id, &signed.key_fingerprint, signed.ends_at).await?;
        tracing::info!(device = %device.id, name = %device.name, "certificate renewed");
        Ok(CertificateView { certificate: signed.certificate_pem, ends_at: signed.ends_at })
    }

    /// The device has this key; a next one becomes its only one with this.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn use_key(&self, device: &DeviceRecord, key: &str) -> Result<KeyView, ServiceError> {
        if self.store().promote_key(&device.id, key, now()).await? == Promoted::Now {
            self.bus().ring(Ring::Devices(device.project.clone()));
            self.bus().ring(Ring::Events(device.project.clone()));
        }
        Ok(KeyView { key_fingerprint: key.to_owned() })
    }

    /// The project's enrolment tokens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn enroll_tokens(&self, project: &ProjectName) -> Result<Vec<EnrollTokenView>, ServiceError> {
        let tokens = self.store().enroll_tokens(project).await?;
        Ok(tokens.into_iter().map(|(hash, token)| view(&hash, token)).collect())
    }

    /// Forgets an enrolment token: it lets nobody in any more. Whoever came with it stays.
    ///
    /// # Errors
    /// When there is none that is called so, or the store fails.
    pub async fn revoke_token(&self, project: &ProjectName, id: &str) -> Result<EnrollTokenView, ServiceError> {
        let tokens = self.store().enroll_tokens(project).await?;
        let found = tokens.into_iter().find(|(hash, _)| token_id(hash) == id);
        let (hash, token) = found.ok_or_else(|| ServiceError::NoToken { id: id.to_owned() })?;
        if !self.store().forget_enroll_token(project, &hash).await? {
            return Err(ServiceError::NoToken { id: id.to_owned() });
        }
        Ok(view(&hash, token))
    }
}

/// What people call a token.
pub(super) fn token_id(hash: &str) -> &str {
    hash.get(..TOKEN_ID).unwrap_or(hash)
}

fn view(hash: &str, token: EnrollTokenRecord) -> EnrollTokenView {
    EnrollTokenView {
        id: token_id(hash).to_owned(),
        name: token.name,
        labels: token.labels,
        replace: token.replace,
        approve: token.approve,
        uses: token.uses,
        used: token.used,
        last_used_by: token.used_by,
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
    }
}
