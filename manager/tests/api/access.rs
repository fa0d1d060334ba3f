//! Who may what, over the API; and what the audit log says of it.

use http::HeaderValue;
use http_body_util::BodyExt as _;

use super::*;

impl Manager {
    /// Makes a user with these roles, and a manager that is asked as this user.
    pub(super) async fn user(&self, name: &str, grants: &[Value]) -> Asked<'_> {
        self.post("/v1/users", json!({"name": name})).await.unwrap();
        for grant in grants {
            let mut grant = grant.clone();
            grant["user"] = name.into();
            self.post("/v1/grants", grant).await.unwrap();
        }
        let token = self.post(&format!("/v1/users/{name}/tokens"), json!({})).await.unwrap();
        Asked { manager: self, token: token["token"].as_str().unwrap().to_owned(), id: token["id"].clone() }
    }

    pub(super) async fn label(&self, device: &str, site: &str) {
        self.call(Method::PATCH, &format!("devices/{device}"), json!({"set": {"site": site}})).await.unwrap();
    }

    pub(super) async fn audit(&self) -> Vec<Value> {
        self.get("/v1/audit?limit=10000").await.unwrap().as_array().unwrap().clone()
    }
}

pub(super) struct Asked<'a> {
    manager: &'a Manager,
    token: String,
    id: Value,
}

