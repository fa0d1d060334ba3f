//! Which applications the external imports of an application come from.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_wire::event::EventBody;

use super::applications::{assign, of_application};
use super::events::{self, NewEvent};
use super::{Columns, Committed, Specs, Store, StoreError, Tx, at, commit};
use crate::plan::Prefixes;

/// All bindings of one prefix.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// Whose imports.
    pub application: &'a ApplicationName,
    /// Of which prefix.
    pub prefix: &'a ComponentName,
    /// Where they come from.
    pub to: &'a BTreeSet<ApplicationName>,
    /// What the devices should then run of the application.
    pub specs: &'a Specs,
}

/// An application without one that it was bound to.
#[derive(Debug, Clone)]
pub struct LetGo {
    /// Whose imports.
    pub application: ApplicationName,
    /// Where those of each prefix that is touched come from now.
    pub prefixes: Prefixes,
    /// What the devices should then run of it.
    pub specs: Specs,
}

impl LetGo {
    /// What the history tells.
    pub(super) fn events(&self, now: UnixMillis) -> impl Iterator<Item = NewEvent> + '_ {
        self.prefixes.iter().map(move |(prefix, to)| of_application(&self.application, bound(prefix, to), now))
    }
}

const BINDING: &str = "a binding";

impl Store {
    /// All bindings of the project, by the application that imports.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings(&self, project: &ProjectName) -> Result<BTreeMap<ApplicationName, Prefixes>, StoreError> {
        let rows = sqlx::query("SELECT application, prefix, provider FROM bindings WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(at("reading all bindings"))?;
        let mut all: BTreeMap<ApplicationName, Prefixes> = BTreeMap::new();
        for row in &rows {
            let columns = Columns::of(BINDING, row);
            let of_it = all.entry(columns.name("application")?).or_default();
            of_it.entry(columns.name("prefix")?).or_default().insert(columns.name("provider")?);
        }
        Ok(all)
    }

    /// The project's applications that offer something to others, by their prefix.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn offers(&self, project: &ProjectName) -> Result<Prefixes, StoreError> {
        let mut tx = self.snapshot().await?;
        // A prefix that no version wrote down is in the graph.
        let rows = sqlx::query(
            "SELECT a.name, a.exports_prefix, \
             CASE WHEN a.exports_prefix IS NULL THEN r.graph ELSE NULL END AS graph \
             FROM applications a JOIN revisions r \
             ON r.project = a.project AND r.application = a.name AND r.number = a.revision \
             WHERE a.project = $1 AND (a.exports_prefix IS NULL OR a.exports_prefix <> '')",
        )
        .bind(project.as_str())
        .fetch_all(&mut *tx)
        .await
        .map_err(at("reading what applications offer"))?;
        let mut offers = Prefixes::new();
        for row in &rows {
            let columns = Columns::of("an application's prefix", row);
            let prefix = match columns.text_or_null("exports_prefix")? {
                Some(_) => columns.name_or_null("exports_prefix")?,
                None => columns.json::<Application>("graph")?.exports_prefix,
            };
            if let Some(prefix) = prefix {
                offers.entry(prefix).or_default().insert(columns.name("name")?);
            }
        }
        Ok(offers)
    }

    /// Replaces all bindings of a prefix, with everything that follows from it, all or nothing.
    ///
    /// # Errors
    /// When one of the applications is not there, a device's assignment would be too large, or the database fails.
    pub async fn bind(&self, project: &ProjectName, bind: &Bind<'_>, now: UnixMillis) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        for name in std::iter::once(bind.application).chain(bind.to) {
            check_application(&mut tx, project, name).await?;
        }
        sqlx::query("DELETE FROM bindings WHERE project = $1 AND application = $2 AND prefix = $3")
            .bind(project.as_str())
            .bind(bind.application.as_str())
            .bind(bind.prefix.as_str())
            .execute(&mut *tx)
            .await
            .map_err(at("dropping bindings"))?;
        for provider in bind.to {
            sqlx::query("INSERT INTO bindings (project, application, prefix, provider) VALUES ($1, $2, $3, $4)")
                .bind(project.as_str())
                .bind(bind.application.as_str())
                .bind(bind.prefix.as_str())
                .bind(provider.as_str())
                .execute(&mut *tx)
                .await
                .map_err(at("writing a binding"))?;
        }
        let devices = assign(&mut tx, project, bind.application, bind.specs).await?;
        let told = of_application(bind.application, bound(bind.prefix, bind.to), now);
        let cursor = events::append(&mut tx, project, &[told]).await?;
        commit(tx).await?;
        Ok(Committed { cursor, devices })
    }
}

fn bound(prefix: &ComponentName, to: &BTreeSet<ApplicationName>) -> EventBody {
    EventBody::Bound { prefix: prefix.clone(), applications: to.iter().cloned().collect() }
}

/// Takes `name` out of all bindings; gives the devices that run something else without it.
pub(super) async fn let_go(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
    importers: &[LetGo],
) -> Result<Vec<DeviceId>, StoreError> {
    sqlx::query("DELETE FROM bindings WHERE project = $1 AND provider = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .execute(&mut **tx)
        .await
        .map_err(at("dropping the bindings to an application"))?;
    let mut devices = Vec::new();
    for importer in importers {
        devices.extend(assign(tx, project, &importer.application, &importer.specs).await?);
    }
    Ok(devices)
}

/// Where external imports of `name` come from.
pub(super) async fn prefixes(
    tx: &mut Tx,
    project: &ProjectName,
    name: &ApplicationName,
) -> Result<Prefixes, StoreError> {
    let rows = sqlx::query("SELECT prefix, provider FROM bindings WHERE project = $1 AND application = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_all(&mut **tx)
        .await
        .map_err(at("reading bindings"))?;
    let mut prefixes = Prefixes::new();
    for row in &rows {
        let columns = Columns::of(BINDING, row);
        prefixes.entry(columns.name("prefix")?).or_default().insert(columns.name("provider")?);
    }
    Ok(prefixes)
}

async fn check_application(tx: &mut Tx, project: &ProjectName, name: &ApplicationName) -> Result<(), StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT revision FROM applications WHERE project = $1 AND name = $2")
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(at("looking for an application"))?;
    if found.is_none() {
        return Err(StoreError::NoApplication { name: name.clone() });
    }
    Ok(())
}
