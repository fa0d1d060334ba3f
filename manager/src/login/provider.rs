//! Asks the provider. It is believed about who somebody is, and about nothing else: its answers are bounded in time and
//! size, it is followed nowhere, and what it says for people is looked at before they see it.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode, Url};
use robo_wire::api::{LoginCode, LoginProof, MAX_LOGIN_SECRET};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore};

use super::config::{ConfigFault, LoginConfig, is_this_machine};
use super::keys::{Found, Keys};
use super::verify::{Claims, Expected, TokenFault, signed, verify};
use crate::service::now;

/// Largest answer of a provider that is read, in bytes: a hundred keys fit, and a token with hundreds of groups.
const MAX_ANSWER: usize = 256 * 1024;

/// Questions to the provider at a time: who logs in waits, and the provider is not flooded.
const MAX_ASKED: usize = 16;

/// How long what the provider says of itself is believed.
const KEPT: Duration = Duration::from_secs(600);

/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Largest file with a secret or a CA that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Longest code that a person types in, and longest address that they open, in characters.
const MAX_TYPED: usize = 64;
const MAX_ADDRESS: usize = 2048;

/// Seconds that a code is good for, at most, and between two questions where nothing is said (RFC 8628, 3.2).
const MAX_EXPIRES: u64 = 1800;
const INTERVAL: u64 = 5;
const MAX_INTERVAL: u64 = 60;

