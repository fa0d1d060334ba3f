//! The backup of logs with the real programs: no manager, kills, a full disk, and settings that are none.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Started, robo_agent};
use serde_json::Value;

use super::faults::lab::Machine;
use super::{Lab, application};

/// Kills while the program prints.
const KILLS: usize = 3;

/// Lines of one part of what is printed; a part takes about a second.
const PART: usize = 5_000;

/// Largest file, in bytes, and how many there may be.
const SIZE: u64 = 1_000_000;
const KEEP: u64 = 9;

/// What tells an agent to back up its logs in `folder`.
fn settings(folder: &Path, keep: u64) -> Vec<(String, String)> {
    let set = |name: &str, value: String| (name.to_owned(), value);
    vec![
        set("ROBO_LOG_BACKUP", folder.to_str().unwrap().to_owned()),
        set("ROBO_LOG_BACKUP_SIZE", format!("{SIZE}B")),
        set("ROBO_LOG_BACKUP_KEEP", keep.to_string()),
    ]
}

/// A host `one` with a program that counts, a part for each file `part-N` that is there.
fn graph(lab: &Lab) -> String {
    let (count, part) = (lab.path("count.sh"), lab.path("part-"));
    let script = format!(
        "i=0; while :; do\n\
         if [ $((i % {PART})) = 0 ]; then until [ -e {part}$((i / {PART})) ]; do sleep 0.01; done; fi\n\
         i=$((i + 1)); echo \"line $i and some more, so that files get full\"; [ $((i % 50)) = 0 ] && sleep 0.01; done\n"
    );
    fs::write(&count, script).unwrap();
    let graph = format!(
        "application app {{\n\tversion: 1.0.0;\n}}\nMachine {{\n\tinstaller: target;\n\tchildren: Count;\n}}\n\
         Count {{\n\tinstaller: process;\n\trun: sh {count};\n}}\n\
         instance of Machine {{\n\tname: one;\n\tinstance of Count {{\n\t\tname: count;\n\t}}\n}}\n"
    );
    application(&lab.user, &graph, &[])
}

fn line(number: usize) -> String {
    format!("line {number} and some more, so that files get full")
}

/// The files in order, as their names say it: archives by time, and then the one that is written to.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|all| all.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    let mut files = entries.unwrap_or_default();
    files.sort_by_key(|path| (path.ends_with("robo-logs.jsonl"), path.clone()));
    files
}

/// All of it; what is not whole yet is left out.
fn kept(folder: &Path) -> String {
    let text: String = files(folder).iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    text.rsplit_once('\n').map(|(whole, _)| format!("{whole}\n")).unwrap_or_default()
}

fn until_kept(folder: &Path, keep: u64, number: usize) {
    let wished = format!("\"{}\"", line(number));
    eventually_blocking("a line is in the backup", || {
        let bytes: u64 = files(folder).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        assert!(bytes <= SIZE * keep, "{bytes} bytes");
        kept(folder).contains(&wished).then_some(())
    });
}

/// Each line is there once, in order, as JSON.
fn is_whole(folder: &Path, lines: usize) {
    let kept = kept(folder);
    let mut count = 0;
    for text in kept.lines() {
        count += 1;
        let kept: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(kept["text"], line(count), "after {} lines", count - 1);
        assert_eq!((&kept["application"], &kept["instance"]), (&"app".into(), &"/one/count".into()));
        assert!(kept["at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{kept}");
    }
    assert_eq!(count, lines);
}

#[test]
fn logs_are_kept_without_a_manager_and_over_kills_each_line_once() {
    let mut lab = Lab::new();
    let (folder, graph) = (PathBuf::from(lab.path("backup/logs")), graph(&lab));
    let settings = settings(&folder, KEEP);
    let allow = |lab: &Lab, part: usize| fs::write(lab.path(&format!("part-{part}")), "").unwrap();
    let mut machine = Machine::start_with(&lab, "one", &lab.address.to_string(), &settings);
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    allow(&lab, 0);
    until_kept(&folder, KEEP, PART);
    lab.manager.kill();
    allow(&lab, 1);
    until_kept(&folder, KEEP, 2 * PART);
    for kill in 1..=KILLS {
        let before = (kill + 1) * PART;
        allow(&lab, kill + 1);
        until_kept(&folder, KEEP, before + 10);
        machine.agent.kill();
        machine.again_alone(&lab, &settings);
        until_kept(&folder, KEEP, before + PART);
    }
    is_whole(&folder, (KILLS + 2) * PART);
    assert!(files(&folder).len() > 2, "{:?}", files(&folder));
}

/// A small file system, gone with its owner.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_backup_on_a_full_disk_is_told_once_and_goes_on() {
    let lab = Lab::new();
    let folder = PathBuf::from(lab.path("disk"));
    fs::create_dir(&folder).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m,mode=700", "robo-test"]).arg(&folder);
    if !mount.output().is_ok_and(|output| output.status.success()) {
        println!("no file system can be mounted here: not tried");
        return;
    }
    let _mounted = Small(folder.clone());
    let (graph, backup) = (graph(&lab), folder.join("backup"));
    let machine = Machine::start_with(&lab, "one", &lab.address.to_string(), &settings(&backup, 2));
    fs::write(lab.path("part-0"), "").unwrap();
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    until_kept(&backup, 2, PART);
    let mut fill = fs::File::create(folder.join("fill")).unwrap();
    while fill.write_all(&[1; 4096]).is_ok() {}
    fs::write(lab.path("part-1"), "").unwrap();
    let told = || machine.log().matches("logs cannot be copied").count();
    eventually_blocking("it is told", || (told() > 0).then_some(()));
    let health = || lab.user.run(&["device", "inspect", "one", "-o", "json"]).expect(0).out;
    assert!(health().contains("log backup") && health().contains("No space left"), "{}", health());
    fill.set_len(0).unwrap();
    until_kept(&backup, 2, 2 * PART);
    is_whole(&backup, 2 * PART);
    assert_eq!(told(), 1, "{}", machine.log());
}

