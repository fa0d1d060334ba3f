//! `robo device switch`: switches parts of devices' agents off and on.

use std::collections::BTreeMap;

use robo_model::label::Selector;
use robo_wire::stream::Targets;
use robo_wire::switch::{Subsystem, SwitchOutcome, SwitchRequest, SwitchResult};

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::table;

/// Switches parts of devices' agents off and on: exec, shell, copy, forward, logs, collect.
///
/// What is off refuses everybody, and says who switched it off and when; what is under way there ends. The agent keeps it
/// over restarts, and one that is offline hears of it when it comes. A switch is the device's: a selector says which devices
/// get it now, and labels that change later change no switch. What the machine's owner forbids (`robo-agent --without`)
/// cannot be switched on from here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device switch shell=off robot-7
  robo device switch shell=off forward=off -l site=tokyo
  robo device switch shell=on --all
  robo device inspect robot-7                       shows what is off

Exit codes: 0 done, 3 when some device could not be changed.")]
pub(super) struct SwitchArgs {
    /// What to switch, as in `shell=off`, and the devices.
    #[arg(value_name = "WORD", required = true, add = crate::complete::devices())]
    words: Vec<String>,
    /// The devices whose labels match, as in `site=tokyo,gpu`.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "all")]
    selector: Option<Selector>,
    /// Every device of the project.
    #[arg(long)]
    all: bool,
}

pub(super) async fn switch(args: &SwitchArgs, env: &Env) -> Result<Exit, CliError> {
    let request = request(args)?;
    let (ui, results) = (&env.ui, env.client()?.switch_devices(&request).await?);
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&results)?,
        Format::Name => {
            let changed = results.iter().filter(|result| result.outcome == SwitchOutcome::Changed);
            changed.map(|result| &result.device).try_for_each(|name| ui.line(name))?;
        }
        Format::Table | Format::Wide if results.is_empty() => ui.note("No device is meant."),
        Format::Table | Format::Wide => {
            let rows = results.iter().map(row).collect();
            ui.text(&table::plain(&["DEVICE", "RESULT", "OFF"], rows, ui.out))?;
        }
    }
    let failed = results.iter().any(|result| result.outcome == SwitchOutcome::Failed);
    Ok(if failed { Exit::SomeFailed } else { Exit::Done })
}

fn row(result: &SwitchResult) -> Vec<String> {
    let outcome = match result.outcome {
        SwitchOutcome::Changed => "changed",
        SwitchOutcome::Same => "same",
        SwitchOutcome::Failed => "failed",
    };
    let off: Vec<&str> = result.switches.off.keys().map(String::as_str).collect();
    let off = if off.is_empty() { "-".to_owned() } else { off.join(", ") };
    let last = if result.error.is_empty() { off } else { result.error.clone() };
    vec![result.device.clone(), outcome.to_owned(), last]
}

/// No device has `=` in its name.
fn request(args: &SwitchArgs) -> Result<SwitchRequest, CliError> {
    let (switches, names): (Vec<&String>, Vec<&String>) = args.words.iter().partition(|word| word.contains('='));
    if switches.is_empty() {
        return Err(
            CliError::new("nothing is to be switched").help("say what, as in `robo device switch shell=off robot-7`")
        );
    }
    let chosen = args.all || args.selector.is_some();
    let targets = match (&args.selector, names.is_empty()) {
        (Some(selector), true) => Targets::Selector(selector.to_string()),
        (None, true) if args.all => Targets::All,
        (_, false) if chosen => {
            return Err(CliError::new("devices are given by name and by `-l` or `--all`").help("take one of both"));
        }
        (_, true) => {
            let error = CliError::new("no device is given");
            return Err(error.help("name one or more, or take many: `--all`, or `-l SELECTOR`"));
        }
        (_, false) => Targets::Names(names.into_iter().cloned().collect()),
    };
    let mut set = BTreeMap::new();
    for word in switches {
        let (name, on) = parse(word).map_err(CliError::new)?;
        if set.insert(name, on).is_some_and(|before| before != on) {
            return Err(CliError::new(format!("`{name}` is to be on and off")).help("say once what it should be"));
        }
    }
    Ok(SwitchRequest { targets, set })
}

fn parse(word: &str) -> Result<(Subsystem, bool), String> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let on = match value {
        "on" => true,
        "off" => false,
        _ => return Err(format!("`{word}`: write `{name}=on` or `{name}=off`")),
    };
    Ok((name.parse()?, on))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SwitchArgs,
    }

    fn read(words: &str) -> Result<SwitchRequest, String> {
        let words = std::iter::once("switch").chain(words.split_ascii_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        request(&line.args).map_err(|error| error.what().to_owned())
    }

    #[test]
    fn switches_and_devices_are_told_apart() {
        let set = BTreeMap::from([(Subsystem::Shell, false), (Subsystem::Exec, true)]);
        let names = Targets::Names(vec!["a".into(), "b".into()]);
        assert_eq!(read("shell=off exec=on a b"), Ok(SwitchRequest { targets: names.clone(), set: set.clone() }));
        assert_eq!(read("a shell=off b exec=on exec=on"), Ok(SwitchRequest { targets: names, set: set.clone() }));
        assert_eq!(read("shell=off exec=on --all").unwrap().targets, Targets::All);
        assert_eq!(read("shell=off -l a=b").unwrap().targets, Targets::Selector("a=b".into()));
        for (bad, told) in [
            ("robot-7", "nothing is to be switched"),
            ("shell=off", "no device is given"),
            ("shell=off a --all", "by name and by"),
            ("shell=off a -l b", "by name and by"),
            ("shell=of a", "write `shell=on` or `shell=off`"),
            ("shell= a", "write `shell=on`"),
            ("shells=off a", "nothing that can be switched"),
            ("health=off a", "nothing that can be switched"),
            ("shell=on shell=off a", "is to be on and off"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
