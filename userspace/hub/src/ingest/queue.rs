//! Batches on their way into the database: those that wait together are written together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Batch;
use crate::store::{Outcome, Writer};

/// Points that are written in one transaction.
const TOGETHER: usize = 100_000;
/// Requests that are taken apart and written at once: they take several times the memory of one that waits.
const AT_ONCE: usize = 16;
/// A request that finds no room for so long is turned away.
const ROOM: Duration = Duration::from_secs(5);
/// A database that takes longer than this to write is a fault; its sender tries again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has become of points since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows, or parts of rows.
    pub kept: AtomicU64,
    /// Came a second time.
    pub duplicate: AtomicU64,
    /// Older than what is known of their series.
    pub late: AtomicU64,
    /// Of an unknown form, or no number.
    pub malformed: AtomicU64,
    /// Further in the past or the future than is kept.
    pub out_of_time: AtomicU64,
    /// Of series beyond the limit.
    pub over_limit: AtomicU64,
    /// Requests that were told to come again.
    pub turned_away: AtomicU64,
    /// Series in mind.
    pub series: AtomicUsize,
    /// Transactions that failed.
    pub failed: AtomicU64,
}

/// An answer to a request that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Points that were refused for good.
    pub rejected: u64,
    /// Why; empty where none was.
    pub reason: String,
}

/// A request that was not taken.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// More is waiting than may wait.
    #[error("the hub is writing as fast as it can; come again")]
    Busy,
    /// It is no request; sending it again would not help.
    #[error("no ExportMetricsServiceRequest: {0}")]
    Malformed(String),
    /// The database did not take it.
    #[error("the database does not take points: {0}")]
    Database(String),
}

struct Job {
    batch: Batch,
    answer: oneshot::Sender<Result<Outcome, String>>,
    held: [OwnedSemaphorePermit; 2],
}

/// The way to the database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    jobs: mpsc::UnboundedSender<Job>,
    /// In KiB of requests.
    room: Arc<Semaphore>,
    most: u32,
    hands: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Queue {
    /// Starts the writer; requests of at most `most` MiB wait.
    pub fn start(writer: Writer, most: u32) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        tokio::spawn(work(writer, inbox, Arc::clone(&counters)));
        let most = most.saturating_mul(1_024);
        let (room, hands) = (Semaphore::new(most as usize), Semaphore::new(AT_ONCE));
        Self { jobs, room: Arc::new(room), most, hands: Arc::new(hands), counters }
    }

    /// What has become of points.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes a request of so many bytes apart and writes what it has; returns when it is durable.
    ///
    /// # Errors
    /// When it is no request; or when too much is waiting or the database fails, and then the sender keeps its points
    /// and tries again.
    pub async fn write(
        &self,
        bytes: usize,
        batch: impl FnOnce() -> Result<Batch, String>,
    ) -> Result<Accepted, Refused> {
        // A request of more than may wait waits alone.
        let weight = u32::try_from(bytes / 1_024 + 1).unwrap_or(u32::MAX).min(self.most);
        let room = tokio::time::timeout(ROOM, Arc::clone(&self.room).acquire_many_owned(weight)).await;
        let Ok(Ok(room)) = room else {
            return Err(self.turn_away(Refused::Busy));
        };
        let Ok(hand) = Arc::clone(&self.hands).acquire_owned().await else {
            return Err(self.turn_away(Refused::Busy));
        };
        let batch = batch().map_err(Refused::Malformed)?;
        let (rejected, reason) = (batch.rejected, batch.reason);
        self.counters.malformed.fetch_add(rejected, Ordering::Relaxed);
        if batch.samples.is_empty() {
            return Ok(Accepted { rejected, reason: reason.unwrap_or_default().to_owned() });
        }
        let (answer, outcome) = oneshot::channel();
        let gone = || self.turn_away(Refused::Database("the writer has ended".to_owned()));
        self.jobs.send(Job { batch, answer, held: [room, hand] }).map_err(|_| gone())?;
        let outcome = outcome.await.map_err(|_| gone())?;
        let outcome = outcome.map_err(|error| self.turn_away(Refused::Database(error)))?;
        let why = match (reason, outcome.out_of_time, outcome.over_limit) {
            (Some(reason), ..) => reason,
            (None, 1.., _) => "points from further in the past or the future than is kept",
            (None, 0, 1..) => "more series than --max-series allows",
            _ => "",
        };
        Ok(Accepted { rejected: rejected + outcome.out_of_time + outcome.over_limit, reason: why.to_owned() })
    }

    fn turn_away(&self, refused: Refused) -> Refused {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        refused
    }
}

async fn work(mut writer: Writer, mut inbox: mpsc::UnboundedReceiver<Job>, counters: Arc<Counters>) {
    while let Some(first) = inbox.recv().await {
        let mut points = first.batch.samples.len();
        let mut jobs = vec![first];
        while points < TOGETHER
            && let Ok(job) = inbox.try_recv()
        {
            points += job.batch.samples.len();
            jobs.push(job);
        }
        let (batches, answers): (Vec<Batch>, Vec<_>) =
            jobs.into_iter().map(|job| (job.batch, (job.answer, job.held))).unzip();
        let written = tokio::time::timeout(PATIENCE, writer.write(&batches, now_ms())).await;
        let written = match written {
            Ok(written) => written.map_err(|error| chain(&error)),
            Err(_) => {
                writer.forget();
                Err(format!("it has not answered for {} s", PATIENCE.as_secs()))
            }
        };
        counters.series.store(writer.series(), Ordering::Relaxed);
        match written {
            Ok(outcomes) => {
                for ((answer, _), outcome) in answers.into_iter().zip(outcomes) {
                    counters.count(&outcome);
                    // Whoever asked may have gone; the points stay.
                    let _gone = answer.send(Ok(outcome));
                }
            }
            Err(error) => {
                if counters.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!("cannot write points: {error}");
                }
                for (answer, _) in answers {
                    let _gone = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

impl Counters {
    fn count(&self, outcome: &Outcome) {
        for (counter, value) in [
            (&self.kept, outcome.kept),
            (&self.duplicate, outcome.duplicate),
            (&self.late, outcome.late),
            (&self.out_of_time, outcome.out_of_time),
            (&self.over_limit, outcome.over_limit),
        ] {
            counter.fetch_add(value, Ordering::Relaxed);
        }
    }
}

/// An error with its causes, in a line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
