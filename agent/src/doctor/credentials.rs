//! The device's identity: is it there, do its parts belong together, and does the clock agree with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::Finding;
use crate::code::Code;
use crate::identity::{Identity, IdentityError};
use crate::tls;

/// Before this no agent was built: 2026-01-01, in seconds since 1970. A device without a battery begins at 1970.
const BEFORE_ROBO: u64 = 1_767_225_600;

/// A moment behind the end of every certificate: the year 2500.
const FAR_OFF: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(16_725_225_600));

/// A moment before the beginning of every certificate: 1970.
const LONG_AGO: UnixTime = UnixTime::since_unix_epoch(Duration::ZERO);

pub(super) fn examine(folder: &Path) -> (Vec<Finding>, Option<Identity>) {
    let now = crate::now().0 / 1_000;
    let mut findings = Vec::new();
    if now < BEFORE_ROBO {
        findings.push(Finding::failed("clock", Code::Clock, format!("it says {now} s since 1970, which is long ago")));
    }
    let identity = match Identity::load(folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            let found = format!("there is no identity in {}", folder.display());
            findings.push(Finding::failed("identity", Code::NotEnrolled, found));
            findings.push(Finding::skipped("key", "there is no identity"));
            findings.push(Finding::skipped("certificate", "there is no identity"));
            return (findings, None);
        }
        Err(error) => {
            let cause = match &error {
                IdentityError::Key(cause) => format!(": {cause}"),
                IdentityError::File { .. } | IdentityError::Damaged { .. } => String::new(),
            };
            findings.push(Finding::failed("identity", Code::Identity, format!("{error}{cause}")));
            findings.push(Finding::skipped("key", "the identity cannot be read"));
            findings.push(Finding::skipped("certificate", "the identity cannot be read"));
            return (findings, None);
        }
    };
    let enrolled = &identity.enrolled;
    let who = format!("{} ({}) of the project {}", enrolled.name, enrolled.device, enrolled.project);
    findings.push(Finding::ok("identity", who));
    let usable = tls::enrolled(&identity, robo_wire::ALPN_LINK);
    match usable {
        Ok(_) => findings.push(Finding::ok("key", "it fits the certificate")),
        Err(error) => findings.push(Finding::failed("key", Code::Key, with_cause(&error))),
    }
    findings.push(certificate(&identity, UnixTime::since_unix_epoch(Duration::from_secs(now))));
    (findings, Some(identity))
}

/// The certificate against the manager's authority and the clock. Its dates are had by asking about moments outside.
fn certificate(identity: &Identity, now: UnixTime) -> Finding {
    let verify = |at| verified(identity, at);
    let ends = match verify(FAR_OFF) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => not_after.as_secs(),
        _ => u64::MAX,
    };
    let begins = match verify(LONG_AGO) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => not_before.as_secs(),
        _ => 0,
    };
    let day = 24 * 60 * 60;
    match verify(now) {
        Ok(()) => {
            let days = ends.saturating_sub(now.as_secs()) / day;
            Finding::ok("certificate", format!("by the manager's CA, good for {days} more days"))
        }
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. } | CertificateError::Expired)) => {
            let days = now.as_secs().saturating_sub(ends) / day;
            Finding::failed("certificate", Code::CertificateDates, format!("by this clock it ended {days} days ago"))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet)) => {
            let days = begins.saturating_sub(now.as_secs()) / day;
            Finding::failed("certificate", Code::CertificateDates, format!("by this clock it begins in {days} days"))
        }
        Err(error) => Finding::failed("certificate", Code::Key, format!("the CA did not sign it: {error}")),
    }
}

fn verified(identity: &Identity, at: UnixTime) -> Result<(), Error> {
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| Error::General(e.to_string()));
    let mut roots = RootCertStore::empty();
    roots.add(read(&identity.ca_pem)?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
    verifier.verify_client_cert(&read(&identity.certificate_pem)?, &[], at).map(drop)
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
