//! What stands in the way of a plan: all of it at once, each with where it is and what to do.

use robo_model::limits::{FIRST_RANDOM_PORT, LAST_RANDOM_PORT, MAX_INSTANCES, MAX_VALUE_BYTES};
use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath, Variable};
use robo_wire::problem::ErrorCode;

use super::place::MAX_ASSIGNMENT_BYTES;

/// Most problems that one refusal lists: one mistake may touch every instance of a large application.
pub const MAX_PROBLEMS: usize = 100;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.problems, *.omitted))]
pub struct PlanError {
    /// What stands in the way, in the order of the instances; at most [`MAX_PROBLEMS`], at least one.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl PlanError {
    /// The first problem's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.problems.first().map_or(ErrorCode::Internal, Problem::code)
    }

    /// What to do: each problem's help once, a line each.
    #[must_use]
    pub fn help(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for problem in &self.problems {
            let help = problem.help();
            if !lines.contains(&help) {
                lines.push(help);
            }
        }
        lines.join("\n")
    }
}

fn summary(problems: &[Problem], omitted: usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if omitted > 0 {
        lines.push(format!("and {omitted} more"));
    }
    lines.join("\n")
}

/// One thing that stands in the way. The message says what and where, [`Problem::help`] what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `device: NAME;` names no device of the project.
    #[error("`{host}` is to be device `{name}`, and there is none of that name")]
    UnknownDevice {
        /// The host instance.
        host: InstancePath,
        /// The name in the file.
        name: DeviceName,
        /// A device whose name is nearly that.
        near: Option<DeviceName>,
    },
    /// A host instance has no `device:`, and no device has its name.
    #[error("the host `{host}` has no device")]
    HostWithoutDevice {
        /// The host instance.
        host: InstancePath,
        /// The device's name that it would go to by itself; nothing when its path makes no device name.
        name: Option<DeviceName>,
        /// A device whose name is nearly that.
        near: Option<DeviceName>,
    },
    /// `devices: SELECTOR;`.
    #[error("`{host}` is bound by `devices: {selector};`, which this version does not do")]
    SelectorUnsupported {
        /// The host instance.
        host: InstancePath,
        /// The selector.
        selector: String,
    },
    /// `target: NAME;`.
    #[error("`{host}` is bound by `target: {target};`, and this version does not make machines")]
    TargetUnsupported {
        /// The host instance.
        host: InstancePath,
        /// The target.
        target: String,
    },
    /// `installer: container;`.
    #[error("`{path}` is a container, and this version runs none")]
    ContainerUnsupported {
        /// The instance.
        path: InstancePath,
    },
    /// `$(secret:NAME)`.
    #[error("`env.{key}` of `{path}` has the secret `{secret}` in it, and this version keeps no secrets")]
    SecretUnsupported {
        /// The instance.
        path: InstancePath,
        /// The environment variable.
        key: String,
        /// The secret's name.
        secret: String,
    },
    /// No instance above it, nor itself, has the installer `target`.
    #[error("`{path}` does not live on any host")]
    NoHost {
        /// The instance.
        path: InstancePath,
    },
    /// Its component is not in the application.
    #[error("`{path}` is a `{component}`, which the application does not have")]
    UnknownComponent {
        /// The instance.
        path: InstancePath,
        /// The component.
        component: ComponentName,
    },
    /// A variable has no value.
    #[error("`{variable}` of `{path}` has no value")]
    MissingValue {
        /// The instance.
        path: InstancePath,
        /// The variable.
        variable: Variable,
    },
    /// A value is too long for an environment variable.
    #[error("`{variable}` of `{path}` has {bytes} bytes, a value has at most {MAX_VALUE_BYTES}")]
    ValueTooLong {
        /// The instance.
        path: InstancePath,
        /// The variable.
        variable: Variable,
        /// Its length.
        bytes: usize,
    },
    /// Every port of the range is taken on the device.
    #[error("no port is free on device `{device}` for `{variable}` of `{path}`")]
    NoFreePort {
        /// The instance.
        path: InstancePath,
        /// The variable.
        variable: Variable,
        /// The device.
        device: DeviceName,
        /// The ports that are never handed out; empty when all may be.
        forbidden: String,
    },
    /// The application offers something else to others than what they are bound to it for.
    #[error("{} import `{prefix}` from `{application}`, which is to offer {} to others", super::warning::list(.by.iter()), offered(.offers.as_ref()))]
    PrefixInUse {
        /// The application.
        application: ApplicationName,
        /// What they are bound to.
        prefix: ComponentName,
        /// The application's prefix from now on.
        offers: Option<ComponentName>,
        /// Those who are bound to it.
        by: Vec<ApplicationName>,
    },
    /// No port was handed out for a `random[port]` of an application that is applied.
    #[error("no port was handed out for `{variable}` of `{path}`")]
    PortUnknown {
        /// The instance.
        path: InstancePath,
        /// The variable.
        variable: Variable,
    },
    /// A device would get more than one message can carry.
    #[error(
        "the instances on device `{device}` take about {bytes} bytes, an assignment has at most {MAX_ASSIGNMENT_BYTES}"
    )]
    AssignmentTooLarge {
        /// The device.
        device: DeviceName,
        /// The estimate.
        bytes: usize,
    },
    /// The application is too large.
    #[error("the application has {count} instances, at most {MAX_INSTANCES} are allowed")]
    TooManyInstances {
        /// How many it has.
        count: usize,
    },
}

