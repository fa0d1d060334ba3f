//! `robo device collect` and `robo-agent collect` with the real programs: what is in a bundle, that no secret is, cuts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;
use robo_tests::eventually_blocking;
use robo_tests::programs::robo_agent;
use robo_tests::proxy::{Mode, Proxy};
use serde_json::Value;

use super::faults::lab::Machine;
use super::{Lab, application, until_as_wished};

/// None of these is to be found in a bundle.
const SECRETS: [&str; 4] = ["swordfish-env", "swordfish-said", "swordfish-flag", "swordfish-url"];

/// The files of a bundle by their names.
fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(path).unwrap()));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().strip_prefix("robo-bundle").unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    files.collect()
}

fn has_no_secret(files: &BTreeMap<String, String>, others: &[String]) {
    for (name, text) in files {
        for secret in SECRETS.into_iter().chain(others.iter().map(String::as_str)) {
            assert!(!text.contains(secret), "{secret} in {name}: {text}");
        }
    }
}

/// Adds lines to a log that hardly shrink, so that there is time to cut a bundle with them.
fn noise(log: &Path) {
    let mut file = fs::File::options().append(true).open(log).unwrap();
    let line = || format!("{:016x} {:016x} {:016x}\n", fastrand::u64(..), fastrand::u64(..), fastrand::u64(..));
    let lines: String = std::iter::repeat_with(line).take(14_000).collect();
    file.write_all(lines.as_bytes()).unwrap();
}

/// A host `one` with a program that knows secrets, and says them.
fn graph(lab: &Lab) -> String {
    let script = lab.path("said.sh");
    fs::write(&script, "echo all is well; echo I have $DB_PASSWORD; echo token=swordfish-said\nexec sleep 1000\n")
        .unwrap();
    let graph = format!(
        "application app {{\n\tversion: 1.0.0;\n}}\nMachine {{\n\tinstaller: target;\n\tchildren: Web;\n}}\n\
         Web {{\n\tinstaller: process;\n\trun: sh {script} --api-key swordfish-flag;\n\tenv.DB_PASSWORD: swordfish-env;\n\
         \tenv.URL: amqp://me:swordfish-url@host;\n}}\n\
         instance of Machine {{\n\tname: one;\n\tinstance of Web {{\n\t\tname: web;\n\t}}\n}}\n"
    );
    application(&lab.user, &graph, &[])
}

#[test]
fn a_bundle_has_what_helps_and_no_secret() {
    let lab = Lab::new();
    let machine = Machine::start(&lab, "one", &lab.address.to_string());
    let graph = graph(&lab);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    until_as_wished(&lab.user);
    let said = || lab.user.run(&["logs", "/one/web"]).out.contains("token=").then_some(());
    eventually_blocking("it has said all", said);
    // What identifies device and user.
    let key: String = fs::read_dir(Path::new(&lab.path("one")).join("identity"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .filter(|text| text.contains("PRIVATE KEY"))
        .collect();
    let mut others: Vec<String> = key.lines().filter(|line| line.len() > 40).map(str::to_owned).collect();
    assert!(!others.is_empty(), "no key was found");
    others.push(fs::read_to_string(lab.path("one.token")).unwrap().trim().to_owned());

    let file = lab.path("fault.tar.gz");
    let collected = lab.user.run(&["device", "collect", "one", "-O", &file, "-o", "json"]).expect(0).json();
    assert_eq!((&collected["device"], &collected["file"]), (&"one".into(), &Value::from(file.as_str())));
    assert_eq!(collected["bytes"], fs::metadata(&file).unwrap().len());
    let files = unpacked(Path::new(&file));
    has_no_secret(&files, &others);
    let has = |name: &str, what: &str| assert!(files[name].contains(what), "{what} in {name}: {}", files[name]);
    has("doctor.txt", "All is well.");
    has("log/agent.log", "link up");
    has("log/instances/app/one/web/output.log", "all is well\nI have [redacted]\ntoken=[redacted]\n");
    has("instances.jsonl", "\"path\":\"/one/web\"");
    has("instances.jsonl", "DEPLOYED_STARTED");
    has("keepers.jsonl", "DB_PASSWORD");
    has("facts.json", "\"hostname\"");
    has("MANIFEST", "  log/agent.log  ");
    let report = lab.path("report.tar.gz");
    lab.user.run(&["device", "report", "one", "-O", &report, "--without-logs"]).expect(0);
    assert!(!unpacked(Path::new(&report)).keys().any(|name| name.contains("instances/")));

    // On the device, while its agent runs, and without any link.
    let local = |file: &str| {
        let mut command = Command::new(robo_agent());
        command.args(["collect", "--state", &lab.path("one"), "-O", file]).env_clear();
        command.output().unwrap()
    };
    let own = lab.path("own.tar.gz");
    assert!(local(&own).status.success());
    let files = unpacked(Path::new(&own));
    has_no_secret(&files, &others);
    assert!(files["doctor.txt"].contains("All is well."), "{}", files["doctor.txt"]);
    let nowhere = local("/nowhere/at/all.tar.gz");
    assert!(!nowhere.status.success() && String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere/at/all.tar.gz"));

    let audit = lab.user.run(&["audit", "list", "-o", "json"]).expect(0).out;
    assert!(audit.contains("a bundle without logs"), "{audit}");
    for (bad, code, says) in [
        (&["none"][..], 1, "none"),
        (&["one", "-O", "/nowhere/at/all"], 1, "/nowhere/at/all.part cannot be written"),
        (&["one", "-O", &lab.path("one")], 1, "cannot be written"),
    ] {
        let run = lab.user.run(&[&["device", "collect"], bad].concat()).expect(code);
        assert!(run.err.contains(says), "{bad:?}: {}", run.err);
    }
    drop(machine);
    let offline = lab.user.run(&["device", "collect", "one", "-O", &file]).expect(3);
    assert!(offline.err.contains("one is offline") && offline.err.contains("robo-agent collect"), "{}", offline.err);
    assert!(Path::new(&file).exists(), "the old one stays");
    let parts = fs::read_dir(lab.user.folder.path()).unwrap().filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "part"))
    });
    assert_eq!(parts.count(), 0);
}

#[test]
fn who_is_cut_asks_again() {
    let lab = Lab::new();
    let way = Proxy::start(lab.address);
    let link = Proxy::start(lab.address);
    let _machine = Machine::start(&lab, "one", &link.address.to_string());
    let (url, ca, token) =
        (format!("https://{}", way.address), lab.path("manager/ca.pem"), lab.path("manager/admin.token"));
    lab.user.run(&["context", "add", "way", "--url", &url, "--ca", &ca, "--token-file", &token]).expect(0);
    let log = Path::new(&lab.path("one")).join("log/agent.log");
    let file = lab.path("fault.tar.gz");
    let part = lab.path("fault.tar.gz.part");
    for cut in [&way, &link] {
        fs::remove_file(&file).ok();
        noise(&log);
        cut.set(Mode::Slow(500));
        let collecting = lab.user.start(&["--context", "way", "device", "collect", "one", "-O", &file]);
        let begun = || fs::metadata(&part).is_ok_and(|part| part.len() > 0).then_some(());
        eventually_blocking("something of it is there", begun);
        cut.cut();
        cut.set(Mode::Pass);
        let run = collecting.wait().expect(0);
        assert!(run.err.contains("asking again"), "{}", run.err);
        assert!(unpacked(Path::new(&file))["MANIFEST"].contains("log/agent.log"));
    }
}
