//! `robo cp`: copies files and folders to devices, from them, and between them.

pub(super) mod bar;
mod show;
pub(super) mod side;
mod transfer;
mod wire;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use robo_agent::copy::{Passed, name_of};
use robo_model::label::Selector;
use robo_model::name::DeviceName;
use robo_wire::api::DeviceView;
use robo_wire::copy::{Pull, Push, RawPath};
use tokio::signal::unix::{SignalKind, signal};

use self::bar::Bars;
use self::show::Outcome;
use self::side::Side;
use self::transfer::{Task, Way};
use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::{CliError, Exit};

/// Devices that are copied to or from at a time: enough to fill a line, few enough that each gets on.
const AT_ONCE: usize = 8;

/// Copies files to devices, from them, or from one to another.
///
/// One side, or both, is a path on a device: `robot-7:/etc/app.conf`, or on several: `robot-7,robot-8:/etc/app.conf`.
/// With `-l` or `--all` no name stands before the colon. A relative path there begins at the home of the agent's user.
/// `-` is standard input or output.
///
/// A file takes its place when it is whole and its checksum is right; until then the old one stays. A copy that is cut
/// goes on by itself, and where that fails, when the same command is given again. Permissions and times are kept.
/// Links are copied as links; devices, sockets and pipes are left out, and said.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo cp app.conf robot-7:/etc/app/             to a device
  robo cp -r robot-7:/var/log/app ./logs         a folder from it
  robo cp --all --mode 600 key :/etc/app/key     to every device
  robo cp -l site=tokyo :/etc/hostname ./names   from many, into a folder for each
  robo cp robot-7:map.bin robot-8:map.bin        from one to another
  pg_dump shop | robo cp - robot-7:shop.sql      what a program prints")]
pub(crate) struct CpArgs {
    /// What to copy, and where to.
    #[arg(value_name = "PATH", required = true, num_args = 2..)]
    paths: Vec<OsString>,
    /// Folders too, with all that is in them.
    #[arg(short, long)]
    recursive: bool,
    /// The devices whose labels match, as in `site=tokyo,gpu`.
    #[arg(short = 'l', long, conflicts_with = "all")]
    selector: Option<Selector>,
    /// Every device of the project.
    #[arg(long)]
    all: bool,
    /// The permissions of the copied files, in octal digits, instead of those that they have.
    #[arg(long, value_name = "OCTAL", value_parser = side::mode)]
    mode: Option<u32>,
    /// Who owns the copy, by name or number; only where the receiving side runs as root.
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// At most so many bytes a second for each device, as in `256K` or `1M`.
    #[arg(long, value_name = "RATE", value_parser = side::rate)]
    limit: Option<u64>,
}

pub(crate) async fn run(args: CpArgs, env: &Env) -> Result<Exit, CliError> {
    let is_json = match env.ui.format {
        Format::Table | Format::Wide => false,
        Format::Json => true,
        Format::Yaml | Format::Name => {
            return Err(CliError::new("cp tells what it copied as text, or as JSON").help("take `-o json`, or no `-o`"));
        }
    };
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    let client = env.client()?;
    let work = async {
        let tasks = tasks(&args, &client).await?;
        let bars = Bars::new(&env.ui);
        let count = tasks.len();
        let outcomes = futures_util::stream::iter(tasks.into_iter().enumerate())
            .map(|(number, tasks)| {
                let (client, bars) = (&client, &bars);
                async move { (number, Box::pin(run_all(tasks, client, bars)).await) }
            })
            .buffer_unordered(AT_ONCE);
        let mut sorted: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut running = std::pin::pin!(outcomes);
        while let Some((number, outcome)) = running.next().await {
            sorted.insert(number, outcome?);
        }
        let outcomes: Vec<Outcome> = sorted.into_values().collect();
        if is_json {
            for outcome in &outcomes {
                env.ui.element(outcome)?;
            }
            return Ok(show::exit(&outcomes));
        }
        show::tell(&outcomes, count, &env.ui)
    };
    tokio::select! {
        done = work => done,
        _ = interrupts.recv() => {
            env.ui.after_interrupt();
            // What came from standard input cannot be sent again.
            if !args.paths.iter().any(|path| path == "-") {
                env.ui.note("Interrupted. What has arrived is kept: the same command goes on from there.");
            }
            Ok(Exit::Interrupted)
        }
    }
}

/// Copies one device's share, one source after the other.
async fn run_all(tasks: Vec<Task>, client: &Client, bars: &Bars) -> Result<Outcome, CliError> {
    let mut whole: Option<Outcome> = None;
    for task in tasks {
        let outcome = Box::pin(task.run(client, bars)).await?;
        match &mut whole {
            Some(whole) => whole.join(outcome),
            None => whole = Some(outcome),
        }
    }
    whole.ok_or_else(|| CliError::new("there is nothing to copy"))
}

