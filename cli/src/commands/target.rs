//! Which application, and which instance in it, a command is about.

use robo_model::name::{ApplicationName, InstancePath};
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
