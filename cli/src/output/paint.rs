//! Colours, by what they mean.

use console::Style;
use robo_model::state::InstanceState;

/// Colours on, or off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    on: bool,
}

impl Palette {
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether there are any.
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.apply(&Style::new().green(), text)
    }

    pub(crate) fn busy(self, text: &str) -> String {
        self.apply(&Style::new().yellow(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.apply(&Style::new().red(), text)
    }

    pub(crate) fn error(self, text: &str) -> String {
        self.apply(&Style::new().red().bold(), text)
    }

    pub(crate) fn hint(self, text: &str) -> String {
        self.apply(&Style::new().cyan(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.apply(&Style::new().dim(), text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.apply(&Style::new().bold(), text)
    }

    /// In the colour of `state`.
    pub(crate) fn state(self, state: InstanceState, text: &str) -> String {
        match state {
            InstanceState::DeployedStarted => self.good(text),
            InstanceState::Deploying
            | InstanceState::Starting
            | InstanceState::Stopping
            | InstanceState::Undeploying
            | InstanceState::WaitingForAncestor
            | InstanceState::Unresolved => self.busy(text),
            InstanceState::Problem => self.bad(text),
            InstanceState::NotDeployed | InstanceState::DeployedStopped => self.dim(text),
        }
    }

    fn apply(self, style: &Style, text: &str) -> String {
        if self.on { style.clone().force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }
}
