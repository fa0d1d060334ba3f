//! Upgrades without a link: what comes of each way in which one can go wrong, up to the trial.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use robo_model::quantity::Millis;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::upgrade::{UpgradeEnd, UpgradeFrame, UpgradeOpen, UpgradeStage};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::notes::{Notes, TrialNote};
use super::place::Place;
use super::*;
use crate::folders::Folders;
use crate::framing::read_frame;
use crate::keeper::proc::{ProcessId, boot_id};

const OLD: &[u8] = b"#!/bin/sh\necho robo-agent 1\n";
const NEW: &[u8] = b"#!/bin/sh\necho robo-agent 2\n";
const PATIENCE: Duration = Duration::from_secs(60);

fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A device with a program that is none.
struct Device {
    folder: tempfile::TempDir,
    own: Arc<Own>,
    upgrades: Upgrades,
}

impl Device {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/robo-agent");
        fs::create_dir(program.parent().unwrap()).unwrap();
        fs::write(&program, OLD).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let folders = Folders::new(folder.path().join("state"));
        folders.create().unwrap();
        let own = Own::new(program.clone(), "robo-agent".into(), Vec::new(), PATIENCE).running(program);
        let own = Arc::new(own);
        Self { upgrades: Upgrades::new(Some(Arc::clone(&own)), folders), folder, own }
    }

    fn folders(&self) -> Folders {
        Folders::new(self.folder.path().join("state"))
    }

    fn notes(&self) -> Notes {
        Notes::of(&self.folders())
    }

    fn begin(&self, open: UpgradeOpen, busy: Option<&str>) -> Manager {
        let (ours, theirs) = duplex(MAX_STREAM_FRAME);
        let (upgrades, busy) = (self.upgrades.clone(), busy.map(str::to_owned));
        tokio::spawn(async move { upgrades.serve(open, busy, theirs).await });
        Manager { stream: ours }
    }

    /// Everything that is said of this program, sent from where it is wanted.
    async fn give(&self, announced: &[u8], sent: &[u8]) -> Vec<UpgradeFrame> {
        let mut manager = self.begin(open(announced), None);
        let mut all = Vec::new();
        while let Some(frame) = manager.next().await {
            if let UpgradeFrame::Want(place) = frame {
                manager.send(place, &sent[usize::try_from(place).unwrap()..]).await;
            }
            all.push(frame);
        }
        all
    }

    fn in_place(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("bin/robo-agent")).unwrap()
    }

    fn files(&self, below: &str) -> usize {
        fs::read_dir(self.folder.path().join(below)).map(Iterator::count).unwrap_or_default()
    }
}

struct Manager {
    stream: DuplexStream,
}

impl Manager {
    async fn next(&mut self) -> Option<UpgradeFrame> {
        let frame = timeout(PATIENCE, read_frame(&mut self.stream, MAX_STREAM_FRAME)).await.unwrap().unwrap();
        frame.map(|frame| UpgradeFrame::decode(frame).unwrap())
    }

    async fn send(&mut self, place: u64, bytes: &[u8]) {
        let frame = UpgradeFrame::Data(place, bytes.to_vec()).encode().unwrap();
        // A device that has heard enough reads no more.
        self.stream.write_all(&frame).await.ok();
    }
}

fn open(program: &[u8]) -> UpgradeOpen {
    let size = program.len() as u64;
    UpgradeOpen { id: "u1".into(), sha256: sha(program), size, version: String::new(), force: false }
}

fn failed(frames: &[UpgradeFrame], expect: Code) -> String {
    match frames.last() {
        Some(UpgradeFrame::End(UpgradeEnd::Failed { code, reason })) if code == expect.as_str() => reason.clone(),
        other => panic!("{expect}: {other:?}"),
    }
}

fn is_tried(frames: &[UpgradeFrame]) -> bool {
    matches!(frames.last(), Some(UpgradeFrame::Progress(progress)) if progress.stage == UpgradeStage::Trying)
}

#[tokio::test]
async fn a_program_is_laid_beside_the_one_that_runs_and_a_trial_begins() {
    let device = Device::new();
    let frames = device.give(NEW, NEW).await;
    assert_eq!(frames[0], UpgradeFrame::Want(0));
    assert!(is_tried(&frames), "{frames:?}");
    timeout(PATIENCE, device.own.begun()).await.unwrap();
    let note = device.notes().trial().unwrap();
    let place = Place::of(&note.program);
    assert_eq!((note.id.as_str(), note.sha256), ("u1", sha(NEW)));
    assert_eq!((fs::read(&place.next).unwrap().as_slice(), device.in_place().as_slice()), (NEW, OLD));
    assert_eq!(fs::metadata(&place.next).unwrap().permissions().mode() & 0o777, 0o755);
    // Until this process is the trial, nothing else begins.
    let mut other = device.begin(open(b"other"), None);
    let busy = other.next().await;
    assert!(
        matches!(&busy, Some(UpgradeFrame::End(UpgradeEnd::Refused { code, .. })) if code == "AGT_UPGRADE_BUSY"),
        "{busy:?}"
    );
    device.own.stay();
    assert!(device.own.go_on().is_ok(), "who was told to end becomes nothing");
}

