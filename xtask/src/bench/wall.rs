//! Wall clock of scheduling benchmarks with nothing attached, the agent, and another tool, in turn.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::lab::{Lab, median, scatter};
use super::report::{Row, Target, Unit};
use super::tools::{self, Load};

/// Short and many: what disturbs a run disturbs its neighbours too, and the median leaves the worst ones out.
const ROUNDS: usize = 15;
/// With more scatter than this, even without the agent, its 15 % cannot be told from noise.
const SCATTER_MAX: f64 = 0.1;
const NOTHING: &str = "nothing attached";

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let _stats = Stats::off()?;
    let mut times: [[Vec<f64>; 3]; 2] = Default::default();
    let mut others = false;
    for _ in 0..ROUNDS {
        // Whoever shares the host may run a tool or an agent of their own.
        others |= bpf::is_loaded("sched_switch")?;
        round(lab, 0, &mut times)?;
        let agent = Agent::start(lab, &[])?;
        round(lab, 1, &mut times)?;
        drop(agent);
        let peer = tools::runqlat(lab)?;
        round(lab, 2, &mut times)?;
        drop(peer);
    }
    let rows = Load::ALL.into_iter().zip(times).map(|(load, [nothing, podscope, runqlat])| {
        let of = |times: &[f64]| median(times) / load.operations();
        let row = Row::new(format!("wall clock, {}", load.name()), Unit::Seconds, of(&podscope))
            .beside(NOTHING, of(&nothing))
            .beside("runqlat", of(&runqlat))
            .note(format!(
                "medians of {ROUNDS} rounds in turn; runqlat {:.2}×; {NOTHING} {}",
                of(&runqlat) / of(&nothing),
                spread(&nothing, load.operations())
            ));
        match load {
            Load::PingPong => row.target(Target::Times(1.15, NOTHING)).doubt(doubt(&nothing, &podscope, others)),
            Load::Messaging => row,
        }
    });
    Ok(rows.collect())
}

fn round(lab: &Lab, side: usize, times: &mut [[Vec<f64>; 3]; 2]) -> Result<()> {
    lab.pause(Duration::from_millis(200))?;
    for (load, times) in Load::ALL.into_iter().zip(times) {
        times[side].push(load.run()?);
    }
    Ok(())
}

/// Why the two cannot be compared, where the host was not quiet enough.
fn doubt(nothing: &[f64], podscope: &[f64], others: bool) -> Option<String> {
    if others {
        return Some("somebody else's program was on the same hook".to_owned());
    }
    let most = scatter(nothing).max(scatter(podscope));
    // Also false for a scatter that is no number.
    let quiet = most <= SCATTER_MAX;
    (!quiet).then(|| format!("the host is not quiet, half of the runs scatter by {:.0} %", most * 100.0))
}

/// From the fastest run to the slowest: how quiet the host was.
fn spread(times: &[f64], operations: f64) -> String {
    let show = |seconds: f64| Unit::Seconds.show(seconds / operations);
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    let most = times.iter().copied().fold(0.0, f64::max);
    format!("{} to {}", show(least), show(most))
}
