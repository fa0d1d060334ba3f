//! Why a call to the manager did not work, and what to do about it.

use std::error::Error as StdError;

use super::Client;
use robo_wire::problem::{ErrorCode, Problem};

use crate::error::{CliError, Exit};

/// Why a call did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection could be made.
    #[error("the manager at {url} cannot be reached: {reason}")]
    Unreachable { url: String, context: String, proxy: Option<String>, tries: u32, reason: String },
    /// Its certificate is not signed by the pinned CA, or is not a manager's.
    #[error("the manager at {url} is not the one of the context `{context}`: {reason}")]
    WrongCa { url: String, context: String, reason: String },
    /// The connection ended, or nothing came in time, after the request was sent.
    #[error("the connection to the manager at {url} was lost: {reason}")]
    Lost { url: String, reason: String },
    /// What answers there does not speak robo's API.
    #[error("what answers at {url} is not a robo manager: status {status} for {path}")]
    NotAManager { url: String, status: u16, path: String },
    /// An answer that this version cannot read.
    #[error("the manager's answer to {path} cannot be read: {reason}")]
    Answer { path: String, reason: String },
    /// The manager refuses, and says why.
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl ClientError {
    /// True when the manager may be there again in a moment: it restarts, or the network does.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Problem(problem) => problem.code == ErrorCode::Busy,
            Self::WrongCa { .. } | Self::NotAManager { .. } | Self::Answer { .. } => false,
        }
    }

    /// The manager's code, where it gave one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::WrongCa { .. }
            | Self::NotAManager { .. }
            | Self::Answer { .. } => None,
        }
    }
}

/// What `error` means. `tries` is how often it was tried, this time included.
pub(super) fn classify(error: &reqwest::Error, client: &Client, tries: u32) -> ClientError {
    let (url, context) = (client.url(), client.context.clone());
    if let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(error) {
        let foreign = [rustls::CertificateError::UnknownIssuer, rustls::CertificateError::BadSignature];
        let reason = if foreign.contains(reason) {
            "its certificate is not signed by the CA in the context".to_owned()
        } else {
            format!("its certificate is refused: {reason}")
        };
        return ClientError::WrongCa { url, context, reason };
    }
    let reason = root_cause(error);
    if error.is_connect() {
        ClientError::Unreachable { url, context, proxy: client.proxy.clone(), tries, reason }
    } else if error.is_timeout() {
        ClientError::Lost { url, reason: "no answer came in time".into() }
    } else {
        ClientError::Lost { url, reason }
    }
}

/// The TLS error below `error`, which I/O errors may wrap without naming it as their source.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        if let Some(found) = inner.and_then(|inner| tls_error(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost sentence: the layers above it only repeat that a request failed.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    let is_end = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    // TLS has a paragraph with an address for this, of which HTTP/2 keeps only the words.
    if last.downcast_ref::<std::io::Error>().is_some_and(is_end) || text.contains("without sending TLS close_notify") {
        return "it broke off".into();
    }
    // `Connection refused (os error 111)`: the number helps nobody.
    match text.split_once(" (os error") {
        Some((plain, _)) => plain.to_lowercase(),
        None => text,
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { ref context, tries, proxy: Some(ref proxy), .. } => Self::new(error.to_string())
                .note(format!("tried {} with the context `{context}`, through the proxy {proxy}", times(tries)))
                .help("the proxy comes from HTTPS_PROXY or ALL_PROXY: is it right, with user and password, and does it let CONNECT through?")
                .help("to go without it: put the manager's host into NO_PROXY")
                .exit_with(Exit::Unreachable),
            ClientError::Unreachable { ref context, tries, proxy: None, .. } => Self::new(error.to_string())
                .note(format!("tried {} with the context `{context}`", times(tries)))
                .help("is the manager running? On this machine `robo up FILE` starts one")
                .help("another one: `robo context use NAME`, see `robo context list`")
                .exit_with(Exit::Unreachable),
            ClientError::WrongCa { ref context, .. } => Self::new(error.to_string())
                .help("was the manager set up anew, or does something else answer at this address?")
                .help(format!("if you trust it, take its CA again: `robo context add {context} --url … --ca FILE`"))
                .exit_with(Exit::Error),
            ClientError::Lost { .. } => Self::new(error.to_string())
                .help("look at how it stands with `robo status`, then try again")
                .exit_with(Exit::Unreachable),
            ClientError::NotAManager { .. } => {
                Self::new(error.to_string()).help("look at the address with `robo context show`")
            }
            ClientError::Answer { .. } => Self::new(error.to_string())
                .help("are robo and the manager of the same version? See `robo --version` on both machines"),
            ClientError::Problem(problem) => told(&problem),
        }
    }
}

