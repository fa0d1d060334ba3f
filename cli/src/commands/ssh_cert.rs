//! `robo ssh-cert`: a certificate for `ssh`, there just in time.
//!
//! `ssh` reads its certificates before it starts a `ProxyCommand`, so it is `Match exec` in its settings that runs this.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use robo_agent::folders::{replace, write_atomic};
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{SshCertificateRequest, is_user_name};
use serde::Serialize;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use super::ssh_proxy::device_name;
use crate::cli::{Env, Format};
use crate::context::read_bounded;
use crate::error::{CliError, Exit};
use crate::output::when;
use crate::paths::Paths;

/// One that ends before that is not used any more: connecting takes its time.
const MARGIN: Millis = Millis::from_secs(30);

/// Makes sure that there is a certificate with which `ssh` logs in to a device, and says where.
///
/// It is good for five minutes, for this device and this user of it alone; one that is still good is used again without
/// asking. The device has to trust the manager: `robo-agent ssh-trust` there, once. `robo ssh-config` prints what `ssh` needs
/// to run this by itself. It takes the rights to `forward` and `shell` on the device, and the right to `root` for another
/// user than the device's own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo ssh-cert robot-7 --user robot
  robo ssh-config >> ~/.ssh/config     and then: ssh robot@robot-7.robo")]
pub(crate) struct SshCertArgs {
    /// The device; an ending `.robo` is taken off.
    #[arg(value_name = "DEVICE", add = crate::complete::devices())]
    device: String,
    /// The user to log in as there; the one that the device runs commands as where none is named.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    user: Option<String>,
    /// How long it is good for, an hour at most.
    #[arg(long, value_name = "DURATION", default_value_t = SshCertificateRequest::LIFETIME)]
    ttl: Millis,
    /// Ask for another one also while there is one that is good.
    #[arg(long)]
    force: bool,
    /// Say nothing when there is none to be had; the exit code does.
    #[arg(short, long)]
    quiet: bool,
}

/// What there is to log in with.
#[derive(Debug, Serialize)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    expires_at: UnixMillis,
}

pub(super) fn user_name(text: &str) -> Result<String, String> {
    if is_user_name(text) { Ok(text.to_owned()) } else { Err(format!("`{text}` is no name of a user")) }
}

pub(crate) async fn run(args: SshCertArgs, env: &Env) -> Result<Exit, CliError> {
    let quiet = args.quiet;
    let pair = match had(args, env).await {
        Err(error) if quiet => return Err(CliError::told(error.exit())),
        other => other?,
    };
    let ui = &env.ui;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&pair)?,
        Format::Name => ui.line(pair.certificate.display())?,
        Format::Table | Format::Wide => {
            let left = when::ago(when::now(), pair.expires_at);
            ui.line(format!("{}, good for {left}", pair.certificate.display()))?;
        }
    }
    Ok(Exit::Done)
}

async fn had(args: SshCertArgs, env: &Env) -> Result<Pair, CliError> {
    let (device, client) = (device_name(&args.device)?, env.client()?);
    let places = Places::of(&env.paths);
    let key = places.key()?;
    let (public, standpoint) =
        (key.to_openssh().map_err(|error| unusable(&places.private(), &error))?, client.standpoint());
    let there = args.user.as_ref().map(|user| places.certificate(&args.device, user)).filter(|_| !args.force);
    if let Some((certificate, expires_at)) = there.and_then(|path| Some((path.clone(), good(&path, &standpoint)?))) {
        return Ok(Pair { certificate, key: places.private(), expires_at });
    }
    let began = when::now();
    let public_key = public.trim_end().to_owned();
    let request = SshCertificateRequest { public_key, user: args.user, lifetime: Some(args.ttl) };
    let got = client.ssh_certificate(&device, &request).await?;
    if !is_user_name(&got.user) {
        return Err(CliError::new("the manager's answer names no user that there can be"));
    }
    // By our own clock, whatever the manager's says.
    let expires_at = began.plus(got.lifetime);
    let path = places.certificate(&args.device, &got.user);
    let text = format!("{} {}\n", got.certificate.trim(), Note { standpoint: &standpoint, until: expires_at });
    create_private(path.parent().unwrap_or(&path))?;
    // Losing it in a crash costs nothing.
    replace(&path, text.as_bytes(), 0o600, |_| Ok(())).map_err(|error| unusable(&path, &error))?;
    tracing::debug!(device = %device, serial = got.serial, principal = got.principal, "a certificate for SSH");
    Ok(Pair { certificate: path, key: places.private(), expires_at })
}

