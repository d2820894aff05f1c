//! Rendered pages, shared by scrapes that come together.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use tokio::sync::Mutex;

use crate::export::prometheus::{Format, render};
use crate::snapshot::Snapshot;

/// How long a page is kept after it was made: as long as its snapshot counts as fresh. Not longer, because a page can
/// be larger than all the rest of the agent's memory.
const KEPT: Duration = Duration::from_secs(1);

/// One slot for each form of the page.
#[derive(Debug, Default)]
pub(super) struct Pages {
    text: [Mutex<Slot>; 2],
    openmetrics: [Mutex<Slot>; 2],
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Slot {
    /// What the page shows.
    snapshot: Weak<Snapshot>,
    page: Weak<Page>,
}

/// A page, for as long as anybody reads it.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// Bytes of all pages that exist.
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Pages {
    /// The page of a snapshot; callers that come together wait for one rendering.
    pub(super) async fn page(&self, snapshot: Arc<Snapshot>, format: Format, gzip: bool) -> anyhow::Result<Arc<Page>> {
        let slots = match format {
            Format::Text004 => &self.text,
            Format::OpenMetrics => &self.openmetrics,
        };
        let mut slot = slots[usize::from(gzip)].lock().await;
        let shown = Arc::downgrade(&snapshot);
        if let Some(page) = slot.page.upgrade()
            && slot.snapshot.ptr_eq(&shown)
        {
            return Ok(page);
        }
        let page = self.hold(tokio::task::spawn_blocking(move || make(&snapshot, format, gzip)).await??);
        *slot = Slot { snapshot: shown, page: Arc::downgrade(&page) };
        let kept = page.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            drop(kept);
        });
        Ok(page)
    }

    /// A page that is not shared.
    pub(super) fn hold(&self, bytes: Vec<u8>) -> Arc<Page> {
        self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        Arc::new(Page { bytes, held: self.held.clone() })
    }

    /// Bytes of all pages that are being read or kept.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

fn make(snapshot: &Snapshot, format: Format, gzip: bool) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    render(snapshot, format, &mut page);
    if !gzip {
        return Ok(page);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::new(1));
    encoder.write_all(&page)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scrapes_that_come_together_share_a_page() {
        let pages = Pages::default();
        let snapshot = Arc::new(Snapshot::default());
        let page = async |snapshot: &Arc<Snapshot>, gzip| {
            pages.page(snapshot.clone(), Format::OpenMetrics, gzip).await.unwrap()
        };
        let first = page(&snapshot, false).await;
        assert!(Arc::ptr_eq(&first, &page(&snapshot, false).await));
        assert_ne!(first.bytes, page(&snapshot, true).await.bytes);
        let newer = Arc::new(Snapshot::default());
        assert!(!Arc::ptr_eq(&first, &page(&newer, false).await));
    }

    #[tokio::test]
    async fn a_page_is_freed_when_nobody_wants_it() {
        let pages = Pages::default();
        let page = pages.page(Arc::default(), Format::Text004, true).await.unwrap();
        let alone = pages.hold(vec![0; 1000]);
        assert_eq!(pages.held(), page.bytes.len() + 1000);
        drop((page, alone));
        assert!(pages.held() > 0, "it is kept for whoever comes next");
        tokio::time::sleep(KEPT * 2).await;
        assert_eq!(pages.held(), 0);
    }
}
