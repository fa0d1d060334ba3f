//! The history of an application: what was applied, by whom, why, and what came of it.

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::api::RevisionView;
use robo_wire::plan::Summary;
use sqlx::sqlite::SqliteRow;

use super::applications::Revision;
use super::{Columns, Store, StoreError, Tx, at, big, to_json};
use crate::plan::Desired;

/// Most revisions kept of one application; older ones go. Each holds names and hashes, not the files.
pub const MAX_REVISIONS: u64 = 100;

/// What is told of a revision beside what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Whose token applied it.
    pub by: String,
    /// Why, where somebody said so.
    pub note: Option<String>,
    /// The revision that it brings back.
    pub rollback_of: Option<u64>,
    /// What applying it does, in numbers.
    pub summary: Summary,
}

const REVISION: &str = "a revision";

/// `instances` is unknown of revisions from before it was counted: then the graph says it.
const VIEW: &str = "number, applied_at, applied_by, note, rollback_of, version, instances, summary, \
     CASE WHEN instances IS NULL THEN graph END AS uncounted";

impl Store {
    /// What is told of the application's revisions that are kept, newest first; none when there is no such application.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revisions(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<Vec<RevisionView>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {VIEW} FROM revisions WHERE project = $1 AND application = $2 ORDER BY number DESC"
        )))
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading revisions"))?;
        rows.iter().map(view).collect()
    }

    /// One revision of the application, and what is told of it; nothing when it never was or is no longer kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revision(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        number: u64,
    ) -> Result<Option<(Revision, RevisionView)>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {VIEW}, bundle, graph, recipes, bindings FROM revisions \
             WHERE project = $1 AND application = $2 AND number = $3"
        )))
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(big(number))
        .fetch_optional(&self.readers)
        .await
        .map_err(at("reading a revision"))?;
        row.as_ref().map(|row| Ok((content(row)?, view(row)?))).transpose()
    }
}

/// What a revision is; the row has the columns `number`, `bundle`, `graph`, `recipes` and `bindings`.
pub(super) fn content(row: &SqliteRow) -> Result<Revision, StoreError> {
    let columns = Columns::of(REVISION, row);
    Ok(Revision {
        number: columns.number("number")?,
        bundle: columns.json("bundle")?,
        desired: Desired { application: columns.json("graph")?, recipes: columns.json("recipes")? },
        bindings: columns.json("bindings")?,
    })
}

fn view(row: &SqliteRow) -> Result<RevisionView, StoreError> {
    let columns = Columns::of(REVISION, row);
    let uncounted = columns.text_or_null("uncounted")?;
    let graph: Option<Application> = uncounted.map(|text| super::from_json(REVISION, text)).transpose()?;
    let version = columns.text_or_null("version")?.map(str::to_owned);
    let instances = columns.number_or_null("instances")?.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Ok(RevisionView {
        number: columns.number("number")?,
        applied_at: UnixMillis(columns.number("applied_at")?),
        by: columns.text("applied_by")?.to_owned(),
        note: columns.text_or_null("note")?.map(str::to_owned),
        rollback_of: columns.number_or_null("rollback_of")?,
        version: version.or_else(|| graph.as_ref().and_then(|graph| graph.version.clone())),
        instances: instances.or_else(|| graph.as_ref().map(|graph| graph.instances.len())).unwrap_or_default(),
        summary: columns.json("summary")?,
    })
}

