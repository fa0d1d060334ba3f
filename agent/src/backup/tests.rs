//! Whole backups: bounds, order, crashes, and what goes wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use robo_model::quantity::{Bytes, Millis, UnixMillis};
use serde_json::Value;

use super::set::{Bounds, Set, files};
use super::*;
use crate::keeper::output::Log;

/// As few bytes as a file may have.
const SMALLEST: u64 = 1_000_000;

fn options(folder: &Path, keep: usize) -> Options {
    Options { folder: folder.join("backup"), size: Bytes(SMALLEST), every: Millis::from_secs(3600), keep }
}

fn key(path: &str) -> InstanceKey {
    InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
}

/// A device with a folder for each of these instances, and their logs.
fn device<const N: usize>(folder: &Path, paths: [&str; N]) -> (Folders, [Log; N]) {
    let folders = Folders::new(folder.join("state"));
    folders.create().unwrap();
    let logs = paths.map(|path| {
        let instance = folders.instance(&key(path));
        instance.create(None).unwrap();
        Log::open(&instance.logs()).unwrap()
    });
    (folders, logs)
}

/// All lines that are in the backup, in order.
fn lines(folder: &Path) -> Vec<Value> {
    let all = files(folder).unwrap().into_iter().map(|file| fs::read_to_string(file).unwrap());
    let all = all.collect::<String>();
    assert!(all.is_empty() || all.ends_with('\n'));
    all.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The texts of each instance's lines, in order.
fn texts(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines(folder) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        texts.entry(text("instance")).or_default().push(text("text"));
    }
    texts
}

fn bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn until_copied(copyist: &mut Copyist) {
    while copyist.look(false).unwrap() == Found::More {}
}

#[test]
fn what_instances_print_is_there_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut one, mut two]) = device(folder.path(), ["/a/one", "/two 2"]);
    let options = options(folder.path(), 10);
    let before = crate::now();
    one.write(b"first \"quoted\"\nbad \xff byte\nno end").unwrap();
    two.write(format!("{}\n", "x".repeat(20_000)).as_bytes()).unwrap();
    let mut copyist = Copyist::new(folders.clone(), &options);
    until_copied(&mut copyist);
    let kept = lines(&options.folder);
    let of = |path: &str| kept.iter().filter(|line| line["instance"] == path).cloned().collect::<Vec<_>>();
    assert_eq!(of("/a/one")[0]["application"], "shop");
    assert_eq!(
        of("/a/one").iter().map(|line| &line["text"]).collect::<Vec<_>>(),
        ["first \"quoted\"", "bad \u{fffd} byte"]
    );
    assert_eq!(of("/two 2").iter().map(|line| line["cut"] == true).collect::<Vec<_>>(), [true, false]);
    assert!(kept.iter().all(|line| line["at"].as_u64().is_some_and(|at| at >= before.0)), "{kept:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&options.folder), mode(&options.folder.join("robo-logs.jsonl"))), (0o700, 0o600));
    assert_eq!(mode(&folders.log_backup()), 0o600);

    // Its end comes; and what will have none comes when the log goes.
    one.write(b" yet\nlast words").unwrap();
    until_copied(&mut copyist);
    assert_eq!(texts(&options.folder)["/a/one"].last().unwrap(), "no end yet");
    copyist.last_look(&key("/a/one")).unwrap();
    assert_eq!(texts(&options.folder)["/a/one"].last().unwrap(), "last words");
    drop(copyist);
    let mut again = Copyist::new(folders, &options);
    again.look(true).unwrap();
    assert_eq!(texts(&options.folder)["/a/one"].len(), 4, "it was noted");
}

#[test]
fn a_crash_at_any_moment_neither_loses_nor_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut one, mut two]) = device(folder.path(), ["/one", "/two"]);
    let options = options(folder.path(), 100);
    let mut random = fastrand::Rng::with_seed(11);
    let mut wished: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut copyist = Copyist::new(folders.clone(), &options);
    for round in 0..150 {
        for (path, log) in [("/one", &mut one), ("/two", &mut two)] {
            for number in 0..random.usize(0..20) {
                let line = format!("{round} {number} {}", "x".repeat(random.usize(0..4_000)));
                log.write(format!("{line}\n").as_bytes()).unwrap();
                wished.entry(path.to_owned()).or_default().push(line);
            }
        }
        copyist.look(false).unwrap();
        if random.bool() {
            until_copied(&mut copyist);
        }
        if random.u8(0..3) > 0 {
            continue;
        }
        // As when it is killed: nothing is noted any more.
        drop(copyist);
        let current = options.folder.join("robo-logs.jsonl");
        if random.bool() && current.exists() {
            // In the middle of a line.
            fs::File::options().append(true).open(&current).unwrap().write_all(b"{\"at\":12").unwrap();
        }
        copyist = Copyist::new(folders.clone(), &options);
        copyist.look(true).unwrap();
    }
    until_copied(&mut copyist);
    assert!(files(&options.folder).unwrap().len() > 3, "files were begun");
    assert!(texts(&options.folder) == wished, "it is not what was printed");
}

