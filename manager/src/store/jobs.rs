//! Jobs: which commands were ordered for which devices, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{DeviceId, JobId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::event::EventBody;
use robo_wire::job::{Ended, JobRequest};
use robo_wire::stream::Verdict;
use sqlx::sqlite::SqliteRow;

use super::{Columns, NewEvent, Store, StoreError, Tx, at, big, commit, events, to_json};

/// Most jobs of one project that are kept after their end, with their output.
pub const MAX_JOBS: u32 = 500;

/// So many names are asked for in one query: far fewer than the database takes.
const NAMES_AT_ONCE: usize = 500;

/// How long a job is kept after its end.
const KEPT_MILLIS: u64 = 30 * 24 * 60 * 60 * 1000;

/// A job as it is known on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its identity.
    pub id: JobId,
    /// Its project.
    pub project: ProjectName,
    /// Who ordered it.
    pub by: String,
    /// What was ordered. Of a record that was read, the values of variables are empty.
    pub request: JobRequest,
    /// When.
    pub created_at: UnixMillis,
    /// Until when it waits for devices.
    pub expires_at: Option<UnixMillis>,
    /// When the last target had its verdict.
    pub ended_at: Option<UnixMillis>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
}

/// One target of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its place among the targets.
    pub number: usize,
    /// The device's name, or what was asked for.
    pub name: String,
    /// The device; nothing where there is none.
    pub device: Option<DeviceId>,
    /// Its agent was asked, or is about to be.
    pub sent: bool,
    /// How it ended.
    pub ended: Option<Ended>,
    /// So many bytes of its output are not kept.
    pub missing: u64,
}

/// How many targets of a job stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// All.
    pub targets: u32,
    /// Those with the verdict ok.
    pub ok: u32,
    /// Those with another verdict.
    pub not_ok: u32,
}

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, project, ordered_by, request, created_at, expires_at, ended_at, cancelled_by, ",
            "(SELECT COUNT(*) FROM runs WHERE job = id) AS targets, ",
            "(SELECT COUNT(*) FROM runs WHERE job = id AND verdict = '{\"verdict\":\"ok\"}') AS good, ",
            "(SELECT COUNT(*) FROM runs WHERE job = id AND verdict IS NOT NULL) AS judged FROM jobs ",
            $where
        )
    };
}

impl Store {
    /// Writes down that a job begins, with its event. Answers with the jobs that are forgotten for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_job(&self, job: &JobRecord, runs: &[RunRecord]) -> Result<Vec<JobId>, StoreError> {
        let mut tx = self.begin().await?;
        // The values may be secrets: they are kept for as long as somebody still has to be told them.
        let waits = runs.iter().any(|run| !run.sent && run.ended.is_none());
        let env = &job.request.command.env;
        let values = (waits && !env.is_empty()).then(|| to_json("variables", env)).transpose()?;
        let mut request = job.request.clone();
        request.command.env.values_mut().for_each(String::clear);
        sqlx::query(
            "INSERT INTO jobs (id, project, ordered_by, request, env, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(job.id.as_str())
        .bind(job.project.as_str())
        .bind(&job.by)
        .bind(to_json("a job", &request)?)
        .bind(values)
        .bind(big(job.created_at.0))
        .bind(job.expires_at.map(|at| big(at.0)))
        .execute(&mut *tx)
        .await
        .map_err(at("writing a job"))?;
        for run in runs {
            insert(&mut tx, &job.id, run).await?;
        }
        let body = EventBody::JobBegan {
            job: job.id.clone(),
            by: job.by.clone(),
            command: job.request.command.argv.clone(),
            targets: u32::try_from(runs.len()).unwrap_or(u32::MAX),
        };
        tell(&mut tx, job, job.created_at, body).await?;
        let forgotten = forget(&mut tx, job).await?;
        commit(tx).await?;
        forgotten.iter().map(|id| super::parse("a job", id)).collect()
    }

