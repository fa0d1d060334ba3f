//! What is known of an exported value without asking its device.

use std::borrow::Cow;

use robo_model::graph::ExportValue;
use robo_model::name::DeviceId;
use robo_model::spec::InstanceSpec;
use robo_model::template;

use crate::plan::net::Face;
use crate::plan::place::Placed;

/// Most characters of a value that a plan shows: enough to tell two values apart, and a plan stays small.
const MAX_SHOWN: usize = 200;

/// A value; two are equal when importers would see no difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// As far as it is known.
    text: Cow<'a, str>,
    /// The device that knows the rest; nothing when all is known.
    device: Option<&'a DeviceId>,
}

impl<'a> Value<'a> {
    /// The value of a variable; nothing when the instance does not export it.
    pub(super) fn of(placed: &'a Placed, face: Face<'_>) -> Option<Self> {
        let device = &placed.bound.id;
        let variable = if face.outside { placed.spec.outside.get(face.variable)? } else { face.variable };
        Some(match placed.spec.exports.get(variable)? {
            ExportValue::Text(text) if !text.contains("$(") => Self { text: text.into(), device: None },
            ExportValue::Text(text) => Self::expanded(text, &placed.spec, device),
            ExportValue::Address | ExportValue::Addresses(_) | ExportValue::RandomPort | ExportValue::Missing => {
                Self { text: "".into(), device: Some(device) }
            }
        })
    }

    fn expanded(text: &'a str, spec: &InstanceSpec, device: &'a DeviceId) -> Self {
        let mut all_known = true;
        let expanded = template::expand(text, |name| {
            let known = known(name, spec);
            all_known &= known.is_some();
            Some(known.unwrap_or_else(|| format!("$({name})")))
        });
        Self { text: expanded.map_or(text.into(), Cow::Owned), device: (!all_known).then_some(device) }
    }

    /// As a plan shows it; nothing when only the device knows it.
    pub(super) fn shown(&self) -> Option<String> {
        if self.device.is_some() {
            return None;
        }
        let mut shown: String = self.text.chars().take(MAX_SHOWN).collect();
        if shown.len() < self.text.len() {
            shown.push('…');
        }
        Some(shown)
    }
}

/// What `$(name)` stands for, where the specification alone tells.
fn known(name: &str, spec: &InstanceSpec) -> Option<String> {
    let own = spec.exports.iter().find(|(variable, _)| variable.local.as_str() == name);
    match own.map(|(_, value)| value) {
        Some(ExportValue::Text(text)) if !text.contains("$(") => Some(text.clone()),
        Some(
            ExportValue::Text(_)
            | ExportValue::Address
            | ExportValue::Addresses(_)
            | ExportValue::RandomPort
            | ExportValue::Missing,
        ) => None,
        None => template::instance_variable(name, spec),
    }
}