#[test]
fn what_others_did_to_the_files_costs_nothing_that_they_left() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut log]) = device(folder.path(), ["/one"]);
    let options = options(folder.path(), 10);
    let current = options.folder.join("robo-logs.jsonl");
    let mut copyist = Copyist::new(folders.clone(), &options);
    let mut print = |line: &str, copyist: &mut Copyist| {
        log.write(format!("{line}\n").as_bytes()).unwrap();
        until_copied(copyist);
    };
    print("one", &mut copyist);
    // Taken away: the next lines come to a new one.
    fs::rename(&current, folder.path().join("taken")).unwrap();
    print("two", &mut copyist);
    assert_eq!(texts(&options.folder)["/one"], ["two"]);
    // Changed: what is not ours is cut off.
    fs::write(&current, [fs::read(&current).unwrap(), b"theirs\n".to_vec()].concat()).unwrap();
    print("three", &mut copyist);
    assert_eq!(texts(&options.folder)["/one"], ["two", "three"]);
    // Another disk: nothing is cut off from what is there. What was not noted comes again.
    drop(copyist);
    fs::remove_file(&current).unwrap();
    fs::write(&current, "{\"instance\":\"/one\",\"text\":\"of another device\"}\n").unwrap();
    let mut copyist = Copyist::new(folders.clone(), &options);
    print("four", &mut copyist);
    assert_eq!(texts(&options.folder)["/one"], ["of another device", "three", "four"]);
    // Notes that cannot be read: twice is better than never.
    drop(copyist);
    fs::write(folders.log_backup(), "nonsense").unwrap();
    let mut copyist = Copyist::new(folders.clone(), &options);
    print("five", &mut copyist);
    assert_eq!(texts(&options.folder)["/one"][3..], ["one", "two", "three", "four", "five"]);
    // An instance that is gone, and comes again.
    folders.instance(&key("/one")).remove().unwrap();
    copyist.look(true).unwrap();
}

#[test]
fn a_backup_that_cannot_be_written_goes_on_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut log]) = device(folder.path(), ["/one"]);
    let options = options(folder.path(), 10);
    fs::write(&options.folder, "in the way").unwrap();
    let mut copyist = Copyist::new(folders, &options);
    log.write(b"one\n").unwrap();
    assert!(copyist.look(true).is_err() && copyist.look(true).is_err());
    assert!(copyist.last_look(&key("/one")).is_err());
    fs::remove_file(&options.folder).unwrap();
    until_copied(&mut copyist);
    assert_eq!(texts(&options.folder)["/one"], ["one"]);
}

#[test]
fn two_agents_never_write_to_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), 10);
    let bounds = Bounds { size: SMALLEST, every: options.every, keep: 10 };
    let first = Set::open(&options.folder, bounds, None, UnixMillis(0)).unwrap();
    let second = Set::open(&options.folder, bounds, None, UnixMillis(0)).unwrap_err();
    assert!(second.to_string().contains("another agent"), "{second}");
    drop(first);
    Set::open(&options.folder, bounds, None, UnixMillis(0)).unwrap();
}

#[test]
fn an_old_file_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut log]) = device(folder.path(), ["/one"]);
    let options = Options { every: Millis(0), ..options(folder.path(), 3) };
    let mut copyist = Copyist::new(folders, &options);
    for line in ["one", "two", "three", "four"] {
        log.write(format!("{line}\n").as_bytes()).unwrap();
        until_copied(&mut copyist);
        until_copied(&mut copyist);
    }
    assert_eq!(files(&options.folder).unwrap().len(), 3, "an empty one does not end");
    assert_eq!(texts(&options.folder)["/one"], ["three", "four"]);
}

#[tokio::test]
async fn a_thread_copies_and_says_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, [mut log]) = device(folder.path(), ["/one"]);
    let (options, parts) = (options(folder.path(), 10), Parts::default());
    fs::write(&options.folder, "in the way").unwrap();
    log.write(b"one\n").unwrap();
    let backup = Backup::start(folders, &options, parts.clone()).unwrap();
    backup.last_look(&key("/one")).await;
    let part = || parts.all(&[]).into_iter().find(|part| part.name == LOG_BACKUP).unwrap();
    assert!(part().last_error.unwrap().contains("backup"), "{:?}", part());
    fs::remove_file(&options.folder).unwrap();
    backup.last_look(&key("/one")).await;
    assert_eq!((texts(&options.folder)["/one"].as_slice(), part().restarts), (["one".to_owned()].as_slice(), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_files_keep_their_bound_and_what_is_left_is_in_order(
        size in 200_u64..2_000,
        keep in 1_usize..6,
        steps in prop::collection::vec((1_usize..190, 0_u8..12, 0_u64..3), 1..200),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("backup");
        let mut bounds = Bounds { size, every: Millis::from_secs(3600), keep };
        let mut now = UnixMillis(1_700_000_000_000);
        let mut set = Set::open(&folder, bounds, None, now).unwrap();
        let mut wished = Vec::new();
        for (number, (length, what, later)) in steps.into_iter().enumerate() {
            // A clock that stands, goes on, or is set back.
            now = UnixMillis(now.0 + later * 7 - if what == 2 { 12 } else { 0 });
            let line = format!("{number:0length$}\n");
            if !set.has_room(line.len()) || what == 0 {
                set.next(now).unwrap();
            }
            set.append(line.as_bytes()).unwrap();
            wished.push(line);
            if what == 1 {
                // Somebody wants less from now on, or more.
                let end = set.end();
                bounds = Bounds { size: bounds.size.max(400) / 2 + 90 * later, keep: 1 + number % 5, ..bounds };
                drop(set);
                set = Set::open(&folder, bounds, Some(end), now).unwrap();
            }
            let most = bounds.size * bounds.keep as u64;
            prop_assert!(bytes(&folder) <= most, "{} of {most}", bytes(&folder));
            prop_assert!(files(&folder).unwrap().len() <= bounds.keep);
        }
        let left: String = files(&folder).unwrap().into_iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let all = wished.concat();
        prop_assert!(all.ends_with(&left), "not the last lines in order");
    }
}
