//! `robo device label` and `robo device rename`: what operators call devices.

use std::collections::BTreeSet;

use robo_model::label::{self, Labels};
use robo_model::name::DeviceName;
use robo_wire::api::{LabelOutcome, LabelResult, LabelsRequest, RenameRequest};
use robo_wire::stream::Targets;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::table;

/// Sets and removes labels of devices: of some by name, of those with some labels, or of all.
///
/// All of it is one request, and each device has its result. `robo exec -l SELECTOR` chooses devices by labels. Hosts that
/// are bound by a selector (`devices: site=tokyo;`) are refused by this version: bind them by name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device label robot-7 site=osaka arm=         sets two, one of them without a value
  robo device label robot-7 robot-8 arm-            removes one from two devices
  robo device label -l site=osaka site=tokyo        of all that are in Osaka
  robo device label --all checked=2026-01 --dry-run what would come of it

Exit codes: 0 done, 3 when some device could not be changed.")]
pub(super) struct LabelArgs {
    /// Devices, and behind them labels: `KEY=VALUE` sets one, `KEY=` one without a value, `KEY-` removes one.
    ///
    /// A word without `=` or `-` at its end is a device before the first label, and a label without a value behind it.
    /// Where no word has one of these, the first is the device, and the others are labels.
    #[arg(value_name = "WORD", required = true, add = crate::complete::devices())]
    words: Vec<String>,
    /// The devices whose labels match, as in `site=tokyo,gpu`; then all words are labels.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "all")]
    selector: Option<label::Selector>,
    /// Every device of the project; then all words are labels.
    #[arg(long)]
    all: bool,
    /// Only show what would come of it.
    #[arg(long)]
    dry_run: bool,
}

/// Gives a device another name. It is the same device, with its key, its labels and its history.
///
/// Its agent knows the new name at once, or when it comes. The old name is free again. A device that applications name is
/// not renamed: apply them without it first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  robo device rename robot-7 hall-3")]
pub(super) struct RenameArgs {
    /// The device.
    #[arg(value_name = "OLD", add = crate::complete::devices())]
    from: DeviceName,
    /// Its name from here on.
    #[arg(value_name = "NEW")]
    to: DeviceName,
}

/// One label to set or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelChange {
    Set(String, String),
    Unset(String),
}

pub(super) async fn rename(RenameArgs { from, to }: &RenameArgs, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let device = env.client()?.rename_device(from, &RenameRequest { name: to.clone() }).await?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&device),
        Format::Name => ui.line(&device.name),
        Format::Table | Format::Wide => {
            ui.note(format!("{from} is called {to} now."));
            Ok(())
        }
    }
}

pub(super) async fn label(args: &LabelArgs, env: &Env) -> Result<Exit, CliError> {
    let request = request(args)?;
    let (ui, results) = (&env.ui, env.client()?.label_devices(&request).await?);
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&results)?,
        Format::Name => {
            let changed = results.iter().filter(|result| result.outcome == LabelOutcome::Changed);
            changed.map(|result| &result.device).try_for_each(|name| ui.line(name))?;
        }
        Format::Table | Format::Wide if results.is_empty() => ui.note("No device is meant."),
        Format::Table | Format::Wide => {
            let rows = results.iter().map(|result| row(result, args.dry_run)).collect();
            ui.text(&table::plain(&["DEVICE", "RESULT", "LABELS"], rows, ui.out))?;
        }
    }
    let failed = results.iter().any(|result| result.outcome == LabelOutcome::Failed);
    Ok(if failed { Exit::SomeFailed } else { Exit::Done })
}

fn row(result: &LabelResult, dry_run: bool) -> Vec<String> {
    let outcome = match result.outcome {
        LabelOutcome::Changed if dry_run => "would change",
        LabelOutcome::Changed => "changed",
        LabelOutcome::Same => "same",
        LabelOutcome::Failed => "failed",
    };
    let last = if result.error.is_empty() { table::labels_of(&result.labels) } else { result.error.clone() };
    vec![result.device.clone(), outcome.to_owned(), last]
}