/// What is to be done: for each device a list.
async fn tasks(args: &CpArgs, client: &Client) -> Result<Vec<Vec<Task>>, CliError> {
    let mut sides = args.paths.iter().map(|path| Side::parse(path)).collect::<Result<Vec<_>, _>>()?;
    let target = sides.pop().ok_or_else(|| CliError::new("no target is given"))?;
    let is_selected = args.all || args.selector.is_some();
    let remote: Vec<bool> = sides.iter().chain([&target]).filter_map(Side::names).map(<[_]>::is_empty).collect();
    let unnamed = remote.iter().filter(|unnamed| **unnamed).count();
    if remote.is_empty() {
        return Err(CliError::new("none of the paths is on a device").help("name one, as in `robot-7:/etc/app.conf`"));
    }
    if is_selected && unnamed == 0 {
        return Err(CliError::new("`-l` and `--all` say the devices, and a path names one already")
            .help("write the path without a name, as in `robo cp --all app.conf :/etc/`"));
    }
    if !is_selected && unnamed > 0 {
        return Err(CliError::new("a path says no device").help("name one before the colon, or take `-l` or `--all`"));
    }
    let selected = if is_selected { selected(args, client).await? } else { Vec::new() };
    let devices = |names: &[DeviceName]| if names.is_empty() { selected.clone() } else { names.to_vec() };
    let several = sides.len() > 1;
    let mut by_device: BTreeMap<DeviceName, Vec<Task>> = BTreeMap::new();
    for source in sides {
        match (source, &target) {
            (Side::Remote { names, path }, Side::Remote { names: to, path: into }) => {
                let [from] = devices(&names).try_into().map_err(|_| one_source())?;
                for to in devices(to) {
                    let push = push(args, into, name_of_raw(&path)?, several);
                    let way = Way::Across { from: from.clone(), pull: pull(args, &path), push };
                    by_device.entry(to.clone()).or_default().push(Task { device: to, way });
                }
            }
            (Side::Remote { names, path }, target) => {
                let from = devices(&names);
                let is_many = from.len() > 1;
                for device in from {
                    let way = pulled(args, target, (&device, is_many), &path, several)?;
                    by_device.entry(device.clone()).or_default().push(Task { device, way });
                }
            }
            (local, Side::Remote { names, path }) => {
                let (file, name) = match local {
                    Side::Local(file) => {
                        let name = name_of(&file).or_else(|| name_of(&std::fs::canonicalize(&file).ok()?));
                        let name = name.ok_or_else(|| CliError::new(format!("`{}` has no name", file.display())))?;
                        (Some(file), name)
                    }
                    Side::Standard | Side::Remote { .. } => (None, RawPath::from("stdin")),
                };
                for device in devices(names) {
                    let way = Way::Push {
                        file: file.clone(),
                        push: push(args, path, name.clone(), several),
                        limit: args.limit,
                        recursive: args.recursive,
                    };
                    by_device.entry(device.clone()).or_default().push(Task { device, way });
                }
            }
            (_, Side::Local(_) | Side::Standard) => {
                return Err(CliError::new("neither side is on a device").help("`cp` copies on this machine"));
            }
        }
    }
    if by_device.len() > 1 && by_device.values().flatten().any(|task| task.way.is_standard()) {
        return Err(
            CliError::new("`-` can be read or written once, and there are several devices").help("take a file instead")
        );
    }
    Ok(by_device.into_values().collect())
}

fn one_source() -> CliError {
    CliError::new("from several devices to others is not one copy").help("copy from one device, or to this machine")
}

/// From a device to this machine: to a folder of its own where there are several.
fn pulled(
    args: &CpArgs,
    target: &Side,
    (device, is_many): (&DeviceName, bool),
    path: &RawPath,
    several: bool,
) -> Result<Way, CliError> {
    let pull = pull(args, path);
    let Side::Local(target) = target else { return Ok(Way::Print { pull, passed: Passed::default() }) };
    let mut target = target.clone();
    if is_many {
        target = target.join(device.as_str());
        std::fs::create_dir_all(&target)
            .map_err(|error| CliError::new(format!("the folder {} cannot be made: {error}", target.display())))?;
    }
    let name = name_of_raw(path)?;
    let raw = RawPath(side::bytes(&target));
    let mut push = push(args, &raw, name, several);
    let into = push.path.0.ends_with(b"/") || target.is_dir();
    if into {
        // A second try must not go into the folder that the first one made.
        target = target.join(PathBuf::from(side::os(&push.name.0)));
        push.path = RawPath(side::bytes(&target));
    }
    push.exact = true;
    Ok(Way::Pull { pull, push })
}

fn pull(args: &CpArgs, path: &RawPath) -> Pull {
    Pull { path: path.clone(), recursive: args.recursive, limit: args.limit }
}

fn push(args: &CpArgs, path: &RawPath, name: RawPath, several: bool) -> Push {
    let mut path = path.clone();
    if several && !path.0.ends_with(b"/") {
        path.0.push(b'/');
    }
    Push { path, name, exact: false, mode: args.mode, owner: args.owner.clone() }
}

/// The last name of a path on a device.
fn name_of_raw(path: &RawPath) -> Result<RawPath, CliError> {
    name_of(&PathBuf::from(side::os(&path.0)))
        .ok_or_else(|| CliError::new(format!("`{path}` has no name in it")).help("give the folder's own path"))
}

async fn selected(args: &CpArgs, client: &Client) -> Result<Vec<DeviceName>, CliError> {
    let devices = client.devices().await?;
    let fits = |d: &DeviceView| args.selector.as_ref().is_none_or(|selector| selector.matches(&d.labels));
    let names: Vec<DeviceName> = devices.into_iter().filter(fits).map(|d| d.name).collect();
    if names.is_empty() {
        return Err(CliError::new("no device matches").help("see which there are: `robo device list`"));
    }
    Ok(names)
}
