//! Wall clock of benchmarks with nothing attached, with the agent idle and collecting, and with another tool, in turn.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::lab::{Lab, median, middle_half};
use super::row::{Row, Target, Unit};
use super::tools::{self, Load};

/// Short and many: what disturbs a run disturbs its neighbours too, and the median leaves the worst ones out.
const ROUNDS: usize = 15;
/// What ping-pong may take of its time without the agent.
const LIMIT: f64 = 1.15;
const NOTHING: &str = "nothing attached";
const RUNQLAT: &str = "runqlat";

/// What runs beside the benchmark.
const SIDES: [&str; 4] = [NOTHING, "the agent idle", "the agent at 1 Hz", RUNQLAT];
const IDLE: usize = 1;
const ACTIVE: usize = 2;

/// Times of one benchmark, by side, in the order of the rounds.
type Times = [Vec<f64>; SIDES.len()];

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let _stats = Stats::off()?;
    let mut times: [Times; Load::ALL.len()] = Default::default();
    let mut others = false;
    for _ in 0..ROUNDS {
        // Whoever shares the host may run a tool or an agent of their own.
        others |= bpf::is_loaded("sched_switch")?;
        round(lab, 0, &mut times)?;
        for (side, interval) in [(IDLE, "3600"), (ACTIVE, "1")] {
            let agent = Agent::start(lab, &["--interval", interval])?;
            round(lab, side, &mut times)?;
            drop(agent);
        }
        let peer = tools::runqlat(lab)?;
        round(lab, 3, &mut times)?;
        drop(peer);
    }
    let rows = Load::ALL.into_iter().zip(&times);
    Ok(rows.flat_map(|(load, times)| [IDLE, ACTIVE].map(|side| row(load, times, side, others))).collect())
}

fn round(lab: &Lab, side: usize, times: &mut [Times; Load::ALL.len()]) -> Result<()> {
    lab.pause(Duration::from_millis(200))?;
    for (load, times) in Load::ALL.into_iter().zip(times) {
        times[side].push(load.run(lab)?);
    }
    Ok(())
}

fn row(load: Load, times: &Times, side: usize, others: bool) -> Row {
    let of = |side: usize| median(&times[side]) / load.operations();
    let ratios = ratios(&times[side], &times[0]);
    let (low, high) = middle_half(&ratios);
    let row = Row::new(format!("wall clock, {}, {}", load.name(), SIDES[side]), Unit::Seconds, of(side))
        .beside(NOTHING, of(0))
        .note(format!(
            "round by round {:.2}× of {NOTHING}, the middle half of {ROUNDS} rounds {low:.2}× to {high:.2}×",
            median(&ratios)
        ));
    if side == IDLE {
        return row.doubt(doubt(&ratios, 1.0, others));
    }
    let row = row.beside(RUNQLAT, of(3));
    match load {
        Load::PingPong => row.target(Target::times(LIMIT, NOTHING)).doubt(doubt(&ratios, LIMIT, others)),
        _ => row.doubt(doubt(&ratios, 1.0, others)),
    }
}

/// Each run by its neighbour of the same round.
fn ratios(with: &[f64], without: &[f64]) -> Vec<f64> {
    with.iter().zip(without).map(|(with, without)| with / without).collect()
}

/// Why it cannot be told on which side of `limit` the ratio lies, where that is so.
fn doubt(ratios: &[f64], limit: f64, others: bool) -> Option<String> {
    if others {
        return Some("somebody else's program was on the same hook".to_owned());
    }
    let (low, high) = middle_half(ratios);
    // Neither comparison holds for what is no number.
    let told = low > limit || high < limit;
    (!told).then(|| format!("half of the rounds scatter around {limit}×: {low:.2}× to {high:.2}×"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_within_the_scatter_is_undecided() {
        let quiet = [1.08, 1.09, 1.10, 1.11, 1.12];
        assert_eq!(doubt(&quiet, 1.0, false), None);
        assert_eq!(doubt(&quiet, 1.15, false), None);
        assert!(doubt(&quiet, 1.10, false).is_some());
        assert!(doubt(&[0.8, 0.9, 1.0, 1.2, 1.4], 1.0, false).unwrap().contains("0.90× to 1.20×"));
        assert!(doubt(&[], 1.0, false).is_some());
        assert!(doubt(&quiet, 1.0, true).is_some());
        assert_eq!(ratios(&[2.0, 3.0], &[1.0, 2.0]), [2.0, 1.5]);
    }
}