impl Problem {
    /// The instance it is about, where it is about one.
    #[must_use]
    pub const fn path(&self) -> Option<&InstancePath> {
        match self {
            Self::UnknownDevice { host, .. }
            | Self::HostWithoutDevice { host, .. }
            | Self::SelectorUnsupported { host, .. }
            | Self::TargetUnsupported { host, .. } => Some(host),
            Self::NoHost { path }
            | Self::ContainerUnsupported { path }
            | Self::SecretUnsupported { path, .. }
            | Self::UnknownComponent { path, .. }
            | Self::MissingValue { path, .. }
            | Self::ValueTooLong { path, .. }
            | Self::NoFreePort { path, .. }
            | Self::PortUnknown { path, .. } => Some(path),
            Self::AssignmentTooLarge { .. } | Self::TooManyInstances { .. } | Self::PrefixInUse { .. } => None,
        }
    }

    /// For machines.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownDevice { .. } | Self::HostWithoutDevice { .. } => ErrorCode::UnknownDevice,
            Self::SelectorUnsupported { .. }
            | Self::TargetUnsupported { .. }
            | Self::ContainerUnsupported { .. }
            | Self::SecretUnsupported { .. } => ErrorCode::Unsupported,
            Self::NoHost { .. }
            | Self::UnknownComponent { .. }
            | Self::MissingValue { .. }
            | Self::ValueTooLong { .. } => ErrorCode::GraphInvalid,
            Self::AssignmentTooLarge { .. } | Self::TooManyInstances { .. } => ErrorCode::TooLarge,
            Self::NoFreePort { .. } => ErrorCode::Busy,
            Self::PrefixInUse { .. } => ErrorCode::InUse,
            Self::PortUnknown { .. } => ErrorCode::Internal,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::UnknownDevice { near: Some(near), .. } => {
                format!("did you mean `{near}`? `robo device list` shows all devices")
            }
            Self::UnknownDevice { name, near: None, .. } => {
                format!("`robo device list` shows all devices; or enrol one as `{name}`")
            }
            Self::HostWithoutDevice { name: Some(name), near, .. } => {
                let near = near.as_ref().map(|near| format!(", as in `device: {near};`")).unwrap_or_default();
                format!("enrol a device as `{name}`, or write `device: NAME;` in the instance{near}")
            }
            Self::HostWithoutDevice { name: None, .. } => "write `device: NAME;` in the instance".to_owned(),
            Self::SelectorUnsupported { .. } => {
                "write one host instance for each device, with `device: NAME;`".to_owned()
            }
            Self::TargetUnsupported { .. } => {
                "enrol a machine that exists and write `device: NAME;` instead".to_owned()
            }
            Self::ContainerUnsupported { .. } => {
                "run the program itself with `installer: process;`, or the container engine from `installer: script;`"
                    .to_owned()
            }
            Self::SecretUnsupported { .. } => {
                "keep it in a file on the machine that only the component's `user` may read, and give the program its path"
                    .to_owned()
            }
            Self::NoHost { .. } => "put it below an instance whose component has `installer: target;`".to_owned(),
            Self::UnknownComponent { component, .. } => format!("define `{component}` in the graph"),
            Self::MissingValue { variable, .. } => format!("write `{}: VALUE;` in the instance", variable.local),
            Self::ValueTooLong { .. } => {
                "ship what is this long as a file of the recipe, and export its name".to_owned()
            }
            Self::NoFreePort { forbidden, .. } => {
                let forbidden = match forbidden.as_str() {
                    "" => String::new(),
                    ports => format!(", or forbidden (the manager's `--forbidden-ports {ports}`)"),
                };
                format!(
                    "{FIRST_RANDOM_PORT} to {LAST_RANDOM_PORT} are handed out or in use there{forbidden}; \
                     move instances to another device"
                )
            }
            Self::PrefixInUse { prefix, by, .. } => {
                let first = by.first().map_or_else(String::new, ToString::to_string);
                format!("keep `exports-prefix: {prefix};`, or bind them to others first, as in `robo bind {first} {prefix} NAME`")
            }
            Self::PortUnknown { .. } => "apply the application again".to_owned(),
            Self::AssignmentTooLarge { .. } => {
                "spread the instances over more devices, or make values and recipes smaller".to_owned()
            }
            Self::TooManyInstances { .. } => "split the application".to_owned(),
        }
    }
}

fn offered(prefix: Option<&ComponentName>) -> String {
    prefix.map_or_else(|| "nothing".to_owned(), |prefix| format!("`{prefix}`"))
}

/// Gathers problems, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// Adds one; it is only made when it is kept, since finding a near name costs.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.kept.len() < MAX_PROBLEMS {
            self.kept.push(problem());
        } else {
            self.omitted += 1;
        }
    }

    /// An error when there is any.
    pub(super) fn into_result(self) -> Result<(), PlanError> {
        if self.kept.is_empty() {
            return Ok(());
        }
        Err(PlanError { problems: self.kept, omitted: self.omitted })
    }
}
