//! Files of devices that the manager keeps: what is refused, who may have them, links, bounds.

use std::net::IpAddr;

use robo_manager::api::PeerAddress;
use robo_manager::store::{MAX_OPEN_UPLOADS, MAX_SHARES};
use robo_wire::api::Facts;
use robo_wire::copy::{Content, CopyFrame, CopyOpen, Entry, Kind, RawPath};
use robo_wire::upload::{MAX_SHARE_TTL, SHARE_TTL};

use super::access::Asked;
use super::*;

/// A device that sends what its path says: `/say/TEXT` its text, `/hang` a file that never ends; others are away.
pub(super) fn pretend(open: CopyOpen) -> Result<Box<dyn LinkStream>, OpenError> {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let path = match open {
        CopyOpen::Pull(pull) => String::from_utf8(pull.path.0).unwrap(),
        CopyOpen::Push(_) | CopyOpen::Purge(_) => return Err(OpenError::Offline),
    };
    let entry = |kind| {
        let name = RawPath::default();
        CopyFrame::Entry(Entry { number: 0, name, kind, mode: 0o644, modified_at: None })
    };
    let (frames, hangs) = if let Some(text) = path.strip_prefix("/say/") {
        let small = Kind::Small(Content(text.as_bytes().to_vec()));
        (vec![entry(small), CopyFrame::Finish, CopyFrame::Verdict(Verdict::Ok)], false)
    } else if path == "/hang" {
        (vec![entry(Kind::File(Some(100_000))), CopyFrame::Data(0, vec![7; 1000])], true)
    } else if path == "/none" {
        let reason = "cannot read `/none`: there is no such file or folder".to_owned();
        (vec![CopyFrame::Verdict(Verdict::Refused { reason })], false)
    } else {
        return Err(OpenError::Offline);
    };
    tokio::spawn(async move {
        for frame in frames {
            if theirs.write_all(&frame.encode().unwrap()).await.is_err() {
                return;
            }
        }
        if hangs {
            drop(theirs.read_to_end(&mut Vec::new()).await);
            std::future::pending::<()>().await;
        }
    });
    Ok(Box::new(ours))
}

