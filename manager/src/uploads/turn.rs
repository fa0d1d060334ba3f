//! Whose turn it is: looks what is to be fetched, and from which devices that can be done now.

use std::collections::HashSet;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::upload::{Purged, UploadState};
use tokio::time::Instant;

use super::{Arc, CancellationToken, Inner, Live, UploadRecord, fetch};
use crate::bus::{Heard, Listener, Ring};
use crate::service::now;
use crate::store::StoreError;

/// Files that are fetched at a time, one of each device: enough to fill a line, few enough that each gets on.
const AT_ONCE: usize = 8;

/// How often it is looked where nothing rings: a bell may be missed.
const LOOK: Duration = Duration::from_secs(30);

/// What rings within this time is looked at together: thousands of devices may come back at once.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long a file is waited for, from when it was asked for.
const PATIENCE: Millis = Millis::from_secs(30 * 24 * 60 * 60);

/// The pause before a device is asked again after a file was cut; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Tries in a row over which nothing came along, after which a file has failed; with the pauses between them a device
/// has some minutes.
const MAX_TRIES: u32 = 10;

/// A device that is let be for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) until: Instant,
    pub(super) tries: u32,
}

/// Looks again and again, until there is nobody any more for whom.
pub(super) async fn drive(inner: Weak<Inner>, mut bus: Listener) {
    loop {
        // Held for the look alone: whoever waits keeps nothing.
        let next = {
            let Some(inner) = inner.upgrade() else { return };
            inner.look().await.unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot look which files are to come");
                Instant::now() + LOOK
            })
        };
        tokio::time::sleep(TOGETHER).await;
        if !wait(&inner, &mut bus, next).await {
            return;
        }
    }
}

/// Waits until something may have changed, or `next` is there. False when the manager ends.
async fn wait(inner: &Weak<Inner>, bus: &mut Listener, next: Instant) -> bool {
    // Held for the wait alone: the task ends with the table that it stands in.
    let Some(bell) = inner.upgrade().map(|inner| Arc::clone(&inner.bell)) else { return false };
    loop {
        tokio::select! {
            () = bell.notified() => return true,
            () = tokio::time::sleep_until(next) => return true,
            heard = bus.next() => match heard {
                Heard::Ring(Ring::Devices(_) | Ring::Moved(_) | Ring::Removed(_)) | Heard::Lost => return true,
                Heard::Ring(
                    Ring::Assignment(_)
                    | Ring::Exports(..)
                    | Ring::Needs(..)
                    | Ring::Events(_)
                    | Ring::Identity(_)
                    | Ring::Rotate(_),
                ) => {}
                Heard::Closed => return false,
            },
        }
    }
}

impl Inner {
    /// Begins what can begin. Says when to look again at the latest.
    async fn look(self: &Arc<Self>) -> Result<Instant, StoreError> {
        let begun = Instant::now();
        let mut next = begun + LOOK;
        let mut seen = HashSet::new();
        for record in self.service.store().open_uploads().await? {
            if self.gave_up(&record).await? {
                continue;
            }
            // One at a time of each device, the oldest first.
            if !seen.insert(record.device.clone()) || !self.links.is_linked(&record.device) {
                continue;
            }
            if let Some(until) = self.begin(record, begun) {
                next = next.min(until);
            }
        }
        Ok(next)
    }

    /// Ends what will never come.
    async fn gave_up(&self, record: &UploadRecord) -> Result<bool, StoreError> {
        let store = self.service.store();
        let why = if record.labels.is_none() {
            format!("the device `{}` is in this project no more", record.device_name)
        } else if now().since(record.created_at) > PATIENCE {
            format!("the device did not come within {PATIENCE}")
        } else {
            return Ok(false);
        };
        if record.state == UploadState::Completed {
            store.purged_upload(&record.id, &Purged::Kept { reason: why }).await?;
        } else if store.end_upload(&record.id, (UploadState::Failed, &why), now()).await? {
            self.shelf.remove(&record.id);
        }
        Ok(true)
    }

    /// Begins to fetch this file, if there is a place. Gives when its device may be asked again, where it rests.
    fn begin(self: &Arc<Self>, record: UploadRecord, at: Instant) -> Option<Instant> {
        let mut table = self.table();
        while table.tasks.try_join_next().is_some() {}
        if let Some(rest) = table.resting.get(&record.device).filter(|rest| rest.until > at) {
            return Some(rest.until);
        }
        // One that is on its way and has nobody who fetches it is one of which that could not be written down.
        if table.live.len() >= AT_ONCE || table.live.values().any(|live| live.device == record.device) {
            // Whoever ends rings.
            return None;
        }
        let live = Arc::new(Live {
            device: record.device.clone(),
            sent: AtomicU64::new(record.sent),
            total: AtomicU64::new(record.total.unwrap_or(u64::MAX)),
            cancel: CancellationToken::new(),
        });
        table.live.insert(record.id.clone(), Arc::clone(&live));
        let inner = Arc::downgrade(self);
        table.tasks.spawn(async move {
            let Some(strong) = inner.upgrade() else { return };
            let end = Box::pin(fetch::fetch(&strong, &record, &live)).await;
            strong.ended(&record, end).await;
        });
        None
    }

    /// A file's turn is over.
    async fn ended(&self, record: &UploadRecord, end: fetch::End) {
        if let fetch::End::Again { why, got_on } = &end {
            let tries = self.let_be(record, *got_on);
            if tries >= MAX_TRIES {
                self.settle(record, (UploadState::Failed, why)).await;
            }
        } else {
            self.table().resting.remove(&record.device);
        }
        self.table().live.remove(&record.id);
        self.bell.notify_one();
    }

    /// Lets the device be for a while. Gives how often in a row nothing came.
    fn let_be(&self, record: &UploadRecord, got_on: bool) -> u32 {
        let mut table = self.table();
        let now = Instant::now();
        // Those that rested long ago, and did not come back.
        table.resting.retain(|_, rest| rest.until + MAX_PAUSE * MAX_TRIES > now);
        let before = table.resting.get(&record.device).map_or(0, |rest| rest.tries);
        let tries = if got_on { 0 } else { before + 1 };
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(10)).min(MAX_PAUSE);
        let until = now + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        table.resting.insert(record.device.clone(), Rest { until, tries });
        tries
    }
}
