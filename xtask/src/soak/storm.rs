//! Processes that are gone before a collection can see them, from many containers at once.

use std::process::Child;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Found, losses, medians, page, samples, settled, watched};
use crate::bench::agent::Agent;
use crate::bench::lab::Lab;
use crate::groups::Groups;
use crate::setup::load;

const MARK: u16 = 1;
const CONTAINERS: usize = 50;
/// Processes of each container, started one after another; each ends at once.
const EACH: usize = 2000;
/// Ended series stay on the page for so many seconds: by default the storm would be over before the first goes.
const LINGER: &str = "5";
/// How far the sums may be off the kernel's.
const TOLERANCE: f64 = 0.001;

pub(super) fn run(lab: &Lab) -> Result<Found> {
    let program = load::program(&lab.cache)?;
    let groups = Groups::make(MARK, CONTAINERS)?;
    let agent = Agent::start(lab, &["--linger", LINGER])?;
    let start = std::time::Instant::now();
    let ((), samples) = watched(lab, &agent, || {
        let work = ["burst", &EACH.to_string()];
        let all: Result<Vec<Child>> = (0..CONTAINERS).map(|index| groups.start(index, &program, &work)).collect();
        for mut child in all? {
            let status = child.wait().context("cannot wait for a container's processes")?;
            ensure!(status.success(), "a container's processes failed: {status}");
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let page = settled(lab, &agent)?;

    let mut faults = samples::growing(&samples);
    let (mut cgroups, mut published, mut exited) = (0.0, 0.0, 0.0);
    for index in 0..CONTAINERS {
        let id = groups.id(index);
        let of = |metric: &str| page::sum(&page, metric, &[("container_id", &id)]);
        let ended = of("podscope_executable_process_ended_total");
        let balance = of("podscope_executable_process_started_total") - ended;
        let living = of("podscope_container_process_count");
        if balance != living || living != 0.0 {
            faults.push(format!("container {index}: {balance} more started than ended, {living} live, none does"));
        }
        let exits = [("container_id", id.as_str()), ("podscope_process_end_type", "exit")];
        let exits = page::sum(&page, "podscope_executable_process_ended_total", &exits);
        if exits != (EACH + 1) as f64 {
            faults.push(format!("container {index}: {exits} exits, there were {}", EACH + 1));
        }
        exited += exits;
        cgroups += groups.cpu_time(index)? as f64 / 1e9;
        published += of("podscope_container_process_cpu_time_seconds_total");
    }
    let off = published / cgroups - 1.0;
    if off.abs() > TOLERANCE {
        faults.push(format!("{published} s of CPU time published, {cgroups} s by the cgroups"));
    }
    let figures = json!({
        "containers": CONTAINERS,
        "processes": exited,
        "seconds": seconds,
        "cpu": { "cgroups": cgroups, "published": published, "off": off },
        "medians": medians(&samples),
        "losses": losses(&page),
    });
    Ok(Found { figures, faults })
}
