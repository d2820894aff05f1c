//! Sends snapshots in the background: one task, one request at a time, retries with backoff.
//!
//! Source: OpenTelemetry protocol specification, "Failures", "Retryable response codes" and "Throttling".

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::Verdict;
use super::batch::{Batch, Cursor};
use super::client::Client;
use super::config::{Config, Target};
use super::queue::{Queue, Stats};
use super::request::{Prepared, prepare};
use crate::snapshot::Snapshot;
use crate::status::{Board, Kind, State};

/// Name on the board; a value of the catalogue's attribute `podscope.source`.
const NAME: &str = "otlp";
/// How long a request is tried when nothing newer comes.
const RETRY_FOR: Duration = Duration::from_secs(120);
/// The first ceiling of the backoff; it doubles with each failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The last one.
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// The longest pause a receiver can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Pause between attempts once the agent stops.
const HURRIED_PAUSE: Duration = Duration::from_millis(200);

/// Starts the exporter.
#[derive(Debug)]
pub struct Exporter;

impl Exporter {
    /// Starts the sending task, or says on `board` why there is none. To be called inside a tokio runtime.
    ///
    /// The state of the source `otlp` on the board is up after a success, absent with endpoint and reason after a
    /// failure. The task ends when the handle is dropped; what was not sent by then is dropped.
    pub fn spawn(config: &Config, board: Board) -> Handle {
        let target = match &config.target {
            Ok(target) => Arc::new(target.clone()),
            Err(reason) => {
                board.set(Kind::Source, NAME, State::Off { reason: (*reason).to_owned() });
                return Handle { running: None };
            }
        };
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::new(config.interval)), news: Notify::new() });
        let (closing, deadline) = watch::channel(None);
        let (finished, done) = watch::channel(None);
        let worker = Worker {
            shared: Arc::clone(&shared),
            client: Client::new(Arc::clone(&target)),
            target,
            board,
            deadline,
            backoff: Backoff::default(),
            complaint: String::new(),
        };
        tokio::spawn(worker.run(finished));
        Handle { running: Some(Running { shared, closing, done }) }
    }
}

/// What the collecting side holds of the exporter.
#[derive(Debug)]
pub struct Handle {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    /// When to stop.
    closing: watch::Sender<Option<Instant>>,
    /// Once the task has ended: whether nothing was left.
    done: watch::Receiver<Option<bool>>,
}

