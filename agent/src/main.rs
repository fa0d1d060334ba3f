//! `robo-agent`: the agent alone, for devices. The same agent as `robo agent`.

mod commands;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use robo_agent::args::{Args, CollectArgs, DoctorArgs, SshTrustArgs, UploadArgs, default_state};
use robo_agent::{Config, diary, upgrade};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Runs the agent of this machine.
///
/// It dials its manager, and keeps what it is told running, with or without it. ROBO_LOG chooses what is logged.
/// SIGTERM and Ctrl-C end it; what it looks after goes on running, and it looks after it again at its next start.
#[derive(Parser)]
#[command(name = "robo-agent", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(flatten)]
    args: Option<Args>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    Doctor(DoctorArgs),
    Collect(CollectArgs),
    SshTrust(SshTrustArgs),
    Upload(UploadArgs),
}

fn main() -> ExitCode {
    if let Some(code) = robo_agent::as_helper(std::env::args_os()) {
        return code;
    }
    let done = match Cli::parse() {
        Cli { command: Some(Command::Doctor(doctor)), .. } => commands::examine(doctor),
        Cli { command: Some(Command::Collect(args)), .. } => commands::collected(args),
        Cli { command: Some(Command::SshTrust(args)), .. } => commands::trusted(args),
        Cli { command: Some(Command::Upload(args)), .. } => commands::queued(args),
        Cli { args: Some(args), command: None } => run(args).map(|()| ExitCode::SUCCESS),
        Cli { args: None, command: None } => Err(anyhow::anyhow!("name the manager: --manager HOST[:PORT]")),
    };
    done.unwrap_or_else(|error| {
        let mut err = std::io::stderr().lock();
        // Nobody reads: nothing can be done about that.
        drop(writeln!(err, "error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(args: Args) -> anyhow::Result<()> {
    let level = std::env::var("ROBO_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(&level)
        .with_context(|| format!("ROBO_LOG is `{level}`, which is no filter; write a level, as in ROBO_LOG=debug"))?;
    let state = args.state.clone().unwrap_or_else(default_state);
    let (diary, without) = match diary::layer(&state) {
        Ok(layer) => (Some(layer), None),
        Err(error) => (None, Some(error)),
    };
    let said = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(diary).with(said).with(filter).init();
    if let Some(error) = without {
        tracing::warn!("no log is kept in {}: {error}", state.display());
    }
    let own = upgrade::Own::of_this_process(args.trial_time)?;
    let config = Config { own: own.clone(), ..args.into_config(default_state())? };
    let runtime = commands::runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        Box::pin(robo_agent::run(config, stop)).await.map_err(anyhow::Error::from)
    })?;
    upgrade::go_on(own, runtime).context("the agent cannot try another program; started again, it goes on as before")
}
