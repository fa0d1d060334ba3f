//! `robo ssh-key`: keys of people in `authorized_keys` on devices.

use std::path::{Path, PathBuf};

use robo_model::name::DeviceName;
use robo_model::quantity::Millis;
use robo_wire::api::{MAX_KEY_NOTE, SshKeyChange, SshKeys, SshKeysRequest};
use ssh_key::{HashAlg, PublicKey};

use super::ssh_cert::user_name;
use crate::cli::{Env, Format};
use crate::context::read_bounded;
use crate::error::{CliError, Exit};
use crate::output::ssh_keys::{self, KeyView};
use crate::output::table::Look;
use crate::output::when;

/// The key that is taken where none is named, below the user's home.
const USUAL_KEY: &str = ".ssh/id_ed25519.pub";

/// Lets keys log in to a device by SSH, lists them, or takes them away.
///
/// They are lines of `~/.ssh/authorized_keys` of a user there; what else stands in that file stays. It takes the right to
/// `shell` on the device, and for another user than the device's own the right to `root`. A key stays when a role is taken
/// away: give it a time with --expiry, or let people in with certificates (`robo ssh-cert`).
#[derive(Debug, clap::Args)]
pub(crate) struct SshKeyArgs {
    #[command(subcommand)]
    command: SshKeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SshKeyCommand {
    Add(AddArgs),
    List(WhereArgs),
    Remove(RemoveArgs),
}

/// Lets a key log in, once, however often it is said; or changes until when.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo ssh-key add robot-7 --user robot
  robo ssh-key add robot-7 --user robot --key ann.pub --expiry 30d")]
struct AddArgs {
    #[command(flatten)]
    at: WhereArgs,
    /// The file with the public key; ~/.ssh/id_ed25519.pub where none is named.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How long it counts, as in 30d; for ever where nothing is said.
    #[arg(long, value_name = "DURATION")]
    expiry: Option<Millis>,
}

/// Lists the keys that log in.
#[derive(Debug, clap::Args)]
struct WhereArgs {
    /// The device.
    #[arg(value_name = "DEVICE", add = crate::complete::devices())]
    device: DeviceName,
    /// Whose keys there; those of the user that the device runs commands as where nobody is named.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    user: Option<String>,
}

/// Takes a key away, whatever its line says of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo ssh-key remove robot-7 --user robot
  robo ssh-key remove robot-7 SHA256:5v0kwtmcQW…")]
struct RemoveArgs {
    #[command(flatten)]
    at: WhereArgs,
    /// The key's fingerprint, as `robo ssh-key list` shows it.
    #[arg(value_name = "FINGERPRINT", conflicts_with = "key")]
    fingerprint: Option<String>,
    /// The file with the public key; ~/.ssh/id_ed25519.pub where nothing is named.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(crate) async fn run(args: SshKeyArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        SshKeyCommand::Add(args) => add(args, env).await,
        SshKeyCommand::List(at) => list(at, env).await,
        SshKeyCommand::Remove(args) => remove(args, env).await,
    }
}

async fn add(AddArgs { at, key, expiry }: AddArgs, env: &Env) -> Result<Exit, CliError> {
    let key = read_key(key.as_deref())?;
    let expires_at = expiry.map(|expiry| when::now().plus(expiry));
    let change = SshKeyChange::Add { key: line(&key)?, note: note(key.comment()), expires_at };
    let keys = ask(&at, change, env).await?;
    let until = expiry.map(|expiry| format!(", for {}", when::short(expiry))).unwrap_or_default();
    told(env, &at, &keys, &key.fingerprint(HashAlg::Sha256).to_string(), &format!("may log in{until}"))
}

async fn remove(RemoveArgs { at, fingerprint, key }: RemoveArgs, env: &Env) -> Result<Exit, CliError> {
    let (key, fingerprint) = match fingerprint {
        None => {
            let key = read_key(key.as_deref())?;
            (line(&key)?, key.fingerprint(HashAlg::Sha256).to_string())
        }
        Some(fingerprint) => {
            let there = ask(&at, SshKeyChange::List, env).await?;
            let mut views = there.lines.iter().filter_map(|line| KeyView::of(line));
            let found = views.find(|view| view.fingerprint == fingerprint).ok_or_else(|| {
                CliError::new(format!("no key of {} on {} has the fingerprint {fingerprint}", there.user, at.device))
                    .help(format!("`robo ssh-key list {}` shows all", at.device))
            })?;
            (found.key, fingerprint)
        }
    };
    let keys = ask(&at, SshKeyChange::Remove { key }, env).await?;
    told(env, &at, &keys, &fingerprint, "logs in no more")
}