/// Adds a revision and drops those beyond [`MAX_REVISIONS`].
pub(super) async fn write(
    tx: &mut Tx,
    project: &ProjectName,
    (revision, told): (&Revision, &Told),
    now: UnixMillis,
) -> Result<(), StoreError> {
    let application = &revision.desired.application;
    let name = application.name.as_str();
    // A number that is there already belongs to somebody else's apply: the key then refuses this one.
    sqlx::query(
        "INSERT INTO revisions (project, application, number, bundle, graph, recipes, bindings, applied_at, \
         applied_by, note, rollback_of, version, instances, summary) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(project.as_str())
    .bind(name)
    .bind(big(revision.number))
    .bind(to_json("a bundle", &revision.bundle)?)
    .bind(to_json("a graph", application)?)
    .bind(to_json("recipes", &revision.desired.recipes)?)
    .bind(to_json("bindings", &revision.bindings)?)
    .bind(big(now.0))
    .bind(told.by.as_str())
    .bind(told.note.as_deref())
    .bind(told.rollback_of.map(big))
    .bind(application.version.as_deref())
    .bind(i64::try_from(application.instances.len()).unwrap_or(i64::MAX))
    .bind(to_json("a summary", &told.summary)?)
    .execute(&mut **tx)
    .await
    .map_err(at("writing a revision"))?;
    sqlx::query("DELETE FROM revisions WHERE project = $1 AND application = $2 AND number <= $3")
        .bind(project.as_str())
        .bind(name)
        .bind(big(revision.number.saturating_sub(MAX_REVISIONS)))
        .execute(&mut **tx)
        .await
        .map_err(at("dropping old revisions"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPH: &str = r#"{"name": "shop", "version": "1.2", "components": {}, "instances": {}}"#;

    async fn store(data: &std::path::Path) -> Store {
        let store = Store::open(data).await.unwrap();
        let application = "INSERT INTO applications VALUES ('default', 'shop', NULL, 1, 5, 0, '')";
        sqlx::query(application).execute(&store.writer).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_revision_from_before_there_was_a_history_is_read() {
        let data = tempfile::tempdir().unwrap();
        let store = store(data.path()).await;
        let old = "INSERT INTO revisions (project, application, number, bundle, graph, recipes, bindings, applied_at) \
             VALUES ('default', 'shop', 1, '{\"entry\":{\"kind\":\"project\"},\"sources\":{}}', $1, '{}', '{}', 5)";
        sqlx::query(old).bind(GRAPH).execute(&store.writer).await.unwrap();
        let (project, shop) = (ProjectName::default_project(), "shop".parse().unwrap());
        let expect = RevisionView {
            number: 1,
            applied_at: UnixMillis(5),
            by: String::new(),
            note: None,
            rollback_of: None,
            version: Some("1.2".to_owned()),
            instances: 0,
            summary: Summary::default(),
        };
        assert_eq!(store.revisions(&project, &shop).await.unwrap(), std::slice::from_ref(&expect));
        assert_eq!(store.revision(&project, &shop, 1).await.unwrap().unwrap().1, expect);
        assert!(store.revision(&project, &shop, 2).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_oldest_revisions_go() {
        let data = tempfile::tempdir().unwrap();
        let store = store(data.path()).await;
        let (project, shop) = (ProjectName::default_project(), "shop".parse().unwrap());
        let bundle = serde_json::from_str(r#"{"entry":{"kind":"project"},"sources":{}}"#).unwrap();
        let desired = Desired { application: serde_json::from_str(GRAPH).unwrap(), recipes: [].into() };
        let mut revision = Revision { number: 0, bundle, desired, bindings: [].into() };
        let told = Told { by: "ann".into(), note: Some("why".into()), rollback_of: Some(7), ..Told::default() };
        let mut tx = store.begin().await.unwrap();
        for number in 1..=MAX_REVISIONS + 2 {
            revision.number = number;
            write(&mut tx, &project, (&revision, &told), UnixMillis(number)).await.unwrap();
        }
        crate::store::commit(tx).await.unwrap();
        let kept = store.revisions(&project, &shop).await.unwrap();
        let numbers: Vec<u64> = kept.iter().map(|view| view.number).collect();
        assert_eq!(numbers, (3..=MAX_REVISIONS + 2).rev().collect::<Vec<_>>());
        assert_eq!((kept[0].by.as_str(), kept[0].note.as_deref(), kept[0].rollback_of), ("ann", Some("why"), Some(7)));
    }
}
