//! What stands in a box, beside an arrow, or in a line.

use std::collections::BTreeMap;

use console::measure_text_width;
use robo_model::graph::{Binding, ExportValue};
use robo_model::name::{ComponentName, Variable};

/// Variables named at an arrow; more are counted. Three fit beside an arrow without widening the drawing.
const EDGE_VARIABLES: usize = 3;

/// `ip`, `port = 8080`: each exported variable once, by local name; `own` says under which prefix values are taken first.
pub(crate) fn offers(own: &ComponentName, exports: &BTreeMap<Variable, ExportValue>) -> Vec<String> {
    let mut by_name: BTreeMap<&str, &ExportValue> = BTreeMap::new();
    for (variable, value) in exports {
        let known = by_name.entry(variable.local.as_str()).or_insert(value);
        if variable.prefix == *own {
            *known = value;
        }
    }
    by_name.into_iter().map(|(name, value)| offer(name, value)).collect()
}

fn offer(name: &str, value: &ExportValue) -> String {
    match value {
        ExportValue::Text(text) => format!("{name} = {}", printable(text)),
        ExportValue::Address | ExportValue::Addresses(_) => name.to_owned(),
        ExportValue::RandomPort => format!("{name} = random"),
        ExportValue::Missing => format!("{name} = ?"),
    }
}

/// Which machine a host is, as the file says it.
pub(crate) fn binding(binding: &Binding) -> String {
    match binding {
        Binding::Device(device) => format!("device {device}"),
        Binding::Devices { selector, name: _ } => format!("devices {selector}"),
        Binding::Target(target) => format!("target {}", printable(target)),
    }
}

/// `ip, port, +2`: the variables at an arrow.
pub(crate) fn variables(all: &[&str]) -> String {
    if all.contains(&"*") {
        return "all".into();
    }
    let mut text = all.iter().take(EDGE_VARIABLES).copied().collect::<Vec<_>>().join(", ");
    if all.len() > EDGE_VARIABLES {
        text.push_str(&format!(", +{}", all.len() - EDGE_VARIABLES));
    }
    text
}

/// `1 host`, `5 hosts`.
pub(crate) fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// `text` on one line, without what would move a cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `text`, or its beginning and `…`, in at most `width` columns.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    console::truncate_str(text, width, "…").into_owned()
}

/// A list, of which the first items are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<String>,
    /// How many there are beside those.
    pub(crate) left: usize,
}

impl List {
    pub(crate) fn all(items: Vec<String>) -> Self {
        Self { items, left: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.items.is_empty() && self.left == 0
    }
}

/// A list in lines of at most `width` columns and at most `lines` lines; what does not fit is counted.
pub(crate) fn wrapped(list: &List, width: usize, lines: usize) -> Vec<String> {
    let total = list.items.len() + list.left;
    let more = |left: usize| format!(" and {left} more");
    let mut done: Vec<String> = Vec::new();
    let mut line = String::new();
    for (at, item) in list.items.iter().enumerate() {
        let left = total - at - 1;
        // Twice at most: in the line that is begun, and in the next one.
        loop {
            // Where no further line follows there must be room for saying how many are left.
            let ends = done.len() + 1 >= lines || at + 1 == list.items.len();
            let reserve = if ends && left > 0 { more(left).len() } else { 0 };
            let item = shortened(item, width.saturating_sub(reserve.max(1)));
            let piece = if left == 0 { item } else { format!("{item},") };
            let taken = measure_text_width(&piece) + reserve.saturating_sub(1);
            if line.is_empty() {
                line = piece;
                break;
            }
            if measure_text_width(&line) + 1 + taken <= width {
                line.push(' ');
                line.push_str(&piece);
                break;
            }
            if done.len() + 1 >= lines {
                done.push(format!("{}{}", line.trim_end_matches(','), more(left + 1)));
                return done;
            }
            done.push(std::mem::take(&mut line));
        }
    }
    match (line.is_empty(), list.left) {
        (true, 0) => {}
        (true, left) => done.push(format!("{left} more")),
        (false, 0) => done.push(line),
        (false, left) => done.push(format!("{}{}", line.trim_end_matches(','), more(left))),
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_with_a_count() {
        let items = |n: usize| (1..=n).map(|n| format!("item-{n}")).collect();
        let wrapped = |n, width, lines| wrapped(&List::all(items(n)), width, lines);
        assert_eq!(wrapped(9, 100, 1), ["item-1, item-2, item-3, item-4, item-5, item-6, item-7, item-8, item-9"]);
        assert_eq!(wrapped(9, 30, 2), ["item-1, item-2, item-3,", "item-4, item-5 and 4 more"]);
        assert_eq!(wrapped(9, 5, 9)[0], "ite…,");
        assert_eq!(wrapped(0, 30, 2), [""; 0]);
        let known = List { items: items(2), left: 7 };
        assert_eq!(super::wrapped(&known, 30, 1), ["item-1, item-2 and 7 more"]);
        assert_eq!(super::wrapped(&known, 20, 1), ["item-1 and 8 more"]);
        assert!(wrapped(9, 30, 2).iter().all(|line| line.len() <= 30));
    }

    #[test]
    fn variables_are_counted_after_the_third() {
        assert_eq!(variables(&["ip", "port"]), "ip, port");
        assert_eq!(variables(&["a", "b", "c", "d", "e"]), "a, b, c, +2");
        assert_eq!(variables(&["*", "ip"]), "all");
    }
}
