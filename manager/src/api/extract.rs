//! What handlers take out of a request, each refused with a problem when it is wrong.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use robo_model::name::{ApplicationName, ComponentName, DeviceName, FileName, JobId, ProjectName, SessionId, UserName};
use robo_model::spec::FileHash;
use robo_wire::api::MAX_JSON_BODY;
use robo_wire::problem::ErrorCode;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::pace::paced;
use super::problem::Refusal;

/// A JSON body of at most [`MAX_JSON_BODY`] bytes.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, Refusal> {
        read_json(request.into_body(), MAX_JSON_BODY).await.map(Self)
    }
}

/// Reads a JSON body of at most `max` bytes, within its time.
pub(super) async fn read_json<T: DeserializeOwned>(body: Body, max: usize) -> Result<T, Refusal> {
    let bytes = match Limited::new(paced(body), max).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Refusal::new(ErrorCode::TooLarge, format!("the body has more than {max} bytes")));
        }
        Err(error) => return Err(Refusal::bad_request(format!("the body broke off: {error}"))),
    };
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad_request(format!("the body: {error}")))
}

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refusal> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Refusal::bad_request(error.body_text()))
    }
}

/// `{project}`: one that exists.
pub(super) struct Project(pub(super) ProjectName);

impl FromRequestParts<ApiState> for Project {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let project = parameter(parts, state, "project").await?;
        state.service.check_project(&project).await?;
        Ok(Self(project))
    }
}

/// `{application}`.
pub(super) struct Application(pub(super) ApplicationName);

impl FromRequestParts<ApiState> for Application {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "application").await.map(Self)
    }
}

/// `{prefix}` under which an application imports.
pub(super) struct Prefix(pub(super) ComponentName);

impl FromRequestParts<ApiState> for Prefix {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "prefix").await.map(Self)
    }
}

/// `{name}` of a device.
pub(super) struct Device(pub(super) DeviceName);

impl FromRequestParts<ApiState> for Device {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "name").await.map(Self)
    }
}

/// `{id}` of an enrolment token, or of a user's.
pub(super) struct TokenId(pub(super) String);

impl FromRequestParts<ApiState> for TokenId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "id").await.map(Self)
    }
}

/// `{architecture}` of a machine.
pub(super) struct ArchitectureName(pub(super) String);

impl FromRequestParts<ApiState> for ArchitectureName {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "architecture").await.map(Self)
    }
}

/// `{user}`.
pub(super) struct User(pub(super) UserName);

impl FromRequestParts<ApiState> for User {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "user").await.map(Self)
    }
}

/// `{group}` of users.
pub(super) struct Group(pub(super) UserName);

impl FromRequestParts<ApiState> for Group {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "group").await.map(Self)
    }
}

/// `{id}` of a grant.
pub(super) struct GrantId(pub(super) u64);

impl FromRequestParts<ApiState> for GrantId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let text: String = parameter(parts, state, "id").await?;
        let number = text.parse().map_err(|_| Refusal::bad_request(format!("`{text}` is no number of a grant")))?;
        Ok(Self(number))
    }
}

/// `{id}` of a shell session.
pub(super) struct Session(pub(super) SessionId);

impl FromRequestParts<ApiState> for Session {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "id").await.map(Self)
    }
}

/// `{id}` of a job.
pub(super) struct Job(pub(super) JobId);

impl FromRequestParts<ApiState> for Job {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "id").await.map(Self)
    }
}

/// `{file}`: the name of a file that the manager keeps.
pub(super) struct KeptFile(pub(super) FileName);

impl FromRequestParts<ApiState> for KeptFile {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "file").await.map(Self)
    }
}

/// `{hash}` of a file.
pub(super) struct Hash(pub(super) FileHash);

impl FromRequestParts<ApiState> for Hash {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        parameter(parts, state, "hash").await.map(Self)
    }
}

/// `{number}` of a revision.
pub(super) struct Number(pub(super) u64);

impl FromRequestParts<ApiState> for Number {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let text: String = parameter(parts, state, "number").await?;
        let number = text.parse().map_err(|_| Refusal::bad_request(format!("`{text}` is no number of a revision")))?;
        Ok(Self(number))
    }
}

async fn parameter<T>(parts: &mut Parts, state: &ApiState, name: &str) -> Result<T, Refusal>
where
    T: TryFrom<String>,
    T::Error: std::fmt::Display,
{
    let all = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let text = all.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value).to_owned();
    T::try_from(text).map_err(|error| Refusal::bad_request(error.to_string()))
}
