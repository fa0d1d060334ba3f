//! The manager's own certificate authority: made at first start, pinned by every client and agent.
//!
//! It signs two kinds of certificates and no other: one for this manager (server authentication, the fixed name
//! [`robo_wire::SERVER_NAME`]), made anew at each start and held in memory only, and one per device (client
//! authentication, the device's id as common name). A device's key never comes here, only its request.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use robo_model::name::DeviceId;
use robo_model::quantity::{Millis, UnixMillis};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::FromDer as _;

use crate::token::NoRandomness;

/// How long the authority itself is good for: changing it means to enrol every device again.
const CA_DAYS: i64 = 20 * 365;

/// How long this process's server certificate is good for; each start makes a new one.
const SERVER_DAYS: i64 = 2 * 365;

/// How long a device's certificate is good for where nobody says otherwise. Whether its key counts is looked up at each
/// use; this bounds how long one counts that was stolen from a store that is lost, too.
pub const DEVICE_LIFETIME: Millis = Millis::from_secs(30 * 24 * 3600);

/// Certificates begin to be good this long before now: devices without a clock battery boot in the past.
const CLOCK_SLACK: Duration = Duration::days(1);

/// Why the authority cannot be had, or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority cannot be read or written.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One of the two files is there and the other is not.
    #[error(
        "{missing} is missing beside {there}: bring it back from a backup, or remove both to make a new authority (every device must then be enrolled again)"
    )]
    Half {
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// The files are no certificate and key, or do not belong together.
    #[error("{path} is not a usable authority: {reason}")]
    Unusable {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate or key cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// An authority for SSH cannot be made, or cannot sign.
    #[error("cannot make a certificate for SSH")]
    Ssh(#[from] ssh_key::Error),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// A device's request is none.
    #[error("the certificate request cannot be read, or its signature is wrong")]
    Request(#[source] rcgen::Error),
}

/// The authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    fingerprint: String,
    device_lifetime: Millis,
}

/// A device's new certificate.
#[derive(Debug, Clone)]
pub struct Signed {
    /// In PEM.
    pub certificate_pem: String,
    /// SHA-256 of the device's public key (SubjectPublicKeyInfo, DER), in hexadecimal.
    pub key_fingerprint: String,
    /// When it ends.
    pub ends_at: UnixMillis,
}

impl Ca {
    /// Reads the authority in `folder`, or makes one there.
    ///
    /// # Errors
    /// When a file cannot be read or written, or only one of the two is there.
    pub fn load_or_create(folder: &Path) -> Result<Self, CaError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(&certificate, &key),
            (false, false) => Self::create(&certificate, &key),
            (true, false) => Err(CaError::Half { there: certificate, missing: key }),
            (false, true) => Err(CaError::Half { there: key, missing: certificate }),
        }
    }

    fn create(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let pair = KeyPair::generate()?;
        let mut params = valid_for(CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = common_name("robo manager CA");
        let signed = params.self_signed(&pair)?;
        // The key goes first: a key without certificate is told apart at the next start, and nothing trusts it yet.
        write_private(key, &pair.serialize_pem())?;
        write_private(certificate, &signed.pem())?;
        Self::load(certificate, key)
    }

    fn load(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CaError::File { what: "read", path: path.into(), source })
        };
        let unusable = |reason: &str| CaError::Unusable { path: certificate.into(), reason: reason.to_owned() };
        let pem = read(certificate)?;
        let pair = KeyPair::from_pem(&read(key)?).map_err(|e| unusable(&e.to_string()))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| unusable(&e.to_string()))?;
        let key_in_certificate = key_fingerprint_of(&der);
        if key_in_certificate != Some(hex::encode(Sha256::digest(pair.subject_public_key_info()))) {
            return Err(unusable("the key beside it is not its own"));
        }
        let fingerprint = hex::encode(Sha256::digest(&der));
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(|e| unusable(&e.to_string()))?;
        Ok(Self { issuer, certificate: der, pem, fingerprint, device_lifetime: DEVICE_LIFETIME })
    }

    /// The same authority, whose certificates for devices are good for so long.
    #[must_use]
    pub fn with_device_lifetime(self, device_lifetime: Millis) -> Self {
        Self { device_lifetime, ..self }
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the authority's certificate (DER), in hexadecimal: what enrolment tokens pin.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A new certificate and key for this manager, with the authority's certificate behind it: an agent that knows
    /// only the fingerprint finds the authority in the chain.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn server_certificate(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CaError> {
        let pair = KeyPair::generate()?;
        let mut params = valid_for(SERVER_DAYS)?;
        params.subject_alt_names = CertificateParams::new(vec![robo_wire::SERVER_NAME.to_owned()])?.subject_alt_names;
        params.distinguished_name = common_name(robo_wire::SERVER_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&pair, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        Ok((vec![certificate.der().clone(), self.certificate.clone()], key))
    }

    /// Signs a device's request. Only its public key is taken from it; all else is ours to say.
    ///
    /// # Errors
    /// When the request is none, or is not signed with its own key.
    pub fn sign_device(&self, id: &DeviceId, request_pem: &str) -> Result<Signed, CaError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(CaError::Request)?;
        let mut params = valid_for(SERVER_DAYS)?;
        params.not_after = OffsetDateTime::now_utc() + self.device_lifetime.duration();
        let ends_at = unix_millis(params.not_after);
        params.distinguished_name = common_name(id.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        let key_fingerprint = hex::encode(Sha256::digest(request.public_key.subject_public_key_info()));
        let certificate = request.signed_by(&self.issuer)?;
        Ok(Signed { certificate_pem: certificate.pem(), key_fingerprint, ends_at })
    }
}

