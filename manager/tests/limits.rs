//! Who asks too often: told when to come again, in nobody else's way, and in the audit log only so often.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, and that is what it is for"
)]

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use robo_manager::api::{ApiState, PeerAddress, router};
use robo_manager::bus::Bus;
use robo_manager::ca::{CaError, Signed};
use robo_manager::gateway::{Gateway, Renewal};
use robo_manager::limits::{Limits, Rate};
use robo_manager::plan::PortRanges;
use robo_manager::service::{ADMIN_TOKEN, Service};
use robo_manager::store::Store;
use robo_model::name::DeviceId;
use robo_model::quantity::Millis;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// So little is given back while a test runs that it makes no difference.
const RATE: Rate = Rate { burst: 20, per_second: 0.000_1 };

struct Manager {
    _data: tempfile::TempDir,
    router: Router,
    admin: String,
}

impl Manager {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        let (bus, day) = (Bus::default(), Millis::from_secs(86_400));
        let links = Gateway::new(store.clone(), bus.clone(), day, Renewal { lifetime: day });
        let service = Service::open(store, bus, data.path(), "ab".repeat(32), PortRanges::default()).await.unwrap();
        let admin = std::fs::read_to_string(data.path().join(ADMIN_TOKEN)).unwrap().trim().to_owned();
        let sign = |_: &DeviceId, _: &str| -> Result<Signed, CaError> {
            Err(CaError::Request(rcgen::Error::CouldNotParseCertificationRequest))
        };
        let state = ApiState::new(service, links, Arc::new(sign)).with_limits(Limits::new(RATE));
        Self { _data: data, router: router(state).0, admin }
    }

    /// The answer's status, when to come again, and what it says.
    async fn ask(&self, from: &str, token: &str, (method, path): (Method, &str), body: Value) -> Answer {
        let address: IpAddr = from.parse().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .extension(PeerAddress { ip: address, written: from.into() })
            .body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) })
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let again = headers.get(header::RETRY_AFTER).map(|text| text.to_str().unwrap().parse().unwrap());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, again, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn get(&self, from: &str, token: &str, path: &str) -> Answer {
        self.ask(from, token, (Method::GET, path), Value::Null).await
    }

    async fn user(&self, name: &str) -> String {
        self.ask("10.9.9.9", &self.admin, (Method::POST, "/v1/users"), json!({"name": name})).await;
        let path = format!("/v1/users/{name}/tokens");
        let made = self.ask("10.9.9.9", &self.admin, (Method::POST, &path), json!({})).await;
        made.body["token"].as_str().unwrap().to_owned()
    }

    /// The refused lines of the log: who, verb and how often.
    async fn refused(&self) -> Vec<(String, String, u64)> {
        let log = self.get("10.9.9.9", &self.admin, "/v1/audit?limit=1000").await.body;
        let refused = log.as_array().unwrap().iter().filter(|line| line["outcome"] == "refused");
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        refused.map(|line| (text(&line["who"]), text(&line["verb"]), line["times"].as_u64().unwrap())).collect()
    }
}

struct Answer {
    status: StatusCode,
    again: Option<u64>,
    body: Value,
}

const ME: &str = "/v1/auth/me";

#[tokio::test]
async fn a_greedy_user_waits_and_nobody_else_does() {
    let manager = Manager::start().await;
    let (ann, bob) = (manager.user("ann").await, manager.user("bob").await);
    for _ in 0..20 {
        assert_eq!(manager.get("10.0.0.1", &ann, ME).await.status, StatusCode::OK);
    }
    for _ in 0..50 {
        let told = manager.get("10.0.0.1", &ann, ME).await;
        assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(told.again.is_some_and(|seconds| seconds > 0));
        assert!(told.body["help"].as_str().unwrap().contains("try again in"), "{}", told.body);
    }
    // From the same address, too, and another token of hers makes no difference.
    assert_eq!(manager.get("10.0.0.1", &bob, ME).await.status, StatusCode::OK);
    let other = manager.ask("10.9.9.9", &manager.admin, (Method::POST, "/v1/users/ann/tokens"), json!({})).await;
    let other = other.body["token"].as_str().unwrap().to_owned();
    assert_eq!(manager.get("10.0.0.2", &other, ME).await.status, StatusCode::TOO_MANY_REQUESTS);
    let requests = |(who, verb, _): &(String, String, u64)| who == "ann" && verb == "requests";
    // With two tokens and from two addresses it is two lines, and not fifty-one.
    assert_eq!(manager.refused().await.iter().filter(|line| requests(line)).count(), 2);
    // Uploads are not counted.
    let path = format!("/v1/projects/default/files/{}", "ab".repeat(32));
    let told = manager.ask("10.0.0.1", &ann, (Method::PUT, &path), json!("x")).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_tries_tokens_is_told_to_wait_and_others_of_the_address_come_in() {
    let manager = Manager::start().await;
    let ann = manager.user("ann").await;
    let mut told = Vec::new();
    for number in 0..100 {
        told.push(manager.get("10.0.0.1", &format!("rbt1.{number:064}"), ME).await.status);
    }
    let later = told.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert!((20..=70).contains(&later), "{later}");
    assert!(told.starts_with(&[StatusCode::UNAUTHORIZED; 30]));
    assert_eq!(manager.get("10.0.0.1", &ann, ME).await.status, StatusCode::OK);
    assert_eq!(manager.get("10.0.0.2", "rbt1.0", ME).await.status, StatusCode::UNAUTHORIZED);
    let lines = manager.refused().await;
    assert_eq!(lines.iter().filter(|(_, verb, _)| verb == "token").count(), 2, "{lines:?}");
}

#[tokio::test]
async fn enrolments_that_fail_are_counted_with_it() {
    let manager = Manager::start().await;
    let body = || json!({"token": format!("rbe1.{}.00", "ab".repeat(32)), "certificate_request": "x"});
    let mut waits = Vec::new();
    for _ in 0..100 {
        let told = manager.ask("10.0.0.1", "", (Method::POST, "/v1/enroll"), body()).await;
        assert!([StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&told.status), "{}", told.status);
        waits.extend(told.again);
    }
    assert!(!waits.is_empty() && waits.iter().all(|wait| [1, 2].contains(wait)), "{waits:?}");
    let elsewhere = manager.ask("10.0.0.2", "", (Method::POST, "/v1/enroll"), body()).await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_a_user_may_not_is_a_line_and_then_counted() {
    let manager = Manager::start().await;
    let (ann, bob) = (manager.user("ann").await, manager.user("bob").await);
    for _ in 0..10 {
        assert_eq!(manager.get("10.0.0.1", &ann, "/v1/users").await.status, StatusCode::FORBIDDEN);
    }
    manager.get("10.0.0.1", &ann, "/v1/projects/default/devices").await;
    manager.get("10.0.0.1", &bob, "/v1/users").await;
    let lines = manager.refused().await;
    let of = |name: &str| lines.iter().filter(|(who, ..)| who == name).count();
    assert_eq!((of("ann"), of("bob")), (2, 1), "{lines:?}");
    let verdict = manager.get("10.9.9.9", &manager.admin, "/v1/audit/verify").await.body;
    assert_eq!(verdict["broken"], Value::Null);
}
