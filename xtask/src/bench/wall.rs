//! Wall clock of scheduling benchmarks with nothing attached, the agent, and another tool, in turn.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::Stats;
use super::lab::{Lab, median};
use super::report::{Row, Target, Unit};
use super::tools::{self, Load};

const ROUNDS: usize = 9;
const NOTHING: &str = "nothing attached";

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let _stats = Stats::off()?;
    let mut times: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
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
            .note(format!("runqlat {:.2}×, medians of {ROUNDS}", of(&runqlat) / of(&nothing)));
        match load {
            Load::PingPong => row.target(Target::Times(1.15, NOTHING)),
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
