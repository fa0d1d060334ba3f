//! A login that goes on: before a token ends, its refresh token gets another one.

use std::fs::{File, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::{LoginProof, LoginState};
use robo_wire::problem::ErrorCode;

use super::{client, keep, logged_in};
use crate::cli::Env;
use crate::context::{Context, Contexts};
use crate::error::{CliError, Exit};

/// How long before its end a token is renewed: what is begun with it then lasts as long at least.
const BEFORE: Millis = Millis::from_secs(300);

/// How long one command waits for another that renews: longer than the manager may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often it looks whether the other is done.
const LOOK: Duration = Duration::from_millis(50);

/// Renews the token of the context in use, where it ends soon and can be.
///
/// # Errors
/// When the login is over, or the provider or the manager cannot be asked.
pub(crate) async fn when_due(env: &Env) -> Result<(), CliError> {
    let is_due = |context: &Context| context.login.as_ref().is_some_and(|login| login.ends <= now().plus(BEFORE));
    let contexts = Contexts::load(&env.paths)?;
    // What is wrong with the choice, the command says.
    let Ok((name, context)) = contexts.select(env.options.context.as_deref()) else { return Ok(()) };
    if !is_due(context) {
        return Ok(());
    }
    let name = name.to_owned();
    // A provider may take a refresh token once: two commands at a time would end the login.
    let _lock = lock(env).await?;
    let contexts = Contexts::load(&env.paths)?;
    let (_, context) = contexts.select(Some(&name))?;
    match &context.login {
        Some(login) if is_due(context) => match &login.refresh_token {
            Some(refresh_token) => renew(&name, context.clone(), refresh_token.clone(), env).await,
            None if login.ends <= now() => Err(over(&name)),
            None => Ok(()),
        },
        Some(_) | None => Ok(()),
    }
}

async fn renew(name: &str, context: Context, refresh_token: String, env: &Env) -> Result<(), CliError> {
    let still = context.login.as_ref().is_some_and(|login| login.ends > now());
    let proof = LoginProof::Refresh { refresh_token: refresh_token.clone() };
    match client(name, &context)?.telling(&env.ui).prove_login(&proof).await {
        Ok(LoginState::Done(mut done)) => {
            // A provider that gives no other one means the same again (RFC 6749, 6).
            done.refresh_token.get_or_insert(refresh_token);
            keep(name, logged_in(context, done), env)
        }
        Ok(LoginState::Pending | LoginState::SlowDown) => Err(over(name)),
        Err(error) if still => {
            tracing::debug!("the login is not renewed: {error}");
            Ok(())
        }
        Err(error) if matches!(error.code(), Some(ErrorCode::Unauthorized | ErrorCode::NotFound)) => {
            Err(over(name).note(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn over(name: &str) -> CliError {
    CliError::new(format!("your login to `{name}` is over"))
        .help(format!("log in again: `robo login {name}`"))
        .exit_with(Exit::LoginOver)
}

async fn lock(env: &Env) -> Result<File, CliError> {
    let path = env.paths.contexts().with_extension("lock");
    let failed = |error: std::io::Error| CliError::new(format!("cannot lock {}: {error}", path.display()));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if tokio::time::Instant::now() >= end => {
                return Err(CliError::new(format!("another command has kept {} for too long", path.display()))
                    .help("see which: `fuser` and its name"));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
