//! `robo cp` with the real programs: cuts in the middle, folders, many devices, and everything that can be wrong.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};
use robo_tests::proxy::{Mode, Proxy};

use super::Lab;
use super::faults::lab::Machine;

/// Bytes of the large file; more where somebody says so.
fn big() -> usize {
    std::env::var("ROBO_BIG").ok().and_then(|text| text.parse().ok()).unwrap_or(64 * 1024 * 1024)
}

/// Bytes that repeat nowhere.
pub(super) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(bytes);
    all
}

/// What is not whole yet in a folder.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension() == Some(OsStr::new("part"))).collect()
}

pub(super) fn part_size(folder: &Path) -> u64 {
    parts(folder).iter().filter_map(|part| fs::metadata(part).ok()).map(|m| m.len()).max().unwrap_or(0)
}

fn assert_same(one: &Path, other: &Path) {
    let (a, b) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    assert!(a == b, "{} ({}) is not {} ({})", one.display(), a.len(), other.display(), b.len());
    let (a, b) = (fs::metadata(one).unwrap(), fs::metadata(other).unwrap());
    assert_eq!(a.mode(), b.mode(), "{}", one.display());
    assert_eq!(a.mtime(), b.mtime(), "{}", one.display());
}

/// Cuts the link five times while a copy comes into `folder`.
fn cut_five_times(proxy: &Proxy, folder: &Path, size: usize, old: &dyn Fn()) {
    for cut in 1..=5_u64 {
        let reached = cut * (size as u64) / 7;
        eventually_blocking("the copy gets on", || (part_size(folder) >= reached).then_some(()));
        old();
        proxy.cut();
    }
}

#[test]
fn a_large_file_arrives_through_five_cuts_and_the_old_one_stays_until_then() {
    let lab = Lab::new();
    let proxy = Proxy::start(lab.address);
    let _machine = Machine::start(&lab, "one", &proxy.address.to_string());
    let (source, there) = (PathBuf::from(lab.path("big")), PathBuf::from(lab.path("there")));
    fs::create_dir(&there).unwrap();
    fs::write(&source, noise(big(), 7)).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    let target = there.join("copy");
    fs::write(&target, "the old one").unwrap();
    proxy.set(Mode::Slow(1));
    let to = format!("one:{}", target.display());
    let copying = lab.user.start(&["cp", source.to_str().unwrap(), &to]);
    cut_five_times(&proxy, &there, big(), &|| assert_eq!(fs::read(&target).unwrap(), b"the old one"));
    let run = copying.wait().expect(0);
    assert!(run.err.matches("going on in").count() >= 5, "{}", run.err);
    assert_same(&source, &target);
    assert_eq!(parts(&there), [] as [PathBuf; 0]);

    // The other way round, into standard output, and once more for nothing.
    let back = PathBuf::from(lab.path("back"));
    fs::create_dir(&back).unwrap();
    let from = format!("one:{}", target.display());
    let copying = lab.user.start(&["cp", &from, back.to_str().unwrap()]);
    cut_five_times(&proxy, &back, big(), &|| assert!(!back.join("copy").exists()));
    copying.wait().expect(0);
    assert_same(&source, &back.join("copy"));
    let again = lab.user.run(&["cp", "-o", "json", &from, back.to_str().unwrap()]).expect(0);
    assert_eq!((&again.json()["bytes"], &again.json()["files"]), (&0.into(), &1.into()), "{}", again.out);
}

#[test]
fn a_killed_copy_goes_on_and_another_content_begins_anew() {
    let lab = Lab::new();
    let proxy = Proxy::start(lab.address);
    let _machine = Machine::start(&lab, "one", &proxy.address.to_string());
    let (source, there) = (PathBuf::from(lab.path("big")), PathBuf::from(lab.path("there")));
    fs::create_dir(&there).unwrap();
    let size = 8 * 1024 * 1024;
    let to = format!("one:{}/", there.display());
    let begin = |seed| {
        fs::write(&source, noise(size, seed)).unwrap();
        let mut command = lab.user.command();
        command
            .args(["cp", "--limit", "8M", source.to_str().unwrap(), &to])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running::start(&mut command);
        eventually_blocking("half of it is there", || (part_size(&there) >= size as u64 / 2).then_some(()));
        running.kill();
    };
    let finish =
        || lab.user.run(&["cp", "-o", "json", source.to_str().unwrap(), &to]).expect(0).json()["bytes"].clone();
    begin(1);
    let carried = finish().as_u64().unwrap();
    assert!(carried <= size as u64 / 2, "{carried} bytes were carried again");
    assert_same(&source, &there.join("big"));
    begin(5);
    fs::write(&source, noise(size, 9)).unwrap();
    assert_eq!(finish(), size, "another content went on where the first one ended");
    assert_same(&source, &there.join("big"));
    assert_eq!(parts(&there), [] as [PathBuf; 0]);
}