impl Handle {
    /// Hands over a snapshot. Never waits for the network: where there is no room, the oldest snapshot is dropped.
    pub fn offer(&self, snapshot: Arc<Snapshot>) {
        if let Some(running) = &self.running {
            running.shared.queue().offer(snapshot);
            running.shared.news.notify_one();
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.running.as_ref().map(|running| running.shared.queue().stats).unwrap_or_default()
    }

    /// Sends what waits, the newest snapshot first, and stops, at the latest after `within`.
    ///
    /// Returns whether the receiver has answered to all of it; what was left counts as failed or dropped, as does
    /// what is offered afterwards.
    pub async fn flush(&self, within: Duration) -> bool {
        let Some(running) = &self.running else { return true };
        running.shared.queue().hasten();
        running.closing.send_replace(Some(Instant::now() + within));
        let mut done = running.done.clone();
        // The task keeps the deadline itself; this one is for a runtime too busy to run it.
        let answered = timeout(within + HURRIED_PAUSE, done.wait_for(Option::is_some)).await;
        answered.ok().and_then(Result::ok).is_some_and(|answered| *answered == Some(true))
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// A snapshot was offered.
    news: Notify,
}

impl Shared {
    /// Held only for bookkeeping, never while encoding or sending.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending task.
struct Worker {
    shared: Arc<Shared>,
    target: Arc<Target>,
    client: Client,
    board: Board,
    deadline: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    /// What the receiver last said about points that it refused; logged when it changes.
    complaint: String,
}

impl Worker {
    async fn run(mut self, done: watch::Sender<Option<bool>>) {
        while !self.time_is_up() {
            let newest = self.backoff.is_failing() || self.closing().is_some();
            let batch = self.shared.queue().take(newest);
            match batch {
                Some(batch) => self.deliver(Arc::new(batch)).await,
                None if self.closing().is_some() => break,
                None => {
                    let mut deadline = self.deadline.clone();
                    tokio::select! {
                        () = self.shared.news.notified() => {}
                        _ = deadline.wait_for(Option::is_some) => {}
                    }
                }
            }
        }
        let left = self.shared.queue().close();
        done.send_replace(Some(left == 0 && !self.backoff.is_failing()));
    }

    /// Sends a batch in as many requests as it needs, or gives it up.
    async fn deliver(&mut self, batch: Arc<Batch>) {
        let mut at = Cursor::default();
        while at.resource < batch.len() {
            let request = match self.prepare(&batch, at).await {
                Ok(request) => request,
                Err(error) => {
                    tracing::error!("an OTLP request cannot be made: {error}");
                    return self.shared.queue().give_up(&batch, at, at);
                }
            };
            let verdict = if request.points > 0 { self.insist(&request).await } else { None };
            let expected = batch.points(at) - batch.points(request.next);
            match verdict {
                Some(Verdict::Later { .. }) => return self.shared.queue().give_up(&batch, at, request.next),
                Some(verdict) => self.count(&request, &verdict),
                None => {}
            }
            self.shared.queue().stats.points.dropped += expected.saturating_sub(request.points);
            at = request.next;
        }
    }

    /// Encodes and compresses off the runtime's threads: a full request takes milliseconds.
    async fn prepare(&self, batch: &Arc<Batch>, at: Cursor) -> io::Result<Prepared> {
        let (batch, target) = (Arc::clone(batch), Arc::clone(&self.target));
        let prepared = spawn_blocking(move || prepare(&batch, at, target.protocol, target.gzip));
        prepared.await.map_err(io::Error::other)?
    }

    /// Tries until there is a final verdict; [`Verdict::Later`] when it was given up.
    async fn insist(&mut self, request: &Prepared) -> Option<Verdict> {
        let give_up = Instant::now() + RETRY_FOR;
        loop {
            let verdict = self.attempt(request).await;
            self.show(&verdict);
            let Verdict::Later { after, .. } = verdict else {
                self.backoff = Backoff::default();
                return Some(verdict);
            };
            let pause = self.backoff.next(after, rand::random());
            self.pause(pause).await;
            if self.shared.queue().has_newer() || Instant::now() > give_up || self.time_is_up() {
                return Some(verdict);
            }
        }
    }

    async fn attempt(&mut self, request: &Prepared) -> Verdict {
        let later = |reason| Verdict::Later { reason, after: None };
        let limit = self.target.timeout;
        let end = end(self.deadline.clone());
        tokio::select! {
            verdict = timeout(limit, self.client.send(&request.bytes)) => {
                verdict.unwrap_or_else(|_| later(format!("no answer within {} ms", limit.as_millis())))
            }
            () = end => later("no answer before the agent had to stop".to_owned()),
        }
    }

    /// Waits, shorter once the agent stops.
    async fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut deadline = self.deadline.clone();
        let hurried = async {
            drop(deadline.wait_for(Option::is_some).await);
            tokio::time::sleep(HURRIED_PAUSE).await;
        };
        tokio::select! {
            () = sleep_until(until) => {}
            () = hurried => {}
        }
    }

    fn show(&self, verdict: &Verdict) {
        let state = match verdict {
            Verdict::Accepted { .. } => State::Up,
            Verdict::Refused { reason } | Verdict::Later { reason, .. } => {
                State::Absent { reason: format!("{}: {reason}", self.target) }
            }
        };
        self.board.set(Kind::Source, NAME, state);
    }

    fn count(&mut self, request: &Prepared, verdict: &Verdict) {
        let Verdict::Accepted { rejected, message } = verdict else {
            let stats = &mut self.shared.queue().stats;
            stats.requests.rejected += 1;
            stats.points.rejected += request.points;
            return;
        };
        if *message != self.complaint {
            self.complaint.clone_from(message);
            tracing::warn!("{} refused {rejected} of {} points: {message}", self.target, request.points);
        }
        let stats = &mut self.shared.queue().stats;
        let rejected = (*rejected).min(request.points);
        if rejected > 0 {
            stats.requests.rejected += 1;
        } else {
            stats.requests.sent += 1;
        }
        stats.points.rejected += rejected;
        stats.points.sent += request.points - rejected;
        stats.bytes += request.bytes.len() as u64;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        stats.last_success_ns = u64::try_from(now.as_nanos()).ok();
    }

    /// When to stop, once that is asked for; at once when nobody holds the handle any more.
    fn closing(&self) -> Option<Instant> {
        match self.deadline.has_changed() {
            Ok(_) => *self.deadline.borrow(),
            Err(_) => Some(Instant::now()),
        }
    }

    fn time_is_up(&self) -> bool {
        self.closing().is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Ends when the agent has to stop.
async fn end(mut deadline: watch::Receiver<Option<Instant>>) {
    let at = deadline.wait_for(Option::is_some).await.ok().and_then(|at| *at);
    sleep_until(at.unwrap_or_else(Instant::now)).await;
}

/// Exponential backoff with full jitter, so that the agents of a cluster do not return all at once.
#[derive(Debug)]
struct Backoff {
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: BACKOFF_FIRST }
    }
}

impl Backoff {
    /// Whether the last attempt failed.
    fn is_failing(&self) -> bool {
        self.ceiling > BACKOFF_FIRST
    }

    /// The next pause. `after`: what the receiver asks for, kept to and stretched a little. `chance`: in `[0, 1)`.
    fn next(&mut self, after: Option<Duration>, chance: f64) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(BACKOFF_LAST);
        match after {
            None => ceiling.mul_f64(chance),
            Some(after) => after.min(PAUSE_MAX) + BACKOFF_FIRST.mul_f64(chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last_ceiling_and_are_jittered_in_full() {
        let mut backoff = Backoff::default();
        assert!(!backoff.is_failing());
        let ceilings: Vec<u64> = (0..8).map(|_| backoff.next(None, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(backoff.is_failing());
        assert_eq!(backoff.next(None, 0.0), Duration::ZERO);
    }

    #[test]
    fn what_the_receiver_asks_for_is_kept_to_within_reason() {
        let mut backoff = Backoff::default();
        let pause = backoff.next(Some(Duration::from_secs(7)), 0.5);
        assert_eq!(pause, Duration::from_millis(7500));
        assert_eq!(backoff.next(Some(Duration::from_secs(1 << 40)), 0.0), PAUSE_MAX);
    }
}
