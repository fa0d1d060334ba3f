//! `robo logs`: shows what instances, agents and units of the journal print.

mod files;
mod share;
mod show;

use std::collections::BTreeMap;

use jiff::Timestamp;
use robo_model::name::{DeviceName, InstancePath};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use robo_wire::api::InstanceView;
use robo_wire::problem::ErrorCode;
use robo_wire::tail::{Source, SourceAt, TailOpen, check_unit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::share::{Named, Share};
use self::show::Show;
use super::target::Target;
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::when;

/// Lines at first, where nothing says how many or since when.
const USUAL_LINES: u32 = 100;

/// What waits to be shown. Little, so that a slow terminal slows the devices down.
const QUEUE: usize = 4;

/// Shows what instances, agents and units of the system's journal print.
///
/// Of an instance: its program's output, or that of its steps. Several are shown at once, each line with its name in
/// front. With `--follow` it goes on until Ctrl-C, and comes back by itself after a cut: every line is shown once. Lines
/// of instances have the time at which they came, to about a second, by the device's clock.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo logs /web-1/web                          the last lines
  robo logs shop /web-1/web /web-2/web -f       of two, and what follows, until Ctrl-C
  robo logs /web-1/web --since 10m --grep 'error|warn' -t
  robo logs --agent robot-7 -f                  what the agent says
  robo logs --unit ssh.service --on robot-7     a unit of its system; needs the right to run commands
  robo logs --files --on robot-7 robot-8        which files there are, for `robo cp`")]
pub(crate) struct LogsArgs {
    /// The application, where there are several, and the paths of instances in it.
    #[arg(value_names = ["APPLICATION", "/PATH"], num_args = 0.., action = clap::ArgAction::Set)]
    #[arg(add = crate::complete::targets())]
    instances: Vec<String>,
    /// The agents of these devices.
    #[arg(long, value_name = "DEVICE", num_args = 1.., add = crate::complete::devices())]
    agent: Vec<DeviceName>,
    /// A unit of the system's journal; may be given again.
    #[arg(long, value_name = "NAME", requires = "on", group = "there", value_parser = unit)]
    unit: Vec<String>,
    /// List the files of logs, with their sizes, instead of what is in them.
    #[arg(long, requires = "on", group = "there")]
    #[arg(conflicts_with_all = ["instances", "agent", "follow", "lines", "since", "until", "grep", "times"])]
    files: bool,
    /// The devices with the units, or with the files.
    #[arg(long, value_name = "DEVICE", num_args = 1.., requires = "there", add = crate::complete::devices())]
    on: Vec<DeviceName>,
    /// Go on with what comes.
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// How many of the last lines of each; 100 where nothing says since when.
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<u32>,
    /// Only lines since then: so long ago, as in `10m`, or a time, as in `2026-01-31T13:45:00Z`.
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<UnixMillis>,
    /// Only lines before that.
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<UnixMillis>,
    /// Only lines in which this regular expression is found; the device looks for it.
    #[arg(long, value_name = "REGEX", value_parser = filter)]
    grep: Option<String>,
    /// The time in front of each line.
    #[arg(short, long)]
    times: bool,
}

/// So long ago, or a time.
pub(crate) fn point(text: &str) -> Result<UnixMillis, String> {
    if let Ok(ago) = text.parse::<Millis>() {
        return Ok(UnixMillis(when::now().0.saturating_sub(ago.0)));
    }
    let time = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    time.map(UnixMillis)
        .ok_or_else(|| "write how long ago, as in `10m`, or a time, as in `2026-01-31T13:45:00Z`".into())
}

fn filter(text: &str) -> Result<String, String> {
    robo_agent::tail::check_filter(text).map(|()| text.to_owned())
}

fn unit(name: &str) -> Result<String, String> {
    check_unit(name).map(|()| name.to_owned())
}

pub(crate) async fn run(args: LogsArgs, env: &Env) -> Result<Exit, CliError> {
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    let follow = args.follow;
    let client = env.client()?;
    if args.files {
        return files::list(&args.on, &client, &env.ui).await;
    }
    let work = async {
        let shares = shares(&args, &client).await?;
        tell(shares, &client, env, args.times).await
    };
    tokio::select! {
        shown = Box::pin(work) => shown,
        // To end it is the only way out of following.
        _ = interrupts.recv() => Ok(if follow { Exit::Done } else { Exit::Interrupted }),
    }
}

/// Shows what comes of all devices until all of it is there.
async fn tell(shares: Vec<Share>, client: &Client, env: &Env, times: bool) -> Result<Exit, CliError> {
    let several = shares.len() > 1;
    let mut show = Show::new(&env.ui, times, several || shares.iter().any(Share::has_several));
    let (give, mut take) = mpsc::channel(QUEUE);
    let telling = shares.into_iter().map(|share| Box::pin(share.run(client, give.clone())));
    let telling = futures_util::future::join_all(telling);
    drop(give);
    let showing = async move {
        while let Some(told) = take.recv().await {
            show.told(told)?;
        }
        Ok::<_, CliError>(show)
    };
    let (ended, shown) = tokio::join!(telling, showing);
    let mut failed = shown?.has_failed();
    for end in ended {
        match end {
            Ok(()) => {}
            Err(error) if !several => return Err(error),
            Err(error) => {
                failed = true;
                env.ui.error(&error);
            }
        }
    }
    Ok(if failed { Exit::SomeFailed } else { Exit::Done })
}

/// What is asked of each device.
async fn shares(args: &LogsArgs, client: &Client) -> Result<Vec<Share>, CliError> {
    let named = |name, source| Named { name, at: SourceAt { source, position: None } };
    let mut nowhere = Vec::new();
    let mut by_device: BTreeMap<DeviceName, Vec<Named>> = BTreeMap::new();
    let mut add = |device: &DeviceName, name: String, source: Source| {
        by_device.entry(device.clone()).or_default().push(named(name, source));
    };
    for (key, device) in instances(&args.instances, client).await? {
        let (name, source) = (key.path.to_string(), Source::Instance(key));
        match device {
            Some(device) => add(&device, name, source),
            None => nowhere.push((None, vec![named(name, source)])),
        }
    }
    for device in &args.agent {
        add(device, format!("{device} agent"), Source::Agent);
    }
    for device in &args.on {
        for unit in &args.unit {
            add(device, format!("{device} {unit}"), Source::Unit(unit.clone()));
        }
    }
    if by_device.is_empty() && nowhere.is_empty() {
        return Err(CliError::new("no instance is given").help("give its path, as in `robo logs /web-1/web`"));
    }
    let lines = args.lines.or(if args.since.is_some() { None } else { Some(USUAL_LINES) });
    let share = |(device, sources)| {
        let open = TailOpen {
            sources: Vec::new(),
            lines,
            since: args.since,
            until: args.until,
            filter: args.grep.clone(),
            follow: args.follow,
        };
        Share::new(device, sources, open)
    };
    nowhere
        .into_iter()
        .chain(by_device.into_iter().map(|(device, sources)| (Some(device), sources)))
        .map(share)
        .collect()
}

/// The instances that were named, and where they are. Who may not see the state of all need not know that.
async fn instances(words: &[String], client: &Client) -> Result<Vec<(InstanceKey, Option<DeviceName>)>, CliError> {
    let targets = targets(words)?;
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let unseen = |(target, path): &(Target, InstancePath)| {
        let application = target.application.clone()?;
        Some((InstanceKey { application, path: path.clone() }, None))
    };
    match client.status(None).await {
        Ok(status) => targets.iter().map(|(target, path)| find(&status.instances, target, path)).collect(),
        Err(error) if error.code() == Some(ErrorCode::Forbidden) => {
            targets.iter().map(unseen).collect::<Option<_>>().ok_or_else(|| {
                CliError::from(error).help("or say in which application it is, as in `robo logs shop/web-1/web`")
            })
        }
        Err(error) => Err(error.into()),
    }
}

fn find(
    there: &[InstanceView],
    target: &Target,
    path: &InstancePath,
) -> Result<(InstanceKey, Option<DeviceName>), CliError> {
    let fits = |i: &&InstanceView| i.path == *path && target.application.as_ref().is_none_or(|a| *a == i.application);
    let mut found = there.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(only), None) => {
            let key = InstanceKey { application: only.application.clone(), path: path.clone() };
            Ok((key, Some(only.device.clone())))
        }
        (None, _) => {
            Err(CliError::new(format!("there is no instance {path}")).help("see which there are: `robo status`"))
        }
        (Some(a), Some(b)) => {
            let (a, b) = (&a.application, &b.application);
            Err(CliError::new(format!("{path} is in more than one application"))
                .help(format!("say in which: `robo logs {a}{path}` or `robo logs {b}{path}`")))
        }
    }
}

