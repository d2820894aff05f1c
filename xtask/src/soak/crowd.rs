//! More tasks and containers at once than a node is made for.

use std::collections::HashMap;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Found, losses, page, settled};
use crate::bench::agent::Agent;
use crate::bench::lab::Lab;
use crate::bench::proc;
use crate::groups::Groups;
use crate::setup::load;

const MARK: u16 = 2;
const CONTAINERS: usize = 2000;
/// Threads of each container's one process.
const EACH: usize = 15;
/// Over which the agent's cost is measured, at one collection a second.
const SPAN: Duration = Duration::from_secs(20);
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Room for the tasks beside those that are there.
const PIDS: u64 = 131_072;

pub(super) fn run(lab: &Lab) -> Result<Found> {
    make_room()?;
    let program = load::program(&lab.cache)?;
    let mut crowd = Crowd { groups: Groups::make(MARK, CONTAINERS)?, children: Vec::new() };
    let agent = Agent::start(lab, &[])?;
    let start = Instant::now();
    let threads = EACH.to_string();
    for index in 0..CONTAINERS {
        crowd.children.push(crowd.groups.start(index, &program, &["idle", &threads])?);
        lab.pause(Duration::ZERO)?;
    }
    let started = start.elapsed().as_secs_f64();
    settled(lab, &agent)?;
    let (cpu, collections) = (proc::cpu(agent.pid())?, agent.collections()?);
    lab.pause(SPAN)?;
    let cpu = proc::cpu(agent.pid())?.since(cpu).total() / (agent.collections()? - collections);
    let page = agent.metrics()?;
    let (resident, peak) = proc::resident(agent.pid())?;
    let figures = json!({
        "containers": CONTAINERS,
        "tasks": CONTAINERS * EACH,
        "seconds to start": started,
        "collection": phases(&page),
        "cpu per collection": cpu,
        "page bytes": page.len(),
        "resident": resident,
        "resident at its highest": peak,
        "losses": losses(&page),
    });
    Ok(Found { figures, faults: faults(&page, &crowd.groups) })
}

/// What the page lacks or has too much of.
fn faults(page: &str, groups: &Groups) -> Vec<String> {
    let mut faults = Vec::new();
    let by_id = |metric| page::by(page, metric, "container_id");
    let (counts, threads) = (by_id("podscope_container_process_count"), by_id("process_thread_count"));
    for index in 0..CONTAINERS {
        let id = groups.id(index);
        let of = |sums: &HashMap<&str, f64>| sums.get(&*id).copied().unwrap_or_default();
        let (processes, threads) = (of(&counts), of(&threads));
        if (processes, threads) != (1.0, EACH as f64) {
            faults.push(format!("container {index} has {processes} processes with {threads} threads"));
        }
    }
    let lost = losses(page);
    if lost.as_object().is_some_and(|lost| !lost.is_empty()) {
        faults.push(format!("lost: {lost}"));
    }
    // One fault of a kind tells it all.
    faults.truncate(10);
    faults
}

/// Seconds of the last collection, by part.
fn phases(page: &str) -> Value {
    let phases = page::samples(page, "podscope_agent_collection_duration_seconds");
    phases.map(|(labels, seconds)| (labels.to_owned(), json!(seconds))).collect::<serde_json::Map<_, _>>().into()
}

/// Raises the number of process ids where it is small. It is left so: others may have taken high ones meanwhile.
fn make_room() -> Result<()> {
    let text = fs::read_to_string(PID_MAX).with_context(|| format!("cannot read {PID_MAX}"))?;
    if text.trim().parse::<u64>().is_ok_and(|most| most >= PIDS) {
        return Ok(());
    }
    fs::write(PID_MAX, PIDS.to_string()).with_context(|| format!("cannot write {PID_MAX}"))
}

/// Sleeping processes; they end with this value.
struct Crowd {
    groups: Groups,
    children: Vec<Child>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.groups.clear();
        for child in &mut self.children {
            // Only the exit status would be lost.
            let _ = child.wait();
        }
    }
}
