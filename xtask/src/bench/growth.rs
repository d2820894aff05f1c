//! What a collection costs with ever more tasks, and with ever more containers.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf;
use super::collection::per_collection;
use super::crowd::Crowd;
use super::lab::Lab;
use super::proc;
use super::row::{Row, Unit};

/// (Containers, processes of each, threads of each beyond its first): tasks as they grow.
const TASKS: [(usize, usize, usize); 4] = [(10, 10, 0), (10, 10, 10), (50, 20, 9), (50, 20, 30)];
/// Containers as they grow, with two processes each.
const CONTAINERS: [usize; 5] = [1, 10, 100, 500, 2000];
/// Beyond the defaults, so that the largest sizes find room.
const ROOM: [&str; 4] = ["--max-cgroups", "4096", "--max-books", "16384"];
const WARM: Duration = Duration::from_secs(4);
/// At one collection a second: CPU time is told in steps of 10 ms.
const SPAN: Duration = Duration::from_secs(30);

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (containers, each, threads) in TASKS {
        let tasks = containers * (1 + (each - 1) * (1 + threads));
        let what = format!("{tasks} tasks in {containers} containers");
        rows.extend(size(lab, &what, (containers, each, threads), ("tasks", tasks)));
    }
    for containers in CONTAINERS {
        let what = format!("{containers} containers of 2 processes");
        rows.extend(size(lab, &what, (containers, 2, 0), ("containers", containers)));
    }
    Ok(rows)
}

/// A size that does not fit onto the host, for lack of pids or memory, is a row that says so.
fn size(lab: &Lab, what: &str, shape: (usize, usize, usize), at: (&str, usize)) -> Vec<Row> {
    match collect(lab, shape) {
        Ok(Cost { cpu, resident, maps, entries }) => vec![
            Row::new(format!("CPU of a collection, {what}"), Unit::Seconds, cpu)
                .at(at.0, at.1)
                .note(format!("{} in maps; {entries}", Unit::Bytes.show(maps))),
            Row::new(format!("resident memory, {what}"), Unit::Bytes, resident).at(at.0, at.1),
        ],
        Err(error) => vec![Row::not_run(format!("CPU of a collection, {what}"), &error)],
    }
}

struct Cost {
    /// Of a collection, seconds.
    cpu: f64,
    resident: f64,
    /// Kernel memory of the maps, task storage's elements left out.
    maps: f64,
    /// What the agent says it saw.
    entries: String,
}

fn collect(lab: &Lab, (containers, each, threads): (usize, usize, usize)) -> Result<Cost> {
    let _crowd = Crowd::of_threads(lab, containers, each, threads + 1)?;
    let agent = Agent::start(lab, &ROOM)?;
    lab.pause(WARM)?;
    let cpu = per_collection(&agent, || lab.pause(SPAN))?;
    let (resident, _) = proc::resident(agent.pid())?;
    let maps = bpf::maps(agent.pid())?.iter().map(|map| map.bytes as f64).sum();
    let status = agent.status()?;
    let losses = status["losses"].as_object().into_iter().flatten();
    let lost: u64 = losses.filter_map(|(_, count)| count.as_u64()).sum();
    let entries =
        format!("the agent saw {} processes in {} containers, lost {lost}", status["processes"], status["containers"]);
    Ok(Cost { cpu, resident, maps, entries })
}
