//! OpenID providers that are not what they should be: each is believed in nothing, and soon.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, and that is what it is for"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::PublicKeyData as _;
use robo_manager::bus::Bus;
use robo_manager::login::{Claims, Granted, LoginConfig, Provider, ProviderError, TokenFault};
use robo_manager::plan::PortRanges;
use robo_manager::service::{LoginError, Service, Shown};
use robo_manager::store::Store;
use robo_wire::api::LoginProof;
use serde_json::{Value, json};

/// A key of the provider's.
struct Key {
    id: &'static str,
    pair: rcgen::KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The point of the curve, without its first byte.
    fn point(&self) -> &[u8] {
        &self.pair.public_key_raw()[1..]
    }

    fn public(&self) -> Value {
        let (x, y) = self.point().split_at(32);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": url64(x), "y": url64(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

/// What the provider says: tests change it.
struct Script {
    metadata: Value,
    keys: String,
    token: (StatusCode, String),
    /// How long it thinks before it gives a token.
    pause: Duration,
    /// How often it was asked for its keys.
    asked_for_keys: usize,
}

#[derive(Clone)]
struct Fake {
    issuer: String,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "device_authorization_endpoint": format!("{issuer}/device"),
            "code_challenge_methods_supported": ["S256"],
        });
        let (token, pause) = ((StatusCode::OK, String::new()), Duration::ZERO);
        let script = Script { metadata, keys: String::new(), token, pause, asked_for_keys: 0 };
        let fake = Self { issuer, script: Arc::new(Mutex::new(script)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata_of))
            .route("/keys", get(keys_of))
            .route("/token", post(token_of))
            .with_state(fake.clone());
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        fake
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn has_keys(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.change(|script| script.keys = json!({"keys": keys}).to_string());
    }

    fn gives(&self, token: &str) {
        let body = json!({"id_token": token, "access_token": "x", "token_type": "Bearer"}).to_string();
        self.change(|script| script.token = (StatusCode::OK, body));
    }

    fn provider(&self) -> Provider {
        Provider::new(self.config(json!({}))).unwrap()
    }

    fn config(&self, change: Value) -> LoginConfig {
        let mut config = json!({
            "issuer": self.issuer, "client_id": "robo", "timeout": "2s", "user_claim": "name",
            "rules": [{"claim": "groups", "is": "robots", "role": "operator", "project": "default"}],
        });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    /// What a good token says, but for this change.
    fn claims(&self, change: Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer, "aud": "robo", "sub": "7", "iat": now, "exp": now + 300, "name": "ann",
            "groups": ["robots"],
        });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }
}

async fn metadata_of(State(fake): State<Fake>) -> Response {
    let metadata = fake.script.lock().unwrap().metadata.clone();
    match metadata.as_str() {
        Some(elsewhere) => (StatusCode::FOUND, [(header::LOCATION, elsewhere.to_owned())]).into_response(),
        None => metadata.to_string().into_response(),
    }
}

async fn keys_of(State(fake): State<Fake>) -> Response {
    let mut script = fake.script.lock().unwrap();
    script.asked_for_keys += 1;
    script.keys.clone().into_response()
}

async fn token_of(State(fake): State<Fake>) -> Response {
    let (pause, token) = {
        let script = fake.script.lock().unwrap();
        (script.pause, script.token.clone())
    };
    tokio::time::sleep(pause).await;
    token.into_response()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Base64 for URLs, without padding.
fn url64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| (0..6).fold(0, |sum, at| sum << 1 | usize::from(bits.get(at).copied().unwrap_or(0)));
    bits.chunks(6).map(|bits| char::from(DIGITS[digit(bits)])).collect()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", url64(header.to_string().as_bytes()), url64(claims.to_string().as_bytes()))
}

async fn ask(provider: &Provider) -> Result<Claims, ProviderError> {
    let proof = LoginProof::Refresh { refresh_token: "x".to_owned() };
    match provider.prove(&proof).await? {
        Granted::Identity { claims, .. } => Ok(claims),
        Granted::Pending | Granted::SlowDown => panic!("it is no code that somebody confirms"),
    }
}