fn tree(root: &Path, files: usize) {
    fs::create_dir_all(root.join("a/b/empty")).unwrap();
    fs::write(root.join("a/large"), noise(3_000_000, 9)).unwrap();
    fs::write(root.join("a/b/script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("a/b/script"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"no-utf8-\xff\xfe")), "x").unwrap();
    symlink("../outside", root.join("link")).unwrap();
    symlink("/nowhere", root.join("a/dangling")).unwrap();
    for i in 0..files {
        let folder = root.join(format!("many/{}", i / 1000));
        if i % 1000 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(i.to_string()), i.to_string()).unwrap();
    }
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fs::File::open(root.join("a/b")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
}

fn listing(root: &Path) -> Vec<String> {
    let output = std::process::Command::new("find")
        .args([".", "-printf", "%P %y %m %T@ %l\\n"])
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // To the millisecond: links and folders alike.
    let mut lines: Vec<String> = text.lines().map(|line| line.to_owned()).collect();
    for line in &mut lines {
        if let Some(dot) = line.find('.').filter(|dot| line.get(dot + 4..).is_some()) {
            let end = line.get(dot..).and_then(|rest| rest.find(' ')).map_or(line.len(), |at| dot + at);
            if end > dot + 4 {
                line.replace_range(dot + 4..end, "");
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn folders_come_as_they_are_both_ways_and_between_devices() {
    let lab = Lab::new();
    let _one = Machine::start(&lab, "one", &lab.address.to_string());
    let _two = Machine::start(&lab, "two", &lab.address.to_string());
    let source = PathBuf::from(lab.path("source"));
    let files = std::env::var("ROBO_MANY").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    tree(&source, files);
    let socket = UnixListener::bind(source.join("socket")).unwrap();
    let expect: Vec<String> = listing(&source).into_iter().filter(|line| !line.starts_with("socket ")).collect();
    let assert_listed = |there: &str| {
        let got = listing(Path::new(there));
        let other = got.iter().zip(&expect).find(|(got, expect)| got != expect);
        assert!(other.is_none() && got.len() == expect.len(), "{other:?}, {} of {}", got.len(), expect.len());
    };
    let (there, second, back) = (lab.path("there"), lab.path("second"), lab.path("back"));
    let run = lab.user.run(&["cp", "-r", source.to_str().unwrap(), &format!("one:{there}")]).expect(0);
    assert!(run.err.contains("left out: `socket` it is a socket"), "{}", run.err);
    drop(socket);
    assert_listed(&there);
    lab.user.run(&["cp", "-r", &format!("one:{there}"), &format!("two:{second}")]).expect(0);
    assert_listed(&second);
    lab.user.run(&["cp", "--recursive", &format!("two:{second}"), &back]).expect(0);
    assert_listed(&back);
    // Into a folder that is there; and over a folder that is there.
    lab.user.run(&["cp", "-r", source.to_str().unwrap(), &format!("one:{there}")]).expect(0);
    assert!(Path::new(&there).join("source/a/large").exists());
    lab.user.run(&["cp", "-r", source.to_str().unwrap(), &format!("one:{there}")]).expect(0);
    assert_listed(&format!("{there}/source"));
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let lab = Lab::new();
    let _machine = Machine::start(&lab, "one", &lab.address.to_string());
    let folder = PathBuf::from(lab.path("folder"));
    fs::create_dir(&folder).unwrap();
    let file = lab.path("file");
    fs::write(&file, "content").unwrap();
    let at = |path: &str| format!("one:{}", folder.join(path).display());
    let check = |words: &[&str], code: i32, expect: &str| {
        let run = lab.user.run(&[&["cp"], words].concat()).expect(code);
        assert!(run.err.contains(expect), "{words:?}: {}", run.err);
    };
    check(&[&lab.path("none"), &at("x")], 3, "there is no such file or folder");
    check(&[&at("none"), &lab.path("x")], 3, "there is no such file or folder");
    check(&[&lab.path("folder"), &at("x")], 3, "--recursive");
    check(&["one:/dev/null", &lab.path("x")], 3, "is a device");
    check(&[&file, &at("no/such/x")], 3, "there is no such file or folder");
    check(&[&file, "one:/proc/x"], 3, "/proc");
    check(&["--owner", "nobody-of-that-name", &file, &at("x")], 3, "there is no user");
    check(&[&file, "two:/tmp/x"], 3, "two");
    check(&[&file, &lab.path("x")], 1, "none of the paths is on a device");
    check(&["--all", &file, &at("x")], 1, "a path names one already");
    check(&[&file, ":/tmp/x"], 1, "says no device");
    check(&["--mode", "999", &file, &at("x")], 1, "octal");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(!Path::new(&lab.path("x")).exists());

    // A link in the target's place is replaced, and what it leads to is not touched.
    let precious = lab.path("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, folder.join("link")).unwrap();
    lab.user.run(&["cp", "--mode", "600", &file, &at("link")]).expect(0);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "content");
    assert_eq!(fs::symlink_metadata(folder.join("link")).unwrap().mode(), 0o100_600);
    // A link to elsewhere within a folder is not followed either.
    let tree = PathBuf::from(lab.path("tree"));
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/x"), "x").unwrap();
    fs::create_dir_all(folder.join("tree")).unwrap();
    let outside = lab.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, folder.join("tree/sub")).unwrap();
    let run = lab.user.run(&["cp", "-r", tree.to_str().unwrap(), &format!("one:{}", folder.display())]).expect(3);
    assert!(run.err.contains("something else is there"), "{}", run.err);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn many_devices_standard_input_and_a_limit() {
    let lab = Lab::new();
    let _one = Machine::start(&lab, "one", &lab.address.to_string());
    let _two = Machine::start(&lab, "two", &lab.address.to_string());
    lab.user.run(&["device", "enroll", "away"]).expect(0);
    let file = lab.path("file");
    fs::write(&file, "content").unwrap();
    // Relative to the home of each agent, which is its folder here.
    let run = lab.user.run(&["cp", &file, "one,two:copied"]).expect(0);
    assert!(run.err.contains("one: 1 file, 7 B") && run.err.contains("two: 1 file, 7 B"), "{}", run.err);
    for name in ["one", "two"] {
        assert_eq!(fs::read_to_string(Path::new(&lab.path(name)).join("copied")).unwrap(), "content");
    }
    let names = lab.path("names");
    let run = lab.user.run(&["cp", "--all", ":copied", &names]).expect(0);
    for name in ["one", "two"] {
        let copied = fs::read_to_string(Path::new(&names).join(name).join("copied"));
        assert_eq!(copied.ok().as_deref(), Some("content"), "{name}: {run:?}");
    }
    let run = lab.user.run(&["cp", "-o", "json", &file, "one,three:copied"]).expect(3);
    let verdicts: Vec<serde_json::Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.iter().map(|v| v["verdict"].as_str().unwrap()).collect::<Vec<_>>(), ["ok", "refused"]);

    let mut command = lab.user.command();
    command.args(["cp", "--limit", "256K", "-", "one:piped"]).stdin(fs::File::open(long(&lab, 700_000)).unwrap());
    let start = Instant::now();
    Started::start(&mut command).wait().expect(0);
    let rate = 700_000.0 / start.elapsed().as_secs_f64();
    assert!(rate < 256.0 * 1024.0 * 1.1, "{rate} bytes per second");
    let printed = lab.user.command().args(["cp", "one:piped", "-"]).output().unwrap();
    assert!(printed.stdout == fs::read(lab.path("long")).unwrap());
}

fn long(lab: &Lab, bytes: usize) -> String {
    let path = lab.path("long");
    fs::write(&path, noise(bytes, 5)).unwrap();
    path
}
