//! What can be wrong on a device, or on a machine that becomes one, each with a code that does not change: in the agent's
//! log, in what `robo-agent doctor` and the script that installs the agent print, in what the manager shows of a device, and
//! in `docs/agent-codes.md`, which is made from this table.

/// A code. Its number of letters says nothing; its name is what people search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// No agent runs on the folder.
    NotRunning,
    /// The agent's folder cannot be used.
    StateFolder,
    /// The disk is full.
    DiskFull,
    /// The ledger cannot be read.
    Ledger,
    /// A program runs without its keeper.
    Keeper,
    /// The device is not enrolled.
    NotEnrolled,
    /// The token is refused.
    Token,
    /// The project is full.
    ProjectFull,
    /// The identity cannot be read.
    Identity,
    /// Key, certificate and authority do not belong together.
    Key,
    /// The certificate is not valid at this time.
    CertificateDates,
    /// The clock is wrong.
    Clock,
    /// Nobody says where the manager is.
    NoManager,
    /// What is said about a proxy is of no use.
    ProxySetting,
    /// The name cannot be looked up.
    Lookup,
    /// Nothing answers.
    Connect,
    /// The proxy does not let us through.
    Proxy,
    /// There is no secure connection.
    Tls,
    /// Another manager answers.
    WrongManager,
    /// The manager does not know this device any more.
    Refused,
    /// The manager does not answer as a manager does.
    Answer,
    /// The machine cannot run an agent, or lacks what it is installed with.
    System,
    /// The manager has no agent for this processor.
    NoProgram,
    /// The agent cannot be put where it belongs.
    InstallFolder,
    /// The program cannot be fetched.
    Download,
    /// What was fetched is something else.
    Checksum,
    /// The program does not run.
    Program,
    /// The service cannot be started.
    Unit,
    /// A stage took too long.
    TimeLimit,
    /// The installation was ended.
    Stopped,
    /// An upgrade of the agent is under way.
    UpgradeBusy,
    /// Somebody works on the device.
    UpgradeInUse,
    /// The agent is a part of `robo`.
    UpgradePackaged,
    /// The program's file is another one than what runs.
    UpgradeReplaced,
    /// The new program did not reach the manager.
    UpgradeTrial,
    /// A trial was cut off.
    UpgradeCut,
}

impl Code {
    /// Every code, in the order in which things are looked at.
    pub const ALL: [Self; 36] = [
        Self::NotRunning,
        Self::StateFolder,
        Self::DiskFull,
        Self::Ledger,
        Self::Keeper,
        Self::NotEnrolled,
        Self::Token,
        Self::ProjectFull,
        Self::Identity,
        Self::Key,
        Self::CertificateDates,
        Self::Clock,
        Self::NoManager,
        Self::ProxySetting,
        Self::Lookup,
        Self::Connect,
        Self::Proxy,
        Self::Tls,
        Self::WrongManager,
        Self::Refused,
        Self::Answer,
        Self::System,
        Self::NoProgram,
        Self::InstallFolder,
        Self::Download,
        Self::Checksum,
        Self::Program,
        Self::Unit,
        Self::TimeLimit,
        Self::Stopped,
        Self::UpgradeBusy,
        Self::UpgradeInUse,
        Self::UpgradePackaged,
        Self::UpgradeReplaced,
        Self::UpgradeTrial,
        Self::UpgradeCut,
    ];

