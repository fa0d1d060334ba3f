//! What a manager is told about its OpenID provider.

use std::path::PathBuf;

use reqwest::Url;
use robo_model::access::{Grant, Role};
use robo_model::label::Selector;
use robo_model::name::{ProjectName, UserName};
use robo_model::quantity::Millis;
use serde::{Deserialize, Deserializer};

/// Most rules: each login looks at all of them.
const MAX_RULES: usize = 1000;

/// How long a token is good for where nothing is said: a working day. What goes on with it ends with it.
const TOKEN_LIFETIME: Millis = Millis::from_secs(8 * 3600);

/// The longest: what the provider says about somebody is seen again only when the token ends.
const MAX_TOKEN_LIFETIME: Millis = Millis::from_secs(7 * 24 * 3600);

/// How long the provider may take for one answer where nothing is said.
const TIMEOUT: Millis = Millis::from_secs(10);

/// The longest: a client waits half a minute for the manager.
const MAX_TIMEOUT: Millis = Millis::from_secs(25);

/// The user who may everything, and is nobody's by claim.
const ADMIN: &str = "admin";

/// Whom the manager believes, and whom it lets in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// The provider, as it calls itself: `https://…`; `http://` on this machine alone.
    pub issuer: String,
    /// What the provider calls the manager.
    pub client_id: String,
    /// The file with what the manager proves to the provider that it is it; nothing for a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The file with the authorities that the provider is verified by, in PEM; this machine's where none is named.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whom an ID token must be for; `client_id` where nothing is said.
    #[serde(default)]
    pub audience: Option<String>,
    /// What is asked for beside `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that a user is called by whom no rule names.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// How long a token is good for.
    #[serde(default = "token_lifetime", deserialize_with = "duration")]
    pub token_lifetime: Millis,
    /// How long the provider may take for one answer.
    #[serde(default = "timeout", deserialize_with = "duration")]
    pub timeout: Millis,
    /// Whom the manager lets in, and what they may: who meets none of them is nobody here.
    pub rules: Vec<Rule>,
}

/// Lets in who has a claim, with a role or without.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The claim's name, as `groups`.
    pub claim: String,
    /// What it says, or one of what it says.
    pub is: String,
    /// Who that is here; by [`LoginConfig::user_claim`] where nobody is named.
    #[serde(default)]
    pub user: Option<UserName>,
    /// What they may, as long as the claim says so; nothing for what was granted here alone.
    #[serde(default)]
    pub role: Option<Role>,
    /// In this project.
    #[serde(default)]
    pub project: Option<ProjectName>,
    /// In all projects, and for the manager itself.
    #[serde(default)]
    pub all_projects: bool,
    /// On devices with these labels alone.
    #[serde(default)]
    pub labels: Option<Selector>,
}

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The issuer is not one.
    #[error("`issuer: {issuer}` is wrong: {reason}")]
    Issuer {
        /// What is written.
        issuer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule makes no sense.
    #[error("rule {number} (`{claim}` is `{is}`): {reason}")]
    Rule {
        /// Which, counted from 1.
        number: usize,
        /// Its claim.
        claim: String,
        /// What that has to say.
        is: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody could log in.
    #[error(
        "there are no rules: nobody could log in; write one, as `- {{claim: groups, is: robots, role: operator, project: default}}`"
    )]
    NoRules,
    /// Something is out of its bounds.
    #[error("{0}")]
    Bound(String),
    /// A file cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nothing to verify a provider by.
    #[error(
        "this machine has no certificates to verify the provider by ({0}); install ca-certificates, or name `ca_file`"
    )]
    NoRoots(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

impl LoginConfig {
    /// Refuses what makes no sense. Gives the issuer, read.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<Url, ConfigFault> {
        let issuer = self.check_issuer()?;
        if self.client_id.is_empty() {
            return Err(ConfigFault::Bound("`client_id` is empty".to_owned()));
        }
        let bounds =
            [("token_lifetime", self.token_lifetime, MAX_TOKEN_LIFETIME), ("timeout", self.timeout, MAX_TIMEOUT)];
        for (name, value, max) in bounds {
            if value > max {
                return Err(ConfigFault::Bound(format!("`{name}: {value}` is too long: at most {max}")));
            }
        }
        if self.rules.is_empty() {
            return Err(ConfigFault::NoRules);
        }
        if self.rules.len() > MAX_RULES {
            return Err(ConfigFault::Bound(format!("there are {} rules: at most {MAX_RULES}", self.rules.len())));
        }
        for (number, rule) in (1..).zip(&self.rules) {
            let (claim, is) = (rule.claim.clone(), rule.is.clone());
            rule.check().map_err(|reason| ConfigFault::Rule { number, claim, is, reason })?;
        }
        Ok(issuer)
    }

    fn check_issuer(&self) -> Result<Url, ConfigFault> {
        let wrong = |reason: String| ConfigFault::Issuer { issuer: self.issuer.clone(), reason };
        let url = Url::parse(&self.issuer).map_err(|error| wrong(format!("it is no URL ({error})")))?;
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it must be scheme, host and path, and nothing more".to_owned()));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_this_machine(&url) => Ok(url),
            "http" => Err(wrong("over http anybody on the way could be the provider: it must be https".to_owned())),
            _ => Err(wrong("it must begin with https://".to_owned())),
        }
    }
}

