//! The manager's HTTPS API: thin handlers over [`Service`], one module per subject.
//!
//! Denied by default: people and pipelines need a token and a right (`needs.rs`), `/v1/agent/` a device's certificate. Open are
//! only the health, the document of the API itself, logging in, the enrolment, whose body carries its own token, the
//! reports before it, which carry that token's hash, links to files, which carry their secret, and what is installed,
//! which is no secret.
//! All errors, those of the router too, are `application/problem+json` with a stable code.

mod above;
mod acts;
mod agent;
mod applications;
mod audit;
mod auth;
mod bindings;
mod calls;
mod collect;
mod copy;
mod devices;
mod events;
mod exec;
mod extract;
mod files;
mod forward;
mod frames;
mod groups;
mod health;
mod history;
mod install;
mod job;
mod jobs;
mod limit;
mod log_files;
mod login;
mod needs;
mod open;
pub(crate) mod pace;
mod part;
mod problem;
mod revoked;
mod shared;
mod shell;
mod ssh;
mod switches;
mod tail;
mod tokens;
mod upgrade;
mod uploads;
mod users;
mod within;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use robo_wire::problem::ErrorCode;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::Refusal;
use crate::ca::Peer;
use crate::install::Programs;
use crate::jobs::Jobs;
use crate::limits::Limits;
use crate::links::Links;
use crate::login::Provider;
use crate::service::{Service, Sign};
use crate::sessions::Sessions;
use crate::uploads::Uploads;

/// Who is at the other end of a connection with a device's certificate; an extension of its requests.
/// The certificate was verified, that the device still has this key was not.
#[derive(Debug, Clone)]
pub struct PeerDevice(pub Peer);

/// Where a connection comes from; an extension of its requests.
#[derive(Debug, Clone)]
pub struct PeerAddress {
    /// By which it is counted how often somebody from there was wrong. Where a relay says it, it is the relay's word.
    pub ip: IpAddr,
    /// As it is written down.
    pub written: Arc<str>,
}

/// What the handlers work with.
#[derive(Clone)]
pub struct ApiState {
    service: Service,
    links: Arc<dyn Links>,
    sign: Arc<Sign>,
    sessions: Sessions,
    jobs: Jobs,
    uploads: Uploads,
    calls: calls::Calls,
    programs: Programs,
    limits: Arc<Limits>,
    login: Option<Arc<Provider>>,
}

impl ApiState {
    /// The state of an API that signs certificates with `sign`.
    #[must_use]
    pub fn new(service: Service, links: Arc<dyn Links>, sign: Arc<Sign>) -> Self {
        let sessions = Sessions::new(service.clone(), Arc::clone(&links), service.recordings());
        let jobs = Jobs::new(service.clone(), Arc::clone(&links), service.outputs().to_owned());
        let uploads = Uploads::new(service.clone(), Arc::clone(&links));
        let (limits, login, programs) = (Arc::default(), None, Programs::default());
        let calls = calls::Calls::default();
        Self { service, links, sign, sessions, jobs, uploads, calls, programs, limits, login }
    }

    /// The same, with agents' programs to give away.
    #[must_use]
    pub fn with_programs(self, programs: Programs) -> Self {
        Self { programs, ..self }
    }

    /// The same, with other limits on how often somebody may ask.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits: Arc::new(limits), ..self }
    }

    /// The same, where people may log in with an identity of this provider's.
    #[must_use]
    pub fn with_login(self, provider: Option<Provider>) -> Self {
        Self { login: provider.map(Arc::new), ..self }
    }

    /// The jobs in the background that go through this API.
    #[must_use]
    pub const fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The files of devices that the manager keeps.
    #[must_use]
    pub const fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// The shell sessions that go through this API.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "robo manager", description = "Deploys applications onto devices and looks after those."))]
struct Document;

