//! The audit log: found by what is asked, and taken away when its time is over without losing what it proves.

use robo_manager::store::{AUDIT_SEGMENT, AuditLine, Trimmed};
use robo_wire::api::AuditOutcome;

use super::*;

fn line(at: u64, who: &str, verb: &str, thing: &str) -> AuditLine {
    AuditLine {
        at: UnixMillis(at),
        who: Some(who.to_owned()),
        token: None,
        from: None,
        project: Some("default".to_owned()),
        verb: verb.to_owned(),
        thing: thing.to_owned(),
        outcome: AuditOutcome::Allowed,
        detail: String::new(),
        times: 1,
    }
}

#[tokio::test]
async fn lines_are_found_by_who_did_what_to_what_and_when() {
    let manager = Manager::start().await;
    let mut lines: Vec<AuditLine> =
        (0..3_000).map(|n| line(1_000_000 + n, "ann", "exec", &format!("robot-{n}"))).collect();
    lines.push(line(2_000_000, "bob", "shell", "POST devices/robot-7/shell"));
    lines.push(line(3_000_000, "bob", "exec", "robot-8"));
    manager.service.store().add_audit(&lines).await.unwrap();
    let found = async |query: &str| {
        let all = manager.get(&format!("audit?{query}")).await.unwrap();
        all.as_array().unwrap().iter().map(|line| line["thing"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("verb=shell").await, ["POST devices/robot-7/shell"]);
    assert_eq!(found("who=bob&until=2500000").await, ["POST devices/robot-7/shell"]);
    assert_eq!(found("who=bob&since=2500000").await, ["robot-8"]);
    assert_eq!(found("thing=robot-2998").await, ["robot-2998"]);
    assert_eq!(found("thing=robot-7/&verb=exec").await, [""; 0]);
    assert_eq!(found("since=1000000&until=1000002&who=ann").await, ["robot-0", "robot-1", "robot-2"]);
    assert_eq!(found("verb=exec&limit=2&until=2000000").await, ["robot-2998", "robot-2999"]);
    let problem = manager.get("audit?since=yesterday").await;
    refused(problem, ErrorCode::BadRequest, "since");
}

#[tokio::test]
async fn old_lines_go_in_whole_segments_and_the_rest_is_proved_all_the_same() {
    let manager = Manager::start().await;
    let store = manager.service.store();
    let segment = u64::try_from(AUDIT_SEGMENT).unwrap();
    let lines: Vec<AuditLine> = (0..segment * 2 + 5).map(|n| line(n, "ann", "exec", &format!("t{n}"))).collect();
    store.add_audit(&lines).await.unwrap();
    let verify = async || store.verify_audit().await.unwrap();
    let before = verify().await;
    assert_eq!((before.lines, before.broken, before.anchor), (segment * 2 + 5, None, None));

    // Nothing goes as long as one line of the segment is young enough.
    assert_eq!(store.trim_audit(UnixMillis(segment - 1), UnixMillis(9)).await.unwrap(), Trimmed::Nothing);
    let Trimmed::Done { first, last } = store.trim_audit(UnixMillis(segment), UnixMillis(9)).await.unwrap() else {
        panic!("nothing went");
    };
    assert_eq!((first, last.id), (1, segment));
    let after = verify().await;
    assert_eq!((after.lines, after.last, &after.hash), (segment + 5, before.last, &before.hash), "the end is the same");
    assert_eq!((after.broken, after.anchor.clone()), (None, Some(last)));
    // The next segment is not whole until its time is over, and what is left is none.
    assert!(matches!(store.trim_audit(UnixMillis(u64::MAX / 2), UnixMillis(9)).await.unwrap(), Trimmed::Done { .. }));
    assert_eq!(store.trim_audit(UnixMillis(u64::MAX / 2), UnixMillis(9)).await.unwrap(), Trimmed::Nothing);
    store.add_audit(&[line(9, "ann", "exec", "new")]).await.unwrap();
    let now = verify().await;
    assert_eq!((now.lines, now.broken, now.anchor.unwrap().id), (6, None, segment * 2));
    assert_eq!(now.last, segment * 2 + 6);
}

#[tokio::test]
async fn a_line_that_was_changed_is_found_after_trimming_and_never_trimmed_away() {
    let manager = Manager::start().await;
    let store = manager.service.store();
    let segment = u64::try_from(AUDIT_SEGMENT).unwrap();
    let lines: Vec<AuditLine> = (0..segment * 2 + 5).map(|n| line(n, "ann", "exec", &format!("t{n}"))).collect();
    store.add_audit(&lines).await.unwrap();
    assert!(matches!(store.trim_audit(UnixMillis(u64::MAX / 2), UnixMillis(9)).await.unwrap(), Trimmed::Done { .. }));
    let path = manager.data.path().join("robo.db");
    let change = async |statement: &str| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        pool.close().await;
    };
    let changed = segment + 3;
    change(&format!("UPDATE audit SET line = replace(line, 'allowed', 'refused') WHERE id = {changed}")).await;
    assert_eq!(store.verify_audit().await.unwrap().broken.unwrap().id, changed);
    let trimmed = store.trim_audit(UnixMillis(u64::MAX / 2), UnixMillis(9)).await.unwrap();
    assert!(matches!(&trimmed, Trimmed::Broken(broken) if broken.id == changed), "{trimmed:?}");
    assert_eq!(store.verify_audit().await.unwrap().lines, segment + 5, "it is there as a proof");
    change(&format!("UPDATE audit SET line = replace(line, 'refused', 'allowed') WHERE id = {changed}")).await;
    assert_eq!(store.verify_audit().await.unwrap().broken, None);
    // Another beginning than the one that was kept.
    change("UPDATE audit_anchor SET hash = replace(hash, substr(hash, 1, 8), 'deadbeef')").await;
    assert_eq!(store.verify_audit().await.unwrap().broken.unwrap().id, segment + 1);
}
