//! Logging in with an identity of an OpenID provider. Open to all: who asks is what is to be found out.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::{Extension, Json as Answer};
use robo_wire::api::{
    AuditOutcome, LoginCode, LoginProof, LoginRequest, LoginState, LogoutRequest, MAX_LOGIN_BODY, MAX_LOGIN_SECRET,
    UserTokenView,
};
use robo_wire::problem::{ErrorCode, Problem};

use super::auth::May;
use super::extract::{Json, read_json};
use super::limit::{too_many, wrong};
use super::problem::Refusal;
use super::{ApiState, PeerAddress};
use crate::login::{Claims, Granted, Provider, ProviderError};
use crate::service::{Actor, LoginError};

/// Characters of a challenge: SHA-256 in base64 without padding (RFC 7636, 4.2).
const CHALLENGE: usize = 43;

/// Begins a login: says what a person has to confirm, and where.
#[utoipa::path(post, path = "/v1/login", tag = "access", request_body = LoginRequest,
    responses((status = 200, body = LoginCode),
        (status = 404, body = Problem, description = "this manager has no OpenID provider"),
        (status = 429, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn begin(State(state): State<ApiState>, request: Request) -> Result<Answer<LoginCode>, Refusal> {
    let from = address(&request);
    let provider = provider(&state)?;
    if let Some(Err(wait)) = from.as_ref().map(|from| state.limits.login(from.ip, Instant::now())) {
        return Err(too_many(wait));
    }
    let LoginRequest { code_challenge } = read_json(request.into_body(), MAX_LOGIN_BODY).await?;
    let is_url_safe = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if code_challenge.len() != CHALLENGE || !code_challenge.bytes().all(is_url_safe) {
        return Err(Refusal::bad_request("the code challenge is not one of method S256 (RFC 7636)"));
    }
    match provider.begin(&code_challenge).await {
        Ok(code) => Ok(Answer(code)),
        Err(error) => Err(refused(&state, from, error.into()).await),
    }
}

/// Gives a token for a login that was confirmed, or that goes on.
#[utoipa::path(post, path = "/v1/login/token", tag = "access", request_body = LoginProof,
    responses((status = 200, body = LoginState), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 429, body = Problem), (status = 502, body = Problem)))]
pub(super) async fn token(State(state): State<ApiState>, request: Request) -> Result<Answer<LoginState>, Refusal> {
    let from = address(&request);
    let provider = provider(&state)?;
    if let Some(Err(wait)) = from.as_ref().map(|from| state.limits.poll(from.ip, Instant::now())) {
        return Err(too_many(wait));
    }
    let proof: LoginProof = read_json(request.into_body(), MAX_LOGIN_BODY).await?;
    let (first, second) = match &proof {
        LoginProof::Code { device_code, code_verifier } => (device_code, code_verifier.as_str()),
        LoginProof::Refresh { refresh_token } => (refresh_token, ""),
    };
    if first.is_empty() || first.len().max(second.len()) > MAX_LOGIN_SECRET {
        return Err(Refusal::bad_request("the proof is empty or too long"));
    }
    let (claims, refresh_token) = match provider.prove(&proof).await {
        Ok(Granted::Pending) => return Ok(Answer(LoginState::Pending)),
        Ok(Granted::SlowDown) => return Ok(Answer(LoginState::SlowDown)),
        Ok(Granted::Identity { claims, refresh_token }) => (claims, refresh_token),
        Err(error) => return Err(refused(&state, from, error.into()).await),
    };
    match state.service.log_in(provider.config(), &claims, refresh_token).await {
        Ok(done) => {
            let from = from.map(|from| from.written.to_string());
            let actor = Actor { who: Some(done.user.to_string()), from, ..Actor::default() };
            state.service.audit(&actor, ("login", &whom(&claims)), AuditOutcome::Allowed, "").await?;
            Ok(Answer(LoginState::Done(done)))
        }
        Err(error) => Err(refused(&state, from, Fault::Mine(error, whom(&claims))).await),
    }
}

