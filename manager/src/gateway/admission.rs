//! Who is served, and when a certificate is renewed.
//!
//! TLS has verified that a peer has a key that our authority certified once. Whether that key still counts is in the
//! store and nowhere else: so a revocation needs no list, and works at once.

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::Standing;
use robo_wire::link::Goodbye;

use super::core::{LinkEnd, RenewalDue};
use super::desk::Desk;
use crate::bus::Ring;
use crate::ca::Peer;
use crate::store::{DeviceRecord, Promoted, StoreError};

/// What is said to a peer.
pub(super) enum Admission {
    /// It is this device.
    Served(Box<DeviceRecord>),
    /// It is not served, and why.
    Refused(Goodbye),
}

/// How long certificates are good for, and so when they are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// How long a new one is good for.
    pub lifetime: Millis,
}

impl Renewal {
    /// When a device with this certificate is told to renew it: at half its life, or at once when an operator asked, or
    /// when it is one of another time and longer than any that we sign now.
    pub(super) fn due(self, is_asked: bool, ends: UnixMillis, now: UnixMillis) -> RenewalDue {
        let (left, half) = (ends.since(now), Millis(self.lifetime.0 / 2));
        let first = if is_asked || left > self.lifetime { Millis(0) } else { Millis(left.0.saturating_sub(half.0)) };
        RenewalDue { first, again: half }
    }
}

/// True when what began as one device may go on as the other: it is the same enrolment, and still let in. Its key may
/// be another one by now, which the one before certified.
pub(super) fn is_same(before: &DeviceRecord, now: &DeviceRecord) -> bool {
    before.enrolment == now.enrolment && now.standing == Standing::Accepted
}

/// Judges a peer; its next key becomes its only one with this.
pub(super) async fn admit(desk: &Desk, peer: &Peer, now: UnixMillis) -> Result<Admission, StoreError> {
    let refused =
        |reason: &str, final_| Ok(Admission::Refused(Goodbye { reason: reason.to_owned(), final_, renew: false }));
    let Some(device) = desk.store.device(&peer.device).await? else {
        return refused(&LinkEnd::Removed.to_string(), true);
    };
    if !device.has_key(&peer.key_fingerprint) {
        return refused(
            "the device was enrolled again with another key; enrol this machine anew to bring it back",
            true,
        );
    }
    match device.standing {
        Standing::Pending => {
            let name = &device.name;
            return refused(&format!("it waits for an operator: `robo device accept {name}`"), false);
        }
        Standing::Revoked => {
            let why = if device.reason.is_empty() { String::new() } else { format!(" ({})", device.reason) };
            return refused(&format!("the device's key was revoked{why}; enrol it again to bring it back"), true);
        }
        Standing::Accepted => {}
    }
    if peer.certificate_ends <= now {
        let reason = "its certificate has ended".to_owned();
        return Ok(Admission::Refused(Goodbye { reason, final_: false, renew: true }));
    }
    if desk.store.promote_key(&device.id, &peer.key_fingerprint, now).await? == Promoted::Now {
        desk.bus.ring(Ring::Devices(device.project.clone()));
        desk.bus.ring(Ring::Events(device.project.clone()));
    }
    Ok(Admission::Served(Box::new(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_half_its_life() {
        let renewal = Renewal { lifetime: Millis(1_000) };
        let first = |is_asked, ends| renewal.due(is_asked, UnixMillis(ends), UnixMillis(5_000)).first;
        assert_eq!(first(false, 6_000), Millis(500), "fresh");
        assert_eq!(first(false, 5_600), Millis(100));
        assert_eq!(first(false, 5_400), Millis(0), "past its half");
        assert_eq!(first(false, 4_000), Millis(0), "over");
        assert_eq!(first(false, 9_000), Millis(0), "of another time");
        assert_eq!(first(true, 6_000), Millis(0), "an operator asked");
    }
}
