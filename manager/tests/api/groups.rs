//! Groups of users, and files of users, groups and roles.

use super::*;

impl Manager {
    async fn whole(&self, method: Method, path: &str, body: Value) -> Result<Value, Problem> {
        self.call(method, &format!("/v1/{path}"), body).await
    }

    /// What somebody with this token gets.
    async fn seen_by(&self, token: &str, path: &str) -> StatusCode {
        let mut request = self.request(Method::GET, path).body(Body::empty()).unwrap();
        let value = http::HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        self.send(request).await.status()
    }

    async fn may(&self, user: &str, verb: &str) -> Value {
        let body = json!({"verb": verb, "project": "default", "user": user});
        self.whole(Method::POST, "auth/can-i", body).await.unwrap()
    }

    async fn with_ann() -> (Self, String) {
        let manager = Self::start().await;
        manager.whole(Method::POST, "users", json!({"name": "ann"})).await.unwrap();
        let token = manager.whole(Method::POST, "users/ann/tokens", json!({})).await.unwrap();
        (manager, token["token"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn what_a_group_may_its_members_may_as_long_as_they_are_in_it() {
    let (manager, ann) = Manager::with_ann().await;
    let whole = async |method, path: &str, body| manager.whole(method, path, body).await;
    whole(Method::POST, "groups", json!({"name": "ops"})).await.unwrap();
    let role = json!({"user": "ops", "role": "operator", "project": "default"});
    let role = whole(Method::POST, "grants", role).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::FORBIDDEN);
    let group = whole(Method::PUT, "groups/ops/members/ann", Value::Null).await.unwrap();
    assert_eq!((&group["members"], &group["grants"][0]["role"]), (&json!(["ann"]), &json!("operator")));
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::OK);
    let why = manager.may("ann", "apply").await;
    assert_eq!(why["allowed"], true);
    assert!(why["reasons"][0].as_str().unwrap().contains("operator in project `default`, by group `ops`"), "{why}");
    let not = manager.may("ann", "enroll").await;
    assert!(not["reasons"][0].as_str().unwrap().contains("by group `ops`: `enroll` needs admin"), "{not}");

    // Out of it, and the right is gone at once; and again with the role, and with the group.
    whole(Method::DELETE, "groups/ops/members/ann", Value::Null).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::FORBIDDEN);
    whole(Method::PUT, "groups/ops/members/ann", Value::Null).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::OK);
    whole(Method::DELETE, &format!("grants/{}", role["id"]), Value::Null).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::FORBIDDEN);
    let role = json!({"user": "ops", "role": "viewer", "project": "default"});
    whole(Method::POST, "grants", role).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::OK);
    whole(Method::DELETE, "groups/ops", Value::Null).await.unwrap();
    assert_eq!(manager.seen_by(&ann, "devices").await, StatusCode::FORBIDDEN);
    assert_eq!(whole(Method::GET, "groups", Value::Null).await.unwrap(), json!([]));
    assert_eq!(whole(Method::GET, "users", Value::Null).await.unwrap().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_group_is_no_user_and_a_user_no_group() {
    let (manager, _) = Manager::with_ann().await;
    let whole = async |method, path: &str, body| manager.whole(method, path, body).await;
    whole(Method::POST, "groups", json!({"name": "ops"})).await.unwrap();
    whole(Method::POST, "groups", json!({"name": "ops"})).await.unwrap();
    refused(whole(Method::POST, "groups", json!({"name": "ann"})).await, ErrorCode::NameTaken, "`ann` is a user");
    refused(whole(Method::POST, "users", json!({"name": "ops"})).await, ErrorCode::NameTaken, "`ops` is a group");
    refused(whole(Method::POST, "users/ops/tokens", json!({})).await, ErrorCode::NotFound, "no user `ops`");
    refused(whole(Method::DELETE, "users/ops", Value::Null).await, ErrorCode::NotFound, "no user `ops`");
    refused(whole(Method::DELETE, "groups/ann", Value::Null).await, ErrorCode::NotFound, "no group `ann`");
    refused(whole(Method::PUT, "groups/ops/members/ops", Value::Null).await, ErrorCode::NotFound, "no user `ops`");
    refused(whole(Method::PUT, "groups/ops/members/eve", Value::Null).await, ErrorCode::NotFound, "no user `eve`");
    refused(whole(Method::PUT, "groups/none/members/ann", Value::Null).await, ErrorCode::NotFound, "no group `none`");
    let names: Vec<Value> = whole(Method::GET, "users", Value::Null).await.unwrap().as_array().unwrap().clone();
    assert_eq!(names.iter().map(|user| user["name"].as_str().unwrap()).collect::<Vec<_>>(), ["admin", "ann"]);
}

fn file() -> Value {
    json!({
        "users": [{"name": "ann"}, {"name": "pipeline", "kind": "machine"}],
        "groups": [{"name": "ops", "members": ["ann", "pipeline"]}],
        "bindings": [
            {"group": "ops", "role": "operator", "project": "default", "labels": "site=tokyo"},
            {"user": "ann", "role": "viewer", "all_projects": true},
        ],
    })
}

#[tokio::test]
async fn a_file_makes_users_groups_and_roles_as_it_says() {
    let manager = Manager::start().await;
    let apply = async |file: &Value, prune: bool, dry_run: bool| {
        let body = json!({"file": file, "prune": prune, "dry_run": dry_run});
        let done = manager.whole(Method::POST, "access", body).await?;
        let line = |one: &Value| format!("{} {}", one["action"].as_str().unwrap(), one["what"].as_str().unwrap());
        Ok::<Vec<String>, Problem>(done.as_array().unwrap().iter().map(line).collect())
    };
    let expect = [
        "add user `ann`",
        "add machine `pipeline`",
        "add group `ops`",
        "add `ann` in group `ops`",
        "add `pipeline` in group `ops`",
        "add `ops` is operator in project `default`, on devices with `site=tokyo`",
        "add `ann` is viewer in all projects",
    ];
    assert_eq!(apply(&file(), false, true).await.unwrap(), expect);
    assert_eq!(
        manager.whole(Method::GET, "groups", Value::Null).await.unwrap(),
        json!([]),
        "a dry run changes nothing"
    );
    assert_eq!(apply(&file(), false, false).await.unwrap(), expect);
    assert_eq!(apply(&file(), true, false).await.unwrap(), [""; 0], "all is as it says");

    // What others made by hand stays, but for members of a group that is named; it goes when that is asked for.
    manager.whole(Method::POST, "users", json!({"name": "eve"})).await.unwrap();
    manager.whole(Method::PUT, "groups/ops/members/eve", Value::Null).await.unwrap();
    manager.whole(Method::POST, "groups", json!({"name": "old"})).await.unwrap();
    let role = json!({"user": "pipeline", "role": "admin", "project": null});
    manager.whole(Method::POST, "grants", role).await.unwrap();
    assert_eq!(apply(&file(), false, false).await.unwrap(), ["remove `eve` in group `ops`"]);
    let pruned = ["remove `pipeline` is admin in all projects", "remove group `old`", "remove user `eve`"];
    assert_eq!(apply(&file(), true, false).await.unwrap(), pruned);
    // Even a file of nothing leaves the administrator.
    let all = apply(&json!({}), true, false).await.unwrap();
    assert_eq!(all.last().unwrap(), "remove user `pipeline`");
    let users = manager.whole(Method::GET, "users", Value::Null).await.unwrap();
    assert_eq!((users.as_array().unwrap().len(), &users[0]["grants"][0]["role"]), (1, &json!("admin")));

    let told = manager.get("/v1/audit?limit=10000").await.unwrap();
    let things: Vec<&str> = told.as_array().unwrap().iter().map(|line| line["thing"].as_str().unwrap()).collect();
    for expect in ["add: user `ann`", "remove: user `eve`", "PUT /v1/groups/ops/members/eve"] {
        assert!(things.iter().any(|thing| thing.contains(expect)), "{expect}: {things:#?}");
    }
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_says_where() {
    let manager = Manager::start().await;
    let apply = async |file: Value| manager.whole(Method::POST, "access", json!({"file": file})).await;
    for (file, expect) in [
        (json!({"users": [{"name": "a"}, {"name": "a"}]}), "users[1]: `a` is named twice"),
        (json!({"users": [{"name": "a"}], "groups": [{"name": "a"}]}), "groups[0]: `a` is a user"),
        (json!({"groups": [{"name": "g"}, {"name": "g"}]}), "groups[1]: `g` is named twice"),
        (json!({"groups": [{"name": "g", "members": ["eve"]}]}), "groups[0].members: there is no user `eve`"),
        (json!({"users": [{"name": "admin", "kind": "machine"}]}), "users[0]: `admin` is there"),
        (json!({"bindings": [{"user": "eve", "role": "viewer", "all_projects": true}]}), "no user `eve`"),
        (json!({"bindings": [{"group": "g", "role": "viewer", "all_projects": true}]}), "no group `g`"),
        (json!({"bindings": [{"role": "viewer", "all_projects": true}]}), "bindings[0]: it needs `user` or `group`"),
        (json!({"bindings": [{"user": "admin", "role": "viewer"}]}), "bindings[0]: it needs"),
        (json!({"bindings": [{"user": "admin", "role": "king"}]}), "king"),
        (json!({"people": []}), "people"),
    ] {
        refused(apply(file).await, ErrorCode::BadRequest, expect);
    }
    let elsewhere = json!({"bindings": [{"user": "admin", "role": "viewer", "project": "nowhere"}]});
    refused(apply(elsewhere).await, ErrorCode::NotFound, "no project `nowhere`");
    assert_eq!(manager.whole(Method::GET, "users", Value::Null).await.unwrap().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_prunes_away_their_own_right() {
    let (manager, ann) = Manager::with_ann().await;
    let role = json!({"user": "ann", "role": "admin", "project": null});
    manager.whole(Method::POST, "grants", role).await.unwrap();
    let apply = async |file: Value| {
        let body = json!({"file": file, "prune": true}).to_string();
        let mut request = manager.request(Method::POST, "/v1/access").body(Body::from(body)).unwrap();
        let value = http::HeaderValue::from_str(&format!("Bearer {ann}")).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        answer(manager.send(request).await).await
    };
    refused(apply(json!({})).await, ErrorCode::Conflict, "`ann`, who asks");
    refused(apply(json!({"users": [{"name": "ann"}]})).await, ErrorCode::Conflict, "`ann`, who asks");
    let by_group = json!({
        "users": [{"name": "ann"}],
        "groups": [{"name": "admins", "members": ["ann"]}],
        "bindings": [{"group": "admins", "role": "admin", "all_projects": true}],
    });
    apply(by_group).await.unwrap();
    assert_eq!(manager.may("ann", "grant").await["allowed"], true);
}
