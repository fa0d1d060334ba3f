//! Any bytes as what comes before anybody is known: the body of an enrolment, a request for a certificate, a token. A
//! certificate is for the device that the manager says, whatever its request asks for.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rcgen::KeyPair;
use robo_manager::ca::{Ca, peer_of};
use robo_manager::token::EnrollToken;
use robo_model::name::DeviceId;
use robo_wire::api::{EnrollRequest, MAX_ENROLL_BODY};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

static AUTHORITY: LazyLock<(Ca, tempfile::TempDir)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    (Ca::load_or_create(folder.path()).expect("an authority"), folder)
});

/// A good request, of which inputs that begin with its mark are changes.
static REQUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = KeyPair::generate().expect("a key");
    let request = rcgen::CertificateParams::default().serialize_request(&pair).expect("a request");
    request.der().to_vec()
});

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX_ENROLL_BODY {
        return;
    }
    if let Ok(request) = serde_json::from_slice::<EnrollRequest>(bytes) {
        let written = serde_json::to_vec(&request).expect("a body");
        let again: EnrollRequest = serde_json::from_slice(&written).expect("our own body");
        assert!(serde_json::to_vec(&again).expect("a body") == written);
        drop(EnrollToken::read(&request.token, AUTHORITY.0.fingerprint()));
        sign(&request.certificate_request);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(EnrollToken::read(text, AUTHORITY.0.fingerprint()));
        sign(text);
    }
    sign(&pem(bytes));
    // Pairs of place and byte are changes to a good request.
    let mut changed = REQUEST.clone();
    for change in bytes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len();
        changed[place] = change[2];
    }
    sign(&pem(&changed));
});

fn sign(request: &str) {
    let device: DeviceId = "d-1".parse().expect("a name");
    let Ok(signed) = AUTHORITY.0.sign_device(&device, request) else { return };
    let certificate = CertificateDer::from_pem_slice(signed.certificate_pem.as_bytes()).expect("a certificate");
    let peer = peer_of(&certificate).expect("a device's certificate");
    assert_eq!((&peer.device, &peer.key_fingerprint), (&device, &signed.key_fingerprint));
}

fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    for (number, three) in der.chunks(3).enumerate() {
        let bits = three.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit > three.len() { '=' } else { char::from(DIGITS[at as usize]) });
        }
        if number % 16 == 15 {
            text.push('\n');
        }
    }
    text.push_str("\n-----END CERTIFICATE REQUEST-----\n");
    text
}
