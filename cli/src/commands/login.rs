//! `robo login` and `robo logout`: who one is for a manager, by an OpenID provider's word or by a token.

pub(crate) mod renew;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use robo_model::name::ProjectName;
use robo_wire::api::{LoggedIn, LoginCode, LoginProof, LoginRequest, LoginState, LogoutRequest};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::cli::{Env, Format};
use crate::client::{Address, Client};
use crate::context::{Context, Contexts, Login, read_bounded};
use crate::error::{CliError, Exit};
use crate::output::Ui;
use crate::service::StopSignals;

/// Bytes of randomness in what proves that this client began the login.
const VERIFIER_BYTES: usize = 32;

/// How much longer a client waits that asks too often (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The longest wait between two questions.
const SLOWEST: Duration = Duration::from_secs(60);

/// Longest token that is read from standard input, in bytes.
const MAX_TOKEN: u64 = 4096;

/// Logs in to a manager: with the identity of its OpenID provider, in a browser on any machine, or with a token.
///
/// Shows a code and where to confirm it, waits until that is done, and keeps what it gets in the context, for you alone
/// to read. It goes on by itself as long as the provider allows it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo login                                              to the manager in use, again
  robo login lab --url https://manager.lab:7626 --ca ca.pem   to one that is new
  robo login --token-stdin < token                        in a pipeline")]
pub(crate) struct LoginArgs {
    /// The context to log in to; the one in use where none is named.
    #[arg(add = crate::complete::contexts())]
    name: Option<String>,
    /// The manager's address, for a context that is new.
    #[arg(long, value_name = "https://HOST:PORT", requires_all = ["ca", "name"])]
    url: Option<String>,
    /// The manager's CA, in PEM, for a context that is new; it is copied.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Take a token from standard input, and ask no provider.
    #[arg(long)]
    token_stdin: bool,
    /// Do not open a browser.
    #[arg(long)]
    no_browser: bool,
}

/// Logs out: the token is worth nothing from then on, for the manager and for the provider.
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// The context to log out of; the one in use where none is named.
    #[arg(add = crate::complete::contexts())]
    name: Option<String>,
}

pub(crate) async fn login(args: LoginArgs, env: &Env) -> Result<Exit, CliError> {
    let contexts = Contexts::load(&env.paths)?;
    let (name, context) = chosen(&args, &contexts, env)?;
    if args.token_stdin {
        let context = Context { token: Some(token_from_stdin()?), token_file: None, login: None, ..context };
        let me = client(&name, &context)?.me().await?;
        keep(&name, context, env)?;
        return told(env, &name, me.user.as_str());
    }
    // Caught from here on: what is begun is ended in words.
    let mut signals = StopSignals::catch()?;
    let client = client(&name, &Context { token: Some(String::new()), ..context.clone() })?.telling(&env.ui);
    let verifier = verifier()?;
    let code_challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let code = client.begin_login(&LoginRequest { code_challenge }).await?;
    show(&code, &args, &env.ui);
    let waited = tokio::select! {
        done = confirmed(&client, code, verifier, &env.ui) => Some(done?),
        () = signals.next() => None,
    };
    let Some(done) = waited else {
        env.ui.after_interrupt();
        env.ui.note("Nobody is logged in.");
        return Ok(Exit::Interrupted);
    };
    let user = done.user.to_string();
    keep(&name, logged_in(context, done), env)?;
    told(env, &name, &user)
}

pub(crate) async fn logout(args: LogoutArgs, env: &Env) -> Result<Exit, CliError> {
    let contexts = Contexts::load(&env.paths)?;
    let (name, context) = contexts.select(args.name.as_deref().or(env.options.context.as_deref()))?;
    let (name, context) = (name.to_owned(), context.clone());
    if context.token.is_none() {
        return Err(CliError::new(format!("the context `{name}` keeps no login"))
            .help("its token is in a file of yours: revoke it with `robo user token revoke`"));
    }
    let refresh_token = context.login.as_ref().and_then(|login| login.refresh_token.clone());
    let gone = client(&name, &context)?.log_out(&LogoutRequest { refresh_token }).await;
    match gone {
        Ok(_) => {}
        // It is worth nothing already.
        Err(error) if error.code() == Some(robo_wire::problem::ErrorCode::Unauthorized) => {}
        Err(error) => return Err(error.into()),
    }
    keep(&name, Context { token: None, login: None, ..context }, env)?;
    env.ui.note(format!("Logged out of {name}."));
    Ok(Exit::Done)
}

