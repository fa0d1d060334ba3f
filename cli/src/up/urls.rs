//! Where a person can look at what was started.

use robo_model::graph::{Application, Probe};
use robo_model::name::{DeviceName, InstancePath};
use robo_model::state::{InstanceReport, InstanceState};
use robo_wire::api::Status;

/// Most addresses that are shown: of more, nobody needs all at once.
const MAX_URLS: usize = 5;

/// Every export called `url` of a started instance; where there is none, what the instances' HTTP checks ask.
pub(crate) fn urls(
    status: &Status,
    application: &Application,
    address: impl Fn(&DeviceName) -> Option<String>,
) -> Vec<(InstancePath, String)> {
    let started = status.instances.iter().filter(|i| i.state == InstanceState::DeployedStarted);
    let reported: Vec<_> = started.filter_map(|i| Some((i, i.report.as_ref()?))).collect();
    let exported = reported.iter().flat_map(|(instance, report)| {
        let urls = report.exports.iter().filter(|(variable, _)| variable.local.as_str() == "url");
        urls.map(|(_, url)| (instance.path.clone(), url.clone()))
    });
    let exported: Vec<_> = exported.take(MAX_URLS).collect();
    if !exported.is_empty() {
        return exported;
    }
    let checked = reported.iter().filter_map(|(instance, report)| {
        let check = application.components.get(&instance.component)?.settings.check.as_ref()?;
        let Probe::Http { port, path } = &check.probe else { return None };
        let (port, path) = (filled_in(port, report)?, filled_in(path, report)?);
        Some((instance.path.clone(), format!("http://{}:{port}{path}", address(&instance.device)?)))
    });
    checked.take(MAX_URLS).collect()
}

/// `text`, when it is plain, or the export that it names as `$(name)`; nothing for anything more complicated.
fn filled_in(text: &str, report: &InstanceReport) -> Option<String> {
    let Some(name) = text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')) else {
        return (!text.contains("$(")).then(|| text.to_owned());
    };
    let matches =
        |variable: &robo_model::name::Variable| variable.local.as_str() == name || variable.to_string() == name;
    report.exports.iter().find(|(variable, _)| matches(variable)).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use robo_model::graph::{Check, Component, Installer, Settings};
    use robo_model::name::{ApplicationName, ComponentName, Variable};

    use super::*;
    use crate::output::table::tests::view;

    fn application(probe: Probe) -> Application {
        let name = ComponentName::new("Web").unwrap();
        let check = Check { probe, every: Check::EVERY, timeout: Check::TIMEOUT };
        let component = Component {
            name: name.clone(),
            annotation: None,
            lineage: vec![name.clone()],
            facets: [].into(),
            installer: Installer::Script,
            children: [].into(),
            exports: [].into(),
            imports: vec![],
            settings: Settings { check: Some(check), ..Settings::default() },
        };
        Application {
            name: ApplicationName::new("shop").unwrap(),
            version: None,
            description: None,
            tags: vec![],
            exports_prefix: None,
            exports: [].into(),
            rollout: None,
            components: [(name, component)].into(),
            instances: [].into(),
        }
    }

    fn check(state: InstanceState, exports: &[(&str, &str)], (port, path): (&str, &str), expect: &[&str]) {
        let mut web = view("/web-1/web", "Web", "web-1", state);
        let export = |(name, value): &(&str, &str)| (Variable::parse(name).unwrap(), (*value).to_owned());
        web.report.as_mut().unwrap().exports = exports.iter().map(export).collect();
        let status = Status { cursor: 0, applications: vec![], instances: vec![web], circles: vec![] };
        let application = application(Probe::Http { port: port.into(), path: path.into() });
        let found = urls(&status, &application, |_| Some("127.0.0.9".into()));
        assert_eq!(found.iter().map(|(_, url)| url.as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn an_export_called_url_goes_before_a_check() {
        let started = InstanceState::DeployedStarted;
        let url = ("Web.url", "http://a/");
        check(started, &[url], ("80", "/ready"), &["http://a/"]);
        check(started, &[("Web.port", "8080")], ("$(port)", "/ready"), &["http://127.0.0.9:8080/ready"]);
        check(started, &[("Web.port", "8080")], ("$(Web.port)", "/"), &["http://127.0.0.9:8080/"]);
        check(started, &[], ("80", "/"), &["http://127.0.0.9:80/"]);
        check(started, &[], ("$(port)", "/"), &[]);
        check(InstanceState::Starting, &[url], ("80", "/"), &[]);
    }
}
