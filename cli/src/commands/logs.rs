//! `robo logs`: shows what an instance prints.

use robo_model::name::{ApplicationName, InstancePath};
use robo_wire::stream::{Answer, StreamFrame, Verdict};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::exec::{Frames, FramesError};
use super::target::Target;
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::harmless::Harmless;

/// Shows what an instance prints: its program's output, or that of its steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo logs /web-1/web               the last lines
  robo logs shop/web-1/web -f        and what follows, until Ctrl-C")]
pub(crate) struct LogsArgs {
    /// The application, where there are several, and the path of the instance in it.
    #[arg(value_names = ["APPLICATION", "/PATH"], num_args = 0..=2, action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::targets())]
    instance: Vec<String>,
    /// Go on with what comes.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "COUNT")]
    lines: u32,
}

/// What is asked of the manager.
#[derive(Debug, Serialize)]
struct Query {
    application: ApplicationName,
    path: InstancePath,
    lines: u32,
    follow: bool,
}

pub(crate) async fn run(args: LogsArgs, env: &Env) -> Result<Exit, CliError> {
    let (application, path) = names(&args.instance)?;
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    let client = env.client()?;
    let show = async {
        let application = match application {
            Some(name) => name,
            None => application_of(&client, &path).await?,
        };
        let query = Query { application, path: path.clone(), lines: args.lines, follow: args.follow };
        let bytes = client.framed_get("logs", &query).await?;
        show(Frames::new(bytes), &path, env).await
    };
    tokio::select! {
        shown = show => shown,
        // To end it is the only way out of following.
        _ = interrupts.recv() => Ok(if args.follow { Exit::Done } else { Exit::Interrupted }),
    }
}

/// Shows what comes until the end.
async fn show(mut frames: Frames, path: &InstancePath, env: &Env) -> Result<Exit, CliError> {
    let failed = |what: String| Err(CliError::new(what).exit_with(Exit::SomeFailed));
    let (mut out, mut err) = (Harmless::default(), Harmless::default());
    loop {
        match frames.next().await {
            Ok(Some(Answer::From(_, StreamFrame::Stdout(bytes)))) => env.ui.printed(&mut out, &bytes)?,
            Ok(Some(Answer::From(_, StreamFrame::Stderr(bytes)))) => env.ui.error_printed(&mut err, &bytes)?,
            Ok(Some(Answer::From(_, StreamFrame::Verdict(verdict)))) => {
                return match verdict {
                    Verdict::Ok => Ok(Exit::Done),
                    Verdict::Offline => failed(format!("the device of {path} is offline, and the log is there")),
                    Verdict::Refused { reason } => failed(format!("no log of {path}: {reason}")),
                    Verdict::Failed { .. }
                    | Verdict::Timeout
                    | Verdict::Lost { .. }
                    | Verdict::Cancelled { .. }
                    | Verdict::Expired => failed(format!("the log of {path} breaks off: {verdict}")),
                };
            }
            Ok(Some(Answer::Targets(_) | Answer::From(..))) => {}
            Ok(None) => return failed(format!("the log of {path} breaks off: the manager ended the answer")),
            Err(FramesError::Client(error)) => return Err(error.into()),
            Err(error) => return Err(CliError::new(error.to_string())),
        }
    }
}

/// Application, where one is given, and path.
fn names(words: &[String]) -> Result<(Option<ApplicationName>, InstancePath), CliError> {
    let Target { application, path } = Target::parse(words)?;
    let missing = || CliError::new("no instance is given").help("give its path, as in `robo logs /web-1/web`");
    Ok((application, path.ok_or_else(missing)?))
}

/// The only application that has an instance at `path`.
async fn application_of(client: &Client, path: &InstancePath) -> Result<ApplicationName, CliError> {
    let status = client.status(None).await?;
    let mut found: Vec<_> = status.instances.into_iter().filter(|i| i.path == *path).map(|i| i.application).collect();
    found.dedup();
    match (found.pop(), found.pop()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            Err(CliError::new(format!("there is no instance {path}")).help("see which there are: `robo status`"))
        }
        (Some(a), Some(b)) => Err(CliError::new(format!("{path} is in more than one application"))
            .help(format!("say in which: `robo logs {b}{path}` or `robo logs {a}{path}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_may_stand_before_the_path() {
        let check = |words: &[&str], expect: Option<(Option<&str>, &str)>| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            let read = names(&words).ok();
            let read = read.as_ref().map(|(a, p)| (a.as_ref().map(ApplicationName::as_str), p.as_str()));
            assert_eq!(read, expect, "{words:?}");
        };
        check(&["/a/b"], Some((None, "/a/b")));
        check(&["shop", "/a/b"], Some((Some("shop"), "/a/b")));
        check(&["shop/a/b"], Some((Some("shop"), "/a/b")));
        check(&["shop"], None);
        check(&[], None);
        check(&["/a", "/b"], None);
        check(&["1shop", "/a"], None);
    }
}
