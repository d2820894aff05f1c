//! What 100,000 points over OTLP cost: 250 pods of 40 processes with 10 points each, encoded alone, and encoded,
//! compressed and sent to the URL that is given. Prints one JSON object.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use podscope_agent::export::otlp::{Exporter, OtlpArgs, encode};
use podscope_agent::snapshot::{Attributes, Point, Resource, ResourceAttribute, Snapshot, Value};
use podscope_agent::status::Board;
use podscope_catalog::{Entity, Instrument, METRICS, MetricId, ValueType};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PODS: u64 = 250;
const PROCESSES: u64 = 40;
const POINTS: usize = 10;
const ROUNDS: u32 = 20;

fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: otlp_cost URL")?;
    let who = identities();
    let snapshot_once = snapshot(&who, 0);
    let first = Cost::of(|| encode(&snapshot_once, false).map(drop))?;
    let mut requests = Vec::new();
    let plain = Cost::mean(|round| {
        let snapshot = snapshot(&who, round);
        Cost::of(|| encode(&snapshot, false).map(|made| requests = made))
    })?;
    let (sent, bytes) = send(&url, &who)?;
    let json = serde_json::json!({
        "points": PODS * PROCESSES * POINTS as u64,
        "requests": requests.len(),
        "first_seconds": first.seconds,
        "encode_seconds": plain.seconds,
        "encode_bytes": requests.iter().map(|request| request.len()).sum::<usize>(),
        "encode_allocations": plain.allocations,
        "encode_allocated": plain.allocated,
        "send_seconds": sent.seconds,
        "send_bytes": bytes,
        "send_allocations": sent.allocations,
        "send_allocated": sent.allocated,
    });
    println!("{json}");
    Ok(())
}

/// Sends snapshots as the agent does; the cost of each in all threads, and its bytes on the wire.
fn send(url: &str, who: &[Arc<Attributes>]) -> anyhow::Result<(Cost, u64)> {
    let args = OtlpArgs {
        otlp_endpoint: Some(url.to_owned()),
        otlp_compression: Some("gzip".to_owned()),
        ..OtlpArgs::default()
    };
    let config = args.resolve(&|_| None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let exporter = Exporter::spawn(&config, Board::default());
        let mut costs = Vec::new();
        // The first one connects.
        for round in 0..=ROUNDS {
            let snapshot = snapshot(who, u64::from(round));
            let before = exporter.stats();
            let meter = Meter::start();
            exporter.offer(snapshot);
            while exporter.stats().points.sent < before.points.sent + PODS * PROCESSES * POINTS as u64 {
                if meter.elapsed() > Duration::from_secs(10) {
                    bail!("{url} does not take the points: {:?}", exporter.stats());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            costs.push(meter.stop());
        }
        let bytes = exporter.stats().bytes / u64::from(ROUNDS + 1);
        Ok((Cost::mean(|round| Ok(costs[round as usize]))?, bytes))
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// CPU time of the whole process.
    seconds: f64,
    allocations: usize,
    allocated: usize,
}

impl Cost {
    fn of<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Self, E> {
        let meter = Meter::start();
        work()?;
        Ok(meter.stop())
    }

    /// The mean of the rounds from 1 on.
    fn mean(mut of: impl FnMut(u64) -> std::io::Result<Self>) -> std::io::Result<Self> {
        let mut sum = Self::default();
        for round in 1..=u64::from(ROUNDS) {
            let cost = of(round)?;
            sum.seconds += cost.seconds;
            sum.allocations += cost.allocations;
            sum.allocated += cost.allocated;
        }
        let rounds = ROUNDS as usize;
        Ok(Self {
            seconds: sum.seconds / f64::from(ROUNDS),
            allocations: sum.allocations / rounds,
            allocated: sum.allocated / rounds,
        })
    }
}

struct Meter {
    cpu: f64,
    began: std::time::Instant,
    region: Region<'static, System>,
}

impl Meter {
    fn start() -> Self {
        Self { began: std::time::Instant::now(), region: Region::new(ALLOCATOR), cpu: cpu_seconds() }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn stop(self) -> Cost {
        let seconds = cpu_seconds() - self.cpu;
        let change = self.region.change();
        Cost { seconds, allocations: change.allocations + change.reallocations, allocated: change.bytes_allocated }
    }
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// The attributes of all processes.
fn identities() -> Vec<Arc<Attributes>> {
    let of = |pod: u64, process: u64| {
        let pid = (pod * PROCESSES + process + 1000) as i64;
        Arc::new(Attributes::new(vec![
            ResourceAttribute::label("k8s.node.name", "node-17.example.org"),
            ResourceAttribute::label("k8s.namespace.name", format!("team-{}", pod % 20)),
            ResourceAttribute::label("k8s.pod.name", format!("service-{pod}-5f7d8c9b6d-x{pod:04}")),
            ResourceAttribute::label("k8s.pod.uid", format!("0f6e1c52-7b1d-4f3e-9a55-{pod:012x}")),
            ResourceAttribute::label("k8s.container.name", "main"),
            ResourceAttribute::label("container.id", format!("{:064x}", pod + 1)),
            ResourceAttribute::text("container.image.name", "registry.example.org/team/service:1.2.3"),
            ResourceAttribute::label("process.executable.name", format!("worker-{}", process % 4)),
            ResourceAttribute::label_int("process.pid", pid),
            ResourceAttribute::int("process.parent_pid", pid - 1),
            ResourceAttribute::text("process.creation.time", "2026-01-02T03:04:05.678Z"),
        ]))
    };
    (0..PODS).flat_map(|pod| (0..PROCESSES).map(move |process| of(pod, process))).collect()
}

/// A snapshot whose values move from round to round, as a collection's do.
fn snapshot(who: &[Arc<Attributes>], round: u64) -> Arc<Snapshot> {
    let rows = METRICS.iter().enumerate();
    let rows = rows.filter(|(_, row)| row.entity == Entity::Process && row.instrument != Instrument::Histogram);
    let combinations = |(index, row): (usize, &podscope_catalog::Metric)| {
        let (metric, value) = (MetricId(index as u16), row.value);
        (0..row.combinations()).map(move |combination| (metric, combination as u8, value))
    };
    let kinds: Vec<(MetricId, u8, ValueType)> = rows.flat_map(combinations).take(POINTS).collect();
    let value = |kind, seed: u64| {
        let number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        if kind == ValueType::Int { Value::Int(number as i64) } else { Value::Double(number as f64 / 1e3) }
    };
    let resource = |(at, attributes): (usize, &Arc<Attributes>)| Resource {
        entity: Entity::Process,
        attributes: Arc::clone(attributes),
        start_ns: 1_767_323_045_678_000_000,
        kernel_start_ns: 1_767_323_045_678_000_000,
        ended: false,
        points: kinds
            .iter()
            .map(|&(metric, combination, kind)| Point { metric, combination, value: value(kind, at as u64 + round) })
            .collect(),
    };
    let resources = who.iter().enumerate().map(resource).collect();
    let time_ns = 1_767_326_645_000_000_000 + round * 1_000_000_000;
    Arc::new(Snapshot { time_ns, resources, ..Snapshot::default() })
}
