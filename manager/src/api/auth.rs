//! Who asks, and whether they may.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};
use robo_model::access::{Decision, Thing, Verb};
use robo_model::label::Labels;
use robo_model::name::{DeviceName, ProjectName};
use robo_wire::api::{AuditOutcome, NO_FILE, Standing};
use robo_wire::problem::ErrorCode;

use super::above::Above;
use super::limit::{counts, too_many, wrong};
use super::needs::{Audited, Need, On, need};
use super::problem::Refusal;
use super::{ApiState, PeerAddress, PeerDevice, revoked};
use crate::ca::Peer;
use crate::service::{Access, Actor, Service, ServiceError, Shown, now};
use crate::store::DeviceRecord;

/// Who asks: the name of the user; an extension of every request of a person or a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

/// What whoever asks may; an extension of every request of a person or a pipeline.
#[derive(Debug, Clone)]
pub(super) struct May {
    pub(super) access: Arc<Access>,
    /// As the audit log names them.
    pub(super) actor: Arc<Actor>,
}

impl May {
    /// Refuses what is not allowed on a device with these labels.
    pub(super) fn check(&self, verb: Verb, project: &ProjectName, labels: &Labels) -> Result<(), Refusal> {
        self.check_thing(verb, Thing::Device(project, labels))
    }

    /// Refuses what is not allowed in the project as a whole.
    pub(super) fn check_whole(&self, verb: Verb, project: &ProjectName) -> Result<(), Refusal> {
        self.check_thing(verb, Thing::Project(project))
    }

    fn check_thing(&self, verb: Verb, thing: Thing<'_>) -> Result<(), Refusal> {
        if self.access.may(verb, thing) { Ok(()) } else { Err(forbidden(verb, &self.access.decide(verb, thing))) }
    }
}

/// What a request is about, with what it takes to judge it.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) verb: Verb,
    pub(super) on: On,
    project: Option<ProjectName>,
    device: Option<DeviceName>,
    /// The devices that the handler let it begin on.
    begun_on: Vec<DeviceName>,
    /// Those of them where it takes the right to `root`.
    above: Vec<DeviceName>,
    /// It goes on: a device that is not in the project any more was there.
    goes_on: bool,
}

/// The devices that something was begun on; an extension of an answer that goes on, so that it ends with the right to
/// one of them.
#[derive(Debug, Clone)]
pub(super) struct BegunOn(pub(super) Vec<DeviceName>);

impl About {
    /// The same, about the devices that the answer says.
    pub(super) fn of(mut self, response: &Response) -> Self {
        if let Some(BegunOn(devices)) = response.extensions().get() {
            self.begun_on.clone_from(devices);
        }
        if let Some(Above(devices)) = response.extensions().get() {
            self.above.clone_from(devices);
        }
        self.goes_on = true;
        self
    }

    /// Whether it is allowed, as things are now.
    pub(super) async fn judge(&self, service: &Service, access: &Access) -> Result<Decision, ServiceError> {
        let decision = self.judge_verb(service, access).await?;
        let Some(project) = self.project.as_ref().filter(|_| decision.allowed) else { return Ok(decision) };
        for name in &self.above {
            // That it is gone was judged.
            let Some(device) = service.store().device_named(project, name).await? else { continue };
            let decision = access.decide(Verb::Root, Thing::Device(project, &device.labels));
            if !decision.allowed {
                return Ok(decision);
            }
        }
        Ok(decision)
    }

    async fn judge_verb(&self, service: &Service, access: &Access) -> Result<Decision, ServiceError> {
        let denied = || Decision { allowed: false, reasons: Vec::new() };
        let gone = || Decision { allowed: false, reasons: vec!["the device is in this project no more".to_owned()] };
        Ok(match (self.on, &self.project) {
            (On::Oneself, _) => Decision { allowed: true, reasons: Vec::new() },
            (On::Manager, _) => access.decide(self.verb, Thing::Manager),
            (On::Project, Some(project)) => access.decide(self.verb, Thing::Project(project)),
            (On::Some, Some(project)) => {
                for name in &self.begun_on {
                    let Some(device) = service.store().device_named(project, name).await? else { return Ok(gone()) };
                    let decision = access.decide(self.verb, Thing::Device(project, &device.labels));
                    if !decision.allowed {
                        return Ok(decision);
                    }
                }
                access.decide(self.verb, Thing::SomeDevice(project))
            }
            (On::Device, Some(project)) => match &self.device {
                Some(name) => match service.store().device_named(project, name).await? {
                    Some(device) if !access.sees(project, &device.labels) => denied(),
                    Some(device) => access.decide(self.verb, Thing::Device(project, &device.labels)),
                    None if self.goes_on => gone(),
                    // The handler says that it is not there, to whom that is no secret.
                    None => access.decide(self.verb, Thing::SomeDevice(project)),
                },
                None => denied(),
            },
            (On::Project | On::Some | On::Device, None) => denied(),
        })
    }
}