impl Manager {
    /// Waits until a file is in this state.
    async fn until(&self, name: &str, state: &str) -> Value {
        let look = async {
            loop {
                let view = self.get(&format!("uploads/{name}")).await.unwrap();
                if view["state"] == state {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(BOUND, look).await.unwrap()
    }

    /// Has a file that is whole.
    async fn have(&self, device: &str, name: &str, text: &str) {
        let asked = json!({"device": device, "name": name, "path": format!("/say/{text}")});
        self.post("uploads", asked).await.unwrap();
        self.until(name, "completed").await;
    }

    async fn content(&self, path: &str, range: Option<&str>) -> (StatusCode, Response<Body>) {
        let mut request = self.request(Method::GET, path).body(Body::empty()).unwrap();
        if let Some(range) = range {
            request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        }
        if path.starts_with("/v1/shared/") {
            // Whoever has a link is nobody here.
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let response = self.send(request).await;
        (response.status(), response)
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    page["uploads"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let put = async |body: Value| manager.post("uploads", body).await;
    refused(put(json!({"device": "on", "path": "/x"})).await, ErrorCode::NotFound, "`one`");
    refused(put(json!({"device": "one", "path": ""})).await, ErrorCode::BadRequest, "no path");
    refused(put(json!({"device": "one", "path": "/x/"})).await, ErrorCode::BadRequest, "is a folder");
    refused(put(json!({"device": "one", "path": "/x\0"})).await, ErrorCode::BadRequest, "zero byte");
    refused(put(json!({"device": "one", "path": "x".repeat(5000)})).await, ErrorCode::BadRequest, "too long");
    refused(put(json!({"device": "one", "path": ".."})).await, ErrorCode::BadRequest, "makes no name");
    for name in ["../x", "a/b", "", ".x", "a b"] {
        refused(put(json!({"device": "one", "path": "/x", "name": name})).await, ErrorCode::BadRequest, "file's name");
    }
    refused(put(json!({"device": "one", "path": "/x", "meta": {"a b": ""}})).await, ErrorCode::BadRequest, "key");
    let long = json!({"device": "one", "path": "/x", "meta": {"a": "x".repeat(300)}});
    refused(put(long).await, ErrorCode::BadRequest, "`a`");
    refused(put(json!({"device": "one", "path": "/x", "limit": 1023})).await, ErrorCode::BadRequest, "at least 1024");
    refused(put(json!({"device": "one", "path": "/x", "recursive": true})).await, ErrorCode::BadRequest, "recursive");
    assert_eq!(manager.get("uploads").await.unwrap(), json!({"uploads": []}));

    for (method, path) in [
        (Method::GET, "uploads/core"),
        (Method::DELETE, "uploads/core"),
        (Method::GET, "uploads/core/content"),
        (Method::POST, "uploads/core/cancel"),
        (Method::GET, "uploads/core/shares"),
        (Method::POST, "uploads/core/shares"),
        (Method::DELETE, "shares/abc"),
    ] {
        refused(manager.call(method, path, json!({})).await, ErrorCode::NotFound, "not found");
    }
    for (query, says) in [
        ("state=done", "state"),
        ("sort=color", "sort"),
        ("limit=0", "1 to 500"),
        ("limit=501", "1 to 500"),
        ("after=x", "no place in a list"),
        ("after=1:../x", "no place in a list"),
        ("meta=x", "meta=KEY=VALUE"),
        ("device=a%20b", "device"),
        ("color=red", "color"),
    ] {
        refused(manager.get(&format!("uploads?{query}")).await, ErrorCode::BadRequest, says);
    }
}

#[tokio::test]
async fn a_file_comes_and_its_states_allow_what_they_should() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    manager.enrol("one").await;
    let put = async |path: &str, name: &str, replace: bool| {
        manager.post("uploads", json!({"device": "one", "path": path, "name": name, "replace": replace})).await
    };
    let cancel = async |name: &str| manager.post(&format!("uploads/{name}/cancel"), json!({})).await;
    let remove = async |name: &str| manager.call(Method::DELETE, &format!("uploads/{name}"), Value::Null).await;
    let content = "uploads/core/content";

    // Unnamed, it is called by its device and path.
    let unnamed = manager.post("uploads", json!({"device": "one", "path": "/say/hello"})).await.unwrap();
    assert_eq!(unnamed["name"], "one-hello");
    manager.until("one-hello", "completed").await;
    remove("one-hello").await.unwrap();

    put("/hang", "core", false).await.unwrap();
    let view = manager.until("core", "in_progress").await;
    assert_eq!((&view["by"], &view["path"], &view["device"]), (&json!("admin"), &json!("/hang"), &json!("one")));
    refused(remove("core").await, ErrorCode::Conflict, "robo files cancel core");
    refused(put("/say/x", "core", false).await, ErrorCode::NameTaken, "in_progress");
    refused(put("/say/x", "core", true).await, ErrorCode::NameTaken, "in_progress");
    refused(manager.get(content).await, ErrorCode::Conflict, "in_progress");
    refused(manager.post("uploads/core/shares", json!({})).await, ErrorCode::Conflict, "in_progress");
    assert_eq!(cancel("core").await.unwrap()["state"], "cancelled");
    refused(cancel("core").await, ErrorCode::Conflict, "not in progress: it is cancelled");
    assert_eq!(manager.get("uploads/core").await.unwrap()["error"], "cancelled by admin");

    // The next one of the same device has its turn; a file in the place of another is told to be.
    refused(put("/say/hello there", "core", false).await, ErrorCode::NameTaken, "--replace");
    put("/say/hello there", "core", true).await.unwrap();
    let view = manager.until("core", "completed").await;
    assert_eq!((&view["total"], &view["sent"]), (&json!(11), &json!(11)), "{view}");
    assert_eq!(view["sha256"], hash_of("hello there"));
    refused(cancel("core").await, ErrorCode::Conflict, "not in progress: it is completed");
    let (status, whole) = manager.content(content, None).await;
    assert_eq!((status, text(whole).await.as_str()), (StatusCode::OK, "hello there"));
    let (status, part) = manager.content(content, Some("bytes=6-7")).await;
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 6-7/11");
    assert_eq!((status, text(part).await.as_str()), (StatusCode::PARTIAL_CONTENT, "th"));
    assert_eq!(manager.content(content, Some("bytes=11-")).await.0, StatusCode::RANGE_NOT_SATISFIABLE);

    put("/none", "lost", false).await.unwrap();
    let view = manager.until("lost", "failed").await;
    assert!(view["error"].as_str().unwrap().contains("there is no such file"), "{view}");
    put("/say/again", "core", true).await.unwrap();
    manager.until("core", "completed").await;
    assert_eq!(text(manager.content(content, None).await.1).await, "again");
    remove("core").await.unwrap();
    remove("lost").await.unwrap();
    refused(remove("core").await, ErrorCode::NotFound, "not found");
    let left = std::fs::read_dir(manager.data.path().join("uploads")).unwrap().count();
    assert_eq!(left, 0, "what is deleted is not on the disk");
}

#[tokio::test]
async fn what_nobody_waits_for_is_removed_at_the_start_and_the_rest_goes_on() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let folder = manager.data.path().join("uploads");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ffff"), "orphan").unwrap();
    std::fs::write(folder.join("ffff.part"), "orphan").unwrap();
    manager.post("uploads", json!({"device": "one", "path": "/say/hi", "name": "core"})).await.unwrap();
    let record = manager.service.store().open_uploads().await.unwrap().remove(0);
    // It was on its way when the manager was killed.
    assert!(manager.service.store().begin_upload(&record.id).await.unwrap());
    assert_eq!(manager.get("uploads/core").await.unwrap()["state"], "in_progress");
    manager.uploads.resume().await.unwrap();
    manager.until("core", "completed").await;
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [record.id.as_str()]);
}

#[tokio::test]
async fn files_are_sorted_filtered_and_told_in_pages() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    manager.enrol("one").await;
    manager.enrol("two").await;
    for (device, name, text, run) in
        [("one", "b", "xxx", "1"), ("two", "a", "x", "1"), ("one", "d", "xxxx", "2"), ("two", "c", "xx", "1")]
    {
        let meta = json!({"run": run, "site": device});
        let asked = json!({"device": device, "name": name, "path": format!("/say/{text}"), "meta": meta});
        manager.post("uploads", asked).await.unwrap();
        manager.until(name, "completed").await;
    }
    manager.post("uploads", json!({"device": "one", "name": "e", "path": "/away"})).await.unwrap();
    let list = async |query: &str| manager.get(&format!("uploads?{query}")).await.unwrap();
    assert_eq!(names(&list("").await), ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&list("sort=size").await), ["d", "b", "c", "a", "e"]);
    assert_eq!(names(&list("state=completed&device=one").await), ["b", "d"]);
    assert_eq!(names(&list("meta=run%3D1").await), ["a", "b", "c"]);
    assert_eq!(names(&list("meta=run%3D1&meta=site%3Dtwo&sort=size").await), ["c", "a"]);
    assert_eq!(names(&list("meta=run%3D3").await), [] as [&str; 0]);
    for sort in ["name", "size", "time"] {
        let whole = list(&format!("sort={sort}")).await;
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = list(&format!("sort={sort}&limit=2{after}")).await;
            all.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(all, names(&whole), "{sort}");
    }
}

#[tokio::test]
async fn who_may_have_files_is_judged_by_their_devices() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    for (device, site) in [("one", "tokyo"), ("two", "osaka")] {
        manager.enrol(device).await;
        manager.label(device, site).await;
        manager.have(device, &format!("core-{device}"), "secret").await;
    }
    let viewer = manager.user("viewer", &[json!({"role": "viewer", "project": "default"})]).await;
    let tokyo = json!({"role": "operator", "project": "default", "selector": "site=tokyo"});
    let ann = manager.user("ann", &[tokyo]).await;
    let status = async |who: &Asked<'_>, method: Method, path: &str, body: Value| {
        who.response(method, path, body.to_string()).await.status().as_u16()
    };
    assert_eq!(names(&viewer.get("uploads").await.unwrap()), ["core-one", "core-two"]);
    assert_eq!(status(&viewer, Method::GET, "uploads/core-one/content", json!({})).await, 403);
    assert_eq!(status(&viewer, Method::GET, "uploads/core-one", json!({})).await, 200);
    assert_eq!(names(&ann.get("uploads").await.unwrap()), ["core-one"]);
    assert_eq!(status(&ann, Method::GET, "uploads/core-one/content", json!({})).await, 200);
    // What is not seen is not there.
    for (method, path) in [
        (Method::GET, "uploads/core-two"),
        (Method::GET, "uploads/core-two/content"),
        (Method::DELETE, "uploads/core-two"),
        (Method::POST, "uploads/core-two/cancel"),
        (Method::POST, "uploads/core-two/shares"),
        (Method::GET, "uploads/core-two/shares"),
    ] {
        assert_eq!(status(&ann, method, path, json!({})).await, 404, "{path}");
    }
    let link = manager.post("uploads/core-two/shares", json!({})).await.unwrap();
    let path = format!("shares/{}", link["id"].as_str().unwrap());
    assert_eq!(status(&ann, Method::DELETE, &path, json!({})).await, 404);
    let put = json!({"device": "two", "path": "/x"});
    refused(ann.call(Method::POST, "uploads", put).await, ErrorCode::NotFound, "`two`");
    // Nor is another device's file put out of its place.
    let over = json!({"device": "one", "path": "/say/x", "name": "core-two", "replace": true});
    refused(ann.call(Method::POST, "uploads", over).await, ErrorCode::NotFound, "core-two");

    // The device goes, and the file stays: the project's from now on.
    manager.call(Method::DELETE, "devices/one", Value::Null).await.unwrap();
    assert_eq!(names(&ann.get("uploads").await.unwrap()), [] as [&str; 0]);
    assert_eq!(names(&viewer.get("uploads?device=one").await.unwrap()), ["core-one"]);
    assert_eq!(text(manager.content("uploads/core-one/content", None).await.1).await, "secret");
}

