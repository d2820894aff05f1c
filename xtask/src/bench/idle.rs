//! The agent beside processes that sleep: its share of a core, its memory, its kernel maps.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Map, Stats};
use super::crowd::Crowd;
use super::lab::Lab;
use super::proc;
use super::row::{Row, Target, Unit};
use super::tools;

const CONTAINERS: usize = 50;
const EACH: usize = 40;
/// Containers whose processes are 10,000.
const MANY: usize = 250;
const WARM: Duration = Duration::from_secs(10);
const SPAN: Duration = Duration::from_secs(40);
/// The kernel's header of a task's element in task storage (`struct bpf_local_storage_elem` up to its data), and its
/// list of a task's elements (`struct bpf_local_storage`), bytes.
const ELEMENT_HEADER: u64 = 72;
const LIST: u64 = 192;

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let stats = Stats::on()?;
    let crowd = Crowd::start(lab, CONTAINERS, EACH)?;
    let agent = Agent::start(lab, &[])?;
    lab.pause(WARM)?;
    let (cpu, programs) = (proc::cpu(agent.pid())?, bpf::programs(agent.pid())?);
    let start = std::time::Instant::now();
    lab.pause(SPAN)?;
    let cpu = proc::cpu(agent.pid())?.since(cpu);
    let programs = bpf::since(&bpf::programs(agent.pid())?, &programs);
    let percent = |seconds: f64| seconds / start.elapsed().as_secs_f64() * 100.0;
    // The iterator runs in the agent's own reads: its time is system time of the agent already.
    let seconds = |iterator: bool| -> f64 {
        programs.iter().filter(|program| (program.name == "task") == iterator).map(|program| program.seconds).sum()
    };
    let (hooks, iterator) = (percent(seconds(false)), percent(seconds(true)));
    let (user, system) = (percent(cpu.user), percent(cpu.system));
    let (resident, peak) = proc::resident(agent.pid())?;
    drop((agent, crowd, stats));
    let what = format!("{} processes, {CONTAINERS} containers, 1 Hz", CONTAINERS * EACH);
    let show = |percent| Unit::Percent.show(percent);
    let rows = vec![
        Row::new(format!("{what}: all"), Unit::Percent, hooks + user + system).target(Target::at_most(1.5)).note(
            format!(
                "user {}, system {} (of it {} in the task iterator), hooks {}",
                show(user),
                show(system),
                show(iterator),
                show(hooks)
            ),
        ),
        Row::new(format!("{what}: resident memory"), Unit::Bytes, resident)
            .target(Target::at_most(30e6))
            .note(format!("{} at its highest", Unit::Bytes.show(peak))),
        kernel_memory(lab)?,
    ];
    Ok(rows)
}

/// Kernel memory of all maps with 10,000 processes.
fn kernel_memory(lab: &Lab) -> Result<Row> {
    let crowd = Crowd::start(lab, MANY, EACH)?;
    let agent = Agent::start(lab, &[])?;
    lab.pause(Duration::from_secs(3))?;
    let maps = bpf::maps(agent.pid())?;
    let (resident, _) = proc::resident(agent.pid())?;
    drop((agent, crowd));
    let tasks = (MANY * EACH) as u64;
    let fixed: u64 = maps.iter().map(|map| map.bytes).sum();
    // What the kernel says of task storage leaves the tasks' elements out.
    let storage: u64 = maps.iter().filter(|map| map.kind == "task_storage").map(|map| element(map) * tasks).sum();
    Ok(Row::new(format!("kernel maps, {tasks} tasks"), Unit::Bytes, (fixed + storage) as f64)
        .target(Target::at_most(16e6))
        .note(format!(
            "{} in maps, {} in task storage by its sizes; agent {} resident",
            Unit::Bytes.show(fixed as f64),
            Unit::Bytes.show(storage as f64),
            Unit::Bytes.show(resident)
        )))
}

/// Bytes that a task's element takes, in the sizes in which the kernel allocates.
fn element(map: &Map) -> u64 {
    let size = map.value_bytes + ELEMENT_HEADER;
    let rounded = [96, 128, 192, 256].into_iter().find(|&class| class >= size).unwrap_or(size.next_power_of_two());
    rounded + LIST
}
