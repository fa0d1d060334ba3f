//! One file per command: its arguments, whose doc comments are the help, and what it does.

pub(crate) mod act;
pub(crate) mod agent;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod bind;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod cp;
pub(crate) mod delete;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod doc;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod fmt;
pub(crate) mod forward;
pub(crate) mod graph;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod job;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod manager;
mod place;
pub(crate) mod plan;
pub(crate) mod project;
pub(crate) mod relay;
pub(crate) mod rollback;
mod saved;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod ssh_cert;
pub(crate) mod ssh_config;
pub(crate) mod ssh_key;
pub(crate) mod ssh_proxy;
pub(crate) mod status;
mod target;
pub(crate) mod unit;
pub(crate) mod up;
pub(crate) mod user;
pub(crate) mod wanted;

use crate::cli::Env;
use crate::error::{CliError, Exit};

/// Everything robo can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Check(check::CheckArgs),
    Fmt(fmt::FmtArgs),
    Explain(explain::ExplainArgs),
    Graph(graph::DrawArgs),
    Doc(doc::DocArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    History(history::HistoryArgs),
    Diff(diff::DiffArgs),
    Rollback(rollback::RollbackArgs),
    Status(status::StatusArgs),
    Start(wanted::StartArgs),
    Stop(wanted::StopArgs),
    Undeploy(wanted::UndeployArgs),
    Cancel(act::CancelArgs),
    Retry(act::RetryArgs),
    Bind(bind::BindArgs),
    Unbind(bind::UnbindArgs),
    Delete(delete::DeleteArgs),
    Logs(logs::LogsArgs),
    Events(events::EventsArgs),
    Exec(exec::ExecArgs),
    Unit(unit::UnitArgs),
    Cp(cp::CpArgs),
    Files(files::FilesArgs),
    Job(job::JobArgs),
    Shell(shell::ShellArgs),
    Session(session::SessionArgs),
    Forward(forward::ForwardArgs),
    SshProxy(ssh_proxy::SshProxyArgs),
    SshCert(ssh_cert::SshCertArgs),
    SshConfig(ssh_config::SshConfigArgs),
    SshKey(ssh_key::SshKeyArgs),
    Device(device::DeviceArgs),
    User(user::UserArgs),
    Group(group::GroupArgs),
    Auth(auth::AuthArgs),
    Audit(audit::AuditArgs),
    Project(project::ProjectArgs),
    Context(context::ContextArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Manager(manager::ManagerArgs),
    Relay(relay::RelayArgs),
    Agent(agent::AgentArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// True for what runs until it is told to stop: it logs by itself.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self, Self::Manager(_) | Self::Relay(_) | Self::Agent(_))
    }

    /// True for what asks a manager as whoever is logged in.
    const fn asks(&self) -> bool {
        !self.is_service()
            && !matches!(
                self,
                Self::Up(_)
                    | Self::Down(_)
                    | Self::Check(_)
                    | Self::Fmt(_)
                    | Self::Explain(_)
                    | Self::Graph(_)
                    | Self::Doc(_)
                    | Self::SshConfig(_)
                    | Self::Context(_)
                    | Self::Login(_)
                    | Self::Logout(_)
                    | Self::Completions(_)
            )
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever keeps it from doing its work.
pub(crate) async fn dispatch(command: Command, env: &Env) -> Result<Exit, CliError> {
    if command.asks() {
        Box::pin(login::renew::when_due(env)).await?;
    }
    // Boxed: the enum of all futures would be as large as the largest.
    match command {
        Command::Up(args) => Box::pin(up::run(args, env)).await,
        Command::Down(args) => Box::pin(down::run(args, env)).await,
        Command::Check(args) => check::run(&args, env),
        Command::Fmt(args) => fmt::run(&args, env),
        Command::Explain(args) => explain::run(&args, env),
        Command::Graph(args) => graph::run(&args, env),
        Command::Doc(args) => doc::run(&args, env),
        Command::Plan(args) => Box::pin(plan::run(args, env)).await,
        Command::Apply(args) => Box::pin(apply::run(args, env)).await,
        Command::History(args) => Box::pin(history::run(args, env)).await,
        Command::Diff(args) => Box::pin(diff::run(args, env)).await,
        Command::Rollback(args) => Box::pin(rollback::run(args, env)).await,
        Command::Status(args) => Box::pin(status::run(args, env)).await,
        Command::Start(args) => Box::pin(wanted::start(args, env)).await,
        Command::Stop(args) => Box::pin(wanted::stop(args, env)).await,
        Command::Undeploy(args) => Box::pin(wanted::undeploy(args, env)).await,
        Command::Cancel(args) => Box::pin(act::cancel(args, env)).await,
        Command::Retry(args) => Box::pin(act::retry(args, env)).await,
        Command::Bind(args) => Box::pin(bind::run(args, env)).await,
        Command::Unbind(args) => Box::pin(bind::unbind(args, env)).await,
        Command::Delete(args) => Box::pin(delete::run(args, env)).await,
        Command::Logs(args) => Box::pin(logs::run(args, env)).await,
        Command::Events(args) => Box::pin(events::run(args, env)).await,
        Command::Exec(args) => Box::pin(exec::run(args, env)).await,
        Command::Unit(args) => Box::pin(unit::run(args, env)).await,
        Command::Cp(args) => Box::pin(cp::run(args, env)).await,
        Command::Files(args) => Box::pin(files::run(args, env)).await,
        Command::Job(args) => Box::pin(job::run(args, env)).await,
        Command::Shell(args) => Box::pin(shell::run(args, env)).await,
        Command::Session(args) => Box::pin(session::run(args, env)).await,
        Command::Forward(args) => Box::pin(forward::run(args, env)).await,
        Command::SshProxy(args) => Box::pin(ssh_proxy::run(args, env)).await,
        Command::SshCert(args) => Box::pin(ssh_cert::run(args, env)).await,
        Command::SshConfig(args) => ssh_config::run(&args, env),
        Command::SshKey(args) => Box::pin(ssh_key::run(args, env)).await,
        Command::Device(args) => Box::pin(device::run(args, env)).await,
        Command::User(args) => Box::pin(user::run(args, env)).await,
        Command::Group(args) => Box::pin(group::run(args, env)).await,
        Command::Auth(args) => Box::pin(auth::run(args, env)).await,
        Command::Audit(args) => Box::pin(audit::run(args, env)).await,
        Command::Project(args) => Box::pin(project::run(args, env)).await,
        Command::Context(args) => context::run(args, env),
        Command::Login(args) => Box::pin(login::login(args, env)).await,
        Command::Logout(args) => Box::pin(login::logout(args, env)).await,
        Command::Manager(args) => Box::pin(manager::run(args, env)).await,
        Command::Relay(args) => Box::pin(relay::run(args, env)).await,
        Command::Agent(args) => Box::pin(agent::run(args, env)).await,
        Command::Completions(args) => completions::run(&args, env),
    }
}
