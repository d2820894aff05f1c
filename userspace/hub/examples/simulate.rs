//! Synthetic agents in front of a hub: how many points a second it keeps, and what that costs.
//!
//! Shapes are the catalogue's own: per pod a container, executables and processes with every row that they have. All
//! agents send at the same instants, as real ones do. `--interval 0s` sends as fast as the hub answers.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use podscope_catalog::{Entity, Instrument, METRICS};
use prost::Message as _;
use rand::Rng as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Drives a hub with synthetic agents and prints what it kept and what that cost.
#[derive(Parser)]
struct Args {
    /// Agents.
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// Pods of each, with a container of two executables and three processes.
    #[arg(long, default_value_t = 30)]
    pods: usize,
    /// Of a hundred pods, so many are replaced at each instant.
    #[arg(long, default_value_t = 0.1)]
    churn: f64,
    /// Between an agent's requests; 0s: as fast as it is answered.
    #[arg(long, default_value = "10s")]
    interval: humantime::Duration,
    /// For how long.
    #[arg(long = "for", default_value = "60s")]
    length: humantime::Duration,
    /// Instead of now: every hour of the time from so long ago; then what a month of accounting takes is measured.
    #[arg(long)]
    history: Option<humantime::Duration>,
    /// A hub that runs; without, one is started on a database in a temporary folder.
    #[arg(long, value_name = "ADDRESS")]
    hub: Option<SocketAddr>,
    /// The path that points are sent to: other receivers have another.
    #[arg(long, default_value = "/v1/metrics")]
    path: String,
    /// The program of the hub that is started.
    #[arg(long, default_value = "target/release/podscope-hub")]
    program: String,
    /// Flags for it.
    #[arg(last = true)]
    flags: Vec<String>,
}

#[derive(Default)]
struct Seen {
    points: AtomicU64,
    turned_away: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
}

struct Pod {
    name: String,
    uid: String,
    since: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    let folder = std::env::temp_dir().join(format!("podscope-simulate-{}", std::process::id()));
    let started = match args.hub {
        Some(_) => None,
        None => Some(start(&args, &folder).await?),
    };
    let address = args.hub.or(started.as_ref().map(|started| started.1)).context("no hub")?;
    let seen = Arc::new(Seen::default());
    let begin = Instant::now();
    let before = started.as_ref().map(|(child, _)| cost(child.id()));
    let agents: Vec<_> = (0..args.agents)
        .map(|number| tokio::spawn(agent(number, address, Arc::clone(&args), Arc::clone(&seen), begin)))
        .collect();
    let mut most = 0;
    while agents.iter().any(|agent| !agent.is_finished()) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Some((child, _)) = &started {
            most = most.max(cost(child.id()).1);
        }
    }
    for agent in agents {
        agent.await.context("an agent has ended")?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    report(&seen, seconds)?;
    if args.history.is_some() {
        account(address).await?;
    }
    if let (Some((mut child, _)), Some(before)) = (started, before) {
        let after = cost(child.id());
        let points = seen.points.load(Ordering::Relaxed) as f64;
        let mut out = std::io::stdout();
        writeln!(
            out,
            "hub: {:.2} cores, {:.0} MB resident at most",
            (after.0 - before.0) / seconds,
            most as f64 / 1e6
        )?;
        child.kill().ok();
        child.wait().ok();
        let bytes = std::fs::metadata(folder.join("hub.db")).map_or(0, |meta| meta.len());
        writeln!(
            out,
            "database: {:.1} MB, {:.1} bytes a point with all dimensions",
            bytes as f64 / 1e6,
            bytes as f64 / points
        )?;
        std::fs::remove_dir_all(&folder).ok();
    }
    Ok(())
}

async fn start(args: &Args, folder: &std::path::Path) -> Result<(Child, SocketAddr)> {
    std::fs::create_dir_all(folder).context("cannot make a temporary folder")?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(&args.program);
    command.args(["serve", "--open", "--listen", &address.to_string()]);
    command.args(["--database-url", &format!("sqlite:{}", folder.join("hub.db").display())]).args(&args.flags);
    let child = command.stdin(Stdio::null()).spawn();
    let child = child
        .with_context(|| format!("cannot start {}: cargo build --release -p podscope-hub makes it", args.program))?;
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok((child, address));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the hub does not listen")
}

/// CPU seconds and resident bytes of a process.
fn cost(pid: u32) -> (f64, u64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let resident = read("statm").split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default();
    ((ticks(11) + ticks(12)) / 100.0, resident * 4096)
}

