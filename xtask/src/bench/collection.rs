//! CPU time of one collection and of its encoding, by the number of processes, beside an exporter that reads /proc.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::crowd::Crowd;
use super::lab::Lab;
use super::proc;
use super::receiver::Receiver;
use super::row::{Row, Target, Unit};
use super::tools::ProcessExporter;

/// Containers of [`EACH`] processes: 2,000 and 10,000 processes.
const SIZES: [usize; 2] = [50, 250];
const EACH: usize = 40;
/// At one collection a second.
const SPAN: Duration = Duration::from_secs(20);
const WARM: Duration = Duration::from_secs(4);
/// At the first size; in proportion to the processes from there.
const TARGET: f64 = 10e-3;
const EXPORTER: &str = "process-exporter";
const LEAN: &str = "process-exporter without smaps and threads";

/// CPU time of a collection, seconds.
struct Cost {
    alone: f64,
    with_page: f64,
    with_otlp: f64,
    with_gzip: f64,
}

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for containers in SIZES {
        let processes = containers * EACH;
        let crowd = Crowd::start(lab, containers, EACH)?;
        let cost = podscope(lab)?;
        let (peer, memory) = exporter(lab, &[], containers)?;
        let (lean, _) = exporter(lab, &["-gather-smaps=false", "-threads=false"], containers)?;
        drop(crowd);
        let limit = TARGET * containers as f64 / SIZES[0] as f64;
        let what = |how: &str| format!("CPU of a collection, {processes} processes{how}");
        rows.push(Row::new(what(""), Unit::Seconds, cost.alone));
        rows.push(
            Row::new(what(", Prometheus page"), Unit::Seconds, cost.with_page)
                .beside(EXPORTER, peer)
                .beside(LEAN, lean)
                .target(Target::at_most(limit))
                .target(Target::times(0.01, EXPORTER))
                .note(format!("the exporter has {} resident", Unit::Bytes.show(memory))),
        );
        rows.push(Row::new(what(", OTLP"), Unit::Seconds, cost.with_otlp).target(Target::at_most(limit)));
        rows.push(Row::new(what(", OTLP, gzip"), Unit::Seconds, cost.with_gzip));
    }
    Ok(rows)
}

fn podscope(lab: &Lab) -> Result<Cost> {
    let agent = Agent::start(lab, &[])?;
    lab.pause(WARM)?;
    let alone = per_collection(&agent, || lab.pause(SPAN))?;
    let seconds = SPAN.as_secs();
    let with_page = per_collection(&agent, || {
        (0..seconds).try_for_each(|_| agent.metrics().and_then(|_| lab.pause(Duration::from_secs(1))))
    })?;
    drop(agent);
    let [with_otlp, with_gzip] = [with_export(lab, "none")?, with_export(lab, "gzip")?];
    Ok(Cost { alone, with_page, with_otlp, with_gzip })
}

/// CPU time of a collection that is sent over OTLP, seconds.
fn with_export(lab: &Lab, compression: &str) -> Result<f64> {
    let receiver = Receiver::start()?;
    let agent = Agent::start(lab, &["--otlp-endpoint", &receiver.url(), "--otlp-compression", compression])?;
    lab.pause(WARM)?;
    let before = receiver.taken().0;
    let cost = per_collection(&agent, || lab.pause(SPAN))?;
    anyhow::ensure!(receiver.taken().0 > before, "the agent sent nothing over OTLP");
    Ok(cost)
}

/// CPU time of the agent per collection while `work` is done, seconds.
pub(super) fn per_collection(agent: &Agent, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (collections, cpu) = (agent.collections()?, proc::cpu(agent.pid())?);
    work()?;
    let cpu = proc::cpu(agent.pid())?.since(cpu);
    Ok(cpu.total() / (agent.collections()? - collections))
}

/// CPU time of a scrape, seconds, and resident bytes of the exporter.
fn exporter(lab: &Lab, flags: &[&str], containers: usize) -> Result<(f64, f64)> {
    let scrapes = if containers == SIZES[0] { 5 } else { 1 };
    let exporter = ProcessExporter::start(lab, flags)?;
    let pid = exporter.peer.pid();
    let before = proc::cpu(pid)?;
    for _ in 0..scrapes {
        exporter.scrape()?;
        lab.pause(Duration::ZERO)?;
    }
    let cpu = proc::cpu(pid)?.since(before).total();
    Ok((cpu / f64::from(scrapes), proc::resident(pid)?.0))
}