    /// The one that is printed so; nothing for what is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "AGT_NOT_RUNNING",
            Self::StateFolder => "AGT_STATE_FOLDER",
            Self::DiskFull => "AGT_DISK_FULL",
            Self::Ledger => "AGT_LEDGER",
            Self::Keeper => "AGT_KEEPER",
            Self::NotEnrolled => "AGT_NOT_ENROLLED",
            Self::Token => "AGT_TOKEN",
            Self::ProjectFull => "AGT_PROJECT_FULL",
            Self::Identity => "AGT_IDENTITY",
            Self::Key => "AGT_KEY",
            Self::CertificateDates => "AGT_CERTIFICATE_DATES",
            Self::Clock => "AGT_CLOCK",
            Self::NoManager => "AGT_NO_MANAGER",
            Self::ProxySetting => "AGT_PROXY_SETTING",
            Self::Lookup => "AGT_LOOKUP",
            Self::Connect => "AGT_CONNECT",
            Self::Proxy => "AGT_PROXY",
            Self::Tls => "AGT_TLS",
            Self::WrongManager => "AGT_WRONG_MANAGER",
            Self::Refused => "AGT_REFUSED",
            Self::Answer => "AGT_ANSWER",
            Self::System => "AGT_SYSTEM",
            Self::NoProgram => "AGT_NO_PROGRAM",
            Self::InstallFolder => "AGT_INSTALL_FOLDER",
            Self::Download => "AGT_DOWNLOAD",
            Self::Checksum => "AGT_CHECKSUM",
            Self::Program => "AGT_PROGRAM",
            Self::Unit => "AGT_UNIT",
            Self::TimeLimit => "AGT_TIME_LIMIT",
            Self::Stopped => "AGT_STOPPED",
            Self::UpgradeBusy => "AGT_UPGRADE_BUSY",
            Self::UpgradeInUse => "AGT_UPGRADE_IN_USE",
            Self::UpgradePackaged => "AGT_UPGRADE_PACKAGED",
            Self::UpgradeReplaced => "AGT_UPGRADE_REPLACED",
            Self::UpgradeTrial => "AGT_UPGRADE_TRIAL",
            Self::UpgradeCut => "AGT_UPGRADE_CUT",
        }
    }

    /// What it means, and how it comes to be.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::NotRunning => "No agent runs on this folder. What it started goes on, and nobody looks after it.",
            Self::StateFolder => {
                "The agent's folder is missing, belongs to another user, or lies on a file system that cannot be written."
            }
            Self::DiskFull => {
                "There is too little room where the agent's folder lies, or its program: nothing new can be begun."
            }
            Self::Ledger => {
                "What the agent was told cannot be read back, or a newer agent wrote it. A damaged part is made whole at the agent's next start."
            }
            Self::Keeper => {
                "A program runs whose keeper is gone: its end would not be noticed, and its output is lost."
            }
            Self::NotEnrolled => "The device has no identity yet: it never enrolled with a manager.",
            Self::Token => "The manager does not take the enrolment token: it is used, too old, or another manager's.",
            Self::ProjectFull => "The project that the token is for has as many devices as it may have.",
            Self::Identity => "The files of the device's identity are there and cannot be read.",
            Self::Key => "The device's key, its certificate and the manager's CA do not belong together.",
            Self::CertificateDates => {
                "By this machine's clock the device's certificate is not valid yet, or not any more."
            }
            Self::Clock => "This machine's clock is wrong: certificates and times in logs are judged by it.",
            Self::NoManager => "Nobody has said which manager to ask, and no agent has run on this folder.",
            Self::ProxySetting => "HTTPS_PROXY or ALL_PROXY names no HTTP proxy, or a proxy cannot be verified.",
            Self::Lookup => "The name of the manager, or of the proxy, cannot be looked up.",
            Self::Connect => "Nothing answers at the manager's address and port.",
            Self::Proxy => "The HTTP proxy cannot be reached, or does not let this device through to the manager.",
            Self::Tls => {
                "What answers there does not do TLS as a manager does: something in between changes or ends it."
            }
            Self::WrongManager => "The address leads to another manager than the one this device is enrolled at.",
            Self::Refused => "The manager does not know this device with this key: it was removed, or enrolled anew.",
            Self::Answer => "There is a manager, and its answer cannot be understood, or it has a fault of its own.",
            Self::System => {
                "The machine is no Linux, or lacks what the agent is installed with: `sha256sum`, and curl or wget."
            }
            Self::NoProgram => "The manager has no agent for the machine's architecture.",
            Self::InstallFolder => {
                "A folder or file of the installation cannot be made or written: another user's, or on a file system that is read-only."
            }
            Self::Download => {
                "The agent's program could not be fetched, however often it was tried: the network breaks off, or something ends the download."
            }
            Self::Checksum => {
                "What came is not the program that was announced: the manager's was replaced meanwhile, or somebody in the network is at work."
            }
            Self::Program => "The program was fetched as announced, and does not run on this machine.",
            Self::Unit => "The agent's service cannot be set up or started, or ends each time it is started.",
            Self::TimeLimit => "A stage of the installation took longer than its limit.",
            Self::Stopped => "The installation was ended from outside, or by something that nobody foresaw.",
            Self::UpgradeBusy => "An upgrade of this agent is under way already.",
            Self::UpgradeInUse => {
                "Somebody has a shell, a command or a forward on the device, and each of these ends with the agent."
            }
            Self::UpgradePackaged => "The agent is a part of `robo` and not `robo-agent` alone: packages replace it.",
            Self::UpgradeReplaced => "The file that the agent was started from was replaced or removed since.",
            Self::UpgradeTrial => {
                "The new program was tried and did not reach the manager: it ended, or nothing came of it. The one before runs on."
            }
            Self::UpgradeCut => {
                "The agent or the machine was ended while the new program was tried. The one before runs on."
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotRunning => "Start it: `systemctl start robo-agent`, or `robo-agent --manager HOST:PORT`.",
            Self::StateFolder => {
                "Run this as the agent's user, name its folder with --state, or make it writable again."
            }
            Self::DiskFull => "Make room there; the agent goes on by itself, an installation is run again.",
            Self::Ledger => "Restart the agent; where a newer one wrote it, run that one again.",
            Self::Keeper => "`robo stop` and `robo start` the instance.",
            Self::NotEnrolled => "Make a token with `robo device enroll NAME`, and start the agent with --token-file.",
            Self::Token => "Make a new token with `robo device enroll NAME` at the manager that the agent dials.",
            Self::ProjectFull => {
                "Remove a device that is gone (`robo device remove`), or have the bound raised (`robo project set`), and start the agent again: the token is still good."
            }
            Self::Identity => {
                "Run this as the agent's user; where a file is damaged, remove the folder `identity` and enrol again."
            }
            Self::Key => "Remove the folder `identity` and enrol the device again with a new token.",
            Self::CertificateDates => "Set the clock (`timedatectl`); where the certificate is too old, enrol again.",
            Self::Clock => "Set the clock, and keep it right with NTP: `timedatectl set-ntp true`.",
            Self::NoManager => "Name it with --manager HOST:PORT.",
            Self::ProxySetting => {
                "Write HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, or give the proxy's CA with --proxy-ca."
            }
            Self::Lookup => "Look at /etc/resolv.conf and the name given with --manager, or give an address instead.",
            Self::Connect => "Is the manager running, and does the firewall let this device out to its port?",
            Self::Proxy => "Its message says what the proxy did; let it allow CONNECT to the manager's port.",
            Self::Tls => "Let the manager's port through unchanged; nothing may end its TLS in between.",
            Self::WrongManager => "Correct --manager, or remove the folder `identity` and enrol at this manager.",
            Self::Refused => "Remove the folder `identity` and enrol the device again with a new token.",
            Self::Answer => "Look at the manager's log; compare the versions of agent and manager.",
            Self::System => "Install what the message names.",
            Self::NoProgram => {
                "Put it as `robo-agent-ARCHITECTURE` into the folder that `robo manager --agent-binaries DIR` names, and make a new line with `robo device enroll`."
            }
            Self::InstallFolder => {
                "Make the folder that the message names writable, or install with --user; where the system is read-only, build the image with --root. An upgrade of an agent that may not write there: run the line that installs it again."
            }
            Self::Download => "Look at the network and at the proxy (HTTPS_PROXY), and run the installation again.",
            Self::Checksum => {
                "Make a new line with `robo device enroll`, and run that, or ask for the upgrade again; where it happens again, find out what lies between device and manager."
            }
            Self::Program => {
                "Its message says why: folders mounted `noexec` and programs for other processors are usual."
            }
            Self::Unit => {
                "`systemctl status robo-agent` and `journalctl -u robo-agent` say why; the last lines stand in the message."
            }
            Self::TimeLimit => {
                "The message names the stage: look at what makes it slow, or give it longer with --time-limit SECONDS."
            }
            Self::Stopped => "Run it again: it goes on where it was.",
            Self::UpgradeBusy => "Wait until it is over: `robo device inspect` shows how it ended.",
            Self::UpgradeInUse => "Upgrade when they have ended, or with `--force`: then they end.",
            Self::UpgradePackaged => "Replace `robo` with the next version, and start it again.",
            Self::UpgradeReplaced => {
                "Start the agent again, so that it is what lies there: `systemctl restart robo-agent`."
            }
            Self::UpgradeTrial => "The message has its last lines; try it on one device until it comes up.",
            Self::UpgradeCut => "Ask for the upgrade again.",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
