//! `robo user token`: the secrets with which somebody is a user.

use robo_model::access::{Grant, Role};
use robo_model::name::UserName;
use robo_model::quantity::Millis;
use robo_wire::api::UserTokenRequest;

use super::tell;
use crate::cli::{Env, Format};
use crate::error::CliError;
use crate::output::access;
use crate::output::table::Look;

/// Makes, lists and revokes users' tokens.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Makes a token, which goes to standard output and is told only this once.
    ///
    /// Your own tokens you may make yourself: none is good for more, or longer, than the one you make it with.
    Add {
        /// Whose; yours where nobody is named.
        user: Option<UserName>,
        /// How long it is good for.
        #[arg(long, value_name = "DURATION", default_value_t = UserTokenRequest::LIFETIME)]
        ttl: Millis,
        /// What it is for, in words.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// It is good for no more than this role in this project, whatever its user may.
        #[arg(long, value_name = "ROLE")]
        only: Option<Role>,
    },
    /// Lists a user's tokens; their secrets are nowhere any more.
    List {
        /// Whose; yours where nobody is named.
        user: Option<UserName>,
    },
    /// Revokes a token; what somebody is at with it ends at once.
    Revoke {
        /// The token, as the list calls it.
        id: String,
        /// Whose it is; yours where nobody is named.
        #[arg(long, value_name = "USER")]
        user: Option<UserName>,
    },
}

pub(super) async fn run(args: TokenArgs, env: &Env) -> Result<(), CliError> {
    match args.command {
        TokenCommand::Add { user, ttl, note, only } => add(user, (ttl, note, only), env).await,
        TokenCommand::List { user } => list(user, env).await,
        TokenCommand::Revoke { id, user } => revoke(&id, user, env).await,
    }
}

async fn whose(user: Option<UserName>, env: &Env) -> Result<UserName, CliError> {
    match user {
        Some(user) => Ok(user),
        None => Ok(env.client()?.me().await?.user),
    }
}

async fn add(
    user: Option<UserName>,
    (ttl, note, only): (Millis, String, Option<Role>),
    env: &Env,
) -> Result<(), CliError> {
    let (client, user) = (env.client()?, whose(user, env).await?);
    let narrowed = only.map(|role| Grant { role, project: Some(client.project().clone()), selector: None });
    let token = client.make_user_token(&user, &UserTokenRequest { note, lifetime: Some(ttl), narrowed }).await?;
    if env.ui.is_machine() {
        return env.ui.value(&token);
    }
    env.ui.line(&token.token)?;
    let until = token.view.expires_at.map(|end| crate::output::when::full(end, &jiff::tz::TimeZone::system()));
    env.ui.note(format!("Whoever has this token is {user}, until {}.", until.unwrap_or_default()));
    Ok(())
}

async fn list(user: Option<UserName>, env: &Env) -> Result<(), CliError> {
    let (ui, user) = (&env.ui, whose(user, env).await?);
    let tokens = env.client()?.user_tokens(&user).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&tokens),
        Format::Name => tokens.iter().try_for_each(|token| ui.line(&token.id)),
        Format::Table | Format::Wide if tokens.is_empty() => {
            ui.note(format!("{user} has no token. Make one: `robo user token add {user}`"));
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&access::tokens(&tokens, Look::of(ui))),
    }
}

async fn revoke(id: &str, user: Option<UserName>, env: &Env) -> Result<(), CliError> {
    // It stands in a path.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(CliError::new(format!("`{id}` names no token")).help("`robo user token list` shows all"));
    }
    let user = whose(user, env).await?;
    let token = env.client()?.revoke_user_token(&user, id).await?;
    tell(env, &token, id, || format!("Nobody is {user} with the token {id} any more."))
}