fn times(tries: u32) -> String {
    if tries == 1 { "once".into() } else { format!("{tries} times") }
}

/// The manager's words, and ours where it gave no help.
fn told(problem: &Problem) -> CliError {
    let mut error = CliError::new(problem.title.clone());
    for line in problem.detail.iter().flat_map(|d| d.lines()) {
        error = error.note(line);
    }
    match (&problem.help, default_help(problem.code)) {
        (Some(help), _) => help.lines().fold(error, CliError::help),
        (None, Some(help)) => error.help(help),
        (None, None) => error,
    }
}

const fn default_help(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::Unauthorized => Some("the token of this context is wrong or too old: `robo context show`"),
        ErrorCode::Forbidden => Some("ask whoever runs the manager for a token that may do this"),
        ErrorCode::GraphInvalid => Some("see all mistakes: `robo check FILE`"),
        ErrorCode::UnknownDevice => Some("see the devices: `robo device list`; add one: `robo device enroll NAME`"),
        ErrorCode::PlanMoved => Some("something changed since the plan was made: plan again"),
        ErrorCode::Conflict => Some("wait for the other change, then try again"),
        ErrorCode::NameTaken => Some("choose another name, or `--replace` the one there is"),
        ErrorCode::DeviceOffline => Some("see since when: `robo device list`"),
        ErrorCode::Busy => Some("try again in a moment"),
        ErrorCode::Internal => Some("the manager's log says more"),
        ErrorCode::FilesMissing | ErrorCode::HashMismatch => Some("a file changed while it was sent: try again"),
        ErrorCode::BadRequest
        | ErrorCode::InUse
        | ErrorCode::ProjectFull
        | ErrorCode::NotFound
        | ErrorCode::TooLarge
        | ErrorCode::Unsupported
        | ErrorCode::TokenForeign
        | ErrorCode::TokenUnknown
        | ErrorCode::TokenExpired
        | ErrorCode::TokenUsed
        | ErrorCode::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: ErrorCode, help: Option<&str>) -> CliError {
        let problem = Problem {
            code,
            status: 409,
            title: "it cannot be".into(),
            detail: Some("one\ntwo".into()),
            help: help.map(Into::into),
        };
        ClientError::Problem(Box::new(problem)).into()
    }

    #[test]
    fn a_problem_keeps_the_managers_words() {
        let error = problem(ErrorCode::Conflict, Some("do this\nor that"));
        assert_eq!(error.what(), "it cannot be");
        assert_eq!(error.notes(), ["one", "two"]);
        assert_eq!(error.helps(), ["do this", "or that"]);
        assert_eq!(error.exit(), Exit::Error);
        assert!(problem(ErrorCode::PlanMoved, None).helps()[0].contains("plan again"));
        assert!(problem(ErrorCode::NotFound, None).helps().is_empty());
    }

    #[test]
    fn a_cause_is_short() {
        use std::io::{Error, ErrorKind};
        let check = |error: Error, expect: &str| assert_eq!(root_cause(&error), expect);
        check(Error::new(ErrorKind::UnexpectedEof, "no goodbye: https://example.org/manual"), "it broke off");
        check(
            Error::other("peer closed connection without sending TLS close_notify: https://example.org"),
            "it broke off",
        );
        check(Error::from_raw_os_error(111), "connection refused");
        check(Error::other("it is full"), "it is full");
    }

    #[test]
    fn only_what_passes_is_waited_for() {
        let lost = ClientError::Lost { url: "u".into(), reason: "r".into() };
        let wrong = ClientError::WrongCa { url: "u".into(), context: "c".into(), reason: "r".into() };
        assert!(lost.is_passing() && !wrong.is_passing());
        assert_eq!(CliError::from(lost).exit(), Exit::Unreachable);
        assert_eq!(CliError::from(wrong).exit(), Exit::Error);
    }
}
