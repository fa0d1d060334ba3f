//! What upgrades of agents carry.

use robo_model::quantity::UnixMillis;
use robo_wire::api::{Facts, LastUpgrade};
use robo_wire::stream::Open;
use robo_wire::upgrade::{UpgradeEnd, UpgradeFrame, UpgradeOpen, UpgradeProgress, UpgradeStage};

pub(super) fn upgrade_opens() -> Vec<(&'static str, Open)> {
    let least = UpgradeOpen { id: "u1".into(), sha256: "ab".repeat(32), size: 7, version: String::new(), force: false };
    let most = UpgradeOpen { version: "0.1.0".into(), force: true, ..least.clone() };
    vec![("open-upgrade", Open::Upgrade(least)), ("open-upgrade-force", Open::Upgrade(most))]
}

pub(super) fn upgrade_frames() -> Vec<(&'static str, UpgradeFrame)> {
    let (code, reason) = ("AGT_DISK_FULL".to_owned(), "no room".to_owned());
    let progress = |stage, percent| UpgradeFrame::Progress(UpgradeProgress { stage, percent });
    let refused = UpgradeEnd::Refused { code: code.clone(), reason: reason.clone() };
    vec![
        ("upgrade-want", UpgradeFrame::Want(70_000)),
        ("upgrade-data", UpgradeFrame::Data(70_000, vec![0x7f, b'E'])),
        ("upgrade-downloading", progress(UpgradeStage::Downloading, 40)),
        ("upgrade-verifying", progress(UpgradeStage::Verifying, 0)),
        ("upgrade-trying", progress(UpgradeStage::Trying, 0)),
        ("upgrade-same", UpgradeFrame::End(UpgradeEnd::Same)),
        ("upgrade-refused", UpgradeFrame::End(refused)),
        ("upgrade-failed", UpgradeFrame::End(UpgradeEnd::Failed { code, reason })),
    ]
}

/// What a device tells of its program, when the last upgrade went wrong.
pub(super) fn upgraded(facts: Facts) -> Facts {
    let last = LastUpgrade {
        id: "u1".into(),
        sha256: "cd".repeat(32),
        at: UnixMillis(1_700_000_000_000),
        code: "AGT_UPGRADE_TRIAL".into(),
        reason: "it ended".into(),
    };
    Facts { program: "ab".repeat(32), upgrade: Some(last), ..facts }
}
