//! `robo device list`: the devices, those of which something is so, and how they change.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use robo_model::label::Selector;
use robo_model::name::DeviceName;
use robo_model::quantity::UnixMillis;
use robo_model::query::Query;
use robo_wire::api::DeviceView;
use robo_wire::event::Event;
use serde::Serialize;

use crate::cli::{Env, Format};
use crate::client::{Client, ClientError, DeviceQuery, EventQuery};
use crate::error::CliError;
use crate::output::table::{self, Look};
use crate::output::{installs, when};

/// Events come in swarms: so long after one, those behind it are looked at together.
const SETTLE: Duration = Duration::from_millis(200);

/// Most events that are waited for together, so that a swarm without an end is shown too.
const SWARM: usize = 1_000;

/// The pause before the manager is asked again after it was away.
const REDIAL: Duration = Duration::from_secs(1);

/// Lists the devices of the project, or those of which something is so, and the machines on which an agent is being
/// installed.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  robo device list -l site=tokyo,gpu
  robo device list --where 'state = offline and label.site = tokyo'
  robo device list --where 'memory >= 8GiB and not capability.gpu or cores > 16'
  robo device list --watch -o json      one line for each change

A question compares names with values: `=`, `!=`, and for numbers and sizes `<`, `<=`, `>`, `>=`. A name alone asks
whether it is there. `not` binds closest, then `and`, then `or`. Values with other characters than letters, digits and
`_ - . / : +` stand between quotes. There are label.KEY, capability.NAME, installer.NAME, application.NAME, address,
agent, arch, cores, disk, enrolled_by, hostname, id, kernel, memory, name, os and state.")]
pub(super) struct ListArgs {
    /// Only those whose labels match, as in `site=tokyo,gpu`.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// Only those of which this is so.
    #[arg(long = "where", value_name = "QUESTION")]
    question: Option<String>,
    /// Go on, and show changes as they happen: a table on a terminal, else one line of JSON for each change.
    #[arg(short, long)]
    watch: bool,
    /// Only the machines that are on their way to become devices, or failed on it.
    #[arg(long, conflicts_with_all = ["selector", "question", "watch"])]
    installing: bool,
}

/// How a device's record moved.
#[derive(Serialize)]
struct Change<'a> {
    /// When it was seen here.
    at: UnixMillis,
    change: &'static str,
    device: &'a DeviceView,
}

pub(super) async fn list(args: ListArgs, env: &Env) -> Result<(), CliError> {
    if let Some(error) = args.question.as_deref().and_then(|text| text.parse::<Query>().err()) {
        let [text, mark] = error.marked();
        let what = CliError::new(format!("the question is wrong: {}", error.what()));
        return Err(what.note(text).note(mark).help("`robo device list --help` has examples"));
    }
    let query = DeviceQuery { selector: args.selector.map(|selector| selector.to_string()), question: args.question };
    let client = env.client()?;
    if args.installing {
        return list_installs(&client, env).await;
    }
    if args.watch {
        return watch(&client, &query, env).await;
    }
    let ui = &env.ui;
    let (devices, notice) = client.devices_where(&query).await?;
    if let Some(notice) = notice {
        ui.note(notice);
    }
    let is_all = query == DeviceQuery::default();
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&devices),
        Format::Name => devices.iter().try_for_each(|device| ui.line(&device.name)),
        Format::Table | Format::Wide => {
            // What is no device yet has none of what a question is about.
            let installs = if is_all { client.installs().await? } else { Vec::new() };
            match (devices.is_empty() && installs.is_empty(), is_all) {
                (true, true) => ui.note("There is no device yet. Let one in: `robo device enroll NAME`"),
                (true, false) => ui.note("Of no device this is so."),
                (false, _) => return ui.text(&table::devices(&devices, &installs, Look::of(ui))),
            }
            Ok(())
        }
    }
}

async fn list_installs(client: &Client, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let found = client.installs().await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&found),
        Format::Name => found.iter().try_for_each(|install| ui.line(&install.name)),
        Format::Table | Format::Wide if found.is_empty() => {
            ui.note("No machine is on its way to become a device.");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&installs::table(&found, Look::of(ui))),
    }
}