fn request(args: &LabelArgs) -> Result<LabelsRequest, CliError> {
    let chosen = args.all || args.selector.is_some();
    let (names, labels) = if chosen { (Vec::new(), args.words.as_slice()) } else { split(&args.words) };
    if let Some(wrong) = names.iter().find(|name| name.parse::<DeviceName>().is_err()) {
        let error = CliError::new(format!("`{wrong}` is no name of a device, and no label"));
        return Err(error.help("labels are `KEY=VALUE`, `KEY=` and `KEY-`, behind the devices"));
    }
    if labels.is_empty() {
        let error = CliError::new("no label is given, only devices");
        return Err(error.help("`KEY=VALUE` sets one, `KEY=` one without a value, `KEY-` removes one"));
    }
    let targets = match &args.selector {
        _ if args.all => Targets::All,
        Some(selector) => Targets::Selector(selector.to_string()),
        None => Targets::Names(names),
    };
    let (mut set, mut unset) = (Labels::new(), BTreeSet::new());
    for text in labels {
        let twice = match parse_change(text).map_err(CliError::new)? {
            LabelChange::Set(key, value) => {
                (unset.contains(&key) || set.insert(key.clone(), value).is_some()).then_some(key)
            }
            LabelChange::Unset(key) => (set.contains_key(&key) || !unset.insert(key.clone())).then_some(key),
        };
        if let Some(key) = twice {
            return Err(CliError::new(format!("the label `{key}` is given twice")).help("say once what it should be"));
        }
    }
    Ok(LabelsRequest { targets, set, unset: unset.into_iter().collect(), dry_run: args.dry_run })
}

/// The devices, and the labels behind them.
fn split(words: &[String]) -> (Vec<String>, &[String]) {
    let is_label = |word: &String| word.contains('=') || word.ends_with('-');
    // Where nothing is marked as a label, all but the first word are labels without values.
    let at = words.iter().position(is_label).unwrap_or(1).min(words.len());
    let (names, labels) = words.split_at_checked(at).unwrap_or((words, &[]));
    (names.to_vec(), labels)
}

/// `key=value` and `key` set, `key-` removes.
fn parse_change(text: &str) -> Result<LabelChange, String> {
    match text.strip_suffix('-') {
        // A value may end so; a key without one cannot.
        Some(key) if !key.contains('=') => {
            label::check_label(key, "").map_err(|error| error.to_string())?;
            Ok(LabelChange::Unset(key.to_owned()))
        }
        Some(_) | None => super::parse_label(text).map(|(key, value)| LabelChange::Set(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_set_or_removed() {
        let set = |key: &str, value: &str| Ok(LabelChange::Set(key.into(), value.into()));
        assert_eq!(parse_change("site=tokyo"), set("site", "tokyo"));
        assert_eq!(parse_change("gpu"), set("gpu", ""));
        assert_eq!(parse_change("gpu="), set("gpu", ""));
        assert_eq!(parse_change("tag=v1-"), set("tag", "v1-"), "a value may end so");
        assert_eq!(parse_change("gpu-"), Ok(LabelChange::Unset("gpu".into())));
        for bad in ["", "-", "=x", "a b-", "a b=c"] {
            assert!(parse_change(bad).is_err(), "{bad}");
        }
    }

    fn args(words: &[&str], selector: Option<&str>) -> LabelArgs {
        LabelArgs {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            selector: selector.map(|text| text.parse().unwrap()),
            all: false,
            dry_run: false,
        }
    }

    #[test]
    fn devices_come_first_and_labels_behind_them() {
        let check = |words: &[&str], names: &[&str], set: &[&str], unset: &[&str]| {
            let request = request(&args(words, None)).unwrap();
            let owned = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            assert_eq!(request.targets, Targets::Names(owned(names)), "{words:?}");
            assert_eq!(request.set.into_keys().collect::<Vec<_>>(), set, "{words:?}");
            assert_eq!(request.unset, unset, "{words:?}");
        };
        check(&["a", "site=x", "arm"], &["a"], &["arm", "site"], &[]);
        check(&["a", "b", "arm-", "site=x"], &["a", "b"], &["site"], &["arm"]);
        check(&["a", "gpu"], &["a"], &["gpu"], &[]);
        check(&["a", "b", "gpu="], &["a", "b"], &["gpu"], &[]);
        let by_label = request(&args(&["gpu", "x-"], Some("site=tokyo"))).unwrap();
        assert_eq!(by_label.targets, Targets::Selector("site=tokyo".to_owned()));
        assert_eq!((by_label.set.len(), by_label.unset), (1, vec!["x".to_owned()]));
        for (words, expect) in [
            (&["a"][..], "no label is given"),
            (&["a", "x=1", "x=2"], "`x` is given twice"),
            (&["a", "x=1", "x-"], "`x` is given twice"),
            (&["a", "x-", "x-"], "`x` is given twice"),
            (&["a/b", "x=1"], "`a/b` is no name of a device"),
            (&["a", "x=1", "b c"], "`b c`"),
        ] {
            let error = request(&args(words, None)).unwrap_err();
            assert!(error.what().contains(expect), "{words:?}: {}", error.what());
        }
    }
}