#[tokio::test]
async fn a_program_that_runs_already_is_the_same() {
    let device = Device::new();
    assert_eq!(device.give(OLD, OLD).await, [UpgradeFrame::End(UpgradeEnd::Same)]);
    assert_eq!(device.files("state/upgrade"), 0);
}

#[tokio::test]
async fn a_download_that_is_cut_anywhere_goes_on_from_there() {
    for cut in 0..NEW.len() {
        let device = Device::new();
        let mut manager = device.begin(open(NEW), None);
        assert_eq!(manager.next().await, Some(UpgradeFrame::Want(0)));
        assert!(matches!(manager.next().await, Some(UpgradeFrame::Progress(_))));
        if cut > 0 {
            manager.send(0, &NEW[..cut]).await;
        }
        drop(manager);
        // The turn is free when what came is on the disk.
        drop(timeout(PATIENCE, device.upgrades.turn().acquire_owned()).await.unwrap());
        let frames = device.give(NEW, NEW).await;
        assert_eq!(frames[0], UpgradeFrame::Want(cut as u64));
        assert!(is_tried(&frames), "cut at {cut}: {frames:?}");
        assert_eq!(fs::read(device.folder.path().join("bin/robo-agent.upgrade")).unwrap(), NEW);
    }
}

#[tokio::test]
async fn what_is_another_program_than_announced_is_not_taken() {
    let device = Device::new();
    let other = [b'x'; NEW.len()];
    failed(&device.give(NEW, &other).await, Code::Checksum);
    let last = device.own.last().unwrap();
    assert_eq!((last.id.as_str(), last.code.as_str(), last.sha256), ("u1", "AGT_CHECKSUM", sha(NEW)));
    assert_eq!((device.files("bin"), device.files("state/upgrade")), (1, 1), "nothing is left but the outcome");
    let frames = device.give(NEW, NEW).await;
    assert_eq!((frames[0].clone(), is_tried(&frames)), (UpgradeFrame::Want(0), true));
}

#[tokio::test]
async fn what_does_not_run_here_is_not_tried() {
    for (program, expect) in [
        (&b"no program at all"[..], "no program for this machine"),
        (b"#!/bin/sh\necho something else\n", "it says `something else`"),
        (b"#!/bin/sh\necho needs libc 9 >&2\nexit 3\n", "needs libc 9"),
        (b"#!/there/is/none\n", "is not here"),
        (b"\x7fELF\x02\x01\x01 of some other kind", "no program for this machine"),
    ] {
        let device = Device::new();
        let reason = failed(&device.give(program, program).await, Code::Program);
        assert!(reason.contains(expect), "{reason}");
        assert_eq!((device.in_place().as_slice(), device.files("bin"), device.notes().trial()), (OLD, 1, None));
    }
}

#[tokio::test]
async fn bytes_that_were_not_announced_end_it() {
    for (place, bytes) in [(1, NEW), (0, &[b'x'; NEW.len() + 1][..]), (0, &[][..]), (u64::MAX >> 4, NEW)] {
        let device = Device::new();
        let mut manager = device.begin(open(NEW), None);
        assert_eq!(manager.next().await, Some(UpgradeFrame::Want(0)));
        manager.send(place, bytes).await;
        let mut last = None;
        while let Some(frame) = manager.next().await {
            last = Some(frame);
        }
        let Some(UpgradeFrame::End(UpgradeEnd::Refused { code, .. })) = last else { panic!("{place}: {last:?}") };
        assert_eq!(code, "AGT_ANSWER");
    }
}

