//! Ends what goes on as soon as it is allowed no longer: a role was taken away, a token has ended.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use robo_wire::api::AuditOutcome;

use super::auth::About;
use crate::service::{Access, Actor, Service, Shown, now};

/// The longest wait until a right is looked at again: longer ones than a timer takes do not exist then.
const LOOK_ANYWAY: Duration = Duration::from_secs(3600);

/// The answer, which breaks off when whoever asked may no longer. One that is whole already stays as it is.
pub(super) fn guard(
    response: Response,
    service: Service,
    access: Arc<Access>,
    about: About,
    named: (Arc<Actor>, String),
) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let mut lost = Box::pin(lost(service, access, about, named));
    response.map(|body| {
        let mut body = body.into_data_stream();
        Body::from_stream(stream::poll_fn(move |cx| match lost.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other("allowed no longer"))))),
            Poll::Pending => body.poll_next_unpin(cx),
        }))
    })
}

/// Waits until it is allowed no longer, and writes that down. Where that cannot be known, it is not allowed.
async fn lost(service: Service, access: Arc<Access>, about: About, (actor, what): (Arc<Actor>, String)) {
    let mut moved = service.rights_moved();
    loop {
        moved.borrow_and_update();
        let why = match service.again(&access).await {
            Ok(Shown::Good(now)) => match about.judge(&service, &now).await {
                Ok(decision) if decision.allowed => None,
                Ok(decision) => Some(decision.reasons.join("; ")),
                Err(error) => return tracing::warn!(error = &error as &dyn std::error::Error, "rights cannot be read"),
            },
            Ok(Shown::Ended(..)) => Some("the token's time is over".to_owned()),
            Ok(Shown::Unknown) => Some("the token was revoked".to_owned()),
            Err(error) => return tracing::warn!(error = &error as &dyn std::error::Error, "rights cannot be read"),
        };
        if let Some(why) = why {
            tracing::info!(who = %access.user, what, why, "cut off");
            if let Err(error) = service.audit(&actor, (about.verb.name(), &what), AuditOutcome::Cut, &why).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a cut cannot be written down");
            }
            return;
        }
        let left = access.ends().map_or(LOOK_ANYWAY, |end| Duration::from_millis(end.since(now()).0 + 1));
        tokio::select! {
            // The sender is in the service.
            moved = moved.changed() => drop(moved),
            () = tokio::time::sleep(left.min(LOOK_ANYWAY)) => {}
        }
    }
}
