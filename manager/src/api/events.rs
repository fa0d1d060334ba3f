//! The history, one event a line.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header;
use robo_model::access::{Thing, Verb};
use robo_model::name::{ApplicationName, DeviceName, ProjectName};
use robo_wire::event::Event;
use robo_wire::problem::Problem;
use serde::Deserialize;

use super::ApiState;
use super::auth::May;
use super::extract::{Project, Query};
use super::problem::Refusal;
use crate::service::{Access, EventFeed, Service, ServiceError};
use crate::store::EventFilter;

/// The media type of one JSON value a line.
const NDJSON: &str = "application/x-ndjson";

/// Events given where nothing says how many.
const DEFAULT_LIMIT: u32 = 100;

/// Most events in one answer that does not follow.
const MAX_LIMIT: u32 = 10_000;

/// Which events.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Those after this id; the last ones where it is left out.
    after: Option<u64>,
    /// Only those of this application.
    #[param(value_type = Option<String>)]
    application: Option<ApplicationName>,
    /// How many at most; 100 of the last ones, else 10,000.
    limit: Option<u32>,
    /// Go on with what comes.
    #[serde(default)]
    follow: bool,
}

/// Tells what happened.
#[utoipa::path(get, path = "/v1/projects/{project}/events", tag = "events", security(("token" = [])),
    params(("project" = String, Path), EventsQuery),
    responses((status = 200, body = Event, content_type = "application/x-ndjson", description = "one event a line"),
        (status = 400, body = Problem)))]
pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(May { access, .. }): Extension<May>,
    Project(project): Project,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Refusal> {
    let default = if query.after.is_some() { MAX_LIMIT } else { DEFAULT_LIMIT };
    let limit = query.limit.unwrap_or(default).min(MAX_LIMIT);
    let filter = EventFilter { application: query.application, limit };
    let eyes = Eyes { service: state.service.clone(), access, project: project.clone() };
    let body = if query.follow {
        following(state.service.follow(&project, query.after, filter).await?, eyes)
    } else {
        let events = state.service.events(&project, query.after, &filter).await?.events;
        Body::from(lines(&eyes.seen(events).await?)?)
    };
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

/// Who reads events: whoever may see some devices only reads what happened on these.
struct Eyes {
    service: Service,
    access: Arc<Access>,
    project: ProjectName,
}

impl Eyes {
    async fn seen(&self, mut events: Vec<Event>) -> Result<Vec<Event>, ServiceError> {
        if self.access.may(Verb::See, Thing::Project(&self.project)) {
            return Ok(events);
        }
        let mut devices = self.service.store().devices(&self.project).await?;
        devices.retain(|device| self.access.sees(&self.project, &device.labels));
        let seen: BTreeSet<DeviceName> = devices.into_iter().map(|device| device.name).collect();
        events.retain(|event| event.device.as_ref().is_some_and(|device| seen.contains(device)));
        Ok(events)
    }

    async fn next(&self, feed: &mut EventFeed) -> Result<Option<Bytes>, ServiceError> {
        match feed.next().await? {
            Some(events) => lines(&self.seen(events).await?).map(Some),
            None => Ok(None),
        }
    }
}

fn following(feed: EventFeed, eyes: Eyes) -> Body {
    Body::from_stream(stream::try_unfold((feed, eyes), |(mut feed, eyes)| async move {
        let next = eyes.next(&mut feed).await;
        // The client sees that the answer breaks off; why is for the log.
        next.map(|bytes| bytes.map(|bytes| (bytes, (feed, eyes))))
            .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "following events failed"))
    }))
}

fn lines(events: &[Event]) -> Result<Bytes, ServiceError> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event).map_err(|error| ServiceError::Broken(error.to_string()))?;
        text.push(b'\n');
    }
    Ok(text.into())
}