/// Lets through who has a token and may; handlers find its [`Caller`] and [`May`].
pub(super) async fn person(State(state): State<ApiState>, request: Request, next: Next) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let address = parts.extensions.get::<PeerAddress>().cloned();
    let from = address.as_ref().map(|address| address.written.to_string());
    let what = format!("{} {}", parts.method, parts.uri.path());
    let access = match known(&state.service, &parts).await {
        Ok(access) => Arc::new(access),
        Err(refusal) => {
            state.service.audit_stranger(from, "token", &what, refusal.title()).await;
            return Err(wrong(&state, address, refusal));
        }
    };
    let need = needed(&parts);
    let about = about(&mut parts, &state, need).await?;
    let actor = Arc::new(Actor {
        who: Some(access.user.to_string()),
        token: Some(access.token_id().to_owned()),
        from,
        project: about.project.as_ref().map(ToString::to_string),
    });
    let verb = about.verb.name();
    if counts(&parts)
        && let Err(wait) = state.limits.request(&access.user, Instant::now())
    {
        state.service.audit_refused(&actor, ("requests", ""), "too many requests").await?;
        return Err(too_many(wait));
    }
    let decision = match need {
        Some(_) => about.judge(&state.service, &access).await?,
        None => Decision { allowed: false, reasons: vec!["nobody may".to_owned()] },
    };
    if !decision.allowed {
        let why = decision.reasons.join("; ");
        state.service.audit_refused(&actor, (verb, &what), &why).await?;
        return Err(forbidden(about.verb, &decision));
    }
    let audited = need.map_or(Audited::Yes, |need| need.audited);
    if audited == Audited::Yes {
        state.service.audit(&actor, (verb, &what), AuditOutcome::Allowed, "").await?;
    }
    parts.extensions.insert(Caller(access.user.to_string()));
    parts.extensions.insert(May { access: Arc::clone(&access), actor: Arc::clone(&actor) });
    let response = next.run(Request::from_parts(parts, body)).await;
    told(&state, &actor, (verb, &what), audited, response.status()).await?;
    let about = about.of(&response);
    Ok(revoked::guard(response, state.service, access, about, (actor, what)))
}

/// Writes down what came of it, where that is not what was begun.
async fn told(
    state: &ApiState,
    actor: &Actor,
    what: (&str, &str),
    audited: Audited,
    status: StatusCode,
) -> Result<(), Refusal> {
    let detail = format!("answered {status}");
    let outcome = match (audited, status) {
        (_, StatusCode::FORBIDDEN) => return Ok(state.service.audit_refused(actor, what, &detail).await?),
        (Audited::Yes | Audited::Handler, status) if status.is_client_error() || status.is_server_error() => {
            AuditOutcome::Failed
        }
        (Audited::Yes | Audited::Handler | Audited::Refusals, _) => return Ok(()),
    };
    Ok(state.service.audit(actor, what, outcome, &detail).await?)
}

/// Whose token the request has.
async fn known(service: &Service, parts: &Parts) -> Result<Access, Refusal> {
    const HELP: &str = "`robo context use` chooses a manager with its token";
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The scheme is case-insensitive (RFC 9110, 11.1).
    let token =
        header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let refused = |title: Cow<'static, str>| Refusal::new(ErrorCode::Unauthorized, title).help(HELP);
    let Some((_, token)) = token else { return Err(refused("this needs a token".into())) };
    match service.who(token).await? {
        Shown::Good(access) => {
            tracing::debug!(who = %access.user, "authenticated");
            Ok(*access)
        }
        Shown::Ended(user, _) => Err(refused(format!("the time of this token of `{user}` is over").into())
            .help("make another one: `robo user token add`, or ask an administrator")),
        Shown::Unknown => Err(refused("this token is not known here".into())),
    }
}

