//! While everything runs: tells what happens, one line each, and starts again what died.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use robo_model::name::{DeviceName, ProjectName};
use robo_wire::event::{Event, EventBody};

use super::environment::{Children, Environment};
use super::record::Record;
use super::{Folder, use_context};
use crate::cli::Env;
use crate::client::{Client, ClientError, EventQuery};
use crate::error::CliError;

/// Time between two looks at the processes.
const LOOK: Duration = Duration::from_millis(250);

/// So many processes may die within [`RESTART_WINDOW`]; what dies more often does not get better by itself.
const MAX_RESTARTS: usize = 30;

/// See [`MAX_RESTARTS`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// What is watched.
pub(crate) struct Watch<'a> {
    pub(crate) env: &'a Env,
    pub(crate) folder: &'a Folder,
    pub(crate) hosts: &'a BTreeSet<DeviceName>,
    pub(crate) project: Option<&'a ProjectName>,
    pub(crate) client: Client,
    /// Events after this one are told.
    pub(crate) cursor: u64,
}

/// Waits until a process has died or everything is being ended by somebody else.
///
/// # Errors
/// Always: the dead process, with the end of its log; or that somebody else ended everything.
pub(crate) async fn until_one_dies(folder: &Folder, children: &mut Children, env: &Env) -> CliError {
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(record) = Record::read(&folder.record()) else { continue };
        if record.stopping || !record.was_left() {
            return CliError::new("`robo down` in another terminal ended everything");
        }
        if record.processes().all(super::process::ProcessId::is_alive) {
            continue;
        }
        match Environment::lock(folder, &env.ui).await {
            Ok(environment) => {
                if let Some((who, how)) = environment.ended(children).into_iter().next() {
                    return environment.dead(&who, &how);
                }
            }
            Err(error) => return error,
        }
    }
}

impl Watch<'_> {
    /// Tells events until somebody else ends everything; drop it to end it yourself.
    ///
    /// # Errors
    /// When processes die again and again, or one cannot be started again.
    pub(crate) async fn run(mut self, children: &mut Children) -> Result<(), CliError> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut restarts: Vec<Instant> = Vec::new();
        let mut events: Option<BoxStream<'static, Result<Event, ClientError>>> = None;
        loop {
            tokio::select! {
                event = next_of(&mut events) => match event {
                    Some(event) => self.tell(&event),
                    None => events = None,
                },
                _ = look.tick() => {
                    if self.is_ended() {
                        return Ok(());
                    }
                    if !self.mend(children, &mut restarts).await? {
                        return Ok(());
                    }
                    if events.is_none() {
                        events = self.listen().await;
                    }
                }
            }
        }
    }

    async fn listen(&self) -> Option<BoxStream<'static, Result<Event, ClientError>>> {
        let query = EventQuery { after: Some(self.cursor), follow: true, ..EventQuery::default() };
        let events = self.client.events(&query).await;
        events.inspect_err(|error| tracing::debug!("no events: {error}")).ok()
    }

    fn tell(&mut self, event: &Event) {
        self.cursor = event.id;
        if matters(&event.body) {
            self.env.ui.note(crate::output::event::line(event, self.env.ui.err));
        }
    }

    fn is_ended(&self) -> bool {
        Record::read(&self.folder.record()).is_ok_and(|record| record.stopping || !record.was_left())
    }

    /// Starts again what died; false when somebody else is ending everything.
    async fn mend(&mut self, children: &mut Children, restarts: &mut Vec<Instant>) -> Result<bool, CliError> {
        let record = Record::read(&self.folder.record());
        if record.is_ok_and(|record| record.processes().all(super::process::ProcessId::is_alive)) {
            return Ok(true);
        }
        let mut environment = Environment::lock(self.folder, &self.env.ui).await?;
        if environment.is_ending() {
            return Ok(false);
        }
        for (who, how) in environment.ended(children) {
            restarts.retain(|at| at.elapsed() < RESTART_WINDOW);
            restarts.push(Instant::now());
            if restarts.len() > MAX_RESTARTS {
                return Err(environment.dead(&who, &format!("{how}, again and again")));
            }
            self.env.ui.note(format!("Started again: {who}, which {how}"));
        }
        match self.start_again(&mut environment, children).await {
            // It may have died again meanwhile; the next look tells.
            Err(error) if restarts.len() < MAX_RESTARTS => {
                restarts.push(Instant::now());
                self.env.ui.note(format!("Not everything could be started again yet: {}", error.what()));
                Ok(true)
            }
            other => other.map(|()| true),
        }
    }

    async fn start_again(&mut self, environment: &mut Environment, children: &mut Children) -> Result<(), CliError> {
        let context = environment.start_manager(children).await?;
        self.client = Environment::client(&context, self.project)?;
        use_context(&self.env.paths, context, &self.env.ui)?;
        environment.start_agents(self.hosts, &self.client, children).await
    }
}

/// The next event; waits for ever where there is no stream, and is nothing when the stream has ended.
async fn next_of(events: &mut Option<BoxStream<'static, Result<Event, ClientError>>>) -> Option<Event> {
    match events {
        Some(stream) => stream.next().await.and_then(Result::ok),
        None => std::future::pending().await,
    }
}

/// True for what a person at the terminal wants to know.
const fn matters(body: &EventBody) -> bool {
    match body {
        EventBody::State { .. }
        | EventBody::Failed { .. }
        | EventBody::Updated { .. }
        | EventBody::Health { .. }
        | EventBody::Adopted { .. }
        | EventBody::Gap { .. }
        | EventBody::Cancelled { .. }
        | EventBody::Retried { .. }
        | EventBody::Drift { .. }
        | EventBody::LeaseEnded
        | EventBody::Bound { .. }
        | EventBody::Admitted { .. }
        | EventBody::Revoked { .. }
        | EventBody::Rejected { .. }
        | EventBody::Renamed { .. }
        | EventBody::Removed
        | EventBody::Moved { .. }
        | EventBody::HostKeys { .. }
        | EventBody::Online
        | EventBody::Offline { .. }
        | EventBody::Applied { .. }
        | EventBody::Asked { .. }
        | EventBody::Deleted => true,
        EventBody::Forgotten
        | EventBody::Assigned { .. }
        | EventBody::Enrolled
        | EventBody::KeyRotated { .. }
        | EventBody::Labelled { .. }
        | EventBody::Switched { .. }
        | EventBody::Executed { .. }
        | EventBody::JobBegan { .. }
        | EventBody::JobEnded { .. }
        | EventBody::SessionBegan { .. }
        | EventBody::SessionEnded { .. }
        | EventBody::Unknown => false,
    }
}
