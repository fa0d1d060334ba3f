//! Which uploaded files somebody still needs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use robo_model::spec::FileHash;
use robo_wire::api::Bundle;

use super::{Store, StoreError, at, from_json};

impl Store {
    /// The files that a revision or an assignment names. Reads one after the other: all of them together may be large.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn needed_files(&self) -> Result<BTreeSet<FileHash>, StoreError> {
        let reading = "reading which files are needed";
        let mut tx = self.snapshot().await?;
        let mut needed = BTreeSet::new();
        let mut bundles = sqlx::query_scalar("SELECT bundle FROM revisions").fetch(&mut *tx);
        while let Some(text) = bundles.try_next().await.map_err(at(reading))? {
            let text: String = text;
            let bundle: Bundle = from_json("a bundle", &text)?;
            let files = bundle.sources.into_values();
            needed.extend(files.chain(bundle.recipes.into_values().flat_map(BTreeMap::into_values)).map(|f| f.hash));
        }
        drop(bundles);
        let mut assigned = sqlx::query_scalar("SELECT files FROM assignments").fetch(&mut *tx);
        while let Some(text) = assigned.try_next().await.map_err(at(reading))? {
            let text: String = text;
            needed.extend(from_json::<Vec<FileHash>>("an assignment's files", &text)?);
        }
        Ok(needed)
    }
}
