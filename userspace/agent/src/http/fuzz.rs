//! Entries for fuzzing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use super::places::Places;
use super::routes::Site;
use super::{LIMITS, Source, requests};
use crate::export::prometheus::{accepts, accepts_gzip};
use crate::snapshot::Snapshot;

/// Room for any answer.
const PIPE: usize = 1 << 20;

struct Fixed(Arc<Snapshot>);

impl Source for Fixed {
    async fn fresh(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.0))
    }

    fn ready(&self) -> bool {
        true
    }

    fn status_json(&self) -> Vec<u8> {
        b"{}".to_vec()
    }

    fn top_json(&self, processes: usize) -> Vec<u8> {
        format!("[{processes}]").into_bytes()
    }
}

/// Any bytes are what a client sends before it says no more; every answer is HTTP, and the connection comes to an end.
pub fn http_request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    accepts(Some(&text));
    accepts_gzip(Some(&text));
    thread_local! {
        static RUNTIME: Option<Runtime> = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    }
    let answer = RUNTIME.with(|runtime| runtime.as_ref().map(|runtime| runtime.block_on(ask(data))));
    let answer = answer.unwrap_or_default();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
}

async fn ask(data: &[u8]) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(PIPE);
    let places = Arc::new(Places::new(LIMITS.connections));
    let Some(place) = places.take(Ipv4Addr::LOCALHOST.into(), Instant::now()) else { return Vec::new() };
    let source = Arc::new(Fixed(Arc::default()));
    let site = Arc::new(Site::new(source, Arc::default(), Arc::clone(&places), LIMITS.held_bytes));
    let talk = async {
        // The server may have hung up before it has read all.
        let _cut = client.write_all(data).await;
        let _cut = client.shutdown().await;
        let mut answer = Vec::new();
        let _cut = client.read_to_end(&mut answer).await;
        answer
    };
    let (_refused, answer) = tokio::join!(requests(server, site, &place, LIMITS), talk);
    answer
}