/// Why it is not believed.
async fn fault(provider: &Provider) -> String {
    ask(provider).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_good_token_is_believed() {
    let (fake, key) = (Fake::start().await, Key::new("a"));
    fake.has_keys(&[&key]);
    let provider = fake.provider();
    for change in [json!({}), json!({"aud": ["robo"]}), json!({"aud": ["robo", "x"], "azp": "robo"})] {
        fake.gives(&key.sign(&fake.claims(change)));
        assert_eq!(ask(&provider).await.unwrap()["sub"], "7");
    }
    // Clocks are never quite the same.
    fake.gives(&key.sign(&fake.claims(json!({"iat": now() + 20, "nbf": now() + 20}))));
    assert!(ask(&provider).await.is_ok());
}

#[tokio::test]
async fn a_token_for_others_or_another_time_is_not() {
    let (fake, key) = (Fake::start().await, Key::new("a"));
    fake.has_keys(&[&key]);
    let provider = fake.provider();
    for (change, why) in [
        (json!({"iss": "http://127.0.0.1:1"}), "Issuer"),
        (json!({"iss": format!("{}/", fake.issuer)}), "Issuer"),
        (json!({"iss": null}), ""),
        (json!({"aud": "other"}), "Audience"),
        (json!({"aud": []}), "Audience"),
        (json!({"aud": null}), ""),
        (json!({"aud": ["robo", "other"]}), "another client"),
        (json!({"azp": "other"}), "another client"),
        (json!({"exp": now() - 120}), "Expired"),
        (json!({"exp": null}), ""),
        (json!({"exp": "tomorrow"}), ""),
        (json!({"nbf": now() + 3600}), "Immature"),
        (json!({"iat": now() + 3600}), "future"),
        (json!({"iat": null}), "when it was made"),
        (json!({"sub": ""}), "about whom"),
        (json!({"sub": null}), ""),
    ] {
        fake.gives(&key.sign(&fake.claims(change.clone())));
        let told = fault(&provider).await;
        assert!(told.contains(why), "{change}: {told}");
    }
}

#[tokio::test]
async fn a_token_that_the_provider_did_not_sign_is_not() {
    let (fake, key, other) = (Fake::start().await, Key::new("a"), Key::new("a"));
    fake.has_keys(&[&key]);
    let provider = fake.provider();
    let claims = fake.claims(json!({}));
    let check = async |token: &str, why: &str| {
        fake.gives(token);
        let told = fault(&provider).await;
        assert!(told.contains(why), "{why}: {told}");
    };
    check(&unsigned(&json!({"alg": "none"}), &claims), "cannot be read").await;
    check(&unsigned(&json!({"alg": "None", "kid": "a"}), &claims), "cannot be read").await;
    check(&unsigned(&json!({"alg": "ES256", "kid": "a"}), &claims), "not good").await;
    // Whoever takes the public key for a shared secret lets everybody sign.
    let mut point = vec![4];
    point.extend_from_slice(key.point());
    for secret in [key.pair.public_key_pem().into_bytes(), key.pair.subject_public_key_info(), point] {
        let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
        check(&encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap(), "public key").await;
    }
    check(&other.sign(&claims), "not good").await;
    // Its signature, and other words.
    let signed = key.sign(&claims);
    let signature = signed.rsplit('.').next().unwrap();
    let words = unsigned(&json!({"alg": "ES256", "kid": "a"}), &fake.claims(json!({"sub": "1"})));
    check(&format!("{words}{signature}"), "not good").await;
    for token in ["", "x", "..", &format!("{signed}.x"), &"x".repeat(100_000)] {
        check(token, "cannot be read").await;
    }
    // A shared secret among the keys is no key, whatever signs with it.
    let shared = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"});
    fake.change(|script| script.keys = json!({"keys": [shared]}).to_string());
    let header = Header { kid: Some("s".to_owned()), ..Header::new(Algorithm::HS256) };
    check(&encode(&header, &claims, &EncodingKey::from_secret(b"secret")).unwrap(), "public key").await;
}

#[tokio::test]
async fn keys_change_and_nobody_makes_us_ask_for_ever() {
    let (fake, first, second) = (Fake::start().await, Key::new("a"), Key::new("b"));
    fake.has_keys(&[&first]);
    let provider = fake.provider();
    fake.gives(&first.sign(&fake.claims(json!({}))));
    assert!(ask(&provider).await.is_ok());
    fake.has_keys(&[&second]);
    fake.gives(&second.sign(&fake.claims(json!({}))));
    assert!(ask(&provider).await.is_ok(), "a key that is new is asked for");
    fake.gives(&first.sign(&fake.claims(json!({}))));
    assert!(matches!(ask(&provider).await, Err(ProviderError::Token(TokenFault::UnknownKey))), "the old one is gone");
    let before = fake.script.lock().unwrap().asked_for_keys;
    for _ in 0..50 {
        assert!(ask(&provider).await.is_err());
    }
    let asked = fake.script.lock().unwrap().asked_for_keys - before;
    assert!(asked <= 5, "{asked} times for a key that there is not");
    fake.gives(&second.sign(&fake.claims(json!({}))));
    assert!(ask(&provider).await.is_ok(), "the one there is, is known all the same");
}

#[tokio::test]
async fn keys_of_other_kinds_are_passed_over() {
    let (fake, key) = (Fake::start().await, Key::new("a"));
    let mut encryption = key.public();
    encryption["use"] = json!("enc");
    let mut other_way = key.public();
    other_way["alg"] = json!("ES384");
    let strange = json!({"kty": "PQ", "kid": "a", "alg": "ML-DSA-44"});
    fake.change(|script| script.keys = json!({"keys": [strange, 7, encryption, other_way]}).to_string());
    fake.gives(&key.sign(&fake.claims(json!({}))));
    assert!(matches!(ask(&fake.provider()).await, Err(ProviderError::Token(TokenFault::UnknownKey))));
    let strange = json!({"kty": "PQ", "kid": "a"});
    fake.change(|script| script.keys = json!({"keys": [strange, key.public()]}).to_string());
    assert!(ask(&fake.provider()).await.is_ok());
    // A token that names no key is good where there is but one that it can be.
    let bare = Header::new(Algorithm::ES256);
    let signing = EncodingKey::from_ec_der(&key.pair.serialize_der());
    fake.gives(&encode(&bare, &fake.claims(json!({})), &signing).unwrap());
    assert!(ask(&fake.provider()).await.is_ok());
    fake.has_keys(&[&key, &Key::new("b")]);
    assert!(ask(&fake.provider()).await.is_err());
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let (fake, key) = (Fake::start().await, Key::new("a"));
    fake.gives(&key.sign(&fake.claims(json!({}))));
    fake.change(|script| script.keys = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(300 * 1024)));
    assert!(fault(&fake.provider()).await.contains("more than"));
    let many: Vec<Value> = (0..101).map(|_| key.public()).collect();
    fake.change(|script| script.keys = json!({"keys": many}).to_string());
    assert!(fault(&fake.provider()).await.contains("101 keys"));
    fake.change(|script| script.keys = "<html>".to_owned());
    assert!(fault(&fake.provider()).await.contains("does not answer as it should"));
    fake.change(|script| script.token = (StatusCode::OK, "x".repeat(300 * 1024)));
    assert!(fault(&fake.provider()).await.contains("more than"));
    fake.change(|script| script.token = (StatusCode::OK, r#"{"access_token":"x"}"#.to_owned()));
    assert!(fault(&fake.provider()).await.contains("no ID token"));
    fake.change(|script| script.token = (StatusCode::BAD_GATEWAY, "x".to_owned()));
    assert!(fault(&fake.provider()).await.contains("502"));
    let denied = r#"{"error":"invalid_grant","error_description":"\u001b[31m"}"#;
    fake.change(|script| script.token = (StatusCode::BAD_REQUEST, denied.to_owned()));
    assert!(matches!(ask(&fake.provider()).await, Err(ProviderError::Denied(_))));
    let begin = Instant::now();
    fake.change(|script| script.pause = Duration::from_secs(3600));
    assert!(matches!(ask(&fake.provider()).await, Err(ProviderError::Answer { .. })));
    assert!(begin.elapsed() < Duration::from_secs(600), "it is waited for");
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let (fake, other, key) = (Fake::start().await, Fake::start().await, Key::new("a"));
    fake.has_keys(&[&key]);
    fake.gives(&key.sign(&fake.claims(json!({}))));
    let good = fake.script.lock().unwrap().metadata.clone();
    let others = other.script.lock().unwrap().metadata.clone();
    let with = |name: &str, value: &str| {
        let mut metadata = good.clone();
        metadata[name] = json!(value);
        metadata
    };
    for (metadata, why) in [
        (json!(format!("{}/.well-known/openid-configuration", other.issuer)), "elsewhere"),
        (others, "calls itself"),
        (with("issuer", &format!("{}/", fake.issuer)), "calls itself"),
        (with("jwks_uri", "http://id.example.org/keys"), "not https"),
        (with("jwks_uri", "file:///etc/passwd"), "not https"),
        (with("token_endpoint", "http://10.0.0.1/token"), "not https"),
        (with("token_endpoint", "/token"), "no address"),
        (json!({}), "issuer"),
    ] {
        fake.change(|script| script.metadata = metadata.clone());
        let told = fault(&fake.provider()).await;
        assert!(told.contains(why), "{metadata}: {told}");
    }
    let nowhere = fake.config(json!({"issuer": "http://127.0.0.1:1"}));
    assert!(fault(&Provider::new(nowhere).unwrap()).await.contains("what it says of itself"));
}

async fn service(data: &std::path::Path) -> Service {
    let store = Store::open(data).await.unwrap();
    Service::open(store, Bus::default(), data, "ab".repeat(32), PortRanges::default()).await.unwrap()
}

fn person(claims: Value) -> Claims {
    claims.as_object().unwrap().clone()
}

#[tokio::test]
async fn an_identity_is_one_user_and_takes_nobodys_place() {
    let data = tempfile::tempdir().unwrap();
    let service = service(data.path()).await;
    let fake = Fake::start().await;
    let config = fake.config(json!({}));
    let ann = || person(fake.claims(json!({})));

    let first = service.log_in(&config, &ann(), None).await.unwrap();
    let second = service.log_in(&config, &ann(), Some("r".to_owned())).await.unwrap();
    assert_eq!((first.user.as_str(), second.refresh_token.as_deref()), ("ann", Some("r")));
    assert_ne!(first.token, second.token);
    let Shown::Good(access) = service.who(&first.token).await.unwrap() else { panic!("it is no token") };
    assert_eq!(access.grants.len(), 1, "what a login gives is given once");
    assert!(access.ends().is_some());

    // The same name from the provider is somebody else all the same.
    let other = person(fake.claims(json!({"sub": "8"})));
    assert!(matches!(service.log_in(&config, &other, None).await, Err(LoginError::NameTaken { .. })));
    let admin = person(fake.claims(json!({"sub": "9", "name": "admin"})));
    assert!(matches!(service.log_in(&config, &admin, None).await, Err(LoginError::NameTaken { .. })));
    for bad in [json!("no name"), json!(7), Value::Null] {
        let claims = person(fake.claims(json!({"sub": "10", "name": bad})));
        assert!(matches!(service.log_in(&config, &claims, None).await, Err(LoginError::NoName { .. })));
    }
    // Who is called otherwise by the provider later is the same one.
    let renamed = person(fake.claims(json!({"name": "ann2"})));
    assert_eq!(service.log_in(&config, &renamed, None).await.unwrap().user.as_str(), "ann");
    // Whoever writes the rules may say that somebody is a user that there is.
    let rules = json!({"rules": [{"claim": "sub", "is": "8", "user": "ann"}]});
    assert_eq!(service.log_in(&fake.config(rules), &other, None).await.unwrap().user.as_str(), "ann");
}

#[tokio::test]
async fn what_the_provider_takes_back_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let service = service(data.path()).await;
    let fake = Fake::start().await;
    let rule = |is: &str, role: &str| json!({"claim": "groups", "is": is, "role": role, "project": "default"});
    let config = fake.config(json!({"rules": [rule("robots", "operator"), rule("staff", "viewer")]}));
    let with = |groups: Value| person(fake.claims(json!({"groups": groups})));
    let roles = async |token: &str| match service.who(token).await.unwrap() {
        Shown::Good(access) => access.grants.iter().map(|view| view.grant.role.name()).collect::<Vec<_>>(),
        Shown::Ended(..) | Shown::Unknown => vec!["nobody"],
    };

    let first = service.log_in(&config, &with(json!(["robots", "staff"])), None).await.unwrap().token;
    assert_eq!(roles(&first).await, ["operator", "viewer"]);
    let mut moved = service.rights_moved();
    moved.borrow_and_update();
    let second = service.log_in(&config, &with(json!(["staff"])), None).await.unwrap().token;
    assert!(moved.has_changed().unwrap(), "what goes on is looked at again");
    assert_eq!((roles(&first).await, roles(&second).await), (vec!["viewer"], vec!["viewer"]));
    moved.borrow_and_update();
    let refused = service.log_in(&config, &with(json!([])), None).await;
    assert!(matches!(refused, Err(LoginError::Refused(_))));
    assert!(moved.has_changed().unwrap());
    assert_eq!((roles(&first).await, roles(&second).await), (vec!["nobody"], vec!["nobody"]));
}