/// The API and its document.
pub fn router(state: ApiState) -> (Router, OpenApi) {
    let people =
        applications().merge(remote()).merge(access()).route_layer(from_fn_with_state(state.clone(), auth::person));
    let agents = OpenApiRouter::new()
        .routes(routes!(agent::file))
        .routes(routes!(uploads::wished))
        .route_layer(from_fn_with_state(state.clone(), auth::device));
    let renewing = OpenApiRouter::new()
        .routes(routes!(agent::renew, agent::key))
        .route_layer(from_fn_with_state(state.clone(), auth::renewing_device));
    let open = OpenApiRouter::new()
        .routes(routes!(open::health))
        .routes(routes!(open::enroll))
        .routes(routes!(install::script))
        .routes(routes!(install::agent))
        .routes(routes!(install::report))
        .routes(routes!(shared::content))
        .routes(routes!(login::begin))
        .routes(routes!(login::token));
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(people)
        .merge(agents)
        .merge(renewing)
        .merge(open)
        .with_state::<()>(state)
        .split_for_parts();
    add_security(&mut document);
    let text = axum::body::Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let router = router
        .route(
            "/v1/openapi.json",
            get(move || std::future::ready(([(http::header::CONTENT_TYPE, "application/json")], text))),
        )
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(problem::log_failures));
    (router, document)
}

/// Devices, and what is applied to them.
fn applications() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(devices::list))
        .routes(routes!(devices::inspect, devices::change, devices::remove))
        .routes(routes!(devices::standing))
        .routes(routes!(health::health))
        .routes(routes!(install::list))
        .routes(routes!(devices::rotate_key))
        .routes(routes!(devices::move_to))
        .routes(routes!(devices::rename))
        .routes(routes!(devices::label))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(switches::switch))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(files::missing))
        .routes(routes!(files::upload))
        .routes(routes!(applications::plan))
        .routes(routes!(applications::apply))
        .routes(routes!(applications::list))
        .routes(routes!(applications::delete))
        .routes(routes!(applications::wanted))
        .routes(routes!(acts::act))
        .routes(routes!(bindings::list))
        .routes(routes!(bindings::bind))
        .routes(routes!(applications::status))
        .routes(routes!(history::list))
        .routes(routes!(history::show))
        .routes(routes!(history::file))
        .routes(routes!(history::diff))
        .routes(routes!(events::events))
}

/// What is done on devices.
fn remote() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(exec::exec))
        .routes(routes!(exec::resume))
        .routes(routes!(exec::logs, tail::tail_instance))
        .routes(routes!(copy::copy))
        .routes(routes!(jobs::list, jobs::begin))
        .routes(routes!(jobs::show, jobs::cancel))
        .routes(routes!(jobs::output))
        .routes(routes!(forward::forward))
        .routes(routes!(ssh::certificate))
        .routes(routes!(ssh::keys))
        .routes(routes!(tail::tail))
        .routes(routes!(log_files::log_files))
        .routes(routes!(collect::collect))
        .routes(routes!(uploads::list, uploads::put))
        .routes(routes!(uploads::show, uploads::remove))
        .routes(routes!(uploads::content))
        .routes(routes!(uploads::cancel))
        .routes(routes!(shared::list, shared::share))
        .routes(routes!(shared::unshare))
        .routes(routes!(shell::shell))
        .routes(routes!(shell::list))
        .routes(routes!(shell::show, shell::end))
        .routes(routes!(shell::attach))
        .routes(routes!(shell::watch))
        .routes(routes!(shell::recording))
}

/// Who may what.
fn access() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(users::me))
        .routes(routes!(login::logout))
        .routes(routes!(users::can_i))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::remove))
        .routes(routes!(users::tokens, users::make_token))
        .routes(routes!(users::revoke_token))
        .routes(routes!(users::grants, users::grant))
        .routes(routes!(users::take_away))
        .routes(routes!(groups::list, groups::add))
        .routes(routes!(groups::remove))
        .routes(routes!(groups::join, groups::leave))
        .routes(routes!(groups::apply))
        .routes(routes!(users::projects, users::add_project))
        .routes(routes!(users::set_quota))
        .routes(routes!(audit::of_project))
        .routes(routes!(audit::all))
        .routes(routes!(audit::verify))
}

fn add_security(document: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token `rbt1.…`; the first one stands in `admin.token` in the manager's folder."))
        .build();
    document
        .components
        .get_or_insert_default()
        .security_schemes
        .insert("token".to_owned(), SecurityScheme::Http(bearer).into());
}

async fn no_such_route(uri: http::Uri) -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such path in the API")
        .detail(uri.path().to_owned())
        .help("`/v1/openapi.json` lists all; a newer client may ask for more than this manager knows")
}

async fn wrong_method(method: http::Method, uri: http::Uri) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, "this path does not take this method")
        .detail(format!("{method} {}", uri.path()))
        .status(http::StatusCode::METHOD_NOT_ALLOWED)
}
