//! The hand-over of snapshots from the collection loop to whoever reads them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::snapshot::Snapshot;

/// Up to this age a snapshot answers a scrape without a new collection.
const FRESH: Duration = Duration::from_secs(1);
/// How long a scrape waits for a new collection before it gets the last one.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last snapshot, and the wish for a newer one; readers that wish at the same time share one collection.
#[derive(Debug, Default)]
pub struct Latest {
    last: watch::Sender<Option<(Instant, Arc<Snapshot>)>>,
    wish: Notify,
}

impl Latest {
    /// Hands over a snapshot that was just made.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.last.send_replace(Some((Instant::now(), snapshot)));
    }

    /// The last snapshot, of whatever age.
    pub fn last(&self) -> Option<Arc<Snapshot>> {
        self.last.borrow().as_ref().map(|(_, snapshot)| snapshot.clone())
    }

    /// The last snapshot if it is at most 1 s old, else the next one if it comes within 3 s, else the last one.
    pub async fn fresh(&self) -> Option<Arc<Snapshot>> {
        // Subscribed before the wish is told, so that the answer to it cannot be missed.
        let mut next = self.last.subscribe();
        if self.is_stale() {
            self.wish.notify_one();
            // No new one in time is no reason to withhold the old one.
            let _ = timeout(PATIENCE, next.changed()).await;
        }
        self.last()
    }

    /// For the collection loop: returns when a reader wants a snapshot newer than the last.
    pub async fn wanted(&self) {
        loop {
            self.wish.notified().await;
            // A wish that was told while the last one was made has been fulfilled by it.
            if self.is_stale() {
                return;
            }
        }
    }

    fn is_stale(&self) -> bool {
        self.last.borrow().as_ref().is_none_or(|(made, _)| made.elapsed() > FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::time::sleep;

    /// A loop that collects only when it is asked; a collection takes 50 ms.
    fn collector(latest: Arc<Latest>) -> Arc<AtomicU64> {
        let made = Arc::new(AtomicU64::new(0));
        let count = made.clone();
        tokio::spawn(async move {
            loop {
                latest.wanted().await;
                sleep(Duration::from_millis(50)).await;
                let time_ns = count.fetch_add(1, Ordering::Relaxed) + 1;
                latest.publish(Arc::new(Snapshot { time_ns, ..Snapshot::default() }));
            }
        });
        made
    }

    #[tokio::test]
    async fn readers_share_one_collection() {
        let latest = Arc::new(Latest::default());
        let made = collector(latest.clone());
        for round in 1..3 {
            let readers: Vec<_> = (0..100)
                .map(|_| {
                    let latest = latest.clone();
                    tokio::spawn(async move { latest.fresh().await.unwrap().time_ns })
                })
                .collect();
            for reader in readers {
                assert_eq!(reader.await.unwrap(), round);
            }
            sleep(FRESH / 2).await;
            assert_eq!(latest.fresh().await.unwrap().time_ns, round, "half a second old is fresh");
            sleep(FRESH).await;
            assert_eq!(made.load(Ordering::Relaxed), round, "nobody asked for more");
        }
    }

    #[tokio::test]
    async fn a_loop_that_hangs_leaves_the_last_snapshot() {
        let latest = Latest::default();
        latest.publish(Arc::new(Snapshot { time_ns: 7, ..Snapshot::default() }));
        sleep(FRESH * 2).await;
        let asked = Instant::now();
        assert_eq!(latest.fresh().await.unwrap().time_ns, 7);
        assert!(asked.elapsed() >= PATIENCE);
    }
}