impl Rule {
    fn check(&self) -> Result<(), &'static str> {
        if self.claim.is_empty() || self.is.is_empty() {
            return Err("a claim and what it says are needed");
        }
        if self.user.as_ref().is_some_and(|user| user.as_str() == ADMIN) {
            return Err("the user `admin` is whoever has the manager's folder, and nobody by claim");
        }
        match (self.role, &self.project, self.all_projects) {
            (Some(_), Some(_), true) => Err("it names a project, and all of them"),
            (Some(_), None, false) => Err("a role needs a `project`, or `all_projects: true`"),
            (None, Some(_), _) | (None, _, true) => Err("it says where, and no role"),
            (None, None, false) if self.labels.is_some() => Err("it names labels, and no role"),
            (Some(_), Some(_), false) | (Some(_), None, true) | (None, None, false) => Ok(()),
        }
    }

    /// What it gives.
    pub(super) fn grant(&self) -> Option<Grant> {
        let role = self.role?;
        Some(Grant { role, project: self.project.clone(), selector: self.labels.clone() })
    }
}

/// True for what no other machine can answer.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn scopes() -> Vec<String> {
    vec!["email".to_owned(), "offline_access".to_owned()]
}

fn user_claim() -> String {
    "email".to_owned()
}

const fn token_lifetime() -> Millis {
    TOKEN_LIFETIME
}

const fn timeout() -> Millis {
    TIMEOUT
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut value = json!({
            "issuer": "https://id.example.org/realm", "client_id": "robo",
            "rules": [{"claim": "groups", "is": "robots", "role": "operator", "project": "default"}],
        });
        change(&mut value);
        let config: LoginConfig = serde_json::from_value(value).map_err(|error| error.to_string())?;
        config.check().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn only_this_machine_is_asked_in_clear() {
        for good in ["https://id.example.org", "http://127.0.0.1:9/x", "http://[::1]:9", "http://localhost:9"] {
            assert_eq!(check(|config| config["issuer"] = json!(good)), Ok(()), "{good}");
        }
        for bad in [
            "http://id.example.org",
            "http://127.0.0.1.example.org",
            "http://10.0.0.1",
            "ftp://localhost",
            "https://id.example.org?x",
            "https://id.example.org#x",
            "https://me:secret@id.example.org",
            "id.example.org",
        ] {
            assert!(check(|config| config["issuer"] = json!(bad)).unwrap_err().contains("issuer"), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 11] = [
            (|c| c["rules"] = json!([]), "no rules"),
            (|c| c["rules"][0]["claim"] = json!(""), "rule 1"),
            (|c| c["rules"][0]["user"] = json!("admin"), "nobody by claim"),
            (|c| c["rules"][0]["project"] = Value::Null, "needs a `project`"),
            (|c| c["rules"][0]["all_projects"] = json!(true), "and all of them"),
            (|c| c["rules"][0]["role"] = Value::Null, "and no role"),
            (|c| c["rules"][0]["role"] = json!("king"), "king"),
            (|c| c["token_lifetime"] = json!("90days"), "at most"),
            (|c| c["timeout"] = json!("10"), "not a duration"),
            (|c| c["client_id"] = json!(""), "client_id"),
            (|c| c["client_secret"] = json!("x"), "unknown field"),
        ];
        for (change, expect) in cases {
            let told = check(change).unwrap_err();
            assert!(told.contains(expect), "{told}");
        }
        assert_eq!(check(|_| {}), Ok(()));
    }
}
