//! Where an application's external imports come from.

use robo_model::name::ApplicationName;
use robo_wire::api::BindingView;

use super::paint::Palette;
use super::table;

/// A line for each prefix.
pub(crate) fn table(views: &[BindingView], palette: Palette) -> String {
    let names = |list: &[ApplicationName]| list.iter().map(ApplicationName::as_str).collect::<Vec<_>>().join(", ");
    let row = |view: &BindingView| {
        let from = if view.applications.is_empty() { palette.busy("nobody yet") } else { names(&view.applications) };
        let free: Vec<_> = view.candidates.iter().filter(|name| !view.applications.contains(name)).cloned().collect();
        let free = if free.is_empty() { "-".to_owned() } else { names(&free) };
        vec![view.prefix.to_string(), from, free]
    };
    table::plain(&["PREFIX", "COMES FROM", "ALSO OFFERED BY"], views.iter().map(row).collect(), palette)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_has_its_line() {
        let view = |prefix: &str, from: &[&str], candidates: &[&str]| BindingView {
            prefix: prefix.parse().unwrap(),
            applications: from.iter().map(|name| name.parse().unwrap()).collect(),
            candidates: candidates.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let views = [view("shop", &["lamp", "lamp-2"], &["lamp", "lamp-3"]), view("mail", &[], &[])];
        insta::assert_snapshot!(table(&views, Palette::new(false)), @r"
        PREFIX  COMES FROM    ALSO OFFERED BY
        shop    lamp, lamp-2  lamp-3
        mail    nobody yet    -
        ");
    }
}
