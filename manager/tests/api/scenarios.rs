//! Who may what, as a table against the real API: domain, subject, resource, action, and what is expected.

use super::access::Asked;
use super::*;

/// A role, its project, and its devices' labels.
type Role = (&'static str, &'static str, &'static str);

/// Who asks, each with a role in a project, on some devices or on all.
const SUBJECTS: &[(&str, &[Role])] = &[
    ("nobody", &[]),
    ("viewer", &[("viewer", "default", "")]),
    ("tokyo-viewer", &[("viewer", "default", "site=tokyo")]),
    ("operator", &[("operator", "default", "")]),
    ("tokyo-operator", &[("operator", "default", "site=tokyo")]),
    ("admin-here", &[("admin", "default", "")]),
    ("admin-there", &[("admin", "lab", "")]),
    ("both", &[("viewer", "default", ""), ("operator", "default", "site=osaka")]),
    ("all-viewer", &[("viewer", "", "")]),
    ("all-admin", &[("admin", "", "")]),
];

/// What is asked for, by a name of its own: method, path, body.
const ACTIONS: &[(&str, Method, &str, &str)] = &[
    ("see the project", Method::GET, "status", ""),
    ("see tokyo", Method::GET, "devices/tokyo", ""),
    ("see osaka", Method::GET, "devices/osaka", ""),
    ("label tokyo", Method::PATCH, "devices/tokyo", r#"{"set":{"note":"x"}}"#),
    ("act", Method::POST, "applications/none/act", r#"{"verb":"retry","scope":{}}"#),
    ("certificate tokyo", Method::POST, "devices/tokyo/ssh-certificate", CERTIFICATE),
    ("certificate osaka", Method::POST, "devices/osaka/ssh-certificate", CERTIFICATE),
    ("token", Method::POST, "tokens", "{}"),
    ("audit", Method::GET, "audit", ""),
    ("users", Method::GET, "/v1/users", ""),
    ("quota", Method::PUT, "quota", r#"{"max_devices":1000}"#),
    ("grant", Method::POST, "/v1/grants", r#"{"user":"nobody","role":"viewer","project":"lab","selector":"a=b"}"#),
];

const CERTIFICATE: &str = r#"{"user":"robot","public_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti"}"#;

/// Domain, subject, and each resource and action that the subject may; all others are refused.
const MAY: &[(&str, &str, &[&str])] = &[
    ("default", "nobody", &[]),
    ("default", "viewer", &["see the project", "see tokyo", "see osaka"]),
    ("default", "tokyo-viewer", &["see tokyo"]),
    (
        "default",
        "operator",
        &["see the project", "see tokyo", "see osaka", "act", "certificate tokyo", "certificate osaka"],
    ),
    ("default", "tokyo-operator", &["see tokyo", "certificate tokyo"]),
    (
        "default",
        "admin-here",
        &[
            "see the project",
            "see tokyo",
            "see osaka",
            "label tokyo",
            "act",
            "certificate tokyo",
            "certificate osaka",
            "token",
            "audit",
        ],
    ),
    ("default", "admin-there", &["grant"]),
    ("default", "both", &["see the project", "see tokyo", "see osaka", "certificate osaka"]),
    ("default", "all-viewer", &["see the project", "see tokyo", "see osaka"]),
    (
        "default",
        "all-admin",
        &[
            "see the project",
            "see tokyo",
            "see osaka",
            "label tokyo",
            "act",
            "certificate tokyo",
            "certificate osaka",
            "token",
            "audit",
            "users",
            "quota",
            "grant",
        ],
    ),
    ("lab", "nobody", &[]),
    ("lab", "viewer", &[]),
    ("lab", "operator", &[]),
    ("lab", "admin-here", &[]),
    ("lab", "admin-there", &["see the project", "act", "token", "audit", "grant"]),
    ("lab", "all-viewer", &["see the project"]),
    ("lab", "all-admin", &["see the project", "act", "token", "audit", "users", "quota", "grant"]),
];

/// Whether it was let through to what it is about: whoever may is told what is wrong with it.
async fn is_let_through(who: &Asked<'_>, domain: &str, (method, path, body): (&Method, &str, &str)) -> bool {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/v1/projects/{domain}/{path}") };
    let response = who.response(method.clone(), &path, body.to_owned()).await;
    assert!(!response.status().is_server_error(), "{method} {path}");
    response.status() != StatusCode::FORBIDDEN
}

#[tokio::test]
async fn the_table_of_scenarios_holds() {
    let manager = Manager::start().await;
    manager.post("/v1/projects", json!({"name": "lab"})).await.unwrap();
    for site in ["tokyo", "osaka"] {
        let id = manager.enrol(site).await;
        manager.call(Method::PATCH, &format!("devices/{site}"), json!({"set": {"site": site}})).await.unwrap();
        let facts = robo_wire::api::Facts { exec_user: "robot".into(), ..Default::default() };
        manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    }
    let mut subjects = BTreeMap::new();
    for (name, grants) in SUBJECTS {
        let grant = |(role, project, selector): &(&str, &str, &str)| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            json!({"role": role, "project": some(project), "selector": some(selector)})
        };
        let grants: Vec<Value> = grants.iter().map(grant).collect();
        subjects.insert(*name, manager.user(name, &grants).await);
    }
    for (domain, subject, may) in MAY {
        let known = |name: &&&str| ACTIONS.iter().any(|(known, ..)| known == *name);
        assert_eq!(may.iter().filter(known).count(), may.len(), "{domain} {subject}: an action that there is not");
        for (name, method, path, body) in ACTIONS {
            // There are no devices in the other project: nobody sees what is not there.
            if *domain == "lab" && path.starts_with("devices/") {
                continue;
            }
            let let_through = is_let_through(&subjects[subject], domain, (method, path, body)).await;
            assert_eq!(let_through, may.contains(name), "{domain}: {subject} wants to {name}");
        }
    }
}
