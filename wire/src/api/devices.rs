//! Devices: what is known of them, who may connect, and what an operator changes.

use robo_model::label::Labels;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::spec::Generation;
use robo_model::state::{InstanceState, Wanted};
use serde::{Deserialize, Serialize};

use super::LastUpgrade;
use crate::stream::Targets;
use crate::switch::Switches;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceView {
    /// Its identity.
    pub id: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// What it told of itself.
    pub facts: Facts,
    /// SHA-256 of its public key, in hexadecimal.
    pub key_fingerprint: String,
    /// Whether it may connect.
    #[serde(default)]
    pub standing: Standing,
    /// Whether it is connected.
    pub online: bool,
    /// Why it is not connected, or may not; empty where nobody knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When its certificate ends; it gets a new one at half its life.
    #[serde(default)]
    pub certificate_ends: Option<UnixMillis>,
    /// True when it was silent for so long that its host instances are PROBLEM.
    #[serde(default)]
    pub silent: bool,
    /// When it was enrolled.
    pub enrolled_at: UnixMillis,
    /// When it last connected or was last heard of; nothing before the first time.
    #[serde(default)]
    pub last_seen: Option<UnixMillis>,
    /// The newest assignment made for it.
    pub generation: Generation,
    /// The newest assignment it accepted.
    pub accepted: Generation,
    /// Why it refused a newer one.
    #[serde(default)]
    pub refused: Option<String>,
    /// The applications that have instances on it.
    #[serde(default)]
    pub applications: Vec<ApplicationName>,
    /// Where it stands; an older manager does not say.
    #[serde(default)]
    pub state: DeviceState,
    /// Since when it stands there; nothing where nobody knows.
    #[serde(default)]
    pub since: Option<UnixMillis>,
    /// Who made the token that it enrolled with; empty where nobody knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub enrolled_by: String,
    /// What is switched off there; an older manager does not say.
    #[serde(default)]
    pub switches: Switches,
    /// What runs on it, or should; told of one device alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<DeviceInstance>,
}

/// Where a device stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeviceState {
    /// It is registered and let in, and was never there.
    New,
    /// It enrolled, and waits for an operator.
    Pending,
    /// Its link is up.
    Online,
    /// It was there, and its link is down.
    Offline,
    /// Its link is down for so long that its host instances are PROBLEM.
    Silent,
    /// It waited for an operator, who did not let it in.
    Rejected,
    /// It was one of ours, and was shut out.
    Revoked,
    /// One of a newer version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DeviceState {
    /// As lists and questions name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Silent => "silent",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// One instance on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceInstance {
    /// Of which application.
    pub application: ApplicationName,
    /// Which.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// What it should be.
    pub wanted: Wanted,
    /// What it is, as far as the device told.
    pub state: InstanceState,
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Standing {
    /// It enrolled and waits for an operator: nothing is told to it.
    Pending,
    /// It is one of ours.
    #[default]
    Accepted,
    /// Its key is worth nothing any more.
    Revoked,
}

/// `PUT …/devices/{name}/standing`: lets a device in, or shuts it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StandingRequest {
    /// [`Standing::Accepted`] or [`Standing::Revoked`].
    pub standing: Standing,
    /// Why, for the history.
    #[serde(default)]
    pub reason: String,
}

/// Most devices in one page of a list.
pub const MAX_DEVICE_PAGE: usize = 1_000;

/// The header of an answer that tells people what is odd about what they asked, in ASCII.
pub const NOTICE_HEADER: &str = "robo-notice";

/// Longest reason, in characters: it stands in the history and in lists.
pub const MAX_REASON: usize = 500;

