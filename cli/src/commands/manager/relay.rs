//! How a manager dials its relay: the options, the file with the token, proxies, and TLS by the token's fingerprint.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use robo_agent::dial::{Route, dial};
use robo_agent::proxy::Variables;
use robo_agent::tls::{Pin, pinned};
use robo_manager::links::LinkStream;
use robo_manager::server::{Dialled, RelayWay};
use robo_wire::relay::{ALPN_RELAY, RelayToken};

use crate::commands::device::manager_address;
use crate::error::CliError;

/// Most bytes of a token that are read; it has 134.
const MAX_TOKEN_BYTES: u64 = 4 * 1024;

/// Bits of a file's mode by which others than its owner can do something with it.
const OF_OTHERS: u32 = 0o077;

#[derive(Debug, clap::Args)]
pub(super) struct RelayOptions {
    /// The relay to dial, a `robo relay`, so that nobody has to reach this machine. HTTPS_PROXY counts on the way there.
    #[arg(long, requires = "relay_token_file", value_name = "HOST[:PORT]", value_parser = manager_address)]
    relay: Option<String>,
    /// The file with the relay's token: the `relay.token` of the relay's folder, which nobody else may read.
    #[arg(long, requires = "relay", value_name = "FILE")]
    relay_token_file: Option<PathBuf>,
}

impl RelayOptions {
    /// The way to the relay; nothing when there is to be none.
    ///
    /// # Errors
    /// When the token cannot be used, or what the environment says about a proxy.
    pub(super) fn way(self) -> Result<Option<RelayWay>, CliError> {
        let (Some(address), Some(file)) = (self.relay, self.relay_token_file) else { return Ok(None) };
        let token = read_token(&file)?;
        let variables = Variables::read(|name| std::env::var(name).ok());
        let wrong =
            |error: &dyn std::fmt::Display| CliError::new(format!("the relay {address} cannot be dialled: {error}"));
        let proxy = variables.proxy_for(&address, None).map_err(|error| wrong(&error))?;
        let pin = Pin::new(token.fingerprint().to_owned());
        let tls = pinned(&pin, ALPN_RELAY).map_err(|error| wrong(&error))?;
        let route = Route { manager: address.clone(), proxy };
        let dial = move || {
            let (route, tls) = (route.clone(), Arc::clone(&tls));
            let dialling = async move {
                match dial(&route, tls).await {
                    Ok(stream) => Ok(Box::new(stream) as Box<dyn LinkStream>),
                    Err(error) if error.is_wrong_authority() => {
                        Err(format!("{error}; the address leads to another relay than the token, or to none"))
                    }
                    Err(error) => Err(error.to_string()),
                }
            };
            Box::pin(dialling) as futures_util::future::BoxFuture<'static, Dialled>
        };
        Ok(Some(RelayWay { address, token, dial: Arc::new(dial) }))
    }
}

/// The token in that file, which must be its owner's alone.
fn read_token(path: &Path) -> Result<RelayToken, CliError> {
    let shown = path.display();
    let unreadable = |error| CliError::new(format!("the relay's token cannot be read from {shown}: {error}"));
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & OF_OTHERS != 0 {
        let mode = mode & 0o7777;
        return Err(CliError::new(format!(
            "others on this machine can reach the relay's token: {shown} has mode {mode:o}"
        ))
        .help(format!("take it from them: `chmod 600 {shown}`; if they may have read it, make a new one")));
    }
    let mut text = String::new();
    file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    RelayToken::read(&text).ok_or_else(|| {
        CliError::new(format!("there is no relay's token in {shown}: it has the form `rbr1.<fingerprint>.<secret>`"))
            .help("copy the file `relay.token` from the folder of `robo relay`")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.token");
        let check = |text: &str, mode: u32, told: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_token(&path).unwrap_err();
            let text = format!("{} {:?}", error.what(), error.helps());
            assert!(text.contains(told), "{text}");
        };
        let good = format!("rbr1.{}.{}\n", "ab".repeat(32), "cd".repeat(32));
        for mode in [0o644, 0o640, 0o602, 0o610, 0o604] {
            check(&good, mode, "chmod 600");
        }
        check("", 0o600, "no relay's token");
        check("rbe1.a.b", 0o600, "rbr1.");
        check(&"x".repeat(10_000), 0o600, "no relay's token");
        fs::write(&path, &good).unwrap();
        assert_eq!(read_token(&path).unwrap().text(), good.trim());
        assert!(read_token(&folder.path().join("none")).unwrap_err().what().contains("cannot be read"));
        assert!(read_token(folder.path()).is_err(), "a folder");
    }
}
