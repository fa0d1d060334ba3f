//! Where something is done: the arguments for devices that commands for one or many of them share.

use std::collections::BTreeSet;

use robo_model::label::Selector;
use robo_wire::stream::Targets;

use crate::error::CliError;

/// On which devices. To do something on every device takes an explicit word.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// The devices, by name.
    #[arg(value_name = "DEVICE", conflicts_with_all = ["all", "selector"])]
    #[arg(add = crate::complete::devices())]
    pub(crate) names: Vec<String>,
    /// The devices whose labels match, as in `site=tokyo,gpu`.
    #[arg(short = 'l', long, conflicts_with = "all")]
    pub(crate) selector: Option<Selector>,
    /// Every device of the project.
    #[arg(long)]
    pub(crate) all: bool,
}

impl Place {
    /// True when it is one device, by its name.
    pub(crate) const fn is_one(&self) -> bool {
        matches!(self.names.as_slice(), [_])
    }

    /// # Errors
    /// When no device is given; `how` says how one would be named.
    pub(crate) fn check(&self, how: &str) -> Result<(), CliError> {
        if self.all || self.selector.is_some() || !self.names.is_empty() {
            return Ok(());
        }
        Err(CliError::new("no device is given").help(how).help("or take many: `--all`, or `-l SELECTOR`"))
    }

    /// The devices that are meant, each once.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub(crate) fn targets(self, how: &str) -> Result<Targets, CliError> {
        self.check(how)?;
        Ok(match self.selector {
            Some(selector) => Targets::Selector(selector.to_string()),
            None if self.all => Targets::All,
            None => {
                let mut seen = BTreeSet::new();
                Targets::Names(self.names.into_iter().filter(|name| seen.insert(name.clone())).collect())
            }
        })
    }
}