/// Who a verified client certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The device.
    pub device: DeviceId,
    /// SHA-256 of its public key, in hexadecimal; to be compared with the store's.
    pub key_fingerprint: String,
    /// When the certificate ends. One that has ended is good for getting the next one, and nothing else.
    pub certificate_ends: UnixMillis,
}

/// Reads the device out of a certificate that TLS has verified. Nothing when it is not a device's.
#[must_use]
pub fn peer_of(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    let certificate_ends = unix_millis(parsed.validity().not_after.to_datetime());
    Some(Peer {
        device: DeviceId::new(name).ok()?,
        key_fingerprint: key_fingerprint_of(certificate)?,
        certificate_ends,
    })
}

/// In certificates times are whole seconds (RFC 5280, 4.1.2.5).
fn unix_millis(time: OffsetDateTime) -> UnixMillis {
    UnixMillis(u64::try_from(time.unix_timestamp()).unwrap_or_default().saturating_mul(1000))
}

fn key_fingerprint_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    Some(hex::encode(Sha256::digest(parsed.public_key().raw)))
}

fn valid_for(days: i64) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SLACK;
    params.not_after = now + Duration::days(days);
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    // A serial number is positive (RFC 5280, 4.1.2.2).
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CaError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| CaError::File { what: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pair: &KeyPair) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("somebody-else");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serialize_request(pair).unwrap().pem().unwrap()
    }

    #[test]
    fn the_authority_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = Ca::load_or_create(folder.path()).unwrap();
        let second = Ca::load_or_create(folder.path()).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        assert!(matches!(Ca::load_or_create(folder.path()), Err(CaError::Half { .. })));
    }

    #[test]
    fn a_request_gives_its_key_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(folder.path()).unwrap();
        let pair = KeyPair::generate().unwrap();
        let id = DeviceId::new("d-1").unwrap();
        let signed = ca.sign_device(&id, &request(&pair)).unwrap();
        let der = CertificateDer::from_pem_slice(signed.certificate_pem.as_bytes()).unwrap();
        let peer = peer_of(&der).unwrap();
        assert_eq!(
            peer,
            Peer { device: id, key_fingerprint: signed.key_fingerprint, certificate_ends: signed.ends_at }
        );
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
        assert!(!parsed.is_ca());
    }

    #[test]
    fn a_broken_request_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(folder.path()).unwrap();
        let good = request(&KeyPair::generate().unwrap());
        let id = DeviceId::new("d-1").unwrap();
        for bad in [
            "",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            good.get(..60).unwrap(),
        ] {
            assert!(matches!(ca.sign_device(&id, bad), Err(CaError::Request(_))), "{bad}");
        }
    }

    #[test]
    fn mixed_files_are_noticed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Ca::load_or_create(one.path()).unwrap();
        Ca::load_or_create(two.path()).unwrap();
        std::fs::copy(two.path().join("ca.key"), one.path().join("ca.key")).unwrap();
        assert!(matches!(Ca::load_or_create(one.path()), Err(CaError::Unusable { .. })));
    }
}
