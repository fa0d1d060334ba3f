//! Which application, and which instance in it, a command is about.

use robo_model::name::{ApplicationName, InstancePath};
use robo_model::spec::InstanceKey;
use robo_wire::api::ApplicationView;

use crate::client::Client;
use crate::error::CliError;

/// Most applications that are named when one has to be chosen.
const NAMED: usize = 10;

/// What was typed: an application, an instance path, both, or both in one word (`shop/database/db`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) application: Option<ApplicationName>,
    pub(super) path: Option<InstancePath>,
}

impl Target {
    /// Reads the words.
    ///
    /// # Errors
    /// When they name more than one application or path, or are no names.
    pub(super) fn parse(words: &[String]) -> Result<Self, CliError> {
        let mut target = Self::default();
        for word in words {
            let (application, path) = split(word);
            if !application.is_empty() {
                let name = ApplicationName::new(application).map_err(|error| CliError::new(error.to_string()))?;
                if target.application.replace(name).is_some() {
                    return Err(CliError::new(format!("`{word}` is a second application"))
                        .help("an instance's path begins with `/`, as in `/database/db`"));
                }
            }
            if !path.is_empty() {
                let path = InstancePath::new(path).map_err(|error| CliError::new(error.to_string()))?;
                if target.path.replace(path).is_some() {
                    return Err(CliError::new(format!("`{word}` is a second instance")).help("name one"));
                }
            }
        }
        Ok(target)
    }

    /// [`Target::parse`] for a command that takes no instance.
    ///
    /// # Errors
    /// When the words name more than one application, or an instance.
    pub(super) fn parse_application(words: &[String]) -> Result<Self, CliError> {
        let target = Self::parse(words)?;
        match &target.path {
            None => Ok(target),
            Some(path) => Err(CliError::new(format!("`{path}` is an instance, and a whole application is meant"))
                .help("give the application's name, as in `robo history shop`")),
        }
    }

    /// The one instance that a word names, `shop/database/db`, or `/database/db` where there is one application.
    ///
    /// # Errors
    /// When it names none, or the application has to be said.
    pub(super) async fn instance(word: &str, client: &Client) -> Result<InstanceKey, CliError> {
        let target = Self::parse(&[word.to_owned()])?;
        let Some(path) = target.path.clone() else {
            return Err(CliError::new(format!("`{word}` is an application, and one instance of it is meant"))
                .help(format!("give its path too, as in `{word}/database/db`; `robo status {word}` shows all")));
        };
        Ok(InstanceKey { application: target.application(client).await?, path })
    }

    /// The application: the one that was typed, or the only one there is.
    ///
    /// # Errors
    /// When none was typed and there is none, or more than one.
    pub(super) async fn application(&self, client: &Client) -> Result<ApplicationName, CliError> {
        match &self.application {
            Some(name) => Ok(name.clone()),
            None => only(client.applications().await?),
        }
    }
}

/// What was typed: an application, and revisions of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RevisionTarget {
    target: Target,
    pub(super) revisions: Vec<u64>,
}

impl RevisionTarget {
    /// Reads the words: those that are numbers are revisions, at most `most` of them.
    ///
    /// # Errors
    /// When they name more than that, or are neither.
    pub(super) fn parse(words: &[String], most: usize) -> Result<Self, CliError> {
        let is_number = |word: &String| word.starts_with(|c: char| c.is_ascii_digit());
        let (numbers, names): (Vec<_>, Vec<_>) = words.iter().cloned().partition(is_number);
        let revision = |word: &String| {
            let number = word.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| {
                CliError::new(format!("`{word}` is no revision")).help("revisions are numbers from 1: `robo history`")
            })
        };
        let revisions: Vec<u64> = numbers.iter().map(revision).collect::<Result<_, _>>()?;
        if revisions.len() > most {
            return Err(CliError::new(format!("{} revisions are given, at most {most} are meant", revisions.len())));
        }
        Ok(Self { target: Target::parse_application(&names)?, revisions })
    }

    /// As [`Target::application`].
    ///
    /// # Errors
    /// When none was typed and there is none, or more than one.
    pub(super) async fn application(&self, client: &Client) -> Result<ApplicationName, CliError> {
        self.target.application(client).await
    }
}

/// At the first slash.
fn split(word: &str) -> (&str, &str) {
    word.split_at_checked(word.find('/').unwrap_or(word.len())).unwrap_or((word, ""))
}

fn only(applications: Vec<ApplicationView>) -> Result<ApplicationName, CliError> {
    match applications.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => Err(CliError::new("there is no application").help("apply one: `robo apply app.graph`")),
        many => {
            let names: Vec<_> = many.iter().take(NAMED).map(|a| a.name.as_str()).collect();
            let more = if many.len() > NAMED { " …" } else { "" };
            Err(CliError::new(format!("there are {} applications", many.len()))
                .help(format!("say which one: {}{more}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::UnixMillis;

    use super::*;

    fn check(words: &[&str], expect: Option<(&str, &str)>) {
        let words: Vec<_> = words.iter().map(|w| (*w).to_owned()).collect();
        let found = Target::parse(&words).ok().map(|target| {
            let application = target.application.map(String::from).unwrap_or_default();
            (application, target.path.map(String::from).unwrap_or_default())
        });
        let found = found.as_ref().map(|(a, p)| (a.as_str(), p.as_str()));
        assert_eq!(found, expect, "{words:?}");
    }

    #[test]
    fn applications_and_paths_are_told_apart_by_the_slash() {
        check(&[], Some(("", "")));
        check(&["/database/db"], Some(("", "/database/db")));
        check(&["shop", "/database/db"], Some(("shop", "/database/db")));
        check(&["shop/database/db"], Some(("shop", "/database/db")));
        check(&["shop", "lab"], None);
        check(&["/a", "/b"], None);
        check(&["/a//b"], None);
    }

    #[test]
    fn revisions_are_the_numbers() {
        let check = |words: &[&str], most, expect: Option<(Option<&str>, &[u64])>| {
            let words: Vec<_> = words.iter().map(|w| (*w).to_owned()).collect();
            let found = RevisionTarget::parse(&words, most).ok();
            let found = found.as_ref().map(|found| {
                (found.target.application.as_ref().map(ApplicationName::as_str), found.revisions.as_slice())
            });
            assert_eq!(found, expect, "{words:?}");
        };
        check(&[], 1, Some((None, &[])));
        check(&["3"], 1, Some((None, &[3])));
        check(&["shop", "3", "5"], 2, Some((Some("shop"), &[3, 5])));
        check(&["3", "shop"], 1, Some((Some("shop"), &[3])));
        check(&["shop", "3", "5"], 1, None);
        check(&["0"], 1, None);
        check(&["3x"], 1, None);
        check(&["shop", "lab"], 1, None);
        check(&["/a/b", "3"], 1, None);
    }

    #[test]
    fn without_a_name_there_must_be_one() {
        let view = |name: &str| ApplicationView {
            name: ApplicationName::new(name).unwrap(),
            revision: 1,
            version: None,
            applied_at: UnixMillis(0),
        };
        assert_eq!(only(vec![view("shop")]).unwrap().as_str(), "shop");
        assert_eq!(only(vec![]).unwrap_err().what(), "there is no application");
        assert_eq!(only(vec![view("a"), view("b")]).unwrap_err().helps(), ["say which one: a, b"]);
    }
}
