//! The audit log: lines that are only ever added, each bound to the one before by a hash.
//!
//! The chain is that of a hash list (as in RFC 5848 or a Git history): `hash[n] = SHA-256(hash[n-1] ‖ "\n" ‖ line[n])`
//! in hexadecimal, with `hash[0]` 64 zeros. Somebody who can write the database can write a chain anew; who keeps a
//! line's hash elsewhere finds that out.

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{AuditAnchor, AuditBreak, AuditEntry, AuditOutcome, AuditVerdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::{Store, StoreError, Tx, at, big, commit, count, from_json, to_json};

/// Before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Lines read at a time when all are looked at.
const PAGE: i64 = 1000;

/// Lines that are taken away together when the time of all of them is over.
pub const AUDIT_SEGMENT: i64 = 1000;

/// Most lines that are looked at for one answer: a filter that few lines pass goes through all of them else.
const MAX_LOOKED: usize = 1_000_000;

/// How much older a line may be than the one before it: what is counted for a minute is told with the time of the last.
const OUT_OF_ORDER: Millis = Millis::from_secs(600);

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
    /// With this verb alone.
    pub verb: Option<String>,
    /// Of things whose text has this in it.
    pub thing: Option<String>,
    /// Since then.
    pub since: Option<UnixMillis>,
    /// Until then.
    pub until: Option<UnixMillis>,
    /// Those before this one.
    pub before: Option<u64>,
    /// At most so many, the newest.
    pub limit: u32,
}

impl AuditFilter {
    fn takes(&self, line: &AuditLine) -> bool {
        self.verb.as_ref().is_none_or(|verb| line.verb == *verb)
            && self.thing.as_ref().is_none_or(|thing| line.thing.contains(thing.as_str()))
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at <= until)
    }

    /// True when no line before this one can be since then.
    fn ends_before(&self, line: &AuditLine) -> bool {
        self.since.is_some_and(|since| line.at.plus(OUT_OF_ORDER) < since)
    }
}

/// What came of taking away lines whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trimmed {
    /// There is no whole segment of them.
    Nothing,
    /// The lines up to this one went.
    Done {
        /// The first of them.
        first: u64,
        /// The last of them, which is kept as the anchor of what follows.
        last: AuditAnchor,
    },
    /// They are not what was written: none went.
    Broken(AuditBreak),
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
            None => anchor(&mut tx).await?.map_or((0, NOTHING.to_owned()), |anchor| (big(anchor.id), anchor.hash)),
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
        let (mut found, mut before, limit) = (Vec::new(), filter.before, filter.limit as usize);
        for _ in 0..MAX_LOOKED.div_ceil(PAGE as usize) {
            let rows = sqlx::query(
                "SELECT id, line, hash FROM audit WHERE ($1 IS NULL OR project = $1) AND ($2 IS NULL OR who = $2) \
                 AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
            )
            .bind(&filter.project)
            .bind(&filter.who)
            .bind(before.map(big))
            .bind(PAGE)
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the audit log"))?;
            let is_last = rows.len() < PAGE as usize;
            for row in &rows {
                let (_, line): (u64, AuditLine) = from_json("a line of the audit log", row.get("line"))?;
                let id = count(row.get("id"));
                before = Some(id);
                if found.len() >= limit || filter.ends_before(&line) {
                    found.reverse();
                    return Ok(found);
                }
                if filter.takes(&line) {
                    found.push(entry(id, line, row.get("hash")));
                }
            }
            if is_last {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Takes away the first [`AUDIT_SEGMENT`] lines when all of them are older than that, after each was verified; the hash
    /// of the last is kept, to which what follows is bound. All or nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trim_audit(&self, older_than: UnixMillis, now: UnixMillis) -> Result<Trimmed, StoreError> {
        let mut tx = self.begin().await?;
        let before = anchor(&mut tx).await?.unwrap_or(AuditAnchor { id: 0, hash: NOTHING.to_owned() });
        let rows = sqlx::query("SELECT id, project, who, line, hash FROM audit ORDER BY id LIMIT $1")
            .bind(AUDIT_SEGMENT)
            .fetch_all(&mut *tx)
            .await
            .map_err(at("reading the audit log"))?;
        if rows.len() < AUDIT_SEGMENT as usize {
            return Ok(Trimmed::Nothing);
        }
        let mut last = before.clone();
        for row in &rows {
            let (id, hash): (u64, String) = (count(row.get("id")), row.get("hash"));
            let columns = (row.get("project"), row.get("who"));
            if let Some(reason) = judge((last.id, &last.hash), (id, row.get("line"), &hash), columns) {
                return Ok(Trimmed::Broken(AuditBreak { id, reason }));
            }
            let (_, line): (u64, AuditLine) = from_json("a line of the audit log", row.get("line"))?;
            if line.at >= older_than {
                return Ok(Trimmed::Nothing);
            }
            last = AuditAnchor { id, hash };
        }
        let failed = at("taking away old lines of the audit log");
        sqlx::query("DELETE FROM audit WHERE id <= $1").bind(big(last.id)).execute(&mut *tx).await.map_err(&failed)?;
        sqlx::query("DELETE FROM audit_anchor").execute(&mut *tx).await.map_err(&failed)?;
        sqlx::query("INSERT INTO audit_anchor (id, hash, trimmed_at) VALUES ($1, $2, $3)")
            .bind(big(last.id))
            .bind(&last.hash)
            .bind(big(now.0))
            .execute(&mut *tx)
            .await
            .map_err(&failed)?;
        commit(tx).await?;
        Ok(Trimmed::Done { first: before.id + 1, last })
    }

    /// Looks at each line whether it is what was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        // One look at one state: nothing is taken away between its pages.
        let mut tx = self.snapshot().await?;
        let anchor = anchor(&mut tx).await?;
        let (last, hash) = anchor.clone().map_or((0, NOTHING.to_owned()), |anchor| (anchor.id, anchor.hash));
        let mut verdict = AuditVerdict { lines: 0, broken: None, last, hash, anchor };
        loop {
            let rows = sqlx::query("SELECT id, project, who, line, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(big(verdict.last))
                .bind(PAGE)
                .fetch_all(&mut *tx)
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

/// The last line that was taken away.
async fn anchor(tx: &mut Tx) -> Result<Option<AuditAnchor>, StoreError> {
    let row = sqlx::query("SELECT id, hash FROM audit_anchor ORDER BY id DESC LIMIT 1")
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("reading where the audit log begins"))?;
    Ok(row.map(|row| AuditAnchor { id: count(row.get("id")), hash: row.get("hash") }))
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
