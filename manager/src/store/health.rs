//! What devices said of themselves when they were asked last.

use robo_model::name::DeviceId;
use robo_model::quantity::UnixMillis;
use robo_wire::health::HealthReport;

use super::{Columns, Store, StoreError, at, big, to_json};

impl Store {
    /// Remembers what a device says of itself, in the place of what it said before. Of a device that is gone, nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_health(&self, id: &DeviceId, report: &HealthReport, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO health (device, report, at) SELECT id, $2, $3 FROM devices WHERE id = $1 \
             ON CONFLICT (device) DO UPDATE SET report = excluded.report, at = excluded.at",
        )
        .bind(id.as_str())
        .bind(to_json("a device's health", report)?)
        .bind(big(now.0))
        .execute(&self.writer)
        .await
        .map_err(at("writing how a device is"))?;
        Ok(())
    }

    /// What the device said of itself last, and when; nothing where it was never asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn health(&self, id: &DeviceId) -> Result<Option<(HealthReport, UnixMillis)>, StoreError> {
        let row = sqlx::query("SELECT report, at FROM health WHERE device = $1")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(at("reading how a device was"))?;
        let read = |row| {
            let columns = Columns::of("a device's health", row);
            Ok((columns.json("report")?, UnixMillis(columns.number("at")?)))
        };
        row.as_ref().map(read).transpose()
    }
}
