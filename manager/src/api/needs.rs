//! What each request needs: the one table of who may ask what.
//!
//! What is not in it is denied. A request about one device is judged by that device's labels; where it may be about
//! several, whoever may see or do it on some is let through here, and the handler looks at each.

use http::Method;
use robo_model::access::Verb;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// The device in the path.
    Device,
    /// Some devices of the project: the handler judges each.
    Some,
    /// The project as a whole.
    Project,
    /// The manager as a whole.
    Manager,
    /// Nothing but whoever asks: the handler judges.
    Oneself,
}

/// Whether a request is a line of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audited {
    /// It is, before it begins.
    Yes,
    /// Only when it is refused: it changes nothing.
    Refusals,
    /// The handler writes the line: it knows more.
    Handler,
}

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) verb: Verb,
    pub(super) on: On,
    pub(super) audited: Audited,
}

type Row = (Method, &'static str, Verb, On, Audited);

/// Below a project.
const PROJECT: &str = "/v1/projects/{project}/";

const IN_PROJECT: &[Row] = &[
    (Method::GET, "devices", Verb::See, On::Some, Audited::Refusals),
    (Method::GET, "devices/{name}", Verb::See, On::Device, Audited::Refusals),
    (Method::PATCH, "devices/{name}", Verb::ManageDevices, On::Project, Audited::Yes),
    (Method::DELETE, "devices/{name}", Verb::ManageDevices, On::Project, Audited::Yes),
    // It changes nothing there, and says no more than `inspect` does of the machine.
    (Method::GET, "devices/{name}/health", Verb::See, On::Device, Audited::Refusals),
    (Method::PUT, "devices/{name}/standing", Verb::ManageDevices, On::Project, Audited::Yes),
    (Method::POST, "devices/{name}/rotate-key", Verb::ManageDevices, On::Project, Audited::Yes),
    (Method::POST, "devices/{name}/rename", Verb::ManageDevices, On::Project, Audited::Yes),
    (Method::POST, "labels", Verb::ManageDevices, On::Project, Audited::Yes),
    // The line says which devices, and which program.
    (Method::POST, "upgrade", Verb::ManageDevices, On::Project, Audited::Handler),
    (Method::POST, "switches", Verb::ManageDevices, On::Project, Audited::Handler),
    // In the other project, too: the handler looks.
    (Method::POST, "devices/{name}/move", Verb::ManageDevices, On::Project, Audited::Yes),
    (Method::POST, "devices/{name}/shell", Verb::Shell, On::Device, Audited::Yes),
    (Method::GET, "installs", Verb::See, On::Some, Audited::Refusals),
    (Method::GET, "tokens", Verb::Enroll, On::Project, Audited::Refusals),
    (Method::POST, "tokens", Verb::Enroll, On::Project, Audited::Yes),
    (Method::DELETE, "tokens/{id}", Verb::Enroll, On::Project, Audited::Yes),
    (Method::POST, "files/missing", Verb::Apply, On::Project, Audited::Refusals),
    // A file by itself changes nothing; there are thousands of them.
    (Method::PUT, "files/{hash}", Verb::Apply, On::Project, Audited::Refusals),
    (Method::POST, "plan", Verb::Apply, On::Project, Audited::Refusals),
    (Method::POST, "apply", Verb::Apply, On::Project, Audited::Yes),
    (Method::GET, "applications", Verb::SeeApplications, On::Project, Audited::Refusals),
    (Method::DELETE, "applications/{application}", Verb::Apply, On::Project, Audited::Yes),
    (Method::POST, "applications/{application}/wanted", Verb::Apply, On::Project, Audited::Yes),
    (Method::POST, "applications/{application}/act", Verb::Apply, On::Project, Audited::Yes),
    (Method::GET, "applications/{application}/bindings", Verb::SeeApplications, On::Project, Audited::Refusals),
    (Method::PUT, "applications/{application}/bindings/{prefix}", Verb::Apply, On::Project, Audited::Yes),
    (Method::GET, "applications/{application}/revisions", Verb::SeeApplications, On::Project, Audited::Refusals),
    (
        Method::GET,
        "applications/{application}/revisions/{number}",
        Verb::SeeApplications,
        On::Project,
        Audited::Refusals,
    ),
    (
        Method::GET,
        "applications/{application}/revisions/{number}/files/{hash}",
        Verb::SeeApplications,
        On::Project,
        Audited::Refusals,
    ),
    (Method::GET, "applications/{application}/diff", Verb::SeeApplications, On::Project, Audited::Refusals),
    (Method::GET, "status", Verb::SeeApplications, On::Project, Audited::Refusals),
    (Method::GET, "events", Verb::See, On::Some, Audited::Refusals),
    (Method::POST, "exec", Verb::Exec, On::Some, Audited::Handler),
    (Method::POST, "exec/resume", Verb::Exec, On::Some, Audited::Handler),
    (Method::GET, "jobs", Verb::See, On::Some, Audited::Refusals),
    (Method::POST, "jobs", Verb::Exec, On::Some, Audited::Handler),
    (Method::GET, "jobs/{id}", Verb::See, On::Some, Audited::Refusals),
    (Method::DELETE, "jobs/{id}", Verb::Exec, On::Some, Audited::Yes),
    (Method::GET, "jobs/{id}/output", Verb::Exec, On::Some, Audited::Refusals),
    (Method::POST, "devices/{name}/copy", Verb::Copy, On::Device, Audited::Handler),
    (Method::POST, "devices/{name}/forward", Verb::Forward, On::Device, Audited::Handler),
    // In `forward` there is the way, in `shell` what one does there; the handler asks for the other one too.
    (Method::POST, "devices/{name}/ssh-certificate", Verb::Shell, On::Device, Audited::Handler),
    (Method::POST, "devices/{name}/ssh-keys", Verb::Shell, On::Device, Audited::Handler),
    (Method::GET, "logs", Verb::Logs, On::Some, Audited::Refusals),
    (Method::POST, "logs", Verb::Logs, On::Some, Audited::Refusals),
    // The handler asks for more where a unit of the machine is read.
    (Method::POST, "devices/{name}/logs", Verb::Logs, On::Device, Audited::Refusals),
    (Method::GET, "devices/{name}/log-files", Verb::Logs, On::Device, Audited::Refusals),
    // It reads more than logs, and what it takes out of it is found by rules.
    (Method::POST, "devices/{name}/collect", Verb::Copy, On::Device, Audited::Handler),
    (Method::GET, "sessions", Verb::See, On::Some, Audited::Refusals),
    (Method::GET, "sessions/{id}", Verb::See, On::Some, Audited::Refusals),
    (Method::DELETE, "sessions/{id}", Verb::Shell, On::Some, Audited::Yes),
    (Method::POST, "sessions/{id}/attach", Verb::Shell, On::Some, Audited::Yes),
    (Method::GET, "sessions/{id}/watch", Verb::Shell, On::Some, Audited::Yes),
    (Method::GET, "sessions/{id}/recording", Verb::Shell, On::Some, Audited::Yes),
    // Of files the handler looks at the device, or at the project where that is gone.
    (Method::GET, "uploads", Verb::See, On::Some, Audited::Refusals),
    (Method::POST, "uploads", Verb::Copy, On::Some, Audited::Handler),
    (Method::GET, "uploads/{file}", Verb::See, On::Some, Audited::Refusals),
    (Method::DELETE, "uploads/{file}", Verb::Copy, On::Some, Audited::Yes),
    (Method::GET, "uploads/{file}/content", Verb::Copy, On::Some, Audited::Yes),
    (Method::POST, "uploads/{file}/cancel", Verb::Copy, On::Some, Audited::Yes),
    (Method::GET, "uploads/{file}/shares", Verb::Copy, On::Some, Audited::Refusals),
    (Method::POST, "uploads/{file}/shares", Verb::Copy, On::Some, Audited::Yes),
    (Method::DELETE, "shares/{id}", Verb::Copy, On::Some, Audited::Yes),
    (Method::GET, "audit", Verb::Audit, On::Project, Audited::Yes),
    // Who may all in the project could else give itself more of the manager.
    (Method::PUT, "quota", Verb::ManageUsers, On::Manager, Audited::Yes),
];

const ELSEWHERE: &[Row] = &[
    (Method::GET, "/v1/auth/me", Verb::See, On::Oneself, Audited::Refusals),
    (Method::POST, "/v1/auth/can-i", Verb::See, On::Oneself, Audited::Refusals),
    // The token that it comes with.
    (Method::POST, "/v1/auth/logout", Verb::ManageUsers, On::Oneself, Audited::Yes),
    (Method::GET, "/v1/users", Verb::ManageUsers, On::Manager, Audited::Refusals),
    (Method::POST, "/v1/users", Verb::ManageUsers, On::Manager, Audited::Yes),
    (Method::DELETE, "/v1/users/{user}", Verb::ManageUsers, On::Manager, Audited::Yes),
    // One's own, or anybody's who may manage users.
    (Method::GET, "/v1/users/{user}/tokens", Verb::ManageUsers, On::Oneself, Audited::Refusals),
    (Method::POST, "/v1/users/{user}/tokens", Verb::ManageUsers, On::Oneself, Audited::Yes),
    (Method::DELETE, "/v1/users/{user}/tokens/{id}", Verb::ManageUsers, On::Oneself, Audited::Yes),
    (Method::GET, "/v1/grants", Verb::Grant, On::Oneself, Audited::Refusals),
    (Method::POST, "/v1/grants", Verb::Grant, On::Oneself, Audited::Handler),
    (Method::DELETE, "/v1/grants/{id}", Verb::Grant, On::Oneself, Audited::Yes),
    (Method::GET, "/v1/groups", Verb::ManageUsers, On::Manager, Audited::Refusals),
    (Method::POST, "/v1/groups", Verb::ManageUsers, On::Manager, Audited::Yes),
    (Method::DELETE, "/v1/groups/{group}", Verb::ManageUsers, On::Manager, Audited::Yes),
    (Method::PUT, "/v1/groups/{group}/members/{user}", Verb::ManageUsers, On::Manager, Audited::Yes),
    (Method::DELETE, "/v1/groups/{group}/members/{user}", Verb::ManageUsers, On::Manager, Audited::Yes),
    // A line for each change.
    (Method::POST, "/v1/access", Verb::ManageUsers, On::Manager, Audited::Handler),
    (Method::GET, "/v1/projects", Verb::See, On::Oneself, Audited::Refusals),
    (Method::POST, "/v1/projects", Verb::ManageUsers, On::Manager, Audited::Yes),
    (Method::GET, "/v1/audit", Verb::Audit, On::Manager, Audited::Yes),
    (Method::GET, "/v1/audit/verify", Verb::Audit, On::Manager, Audited::Yes),
];

/// What this request needs; nothing for what nobody may. `path` is the router's, with its parameters' names.
pub(super) fn need(method: &Method, path: &str) -> Option<Need> {
    // The router answers HEAD as GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let (rows, path) = path.strip_prefix(PROJECT).map_or((ELSEWHERE, path), |rest| (IN_PROJECT, rest));
    let row = rows.iter().find(|(of, at, ..)| of == method && *at == path)?;
    let (.., verb, on, audited) = row.clone();
    Some(Need { verb, on, audited })
}

#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = (Method, String, Need)> {
    let within = IN_PROJECT.iter().map(|row| (row, format!("{PROJECT}{}", row.1)));
    let all = within.chain(ELSEWHERE.iter().map(|row| (row, row.1.to_owned())));
    all.map(|((method, _, verb, on, audited), path)| {
        (method.clone(), path, Need { verb: *verb, on: *on, audited: *audited })
    })
}

#[cfg(test)]
mod tests {
    use robo_model::access::Role;

    use super::*;

    #[test]
    fn what_is_in_no_row_is_nobodys() {
        assert!(need(&Method::GET, "/v1/projects/{project}/secrets").is_none());
        assert!(need(&Method::POST, "/v1/projects/{project}/devices").is_none());
        assert!(need(&Method::HEAD, "/v1/projects/{project}/devices").is_some());
    }

    #[test]
    fn viewers_change_nothing() {
        for (method, path, need) in rows() {
            let is_question = method == Method::GET || path == "/v1/auth/can-i" || path.ends_with("/logs");
            assert!(is_question || need.verb.role() > Role::Viewer, "{method} {path}");
            assert!(method == Method::GET || need.audited != Audited::Refusals || is_asked(&path), "{method} {path}");
        }
    }

    fn is_asked(path: &str) -> bool {
        ["files/missing", "files/{hash}", "plan", "can-i", "/logs"].iter().any(|end| path.ends_with(end))
    }
}
