//! What can be wrong on a device, each with a code that does not change: in the agent's log, in what `robo-agent doctor`
//! prints, and in `docs/agent-codes.md`, which is made from this table.

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
}

impl Code {
    /// Every code, in the order in which things are looked at.
    pub const ALL: [Self; 20] = [
        Self::NotRunning,
        Self::StateFolder,
        Self::DiskFull,
        Self::Ledger,
        Self::Keeper,
        Self::NotEnrolled,
        Self::Token,
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
    ];

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
            Self::DiskFull => "There is too little room where the agent's folder lies: nothing new can be begun.",
            Self::Ledger => {
                "What the agent was told cannot be read back, or a newer agent wrote it. A damaged part is made whole at the agent's next start."
            }
            Self::Keeper => {
                "A program runs whose keeper is gone: its end would not be noticed, and its output is lost."
            }
            Self::NotEnrolled => "The device has no identity yet: it never enrolled with a manager.",
            Self::Token => "The manager does not take the enrolment token: it is used, too old, or another manager's.",
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
            Self::DiskFull => "Make room where the agent's folder lies; it goes on by itself.",
            Self::Ledger => "Restart the agent; where a newer one wrote it, run that one again.",
            Self::Keeper => "`robo stop` and `robo start` the instance.",
            Self::NotEnrolled => "Make a token with `robo device enroll NAME`, and start the agent with --token-file.",
            Self::Token => "Make a new token with `robo device enroll NAME` at the manager that the agent dials.",
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
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    const HEAD: &str = "\
# What can be wrong on a device

Each has a code that does not change. The agent logs it, and `robo-agent doctor` prints it with what it found. How the
link finds its way, and what it needs of a network, is in [network.md](network.md).

This page is generated from `agent/src/code.rs`; `ROBO_BLESS=1 cargo test -p robo-agent agent_codes` writes it anew.

| code | cause | remedy |
|---|---|---|
";

    #[test]
    fn agent_codes_md_has_each_code_with_cause_and_remedy() {
        let mut text = HEAD.to_owned();
        for code in Code::ALL {
            assert!(code.as_str().starts_with("AGT_") && code.cause().ends_with('.'), "{code}");
            assert!(code.remedy().ends_with(['.', '?']), "{code}");
            writeln!(text, "| {code} | {} | {} |", code.cause(), code.remedy()).unwrap();
        }
        let names: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agent-codes.md");
        if std::env::var_os("ROBO_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == text);
        assert!(same, "docs/agent-codes.md is not what the table says; write it anew with ROBO_BLESS=1");
    }
}
