//! A hub that is killed at any moment, on both databases: what it has acknowledged is there, once.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground is not as it needs it")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use serde_json::Value;
use support::process::{Maria, Server};
use support::{gauge, get_from, post_to, request, sum};

/// Senders, each with a pod of its own.
const SENDERS: usize = 4;
/// Points are of the last 25 minutes: raw rows are kept for 30.
const SECONDS: i64 = 1_500;

/// How often the hub is killed: `PODSCOPE_KILLS=100` for the figure in the documents.
fn kills() -> u32 {
    std::env::var("PODSCOPE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(15)
}

struct Load {
    ended: Arc<AtomicBool>,
    /// What was acknowledged to each sender: all seconds below.
    acknowledged: Vec<Arc<AtomicI64>>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    start: i64,
}

impl Load {
    async fn begin(address: SocketAddr) -> Self {
        let start = support::now() - SECONDS;
        let first = request(vec![gauge("process.uptime", start, 1.0, "load", "first")]);
        assert_eq!(post_to(address, &first).await.unwrap().0, 200);
        let ended = Arc::new(AtomicBool::new(false));
        let acknowledged: Vec<_> = (0..SENDERS).map(|_| Arc::new(AtomicI64::new(0))).collect();
        let sender = |(number, acknowledged): (usize, &Arc<AtomicI64>)| {
            tokio::spawn(send(address, start, format!("pod-{number}"), Arc::clone(acknowledged), Arc::clone(&ended)))
        };
        let senders = acknowledged.iter().enumerate().map(sender).collect();
        Self { ended, acknowledged, senders, start }
    }

    /// Ends it and compares what there is with what was acknowledged.
    async fn judge(self, address: SocketAddr) {
        self.ended.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.await.unwrap();
        }
        let (from, to) = (self.start, self.start + SECONDS);
        for (number, acknowledged) in self.acknowledged.iter().enumerate() {
            let seconds = acknowledged.load(Ordering::SeqCst);
            assert!(seconds > 10, "pod-{number}: hardly anything was sent");
            let of = format!("pod=pod-{number}&from={from}&to={to}");
            let cpu = get_from(address, &format!("/api/v1/top?metric=container.cpu.time&by=pod&{of}")).await;
            assert_eq!(cpu["top"][0]["value"], seconds as f64, "pod-{number}: the counter");
            let path = format!("/api/v1/series?metric=container.memory.working_set&step=1&{of}");
            let memory = get_from(address, &path).await;
            let values = memory["series"][0]["values"].as_array().unwrap().iter().filter(|v| !v.is_null());
            assert_eq!(values.count() as i64, seconds, "pod-{number}: points");
        }
    }
}

/// Sends second after second, each until it is acknowledged.
async fn send(address: SocketAddr, start: i64, pod: String, acknowledged: Arc<AtomicI64>, ended: Arc<AtomicBool>) {
    for second in 1..SECONDS {
        let time = start + second;
        let cpu = sum("container.cpu.time", start, time, second as f64, "load", &pod);
        let memory = gauge("container.memory.working_set", time, second as f64, "load", &pod);
        let body = request(vec![cpu, memory]);
        loop {
            if let Ok((200, answer)) = post_to(address, &body).await {
                assert_eq!(answer["partialSuccess"], Value::Null, "{answer}");
                break;
            }
            // A second that was being sent at the end may be there or not; so it is sent until it is.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged.store(second, Ordering::SeqCst);
        if ended.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no seconds are left: kill the hub fewer times");
}

async fn a_moment() {
    let moment = rand::rng().random_range(5..300);
    tokio::time::sleep(Duration::from_millis(moment)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.db");
    let mut server = Server::start(&format!("sqlite:{}", file.display()));
    let load = Load::begin(server.address).await;
    for _ in 0..kills() {
        a_moment().await;
        server.again();
    }
    a_moment().await;
    load.judge(server.address).await;
    drop(server);
    let check = std::process::Command::new("sqlite3").arg(&file).arg("PRAGMA integrity_check").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&check.stdout).trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_on_mariadb() {
    let mut maria = Maria::start();
    let mut server = Server::start(&maria.url());
    let load = Load::begin(server.address).await;
    for _ in 0..kills() {
        a_moment().await;
        server.again();
    }
    // The database itself: killed, away for a while, and back. The hub turns senders away and goes on.
    for _ in 0..3 {
        a_moment().await;
        maria.kill();
        a_moment().await;
        maria.again();
    }
    a_moment().await;
    load.judge(server.address).await;
}