#[tokio::test]
async fn what_stands_against_it_is_told_before_anything_comes() {
    let device = Device::new();
    let refused = async |device: &Device, open: UpgradeOpen, busy: Option<&str>| {
        let mut manager = device.begin(open, busy);
        match manager.next().await {
            Some(UpgradeFrame::End(UpgradeEnd::Refused { code, reason })) => (code, reason),
            other => panic!("{other:?}"),
        }
    };
    let (code, reason) = refused(&device, open(NEW), Some("1 of shells")).await;
    assert_eq!((code.as_str(), reason.as_str()), ("AGT_UPGRADE_IN_USE", "there is 1 of shells, which would end"));
    let forced = UpgradeOpen { force: true, ..open(NEW) };
    assert_eq!(device.begin(forced, Some("1 of shells")).next().await, Some(UpgradeFrame::Want(0)));
    let nonsense = UpgradeOpen { sha256: "../../etc/passwd".into(), ..open(NEW) };
    assert_eq!(refused(&Device::new(), nonsense, None).await.0, "AGT_ANSWER");
    let replaced = Device::new();
    let program = replaced.folder.path().join("bin/robo-agent");
    let running = replaced.folder.path().join("was");
    fs::rename(&program, &running).unwrap();
    let own = Arc::new(Own::new(program.clone(), "robo-agent".into(), Vec::new(), PATIENCE).running(running));
    fs::write(&program, "another").unwrap();
    let replaced = Device { upgrades: Upgrades::new(Some(Arc::clone(&own)), replaced.folders()), own, ..replaced };
    assert_eq!(refused(&replaced, open(NEW), None).await.0, "AGT_UPGRADE_REPLACED");
    let packaged = Device::new();
    let packaged = Device { upgrades: Upgrades::new(None, packaged.folders()), ..packaged };
    assert_eq!(refused(&packaged, open(NEW), None).await.0, "AGT_UPGRADE_PACKAGED");
    // More than any disk has.
    let place = Place::of(Path::new("/nowhere/robo-agent"));
    let state = device.folder.path();
    assert_eq!(place.check(1, state, 1).unwrap_err().code, Code::InstallFolder);
    let place = Place::of(&state.join("robo-agent"));
    assert_eq!(place.check(u64::MAX / 2, state, 0).unwrap_err().code, Code::DiskFull);
    assert_eq!(place.check(1, state, u64::MAX / 2).unwrap_err().code, Code::DiskFull);
    assert_eq!(place.check(1, state, 1), Ok(()));
}

#[test]
fn programs_change_places_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(&folder.path().join("robo-agent"));
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    fs::write(&place.program, "one").unwrap();
    for (next, before) in [("two", "one"), ("three", "two")] {
        fs::write(&place.next, next).unwrap();
        place.swap().unwrap();
        assert_eq!((read(&place.program).as_str(), read(&place.previous).as_str()), (next, before));
        assert!(!place.next.exists());
    }
    place.swap_back().unwrap();
    assert_eq!(read(&place.program), "two");
    assert!(place.swap().is_err(), "there is no next one");
    assert_eq!(read(&place.program), "two");
}

fn note(program: &Path) -> TrialNote {
    TrialNote {
        id: "u1".into(),
        sha256: sha(NEW),
        version: String::new(),
        program: program.to_owned(),
        time: Millis::from_secs(1),
        boot: boot_id().to_owned(),
        by: None,
        child: None,
    }
}

#[test]
fn a_trial_that_was_cut_is_settled_by_the_program_that_runs() {
    let device = Device::new();
    let (notes, place) = (device.notes(), Place::of(device.own.program()));
    notes.create().unwrap();
    for (own, expect) in [(sha(OLD), "AGT_UPGRADE_CUT"), (sha(NEW), "")] {
        fs::write(&place.next, NEW).unwrap();
        fs::write(notes.part(&sha(NEW)), NEW).unwrap();
        notes.write_trial(&note(device.own.program())).unwrap();
        notes.settle(&own);
        assert_eq!(notes.outcome().unwrap().code, expect);
        assert_eq!((notes.trial(), place.next.exists(), notes.part(&sha(NEW)).exists()), (None, false, false));
        notes.settle(&sha(b"a third one"));
        assert_eq!(notes.outcome().unwrap().code, expect, "it is settled once");
    }
}

#[test]
fn parts_are_kept_for_a_week_and_one_at_a_time() {
    let device = Device::new();
    let notes = device.notes();
    notes.create().unwrap();
    let (one, two) = (notes.part(&sha(OLD)), notes.part(&sha(NEW)));
    for part in [&one, &two] {
        fs::write(part, "x").unwrap();
    }
    notes.keep_only(&sha(OLD)).unwrap();
    notes.sweep();
    assert!(one.exists() && !two.exists());
    let week = Duration::from_secs(8 * 24 * 60 * 60);
    fs::File::options().write(true).open(&one).unwrap().set_modified(SystemTime::now() - week).unwrap();
    notes.sweep();
    assert!(!one.exists());
}

#[tokio::test]
async fn what_a_trial_left_behind_is_ended_and_a_trial_that_goes_on_is_left_alone() {
    let device = Device::new();
    let notes = device.notes();
    notes.create().unwrap();
    assert!(end_leftovers(&device.folders()).await, "there is nothing");
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut by = Command::new("sleep").arg("1000").spawn().unwrap();
    let id = |process: &std::process::Child| Some(ProcessId::of(process.id()).unwrap());
    let noted = TrialNote { by: id(&by), child: id(&child), ..note(device.own.program()) };
    notes.write_trial(&TrialNote { boot: "another".into(), ..noted.clone() }).unwrap();
    assert!(end_leftovers(&device.folders()).await, "processes of another boot are others");
    notes.write_trial(&noted).unwrap();
    assert!(!end_leftovers(&device.folders()).await);
    assert!(child.try_wait().unwrap().is_none());
    by.kill().unwrap();
    by.wait().unwrap();
    assert!(end_leftovers(&device.folders()).await);
    assert!(!child.wait().unwrap().success());
}