#[tokio::test]
async fn a_device_with_a_user_of_its_own_takes_the_right_to_root() {
    let manager = Manager::start().await;
    let id = manager.enrol("one").await;
    let facts = Facts { exec_user: "robot".into(), agent_user: "root".into(), ..Facts::default() };
    manager.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let put = json!({"device": "one", "path": "/etc/shadow"});
    refused(ann.call(Method::POST, "uploads", put.clone()).await, ErrorCode::Forbidden, "`root`");
    assert_eq!(manager.get("uploads").await.unwrap()["uploads"], json!([]));
    manager.post("uploads", put).await.unwrap();
}

#[tokio::test]
async fn rights_that_were_taken_away_end_what_is_to_come() {
    let manager = Manager::start().await;
    manager.enrol("one").await;
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    ann.call(Method::POST, "uploads", json!({"device": "one", "path": "/hang", "name": "a"})).await.unwrap();
    manager.uploads.resume().await.unwrap();
    manager.until("a", "in_progress").await;
    manager.call(Method::DELETE, "/v1/users/ann", Value::Null).await.unwrap();
    let view = manager.until("a", "failed").await;
    assert!(view["error"].as_str().unwrap().contains("`ann` may not do that there any more"), "{view}");
}

#[tokio::test]
async fn a_link_dies_to_the_second_and_tells_nothing() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    manager.enrol("one").await;
    manager.have("one", "core", "hello there").await;
    let share = async |body: Value| manager.post("uploads/core/shares", body).await;
    refused(share(json!({"ttl": 0})).await, ErrorCode::BadRequest, "90days");
    refused(share(json!({"ttl": MAX_SHARE_TTL.0 + 1})).await, ErrorCode::BadRequest, "90days");
    refused(share(json!({"days": 7})).await, ErrorCode::BadRequest, "days");
    let link = share(json!({})).await.unwrap();
    let (path, ends) = (link["path"].as_str().unwrap().to_owned(), link["expires_at"].as_u64().unwrap());
    assert_eq!(ends - link["created_at"].as_u64().unwrap(), SHARE_TTL.0);
    let secret = path.strip_prefix("/v1/shared/").unwrap();
    let opens = async |at: u64| manager.uploads.opens(secret, UnixMillis(at)).await.unwrap().is_some();
    assert!(opens(ends - 1).await && !opens(ends).await && !opens(ends + 1000).await);
    let list = manager.get("uploads/core/shares").await.unwrap();
    assert!(!list.to_string().contains(secret) && list[0]["id"] == link["id"], "{list}");
    let stored = std::fs::read(manager.data.path().join("robo.db-wal")).unwrap();
    let is_stored = |needle: &str| stored.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(is_stored(&token::hash(secret)) && !is_stored(secret), "of the secret only its hash is known");

    let (status, whole) = manager.content(&path, None).await;
    assert_eq!(whole.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"core\"");
    assert_eq!(whole.headers()[header::CACHE_CONTROL], "private, no-store");
    assert_eq!((status, text(whole).await.as_str()), (StatusCode::OK, "hello there"));
    let (status, part) = manager.content(&path, Some("bytes=6-")).await;
    assert_eq!((status, text(part).await.as_str()), (StatusCode::PARTIAL_CONTENT, "there"));

    // The device goes, and the link stays.
    manager.call(Method::DELETE, "devices/one", Value::Null).await.unwrap();
    assert_eq!(manager.content(&path, None).await.0, StatusCode::OK);
    let lines = manager.audit().await;
    let used: Vec<_> = lines.iter().filter(|line| line["verb"] == "shared").collect();
    assert_eq!(used.len(), 1, "what is used again is counted");
    assert_eq!(used[0]["outcome"], "allowed");
    assert!(used[0]["thing"].as_str().unwrap().starts_with("file core by link "), "{used:?}");

    manager.call(Method::DELETE, &format!("shares/{}", link["id"].as_str().unwrap()), Value::Null).await.unwrap();
    let told = async |path: &str| {
        let problem = answer(manager.content(path, None).await.1).await.unwrap_err();
        (problem.code, problem.title, problem.detail, problem.help)
    };
    let never = told(&format!("/v1/shared/{}", "0".repeat(64))).await;
    assert_eq!(told(&path).await, never, "a dead link is told as a wrong one");
    assert_eq!(never, (ErrorCode::NotFound, "there is nothing here".to_owned(), None, None));
    assert_eq!(told(&format!("/v1/shared/{}", "x".repeat(5000))).await, never);
    for _ in 0..MAX_SHARES {
        share(json!({"ttl": 60_000})).await.unwrap();
    }
    refused(share(json!({})).await, ErrorCode::TooLarge, "100 links");
}