    /// Writes down that a target is about to be asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_run(&self, job: &JobId, number: usize) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE runs SET sent = 1 WHERE job = $1 AND number = $2")
            .bind(job.as_str())
            .bind(big(number as u64))
            .execute(&mut *tx)
            .await
            .map_err(at("writing that a device is asked"))?;
        commit(tx).await
    }

    /// Writes down how targets ended; only the first verdict of each counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_runs(&self, job: &JobId, ends: &[(usize, Ended, u64)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (number, ended, missing) in ends {
            sqlx::query(
                "UPDATE runs SET verdict = $3, began_at = $4, ended_at = $5, missing = $6 \
                 WHERE job = $1 AND number = $2 AND verdict IS NULL",
            )
            .bind(job.as_str())
            .bind(big(*number as u64))
            .bind(to_json("a verdict", &ended.verdict)?)
            .bind(ended.began_at.map(|at| big(at.0)))
            .bind(big(ended.ended_at.0))
            .bind(big(*missing))
            .execute(&mut *tx)
            .await
            .map_err(at("writing how a command ended"))?;
        }
        commit(tx).await
    }

    /// Writes down that a job has ended, with its event. Nothing happens when it had ended already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_job(&self, job: &JobRecord, now: UnixMillis) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("UPDATE jobs SET ended_at = $2, env = NULL WHERE id = $1 AND ended_at IS NULL")
            .bind(job.id.as_str())
            .bind(big(now.0))
            .execute(&mut *tx)
            .await
            .map_err(at("writing the end of a job"))?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        let row = sqlx::query(select!("WHERE id = $1"))
            .bind(job.id.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(at("reading a job"))?;
        let (record, counts) = record(&row)?;
        let body =
            EventBody::JobEnded { job: job.id.clone(), ok: counts.ok, not_ok: counts.not_ok, by: record.cancelled_by };
        tell(&mut tx, job, now, body).await?;
        commit(tx).await
    }

    /// Writes down who cancelled a job; the first one counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_job(&self, job: &JobId, by: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE jobs SET cancelled_by = $2 WHERE id = $1 AND cancelled_by IS NULL AND ended_at IS NULL")
            .bind(job.as_str())
            .bind(by)
            .execute(&mut *tx)
            .await
            .map_err(at("writing who cancelled a job"))?;
        commit(tx).await
    }

    /// The project's jobs, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, project: &ProjectName) -> Result<Vec<(JobRecord, JobCounts)>, StoreError> {
        let rows = sqlx::query(select!("WHERE project = $1 ORDER BY created_at DESC, id"))
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading jobs"))?;
        rows.iter().map(record).collect()
    }

    /// Which of the project's jobs have a target that has one of these names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs_on(&self, project: &ProjectName, names: &[&str]) -> Result<BTreeSet<JobId>, StoreError> {
        let reading = "reading which jobs a device has";
        let mut tx = self.snapshot().await?;
        let mut jobs = BTreeSet::new();
        for names in names.chunks(NAMES_AT_ONCE) {
            let begin = "SELECT DISTINCT job FROM runs JOIN jobs ON id = job WHERE project = ";
            let mut query = sqlx::QueryBuilder::new(begin);
            query.push_bind(project.as_str()).push(" AND name IN (");
            let mut list = query.separated(", ");
            for name in names {
                list.push_bind(*name);
            }
            query.push(")");
            let found: Vec<String> = query.build_query_scalar().fetch_all(&mut *tx).await.map_err(at(reading))?;
            for id in found {
                jobs.insert(super::parse("a job", &id)?);
            }
        }
        Ok(jobs)
    }

    /// One job of the project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, project: &ProjectName, id: &JobId) -> Result<Option<(JobRecord, JobCounts)>, StoreError> {
        let row = sqlx::query(select!("WHERE project = $1 AND id = $2"))
            .bind(project.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading a job"))?;
        row.as_ref().map(record).transpose()
    }

    /// The targets of a job, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn runs(&self, job: &JobId) -> Result<Vec<RunRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, name, device, sent, verdict, began_at, ended_at, missing FROM runs WHERE job = $1 \
             ORDER BY number",
        )
        .bind(job.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading the targets of a job"))?;
        rows.iter().map(run).collect()
    }

    /// All jobs, of whatever project, that have not ended; with the values of their variables, where these are still
    /// needed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        let rows = sqlx::query(select!("WHERE ended_at IS NULL ORDER BY created_at, id"))
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading the jobs that go on"))?;
        let mut jobs = Vec::new();
        for row in &rows {
            let (mut job, _) = record(row)?;
            let env: Option<String> = sqlx::query_scalar("SELECT env FROM jobs WHERE id = $1")
                .bind(job.id.as_str())
                .fetch_one(&self.readers)
                .await
                .map_err(at("reading the variables of a job"))?;
            if let Some(env) = env {
                let values: BTreeMap<String, String> = super::from_json("variables", &env)?;
                job.request.command.env = values;
            }
            jobs.push(job);
        }
        Ok(jobs)
    }
}

