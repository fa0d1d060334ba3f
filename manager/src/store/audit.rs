//! The audit log: lines that are only ever added, each bound to the one before by a hash.
//!
//! The chain is that of a hash list (as in RFC 5848 or a Git history): `hash[n] = SHA-256(hash[n-1] ‖ "\n" ‖ line[n])`
//! in hexadecimal, with `hash[0]` 64 zeros. Somebody who can write the database can write a chain anew; who keeps a
//! line's hash elsewhere finds that out.

use robo_model::quantity::UnixMillis;
use robo_wire::api::{AuditBreak, AuditEntry, AuditOutcome, AuditVerdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::{Store, StoreError, at, big, commit, count, from_json, to_json};

/// Before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Lines read at a time when all are looked at.
const PAGE: i64 = 1000;

/// A line as it is written, without what the log adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub who: Option<String>,
    /// With which token.
    pub token: Option<String>,
    /// From which address.
    pub from: Option<String>,
    /// In which project.
    pub project: Option<String>,
    /// What.
    pub verb: String,
    /// Of what.
    pub thing: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Why, and with what.
    pub detail: String,
    /// How often.
    pub times: u64,
}

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this project alone.
    pub project: Option<String>,
    /// Of this user or device alone.
    pub who: Option<String>,
    /// Those before this one.
    pub before: Option<u64>,
    /// At most so many, the newest.
    pub limit: u32,
}

impl Store {
    /// Adds lines. They are on disk when this is done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_audit(&self, lines: &[AuditLine]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let last = sqlx::query("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetch_optional(&mut *tx).await;
        let (mut id, mut hash) = match last.map_err(at("reading the audit log"))? {
            Some(row) => (row.get::<i64, _>("id"), row.get::<String, _>("hash")),
            None => (0, NOTHING.to_owned()),
        };
        for line in lines {
            let text = to_json("a line of the audit log", &(id + 1, line))?;
            hash = chained(&hash, &text);
            id += 1;
            sqlx::query("INSERT INTO audit (id, project, who, line, hash) VALUES ($1, $2, $3, $4, $5)")
                .bind(id)
                .bind(&line.project)
                .bind(&line.who)
                .bind(&text)
                .bind(&hash)
                .execute(&mut *tx)
                .await
                .map_err(at("writing the audit log"))?;
        }
        commit(tx).await
    }

    /// The newest lines of a filter, the oldest of them first.
    ///
    /// # Errors
    /// When the database fails, or a line cannot be read.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, line, hash FROM audit WHERE ($1 IS NULL OR project = $1) AND ($2 IS NULL OR who = $2) \
             AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        )
        .bind(&filter.project)
        .bind(&filter.who)
        .bind(filter.before.map(big))
        .bind(i64::from(filter.limit))
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading the audit log"))?;
        let entries = rows.iter().rev().map(|row| {
            let (_, line): (u64, AuditLine) = from_json("a line of the audit log", row.get("line"))?;
            Ok(entry(count(row.get("id")), line, row.get("hash")))
        });
        entries.collect()
    }

    /// Looks at each line whether it is what was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        let mut verdict = AuditVerdict { lines: 0, broken: None, last: 0, hash: NOTHING.to_owned() };
        loop {
            let rows = sqlx::query("SELECT id, project, who, line, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(big(verdict.last))
                .bind(PAGE)
                .fetch_all(&self.readers)
                .await
                .map_err(at("reading the audit log"))?;
            if rows.is_empty() {
                return Ok(verdict);
            }
            for row in &rows {
                let (id, hash): (u64, String) = (count(row.get("id")), row.get("hash"));
                let columns = (row.get("project"), row.get("who"));
                if verdict.broken.is_none() {
                    let reason = judge((verdict.last, &verdict.hash), (id, row.get("line"), &hash), columns);
                    verdict.broken = reason.map(|reason| AuditBreak { id, reason });
                }
                (verdict.last, verdict.hash) = (id, hash);
                verdict.lines += 1;
            }
        }
    }
}

/// What is wrong with a line, after the one before it.
fn judge(
    (last, before): (u64, &str),
    (id, text, hash): (u64, &str, &str),
    (project, who): (Option<String>, Option<String>),
) -> Option<String> {
    if id != last + 1 {
        return Some(format!("line {} is missing", last + 1));
    }
    if chained(before, text) != hash {
        return Some("it was changed, or the one before it".to_owned());
    }
    let Ok((written, line)) = serde_json::from_str::<(u64, AuditLine)>(text) else {
        return Some("it cannot be read".to_owned());
    };
    if written != id || line.project != project || line.who != who {
        return Some("what it is found by is not what it says".to_owned());
    }
    None
}

fn chained(before: &str, text: &str) -> String {
    hex::encode(Sha256::new().chain_update(before).chain_update("\n").chain_update(text).finalize())
}

fn entry(id: u64, line: AuditLine, hash: String) -> AuditEntry {
    let AuditLine { at, who, token, from, project, verb, thing, outcome, detail, times } = line;
    AuditEntry { id, at, who, token, from, project, verb, thing, outcome, detail, times, hash }
}
