//! Keys of the manager's own.

use super::{Store, StoreError, at};

/// The key that seals tickets of calls.
const CALLS: &str = "calls";

impl Store {
    /// The key that seals tickets of calls: `fresh` where there is none yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call_key(&self, fresh: &str) -> Result<String, StoreError> {
        let reading = "reading a key";
        sqlx::query("INSERT INTO keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(CALLS)
            .bind(fresh)
            .execute(&self.writer)
            .await
            .map_err(at(reading))?;
        let query = sqlx::query_scalar("SELECT value FROM keys WHERE name = $1").bind(CALLS);
        query.fetch_one(&self.writer).await.map_err(at(reading))
    }
}