impl Asked<'_> {
    pub(super) async fn response(&self, method: Method, path: &str, body: impl Into<Body>) -> Response<Body> {
        let mut request = self.manager.request(method, path).body(body.into()).unwrap();
        let token = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, token);
        self.manager.send(request).await
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, Problem> {
        answer(self.response(method, path, body.to_string()).await).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Problem> {
        answer(self.response(Method::GET, path, Body::empty()).await).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let all = self.get(path).await.unwrap();
        all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// The paths of the document, with something in the place of each parameter.
async fn all_requests(manager: &Manager) -> Vec<(Method, String)> {
    let document = manager.get("/v1/openapi.json").await.unwrap();
    let mut requests = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled =
            [("project", "default"), ("name", "one"), ("application", "shop"), ("user", "admin"), ("number", "1")]
                .into_iter()
                .fold(path.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
                .replace("{prefix}", "Db")
                .replace("{hash}", &"ab".repeat(32))
                .replace("{id}", "1")
                .replace("{file}", "core")
                .replace("{secret}", "0");
        for method in methods.as_object().unwrap().keys() {
            requests.push((method.to_uppercase().parse().unwrap(), filled.clone()));
        }
    }
    // The last one ends what the others are asked with.
    let others =
        ["health", "enroll", "install.sh", "install/report", "login", "login/token", "auth/logout", "shared/0"];
    requests.retain(|(_, path)| {
        !others.iter().any(|other| path.strip_prefix("/v1/") == Some(*other)) && !path.contains("/agent/")
    });
    assert!(requests.len() > 45, "{}", requests.len());
    requests
}

#[tokio::test]
async fn who_has_no_role_may_nothing_and_a_viewer_changes_nothing() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let nobody = manager.user("nobody", &[]).await;
    let viewer = manager.user("viewer", &[json!({"role": "viewer", "project": "default"})]).await;
    for (method, path) in all_requests(&manager).await {
        let own = path.starts_with("/v1/auth/")
            || (method == Method::GET && ["/v1/grants", "/v1/projects"].contains(&path.as_str()));
        let status = nobody.response(method.clone(), &path, "{}").await.status();
        assert!(own || [403, 404, 400].contains(&status.as_u16()), "{method} {path} {status}");
        if path.starts_with("/v1/projects/") {
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
        }
        // Logs are asked for with what to look for in them, which takes a body; this one has none.
        if method == Method::POST && path.ends_with("/logs") {
            assert_eq!(viewer.response(method, &path, "{}").await.status(), StatusCode::BAD_REQUEST, "{path}");
        } else if method != Method::GET && !own {
            let status = viewer.response(method.clone(), &path, "{}").await.status();
            // What a grant is about stands in its body, or behind its number: this one has none.
            assert!([403, 400, 404].contains(&status.as_u16()), "{method} {path} {status}");
            assert!(status == StatusCode::FORBIDDEN || path.starts_with("/v1/grants"), "{method} {path} {status}");
        }
    }
    assert_eq!(nobody.get("/v1/projects").await.unwrap(), json!([]));
    assert_eq!(viewer.get("/v1/projects").await.unwrap(), json!([{"name": "default", "role": "viewer", "devices": 1}]));
    assert_eq!(viewer.names("devices").await, ["one"]);
    viewer.get("status").await.unwrap();
}

#[tokio::test]
async fn a_selector_bounds_what_is_seen_and_done() {
    let manager = Manager::start().await;
    for (device, site) in [("one", "tokyo"), ("two", "osaka")] {
        manager.enrol(device).await;
        manager.label(device, site).await;
    }
    let grant =
        |role: &str, site: &str| json!({"role": role, "project": "default", "selector": format!("site={site}")});
    let ann = manager.user("ann", &[grant("operator", "tokyo"), grant("viewer", "osaka")]).await;
    let bob = manager.user("bob", &[grant("operator", "tokyo")]).await;
    assert_eq!(ann.names("devices").await, ["one", "two"]);
    assert_eq!(bob.names("devices").await, ["one"]);
    refused(bob.get("devices/two").await, ErrorCode::Forbidden, "see");
    refused(bob.get("status").await, ErrorCode::Forbidden, "more than some devices");
    let run = async |who: &Asked<'_>| {
        let response = who.response(Method::POST, "exec", exec_request(&["one", "two"], &["say", "hi"])).await;
        assert_eq!(response.status(), StatusCode::OK);
        outcomes(&response.into_body().collect().await.unwrap().to_bytes())
            .into_iter()
            .map(|(_, _, verdict)| verdict.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(&ann).await, ["exit 7", "refused: you may not run commands there"]);
    assert_eq!(run(&bob).await, ["exit 7", "refused: there is no such device"]);
    let events =
        bob.response(Method::GET, "events", Body::empty()).await.into_body().collect().await.unwrap().to_bytes();
    let events = String::from_utf8(events.to_vec()).unwrap();
    assert!(events.contains(r#""one""#) && !events.contains(r#""two""#), "{events}");
    let can = |verb: &str, device: &str| json!({"verb": verb, "project": "default", "device": device});
    let why = ann.call(Method::POST, "/v1/auth/can-i", can("exec", "two")).await.unwrap();
    assert_eq!(why["allowed"], false);
    assert!(
        why["reasons"].to_string().contains("other labels") && why["reasons"].to_string().contains("needs operator")
    );
    assert_eq!(ann.call(Method::POST, "/v1/auth/can-i", can("exec", "one")).await.unwrap()["allowed"], true);
    let of_bob = json!({"verb": "exec", "project": "default", "user": "bob"});
    refused(ann.call(Method::POST, "/v1/auth/can-i", of_bob.clone()).await, ErrorCode::Forbidden, "not yours");
    assert_eq!(manager.post("/v1/auth/can-i", of_bob).await.unwrap()["allowed"], false);
}

#[tokio::test]
async fn what_goes_on_ends_with_the_right_to_it() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let role = ann.get("/v1/grants").await.unwrap()[0]["id"].clone();
    let hanging = async |who: &Asked<'_>| {
        let mut body = who.response(Method::POST, "exec", exec_request(&["one"], &["hang"])).await.into_body();
        // The targets: it has begun.
        assert!(body.frame().await.unwrap().is_ok());
        body
    };
    let broken = async |mut body: Body| {
        let rest = async {
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok::<_, axum::Error>(())
        };
        tokio::time::timeout(BOUND, rest).await.expect("it goes on").unwrap_err()
    };
    // A role that is taken away.
    let body = hanging(&ann).await;
    manager.call(Method::DELETE, &format!("/v1/grants/{role}"), Value::Null).await.unwrap();
    broken(body).await;
    refused(ann.get("devices").await, ErrorCode::Forbidden, "see");
    // Labels that a device does not have any more.
    manager.label("one", "tokyo").await;
    manager
        .post("/v1/grants", json!({"user": "ann", "role": "operator", "project": "default", "selector": "site=tokyo"}))
        .await
        .unwrap();
    let body = hanging(&ann).await;
    manager.label("one", "tokyo").await;
    manager.label("one", "osaka").await;
    broken(body).await;
    // A token that is revoked.
    manager.label("one", "tokyo").await;
    let body = hanging(&ann).await;
    manager
        .call(Method::DELETE, &format!("/v1/users/ann/tokens/{}", ann.id.as_str().unwrap()), Value::Null)
        .await
        .unwrap();
    broken(body).await;
    refused(ann.get("devices").await, ErrorCode::Unauthorized, "not known here");
    let cuts = manager.audit().await.into_iter().filter(|line| line["outcome"] == "cut").count();
    assert_eq!(cuts, 3);
}

#[tokio::test]
async fn tokens_are_narrow_and_end() {
    let manager = Manager::start().await;
    let ann = manager.user("ann", &[json!({"role": "admin", "project": "default"})]).await;
    let own = "/v1/users/ann/tokens";
    let narrow = json!({"narrowed": {"role": "viewer", "project": "default"}, "lifetime": 60_000});
    let token = ann.call(Method::POST, own, narrow).await.unwrap();
    let narrowed =
        Asked { manager: &manager, token: token["token"].as_str().unwrap().to_owned(), id: token["id"].clone() };
    assert_eq!(narrowed.names("devices").await, Vec::<String>::new());
    refused(narrowed.get("tokens").await, ErrorCode::Forbidden, "the token is for viewer in project `default`");
    // Made with it, another one is good for no more, and no longer.
    let wide = json!({"narrowed": {"role": "operator", "project": "default"}});
    refused(narrowed.call(Method::POST, own, wide).await, ErrorCode::Forbidden, "viewer");
    let child = narrowed.call(Method::POST, own, json!({})).await.unwrap();
    assert_eq!(child["narrowed"]["role"], "viewer");
    assert_eq!(child["expires_at"], token["expires_at"]);
    // What is not hers, or makes no sense.
    refused(ann.get("/v1/users/admin/tokens").await, ErrorCode::Forbidden, "not yours");
    refused(ann.call(Method::POST, "/v1/users", json!({"name": "eve"})).await, ErrorCode::Forbidden, "manage-users");
    refused(ann.call(Method::POST, own, json!({"lifetime": 0})).await, ErrorCode::BadRequest, "cannot be good");
    refused(ann.call(Method::POST, own, json!({"note": "x".repeat(201)})).await, ErrorCode::BadRequest, "200");
    refused(ann.call(Method::POST, own, json!({"role": "admin"})).await, ErrorCode::BadRequest, "unknown field");
    refused(manager.post("/v1/users", json!({"name": "../x"})).await, ErrorCode::BadRequest, "user name");
    // The end of its time.
    let short = manager.post(own, json!({"lifetime": 1})).await.unwrap();
    let short = Asked { manager: &manager, token: short["token"].as_str().unwrap().to_owned(), id: Value::Null };
    while short.get("/v1/auth/me").await.is_ok() {
        tokio::task::yield_now().await;
    }
    refused(short.get("/v1/auth/me").await, ErrorCode::Unauthorized, "is over");
    // Who is removed.
    manager.call(Method::DELETE, "/v1/users/ann", Value::Null).await.unwrap();
    refused(narrowed.get("devices").await, ErrorCode::Unauthorized, "not known here");
    refused(manager.call(Method::DELETE, "/v1/users/ann", Value::Null).await, ErrorCode::NotFound, "no user `ann`");
    refused(manager.call(Method::DELETE, "/v1/users/admin", Value::Null).await, ErrorCode::Forbidden, "stays");
    let all = manager.get("/v1/grants").await.unwrap();
    let of_admin = all.as_array().unwrap().iter().find(|grant| grant["user"] == "admin").unwrap();
    let path = format!("/v1/grants/{}", of_admin["id"]);
    refused(manager.call(Method::DELETE, &path, Value::Null).await, ErrorCode::Forbidden, "stays");
}

#[tokio::test]
async fn an_admin_of_a_project_gives_what_is_in_it() {
    let manager = Manager::start().await;
    manager.post("/v1/projects", json!({"name": "lab"})).await.unwrap();
    let ann = manager.user("ann", &[json!({"role": "admin", "project": "lab"})]).await;
    manager.user("bob", &[]).await;
    let give = async |grant: Value| ann.call(Method::POST, "/v1/grants", grant).await;
    let given = give(json!({"user": "bob", "role": "operator", "project": "lab"})).await.unwrap();
    assert_eq!(give(json!({"user": "bob", "role": "operator", "project": "lab"})).await.unwrap()["id"], given["id"]);
    for beyond in
        [json!({"user": "bob", "role": "viewer"}), json!({"user": "bob", "role": "viewer", "project": "default"})]
    {
        refused(give(beyond).await, ErrorCode::Forbidden, "not yours to give");
    }
    refused(
        give(json!({"user": "eve", "role": "viewer", "project": "lab"})).await,
        ErrorCode::NotFound,
        "no user `eve`",
    );
    refused(
        manager.post("/v1/grants", json!({"user": "bob", "role": "viewer", "project": "moon"})).await,
        ErrorCode::NotFound,
        "`moon`",
    );
    refused(give(json!({"user": "bob", "role": "king", "project": "lab"})).await, ErrorCode::BadRequest, "king");
    assert_eq!(ann.get("/v1/grants").await.unwrap().as_array().unwrap().len(), 2);
    // A token that devices enrol with is of its project, and so are they.
    refused(ann.get("tokens").await, ErrorCode::Forbidden, "another project");
    assert_eq!(ann.get("/v1/projects/lab/tokens").await.unwrap(), json!([]));
    ann.call(Method::DELETE, &format!("/v1/grants/{}", given["id"]), Value::Null).await.unwrap();
    refused(ann.call(Method::DELETE, "/v1/grants/1", Value::Null).await, ErrorCode::NotFound, "no grant 1");
}

#[tokio::test]
async fn everything_that_is_done_or_refused_is_told_and_cannot_be_changed() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let viewer = manager.user("viewer", &[json!({"role": "viewer", "project": "default"})]).await;
    refused(viewer.call(Method::DELETE, "devices/one", Value::Null).await, ErrorCode::Forbidden, "manage-devices");
    let stranger = Asked { manager: &manager, token: "rbt1.00".to_owned(), id: Value::Null };
    for _ in 0..20 {
        refused(stranger.get("devices").await, ErrorCode::Unauthorized, "not known here");
    }
    manager.post("/v1/enroll", json!({"token": "rbe1.no", "certificate_request": "x"})).await.unwrap_err();
    manager.exec(exec_request(&["one"], &["say", "\u{1b}[31mhi"])).await;
    let told: Vec<String> = manager
        .audit()
        .await
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("?").to_owned();
            format!("{} {} {} {}", text("who"), text("verb"), text("outcome"), text("thing"))
        })
        .collect();
    for expected in [
        "admin enroll allowed POST /v1/projects/default/tokens",
        "? enroll allowed device one (",
        "admin manage-users allowed POST /v1/users",
        "admin grant allowed viewer in project `default` to `viewer`",
        "viewer manage-devices refused DELETE /v1/projects/default/devices/one",
        "? token refused GET /v1/projects/default/devices",
        "? enroll refused ",
        "admin exec allowed 1 device: one",
        "admin audit allowed GET /v1/audit",
    ] {
        assert!(told.iter().any(|line| line.starts_with(expected)), "{expected} in {told:#?}");
    }
    assert_eq!(told.iter().filter(|line| line.contains("token refused")).count(), 1, "who only knocks fills nothing");
    assert!(!told.concat().contains('\u{1b}'));
    let verdict = manager.get("/v1/audit/verify").await.unwrap();
    assert_eq!(verdict["broken"], Value::Null);
    let last = manager.audit().await;
    assert_eq!(
        last.iter().map(|line| line["id"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=last.len() as u64).collect::<Vec<_>>()
    );

    // A line that somebody changes in the file, or takes away.
    let path = manager.data.path().join("robo.db");
    let database = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut database = sqlx::ConnectOptions::connect(&database).await.unwrap();
    let mut change = async |statement: &'static str| sqlx::query(statement).execute(&mut database).await.unwrap();
    let broken = async || manager.get("/v1/audit/verify").await.unwrap()["broken"].clone();
    change("UPDATE audit SET who = 'eve' WHERE id = 3").await;
    assert_eq!(broken().await["id"], 3, "what it is found by");
    change("UPDATE audit SET who = 'admin' WHERE id = 3").await;
    assert_eq!(broken().await, Value::Null);
    change("UPDATE audit SET line = replace(line, 'allowed', 'refused') WHERE id = 4").await;
    assert_eq!(broken().await["id"], 4);
    change("DELETE FROM audit WHERE id = 4").await;
    assert_eq!(broken().await, json!({"id": 5, "reason": "line 4 is missing"}));
}

