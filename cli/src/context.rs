//! Contexts: the managers this user knows, in one file that only the user can read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use robo_model::name::ProjectName;
use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::paths::Paths;

/// Largest file of contexts or tokens that is read, in bytes: a CA has some hundred.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All of them.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One manager, and how to be known there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://HOST:PORT`.
    pub(crate) url: String,
    /// The manager's CA, in PEM.
    pub(crate) ca: String,
    /// The file that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// How the token goes on, where it is of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Login>,
    /// The project to work in where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectName>,
}

/// A login with an OpenID provider's identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// When the token ends.
    pub(crate) ends: UnixMillis,
    /// For another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("url", &self.url).field("token_file", &self.token_file).finish_non_exhaustive()
    }
}

impl Context {
    /// The token, from wherever it is.
    ///
    /// # Errors
    /// When its file cannot be read, or there is none.
    pub(crate) fn read_token(&self) -> Result<String, CliError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let Some(path) = &self.token_file else {
            return Err(CliError::new(format!("the context of {} has neither `token` nor `token_file`", self.url))
                .help("log in: `robo login`")
                .help("or add it again with `robo context add NAME --url URL --ca FILE --token-file FILE`"));
        };
        let text = read_bounded(path)
            .map_err(|error| CliError::new(format!("the token cannot be read from {}: {error}", path.display())))?;
        let token = text.trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(CliError::new(format!("{} does not hold one token", path.display()))
                .help("the file must contain the token and nothing else"));
        }
        Ok(token.to_owned())
    }
}

impl Contexts {
    /// Reads the file; without one there are no contexts.
    ///
    /// # Errors
    /// When it cannot be read or is not what it should be.
    pub(crate) fn load(paths: &Paths) -> Result<Self, CliError> {
        let path = paths.contexts();
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::new(format!("cannot read {}: {error}", path.display()))),
        };
        serde_yaml::from_str(&text).map_err(|error| {
            CliError::new(format!("{} is not a file of contexts: {error}", path.display()))
                .help("mend it, or move it away and add your contexts again with `robo context add`")
        })
    }

    /// Writes the file so that a reader sees the old or the new one, and only this user either.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn save(&self, paths: &Paths) -> Result<(), CliError> {
        let path = paths.contexts();
        let text = serde_yaml::to_string(self)
            .map_err(|error| CliError::new(format!("the contexts cannot be written as YAML: {error}")))?;
        write_private(&path, text.as_bytes())
            .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))
    }

    /// The context called `name`, or the current one.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<(&str, &Context), CliError> {
        let Some(name) = name.or(self.current.as_deref()) else {
            let error = CliError::new("robo does not know which manager to talk to");
            return Err(if self.contexts.is_empty() {
                error.help("try it all on this machine: `robo up app.graph`").help(
                    "or add your manager: `robo context add NAME --url https://HOST:7626 --ca FILE --token-file FILE`",
                )
            } else {
                error.help(format!("choose one: `robo context use NAME` ({})", self.names()))
            });
        };
        self.contexts.get_key_value(name).map(|(name, context)| (name.as_str(), context)).ok_or_else(|| {
            let error = CliError::new(format!("there is no context `{name}`"));
            if self.contexts.is_empty() {
                error.help("add it: `robo context add NAME --url https://HOST:7626 --ca FILE --token-file FILE`")
            } else {
                error.help(format!("there are: {}", self.names()))
            }
        })
    }

    /// Adds or replaces one and makes it the current one.
    pub(crate) fn put(&mut self, name: &str, context: Context) {
        self.contexts.insert(name.to_owned(), context);
        self.current = Some(name.to_owned());
    }

    /// Removes one; true when it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        self.contexts.remove(name).is_some()
    }

    fn names(&self) -> String {
        self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Reads a text file of at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// When it cannot be read, is no text, or is too large.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(std::io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Writes `bytes` to `path` through a neighbour that only this user can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension(format!("yaml.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() && std::fs::remove_file(&beside).is_err() {
        tracing::debug!("{} stays behind", beside.display());
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context() -> Context {
        Context {
            url: "https://127.0.0.1:7626".into(),
            ca: "PEM".into(),
            token_file: None,
            token: Some("secret".into()),
            login: Some(Login { ends: UnixMillis(1), refresh_token: Some("secret".into()) }),
            project: None,
        }
    }

    fn in_folder() -> (tempfile::TempDir, Paths) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { config: folder.path().join("a/b"), state: folder.path().join("s") };
        (folder, paths)
    }

    #[test]
    fn contexts_are_kept_for_the_user_alone() {
        let (_folder, paths) = in_folder();
        let mut contexts = Contexts::load(&paths).unwrap();
        contexts.put("local", context());
        contexts.save(&paths).unwrap();
        let read = Contexts::load(&paths).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.select(None).unwrap().0, "local");
        let mode = std::fs::metadata(paths.contexts()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&paths.config).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_missing_context_says_what_there_is() {
        let mut contexts = Contexts::default();
        assert!(contexts.select(None).unwrap_err().helps()[0].contains("robo up"));
        contexts.put("local", context());
        assert_eq!(contexts.select(Some("lab")).unwrap_err().helps(), ["there are: local"]);
        assert!(contexts.remove("local") && !contexts.remove("local"));
        assert_eq!(contexts.current, None);
    }

    #[test]
    fn broken_files_are_named() {
        let (folder, paths) = in_folder();
        std::fs::create_dir_all(&paths.config).unwrap();
        std::fs::write(paths.contexts(), "contexts: [1]").unwrap();
        assert!(Contexts::load(&paths).unwrap_err().what().contains("contexts.yaml is not a file of contexts"));
        let token = folder.path().join("token");
        std::fs::write(&token, "a b\n").unwrap();
        let context = Context { token: None, token_file: Some(token.clone()), ..context() };
        assert!(context.read_token().unwrap_err().what().contains("does not hold one token"));
        std::fs::write(&token, "abc\n").unwrap();
        assert_eq!(context.read_token().unwrap(), "abc");
    }

    #[test]
    fn a_token_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", context()).contains("secret"));
    }
}