type Shown = BTreeMap<DeviceName, DeviceView>;

/// Goes on until Ctrl-C or an error that no waiting mends.
async fn watch(client: &Client, query: &DeviceQuery, env: &Env) -> Result<(), CliError> {
    let mut shown: Option<Shown> = None;
    let mut away = false;
    loop {
        match look_and_listen(client, query, &mut shown, &mut away, env).await {
            Ok(()) => {}
            Err(Broken::Link(error)) if error.is_passing() => {
                if !std::mem::replace(&mut away, true) {
                    env.ui.note(format!("{error}; waiting for it to come back"));
                }
            }
            Err(Broken::Link(error)) => return Err(error.into()),
            Err(Broken::Output(error)) => return Err(error),
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// Why watching broke off.
enum Broken {
    Link(ClientError),
    Output(CliError),
}

/// Shows how it is, and again after each event of a device, until the connection ends.
async fn look_and_listen(
    client: &Client,
    query: &DeviceQuery,
    shown: &mut Option<Shown>,
    away: &mut bool,
    env: &Env,
) -> Result<(), Broken> {
    // What happens between the look and the listening is told: it is behind this one.
    let after = last_event(client).await.map_err(Broken::Link)?;
    let follow = EventQuery { after: Some(after), application: None, limit: None, follow: true };
    let mut events = client.events(&follow).await.map_err(Broken::Link)?;
    if std::mem::take(away) {
        env.ui.note("the manager is back");
    }
    loop {
        let (devices, notice) = client.devices_where(query).await.map_err(Broken::Link)?;
        if let (Some(notice), None) = (notice, &shown) {
            env.ui.note(notice);
        }
        let now: Shown = devices.into_iter().map(|device| (device.name.clone(), device)).collect();
        show(shown.as_ref(), &now, env).map_err(Broken::Output)?;
        *shown = Some(now);
        loop {
            let Some(event) = events.next().await else { return Ok(()) };
            if moves_a_device(&event.map_err(Broken::Link)?) {
                break;
            }
        }
        for _ in 0..SWARM {
            match tokio::time::timeout(SETTLE, events.next()).await {
                Ok(Some(event)) => drop(event.map_err(Broken::Link)?),
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
    }
}

async fn last_event(client: &Client) -> Result<u64, ClientError> {
    let last = EventQuery { after: None, application: None, limit: Some(1), follow: false };
    let mut events = client.events(&last).await?;
    let mut id = 0;
    while let Some(event) = events.next().await {
        id = event?.id;
    }
    Ok(id)
}

const fn moves_a_device(event: &Event) -> bool {
    event.device.is_some() && event.path.is_none()
}

fn show(before: Option<&Shown>, now: &Shown, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    if ui.out_is_terminal && !ui.is_machine() {
        let devices: Vec<DeviceView> = now.values().cloned().collect();
        // Home, and everything away.
        ui.bytes(b"\x1b[H\x1b[2J")?;
        return ui.text(&table::devices(&devices, &[], Look::of(ui)));
    }
    let at = when::now();
    for (change, device) in changes(before.unwrap_or(&Shown::new()), now) {
        let text = serde_json::to_string(&Change { at, change, device })
            .map_err(|error| CliError::new(format!("a change cannot be printed: {error}")))?;
        ui.line(text)?;
    }
    Ok(())
}

/// What moved, by name. When a device was seen last moves all the time, and is told with the next thing that does.
fn changes<'a>(before: &'a Shown, now: &'a Shown) -> Vec<(&'static str, &'a DeviceView)> {
    let still = |device: &DeviceView| DeviceView { last_seen: None, ..device.clone() };
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name)).map(|(_, device)| ("removed", device));
    let moved = now.iter().filter_map(|(name, device)| match before.get(name) {
        None => Some(("added", device)),
        Some(old) => (still(old) != still(device)).then_some(("changed", device)),
    });
    gone.chain(moved).collect()
}