/// Makes the token worth nothing that this was asked with, and has the provider take back what goes with it.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "access", security(("token" = [])), request_body = LogoutRequest,
    responses((status = 200, body = UserTokenView), (status = 401, body = Problem)))]
pub(super) async fn logout(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Json(LogoutRequest { refresh_token }): Json<LogoutRequest>,
) -> Result<Answer<UserTokenView>, Refusal> {
    let gone = state.service.revoke_user_token(&access.user, access.token_id()).await?;
    if let (Some(provider), Some(refresh_token)) = (&state.login, refresh_token)
        && refresh_token.len() <= MAX_LOGIN_SECRET
        && let Err(error) = provider.take_back(&refresh_token).await
    {
        // Here it is over: the provider's own is told in the log.
        tracing::warn!(user = %access.user, error = &error as &dyn std::error::Error, "a login goes on at the provider");
    }
    Ok(Answer(gone))
}

fn provider(state: &ApiState) -> Result<&Provider, Refusal> {
    state.login.as_deref().ok_or_else(|| {
        Refusal::new(ErrorCode::NotFound, "this manager has no OpenID provider to log in with")
            .help("ask an administrator for a token, and give it: `robo login --token-stdin`\nor let the manager have one: `robo manager --oidc FILE`, see docs/access.md")
    })
}

fn address(request: &Request) -> Option<PeerAddress> {
    request.extensions().get::<PeerAddress>().cloned()
}

/// Whom the provider means, for the audit log.
fn whom(claims: &Claims) -> String {
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    format!("{} at {}", text("sub"), text("iss"))
}

/// Why somebody is not logged in.
enum Fault {
    Theirs(ProviderError),
    /// With whom the provider meant.
    Mine(LoginError, String),
}

impl From<ProviderError> for Fault {
    fn from(error: ProviderError) -> Self {
        Self::Theirs(error)
    }
}

/// Writes down that nobody was let in, and says why.
async fn refused(state: &ApiState, from: Option<PeerAddress>, fault: Fault) -> Refusal {
    let (refusal, thing) = match fault {
        Fault::Theirs(error) => (of_provider(&error), String::new()),
        Fault::Mine(LoginError::Service(error), _) => return error.into(),
        Fault::Mine(error, whom) => (of_login(&error), whom),
    };
    let written = from.as_ref().map(|from| from.written.to_string());
    tracing::info!(from = written, thing, why = refusal.title(), "a login was refused");
    state.service.audit_stranger(written, "login", &thing, refusal.title()).await;
    wrong(state, from, refusal)
}

fn of_provider(error: &ProviderError) -> Refusal {
    match error {
        ProviderError::Answer { .. } => Refusal::new(ErrorCode::Busy, error.to_string())
            .status(http::StatusCode::BAD_GATEWAY)
            .help("the manager's log says more; a token of your own does not need the provider: `robo login --token-stdin`"),
        ProviderError::Denied(_) => {
            Refusal::new(ErrorCode::Unauthorized, error.to_string()).help("begin again: `robo login`")
        }
        ProviderError::Token(_) => Refusal::new(ErrorCode::Unauthorized, error.to_string())
            .help("are the manager's `issuer`, `client_id` and clock right? Its administrator knows"),
    }
}

fn of_login(error: &LoginError) -> Refusal {
    let help = match error {
        LoginError::Refused(_) => "an administrator writes the rules: `rules` in the file of `robo manager --oidc`",
        LoginError::NoName { .. } => {
            "an administrator names the user in a rule (`user: ann`), or another `user_claim`; `email` must be verified"
        }
        LoginError::NameTaken { .. } => {
            "an administrator says so in a rule (`claim: sub`, with `user:`), or removes that user"
        }
        LoginError::Service(_) => "the manager's log says more",
    };
    Refusal::new(ErrorCode::Forbidden, error.to_string()).help(help)
}
