//! The example shop, from `robo up` to `robo down`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Started, User, root};
use rustix::process::Signal;
use serde_json::Value;

use super::{events, instance, is_as_wished, last_event, pid, processes, signal, state, until_as_wished};

const SHOP: &str = "examples/shop/app.graph";
const DB: &str = "/database/db";
const BALANCER: &str = "/balancer/lb";
const WEBS: [&str; 2] = ["/web-1/web", "/web-2/web"];

#[test]
fn the_shop() {
    let user = User::new();
    let up = user.run(&["up", "--detach", SHOP]).expect(0);
    assert!(is_as_wished(&user));
    page_goes_through_all(&up.out, &up.err);
    what_is_needed_starts_first(&user);
    the_database_takes_the_web_servers_along(&user);
    a_killed_web_server_comes_back(&user);
    assert!(user.run(&["apply", "--yes", SHOP]).expect(0).err.contains("Nothing changes"));
    user.run(&["plan", SHOP]).expect(0);
    an_edit_does_what_the_plan_says(&user);
    commands_run_on_devices(&user);
    assert!(user.run(&["logs", WEBS[0]]).expect(0).out.contains("listens on"));

    assert!(!processes(&user.state()).is_empty());
    user.run(&["down"]).expect(0);
    assert_eq!(processes(&user.state()), [], "left behind by `robo down`");
}

fn page_goes_through_all(out: &str, err: &str) {
    let url = out.split_whitespace().chain(err.split_whitespace()).find(|word| word.starts_with("http://"));
    let url = url.unwrap_or_else(|| panic!("no URL in:\n{out}\n{err}"));
    let page = get(url);
    let products = fs::read_to_string(root().join("examples/shop/Database/files/products.json")).unwrap();
    let products: Value = serde_json::from_str(&products).unwrap();
    let product = products.pointer("/0/name").and_then(Value::as_str).expect("a first product");
    for part in ["200 OK", "Welcome to the shop", product, "/web-"] {
        assert!(page.contains(part), "`{part}` is not in:\n{page}");
    }
}

fn get(url: &str) -> String {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// The place of the first event in which the instance comes into the state.
fn came(events: &[Value], path: &str, state: &str) -> usize {
    let place = events.iter().position(|e| e["path"] == path && e["to"] == state);
    place.unwrap_or_else(|| panic!("{path} never came into {state}"))
}

fn what_is_needed_starts_first(user: &User) {
    let events = events(user, 0);
    for web in WEBS {
        assert!(came(&events, DB, "DEPLOYED_STARTED") < came(&events, web, "STARTING"), "{events:#?}");
    }
}

fn the_database_takes_the_web_servers_along(user: &User) {
    let before = last_event(user);
    let balancer = pid(&instance(user, BALANCER));
    user.run(&["stop", DB]).expect(0);
    for web in WEBS {
        eventually_blocking("a web server waits", || (state(user, web) == "UNRESOLVED").then_some(()));
    }
    eventually_blocking("the balancer is updated", || {
        // One update may tell of both.
        let updated = |e: &&Value| e["path"] == BALANCER && e["kind"] == "updated";
        let told: String = events(user, before).iter().filter(updated).map(|e| e["changes"].to_string()).collect();
        WEBS.iter().all(|web| told.contains(web)).then_some(())
    });
    user.run(&["start", DB]).expect(0);
    until_as_wished(user);
    assert_eq!(pid(&instance(user, BALANCER)), balancer, "the balancer was restarted");
}

fn a_killed_web_server_comes_back(user: &User) {
    let before = last_event(user);
    let old = instance(user, WEBS[0]);
    signal(pid(&old), Signal::KILL);
    let new = eventually_blocking("the web server is back", || {
        let new = instance(user, WEBS[0]);
        (new["report"]["restarts"] != old["report"]["restarts"] && is_as_wished(user)).then_some(new)
    });
    assert_eq!(new["report"]["restarts"].as_u64(), old["report"]["restarts"].as_u64().map(|n| n + 1));
    let new = instance(user, WEBS[0]);
    assert_ne!(pid(&new), pid(&old));
    let events = events(user, before);
    assert!(events.iter().any(|e| e["kind"] == "failed" && e["path"] == WEBS[0]), "{events:#?}");
}

fn an_edit_does_what_the_plan_says(user: &User) {
    let copy = user.folder.path().join("copy");
    copy_folder(&root().join("examples/shop"), &copy);
    let graph = copy.join("app.graph");
    let text = fs::read_to_string(&graph).unwrap();
    fs::write(&graph, text.replace("port = 5984", "port = 5985")).unwrap();
    let graph = graph.to_str().unwrap();
    let plan = user.run(&["plan", graph]).expect(2).out;
    for part in ["/database/db", "restarts", "5984 → 5985", "/web-1/web", "/web-2/web", "sees Database.port"] {
        assert!(plan.contains(part), "`{part}` is not in:\n{plan}");
    }
    let planned = user.run(&["plan", graph, "-o", "json"]).expect(2).json();
    let changed: Vec<_> = planned["changes"].as_array().unwrap().iter().map(|c| c["path"].clone()).collect();
    assert_eq!(changed, [DB]);

    let (before, paths) = (last_event(user), [BALANCER, WEBS[0], WEBS[1], "/worker/worker"]);
    let old = paths.map(|path| pid(&instance(user, path)));
    user.run(&["apply", "--yes", graph]).expect(0);
    let told = user.run(&["status", "--check"]);
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    let new = paths.map(|path| pid(&instance(user, path)));
    let kept: Vec<&str> = paths.iter().enumerate().filter(|(i, _)| old[*i] == new[*i]).map(|(_, path)| *path).collect();
    assert_eq!(kept, [BALANCER], "the balancer alone goes on running");
    assert_eq!(instance(user, DB)["report"]["exports"]["Database.port"], "5985");
    let events = events(user, before);
    for event in events.iter().filter(|e| e["kind"] == "state") {
        let path = event["path"].as_str().unwrap();
        assert!(path == DB || plan.contains(&format!("↻ {path}")), "not in the plan: {event}\n{plan}");
    }
    assert!(events.iter().any(|e| e["kind"] == "updated" && e["path"] == BALANCER), "{events:#?}");
    user.run(&["plan", graph]).expect(0);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

fn commands_run_on_devices(user: &User) {
    let command = ["--", "sh", "-c", "echo out; echo err >&2; exit 7"];
    let all = user.run(&[&["exec", "--all"], &command[..]].concat()).expect(3);
    let count = |text: &str, part: &str| text.lines().filter(|line| line.ends_with(part)).count();
    assert_eq!((count(&all.out, "| out"), count(&all.out, "err")), (5, 0), "{all:?}");
    assert_eq!((count(&all.err, "| err"), count(&all.err, "out"), count(&all.err, "exit 7")), (5, 0, 5), "{all:?}");
    let one = user.run(&[&["exec", "web-1"], &command[..]].concat()).expect(7);
    assert_eq!(one.out, "out\n");
    assert!(one.err.starts_with("err\n"), "{one:?}");

    let input = user.folder.path().join("input");
    let text = "line\n".repeat(100_000);
    fs::write(&input, &text).unwrap();
    let mut cat = user.command();
    let cat = cat.args(["exec", "web-1", "--", "cat"]).stdin(fs::File::open(&input).unwrap());
    assert!(Started::start(cat).wait().expect(0).out == text, "what went in comes out");
}
