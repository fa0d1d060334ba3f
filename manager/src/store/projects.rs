//! Projects, and how many devices each may have.

use robo_model::name::ProjectName;

use super::{Columns, Store, StoreError, Tx, at};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRecord {
    /// Its name.
    pub name: ProjectName,
    /// How many devices it has, whatever their state.
    pub devices: u32,
    /// How many it may have; any number where nothing is said.
    pub max_devices: Option<u32>,
}

impl Store {
    /// The projects, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn projects(&self) -> Result<Vec<ProjectRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, max_devices, (SELECT COUNT(*) FROM devices WHERE project = projects.name) AS devices \
             FROM projects ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(at("reading the projects"))?;
        let record = |row| {
            let columns = Columns::of("a project", row);
            let max = columns.number_or_null("max_devices")?;
            Ok(ProjectRecord {
                name: columns.name("name")?,
                devices: columns.small("devices")?,
                max_devices: max.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
            })
        };
        rows.iter().map(record).collect()
    }

    /// Makes a project. False when there is one of that name, which stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_project(&self, name: &ProjectName, max_devices: Option<u32>) -> Result<bool, StoreError> {
        let query =
            sqlx::query("INSERT INTO projects (name, max_devices) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
        let query = query.bind(name.as_str()).bind(max_devices.map(i64::from));
        let done = query.execute(&self.writer).await.map_err(at("making a project"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Says how many devices a project may have. Those that it has stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_quota(&self, name: &ProjectName, max_devices: Option<u32>) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE projects SET max_devices = $2 WHERE name = $1");
        let query = query.bind(name.as_str()).bind(max_devices.map(i64::from));
        query.execute(&self.writer).await.map_err(at("changing a project's quota")).map(drop)
    }
}

/// The bound of a project that has as many devices as it may have, or more; nothing of one that has room.
pub(super) async fn full(tx: &mut Tx, project: &ProjectName) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query(
        "SELECT max_devices FROM projects \
         WHERE name = $1 AND max_devices <= (SELECT COUNT(*) FROM devices WHERE project = $1)",
    )
    .bind(project.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(at("counting a project's devices"))?;
    row.map(|row| Columns::of("a project", &row).small("max_devices")).transpose()
}