/// What stands behind a certificate in its file: for whom it was got, and until when it is good by this machine's clock.
struct Note<'a> {
    standpoint: &'a str,
    until: UnixMillis,
}

impl std::fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "robo-{}-{}", self.standpoint, self.until.0)
    }
}

/// Until when the certificate there is good, if it is, and was got from the same standpoint.
fn good(path: &Path, standpoint: &str) -> Option<UnixMillis> {
    let text = read_bounded(path).ok()?;
    let note = text.split_whitespace().nth(2)?;
    let until = UnixMillis(note.strip_prefix("robo-")?.strip_prefix(standpoint)?.strip_prefix('-')?.parse().ok()?);
    (until > when::now().plus(MARGIN)).then_some(until)
}

/// Where key and certificates lie, in this user's state folder.
pub(super) struct Places {
    folder: PathBuf,
}

impl Places {
    pub(super) fn of(paths: &Paths) -> Self {
        Self { folder: paths.state.join("ssh") }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the private key, one for all devices: without a certificate it is good for nothing.
    pub(super) fn private(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The file of the certificate for a device, as it was asked for, and a user of it; both may be `ssh`'s own words for it.
    pub(super) fn certificate(&self, device: &str, user: &str) -> PathBuf {
        self.folder.join(device).join(format!("{user}-cert.pub"))
    }

    /// The public key; the first time it is made.
    fn key(&self) -> Result<PublicKey, CliError> {
        let path = self.private();
        let text = match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.make_key(),
            other => other.map_err(|error| unusable(&path, &error))?,
        };
        let key = PrivateKey::from_openssh(text).map_err(|error| unusable(&path, &error))?;
        Ok(PublicKey::new(key.public_key().key_data().clone(), ""))
    }

    fn make_key(&self) -> Result<PublicKey, CliError> {
        create_private(&self.folder)?;
        let path = self.private();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| CliError::new(format!("no key can be made: {error}")))?;
        let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, "robo").map_err(|error| unusable(&path, &error))?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| unusable(&path, &error))?;
        let mine = self.folder.join(format!("key-{}", std::process::id()));
        write_atomic(&mine, text.as_bytes(), 0o600).map_err(|error| unusable(&mine, &error))?;
        // Several `ssh` may begin at once: the first one's key is everybody's.
        let linked = std::fs::hard_link(&mine, &path);
        std::fs::remove_file(&mine).map_err(|error| unusable(&mine, &error))?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unusable(&path, &error)),
            Ok(()) | Err(_) => self.key(),
        }
    }
}

fn create_private(folder: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| unusable(folder, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(format!("{} cannot be used: {error}", path.display()))
        .help("what lies in that folder can be had again: remove it, and run this once more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_used_again_from_the_same_standpoint_while_it_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let write = |standpoint: &str, until: UnixMillis| {
            std::fs::write(&path, format!("type key {}\n", Note { standpoint, until })).unwrap();
        };
        let until = when::now().plus(Millis::from_secs(60));
        assert_eq!(good(&path, "aa"), None, "there is none");
        write("aa", until);
        assert_eq!(good(&path, "aa"), Some(until));
        assert_eq!(good(&path, "ab"), None);
        write("aa", when::now().plus(Millis::from_secs(10)));
        assert_eq!(good(&path, "aa"), None, "it ends while one connects");
        for text in ["", "type key", "type key other", "type key robo-aa-x"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(good(&path, "aa"), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_is_nobody_elses_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let places = Places { folder: folder.path().join("ssh") };
        let key = places.key().unwrap();
        assert_eq!(places.key().unwrap(), key);
        assert_eq!(places.make_key().unwrap(), key, "another one was faster");
        assert_eq!(std::fs::metadata(places.private()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path().join("ssh")).unwrap().count(), 1);
        std::fs::write(places.private(), "nonsense").unwrap();
        assert!(places.key().unwrap_err().what().contains("cannot be used"));
    }
}