async fn list(at: WhereArgs, env: &Env) -> Result<Exit, CliError> {
    let (keys, ui) = (ask(&at, SshKeyChange::List, env).await?, &env.ui);
    let views: Vec<KeyView> = keys.lines.iter().filter_map(|line| KeyView::of(line)).collect();
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&views)?,
        Format::Name => views.iter().try_for_each(|view| ui.line(&view.fingerprint))?,
        Format::Table | Format::Wide if views.is_empty() => {
            ui.note(format!("No key logs in as {} on {}.", keys.user, at.device));
        }
        Format::Table | Format::Wide => ui.text(&ssh_keys::table(&views, Look::of(ui)))?,
    }
    Ok(Exit::Done)
}

async fn ask(at: &WhereArgs, change: SshKeyChange, env: &Env) -> Result<SshKeys, CliError> {
    let request = SshKeysRequest { user: at.user.clone(), change };
    let keys = env.client()?.ssh_keys(&at.device, &request).await?;
    Ok(SshKeys { user: crate::output::harmless::harmless(&keys.user).into_owned(), ..keys })
}

fn told(env: &Env, at: &WhereArgs, keys: &SshKeys, fingerprint: &str, what: &str) -> Result<Exit, CliError> {
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(keys)?,
        Format::Name => ui.line(fingerprint)?,
        Format::Table | Format::Wide => {
            let before = if keys.changed { "" } else { " already" };
            ui.note(format!("{fingerprint} {what} as {} on {}{before}.", keys.user, at.device));
        }
    }
    Ok(Exit::Done)
}

/// The public key in a file.
fn read_key(named: Option<&Path>) -> Result<PublicKey, CliError> {
    let usual = || etcetera::home_dir().unwrap_or_default().join(USUAL_KEY);
    let path = named.map_or_else(usual, Path::to_owned);
    let cannot = |reason: &dyn std::fmt::Display| CliError::new(format!("cannot use {}: {reason}", path.display()));
    let text = read_bounded(&path).map_err(|error| {
        cannot(&error).help("make one with `ssh-keygen -t ed25519`, or name another one with --key FILE")
    })?;
    if text.contains("PRIVATE KEY") {
        return Err(cannot(&"it is a private key, which is for nobody else").help("name the one that ends with .pub"));
    }
    PublicKey::from_openssh(text.trim()).map_err(|error| {
        cannot(&format!("it is no public key for SSH ({error})"))
            .help("it has one line, as in `ssh-ed25519 AAAA… ann@desk`")
    })
}

/// `TYPE BASE64`.
fn line(key: &PublicKey) -> Result<String, CliError> {
    let bare = PublicKey::new(key.key_data().clone(), "").to_openssh();
    bare.map(|text| text.trim_end().to_owned())
        .map_err(|error| CliError::new(format!("the key cannot be used: {error}")))
}

/// A comment as one word of plain characters.
fn note(comment: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') { c } else { '-' };
    comment.trim().chars().map(plain).take(MAX_KEY_NOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_goes_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let check = |text: &str, expect: &str| {
            std::fs::write(&path, text).unwrap();
            let error = read_key(Some(&path)).unwrap_err();
            assert!(error.what().contains(expect), "{error:?}");
        };
        check("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key");
        check("", "no public key");
        check("ssh-ed25519 AAAA ann", "no public key");
        assert!(read_key(Some(&folder.path().join("none"))).unwrap_err().helps()[0].contains("ssh-keygen -t ed25519"));
    }

    #[test]
    fn a_note_is_one_plain_word() {
        assert_eq!(note(" ann@desk "), "ann@desk");
        assert_eq!(note("ann's \"key\"\n\u{1b}[2J"), "ann's--key---[2J");
        assert_eq!(note(&"x".repeat(500)).len(), MAX_KEY_NOTE);
    }
}
