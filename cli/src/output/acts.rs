//! What came of a cancel or a retry: a line for each device.

use comfy_table::Cell;
use robo_model::name::InstancePath;
use robo_wire::api::{ActAnswer, Verb};
use robo_wire::stream::Verdict;

use super::paint::Palette;
use super::table;

/// Columns that are left for the names of devices and for verdicts.
const BESIDE: usize = 32;

/// Least characters of instances' names.
const LEAST: usize = 24;

/// The table; nothing where there is no device. Of the instances as many are named as fit into `width`.
pub(crate) fn table(answer: &ActAnswer, width: Option<usize>, palette: Palette) -> String {
    if answer.devices.is_empty() {
        return String::new();
    }
    let row = |device: &robo_wire::api::ActVerdict| {
        let names = names(&device.instances, width.map_or(usize::MAX, |width| width.saturating_sub(BESIDE).max(LEAST)));
        let verdict = table::judged(&device.verdict.to_string(), device.verdict == Verdict::Ok);
        vec![Cell::new(&device.device), verdict, Cell::new(names)]
    };
    table::plain(&["DEVICE", "VERDICT", "INSTANCES"], answer.devices.iter().map(row).collect(), palette)
}

/// `/a, /b and 3 more`, in about `room` columns; at least one is named.
fn names(paths: &[InstancePath], room: usize) -> String {
    let mut text = String::new();
    for (at, path) in paths.iter().enumerate() {
        if at > 0 && text.len() + path.as_str().len() > room {
            return format!("{text} and {} more", paths.len() - at);
        }
        text.push_str(if at == 0 { "" } else { ", " });
        text.push_str(path.as_str());
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// `2 instances are tried again; 1 device did not do it.`
pub(crate) fn summary(verb: Verb, answer: &ActAnswer) -> String {
    let count: usize = answer.devices.iter().map(|device| device.instances.len()).sum();
    let silent = answer.devices.iter().filter(|device| device.verdict != Verdict::Ok).count();
    let what = match (verb, count) {
        (Verb::Cancel, 0) => "No step ran that could be cancelled".to_owned(),
        (Verb::Retry, 0) => "Nothing had failed or was held".to_owned(),
        (Verb::Cancel, 1) => {
            "1 instance: its step is cancelled, and nothing further is tried until `robo retry`".into()
        }
        (Verb::Cancel, some) => {
            format!("{some} instances: their steps are cancelled, and nothing further is tried until `robo retry`")
        }
        (Verb::Retry, 1) => "1 instance is tried again".to_owned(),
        (Verb::Retry, some) => format!("{some} instances are tried again"),
    };
    match silent {
        0 => format!("{what}."),
        1 => format!("{what}; 1 device did not do it."),
        some => format!("{what}; {some} devices did not do it."),
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::api::ActVerdict;

    use super::*;

    #[test]
    fn each_device_has_its_line() {
        let verdict = |device: &str, verdict, count: usize| ActVerdict {
            device: device.parse().unwrap(),
            verdict,
            instances: (0..count).map(|i| format!("/web-1/web-{i}").parse().unwrap()).collect(),
        };
        let answer =
            ActAnswer { devices: vec![verdict("web-1", Verdict::Ok, 8), verdict("web-2", Verdict::Offline, 0)] };
        insta::assert_snapshot!(table(&answer, Some(80), Palette::new(false)), @r"
        DEVICE  VERDICT  INSTANCES
        web-1   ok       /web-1/web-0, /web-1/web-1, /web-1/web-2 and 5 more
        web-2   offline  -
        ");
        let coloured = table(&answer, Some(80), Palette::new(true));
        assert!(coloured.contains("\u{1b}[38;5;2mok"), "{coloured:?}");
        insta::assert_snapshot!(summary(Verb::Cancel, &answer), @"8 instances: their steps are cancelled, and nothing further is tried until `robo retry`; 1 device did not do it.");
        let none = ActAnswer { devices: vec![verdict("web-1", Verdict::Ok, 0)] };
        insta::assert_snapshot!(summary(Verb::Retry, &none), @"Nothing had failed or was held.");
    }
}
