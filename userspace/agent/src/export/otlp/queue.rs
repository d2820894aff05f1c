//! What waits to be sent, and what became of everything: no clock, no channel, no network.
//!
//! While all goes well, snapshots are sent in order, and a slow receiver still gets every one of a short jam. After
//! a failure only the newest is sent: cumulative sums say in each snapshot all that the ones before said, receivers
//! refuse points older than those they have, and one that recovers should not get a burst from every node. An outage
//! therefore costs resolution and no totals. Only series that have ended are in no newer snapshot: their last words
//! are carried along until they are delivered.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Cursor, LastWord};
use crate::snapshot::{Attributes, Snapshot};

/// Snapshots that wait.
const SNAPSHOTS_MAX: usize = 4;
/// Their size when encoded, together; the newest is kept in any case.
const BYTES_MAX: u64 = 32 << 20;
/// Encoded size of a point and of a resource with what stands around its points: a high estimate, which is
/// enough for a bound and costs nothing.
const POINT_BYTES: u64 = 100;
const RESOURCE_BYTES: u64 = 600;
/// Points of ended series that wait.
const LAST_WORDS_MAX: u64 = 100_000;

/// A number for each value of the attribute `podscope.export.result`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Taken by the receiver.
    pub sent: u64,
    /// Refused by the receiver for good.
    pub rejected: u64,
    /// Tried, and given up for something newer or because it took too long.
    pub failed: u64,
    /// Never tried: the queue was full, something newer came first, or the agent stopped.
    pub dropped: u64,
}

impl Tally {
    /// In the order of [`podscope_catalog::attribute::EXPORT_RESULT`].
    pub fn by_result(&self) -> [u64; 4] {
        [self.sent, self.rejected, self.failed, self.dropped]
    }
}

/// What the exporter has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests; repeated attempts of one are not counted, and a snapshot dropped as a whole counts as one.
    pub requests: Tally,
    /// Data points. Each point of a snapshot that was due ends in exactly one of the four.
    pub points: Tally,
    /// Bytes of request bodies that were answered with success, after compression.
    pub bytes: u64,
    /// Time of the last such answer, ns since the Unix epoch.
    pub last_success_ns: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The agent stops: everything is due.
    Closing,
    Closed,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Least distance of two snapshots that are sent, ns; 0 when each is.
    interval_ns: u64,
    /// Before this time, ns since the Unix epoch, no snapshot is due.
    due_ns: u64,
    waiting: VecDeque<Batch>,
    /// The newest snapshot that was not due: sent only if nothing comes after it.
    undue: Option<Batch>,
    last_words: VecDeque<LastWord>,
    /// Ended series of the newest snapshot, by the address of their attributes (kept, so that no other series can
    /// get it) and their start: a snapshot repeats them for a while, but they are sent once.
    ended: HashMap<(usize, u64), Arc<Attributes>>,
    phase: Phase,
    pub(super) stats: Stats,
}

impl Queue {
    /// Empty. `interval`: least time between two snapshots that are sent.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let interval_ns = interval.map_or(0, |interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        Self { interval_ns, ..Self::default() }
    }

    /// Takes a snapshot; where there is no room the oldest goes.
    pub(super) fn offer(&mut self, snapshot: Arc<Snapshot>) {
        let before = mem::take(&mut self.ended);
        let due = self.due(snapshot.time_ns);
        let batch = Batch::new(snapshot, |resource| {
            if !resource.ended {
                return true;
            }
            let key = (Arc::as_ptr(&resource.attributes).addr(), resource.start_ns);
            self.ended.insert(key, Arc::clone(&resource.attributes));
            !before.contains_key(&key)
        });
        if let Some(older) = self.undue.take() {
            self.carry(older.last_words(Cursor::default()));
        }
        if self.phase == Phase::Closed {
            self.drop_whole(&batch);
        } else if due {
            self.waiting.push_back(batch);
            self.bound();
        } else {
            self.undue = Some(batch);
        }
    }

    /// Whether a snapshot of that time is to be sent: the first one in each interval of the wall clock.
    fn due(&mut self, time_ns: u64) -> bool {
        // A clock that was set back must not silence the exporter until it has caught up.
        let set_back = self.due_ns.saturating_sub(time_ns) > self.interval_ns;
        if self.phase == Phase::Open && time_ns < self.due_ns && !set_back {
            return false;
        }
        if let Some(intervals) = time_ns.checked_div(self.interval_ns) {
            self.due_ns = intervals.saturating_add(1).saturating_mul(self.interval_ns);
        }
        true
    }

    /// The next to be sent: the oldest that waits, or with `newest` the newest, for which the others go.
    pub(super) fn take(&mut self, newest: bool) -> Option<Batch> {
        while newest && self.waiting.len() > 1 {
            self.supersede_oldest();
        }
        let batch = self.waiting.pop_front();
        // Last words wait for the next snapshot, unless there will be none.
        if batch.is_none() && (self.phase == Phase::Open || self.last_words.is_empty()) {
            return None;
        }
        Some(batch.unwrap_or_default().with(mem::take(&mut self.last_words).into()))
    }

    /// Whether something waits that is newer than what was taken.
    pub(super) fn has_newer(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives up the rest of a batch, from `at` on; what stands before `tried` was tried.
    pub(super) fn give_up(&mut self, batch: &Batch, at: Cursor, tried: Cursor) {
        let untried = batch.living_points(tried);
        self.stats.points.failed += batch.living_points(at) - untried;
        self.stats.points.dropped += untried;
        self.stats.requests.failed += u64::from(tried > at);
        self.carry(batch.last_words(at));
    }

    /// From now on everything is due, also what was not before.
    pub(super) fn hasten(&mut self) {
        self.phase = Phase::Closing;
        self.waiting.extend(self.undue.take());
    }

    /// Ends it: what is left, and what is still offered, is dropped. Returns how many points were left.
    pub(super) fn close(&mut self) -> u64 {
        self.hasten();
        self.phase = Phase::Closed;
        let before = self.stats.points.dropped;
        for batch in mem::take(&mut self.waiting) {
            self.drop_whole(&batch);
        }
        self.stats.points.dropped +=
            self.last_words.drain(..).map(|word| word.resource.points.len() as u64).sum::<u64>();
        self.stats.points.dropped - before
    }

    fn drop_whole(&mut self, batch: &Batch) {
        self.stats.requests.dropped += 1;
        self.stats.points.dropped += batch.points(Cursor::default());
    }

    /// Drops the oldest snapshot but for its last words.
    fn supersede_oldest(&mut self) {
        let Some(batch) = self.waiting.pop_front() else { return };
        self.stats.requests.dropped += 1;
        self.stats.points.dropped += batch.living_points(Cursor::default());
        self.carry(batch.last_words(Cursor::default()));
    }

    fn bound(&mut self) {
        let bytes = |batch: &Batch| batch.points(Cursor::default()) * POINT_BYTES + batch.len() as u64 * RESOURCE_BYTES;
        while self.waiting.len() > 1
            && (self.waiting.len() > SNAPSHOTS_MAX || self.waiting.iter().map(bytes).sum::<u64>() > BYTES_MAX)
        {
            self.supersede_oldest();
        }
    }

    fn carry(&mut self, words: Vec<LastWord>) {
        self.last_words.extend(words);
        let points = |word: &LastWord| word.resource.points.len() as u64;
        let mut all: u64 = self.last_words.iter().map(points).sum();
        while all > LAST_WORDS_MAX
            && let Some(word) = self.last_words.pop_front()
        {
            all -= points(&word);
            self.stats.points.dropped += points(&word);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
