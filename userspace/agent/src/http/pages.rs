//! Rendered pages, shared by scrapes that come together.

use std::io::Write as _;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
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
}

#[derive(Debug, Default)]
struct Slot {
    /// What the page shows.
    snapshot: Weak<Snapshot>,
    page: Weak<Vec<u8>>,
}

/// A page on its way to a client.
struct Body(Arc<Vec<u8>>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Pages {
    /// The page of a snapshot; callers that come together wait for one rendering.
    pub(super) async fn page(&self, snapshot: Arc<Snapshot>, format: Format, gzip: bool) -> anyhow::Result<Bytes> {
        let slots = match format {
            Format::Text004 => &self.text,
            Format::OpenMetrics => &self.openmetrics,
        };
        let mut slot = slots[usize::from(gzip)].lock().await;
        let shown = Arc::downgrade(&snapshot);
        if let Some(page) = slot.page.upgrade()
            && slot.snapshot.ptr_eq(&shown)
        {
            return Ok(Bytes::from_owner(Body(page)));
        }
        let page = tokio::task::spawn_blocking(move || make(&snapshot, format, gzip)).await??;
        let page = Arc::new(page);
        *slot = Slot { snapshot: shown, page: Arc::downgrade(&page) };
        let kept = page.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            drop(kept);
        });
        Ok(Bytes::from_owner(Body(page)))
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
        assert_eq!(first.as_ptr(), page(&snapshot, false).await.as_ptr());
        assert_ne!(first, page(&snapshot, true).await);
        let newer = Arc::new(Snapshot::default());
        assert_ne!(first.as_ptr(), page(&newer, false).await.as_ptr());
    }

    #[tokio::test]
    async fn a_page_is_freed_when_nobody_wants_it() {
        let pages = Pages::default();
        let page = pages.page(Arc::default(), Format::Text004, false).await.unwrap();
        let held = pages.text[0].lock().await.page.clone();
        drop(page);
        assert_eq!(held.strong_count(), 1);
        tokio::time::sleep(KEPT * 2).await;
        assert_eq!(held.strong_count(), 0);
    }
}