/// What was typed: paths, each with its application or with the one that stands first.
fn targets(words: &[String]) -> Result<Vec<(Target, InstancePath)>, CliError> {
    let missing = || CliError::new("no instance is given").help("give its path, as in `robo logs /web-1/web`");
    let (first, paths) = match words.split_first() {
        Some((first, rest)) if !first.contains('/') => (Some(first), rest),
        Some(_) | None => (None, words),
    };
    if first.is_some() && paths.is_empty() {
        return Err(missing());
    }
    let target = |word: &String| {
        let words: Vec<String> = first.into_iter().chain([word]).cloned().collect();
        let target = Target::parse(&words)?;
        let path = target.path.clone().ok_or_else(missing)?;
        Ok((target, path))
    };
    paths.iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Words {
        #[command(flatten)]
        args: LogsArgs,
    }

    #[test]
    fn the_application_may_stand_before_the_paths() {
        let check = |words: &[&str], expect: Option<&[(&str, &str)]>| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            let read = targets(&words).ok().map(|found| {
                let told = |(target, path): (Target, InstancePath)| {
                    (target.application.map(String::from).unwrap_or_default(), path.to_string())
                };
                found.into_iter().map(told).collect::<Vec<_>>()
            });
            let expect = expect.map(|e| e.iter().map(|(a, p)| ((*a).to_owned(), (*p).to_owned())).collect::<Vec<_>>());
            assert_eq!(read, expect, "{words:?}");
        };
        check(&["/a/b"], Some(&[("", "/a/b")]));
        check(&["shop", "/a/b"], Some(&[("shop", "/a/b")]));
        check(&["shop/a/b"], Some(&[("shop", "/a/b")]));
        check(&["shop", "/a", "/b"], Some(&[("shop", "/a"), ("shop", "/b")]));
        check(&["/a", "lab/b"], Some(&[("", "/a"), ("lab", "/b")]));
        check(&[], Some(&[]));
        for bad in [&["shop"][..], &["/a", "shop"], &["1shop", "/a"], &["shop", "lab/a"], &["/a//b"]] {
            check(bad, None);
        }
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let parse = |words: &str| {
            let words = std::iter::once("logs").chain(words.split_ascii_whitespace());
            Words::try_parse_from(words).map(|words| words.args)
        };
        let args = parse("/a --since 10m --grep a|b -t -n 5 -f").unwrap();
        assert!(args.follow && args.times && args.lines == Some(5) && args.since.unwrap() < when::now());
        let args = parse("--unit ssh.service --unit cron --on a b --agent c d").unwrap();
        assert_eq!((args.unit.len(), args.on.len(), args.agent.len()), (2, 2, 2));
        assert_eq!(parse("/a --until 2026-01-31T13:45:00Z").unwrap().until, Some(UnixMillis(1_769_867_100_000)));
        let args = parse("--files --on a b").unwrap();
        assert!(args.files && args.on.len() == 2);
        for bad in [
            "/a --since yesterday",
            "/a --since 5",
            "/a --until 1969-01-01T00:00:00Z",
            "/a --grep (",
            "/a -n many",
            "/a -f --until 1m",
            "--unit ssh",
            "--on a",
            "--unit a*b --on a",
            "--agent /a",
            "--files",
            "--files --on a --unit ssh",
            "--files --on a /a",
            "--files --on a --agent b",
            "--files --on a -f",
            "--files --on a -n 5",
            "--files --on a --grep x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