#[test]
fn settings_of_a_backup_that_are_none_are_refused_at_the_start() {
    let state = tempfile::tempdir().unwrap();
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(robo_agent());
        command.args(["--manager", "127.0.0.1:9", "--state"]).arg(state.path()).args(words).env_clear();
        Started::start(command.envs(variables.iter().copied())).wait()
    };
    for (words, variables, says) in [
        (&["--log-backup", "logs"][..], &[][..], "no absolute path"),
        (&["--log-backup", "/b", "--log-backup-size", "10kB"], &[], "not from 1MB to 1GB"),
        (&["--log-backup", "/b", "--log-backup-every", "30m"], &[], "not from 1h to 30days"),
        (&["--log-backup", "/b", "--log-backup-keep", "1000"], &[], "from 1 to 100"),
        (&["--log-backup-keep", "5"], &[], "--log-backup DIR"),
        (&[], &[("ROBO_LOG_BACKUP", "logs")], "ROBO_LOG_BACKUP: `logs` is no absolute path"),
        (&["--log-backup", "/b"], &[("ROBO_LOG_BACKUP_EVERY", "30m")], "ROBO_LOG_BACKUP_EVERY: `30m` is not from"),
    ] {
        let run = run(words, variables);
        assert!(run.code != 0 && run.err.contains(says), "{words:?} {variables:?}: {run:?}");
    }
}

#[test]
fn files_of_logs_are_listed_for_each_device() {
    let lab = Lab::new();
    let (backup, graph) = (PathBuf::from(lab.path("backup")), graph(&lab));
    let machine = Machine::start_with(&lab, "one", &lab.address.to_string(), &settings(&backup, 2));
    let other = Machine::start(&lab, "two", &lab.address.to_string());
    fs::write(lab.path("part-0"), "").unwrap();
    lab.user.run(&["apply", "--yes", &graph]).expect(0);
    until_kept(&backup, 2, PART);
    let files = |more: &[&str]| lab.user.run(&[&["logs", "--files", "--on"], more].concat());
    let all = files(&["one", "two", "-o", "json"]).expect(0).json();
    let all = all.as_array().unwrap();
    let of = |device: &str, of: &str| {
        let found = all.iter().filter(|file| file["device"] == device && file["of"] == of);
        let [file] = found.collect::<Vec<_>>()[..] else { panic!("{of} of {device}: {all:#?}") };
        let path = Path::new(file["path"].as_str().unwrap());
        assert!(file["size"].as_u64().unwrap() <= path.metadata().unwrap().len(), "{file}");
        assert!(file["changed_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{file}");
        path.to_owned()
    };
    assert_eq!(of("one", "agent"), Path::new(&lab.path("one/log/agent.log")));
    assert_eq!(of("two", "agent"), Path::new(&lab.path("two/log/agent.log")));
    assert_eq!(of("one", "backup"), backup.join("robo-logs.jsonl"));
    let output = of("one", "app/one/count");
    let table = files(&["one"]).expect(0).out;
    assert!(table.contains("app/one/count") && table.contains(output.to_str().unwrap()), "{table}");
    // The names are what `robo cp` takes.
    let names = files(&["one", "-o", "name"]).expect(0).out;
    let name = names.lines().find(|name| name.ends_with("output.log")).unwrap();
    lab.user.run(&["cp", name, &lab.path("copied")]).expect(0);
    assert_eq!(fs::read(lab.path("copied")).unwrap(), fs::read(output).unwrap());

    drop(other);
    eventually_blocking("it is offline", || (files(&["two"]).code != 0).then_some(()));
    let some = files(&["one", "two"]).expect(3);
    assert!(some.out.contains("app/one/count") && some.err.contains("`two` is not connected"), "{some:?}");
    lab.user.run(&["device", "switch", "logs=off", "one"]).expect(0);
    let off = files(&["one"]);
    assert!(off.code != 0 && off.err.contains("`logs` is switched off"), "{off:?}");
    drop(machine);
}