/// The context that is meant, or a new one.
fn chosen(args: &LoginArgs, contexts: &Contexts, env: &Env) -> Result<(String, Context), CliError> {
    let (Some(name), Some(url), Some(ca)) = (&args.name, &args.url, &args.ca) else {
        let (name, context) = contexts.select(args.name.as_deref().or(env.options.context.as_deref()))?;
        return Ok((name.to_owned(), context.clone()));
    };
    super::context::check_name(name)?;
    Address::parse(url).map_err(|reason| CliError::new(format!("the address is wrong: {reason}")))?;
    let ca = read_bounded(ca)
        .map_err(|error| CliError::new(format!("the CA cannot be read from {}: {error}", ca.display())))?;
    let project = env.options.project.clone();
    Ok((name.clone(), Context { url: url.clone(), ca, token_file: None, token: None, login: None, project }))
}

fn client(name: &str, context: &Context) -> Result<Client, CliError> {
    Client::new(name, context, context.project.clone().unwrap_or_else(ProjectName::default_project))
}

fn token_from_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_TOKEN)
        .read_to_string(&mut text)
        .map_err(|error| CliError::new(format!("the token cannot be read from standard input: {error}")))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(CliError::new("standard input does not hold one token")
            .help("give it as in `robo login --token-stdin < FILE`; `robo user token add` makes one"));
    }
    Ok(token.to_owned())
}

/// What only this client knows until the login is done (RFC 7636, 4.1).
fn verifier() -> Result<String, CliError> {
    let mut random = [0; VERIFIER_BYTES];
    getrandom::fill(&mut random).map_err(|error| CliError::new(format!("there is no randomness: {error}")))?;
    Ok(hex::encode(random))
}

fn show(code: &LoginCode, args: &LoginArgs, ui: &Ui) {
    ui.note(format!("Open {} in a browser, and confirm there the code", code.verification_uri));
    ui.note(format!("  {}", ui.err.bold(&code.user_code)));
    let whole = code.verification_uri_complete.as_ref();
    if let Some(whole) = whole {
        ui.note(format!("or open {whole}"));
    }
    let address = whole.unwrap_or(&code.verification_uri);
    if !args.no_browser && ui.can_ask && has_display() && open(address).is_err() {
        tracing::debug!("no browser can be opened");
    }
}

fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// The address begins with `http`: the manager has seen to that, and no browser takes it for an option.
fn open(address: &str) -> std::io::Result<()> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let (input, output, error) = (Stdio::null(), Stdio::null(), Stdio::null());
    Command::new(program).arg(address).stdin(input).stdout(output).stderr(error).spawn().map(drop)
}

/// Asks until somebody has confirmed the code, somebody refused it, or its time is over.
async fn confirmed(client: &Client, code: LoginCode, code_verifier: String, ui: &Ui) -> Result<LoggedIn, CliError> {
    let end = Instant::now() + Duration::from_secs(code.expires_in);
    let proof = LoginProof::Code { device_code: code.device_code, code_verifier };
    let mut pause = Duration::from_secs(code.interval);
    loop {
        tokio::time::sleep(pause).await;
        match client.prove_login(&proof).await {
            Ok(LoginState::Done(done)) => return Ok(done),
            Ok(LoginState::Pending) => {}
            Ok(LoginState::SlowDown) => pause += SLOWER,
            // The network or the manager may be there again in a moment (RFC 8628, 3.5).
            Err(error) if error.is_passing() => {
                ui.note(format!("Asking again in a moment: {error}"));
                pause = (pause * 2).min(SLOWEST);
            }
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= end {
            return Err(CliError::new("nobody confirmed the code in time").help("begin again: `robo login`"));
        }
    }
}

/// The context of somebody who is logged in.
fn logged_in(context: Context, done: LoggedIn) -> Context {
    let login = Login { ends: done.expires_at, refresh_token: done.refresh_token };
    Context { token: Some(done.token), token_file: None, login: Some(login), ..context }
}

fn keep(name: &str, context: Context, env: &Env) -> Result<(), CliError> {
    // Read again: another command may have changed it while somebody was at the browser.
    let mut contexts = Contexts::load(&env.paths)?;
    if contexts.current.is_none() {
        contexts.current = Some(name.to_owned());
    }
    contexts.contexts.insert(name.to_owned(), context);
    contexts.save(&env.paths)
}

fn told(env: &Env, name: &str, user: &str) -> Result<Exit, CliError> {
    match env.ui.format {
        Format::Name => env.ui.line(user)?,
        Format::Json | Format::Yaml => env.ui.value(&serde_json::json!({"context": name, "user": user}))?,
        Format::Table | Format::Wide => env.ui.note(format!("You are {user} at {name}.")),
    }
    Ok(Exit::Done)
}
