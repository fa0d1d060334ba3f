//! Upgrades of agents: who may, which devices are meant, and one verdict for each, whatever their agents do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use robo_manager::install::{Architecture, Programs};
use robo_wire::api::{Facts, LastUpgrade, UpgradeLine, UpgradeVerdict};
use robo_wire::upgrade::{UpgradeEnd, UpgradeFrame, UpgradeOpen, UpgradeProgress, UpgradeStage};

use tokio::io::AsyncWrite;

use super::*;

/// What agents were asked for, by the program: tests have programs of their own.
static ASKED: Mutex<BTreeMap<String, UpgradeOpen>> = Mutex::new(BTreeMap::new());

/// An agent that does with a program what stands in it.
pub(super) fn pretend(open: UpgradeOpen) -> Result<Box<dyn LinkStream>, OpenError> {
    let (ours, theirs) = tokio::io::duplex(1024);
    tokio::spawn(agent(open, theirs));
    Ok(Box::new(ours))
}

async fn agent(open: UpgradeOpen, stream: tokio::io::DuplexStream) {
    ASKED.lock().unwrap().insert(open.sha256.clone(), open.clone());
    let (mut reader, mut writer) = tokio::io::split(stream);
    if open.size == SILENT.len() as u64 {
        return;
    }
    // The first byte is here already.
    say(&mut writer, UpgradeFrame::Want(1)).await;
    let (mut buffer, mut program) = (Vec::new(), vec![b'#']);
    while (program.len() as u64) < open.size {
        while let Some(frame) = frame::take(&mut buffer, MAX_STREAM_FRAME).unwrap() {
            let UpgradeFrame::Data(place, bytes) = UpgradeFrame::decode(frame).unwrap() else {
                panic!("not a manager's")
            };
            assert_eq!(place, program.len() as u64);
            program.extend(bytes);
        }
        if (program.len() as u64) < open.size && reader.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
    assert_eq!(hash_of(std::str::from_utf8(&program).unwrap()), open.sha256);
    let (code, reason) = ("AGT_X".to_owned(), "because".to_owned());
    match program.get(1..5).unwrap() {
        b"fail" => say(&mut writer, UpgradeFrame::End(UpgradeEnd::Failed { code, reason })).await,
        b"refu" => say(&mut writer, UpgradeFrame::End(UpgradeEnd::Refused { code, reason })).await,
        b"same" => say(&mut writer, UpgradeFrame::End(UpgradeEnd::Same)).await,
        _ => {
            let progress = |stage, percent| UpgradeFrame::Progress(UpgradeProgress { stage, percent });
            say(&mut writer, progress(UpgradeStage::Downloading, 100)).await;
            say(&mut writer, progress(UpgradeStage::Trying, 0)).await;
        }
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), frame: UpgradeFrame) {
    writer.write_all(&frame.encode().unwrap()).await.unwrap();
}

/// Its length alone says that an agent does not answer.
const SILENT: &str = "#an agent that is too old to answer";

/// A manager with these programs to give away.
async fn with_programs(programs: &[(Architecture, &str)]) -> Manager {
    let manager = Manager::start().await;
    let folder = manager.data.path().join("programs");
    std::fs::create_dir(&folder).unwrap();
    for (of, text) in programs {
        std::fs::write(folder.join(format!("robo-agent-{}", of.as_str())), text).unwrap();
    }
    let sign = |id: &DeviceId, key: &str| {
        let (certificate_pem, key_fingerprint) = (format!("certificate of {id}"), key.to_owned());
        Ok(Signed { certificate_pem, key_fingerprint, ends_at: LATER })
    };
    let state = ApiState::new(manager.service.clone(), Arc::new(Pretenders), Arc::new(sign));
    let (router, _) = router(state.with_programs(Programs::in_folder(folder)));
    Manager { router, ..manager }
}

impl Manager {
    async fn comes(&self, name: &str, arch: &str, program: &str) -> DeviceId {
        let id = self.enrol(name).await;
        let facts = Facts { arch: arch.into(), program: program.into(), ..Facts::default() };
        self.service.store().device_online(&id, &facts, UnixMillis(1)).await.unwrap();
        id
    }

    async fn upgrade(&self, body: Value) -> Vec<UpgradeLine> {
        let request = self.request(Method::POST, "upgrade").body(Body::from(body.to_string())).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = tokio::time::timeout(BOUND, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

fn verdicts(lines: &[UpgradeLine]) -> BTreeMap<&str, &UpgradeVerdict> {
    let all = lines.iter().filter_map(|line| match line {
        UpgradeLine::Verdict { device, verdict } => Some((device.as_str(), verdict)),
        _ => None,
    });
    let count = all.clone().count();
    let all: BTreeMap<&str, &UpgradeVerdict> = all.collect();
    assert_eq!(all.len(), count, "one verdict each: {lines:?}");
    all
}

#[tokio::test]
async fn every_device_has_its_verdict_whatever_its_agent_does() {
    use Architecture::{Aarch64, Armv7, Riscv64, X86_64};
    let good = "#good one of the first test";
    let manager =
        with_programs(&[(X86_64, good), (Aarch64, "#fail of one"), (Armv7, SILENT), (Riscv64, "#refused")]).await;
    let old = "ab".repeat(32);
    let tried = manager.comes("tried", "x86_64", &old).await;
    manager.comes("same", "x86_64", &hash_of(good)).await;
    manager.comes("fails", "aarch64", &old).await;
    manager.comes("refuses", "riscv64", &old).await;
    manager.comes("too-old", "armv7l", "").await;
    manager.comes("odd", "mips", "").await;
    manager.enrol("away").await;
    let outcome = async {
        // As its agent does when it comes back from the trial.
        let id = loop {
            let asked = ASKED.lock().unwrap().get(&hash_of(good)).cloned();
            match asked {
                Some(open) => break open.id,
                None => tokio::task::yield_now().await,
            }
        };
        let upgrade = LastUpgrade { id, sha256: hash_of(good), at: UnixMillis(5), ..LastUpgrade::default() };
        let facts = Facts { arch: "x86_64".into(), upgrade: Some(upgrade), ..Facts::default() };
        manager.service.store().device_online(&tried, &facts, UnixMillis(2)).await.unwrap();
    };
    let names = ["tried", "same", "fails", "refuses", "too-old", "odd", "away", "nobody", "tried"];
    let (lines, ()) = tokio::join!(manager.upgrade(json!({"targets": {"names": names}})), outcome);
    let UpgradeLine::Targets { targets } = &lines[0] else { panic!("{lines:?}") };
    assert_eq!(targets, &names[..8]);
    let all = verdicts(&lines);
    assert_eq!(all.len(), 8);
    assert_eq!(all["tried"], &UpgradeVerdict::Upgraded { from: old.clone(), to: hash_of(good) });
    assert_eq!((all["same"], all["away"]), (&UpgradeVerdict::Same, &UpgradeVerdict::Offline));
    let (code, reason) = ("AGT_X".to_owned(), "because".to_owned());
    assert_eq!(all["fails"], &UpgradeVerdict::Failed { code: code.clone(), reason: reason.clone() });
    assert_eq!(all["refuses"], &UpgradeVerdict::Refused { code, reason });
    for (name, expect) in [
        ("too-old", "run the line that installs it there once more"),
        ("odd", "AGT_NO_PROGRAM: the manager has no agent for `mips`"),
        ("nobody", "there is no such device"),
    ] {
        let text = all[name].to_string();
        assert!(text.starts_with("refused: ") && text.contains(expect), "{name}: {text}");
    }
    let trying = |line: &UpgradeLine| matches!(line, UpgradeLine::Progress { device, stage, .. } if device == "tried" && *stage == UpgradeStage::Trying);
    assert!(lines.iter().any(trying), "{lines:?}");
    let audit = manager.get("audit").await.unwrap().to_string();
    assert!(audit.contains("8 devices: tried same fails") && audit.contains(&hash_of(good)), "{audit}");
}

#[tokio::test]
async fn a_dry_run_asks_no_agent() {
    let good = "#good one of the second test";
    let manager = with_programs(&[(Architecture::X86_64, good)]).await;
    manager.comes("one", "x86_64", &"cd".repeat(32)).await;
    manager.comes("two", "x86_64", "").await;
    manager.comes("three", "x86_64", &hash_of(good)).await;
    let lines = manager.upgrade(json!({"targets": "all", "dry_run": true})).await;
    let all = verdicts(&lines);
    assert_eq!(all["one"], &UpgradeVerdict::WouldUpgrade { from: "cd".repeat(32), to: hash_of(good) });
    assert!(all["two"].to_string().contains("does not say which program"), "{all:?}");
    assert_eq!((all["three"], all.len()), (&UpgradeVerdict::Same, 3));
    assert!(!ASKED.lock().unwrap().contains_key(&hash_of(good)));
}

#[tokio::test]
async fn after_some_failures_it_is_begun_nowhere_any_more() {
    let manager = with_programs(&[(Architecture::X86_64, "#fail, and again")]).await;
    for name in ["a", "b", "c", "d"] {
        manager.comes(name, "x86_64", &"cd".repeat(32)).await;
    }
    let lines = manager.upgrade(json!({"targets": "all", "concurrency": 1, "max_failures": 2})).await;
    let all = verdicts(&lines);
    let failed = all.values().filter(|verdict| matches!(verdict, UpgradeVerdict::Failed { .. })).count();
    assert_eq!((failed, all["c"], all.len()), (2, all["d"], 4));
    assert_eq!(all["d"].to_string(), "cancelled: it failed on 2 devices before");
    let none = manager.upgrade(json!({"targets": {"selector": "site=nowhere"}})).await;
    assert_eq!(none, []);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_begun() {
    let manager = with_programs(&[(Architecture::X86_64, "#fail of the last test")]).await;
    manager.comes("one", "x86_64", "").await;
    let check = async |body: Value, expect: &str| {
        refused(manager.post("upgrade", body).await, ErrorCode::BadRequest, expect);
    };
    check(json!({"targets": "all", "concurrency": 0}), "at a time").await;
    check(json!({"targets": "all", "concurrency": 257}), "at a time").await;
    check(json!({"targets": "all", "max_failures": 0}), "at least 1").await;
    check(json!({"targets": "all", "faster": true}), "").await;
    check(json!({"targets": {"selector": ",,"}}), "").await;
    check(json!({}), "").await;
    // Whoever works on devices does not replace what runs there as root.
    let ann = manager.user("ann", &[json!({"role": "operator", "project": "default"})]).await;
    let asked = ann.call(Method::POST, "upgrade", json!({"targets": "all"})).await;
    refused(asked, ErrorCode::Forbidden, "manage-devices");
    assert!(!ASKED.lock().unwrap().contains_key(&hash_of("#fail of the last test")));
}