fn report(seen: &Seen, seconds: f64) -> Result<()> {
    let points = seen.points.load(Ordering::Relaxed);
    let mut latencies = std::mem::take(&mut *seen.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
    let mut out = std::io::stdout();
    writeln!(out, "{points} points in {seconds:.1} s: {:.0} a second", points as f64 / seconds)?;
    writeln!(out, "requests: {} answered, median {:.0?}, 99 of 100 within {:.0?}", latencies.len(), at(0.5), at(0.99))?;
    let [away, failed, late] = [&seen.turned_away, &seen.failed, &seen.late].map(|count| count.load(Ordering::Relaxed));
    writeln!(out, "turned away {away}, failed {failed}, instants missed {late}").context("cannot write")
}

/// How long the accounting of 30 days takes.
async fn account(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout();
    for by in ["namespace", "namespace,pod"] {
        let mut taken = Vec::new();
        let mut length = 0;
        for _ in 0..5 {
            let asked = Instant::now();
            let mut stream = TcpStream::connect(address).await?;
            let ask = format!("GET /api/v1/accounting?from=-30d&by={by} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            stream.write_all(ask.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            if !answer.starts_with(b"HTTP/1.0 200") {
                bail!("{}", String::from_utf8_lossy(&answer));
            }
            length = answer.len();
            taken.push(asked.elapsed());
        }
        taken.sort_unstable();
        writeln!(out, "accounting of 30 days by {by}: median {:.0?} ({length} bytes)", taken[2])?;
    }
    Ok(())
}

async fn agent(number: usize, address: SocketAddr, args: Arc<Args>, seen: Arc<Seen>, begin: Instant) {
    let mut pods: Vec<Pod> = (0..args.pods).map(|pod| fresh(number, pod)).collect();
    let mut made = args.pods;
    let mut connection = None;
    let mut instant = 0u32;
    while args.history.is_some() || begin.elapsed() < *args.length {
        if args.history.is_none() && !args.interval.is_zero() {
            let due = begin + *args.interval * instant;
            if Instant::now() > due + *args.interval {
                seen.late.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep_until(due.into()).await;
        }
        instant += 1;
        for pod in &mut pods {
            if rand::rng().random_bool(args.churn / 100.0) {
                *pod = fresh(number, made);
                made += 1;
            }
        }
        let time = match args.history {
            None => now_ns(),
            Some(back) => now_ns() - back.as_nanos() as u64 + u64::from(instant) * 3_600_000_000_000,
        };
        if args.history.is_some() {
            if time > now_ns() {
                return;
            }
            pods.iter_mut().for_each(|pod| pod.since = pod.since.min(time));
        }
        let (points, body) = request(number, &pods, u64::from(instant), time);
        let asked = Instant::now();
        match send(&mut connection, address, &args.path, &body).await {
            Ok(200 | 204) => {
                seen.points.fetch_add(points, Ordering::Relaxed);
                let mut latencies = seen.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                latencies.push(asked.elapsed());
            }
            Ok(_) => {
                seen.turned_away.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(_) => {
                connection = None;
                seen.failed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

fn fresh(agent: usize, number: usize) -> Pod {
    let name = format!("web-{agent}-{number}");
    Pod { uid: format!("{agent:08x}-0000-4000-8000-{number:012x}"), name, since: now_ns() }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

/// One request of an agent: its node, and every pod with a container, two executables and three processes.
fn request(agent: usize, pods: &[Pod], instant: u64, now: u64) -> (u64, Vec<u8>) {
    let node = text("k8s.node.name", &format!("node-{agent}"));
    let mut points = 0;
    let mut resource = |entity, attributes: Vec<KeyValue>, since| {
        let metrics = metrics(entity, since, now, instant, &mut points);
        ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }
    };
    let mut all = vec![resource(Entity::Node, vec![node.clone()], now - 1)];
    for (index, pod) in pods.iter().enumerate() {
        let mut attributes = vec![
            node.clone(),
            text("k8s.namespace.name", &format!("team-{}", index % 10)),
            text("k8s.pod.name", &pod.name),
            text("k8s.pod.uid", &pod.uid),
        ];
        all.push(resource(Entity::Pod, attributes.clone(), pod.since));
        attributes.push(text("k8s.container.name", "main"));
        attributes.push(text("container.id", &pod.uid));
        all.push(resource(Entity::Container, attributes.clone(), pod.since));
        for executable in ["server", "sidecar"] {
            attributes.push(text("process.executable.name", executable));
            all.push(resource(Entity::Executable, attributes.clone(), pod.since));
            attributes.pop();
        }
        for pid in 1..4 {
            attributes.push(text("process.executable.name", "server"));
            attributes.push(pair("process.pid", Value::IntValue(1_000 + pid)));
            all.push(resource(Entity::Process, attributes.clone(), pod.since));
            attributes.truncate(6);
        }
    }
    (points, ExportMetricsServiceRequest { resource_metrics: all }.encode_to_vec())
}

fn metrics(entity: Entity, since: u64, now: u64, instant: u64, points: &mut u64) -> Vec<Metric> {
    let rows = METRICS.iter().filter(|row| row.entity == entity && row.instrument != Instrument::Histogram);
    rows.map(|row| {
        let gauge = row.instrument == Instrument::Gauge;
        let data_points: Vec<_> = (0..row.combinations())
            .map(|combination| NumberDataPoint {
                attributes: row.combination(combination).map(|(key, value)| text(key, value)).collect(),
                start_time_unix_nano: if gauge { 0 } else { since },
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsDouble((instant * 7 % 100 + instant * 100) as f64 / 8.0)),
                ..NumberDataPoint::default()
            })
            .collect();
        *points += data_points.len() as u64;
        let cumulative = AggregationTemporality::Cumulative.into();
        let is_monotonic = row.instrument == Instrument::Counter;
        let data = if gauge {
            Data::Gauge(Gauge { data_points })
        } else {
            Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic })
        };
        Metric { name: row.name.to_owned(), unit: row.unit.to_owned(), data: Some(data), ..Metric::default() }
    })
    .collect()
}

/// Posts a body on a connection that is kept; returns the status.
async fn send(
    connection: &mut Option<BufReader<TcpStream>>,
    address: SocketAddr,
    path: &str,
    body: &[u8],
) -> Result<u16> {
    if connection.is_none() {
        *connection = Some(BufReader::new(TcpStream::connect(address).await?));
    }
    let stream = connection.as_mut().context("no connection")?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).await?;
    stream.get_mut().write_all(body).await?;
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            bail!("the hub closed the connection");
        }
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("http/") {
            status = lower.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        } else if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        } else if line == "\r\n" {
            break;
        }
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    Ok(status)
}