/// What a device tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Facts {
    /// Its host name.
    #[serde(default)]
    pub hostname: String,
    /// Its system, as in `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default)]
    pub os: String,
    /// Its kernel, as in `Linux 6.1.0`.
    #[serde(default)]
    pub kernel: String,
    /// Its processor, as in `x86_64`.
    #[serde(default)]
    pub arch: String,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// The address under which others reach it; what an export `ip` gets.
    #[serde(default)]
    pub address: String,
    /// Installers it offers.
    #[serde(default)]
    pub installers: Vec<String>,
    /// All its addresses but those of the loopback, IPv4 first; `address` is one of them, or what was configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Ports from [`robo_model::limits::FIRST_RANDOM_PORT`] on that something listened on; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Public keys of its SSH server, each as [`is_host_key`] wants it, in order; at most [`MAX_HOST_KEYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_host_keys: Vec<String>,
    /// Its network interfaces with all their lasting addresses, by name; at most [`MAX_INTERFACES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Processors that the agent may use; 0 where it does not say.
    #[serde(default, skip_serializing_if = "is_zero_cores")]
    pub cores: u32,
    /// Bytes of memory that the machine has; 0 where it does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// Bytes that the file system of the agent's folder has; 0 where it does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk: u64,
    /// What else is there to work with, as in `gpu` and `systemd`, in order; at most [`MAX_CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The user that commands and shells run as where they name none, of at most [`MAX_USER`] characters; empty where that is
    /// the agent's own, and everybody who may run commands may name any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub exec_user: String,
    /// The user that the agent itself runs as, of at most [`MAX_USER`] characters; older agents tell it where there is an
    /// `exec_user`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_user: String,
    /// SHA-256 of the agent's program, in hexadecimal; empty where it cannot replace that itself, or has not read it yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// How the last upgrade of the agent over the link ended; nothing where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<LastUpgrade>,
    /// What the machine's owner forbids there, by the names of [`Subsystem`](crate::switch::Subsystem)s: nobody switches it on
    /// from afar. At most [`MAX_SUBSYSTEMS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// True when the agent held something off by the manager's word as it came: it has to be told again what is off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_off: bool,
}

impl Facts {
    /// Whether it takes the right to `root` to run something there as `user`; nothing for whom the device chooses.
    #[must_use]
    pub fn is_above(&self, user: Option<&str>) -> bool {
        !self.exec_user.is_empty() && user.is_some_and(|user| user != self.exec_user)
    }

    /// The user that commands and shells run as where they name none; nothing where the device does not say.
    #[must_use]
    pub fn own_user(&self) -> Option<&str> {
        [&self.exec_user, &self.agent_user].into_iter().map(String::as_str).find(|user| !user.is_empty())
    }

    /// Whether it takes the right to `root` to log in there as `user` with a certificate: as anybody but the device's own
    /// user, and as root whoever that is. SSH asks neither the agent nor its settings.
    #[must_use]
    pub fn is_login_above(&self, user: &str) -> bool {
        user == ROOT || self.own_user() != Some(user)
    }

    /// Whether it takes the right to `root` to have the agent itself do something with its own user's rights.
    #[must_use]
    pub fn is_agent_above(&self) -> bool {
        self.is_above(Some(&self.agent_user))
    }
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Interface {
    /// Its name, as in `eth0`.
    pub name: String,
    /// Its lasting addresses, IPv4 first; at most [`MAX_INTERFACE_ADDRESSES`].
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// Most interfaces that are told and kept: machines full of containers have hundreds that nobody looks at.
pub const MAX_INTERFACES: usize = 32;

/// Most addresses of one of them.
pub const MAX_INTERFACE_ADDRESSES: usize = 16;

/// The user who may everything on a machine.
const ROOT: &str = "root";

/// Longest name of a user, in characters: systems know none that is longer.
pub const MAX_USER: usize = 255;

/// Most names of subsystems that are told and kept: more than there are.
pub const MAX_SUBSYSTEMS: usize = 32;

/// Most capabilities that are told and kept.
pub const MAX_CAPABILITIES: usize = 32;

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

const fn is_zero_cores(number: &u32) -> bool {
    *number == 0
}

/// Most public keys of a device's SSH server: OpenSSH makes three.
pub const MAX_HOST_KEYS: usize = 8;

/// Longest of them, in bytes: RSA with 8192 bits fits.
pub const MAX_HOST_KEY: usize = 2048;

/// True for `TYPE BASE64`, as a line of `ssh_host_ed25519_key.pub` begins, and nothing that could be more than one word
/// each in a file of known hosts.
#[must_use]
pub fn is_host_key(text: &str) -> bool {
    let is_type = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'@');
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    text.len() <= MAX_HOST_KEY
        && text.split_once(' ').is_some_and(|(kind, key)| {
            kind.starts_with(|c: char| c.is_ascii_lowercase())
                && kind.bytes().all(is_type)
                && !key.is_empty()
                && key.bytes().all(is_base64)
        })
}

/// `POST …/devices/{name}/move`: takes a device to another project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MoveRequest {
    /// Which.
    pub project: ProjectName,
}

