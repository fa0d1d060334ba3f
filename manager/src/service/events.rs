//! The history as it grows.

use std::time::Duration;

use robo_model::name::ProjectName;
use robo_wire::event::Event;

use super::Service;
use super::error::ServiceError;
use crate::bus::{Heard, Listener, Ring};
use crate::store::{EventFilter, EventPage};

/// A follower looks at least this often, whether or not the bell rang: a message of the bus may be lost.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// Events read at a time.
const PAGE: u32 = 500;

impl Service {
    /// The number of the newest event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cursor(&self, project: &ProjectName) -> Result<u64, ServiceError> {
        let none = EventFilter { application: None, limit: 0 };
        Ok(self.store().last_events(project, &none).await?.cursor)
    }

    /// The events after `after`, at most `filter.limit`; without `after` the last ones.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn events(
        &self,
        project: &ProjectName,
        after: Option<u64>,
        filter: &EventFilter,
    ) -> Result<EventPage, ServiceError> {
        Ok(match after {
            Some(after) => self.store().events_after(project, after, filter).await?,
            None => self.store().last_events(project, filter).await?,
        })
    }

    /// Follows the history: first what [`Service::events`] gives, then all that comes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow(
        &self,
        project: &ProjectName,
        after: Option<u64>,
        filter: EventFilter,
    ) -> Result<EventFeed, ServiceError> {
        // Listens before it looks: what comes in between is then heard, and found by its number only once.
        let listener = self.bus().listen();
        let first = match after {
            None => self.store().last_events(project, &filter).await?,
            Some(after) => EventPage { events: Vec::new(), cursor: after, more: true },
        };
        let filter = EventFilter { limit: PAGE, ..filter };
        Ok(EventFeed { service: self.clone(), project: project.clone(), filter, listener, page: Some(first) })
    }
}

/// The history as it grows: every event once, in order.
pub struct EventFeed {
    service: Service,
    project: ProjectName,
    filter: EventFilter,
    listener: Listener,
    /// The page to give out next; nothing at the end.
    page: Option<EventPage>,
}

impl EventFeed {
    /// The next events, as soon as there are any; nothing when the manager ends.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, ServiceError> {
        loop {
            let Some(page) = &mut self.page else { return Ok(None) };
            let events = std::mem::take(&mut page.events);
            let (after, more) = (page.cursor, page.more);
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if !more && !self.rang().await {
                self.page = None;
                return Ok(None);
            }
            self.page = Some(self.service.store().events_after(&self.project, after, &self.filter).await?);
        }
    }

    /// Waits until there may be more; false when the manager ends.
    async fn rang(&mut self) -> bool {
        loop {
            match tokio::time::timeout(LOOK_ANYWAY, self.listener.next()).await {
                Ok(Heard::Ring(Ring::Events(project))) if project == self.project => return true,
                Ok(Heard::Ring(_)) => {}
                Ok(Heard::Lost) | Err(_) => return true,
                Ok(Heard::Closed) => return false,
            }
        }
    }
}