#[tokio::test]
async fn who_tries_links_is_slowed_down() {
    let manager = Manager::start().await;
    let address = PeerAddress { ip: IpAddr::from([10, 0, 0, 1]), written: "10.0.0.1".into() };
    let knock = async |address: &PeerAddress| {
        let mut request = Request::get("/v1/shared/wrong").body(Body::empty()).unwrap();
        request.extensions_mut().insert(address.clone());
        manager.send(request).await.status()
    };
    let mut told = Vec::new();
    for _ in 0..120 {
        told.push(knock(&address).await);
    }
    assert_eq!(told[0], StatusCode::NOT_FOUND);
    assert!(told.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count() > 60, "{told:?}");
    let other = PeerAddress { ip: IpAddr::from([10, 0, 0, 2]), written: "10.0.0.2".into() };
    assert_eq!(knock(&other).await, StatusCode::NOT_FOUND, "others are as before");
    let lines = manager.audit().await;
    assert_eq!(lines.iter().filter(|line| line["verb"] == "shared").count(), 2, "one line for each address");
}

#[tokio::test]
async fn bounds_are_told_with_what_to_do() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    manager.uploads.set_max(10);
    manager.enrol("one").await;
    manager.have("one", "a", "12345").await;
    // It is known only when the device says it.
    manager.post("uploads", json!({"device": "one", "name": "b", "path": "/say/123456"})).await.unwrap();
    let view = manager.until("b", "failed").await;
    let why = view["error"].as_str().unwrap();
    assert!(why.contains("5 of the 10 bytes") && why.contains("--files-max"), "{why}");
    manager.have("one", "c", "12345").await;
    let full = manager.post("uploads", json!({"device": "one", "name": "d", "path": "/say/1"})).await;
    refused(full, ErrorCode::TooLarge, "robo files delete");
    manager.call(Method::DELETE, "uploads/a", Value::Null).await.unwrap();
    manager.have("one", "d", "1").await;
    manager.uploads.set_max(1 << 20);
    for n in 0..MAX_OPEN_UPLOADS {
        manager.post("uploads", json!({"device": "one", "path": format!("/away/{n}")})).await.unwrap();
    }
    let more = manager.post("uploads", json!({"device": "one", "path": "/away/more"})).await;
    refused(more, ErrorCode::TooLarge, "100 files to send");
}

