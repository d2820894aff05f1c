//! `/metrics` on its way to clients: written piece by piece as it is sent, or compressed once for all who come together.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::body::{Body, Frame};
use tokio::sync::Mutex;

use super::places::Answering;
use crate::export::prometheus::{Families, Format, Page};
use crate::snapshot::Snapshot;

/// How long a compressed page is kept after it was made: as long as its snapshot counts as fresh.
const KEPT: Duration = Duration::from_secs(1);
/// Bytes that are rendered at a time: they stay in the processor's cache on their way into the socket.
const PIECE: usize = 64 * 1024;

/// What clients are being sent.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// One slot for each format.
    zipped: [Mutex<Slot>; 2],
    /// The snapshot that the newest plain page shows.
    shown: std::sync::Mutex<Weak<Shown>>,
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Slot {
    /// What the page shows.
    snapshot: Weak<Snapshot>,
    page: Weak<Whole>,
}

/// Bytes that are held for clients, counted for as long as this lives.
#[derive(Debug)]
struct Hold {
    bytes: usize,
    /// Of all that is held.
    held: Arc<AtomicUsize>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A page in memory, for as long as anybody reads it.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    _hold: Hold,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A snapshot that pages are made of, for as long as anybody reads one.
#[derive(Debug)]
struct Shown {
    snapshot: Arc<Snapshot>,
    _hold: Hold,
}

/// The body of a plain page.
#[derive(Debug)]
pub(super) struct Pieces {
    page: Option<Page<Arc<Snapshot>>>,
    _shown: Arc<Shown>,
    _answering: Answering,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(page) = &mut this.page else { return Poll::Ready(None) };
        let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
        if !page.write(&mut piece, PIECE) {
            this.page = None;
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }
}

impl Pages {
    /// The page of a snapshot, to be rendered while it is sent.
    pub(super) async fn pieces(
        &self,
        snapshot: Arc<Snapshot>,
        format: Format,
        answering: Answering,
    ) -> anyhow::Result<Pieces> {
        let shown = self.show(&snapshot);
        let page = tokio::task::spawn_blocking(move || Page::new(snapshot, format, Families::WithPoints)).await?;
        Ok(Pieces { page: Some(page), _shown: shown, _answering: answering })
    }

    /// Counts a snapshot once, however many clients read it.
    fn show(&self, snapshot: &Arc<Snapshot>) -> Arc<Shown> {
        let mut last = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = last.upgrade().filter(|shown| Arc::ptr_eq(&shown.snapshot, snapshot)) {
            return shown;
        }
        let shown = Arc::new(Shown { snapshot: snapshot.clone(), _hold: self.count(snapshot.bytes()) });
        *last = Arc::downgrade(&shown);
        shown
    }

    /// The compressed page of a snapshot; callers that come together wait for one rendering.
    pub(super) async fn zipped(&self, snapshot: Arc<Snapshot>, format: Format) -> anyhow::Result<Arc<Whole>> {
        let mut slot = self.zipped[usize::from(format == Format::OpenMetrics)].lock().await;
        let shown = Arc::downgrade(&snapshot);
        if let Some(page) = slot.page.upgrade()
            && slot.snapshot.ptr_eq(&shown)
        {
            return Ok(page);
        }
        let page = self.hold(tokio::task::spawn_blocking(move || zip(&snapshot, format)).await??);
        *slot = Slot { snapshot: shown, page: Arc::downgrade(&page) };
        let kept = page.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            drop(kept);
        });
        Ok(page)
    }

    /// A page that is not shared.
    pub(super) fn hold(&self, bytes: Vec<u8>) -> Arc<Whole> {
        let hold = self.count(bytes.len());
        Arc::new(Whole { bytes, _hold: hold })
    }

    fn count(&self, bytes: usize) -> Hold {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Hold { bytes, held: self.held.clone() }
    }

    /// Bytes of all pages and snapshots that are being read or kept.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

fn zip(snapshot: &Snapshot, format: Format) -> std::io::Result<Vec<u8>> {
    let mut page = Page::new(snapshot, format, Families::WithPoints);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
    loop {
        let more = page.write(&mut piece, PIECE);
        encoder.write_all(&piece)?;
        piece.clear();
        if !more {
            return encoder.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::super::places::Places;
    use super::*;

    #[tokio::test]
    async fn scrapes_that_come_together_share_a_compressed_page() {
        let pages = Pages::default();
        let snapshot = Arc::new(Snapshot::default());
        let page = async |snapshot: &Arc<Snapshot>| pages.zipped(snapshot.clone(), Format::OpenMetrics).await.unwrap();
        let first = page(&snapshot).await;
        assert!(Arc::ptr_eq(&first, &page(&snapshot).await));
        let newer = Arc::new(Snapshot::default());
        assert!(!Arc::ptr_eq(&first, &page(&newer).await));
    }

    #[tokio::test]
    async fn a_page_is_freed_when_nobody_wants_it() {
        let pages = Pages::default();
        let page = pages.zipped(Arc::default(), Format::Text004).await.unwrap();
        let alone = pages.hold(vec![0; 1000]);
        assert_eq!(pages.held(), page.bytes.len() + 1000);
        drop((page, alone));
        assert!(pages.held() > 0, "it is kept for whoever comes next");
        tokio::time::sleep(KEPT * 2).await;
        assert_eq!(pages.held(), 0);
    }

    #[tokio::test]
    async fn a_snapshot_that_many_read_counts_once() {
        let (pages, places) = (Pages::default(), Arc::new(Places::new(4)));
        let place = places.take(Ipv4Addr::LOCALHOST.into(), Instant::now()).unwrap();
        let pieces = async |snapshot: &Arc<Snapshot>| {
            let answering = place.answer(Instant::now());
            pages.pieces(snapshot.clone(), Format::Text004, answering).await.unwrap()
        };
        let [old, new] = [(); 2].map(|()| Arc::new(Snapshot::default()));
        let (first, again) = (pieces(&old).await, pieces(&old).await);
        let one = pages.held();
        assert!(one > 0);
        let other = pieces(&new).await;
        assert_eq!(pages.held(), 2 * one);
        drop((first, again));
        assert_eq!(pages.held(), one);
        drop(other);
        assert_eq!(pages.held(), 0);
    }
}
