//! Which devices are meant by a selector or a question, a page at a time.

use std::borrow::Cow;
use std::str::FromStr as _;

use robo_model::label::Selector;
use robo_model::name::{DeviceName, ProjectName};
use robo_model::query::{Query, QueryError};
use robo_wire::api::{DeviceView, MAX_DEVICE_PAGE};

use super::Service;
use super::error::ServiceError;

/// What a question may ask for by its name alone.
const NAMES: [&str; 13] = [
    "address",
    "agent",
    "arch",
    "cores",
    "disk",
    "enrolled_by",
    "hostname",
    "id",
    "kernel",
    "memory",
    "name",
    "os",
    "state",
];

/// What a question may ask for by what stands behind this.
const FAMILIES: [&str; 4] = ["application.", "capability.", "installer.", "label."];

/// Which devices, and how many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Those whose labels match.
    pub selector: Option<Selector>,
    /// Those of which this is so.
    pub query: Option<Query>,
    /// Those behind this name.
    pub after: Option<DeviceName>,
    /// So many at most.
    pub limit: Option<usize>,
}

/// Why a filter is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The question is none.
    #[error("the question is wrong: {0}")]
    Query(#[from] QueryError),
    /// A page of nothing, or of too much.
    #[error("a page has 1 to {MAX_DEVICE_PAGE} devices, not {0}")]
    Limit(usize),
}

impl FilterError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Query(error) => error.marked().join("\n"),
            Self::Limit(_) => "ask for the next page with `after`, the last name of the one before".to_owned(),
        }
    }
}

impl DeviceFilter {
    /// A filter of what a request says.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub fn read(
        selector: Option<&str>,
        query: Option<&str>,
        after: Option<DeviceName>,
        limit: Option<usize>,
    ) -> Result<Self, ServiceError> {
        if let Some(wrong) = limit.filter(|limit| !(1..=MAX_DEVICE_PAGE).contains(limit)) {
            return Err(FilterError::Limit(wrong).into());
        }
        let query = query.map(Query::from_str).transpose().map_err(FilterError::Query)?;
        Ok(Self { selector: selector.map(str::parse).transpose()?, query, after, limit })
    }

    /// What no device ever tells and is asked for all the same: the answer is no device then.
    #[must_use]
    pub fn unknown(&self) -> Vec<&str> {
        let is_known = |name: &&str| {
            NAMES.contains(name) || FAMILIES.iter().any(|family| name.len() > family.len() && name.starts_with(family))
        };
        self.query.iter().flat_map(Query::names).filter(|name| !is_known(name)).collect()
    }

    /// The same for people; nothing where all is known.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let unknown: Vec<String> = self.unknown().iter().map(|name| format!("`{name}`")).collect();
        let families = FAMILIES.map(|family| format!("{family}NAME")).join(", ");
        (!unknown.is_empty())
            .then(|| format!("no device tells {}; there are {families}, {}", unknown.join(", "), NAMES.join(", ")))
    }

    fn takes(&self, device: &DeviceView) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches(&device.labels))
            && self.query.as_ref().is_none_or(|query| query.matches(&|name: &str| told(device, name)))
            && self.after.as_ref().is_none_or(|after| device.name > *after)
    }
}

impl Service {
    /// The project's devices that the filter takes and that `sees` shows, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn devices_where(
        &self,
        project: &ProjectName,
        filter: &DeviceFilter,
        sees: impl Fn(&DeviceView) -> bool + Send,
    ) -> Result<Vec<DeviceView>, ServiceError> {
        if !filter.unknown().is_empty() {
            return Ok(Vec::new());
        }
        let devices = self.devices(project).await?.into_iter();
        Ok(devices
            .filter(|device| filter.takes(device) && sees(device))
            .take(filter.limit.unwrap_or(usize::MAX))
            .collect())
    }
}

/// What a device tells under this name; nothing where it tells nothing.
fn told<'a>(device: &'a DeviceView, name: &str) -> Option<Cow<'a, str>> {
    let facts = &device.facts;
    let text = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    let number = |number: u64| (number > 0).then(|| Cow::Owned(number.to_string()));
    let has = |all: &[String], one: &str| all.iter().any(|own| own == one).then_some(Cow::Borrowed("true"));
    if let Some(key) = name.strip_prefix("label.") {
        return device.labels.get(key).map(|value| Cow::Borrowed(value.as_str()));
    }
    if let Some(name) = name.strip_prefix("capability.") {
        return has(&facts.capabilities, name);
    }
    if let Some(name) = name.strip_prefix("installer.") {
        return has(&facts.installers, name);
    }
    if let Some(name) = name.strip_prefix("application.") {
        return device.applications.iter().any(|own| own.as_str() == name).then_some(Cow::Borrowed("true"));
    }
    match name {
        "address" => text(&facts.address),
        "agent" => text(&facts.agent_version),
        "arch" => text(&facts.arch),
        "cores" => number(facts.cores.into()),
        "disk" => number(facts.disk),
        "enrolled_by" => text(&device.enrolled_by),
        "hostname" => text(&facts.hostname),
        "id" => text(device.id.as_str()),
        "kernel" => text(&facts.kernel),
        "memory" => number(facts.memory),
        "name" => text(device.name.as_str()),
        "os" => text(&facts.os),
        "state" => text(device.state.as_str()),
        _ => None,
    }
}
