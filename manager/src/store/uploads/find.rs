//! Looking for files.

use robo_model::name::{DeviceName, FileName, ProjectName, UploadId};
use robo_wire::upload::{Meta, UploadSort, UploadState};
use sqlx::{QueryBuilder, Sqlite};

use super::{UploadRecord, record};
use crate::store::{Store, StoreError, at, big};

/// Each file, with its device as that is now.
const SELECT: &str = "SELECT u.*, d.name AS device_now, d.labels AS device_labels FROM uploads u \
     LEFT JOIN devices d ON d.id = u.device AND d.project = u.project ";

/// What counts as a file's size.
const SIZE: &str = "COALESCE(u.total, u.sent)";

/// Which files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadFilter {
    /// Those in this state.
    pub state: Option<UploadState>,
    /// Those of this device.
    pub device: Option<DeviceName>,
    /// Those with all of these keys and values.
    pub meta: Meta,
    /// By what they are sorted.
    pub sort: UploadSort,
    /// Those behind this one.
    pub after: Option<UploadAfter>,
}

/// The last file that was looked at: by what it is sorted, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadAfter {
    /// Its size or time; not looked at where names alone count.
    pub key: u64,
    /// Its name.
    pub name: FileName,
}

impl UploadAfter {
    /// The place behind `upload`.
    #[must_use]
    pub fn of(upload: &UploadRecord, sort: UploadSort) -> Self {
        let key = match sort {
            UploadSort::Name => 0,
            UploadSort::Size => upload.total.unwrap_or(upload.sent),
            UploadSort::Time => upload.created_at.0,
        };
        Self { key, name: upload.name.clone() }
    }
}

/// As a client is told, and says it again.
impl std::fmt::Display for UploadAfter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.key, self.name)
    }
}

impl std::str::FromStr for UploadAfter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (key, name) = text.split_once(':')?;
            Some(Self { key: key.parse().ok()?, name: name.parse().ok()? })
        };
        read().ok_or("it is no place in a list: take `next` of the page before as it is")
    }
}

impl Store {
    /// The file of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upload(&self, project: &ProjectName, name: &FileName) -> Result<Option<UploadRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE u.project = ").push_bind(project.as_str()).push(" AND u.name = ").push_bind(name.as_str());
        let row = query.build().fetch_optional(&self.readers).await.map_err(at("reading a file"))?;
        row.as_ref().map(record).transpose()
    }

    /// The file with this identity.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upload_by_id(&self, id: &UploadId) -> Result<Option<UploadRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE u.id = ").push_bind(id.as_str());
        let row = query.build().fetch_optional(&self.readers).await.map_err(at("reading a file"))?;
        row.as_ref().map(record).transpose()
    }

    /// The project's files that fit, at most `limit` of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uploads(
        &self,
        project: &ProjectName,
        filter: &UploadFilter,
        limit: u32,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE u.project = ").push_bind(project.as_str());
        if let Some(state) = filter.state {
            query.push(" AND u.state = ").push_bind(state.name());
        }
        if let Some(device) = &filter.device {
            query.push(" AND COALESCE(d.name, u.device_name) = ").push_bind(device.as_str());
        }
        for (key, value) in &filter.meta {
            query.push(" AND EXISTS (SELECT 1 FROM upload_meta m WHERE m.upload = u.id AND m.key = ").push_bind(key);
            query.push(" AND m.value = ").push_bind(value).push(")");
        }
        let column = match filter.sort {
            UploadSort::Name => None,
            UploadSort::Size => Some(SIZE),
            UploadSort::Time => Some("u.created_at"),
        };
        if let Some(UploadAfter { key, name }) = &filter.after {
            match column {
                None => query.push(" AND u.name > ").push_bind(name.as_str()),
                Some(column) => {
                    query.push(" AND (").push(column).push(" < ").push_bind(big(*key)).push(" OR (").push(column);
                    query.push(" = ").push_bind(big(*key)).push(" AND u.name > ").push_bind(name.as_str()).push("))")
                }
            };
        }
        query.push(" ORDER BY ");
        if let Some(column) = column {
            query.push(column).push(" DESC, ");
        }
        query.push("u.name LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.readers).await.map_err(at("reading files"))?;
        rows.iter().map(record).collect()
    }

    /// All files, of whatever project, for which something is to be done: those that are to come, and those whose device's own is
    /// to be removed. The oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_uploads(&self) -> Result<Vec<UploadRecord>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE u.state IN ('pending', 'in_progress') OR (u.state = 'completed' AND u.purge = '{\"state\":\"wanted\"}') ");
        query.push("ORDER BY u.created_at, u.id");
        let rows = query.build().fetch_all(&self.readers).await.map_err(at("reading the files that are to come"))?;
        rows.iter().map(record).collect()
    }
}
