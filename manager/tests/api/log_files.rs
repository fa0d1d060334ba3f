//! Files of logs: who sees them, and what is said of a device that does not tell them.

use std::sync::{Mutex, PoisonError};

use robo_wire::stream::MAX_CHUNK;

use super::*;

/// What devices do that do not answer as they should, by their identity, which no two tests share.
static ODD: Mutex<BTreeMap<DeviceId, Odd>> = Mutex::new(BTreeMap::new());

/// What a device does.
#[derive(Debug, Clone, Copy)]
enum Odd {
    /// Its agent has never heard of it, and hangs up.
    Old,
    Refuses,
    Nonsense,
    Flood,
    Offline,
}

/// A device that has one file of its agent's, or is odd.
pub(super) fn pretend(device: &DeviceId) -> Result<Box<dyn LinkStream>, OpenError> {
    let odd = ODD.lock().unwrap_or_else(PoisonError::into_inner).get(device).copied();
    let file =
        json!({"of": "agent", "path": "/state/log/agent.log", "size": 7, "changed_at": 1, "of a newer agent": 0});
    let said = |bytes: &[u8]| StreamFrame::Stdout(bytes.to_vec());
    let done = StreamFrame::Verdict(Verdict::Ok);
    let frames = match odd {
        None => vec![said(json!({"files": [file]}).to_string().as_bytes()), done],
        Some(Odd::Old) => vec![],
        Some(Odd::Refuses) => vec![StreamFrame::Verdict(Verdict::Refused { reason: "no disk".into() })],
        Some(Odd::Nonsense) => vec![said(b"files"), done],
        Some(Odd::Flood) => vec![said(&[b' '; MAX_CHUNK]); 200],
        Some(Odd::Offline) => return Err(OpenError::Offline),
    };
    let (ours, mut theirs) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        for frame in frames {
            // Who hears too much listens no more.
            drop(theirs.write_all(&frame.encode().unwrap()).await);
        }
    });
    Ok(Box::new(ours))
}

#[tokio::test]
async fn log_files_are_for_who_may_read_logs() {
    let manager = Manager::start().await;
    for (device, site) in [("one", "tokyo"), ("two", "osaka")] {
        manager.enrol(device).await;
        manager.label(device, site).await;
    }
    let all = manager.get("devices/one/log-files").await.unwrap();
    assert_eq!(all["files"], json!([{"of": "agent", "path": "/state/log/agent.log", "size": 7, "changed_at": 1}]));
    assert_eq!((&all["left_out"], &all["unread"]), (&json!(0), &json!([])));
    let ann = manager.user("ann", &[json!({"role": "viewer", "project": "default", "selector": "site=tokyo"})]).await;
    ann.get("devices/one/log-files").await.unwrap();
    refused(ann.get("devices/two/log-files").await, ErrorCode::Forbidden, "the right to `logs`");
    refused(manager.get("devices/none/log-files").await, ErrorCode::NotFound, "no device `none`");
}

#[tokio::test]
async fn a_device_that_tells_no_log_files_is_told_with_the_reason() {
    let manager = Manager::start().await;
    for (name, odd, code, says) in [
        ("old", Odd::Old, ErrorCode::Conflict, "of a version that does not know how to"),
        ("refuses", Odd::Refuses, ErrorCode::Conflict, "no disk"),
        ("nonsense", Odd::Nonsense, ErrorCode::Conflict, "cannot be read"),
        ("flood", Odd::Flood, ErrorCode::Conflict, "it says more than"),
        ("away", Odd::Offline, ErrorCode::DeviceOffline, "is not connected"),
    ] {
        let id = manager.enrol(name).await;
        ODD.lock().unwrap().insert(id, odd);
        let problem = manager.get(&format!("devices/{name}/log-files")).await.unwrap_err();
        let told = format!("{} {}", problem.title, problem.detail.as_deref().unwrap_or_default());
        assert!(problem.code == code && told.contains(says) && told.contains(name), "{problem:?}");
    }
}
