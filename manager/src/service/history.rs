//! What was applied, by whom and why, and how two revisions differ.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{ApplicationName, ProjectName};
use robo_model::spec::{FileHash, FileRef};
use robo_wire::api::{Bundle, Entry, FileDiff, RevisionDetail, RevisionDiff, RevisionView};

use super::Service;
use super::error::ServiceError;
use crate::plan;
use crate::store::Revision;

/// Most characters of a note: a paragraph, so that a hundred of them stay a list.
const MAX_NOTE_CHARS: usize = 1000;

impl Service {
    /// The application's revisions that are kept, newest first.
    ///
    /// # Errors
    /// When there is no such application, or the store fails.
    pub async fn revisions(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
    ) -> Result<Vec<RevisionView>, ServiceError> {
        let revisions = self.store().revisions(project, name).await?;
        if revisions.is_empty() {
            return Err(self.no_application(project, name).await?);
        }
        Ok(revisions)
    }

    /// One revision, with what was sent.
    ///
    /// # Errors
    /// When there is no such application or revision, or the store fails.
    pub async fn revision(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        number: u64,
    ) -> Result<RevisionDetail, ServiceError> {
        let (content, revision) = self.kept(project, name, number).await?;
        Ok(RevisionDetail { revision, bundle: content.bundle })
    }

    /// How two revisions differ, whichever is the newer.
    ///
    /// # Errors
    /// When there is no such application or revision, or the store fails.
    pub async fn revision_diff(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        (from, to): (u64, u64),
    ) -> Result<RevisionDiff, ServiceError> {
        let (old, _) = self.kept(project, name, from).await?;
        let (new, _) = self.kept(project, name, to).await?;
        let comparing = tokio::task::spawn_blocking(move || {
            let changes = plan::compare((&old.desired, &old.bindings), (&new.desired, &new.bindings));
            RevisionDiff { from, to, changes, files: file_diffs(&old.bundle, &new.bundle) }
        });
        comparing.await.map_err(|error| ServiceError::Broken(error.to_string()))
    }

    /// Refuses a file that the revision does not have.
    ///
    /// # Errors
    /// When there is no such application, revision or file in it, or the store fails.
    pub async fn check_revision_file(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        number: u64,
        hash: &FileHash,
    ) -> Result<(), ServiceError> {
        let (revision, _) = self.kept(project, name, number).await?;
        let bundle = &revision.bundle;
        let mut files = bundle.sources.values().chain(bundle.recipes.values().flat_map(BTreeMap::values));
        if files.any(|file| file.hash == *hash) {
            return Ok(());
        }
        Err(ServiceError::NoRevisionFile { application: name.clone(), number, hash: hash.clone() })
    }

    /// Refuses an apply that calls itself a rollback and is none: the history would lie.
    pub(super) async fn check_rollback(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        number: u64,
        bundle: &Bundle,
    ) -> Result<(), ServiceError> {
        let (revision, _) = self.kept(project, name, number).await?;
        if revision.bundle == *bundle {
            return Ok(());
        }
        Err(ServiceError::NoRollback { application: name.clone(), number })
    }

    /// The revision, or why there is none.
    async fn kept(
        &self,
        project: &ProjectName,
        name: &ApplicationName,
        number: u64,
    ) -> Result<(Revision, RevisionView), ServiceError> {
        if let Some(found) = self.store().revision(project, name, number).await? {
            return Ok(found);
        }
        let revisions = self.revisions(project, name).await?;
        let kept = revisions.last().zip(revisions.first()).map(|(oldest, newest)| (oldest.number, newest.number));
        Err(ServiceError::NoRevision { application: name.clone(), number, kept })
    }
}

/// The note as it is kept: without blanks around it; an empty one is none.
pub(super) fn note(text: Option<String>) -> Result<Option<String>, ServiceError> {
    let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.chars().count() {
        characters if characters > MAX_NOTE_CHARS => Err(ServiceError::NoteTooLong { characters, max: MAX_NOTE_CHARS }),
        _ => Ok(Some(text)),
    }
}

/// The files that differ, by path.
fn file_diffs(old: &Bundle, new: &Bundle) -> Vec<FileDiff> {
    let (old, new) = (by_path(old), by_path(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| FileDiff {
            path: path.clone(),
            before: old.get(path).copied().cloned(),
            after: new.get(path).copied().cloned(),
        })
        .collect()
}

/// Sources and recipe files by their path below the application's folder. A recipe file that is a source too is one file.
fn by_path(bundle: &Bundle) -> BTreeMap<String, &FileRef> {
    let root = match bundle.entry {
        Entry::File(_) => "",
        Entry::Project => "graph/",
    };
    let recipes = bundle.recipes.iter();
    let recipes =
        recipes.flat_map(|(name, files)| files.iter().map(move |(path, file)| (format!("{root}{name}/{path}"), file)));
    let mut all: BTreeMap<String, &FileRef> = recipes.collect();
    all.extend(bundle.sources.iter().map(|(path, file)| (path.to_string(), file)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_by_their_path() {
        let bundle = |sources: &[(&str, char)], recipe: &[(&str, char)]| -> Bundle {
            let files = |list: &[(&str, char)]| -> serde_json::Value {
                list.iter()
                    .map(|(path, c)| {
                        ((*path).to_owned(), serde_json::json!({"hash": c.to_string().repeat(64), "size": 1}))
                    })
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            let entry = serde_json::json!({"kind": "project"});
            serde_json::from_value(
                serde_json::json!({"entry": entry, "sources": files(sources), "recipes": {"Db": files(recipe)}}),
            )
            .unwrap()
        };
        let old = bundle(&[("graph/a.graph", '1'), ("descriptor/x", '2')], &[("start.sh", '3'), ("gone", '4')]);
        let new = bundle(&[("graph/a.graph", '5'), ("descriptor/x", '2')], &[("start.sh", '6'), ("new", '4')]);
        let told: Vec<_> = file_diffs(&old, &new)
            .into_iter()
            .map(|diff| (diff.path, diff.before.is_some(), diff.after.is_some()))
            .collect();
        let expect = [
            ("graph/Db/gone", true, false),
            ("graph/Db/new", false, true),
            ("graph/Db/start.sh", true, true),
            ("graph/a.graph", true, true),
        ];
        assert_eq!(told, expect.map(|(path, before, after)| (path.to_owned(), before, after)));
        assert!(file_diffs(&old, &old).is_empty());
    }

    #[test]
    fn a_note_is_kept_as_it_was_meant() {
        let kept = |text: &str| note(Some(text.to_owned())).ok();
        assert_eq!(kept("  why  \n"), Some(Some("why".to_owned())));
        assert_eq!(kept("  "), Some(None));
        assert_eq!(kept(&"ä".repeat(MAX_NOTE_CHARS)), Some(Some("ä".repeat(MAX_NOTE_CHARS))));
        assert_eq!(kept(&"ä".repeat(MAX_NOTE_CHARS + 1)), None);
    }
}