async fn insert(tx: &mut Tx, job: &JobId, run: &RunRecord) -> Result<(), StoreError> {
    let verdict = run.ended.as_ref().map(|ended| to_json("a verdict", &ended.verdict)).transpose()?;
    sqlx::query(
        "INSERT INTO runs (job, number, name, device, sent, verdict, ended_at, missing) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
    )
    .bind(job.as_str())
    .bind(big(run.number as u64))
    .bind(&run.name)
    .bind(run.device.as_ref().map(DeviceId::as_str))
    .bind(i64::from(run.sent))
    .bind(verdict)
    .bind(run.ended.as_ref().map(|ended| big(ended.ended_at.0)))
    .execute(&mut **tx)
    .await
    .map_err(at("writing a target of a job"))?;
    Ok(())
}

/// Forgets the oldest jobs of the project that have ended; which they were.
async fn forget(tx: &mut Tx, job: &JobRecord) -> Result<Vec<String>, StoreError> {
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM jobs WHERE project = $1 AND ended_at IS NOT NULL AND (ended_at < $3 OR id NOT IN \
         (SELECT id FROM jobs WHERE project = $1 ORDER BY created_at DESC, id LIMIT $2))",
    )
    .bind(job.project.as_str())
    .bind(i64::from(MAX_JOBS))
    .bind(big(job.created_at.0.saturating_sub(KEPT_MILLIS)))
    .fetch_all(&mut **tx)
    .await
    .map_err(at("looking for old jobs"))?;
    for id in &old {
        for statement in ["DELETE FROM runs WHERE job = $1", "DELETE FROM jobs WHERE id = $1"] {
            sqlx::query(statement).bind(id).execute(&mut **tx).await.map_err(at("forgetting old jobs"))?;
        }
    }
    Ok(old)
}

async fn tell(tx: &mut Tx, job: &JobRecord, at: UnixMillis, body: EventBody) -> Result<(), StoreError> {
    let event = NewEvent { at, device: None, application: None, path: None, body };
    events::append(tx, &job.project, &[event]).await.map(drop)
}

fn record(row: &SqliteRow) -> Result<(JobRecord, JobCounts), StoreError> {
    let columns = Columns::of("a job", row);
    let (targets, ok, judged) = (columns.small("targets")?, columns.small("good")?, columns.small("judged")?);
    let job = JobRecord {
        id: columns.name("id")?,
        project: columns.name("project")?,
        by: columns.text("ordered_by")?.to_owned(),
        request: columns.json("request")?,
        created_at: UnixMillis(columns.number("created_at")?),
        expires_at: columns.number_or_null("expires_at")?.map(UnixMillis),
        ended_at: columns.number_or_null("ended_at")?.map(UnixMillis),
        cancelled_by: columns.text_or_null("cancelled_by")?.map(str::to_owned),
    };
    Ok((job, JobCounts { targets, ok, not_ok: judged.saturating_sub(ok) }))
}

fn run(row: &SqliteRow) -> Result<RunRecord, StoreError> {
    let columns = Columns::of("a target of a job", row);
    let verdict: Option<Verdict> =
        columns.text_or_null("verdict")?.map(|text| super::from_json("a verdict", text)).transpose()?;
    let ended = match (verdict, columns.number_or_null("ended_at")?) {
        (Some(verdict), Some(at)) => Some(Ended {
            verdict,
            began_at: columns.number_or_null("began_at")?.map(UnixMillis),
            ended_at: UnixMillis(at),
        }),
        (None, _) | (_, None) => None,
    };
    Ok(RunRecord {
        number: usize::try_from(columns.number("number")?).unwrap_or(usize::MAX),
        name: columns.text("name")?.to_owned(),
        device: columns.name_or_null("device")?,
        sent: columns.flag("sent")?,
        ended,
        missing: columns.number("missing")?,
    })
}
