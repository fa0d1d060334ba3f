//! The way to the manager, step by step: its address, the proxy, names, TCP, TLS, and the manager's answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use robo_wire::api::NO_FILE;

use super::{Finding, Options};
use crate::code::Code;
use crate::dial::{self, Route};
use crate::folders::Folders;
use crate::identity::Identity;
use crate::tls;

/// The steps behind the address, in their order.
const STEPS: [&str; 4] = ["name", "connection", "tls", "manager"];

/// How far the manager's clock and ours may be apart: certificates of a fresh device begin a day before, but times in
/// logs and events are compared by people.
const CLOCKS_APART: Duration = Duration::from_secs(5 * 60);

pub(super) async fn examine(options: &Options, folders: &Folders, identity: Option<&Identity>) -> Vec<Finding> {
    let route = match &options.route {
        Ok(Some(route)) => route,
        Ok(None) => {
            let found = format!("nobody says where it is, neither an option nor {}", folders.manager().display());
            return broken(vec![Finding::failed("address", Code::NoManager, found)]);
        }
        Err(reason) => return broken(vec![Finding::failed("address", Code::ProxySetting, reason)]),
    };
    let mut findings = vec![Finding::ok("address", route.to_string())];
    match dial::look_up(&route.first_hop()).await {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            findings.push(Finding::ok("name", format!("{} is {}", route.first_hop(), addresses.join(", "))));
        }
        Err(error) => {
            let found = format!("{} cannot be looked up: {error}", route.first_hop());
            findings.push(Finding::failed("name", Code::Lookup, found));
            return broken(findings);
        }
    }
    let socket = match dial::connect(route).await {
        Ok(socket) => socket,
        Err(error) => {
            findings.push(Finding::failed("connection", error.code(), error.to_string()));
            return broken(findings);
        }
    };
    let from = socket.tcp().local_addr().map_or_else(|_| "an unknown address".into(), |local| local.ip().to_string());
    findings.push(Finding::ok("connection", format!("it leaves from {from}")));
    let Some(identity) = identity else {
        findings.push(Finding::skipped("tls", "without an identity there is no CA to verify the manager by"));
        return broken(findings);
    };
    let spoken = speak(socket, route, identity).await;
    findings.extend(spoken);
    broken(findings)
}

async fn speak(socket: dial::Socket, route: &Route, identity: &Identity) -> Vec<Finding> {
    let tls = match tls::enrolled(identity, b"http/1.1") {
        Ok(tls) => tls,
        Err(error) => return vec![Finding::failed("tls", Code::Key, error.to_string())],
    };
    let stream = match dial::secured(socket, route, Arc::clone(&tls)).await {
        Ok(stream) => stream,
        Err(error) => return vec![Finding::failed("tls", error.code(), error.to_string())],
    };
    let mut findings = vec![Finding::ok("tls", "the manager is the one this device is enrolled at")];
    let request = Request::get(NO_FILE).header(header::HOST, robo_wire::SERVER_NAME).body(Full::new(Bytes::new()));
    let answer = match request {
        Ok(request) => dial::exchange(stream, route, request).await,
        Err(error) => return vec![Finding::failed("manager", Code::Answer, error.to_string())],
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            findings.push(Finding::failed("manager", error.code(), error.to_string()));
            return findings;
        }
    };
    findings.push(match answer.status() {
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Finding::ok("manager", "it knows this device"),
        StatusCode::UNAUTHORIZED => {
            Finding::failed("manager", Code::Refused, "it does not know this device with this key")
        }
        status => Finding::failed("manager", Code::Answer, format!("it answers {status}")),
    });
    findings.extend(answer.headers().get(header::DATE).and_then(|date| clocks(date.to_str().ok()?)));
    findings
}

/// Our clock beside that of the manager's answer.
fn clocks(date: &str) -> Option<Finding> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let ours = SystemTime::now();
    let (apart, word) = match ours.duration_since(theirs) {
        Ok(apart) => (apart, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    Some(if apart > CLOCKS_APART {
        Finding::failed("clock", Code::Clock, format!("it is {} s {word} the manager's", apart.as_secs()))
    } else {
        Finding::ok("clock", "it agrees with the manager's")
    })
}

/// With all steps that were not made, as skipped.
fn broken(mut findings: Vec<Finding>) -> Vec<Finding> {
    for step in STEPS {
        if findings.iter().all(|finding| finding.check != step) {
            findings.push(Finding::skipped(step, "what comes before it failed"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told() {
        let check = |date: &str, expect: Option<Option<&str>>| assert_eq!(clocks(date).map(|found| found.code), expect);
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(Some("AGT_CLOCK")));
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
        check(&httpdate::fmt_http_date(tomorrow), Some(Some("AGT_CLOCK")));
        check(&httpdate::fmt_http_date(SystemTime::now()), Some(None));
        check("yesterday", None);
    }
}
