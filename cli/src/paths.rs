//! Where robo keeps its files on this machine.

use std::path::PathBuf;

use etcetera::BaseStrategy as _;

use crate::error::CliError;

/// The folders of this user.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Contexts and tokens: `$ROBO_CONFIG_DIR`, or `robo` in the user's configuration folder.
    pub(crate) config: PathBuf,
    /// What services on this machine keep: `$ROBO_STATE_DIR`, or `robo` in the user's state folder.
    pub(crate) state: PathBuf,
}

impl Paths {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a folder is not told and there is no home either.
    pub(crate) fn from_environment() -> Result<Self, CliError> {
        let told = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = || {
            etcetera::choose_base_strategy().map_err(|error| {
                CliError::new(format!("there is no folder for robo's files: {error}"))
                    .help("set HOME, or both ROBO_CONFIG_DIR and ROBO_STATE_DIR")
            })
        };
        let config = match told("ROBO_CONFIG_DIR") {
            Some(path) => path,
            None => base()?.config_dir().join("robo"),
        };
        let state = match told("ROBO_STATE_DIR") {
            Some(path) => path,
            None => {
                let base = base()?;
                base.state_dir().unwrap_or_else(|| base.data_dir()).join("robo")
            }
        };
        Ok(Self { config, state })
    }

    /// The file of the contexts.
    pub(crate) fn contexts(&self) -> PathBuf {
        self.config.join("contexts.yaml")
    }
}
