//! Containers that come, work and go, beside some that stay: what the agent holds must not grow.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Found, chart, losses, medians, page, samples, settled, watched, write};
use crate::bench::agent::Agent;
use crate::bench::lab::Lab;
use crate::bench::proc;
use crate::groups::Groups;
use crate::setup::load;

const MARK: u16 = 3;
/// Containers that stay; each has short processes all the time.
const STAYING: usize = 10;
/// A container comes so often.
const EVERY: Duration = Duration::from_millis(500);
/// What it does: processes that end at once, and threads.
const WORK: [&str; 2] = ["burst 20", "threads 4 5 3"];
/// For how long removing a cgroup is tried: its last process may not be gone entirely.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far the sum of the staying containers may be off the kernel's.
const TOLERANCE: f64 = 0.001;

pub(super) fn run(lab: &Lab, minutes: u32, folders: &[PathBuf]) -> Result<Found> {
    let program = load::program(&lab.cache)?;
    let groups = Groups::make(MARK, STAYING)?;
    let agent = Agent::start(lab, &[])?;
    let span = Duration::from_secs(u64::from(minutes) * 60);
    let before = proc::cpu(agent.pid())?;
    let (made, samples) = watched(lab, &agent, || churn(lab, &groups, &program, span))?;
    let cpu = proc::cpu(agent.pid())?.since(before).total();
    let page = settled(lab, &agent)?;

    let mut faults = samples::growing(&samples);
    let (mut cgroups, mut published) = (0.0, 0.0);
    for index in 0..STAYING {
        let id = groups.id(index);
        cgroups += groups.cpu_time(index)? as f64 / 1e9;
        published += page::sum(&page, "podscope_container_process_cpu_time_seconds_total", &[("container_id", &id)]);
    }
    if (published / cgroups - 1.0).abs() > TOLERANCE {
        faults.push(format!("{published} s of CPU time published of those that stay, {cgroups} s by their cgroups"));
    }
    let title = format!("podscope-agent: {minutes} minutes, {made} containers come and go, one collection a second");
    for folder in folders {
        write(&folder.join("soak.csv"), &samples::csv(&samples))?;
        write(&folder.join("soak.svg"), &chart::svg(&samples, &title))?;
    }
    let figures = json!({
        "minutes": minutes,
        "containers that came and went": made,
        "processes": page::sum(&page, "podscope_executable_process_ended_total", &[("podscope_process_end_type", "exit")]),
        "cpu of the staying": { "cgroups": cgroups, "published": published, "off": published / cgroups - 1.0 },
        "cpu of the agent, percent of a core": cpu / span.as_secs_f64() * 100.0,
        "medians": medians(&samples),
        "losses": losses(&page),
    });
    Ok(Found { figures, faults })
}

/// Makes containers and removes them for so long; returns how many.
fn churn(lab: &Lab, groups: &Groups, program: &Path, span: Duration) -> Result<usize> {
    let start = Instant::now();
    let staying: Result<Vec<Child>> = (0..STAYING).map(|index| stay(groups, index, program, span)).collect();
    let mut index = STAYING;
    while start.elapsed() < span {
        let due = start.elapsed() + EVERY;
        groups.make_one(index)?;
        for work in WORK {
            let words: Vec<&str> = work.split(' ').collect();
            groups.start(index, program, &words)?.wait().context("cannot wait for a container's process")?;
        }
        lab.wait("removing a cgroup", PATIENCE, || Ok(groups.remove_one(index).is_ok()))?;
        index += 1;
        lab.pause(due.saturating_sub(start.elapsed()))?;
    }
    for mut child in staying? {
        child.wait().context("cannot wait for a container that stays")?;
    }
    Ok(index - STAYING)
}

/// Short processes and pauses until the time is over.
fn stay(groups: &Groups, index: usize, program: &Path, span: Duration) -> Result<Child> {
    let script =
        "end=$(($(date +%s) + $2)); while [ $(date +%s) -lt $end ]; do $1 burst 5; $1 mem 1 100; sleep 1; done";
    let seconds = span.as_secs().to_string();
    groups.start(index, Path::new("sh"), &["-c", script, "stay", &program.to_string_lossy(), &seconds])
}
