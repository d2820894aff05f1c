//! Run time of all scheduling programs per context switch, by the kernel's own count.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::lab::{Lab, median};
use super::row::{Row, Target, Unit};
use super::tools::{self, Load};

const ROUNDS: usize = 5;
const EMPTY: &str = "an empty program";
const RUNQLAT: &str = "runqlat";
/// What a switch may cost more than an empty program where it is not looked at.
const GATE: f64 = 25e-9;
/// On the hook, one after the other.
const SIDES: usize = 4;

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
    let mut costs: [[Cost; SIDES]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let peer = tools::empty(lab)?;
        round(lab, peer.pid(), 0, &mut costs)?;
        drop(peer);
        for (side, detail) in [(1, "on"), (2, "off")] {
            let agent = Agent::start(lab, &["--scheduling-detail", detail])?;
            round(lab, agent.pid(), side, &mut costs)?;
        }
        let peer = tools::runqlat(lab)?;
        round(lab, peer.pid(), 3, &mut costs)?;
    }
    Ok(Load::SWITCHES.into_iter().zip(costs).flat_map(|(load, costs)| rows(load, &costs)).collect())
}

fn rows(load: Load, [empty, podscope, bare, runqlat]: &[Cost; SIDES]) -> [Row; 2] {
    let of = |cost: &Cost| median(&cost.per_switch);
    let whole = Row::new(format!("context switch, {}", load.name()), Unit::Seconds, of(podscope))
        .beside(EMPTY, of(empty))
        .beside(RUNQLAT, of(runqlat))
        .note(format!("a run: {}; {RUNQLAT}: {}", parts(podscope), parts(runqlat)));
    let bare = Row::new(format!("context switch without scheduling detail, {}", load.name()), Unit::Seconds, of(bare))
        .beside(EMPTY, of(empty))
        .note(format!("a run: {}", parts(bare)));
    match load {
        Load::PingPong => [
            whole.target(Target::at_most(100e-9)).target(Target::times(2.0, EMPTY)),
            bare.target(Target::over(GATE, EMPTY)),
        ],
        _ => [whole, bare],
    }
}

fn round(lab: &Lab, pid: u32, side: usize, costs: &mut [[Cost; SIDES]; 2]) -> Result<()> {
    lab.pause(Duration::from_millis(200))?;
    for (load, costs) in Load::SWITCHES.into_iter().zip(costs) {
        let before = bpf::programs(pid)?;
        load.run(lab)?;
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
