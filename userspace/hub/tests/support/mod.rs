//! A hub in this process, and what is sent to it.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends where its ground is not as it needs it")]

pub(crate) mod process;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use podscope_hub::config::{Command, Config};
use podscope_hub::store::{Roller, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Hub {
    pub(crate) now: i64,
    folder: TempDir,
    store: Option<Store>,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let now = now();
        let folder = tempfile::tempdir().unwrap();
        let mut hub = Self { now, folder, store: None, address: ([127, 0, 0, 1], 0).into(), end: None, task: None };
        hub.open().await;
        hub
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("hub.db").display())
    }

    async fn open(&mut self) {
        let url = self.url();
        let config = Config::parse_from(["podscope-hub", "serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        let Command::Serve(serve) = config.command else { panic!("another command") };
        let hub = podscope_hub::serve::Hub::open(&serve).await.unwrap();
        self.address = hub.address().unwrap();
        self.store = Some(hub.store());
        let (end, ended) = oneshot::channel();
        self.end = Some(end);
        self.task = Some(tokio::spawn(hub.run(async { ended.await.unwrap_or_default() })));
    }

    pub(crate) async fn restart(&mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.task.take().unwrap().await.unwrap().unwrap();
        self.open().await;
    }

    /// Makes levels as if it were `now`.
    pub(crate) async fn roll(&self, now: i64) {
        let store = Store::open(&self.url(), Default::default()).await.unwrap();
        Roller::new(store).roll(now).await.unwrap();
    }

    /// Drops what has expired by `now`, in the hub's own store.
    pub(crate) async fn expire(&self, now: i64) {
        self.store.as_ref().unwrap().expire(now).await.unwrap();
        self.store.as_ref().unwrap().forget(now).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        get_from(self.address, path).await
    }

    pub(crate) async fn post(&self, path: &str, form: &str, body: &str) -> (u16, String) {
        ask(self.address, &format!("POST {path}"), form, body).await.unwrap()
    }

    pub(crate) async fn send(&self, request: &Value) -> (u16, Value) {
        let (status, body) = self.post("/v1/metrics", "application/json", &request.to_string()).await;
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        if answer["partialSuccess"].is_null() {
            answer.as_object_mut().unwrap().remove("partialSuccess");
        }
        (status, answer)
    }
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

async fn ask(to: SocketAddr, what: &str, form: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to).await?;
    let length = body.len();
    let head = format!("{what} HTTP/1.0\r\nHost: hub\r\nContent-Type: {form}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// What is answered to a GET.
pub(crate) async fn get_from(address: SocketAddr, path: &str) -> Value {
    let (_, body) = ask(address, &format!("GET {path}"), "text/plain", "").await.unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// What is answered to points.
pub(crate) async fn post_to(address: SocketAddr, request: &Value) -> std::io::Result<(u16, Value)> {
    let (status, body) = ask(address, "POST /v1/metrics", "application/json", &request.to_string()).await?;
    Ok((status, serde_json::from_str(&body)?))
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn ns(seconds: i64) -> String {
    format!("{seconds}000000000")
}

fn resource(namespace: &str, pod: &str, metric: Value) -> Value {
    let attributes = [
        ("k8s.node.name", "node-1"),
        ("k8s.namespace.name", namespace),
        ("k8s.pod.name", pod),
        ("k8s.pod.uid", "0001"),
        ("k8s.container.name", "main"),
        ("container.id", "c1"),
    ];
    let attributes: Vec<Value> = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    json!({ "resource": { "attributes": attributes }, "scopeMetrics": [{ "metrics": [metric] }] })
}

/// A cumulative sum with one point.
pub(crate) fn sum(name: &str, start: i64, time: i64, value: f64, namespace: &str, pod: &str) -> Value {
    let point = json!({ "startTimeUnixNano": ns(start), "timeUnixNano": ns(time), "asDouble": value });
    let data = json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point] });
    resource(namespace, pod, json!({ "name": name, "unit": "s", "sum": data }))
}

/// A gauge with one point.
pub(crate) fn gauge(name: &str, time: i64, value: f64, namespace: &str, pod: &str) -> Value {
    let value = if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    let point = json!({ "timeUnixNano": ns(time), "asDouble": value });
    resource(namespace, pod, json!({ "name": name, "unit": "By", "gauge": { "dataPoints": [point] } }))
}

pub(crate) fn request(resources: Vec<Value>) -> Value {
    json!({ "resourceMetrics": resources })
}
