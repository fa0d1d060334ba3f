//! The name of an instance that there is once for each device: `robot-{device}`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{DeviceName, InstanceName, NameError};

/// An [`InstanceName`] with `{device}` in it, exactly once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate {
    before: String,
    after: String,
}

/// Why a text is no template of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameTemplateError {
    /// There is no `{device}`.
    #[error("there is no `{}` in the name", NameTemplate::DEVICE)]
    None,
    /// There is a second `{device}`.
    #[error("`{}` stands in the name twice", NameTemplate::DEVICE)]
    Several {
        /// Where the second one stands, in bytes.
        at: Range<usize>,
    },
    /// What is around it makes no name, or one that is too long.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl NameTemplate {
    /// What stands for a device's name.
    pub const DEVICE: &'static str = "{device}";

    /// What stands in its place where no device is known.
    const STAND_IN: &'static str = "device";

    /// Checks `text`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameTemplateError> {
        let (before, after) = text.split_once(Self::DEVICE).ok_or(NameTemplateError::None)?;
        if let Some(at) = after.find(Self::DEVICE) {
            let start = before.len() + Self::DEVICE.len() + at;
            return Err(NameTemplateError::Several { at: start..start + Self::DEVICE.len() });
        }
        let template = Self { before: before.to_owned(), after: after.to_owned() };
        template.with(Self::STAND_IN)?;
        Ok(template)
    }

    /// The name where no device is known: `robot-device` for `robot-{device}`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "`new` has made this very name")]
    pub fn stand_in(&self) -> InstanceName {
        self.with(Self::STAND_IN).expect("it was a name before")
    }

    /// The name of the instance on `device`.
    ///
    /// # Errors
    /// When it becomes too long, or starts with the digit that the device's name starts with.
    pub fn fill(&self, device: &DeviceName) -> Result<InstanceName, NameError> {
        self.with(device.as_str())
    }

    fn with(&self, device: &str) -> Result<InstanceName, NameError> {
        InstanceName::new(format!("{}{device}{}", self.before, self.after))
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, Self::DEVICE, self.after)
    }
}

impl fmt::Debug for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = NameTemplateError;
    fn try_from(text: String) -> Result<Self, NameTemplateError> {
        Self::new(&text)
    }
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> Self {
        template.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gives_its_name() {
        for (text, stand_in, filled) in [
            ("robot-{device}", "robot-device", Some("robot-7b")),
            ("r {device}.x", "r device.x", Some("r 7b.x")),
            ("{device}", "device", None),
        ] {
            let template = NameTemplate::new(text).unwrap();
            assert_eq!(template.stand_in().as_str(), stand_in);
            assert_eq!(template.fill(&"7b".parse().unwrap()).ok().map(String::from).as_deref(), filled);
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn wrong_templates_say_why() {
        assert_eq!(NameTemplate::new("robot"), Err(NameTemplateError::None));
        assert_eq!(NameTemplate::new("a{device}b{device}"), Err(NameTemplateError::Several { at: 10..18 }));
        for bad in ["1{device}", "a/{device}", "{device}}", &format!("{}{{device}}", "x".repeat(128))] {
            assert!(matches!(NameTemplate::new(bad), Err(NameTemplateError::Name(_))), "{bad}");
        }
    }
}