/// `PATCH …/devices/{name}`: changes labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceChange {
    /// Labels to set.
    #[serde(default)]
    pub set: Labels,
    /// Labels to remove.
    #[serde(default)]
    pub unset: Vec<String>,
}

/// `POST …/devices/{name}/rename`: gives a device another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenameRequest {
    /// Which.
    pub name: DeviceName,
}

/// Most devices whose labels are changed at once.
pub const MAX_LABELLED: usize = 10_000;

/// `POST …/labels`: changes labels of many devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelsRequest {
    /// Of which; at most [`MAX_LABELLED`].
    pub targets: Targets,
    /// Labels to set.
    #[serde(default)]
    pub set: Labels,
    /// Labels to remove.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Only say what would come of it.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of a change of labels for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelResult {
    /// The device's name, as it was asked for.
    pub device: String,
    /// How it went.
    pub outcome: LabelOutcome,
    /// Its labels then; none where there is no such device.
    #[serde(default)]
    pub labels: Labels,
    /// Why nothing was changed; empty where nothing is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How a change of labels went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LabelOutcome {
    /// It has other labels now; in a dry run it would.
    Changed,
    /// It had these already.
    Same,
    /// It could not be changed.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_above_a_devices_own_user() {
        let facts = |exec_user: &str, agent_user: &str| Facts {
            exec_user: exec_user.into(),
            agent_user: agent_user.into(),
            ..Facts::default()
        };
        for user in [None, Some("root"), Some("")] {
            assert!(!facts("", "").is_above(user), "{user:?}: nobody asked for it");
        }
        let told = facts("robot", "root");
        assert!(!told.is_above(None) && !told.is_above(Some("robot")) && told.is_agent_above());
        for user in ["root", "0", "", "Robot", "robot "] {
            assert!(told.is_above(Some(user)), "{user:?}");
        }
        assert!(!facts("robot", "robot").is_agent_above() && !facts("", "root").is_agent_above());
        assert!(facts("robot", "").is_agent_above(), "nobody knows");
    }

    #[test]
    fn who_logs_in_with_a_certificate_is_the_devices_own_user_or_needs_more() {
        let facts = |exec_user: &str, agent_user: &str| Facts {
            exec_user: exec_user.into(),
            agent_user: agent_user.into(),
            ..Facts::default()
        };
        for (exec_user, agent_user, own) in
            [("robot", "root", Some("robot")), ("", "robot", Some("robot")), ("", "root", Some("root")), ("", "", None)]
        {
            let facts = facts(exec_user, agent_user);
            assert_eq!(facts.own_user(), own);
            assert!(facts.is_login_above("root") && facts.is_login_above("daemon") && facts.is_login_above(""));
            assert_eq!(facts.is_login_above("robot"), own != Some("robot"));
        }
    }

    #[test]
    fn a_host_key_is_two_words_and_nothing_more() {
        for good in ["ssh-ed25519 AAAAC3Nz", "ecdsa-sha2-nistp256 A+/=", "sk-ssh-ed25519@openssh.com AAAA"] {
            assert!(is_host_key(good), "{good}");
        }
        let long = format!("ssh-rsa {}", "A".repeat(MAX_HOST_KEY));
        for bad in [
            "",
            "ssh-rsa",
            "ssh-rsa ",
            " AAAA",
            "ssh-rsa AAAA x",
            "ssh-rsa AAAA\n* ssh-rsa BBBB",
            "* AAAA",
            "@cert-authority AAAA",
            "#ssh AAAA",
            "ssh,rsa AAAA",
            "ssh-rsa AA*A",
            "ssh-rsa  AAAA",
            "\u{e4} AAAA",
            &long,
        ] {
            assert!(!is_host_key(bad), "{bad}");
        }
    }
}