#[tokio::test]
async fn a_device_moves_where_both_projects_agree() {
    let manager = Manager::start().await;
    let id = manager.enrol("one").await;
    manager.label("one", "tokyo").await;
    for project in ["lab", "other"] {
        manager.post("/v1/projects", json!({"name": project})).await.unwrap();
    }
    let admin = |project: &str| json!({"role": "admin", "project": project});
    let ann = manager.user("ann", &[admin("default"), admin("lab")]).await;
    let bob = manager.user("bob", &[admin("default")]).await;
    let lab = async |who: &Asked<'_>, device: &str| {
        who.call(Method::POST, &format!("devices/{device}/move"), json!({"project": "lab"})).await
    };
    refused(lab(&bob, "one").await, ErrorCode::Forbidden, "another project");
    refused(lab(&ann, "two").await, ErrorCode::NotFound, "two");
    let nowhere = ann.call(Method::POST, "devices/one/move", json!({"project": "nowhere"})).await;
    refused(nowhere, ErrorCode::Forbidden, "another project");
    let nowhere = manager.post("devices/one/move", json!({"project": "nowhere"})).await;
    refused(nowhere, ErrorCode::NotFound, "nowhere");
    let moved = lab(&ann, "one").await.unwrap();
    assert_eq!((moved["id"].as_str(), &moved["labels"]["site"]), (Some(id.as_str()), &json!("tokyo")));
    assert!(ann.names("devices").await.is_empty());
    assert_eq!(ann.names("/v1/projects/lab/devices").await, ["one"]);
    refused(bob.get("/v1/projects/lab/devices").await, ErrorCode::Forbidden, "another project");

    // The name is free where it was, and taken where it is.
    manager.enrol("one").await;
    refused(lab(&ann, "one").await, ErrorCode::NameTaken, "`lab` has a device `one` already");
    // To where it is already: nothing to do.
    let back = ann.call(Method::POST, "/v1/projects/lab/devices/one/move", json!({"project": "lab"})).await;
    assert_eq!(back.unwrap()["id"], id.as_str());
    let told: Vec<String> = manager
        .audit()
        .await
        .iter()
        .filter(|line| line["verb"] == "manage-devices" && line["outcome"] == "allowed" && line["who"] == "ann")
        .map(|line| format!("{} {}", line["project"].as_str().unwrap(), line["thing"].as_str().unwrap()))
        .collect();
    assert!(told.contains(&"lab device one from project `default`".to_owned()), "{told:#?}");
    assert!(told.contains(&"default POST /v1/projects/default/devices/one/move".to_owned()), "{told:#?}");
    for project in ["default", "lab"] {
        let events = manager
            .send(manager.request(Method::GET, &format!("/v1/projects/{project}/events")).body(Body::empty()).unwrap())
            .await;
        let events = events.into_body().collect().await.unwrap().to_bytes();
        let events = String::from_utf8(events.to_vec()).unwrap();
        assert!(events.contains(r#""kind":"moved","from":"default","to":"lab","by":"ann""#), "{events}");
    }
}

#[tokio::test]
async fn a_device_with_something_on_it_stays() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    manager.post("/v1/projects", json!({"name": "lab"})).await.unwrap();
    manager.deploy(GRAPH).await;
    let moved = manager.post("devices/one/move", json!({"project": "lab"})).await;
    let refused = moved.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InUse);
    assert!(
        refused.title.contains("/vm of `shop`") && refused.help.unwrap().contains("delete it"),
        "{}",
        refused.title
    );
    manager.call(Method::DELETE, "applications/shop", Value::Null).await.unwrap();
    manager.post("devices/one/move", json!({"project": "lab"})).await.unwrap();
}
