//! Machines on their way to become devices: the last word of each.

use robo_model::name::ProjectName;
use robo_model::quantity::UnixMillis;
use robo_wire::api::{InstallReport, InstallStage};
use sqlx::sqlite::SqliteRow;

use super::tokens::EnrollTokenRecord;
use super::{Columns, Store, StoreError, at, big, commit, tokens};

/// Most machines of one token that are remembered: whoever has its hash fills no disk with it. A new one takes the place
/// of the one that was silent longest.
pub const MAX_INSTALLS: i64 = 100;

/// One machine's last word, and the token that it comes with.
#[derive(Debug, Clone)]
pub struct InstallRecord {
    /// The token's hash.
    pub token_hash: String,
    /// The token.
    pub token: EnrollTokenRecord,
    /// The machine's host name.
    pub host: String,
    /// What it is at.
    pub stage: InstallStage,
    /// How much is done, 0 to 100.
    pub percent: u8,
    /// Of a failure: its code.
    pub code: Option<String>,
    /// What happened.
    pub detail: String,
    /// When it said so.
    pub at: UnixMillis,
}

impl Store {
    /// Remembers a machine's last word. False when the token was used up or revoked meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_install(&self, report: &InstallReport, now: UnixMillis) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let written = sqlx::query(
            "INSERT INTO installs (token, host, stage, percent, code, detail, at) \
             SELECT hash, $2, $3, $4, $5, $6, $7 FROM enroll_tokens WHERE hash = $1 AND used < uses \
             ON CONFLICT (token, host) DO UPDATE SET stage = excluded.stage, percent = excluded.percent, \
             code = excluded.code, detail = excluded.detail, at = excluded.at",
        )
        .bind(&report.token_hash)
        .bind(&report.host)
        .bind(report.stage.as_str())
        .bind(i64::from(report.percent))
        .bind(report.code.as_deref())
        .bind(&report.detail)
        .bind(big(now.0))
        .execute(&mut *tx)
        .await
        .map_err(at("writing how far a machine is"))?;
        sqlx::query(
            "DELETE FROM installs WHERE token = $1 AND host NOT IN \
             (SELECT host FROM installs WHERE token = $1 ORDER BY at DESC, host LIMIT $2)",
        )
        .bind(&report.token_hash)
        .bind(MAX_INSTALLS)
        .execute(&mut *tx)
        .await
        .map_err(at("dropping old words of machines"))?;
        commit(tx).await?;
        Ok(written.rows_affected() > 0)
    }

    /// Forgets a machine that is a device now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_install(&self, token: &str, host: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM installs WHERE token = $1 AND host = $2")
            .bind(token)
            .bind(host)
            .execute(&self.writer)
            .await
            .map_err(at("forgetting a machine"))?;
        Ok(())
    }

    /// The machines of a project that may still become devices, by name of the host.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn installs(&self, project: &ProjectName, now: UnixMillis) -> Result<Vec<InstallRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM installs i JOIN enroll_tokens t ON t.hash = i.token \
             WHERE t.project = $1 AND t.expires_at > $2 AND t.used < t.uses ORDER BY i.host, i.token",
        )
        .bind(project.as_str())
        .bind(big(now.0))
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading how far machines are"))?;
        rows.iter().map(install).collect()
    }
}

fn install(row: &SqliteRow) -> Result<InstallRecord, StoreError> {
    let what = "how far a machine is";
    let columns = Columns::of(what, row);
    let stage = columns.text("stage")?;
    let unknown = || StoreError::Corrupt { what, reason: format!("`{stage}` is no stage") };
    Ok(InstallRecord {
        token_hash: columns.text("hash")?.to_owned(),
        token: tokens::token(row)?,
        host: columns.text("host")?.to_owned(),
        stage: InstallStage::named(stage).ok_or_else(unknown)?,
        percent: u8::try_from(columns.number("percent")?).unwrap_or(u8::MAX),
        code: columns.text_or_null("code")?.map(ToOwned::to_owned),
        detail: columns.text("detail")?.to_owned(),
        at: UnixMillis(columns.number("at")?),
    })
}
