//! Waiting until an application is as wished, and showing how it goes.
//!
//! - `watch`: what is compared with the goal; pure.
//! - `draw`: one line per instance on a terminal, one line per change without.
//! - `verdict`: what is said at the end, and the exit code.
//!
//! The status is the truth and is read again after every burst of events; the events only say when. So a manager
//! that restarts in between costs nothing but a moment.

mod draw;
mod verdict;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};
use robo_model::name::{ApplicationName, InstancePath};
use robo_wire::api::Status;
use robo_wire::event::Event;
use robo_wire::plan::{Consequence, Plan};
use robo_wire::problem::ErrorCode;
use serde::Serialize;
use tokio::time::Instant;

pub(crate) use draw::BytesBar;
pub(crate) use verdict::{conclude, failure};

use crate::client::{Client, ClientError, EventQuery};
use crate::error::{CliError, Exit};
use crate::output::Ui;
use draw::Screen;
use watch::{Standing, Watch};

/// How long an apply waits where nobody says it.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The status is read at least so often: a lost event costs no more than this.
const REFRESH: Duration = Duration::from_secs(2);

/// After an event the status is read this much later, so that a burst costs one reading.
const BURST: Duration = Duration::from_millis(120);

/// How often the lines of a terminal are drawn anew.
const FRAME: Duration = Duration::from_millis(120);

/// The pause before the manager is dialled again; that itself tries several times with growing pauses.
const REDIAL: Duration = Duration::from_millis(500);

/// When nothing moved for so long, a failure from before counts as one that stays.
const SETTLED: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Every instance is what it should be.
    AsWished,
    /// No instance is left.
    Gone,
}

/// How to wait.
#[derive(Debug, Clone)]
pub(crate) struct FollowOptions {
    /// What is waited for.
    pub(crate) goal: Goal,
    /// How long at most; nothing for as long as it takes.
    pub(crate) timeout: Option<Duration>,
    /// Only these instances are waited for; nothing for all of the application.
    pub(crate) only: Option<BTreeSet<InstancePath>>,
    /// Events after this id are news.
    pub(crate) cursor: u64,
    /// Instances that will lose what they cannot do without: to wait for it is all they can do.
    pub(crate) will_wait: BTreeSet<InstancePath>,
    /// How it was before: failures in there are old.
    pub(crate) before: Option<Status>,
    /// Ctrl-C ends the waiting; false when the caller looks after signals.
    pub(crate) interruptible: bool,
}

impl FollowOptions {
    /// Waits for everything, with the usual patience; all events after `cursor` are news.
    pub(crate) fn new(goal: Goal, cursor: u64) -> Self {
        Self {
            goal,
            timeout: Some(DEFAULT_TIMEOUT),
            only: None,
            cursor,
            will_wait: BTreeSet::new(),
            before: None,
            interruptible: true,
        }
    }

    /// Does not wait for what has to wait because of `plan`.
    #[must_use]
    pub(crate) fn after_plan(mut self, plan: &Plan) -> Self {
        // Those of other applications are not waited for.
        let own = plan.ripple.iter().filter(|r| r.application.is_none() && r.consequence == Consequence::Wait);
        self.will_wait = own.map(|r| r.path.clone()).collect();
        self
    }
}

/// How the waiting ended, with the last status that was seen.
#[derive(Debug, Clone)]
pub(crate) enum FollowEnd {
    /// The goal is reached.
    Reached(Status),
    /// An instance failed for good, or so often that waiting is of no use.
    Failed(Status),
    /// Somebody deleted the application meanwhile: what was waited for will never be.
    Deleted(Status),
    /// The time was over.
    TimedOut(Status),
    /// Ctrl-C.
    Interrupted(Status),
}

impl FollowEnd {
    /// The last status that was seen.
    pub(crate) const fn status(&self) -> &Status {
        match self {
            Self::Reached(status)
            | Self::Failed(status)
            | Self::Deleted(status)
            | Self::TimedOut(status)
            | Self::Interrupted(status) => status,
        }
    }

    /// What the shell is told.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Reached(_) => Exit::Done,
            Self::Failed(_) => Exit::SomeFailed,
            Self::Deleted(_) => Exit::Error,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Interrupted(_) => Exit::Interrupted,
        }
    }
}