fn needed(parts: &Parts) -> Option<Need> {
    let path = parts.extensions.get::<MatchedPath>()?;
    need(&parts.method, path.as_str())
}

async fn about(parts: &mut Parts, state: &ApiState, need: Option<Need>) -> Result<About, Refusal> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|error| Refusal::bad_request(error.to_string()))?;
    let find = |name: &str| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    let bad = |error: robo_model::name::NameError| Refusal::bad_request(error.to_string());
    let on = need.map_or(On::Manager, |need| need.on);
    let device = find("name").filter(|_| on == On::Device);
    Ok(About {
        verb: need.map_or(Verb::ManageUsers, |need| need.verb),
        on,
        project: find("project").map(ProjectName::try_from).transpose().map_err(bad)?,
        device: device.map(DeviceName::try_from).transpose().map_err(bad)?,
        begun_on: Vec::new(),
        above: Vec::new(),
        goes_on: false,
    })
}

fn forbidden(verb: Verb, decision: &Decision) -> Refusal {
    let refusal = Refusal::new(ErrorCode::Forbidden, format!("you may not: this needs the right to `{verb}`"))
        .help("`robo auth whoami` shows what you may; an administrator gives roles with `robo user grant`");
    if decision.reasons.is_empty() { refusal } else { refusal.detail(decision.reasons.join("; ")) }
}

/// Lets through a device that may connect, with a certificate that has not ended; handlers find its [`DeviceRecord`].
pub(super) async fn device(State(state): State<ApiState>, request: Request, next: Next) -> Result<Response, Refusal> {
    let knock = Knock::of(&request);
    if knock.peer.as_ref().is_some_and(|peer| peer.certificate_ends <= now()) {
        let refusal = Refusal::new(ErrorCode::Unauthorized, "the device's certificate has ended");
        return Err(knock.refused(&state, refusal.help("it has to renew it")).await);
    }
    renewing_device(State(state), request, next).await
}

/// Lets through a device that may connect, also with a certificate that has ended: for getting the next one.
pub(super) async fn renewing_device(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let knock = Knock::of(&request);
    let Some(peer) = &knock.peer else {
        let refusal = Refusal::new(ErrorCode::Unauthorized, "this needs a device's certificate");
        return Err(knock.refused(&state, refusal).await);
    };
    let record: Option<DeviceRecord> = state.service.store().device(&peer.device).await.map_err(ServiceError::from)?;
    let refusal = match record.filter(|record| record.has_key(&peer.key_fingerprint)) {
        Some(record) if record.standing == Standing::Accepted => {
            request.extensions_mut().insert(record);
            let response = next.run(request).await;
            if response.status() == StatusCode::FORBIDDEN && knock.path != NO_FILE {
                knock.told(&state.service, "it asked for what is not its own").await;
            }
            return Ok(response);
        }
        Some(_) => {
            Refusal::new(ErrorCode::Forbidden, "the device may not connect").help("an operator has to let it in")
        }
        None => Refusal::new(ErrorCode::Unauthorized, "the device is not enrolled here with this key")
            .help("enrol it again"),
    };
    Err(knock.refused(&state, refusal).await)
}

/// Somebody who says to be a device.
struct Knock {
    peer: Option<Peer>,
    from: Option<PeerAddress>,
    path: String,
}

impl Knock {
    fn of(request: &Request) -> Self {
        let find = request.extensions();
        Self {
            peer: find.get::<PeerDevice>().map(|PeerDevice(peer)| peer.clone()),
            from: find.get::<PeerAddress>().cloned(),
            path: request.uri().path().to_owned(),
        }
    }

    /// Writes down that it was refused.
    async fn refused(self, state: &ApiState, refusal: Refusal) -> Refusal {
        let from = self.from.clone();
        self.told(&state.service, refusal.title()).await;
        wrong(state, from, refusal)
    }

    async fn told(self, service: &Service, why: &str) {
        let whose = self.peer.map(|peer| format!(" (device {})", peer.device)).unwrap_or_default();
        let from = self.from.map(|from| from.written.to_string());
        service.audit_stranger(from, "device", &self.path, &format!("{why}{whose}")).await;
    }
}
