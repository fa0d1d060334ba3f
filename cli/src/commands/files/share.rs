//! `robo files share`, `shares` and `unshare`: links to files.

use robo_model::name::FileName;
use robo_model::quantity::Millis;
use robo_wire::upload::{MAX_SHARE_TTL, SHARE_TTL, ShareRequest};

use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::CliError;
use crate::output::table::Look;
use crate::output::uploads;

/// Makes a link to a file: whoever has it fetches the file with any HTTP client, until its time is over.
///
/// The link goes to standard output and is told only this once. It outlives the device, and the rights of who made it.
#[derive(Debug, clap::Args)]
pub(super) struct ShareArgs {
    /// The file.
    #[arg(add = crate::complete::files())]
    name: FileName,
    /// How long the link is good for, at most 90 days.
    #[arg(long, value_name = "DURATION", default_value_t = SHARE_TTL)]
    ttl: Millis,
}

/// Takes a link back: it opens nothing any more.
#[derive(Debug, clap::Args)]
pub(super) struct UnshareArgs {
    /// The link, as `robo files shares` calls it.
    id: String,
}

pub(super) async fn share(args: ShareArgs, client: &Client, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    if args.ttl > MAX_SHARE_TTL {
        return Err(CliError::new(format!("a link is good for at most {MAX_SHARE_TTL}"))
            .help("make another one when this one's time is over"));
    }
    let made = client.share(&args.name, &ShareRequest { ttl: Some(args.ttl) }).await?;
    let url = format!("{}{}", client.url(), made.path.as_deref().unwrap_or_default());
    match ui.format {
        Format::Json | Format::Yaml => {
            let mut value = serde_json::to_value(&made).map_err(|error| CliError::new(error.to_string()))?;
            if let Some(fields) = value.as_object_mut() {
                fields.insert("url".to_owned(), url.into());
            }
            ui.value(&value)
        }
        Format::Name => ui.line(&made.id),
        Format::Table | Format::Wide => {
            ui.line(&url)?;
            ui.note(format!("It is good for {}; take it back: `robo files unshare {}`", args.ttl, made.id));
            Ok(())
        }
    }
}

pub(super) async fn list(client: &Client, name: &FileName, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let all = client.shares(name).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&all),
        Format::Name => all.iter().try_for_each(|link| ui.line(&link.id)),
        Format::Table | Format::Wide if all.is_empty() => {
            ui.note(format!("There is no link to it. Make one: `robo files share {name}`"));
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&uploads::shares(&all, Look::of(ui))),
    }
}

pub(super) async fn unshare(args: &UnshareArgs, client: &Client, env: &Env) -> Result<(), CliError> {
    let (id, ui) = (&args.id, &env.ui);
    // It stands in a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            CliError::new(format!("`{id}` names no link")).help("`robo files shares FILE` shows those of a file")
        );
    }
    let link = client.unshare(id).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&link),
        Format::Name => ui.line(&link.id),
        Format::Table | Format::Wide => {
            ui.note(format!("The link {} to {} opens nothing any more.", link.id, link.file));
            Ok(())
        }
    }
}