/// How a device code is named (RFC 8628, 3.4).
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Why the provider does not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It does not answer, or not as it should.
    #[error("the OpenID provider does not answer as it should: {what}: {reason}")]
    Answer {
        /// What it was asked for.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It knows no such code or token, or somebody said no.
    #[error("the OpenID provider says no: {0}")]
    Denied(String),
    /// What it says cannot be believed.
    #[error(transparent)]
    Token(#[from] TokenFault),
}

/// What came of a proof.
#[derive(Debug)]
pub enum Granted {
    /// Nobody has confirmed it yet.
    Pending,
    /// The same, and it is asked too often.
    SlowDown,
    /// It is this one, so it says, and that can be believed.
    Identity {
        /// What is known of somebody.
        claims: Claims,
        /// For the next time.
        refresh_token: Option<String>,
    },
}

/// What a provider says of itself.
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault {
    error: String,
    error_description: String,
}

type Kept = Option<(Instant, Arc<Metadata>)>;

/// A provider.
#[derive(Debug)]
pub struct Provider {
    config: LoginConfig,
    issuer: Url,
    secret: Option<String>,
    http: reqwest::Client,
    metadata: Mutex<Kept>,
    keys: Mutex<Keys>,
    asked: Semaphore,
}

impl Provider {
    /// One that is asked as `config` says; nothing is dialled yet.
    ///
    /// # Errors
    /// When the configuration is none, or a file that it names cannot be used.
    pub fn new(config: LoginConfig) -> Result<Self, ConfigFault> {
        let issuer = config.check()?;
        let secret = config.client_secret_file.as_deref().map(read_secret).transpose()?;
        let http = client(config.ca_file.as_deref())?;
        let (metadata, keys) = (Mutex::default(), Mutex::new(Keys::new()));
        Ok(Self { config, issuer, secret, http, metadata, keys, asked: Semaphore::new(MAX_ASKED) })
    }

    /// Whom it lets in, and what for.
    #[must_use]
    pub const fn config(&self) -> &LoginConfig {
        &self.config
    }

    /// Asks for a code that a person confirms. `challenge` binds it to whoever knows what it was made of.
    ///
    /// # Errors
    /// When the provider does not answer as it should.
    pub async fn begin(&self, challenge: &str) -> Result<LoginCode, ProviderError> {
        const WHAT: &str = "a code to confirm";
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.device_authorization_endpoint else {
            let reason = "it has no `device_authorization_endpoint`: the device flow is not turned on".to_owned();
            return Err(ProviderError::Answer { what: WHAT, reason });
        };
        let scope = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let mut form = vec![("scope", scope.as_str())];
        if metadata.has_pkce() {
            form.extend([("code_challenge", challenge), ("code_challenge_method", "S256")]);
        }
        let answer = self.post(WHAT, endpoint, &metadata, form).await?;
        code(json(WHAT, &accepted(WHAT, answer)?)?).map_err(|reason| ProviderError::Answer { what: WHAT, reason })
    }

    /// Asks who somebody is who shows this.
    ///
    /// # Errors
    /// When the provider does not know, does not answer as it should, or cannot be believed.
    pub async fn prove(&self, proof: &LoginProof) -> Result<Granted, ProviderError> {
        const WHAT: &str = "who that is";
        let metadata = self.metadata().await?;
        let form = match proof {
            LoginProof::Code { device_code, code_verifier } => {
                let mut form = vec![("grant_type", DEVICE_GRANT), ("device_code", device_code.as_str())];
                form.extend(metadata.has_pkce().then_some(("code_verifier", code_verifier.as_str())));
                form
            }
            LoginProof::Refresh { refresh_token } => {
                vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())]
            }
        };
        let (status, body) = self.post(WHAT, &metadata.token_endpoint, &metadata, form).await?;
        if !status.is_success() {
            return fault(WHAT, status, &body);
        }
        let TokenAnswer { id_token, refresh_token } = json(WHAT, &body)?;
        let Some(id_token) = id_token else {
            let reason = "it sends no ID token; let it do so, also when a login goes on".to_owned();
            return Err(ProviderError::Answer { what: WHAT, reason });
        };
        let claims = self.believe(&id_token, &metadata).await?;
        Ok(Granted::Identity { claims, refresh_token: refresh_token.filter(|text| text.len() <= MAX_LOGIN_SECRET) })
    }

    /// Has the provider take a refresh token back, where it can.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub async fn take_back(&self, refresh_token: &str) -> Result<(), ProviderError> {
        const WHAT: &str = "to take a token back";
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(()) };
        let form = vec![("token", refresh_token), ("token_type_hint", "refresh_token")];
        accepted(WHAT, self.post(WHAT, endpoint, &metadata, form).await?).map(drop)
    }

    /// What an ID token says, when it is good.
    async fn believe(&self, token: &str, metadata: &Metadata) -> Result<Claims, ProviderError> {
        let signed = signed(token)?;
        let key = {
            // Held while it asks: those who wait would ask for the same.
            let mut keys = self.keys.lock().await;
            match keys.find(&signed, Instant::now())? {
                Found::Key(key) => *key,
                Found::Ask => {
                    const WHAT: &str = "its keys";
                    let answer = self.ask(WHAT, self.http.get(self.endpoint(WHAT, &metadata.jwks_uri)?)).await?;
                    let put = keys.put(&accepted(WHAT, answer)?, Instant::now());
                    put.map_err(|reason| ProviderError::Answer { what: WHAT, reason })?;
                    keys.asked(&signed)?
                }
            }
        };
        let client = self.config.client_id.as_str();
        let audience = self.config.audience.as_deref().unwrap_or(client);
        let expected = Expected { issuer: &self.config.issuer, audience, client, now: now().0 / 1000 };
        Ok(verify(token, &signed, &key, &expected)?)
    }

    /// What the provider says of itself (OpenID Connect Discovery 1.0).
    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        const WHAT: &str = "what it says of itself";
        let mut kept = self.metadata.lock().await;
        if let Some((since, metadata)) = &*kept
            && since.elapsed() < KEPT
        {
            return Ok(Arc::clone(metadata));
        }
        let url = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let answer = self.ask(WHAT, self.http.get(url)).await?;
        let metadata: Metadata = json(WHAT, &accepted(WHAT, answer)?)?;
        if metadata.issuer != self.config.issuer {
            let reason = format!("it calls itself `{}`, and not `{}`", shown(&metadata.issuer), self.config.issuer);
            return Err(ProviderError::Answer { what: WHAT, reason });
        }
        let metadata = Arc::new(metadata);
        *kept = Some((Instant::now(), Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// An address that the provider names: as safe as its own.
    fn endpoint(&self, what: &'static str, text: &str) -> Result<Url, ProviderError> {
        let wrong = |reason: &str| ProviderError::Answer { what, reason: format!("`{}` {reason}", shown(text)) };
        let url = Url::parse(text).map_err(|_| wrong("is no address"))?;
        let is_safe = url.scheme() == "https"
            || url.scheme() == "http" && self.issuer.scheme() == "http" && is_this_machine(&url);
        if is_safe { Ok(url) } else { Err(wrong("is not https")) }
    }

    async fn post(
        &self,
        what: &'static str,
        endpoint: &str,
        metadata: &Metadata,
        mut form: Vec<(&str, &str)>,
    ) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let mut request = self.http.post(self.endpoint(what, endpoint)?);
        let id = self.config.client_id.as_str();
        match &self.secret {
            Some(secret) if metadata.wants_basic() => request = request.basic_auth(encoded(id), Some(encoded(secret))),
            Some(secret) => form.extend([("client_id", id), ("client_secret", secret.as_str())]),
            None => form.push(("client_id", id)),
        }
        self.ask(what, request.form(&form)).await
    }

    async fn ask(&self, what: &'static str, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ProviderError> {
        let failed = |reason: String| ProviderError::Answer { what, reason };
        let broken = |error: reqwest::Error| failed(innermost(&error.without_url()));
        let _turn = self.asked.acquire().await.map_err(|error| failed(error.to_string()))?;
        let mut response = request
            .header(reqwest::header::ACCEPT, "application/json")
            .timeout(self.config.timeout.duration())
            .send()
            .await
            .map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(failed("it sends us elsewhere, where nobody vouches for it".to_owned()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(failed(format!("it sends more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

impl Metadata {
    fn has_pkce(&self) -> bool {
        self.code_challenge_methods_supported.iter().any(|method| method == "S256")
    }

    /// Where nothing is said, that is what it takes (OpenID Connect Discovery 1.0, 3).
    fn wants_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// A code for people, when it is one: it is shown in terminals, and opened in browsers.
fn code(answer: DeviceAnswer) -> Result<LoginCode, String> {
    let is_plain = |text: &str, max: usize| !text.is_empty() && text.len() <= max && text.chars().all(is_printable);
    if !is_plain(&answer.user_code, MAX_TYPED) {
        return Err("the code for people is none".to_owned());
    }
    if answer.device_code.is_empty() || answer.device_code.len() > MAX_LOGIN_SECRET {
        return Err("the code for the client is none".to_owned());
    }
    let is_page = |text: &str| is_plain(text, MAX_ADDRESS) && Url::parse(text).is_ok_and(|url| is_web(&url));
    if !is_page(&answer.verification_uri) {
        return Err("the address for people is none".to_owned());
    }
    Ok(LoginCode {
        device_code: answer.device_code,
        user_code: answer.user_code,
        verification_uri: answer.verification_uri,
        verification_uri_complete: answer.verification_uri_complete.filter(|text| is_page(text)),
        expires_in: answer.expires_in.clamp(1, MAX_EXPIRES),
        interval: answer.interval.unwrap_or(INTERVAL).clamp(1, MAX_INTERVAL),
    })
}

const fn is_printable(c: char) -> bool {
    c.is_ascii_graphic() || c == ' '
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

/// What it means that a token was not given (RFC 8628, 3.5).
fn fault(what: &'static str, status: StatusCode, body: &[u8]) -> Result<Granted, ProviderError> {
    let fault: Fault = serde_json::from_slice(body).unwrap_or_default();
    match fault.error.as_str() {
        "authorization_pending" => Ok(Granted::Pending),
        "slow_down" => Ok(Granted::SlowDown),
        "access_denied" => Err(ProviderError::Denied("the login was refused".to_owned())),
        "expired_token" => Err(ProviderError::Denied("the code's time is over".to_owned())),
        "invalid_grant" => Err(ProviderError::Denied("it knows no such login, or no longer".to_owned())),
        "" => Err(ProviderError::Answer { what, reason: format!("status {status}") }),
        error => {
            let reason = format!("{} {}", shown(error), shown(&fault.error_description));
            Err(ProviderError::Answer { what, reason: reason.trim_end().to_owned() })
        }
    }
}

fn accepted(what: &'static str, (status, body): (StatusCode, Vec<u8>)) -> Result<Vec<u8>, ProviderError> {
    if status.is_success() {
        return Ok(body);
    }
    fault(what, status, &body)?;
    Err(ProviderError::Answer { what, reason: format!("status {status}") })
}

fn json<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|error| ProviderError::Answer { what, reason: error.to_string() })
}

/// Text of a stranger's for people: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// As RFC 6749, 2.3.1 wants it: a secret may have any character.
fn encoded(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
    let piece = |byte: u8| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(piece).collect()
}

/// The layers above it only repeat that a request failed.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn read_secret(path: &Path) -> Result<String, ConfigFault> {
    let text = read(path)?;
    let secret = text.trim();
    if secret.is_empty() || secret.contains(char::is_whitespace) {
        return Err(ConfigFault::File { path: path.to_owned(), reason: "it does not hold one secret".to_owned() });
    }
    Ok(secret.to_owned())
}

fn read(path: &Path) -> Result<String, ConfigFault> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| ConfigFault::File { path: path.to_owned(), reason: error.to_string() };
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn client(ca: Option<&Path>) -> Result<reqwest::Client, ConfigFault> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = ca {
        let failed = |reason: String| ConfigFault::File { path: path.to_owned(), reason };
        for certificate in CertificateDer::pem_slice_iter(read(path)?.as_bytes()) {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("it holds no certificate in PEM".to_owned()));
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
            return Err(ConfigFault::NoRoots(reason));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigFault::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("robo/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ConfigFault::Client(innermost(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(user_code: &str, uri: &str) -> DeviceAnswer {
        DeviceAnswer {
            device_code: "d".to_owned(),
            user_code: user_code.to_owned(),
            verification_uri: uri.to_owned(),
            verification_uri_complete: Some("javascript:alert(1)".to_owned()),
            expires_in: 1_000_000,
            interval: Some(0),
        }
    }

    #[test]
    fn what_people_see_is_looked_at() {
        let good = code(answer("AB-12", "https://id.example.org/device")).unwrap();
        assert_eq!((good.expires_in, good.interval, good.verification_uri_complete), (MAX_EXPIRES, 1, None));
        for (user_code, uri) in [
            ("", "https://x"),
            ("A\x1b[31m", "https://x"),
            (&"A".repeat(MAX_TYPED + 1), "https://x"),
            ("A", "file:///etc/passwd"),
            ("A", "https://x\ny"),
            ("A", ""),
            ("A", "-x"),
        ] {
            assert!(code(answer(user_code, uri)).is_err(), "{user_code} {uri}");
        }
    }

    #[test]
    fn a_provider_that_waits_is_told_from_one_that_refuses() {
        let ask = |error: &str| fault("x", StatusCode::BAD_REQUEST, format!(r#"{{"error":"{error}"}}"#).as_bytes());
        assert!(matches!(ask("authorization_pending"), Ok(Granted::Pending)));
        assert!(matches!(ask("slow_down"), Ok(Granted::SlowDown)));
        for denied in ["access_denied", "expired_token", "invalid_grant"] {
            assert!(matches!(ask(denied), Err(ProviderError::Denied(_))), "{denied}");
        }
        assert!(matches!(ask("invalid_client"), Err(ProviderError::Answer { .. })));
        assert!(matches!(fault("x", StatusCode::BAD_GATEWAY, b"<html>"), Err(ProviderError::Answer { .. })));
    }

    #[test]
    fn a_secret_may_have_any_character() {
        assert_eq!(encoded("a:b c/ü-_.*"), "a%3Ab%20c%2F%C3%BC-_.*");
    }
}
