//! Who may connect: a device's standing, and its keys.
//!
//! A device has one key, and for a moment a second one: its next key is certified while the old one still counts, and
//! takes its place with its first use. So a device that loses the answer in between is never without a good key.

use robo_model::name::{DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::api::Standing;
use robo_wire::event::EventBody;

use super::devices::{DeviceRecord, locked, of_device};
use super::{Store, StoreError, Tx, at, big, commit, events};

/// How it stands in the database.
pub(super) const fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "pending",
        Standing::Accepted => "accepted",
        Standing::Revoked => "revoked",
    }
}

pub(super) fn standing(text: &str) -> Result<Standing, StoreError> {
    [Standing::Pending, Standing::Accepted, Standing::Revoked]
        .into_iter()
        .find(|standing| standing_name(*standing) == text)
        .ok_or_else(|| StoreError::Corrupt { what: "a device's standing", reason: format!("`{text}` is none") })
}

/// What came of a key that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promoted {
    /// It is the device's key now.
    Now,
    /// It was already.
    Before,
    /// It is none of the device's.
    Never,
}

impl Store {
    /// Lets a device in or shuts it out, with the event that tells. False when it stands so already.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn set_standing(
        &self,
        id: &DeviceId,
        standing: Standing,
        (by, reason): (&str, &str),
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        if device.standing == standing {
            return Ok(false);
        }
        let (by, why) = (by.to_owned(), reason.to_owned());
        let body = match standing {
            Standing::Accepted | Standing::Pending => EventBody::Admitted { by },
            Standing::Revoked if device.standing == Standing::Pending => EventBody::Rejected { by, reason: why },
            Standing::Revoked => EventBody::Revoked { by, reason: why },
        };
        let rejected = matches!(body, EventBody::Rejected { .. });
        sqlx::query("UPDATE devices SET standing = $2, reason = $3, rejected = $4, state_since = $5 WHERE id = $1")
            .bind(id.as_str())
            .bind(standing_name(standing))
            .bind(reason)
            .bind(i64::from(rejected))
            .bind(big(now.0))
            .execute(&mut *tx)
            .await
            .map_err(at("changing a device's standing"))?;
        tell(&mut tx, &device, body, now).await?;
        commit(tx).await?;
        Ok(true)
    }

    /// Notes that an operator wants the device to have a new key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_for_new_key(&self, id: &DeviceId) -> Result<(), StoreError> {
        sqlx::query("UPDATE devices SET rotate = 1 WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(at("asking for a new key"))?;
        Ok(())
    }

    /// Notes that this key was certified for the device. It counts from its first use on ([`Store::promote_key`]); one
    /// that was certified before and never used does not count any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn certified(&self, id: &DeviceId, key: &str, ends: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE devices SET certificate_ends = $3, \
             next_key = CASE WHEN key_fingerprint = $2 THEN next_key ELSE $2 END, \
             rotate = CASE WHEN key_fingerprint = $2 THEN rotate ELSE 0 END WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(key)
        .bind(big(ends.0))
        .execute(&self.writer)
        .await
        .map_err(at("noting a certified key"))?;
        Ok(())
    }

    /// The device uses this key: when it is its next one, it is its only one from here on.
    ///
    /// # Errors
    /// When the device does not exist, or the database fails.
    pub async fn promote_key(&self, id: &DeviceId, key: &str, now: UnixMillis) -> Result<Promoted, StoreError> {
        let mut tx = self.begin().await?;
        let device = locked(&mut tx, id).await?;
        if device.key_fingerprint == key {
            return Ok(Promoted::Before);
        }
        if device.next_key.as_deref() != Some(key) {
            return Ok(Promoted::Never);
        }
        sqlx::query("UPDATE devices SET key_fingerprint = $2, next_key = NULL WHERE id = $1")
            .bind(id.as_str())
            .bind(key)
            .execute(&mut *tx)
            .await
            .map_err(at("taking a device's next key"))?;
        tell(&mut tx, &device, EventBody::KeyRotated { fingerprint: key.to_owned() }, now).await?;
        commit(tx).await?;
        Ok(Promoted::Now)
    }
}

async fn tell(tx: &mut Tx, device: &DeviceRecord, body: EventBody, now: UnixMillis) -> Result<(), StoreError> {
    let project: &ProjectName = &device.project;
    events::append(tx, project, &[of_device(device, body, now)]).await.map(drop)
}
