//! Shell sessions: who had a terminal on which device, when, and how it ended.

use robo_model::name::{DeviceId, DeviceName, ProjectName, SessionId};
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::event::EventBody;
use robo_wire::shell::Size;
use robo_wire::stream::Verdict;
use sqlx::sqlite::SqliteRow;

use super::{Columns, NewEvent, Store, StoreError, Tx, at, big, commit, events, to_json};

/// Most sessions of one project that are kept after their end, with their recordings: weeks of a busy team.
pub const MAX_SESSIONS: u32 = 500;

/// A session as it is known on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its identity.
    pub id: SessionId,
    /// Its project.
    pub project: ProjectName,
    /// The device that it is on.
    pub device: DeviceId,
    /// What that is called, or was.
    pub name: DeviceName,
    /// Who began it.
    pub by: String,
    /// What it runs; empty for the login shell.
    pub command: Vec<String>,
    /// The user that it was asked to run as; nothing where the device chose.
    pub user: Option<String>,
    /// How long it is kept while nobody uses it.
    pub keep: Millis,
    /// The terminal's size at first.
    pub size: Size,
    /// When it began.
    pub started_at: UnixMillis,
    /// When and how it ended.
    pub end: Option<SessionEnd>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    /// When.
    pub at: UnixMillis,
    /// How.
    pub verdict: Verdict,
    /// Who ended it, when it was not its own doing.
    pub by: Option<String>,
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, project, device, name, started_by, command, keep, columns, lines, started_at, ended_at, ",
            "verdict, ended_by, run_as FROM sessions ",
            $where
        )
    };
}

impl Store {
    /// Writes down that a session begins, with its event. Answers with the sessions that are forgotten for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_session(&self, session: &SessionRecord) -> Result<Vec<SessionId>, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO sessions (id, project, device, name, started_by, command, keep, columns, lines, started_at, \
             run_as) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(session.id.as_str())
        .bind(session.project.as_str())
        .bind(session.device.as_str())
        .bind(session.name.as_str())
        .bind(&session.by)
        .bind(to_json("a command", &session.command)?)
        .bind(big(session.keep.0))
        .bind(i64::from(session.size.cols))
        .bind(i64::from(session.size.rows))
        .bind(big(session.started_at.0))
        .bind(session.user.as_deref())
        .execute(&mut *tx)
        .await
        .map_err(at("writing a session"))?;
        let body = EventBody::SessionBegan {
            session: session.id.clone(),
            by: session.by.clone(),
            command: session.command.clone(),
        };
        tell(&mut tx, session, session.started_at, body).await?;
        let forgotten: Vec<String> = sqlx::query_scalar(
            "DELETE FROM sessions WHERE project = $1 AND ended_at IS NOT NULL AND id NOT IN \
             (SELECT id FROM sessions WHERE project = $1 ORDER BY started_at DESC, id LIMIT $2) RETURNING id",
        )
        .bind(session.project.as_str())
        .bind(i64::from(MAX_SESSIONS))
        .fetch_all(&mut *tx)
        .await
        .map_err(at("forgetting old sessions"))?;
        commit(tx).await?;
        forgotten.iter().map(|id| super::parse("a session", id)).collect()
    }

    /// Writes down how a session ended, with its event. False when it had ended already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, session: &SessionRecord, end: &SessionEnd) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE sessions SET ended_at = $2, verdict = $3, ended_by = $4 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(session.id.as_str())
        .bind(big(end.at.0))
        .bind(to_json("a verdict", &end.verdict)?)
        .bind(end.by.as_deref())
        .execute(&mut *tx)
        .await
        .map_err(at("writing the end of a session"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let body =
            EventBody::SessionEnded { session: session.id.clone(), verdict: end.verdict.clone(), by: end.by.clone() };
        tell(&mut tx, session, end.at, body).await?;
        commit(tx).await?;
        Ok(true)
    }

    /// The project's sessions, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(&self, project: &ProjectName) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(select!("WHERE project = $1 ORDER BY started_at DESC, id"))
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading sessions"))?;
        rows.iter().map(record).collect()
    }

    /// One session of the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, project: &ProjectName, id: &SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let row = sqlx::query(select!("WHERE project = $1 AND id = $2"))
            .bind(project.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a session"))?;
        row.as_ref().map(record).transpose()
    }

    /// All sessions, of whatever project, whose end is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_sessions(&self) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(select!("WHERE ended_at IS NULL ORDER BY started_at, id"))
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the sessions that go on"))?;
        rows.iter().map(record).collect()
    }
}

async fn tell(tx: &mut Tx, session: &SessionRecord, at: UnixMillis, body: EventBody) -> Result<(), StoreError> {
    let event = NewEvent { at, device: Some(session.name.clone()), application: None, path: None, body };
    events::append(tx, &session.project, &[event]).await.map(drop)
}

fn record(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    let columns = Columns::of("a session", row);
    let side = |column| columns.number(column).map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let end = match (columns.number_or_null("ended_at")?, columns.text_or_null("verdict")?) {
        (Some(at), Some(verdict)) => Some(SessionEnd {
            at: UnixMillis(at),
            verdict: super::from_json("a verdict", verdict)?,
            by: columns.text_or_null("ended_by")?.map(str::to_owned),
        }),
        (None, _) | (_, None) => None,
    };
    Ok(SessionRecord {
        id: columns.name("id")?,
        project: columns.name("project")?,
        device: columns.name("device")?,
        name: columns.name("name")?,
        by: columns.text("started_by")?.to_owned(),
        command: columns.json("command")?,
        user: columns.text_or_null("run_as")?.map(str::to_owned),
        keep: Millis(columns.number("keep")?),
        size: Size { cols: side("columns")?, rows: side("lines")? }.bounded(),
        started_at: UnixMillis(columns.number("started_at")?),
        end,
    })
}
