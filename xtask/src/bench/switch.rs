//! Run time of all scheduling programs per context switch, by the kernel's own count.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::lab::{Lab, median};
use super::report::{Row, Target, Unit};
use super::tools::{self, Load};

const ROUNDS: usize = 5;
const EMPTY: &str = "an empty program";
const RUNQLAT: &str = "runqlat";

/// What one program or set of programs costs.
#[derive(Clone, Debug, Default)]
struct Cost {
    /// Of all of them per switch, seconds; one entry a round.
    per_switch: Vec<f64>,
    /// Of each of them per run in the last round.
    parts: Vec<(String, f64)>,
}

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let _stats = Stats::on()?;
    let mut costs: [[Cost; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let peer = tools::empty(lab)?;
        round(lab, peer.pid(), 0, &mut costs)?;
        drop(peer);
        let agent = Agent::start(lab, &[])?;
        round(lab, agent.pid(), 1, &mut costs)?;
        drop(agent);
        let peer = tools::runqlat(lab)?;
        round(lab, peer.pid(), 2, &mut costs)?;
    }
    let rows = Load::ALL.into_iter().zip(costs).map(|(load, [empty, podscope, runqlat])| {
        let row = Row::new(format!("context switch, {}", load.name()), Unit::Seconds, median(&podscope.per_switch))
            .beside(EMPTY, median(&empty.per_switch))
            .beside(RUNQLAT, median(&runqlat.per_switch))
            .note(format!("a run: {}; {RUNQLAT}: {}", parts(&podscope), parts(&runqlat)));
        match load {
            Load::PingPong => row.target(Target::AtMost(100e-9)).target(Target::Times(2.0, EMPTY)),
            Load::Messaging => row,
        }
    });
    Ok(rows.collect())
}

fn round(lab: &Lab, pid: u32, side: usize, costs: &mut [[Cost; 3]; 2]) -> Result<()> {
    lab.pause(Duration::from_millis(200))?;
    for (load, costs) in Load::ALL.into_iter().zip(costs) {
        let before = bpf::programs(pid)?;
        load.run()?;
        let mut programs = bpf::since(&bpf::programs(pid)?, &before);
        programs.retain(|program| program.name.starts_with("sched_") && program.runs > 0.0);
        let switches: f64 = programs.iter().filter(|program| program.name == "sched_switch").map(|p| p.runs).sum();
        let seconds: f64 = programs.iter().map(|program| program.seconds).sum();
        costs[side].per_switch.push(seconds / switches);
        costs[side].parts = programs.into_iter().map(|p| (p.name, p.seconds / p.runs)).collect();
    }
    Ok(())
}

fn parts(cost: &Cost) -> String {
    let shown = cost.parts.iter().map(|(name, seconds)| format!("{name} {}", Unit::Seconds.show(*seconds)));
    shown.collect::<Vec<_>>().join(", ")
}