#[tokio::test]
async fn a_device_sends_into_its_own_project_and_a_wish_told_twice_is_one() {
    let manager = Manager::start().await;
    manager.uploads.resume().await.unwrap();
    let id = manager.enrol("one").await;
    let wish = async |key: &str, body: Value| {
        let mut request = Request::post("/v1/agent/uploads").body(Body::from(body.to_string())).unwrap();
        let peer = Peer { device: id.clone(), key_fingerprint: key.to_owned(), certificate_ends: LATER };
        request.extensions_mut().insert(PeerDevice(peer));
        answer(manager.send(request).await).await
    };
    let core = json!({"id": "w1", "path": "/say/hi", "meta": {"run": "7"}});
    assert_eq!(wish("one", core.clone()).await.unwrap(), "one-hi");
    assert_eq!(wish("one", core.clone()).await.unwrap(), "one-hi");
    let view = manager.until("one-hi", "completed").await;
    assert_eq!((&view["by"], &view["meta"]), (&json!("device one"), &json!({"run": "7"})));
    assert_eq!(wish("one", core).await.unwrap(), "one-hi", "also when it is here already");
    // Another wish of the same name is another file.
    assert_eq!(wish("one", json!({"id": "w2", "path": "/say/ho", "name": "one-hi"})).await.unwrap(), "one-hi-2");
    manager.until("one-hi-2", "completed").await;
    assert_eq!(names(&manager.get("uploads").await.unwrap()), ["one-hi", "one-hi-2"]);

    refused(wish("stolen", json!({"id": "w3", "path": "/x"})).await, ErrorCode::Unauthorized, "key");
    for bad in [json!({}), json!({"id": "", "path": "/x"}), json!({"id": "a/b", "path": "/x"})] {
        refused(wish("one", bad).await, ErrorCode::BadRequest, "");
    }
    refused(wish("one", json!({"id": "x".repeat(65), "path": "/x"})).await, ErrorCode::BadRequest, "64");
    refused(wish("one", json!({"id": "w4", "path": "/x/"})).await, ErrorCode::BadRequest, "folder");
    refused(wish("one", json!({"id": "w4", "path": "/x", "name": "../x"})).await, ErrorCode::BadRequest, "");
    manager.uploads.set_max(4);
    refused(wish("one", json!({"id": "w5", "path": "/say/x"})).await, ErrorCode::TooLarge, "4 of the 4");
}
