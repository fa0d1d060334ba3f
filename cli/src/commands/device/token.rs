//! `robo device enroll` and `robo device token`: how new devices come in.

use robo_model::label::Labels;
use robo_model::limits::MAX_LABELS;
use robo_model::name::DeviceName;
use robo_model::quantity::Millis;
use robo_wire::api::TokenRequest;
use sha2::{Digest as _, Sha256};

use super::parse_label;
use crate::cli::{Env, Format};
use crate::client::Address;
use crate::error::CliError;
use crate::output::table::Look;
use crate::output::tokens;

/// Makes a token with which new devices may enrol, and says how.
///
/// The token goes to standard output and is told only this once. It is good for one device, unless `--uses` says more.
/// With it comes a line for the machine, which installs the agent there and asks for the token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device enroll robot-7 --label site=tokyo > token
  robo device enroll robot-7 --replace          its disk was changed: it keeps its name and its identity
  robo device enroll --uses 50 --ttl 7d --approve   for an image; each machine waits until you accept it")]
pub(super) struct EnrollArgs {
    /// The device's name; without one the machine proposes its host name.
    name: Option<DeviceName>,
    /// A label for it; may be given again.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// How long the token is good for.
    #[arg(long, value_name = "DURATION", default_value_t = TokenRequest::LIFETIME)]
    ttl: Millis,
    /// When a device of this name exists, its key is replaced.
    #[arg(long, requires = "name")]
    replace: bool,
    /// How many devices the token lets in.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "name",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TokenRequest::MAX_USES)))]
    uses: u32,
    /// Each device waits until `robo device accept` lets it in.
    #[arg(long)]
    approve: bool,
    /// Where the device reaches the manager, when that is not where you do.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = manager_address)]
    manager: Option<String>,
}

/// Lists the enrolment tokens, or revokes one.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Lists the enrolment tokens of the project; their secrets are nowhere any more.
    List,
    /// Revokes a token: it lets nobody in any more. Devices that came with it stay.
    Revoke {
        /// The token, as the list calls it.
        id: String,
    },
}

pub(super) async fn run(args: TokenArgs, env: &Env) -> Result<(), CliError> {
    match args.command {
        TokenCommand::List => list(env).await,
        TokenCommand::Revoke { id } => revoke(&id, env).await,
    }
}

async fn list(env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let all = env.client()?.tokens().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|token| ui.line(&token.id)),
        Format::Table | Format::Wide if all.is_empty() => {
            ui.note("There is no enrolment token. Make one: `robo device enroll NAME`");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&tokens::table(&all, Look::of(ui))),
    }
}

async fn revoke(id: &str, env: &Env) -> Result<(), CliError> {
    // It stands in a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(CliError::new(format!("`{id}` names no token")).help("`robo device token list` shows all"));
    }
    let ui = &env.ui;
    let token = env.client()?.revoke_token(id).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&token),
        Format::Name => ui.line(&token.id),
        Format::Table | Format::Wide => {
            ui.note(format!("Token {id} lets nobody in any more; {} came with it and stay.", devices(token.used)));
            Ok(())
        }
    }
}

fn devices(count: u32) -> String {
    match count {
        0 => "no device".to_owned(),
        1 => "one device".to_owned(),
        more => format!("{more} devices"),
    }
}

pub(super) async fn enroll(args: EnrollArgs, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    if args.ttl > TokenRequest::MAX_LIFETIME {
        return Err(CliError::new(format!("a token is good for at most {}", TokenRequest::MAX_LIFETIME))
            .help("make it when the machine is at hand"));
    }
    let labels: Labels = args.labels.into_iter().collect();
    if labels.len() > MAX_LABELS {
        return Err(CliError::new(format!("a device has at most {MAX_LABELS} labels")));
    }
    let client = env.client()?;
    let ttl = args.ttl;
    let request = TokenRequest {
        name: args.name,
        labels,
        lifetime: Some(args.ttl),
        replace: args.replace,
        uses: Some(args.uses),
        approve: args.approve,
    };
    let token = client.make_token(&request).await?;
    if ui.is_machine() {
        return ui.value(&token);
    }
    ui.line(&token.token)?;
    let manager = args.manager.unwrap_or_else(|| client.url().trim_start_matches("https://").to_owned());
    let whom = if args.uses == 1 { "one device".to_owned() } else { format!("{} devices", args.uses) };
    let begin = format!("This token lets {whom} in, within {ttl}.");
    match client.install_script(&manager).await {
        Ok(script) => {
            ui.note(format!("{begin} On that machine this line installs the agent, and asks for the token:"));
            ui.note(format!("  {}", ui.err.bold(&install_line(&manager, &script))));
            ui.note("Or, where robo is there already, with the token in the file `token`:");
        }
        Err(error) => {
            // The token is made and told; how it gets there is another matter.
            tracing::debug!(%error, "the manager has no script that installs the agent");
            ui.note(format!("{begin} On that machine, with the token in the file `token`:"));
        }
    }
    ui.note(format!("  {}", ui.err.bold(&format!("robo agent --manager {manager} --token-file token"))));
    Ok(())
}

/// What is pasted on the machine. How the script comes there is not to be trusted (the machine does not know the manager's
/// CA yet); that it is the one which the manager gave to us is. No secret stands in it.
fn install_line(manager: &str, script: &[u8]) -> String {
    let hash = hex::encode(Sha256::digest(script));
    format!(
        "t=$(mktemp) && curl -fsSk 'https://{manager}/v1/install.sh' -o \"$t\" && echo \"{hash}  $t\" | sha256sum -c && sudo sh \"$t\""
    )
}

/// `HOST:PORT` of what is no URL.
pub(crate) fn manager_address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or(text);
    // It stands in a line for a shell.
    if host.chars().any(|c| !c.is_ascii_alphanumeric() && !".-_:[]".contains(c)) {
        return Err(format!("`{text}` is not HOST or HOST:PORT"));
    }
    Address::parse(&format!("https://{host}")).map(|address| address.host_and_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_named_as_devices_reach_it() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(manager_address(text).ok().as_deref(), expect, "{text}");
        };
        check("robo.example.org", Some("robo.example.org:7626"));
        check("robo.example.org:443", Some("robo.example.org:443"));
        check("https://10.0.0.1:1", Some("10.0.0.1:1"));
        check("[::1]:7", Some("[::1]:7"));
        for bad in ["", "a b", "a'b", "a/b", "http://a", "a:0x", "a:65536", "$(id)", "a\nb", "u@a"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_line_compares_the_script_before_it_runs() {
        let line = install_line("m:7626", b"script");
        let hash = hex::encode(Sha256::digest("script"));
        let (compare, run) = (line.find(&format!("{hash}  $t\" | sha256sum -c &&")), line.find("sudo sh"));
        assert!(compare.is_some() && compare < run && line.contains("'https://m:7626/v1/install.sh'"), "{line}");
    }
}