/// One element of the stream that `-o json` gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Element<'a> {
    /// What will be done.
    Plan(&'a Plan),
    /// The manager took it on.
    Applied(&'a robo_wire::api::Applied),
    /// The manager took it on.
    Accepted(&'a robo_wire::api::Accepted),
    /// Something happened.
    Event(&'a Event),
    /// How it is at the end.
    Status(&'a Status),
}

/// Waits until `application` is as `options` say, and shows how it goes.
///
/// # Errors
/// When the manager refuses, is not the one it was, or stays away until the time is over.
pub(crate) async fn follow(
    ui: &Ui,
    client: &Client,
    application: &ApplicationName,
    options: FollowOptions,
) -> Result<FollowEnd, CliError> {
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    let interruptible = options.interruptible;
    let mut follower = Follower {
        client,
        application,
        cursor: options.cursor,
        screen: Screen::new(ui),
        watch: Watch::new(options),
        deadline,
        away: false,
    };
    tokio::select! {
        end = follower.run() => {
            follower.screen.clear();
            end
        }
        signal = tokio::signal::ctrl_c(), if interruptible => match signal {
            Ok(()) => {
                ui.after_interrupt();
                Ok(FollowEnd::Interrupted(follower.watch.status().clone()))
            }
            Err(error) => Err(CliError::new(format!("signals cannot be awaited: {error}"))),
        },
    }
}

struct Follower<'a> {
    client: &'a Client,
    application: &'a ApplicationName,
    /// The last event that was seen.
    cursor: u64,
    screen: Screen<'a>,
    watch: Watch,
    deadline: Option<Instant>,
    /// The manager cannot be reached just now, and that was told.
    away: bool,
}

type Events = BoxStream<'static, Result<Event, ClientError>>;

impl Follower<'_> {
    async fn run(&mut self) -> Result<FollowEnd, CliError> {
        loop {
            match self.session().await {
                Ok(end) => return Ok(end),
                Err(error) if error.is_passing() => self.wait_for_manager(error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says once that the manager is away, and waits a moment; the end of the time ends the waiting.
    async fn wait_for_manager(&mut self, error: ClientError) -> Result<(), CliError> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(error.into());
        }
        if !self.away {
            self.screen.say(&format!("{error}; waiting for it to come back"));
        }
        self.away = true;
        tokio::time::sleep(REDIAL).await;
        Ok(())
    }

    /// Follows over one connection, until the end or until it breaks.
    async fn session(&mut self) -> Result<FollowEnd, ClientError> {
        let query = EventQuery {
            after: Some(self.cursor),
            application: Some(self.application.clone()),
            limit: None,
            follow: true,
        };
        let mut events: Events = self.client.events(&query).await?;
        if std::mem::take(&mut self.away) {
            self.screen.say("the manager is back");
        }
        let mut next_look = Instant::now();
        let mut frame = tokio::time::interval(FRAME);
        frame.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next_look) => {
                    if let Some(end) = self.look().await? {
                        return Ok(end);
                    }
                    next_look = Instant::now() + REFRESH;
                }
                event = events.next() => {
                    self.heard(event)?;
                    next_look = next_look.min(Instant::now() + BURST);
                }
                _ = frame.tick() => self.screen.draw(&self.watch),
            }
        }
    }

    fn heard(&mut self, event: Option<Result<Event, ClientError>>) -> Result<(), ClientError> {
        let ended = || ClientError::Lost { url: self.client.url(), reason: "it ended the stream of events".into() };
        let event = event.ok_or_else(ended)??;
        if event.id > self.cursor {
            self.cursor = event.id;
            self.watch.heard();
            self.screen.event(&event);
        }
        Ok(())
    }

    /// Reads the status and compares it with the goal.
    async fn look(&mut self) -> Result<Option<FollowEnd>, ClientError> {
        let status = self.client.status(Some(self.application)).await;
        self.saw(status)?;
        self.screen.draw(&self.watch);
        let mut standing = self.watch.standing();
        if standing == Standing::Reached && self.watch.is_there_something() {
            // Somebody may not have heard yet of what others offer by now, and look as wished only until then.
            let status = self.client.status_in_step(Some(self.application)).await;
            self.saw(status)?;
            standing = self.watch.standing();
        }
        let status = || self.watch.status().clone();
        Ok(match standing {
            Standing::Reached => Some(FollowEnd::Reached(status())),
            Standing::Failed => Some(FollowEnd::Failed(status())),
            Standing::Deleted => Some(FollowEnd::Deleted(status())),
            Standing::Under if self.is_late() => Some(FollowEnd::TimedOut(status())),
            Standing::Under => None,
        })
    }

    fn saw(&mut self, status: Result<Status, ClientError>) -> Result<(), ClientError> {
        self.watch.saw(match status {
            Ok(status) => status,
            Err(error) if error.code() == Some(ErrorCode::NotFound) => nothing(self.cursor),
            Err(error) => return Err(error),
        });
        Ok(())
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// What the status of an application that is gone would be.
const fn nothing(cursor: u64) -> Status {
    Status { cursor, applications: Vec::new(), instances: Vec::new(), circles: Vec::new() }
}
