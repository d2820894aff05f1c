//! The price of each kernel program, attached alone and together with all others, under work that reaches all hooks.
//!
//! Alone means with the two that give a task its state: without it the others find nothing to work on.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use podscope_catalog::attribute::PROGRAM;

use super::agent::Agent;
use super::bpf::{self, Stats};
use super::churn;
use super::lab::{Lab, median};
use super::row::{Row, Unit};
use super::tools;

const ROUNDS: usize = 3;
/// What a busy node switches in a second, on one CPU.
const SWITCHES: f64 = 100_000.0;
const TOGETHER: &str = "its price among all others";
/// What gives tasks their state.
const STATE: [&str; 2] = ["sched_process_fork", "task"];
/// What the kernel keeps of a program's name; a newer bpftool finds the whole of it.
const NAME: usize = 15;

/// Runs of a program.
#[derive(Clone, Debug, Default)]
struct Runs {
    /// Of one run, seconds; an entry a round.
    each: Vec<f64>,
    /// Per second of the work; an entry a round.
    rate: Vec<f64>,
}

type ByName = BTreeMap<String, Runs>;

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    tools::install(lab)?;
    let _stats = Stats::on()?;
    let (mut together, mut alone) = (ByName::new(), ByName::new());
    for _ in 0..ROUNDS {
        round(lab, &[], "", &mut together)?;
        for name in PROGRAM.values {
            let left_out = |other: &&str| other != name && !STATE.contains(other);
            let others: Vec<&str> = PROGRAM.values.iter().copied().filter(left_out).collect();
            round(lab, &others, name, &mut alone)?;
        }
    }
    let mut rows: Vec<Row> = PROGRAM.values.iter().map(|name| row(name, &alone, &together)).collect();
    let all: f64 = together.values().map(|runs| median(&runs.each) * median(&runs.rate)).sum();
    rows.push(
        Row::new("all probes under that work", Unit::Percent, all * 100.0).note(
            "context switches, starts, moves between cgroups and reclaim one after the other, as fast as they go",
        ),
    );
    Ok(rows)
}

/// One round of the work; the runs of the programs whose name begins with `name` are taken.
fn round(lab: &Lab, without: &[&str], name: &str, to: &mut ByName) -> Result<()> {
    let flags: Vec<&str> = without.iter().flat_map(|name| ["--without-probe", *name]).collect();
    let agent = Agent::start(lab, &flags)?;
    let (before, start) = (bpf::programs(agent.pid())?, Instant::now());
    churn::run(lab)?;
    let seconds = start.elapsed().as_secs_f64();
    for program in bpf::since(&bpf::programs(agent.pid())?, &before) {
        if program.runs > 0.0 && program.name.starts_with(name.get(..NAME).unwrap_or(name)) {
            let runs = to.entry(program.name).or_default();
            runs.each.push(program.seconds / program.runs);
            runs.rate.push(program.runs / seconds);
        }
    }
    Ok(())
}

fn row<'a>(name: &str, alone: &'a ByName, together: &'a ByName) -> Row {
    let what = format!("probe {name}, a run");
    let find = |runs: &'a ByName| runs.get(name).or_else(|| runs.get(name.get(..NAME)?));
    let (Some(alone), Some(together)) = (find(alone), find(together)) else {
        return Row::not_run(what, &anyhow::anyhow!("it is off on this kernel, or no event of the work reached it"));
    };
    let (each, rate) = (median(&alone.each), median(&together.rate));
    let note = if name == "sched_switch" {
        let share = Unit::Percent.show(median(&together.each) * SWITCHES * 100.0);
        format!("{rate:.0} a second here; {share} of a core at {SWITCHES:.0} switches a second")
    } else {
        format!("{rate:.0} a second here")
    };
    Row::new(what, Unit::Seconds, each).beside(TOGETHER, median(&together.each)).note(note)
}
