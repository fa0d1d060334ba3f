//! Which instances that wait for their consumers may stop now.

use std::collections::BTreeSet;

use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::release::{self, Known};
use robo_model::spec::InstanceKey;
use robo_model::state::InstanceReport;

use super::{Columns, Store, StoreError, Tx, at, rules};

struct Row {
    device: DeviceId,
    online: bool,
    report: InstanceReport,
}

impl Store {
    /// The waiting instances of these applications, and of all that are connected with them, that may stop as far as
    /// other devices are concerned; [`robo_model::release::released`] says when. Answers all of them each time, and
    /// reads no report while nobody in the project waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn released(
        &self,
        project: &ProjectName,
        applications: &[ApplicationName],
    ) -> Result<BTreeSet<(DeviceId, InstanceKey)>, StoreError> {
        let mut tx = self.snapshot().await?;
        if !somebody_waits(&mut tx, project).await? {
            return Ok(BTreeSet::new());
        }
        let reaching = reaching(&mut tx, project).await?;
        let mut rows = Vec::new();
        for application in rules::connected(applications, reaching.iter().map(|(one, other)| (one, other))) {
            rows.extend(known(&mut tx, project, &application).await?);
        }
        let known = rows.iter().map(|row| Known { device: &row.device, online: row.online, report: &row.report });
        Ok(release::released(known))
    }
}

/// True when an instance of the project waits for its consumers to stop.
pub(super) async fn somebody_waits(tx: &mut Tx, project: &ProjectName) -> Result<bool, StoreError> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT application FROM instances WHERE project = $1 AND held = 1 LIMIT 1")
            .bind(project.as_str())
            .fetch_optional(&mut **tx)
            .await
            .map_err(at("looking for who waits"))?;
    Ok(found.is_some())
}

async fn reaching(tx: &mut Tx, project: &ProjectName) -> Result<Vec<(ApplicationName, ApplicationName)>, StoreError> {
    let rows = sqlx::query("SELECT DISTINCT application, other FROM reaches WHERE project = $1")
        .bind(project.as_str())
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading who needs which application"))?;
    rows.iter()
        .map(|row| {
            let columns = Columns::of("a need", row);
            Ok((columns.name("application")?, columns.name("other")?))
        })
        .collect()
}

/// What counts of an application's instances. One that is not assigned any more, or whose lease is over, offers nothing
/// to others; what it needs and waits for counts until it says otherwise.
async fn known(tx: &mut Tx, project: &ProjectName, application: &ApplicationName) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.device, i.report, d.online, \
         CASE WHEN a.device IS NULL OR i.lapsed = 1 THEN 0 ELSE 1 END AS offering \
         FROM instances i JOIN devices d ON d.id = i.device LEFT JOIN assigned a \
         ON a.device = i.device AND a.application = i.application AND a.path = i.path \
         WHERE i.project = $1 AND i.application = $2 AND (i.offers = 1 OR i.held = 1 OR i.needs = 1)",
    )
    .bind(project.as_str())
    .bind(application.as_str())
    .fetch_all(&mut **tx)
    .await
    .map_err(at("reading who waits for whom"))?;
    rows.iter()
        .map(|row| {
            let columns = Columns::of("an instance's report", row);
            let mut report: InstanceReport = columns.json("report")?;
            if !columns.flag("offering")? {
                report.exports.clear();
                report.outside.clear();
            }
            Ok(Row { device: columns.name("device")?, online: columns.flag("online")?, report })
        })
        .collect()
}
