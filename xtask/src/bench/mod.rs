//! `cargo xtask bench`: what podscope costs, beside other programs that do part of the same, measured in one run.
//!
//! | file | what it does |
//! |---|---|
//! | `row`, `report` | rows, ratios, verdicts; the table, the committed results, what has changed since them |
//! | `page`, `picture` | docs/cost.md and its picture, from the committed results |
//! | `lab` | what all measurements share: binaries, pauses, the host's facts |
//! | `agent`, `bpf`, `proc`, `tools`, `crowd`, `churn`, `receiver` | the agent, the kernel's books on programs and maps, processes, other programs, thousands of processes in containers, work that reaches every hook, an OTLP receiver |
//! | `switch`, `probes`, `wall`, `collection`, `growth`, `cpus`, `idle`, `throughput`, `vm` | one family of rows each |

pub(crate) mod agent;
mod bpf;
mod churn;
mod collection;
mod cpus;
mod crowd;
mod growth;
mod idle;
pub(crate) mod lab;
mod page;
mod picture;
mod probes;
pub(crate) mod proc;
mod receiver;
mod report;
mod row;
mod switch;
mod throughput;
mod tools;
mod vm;
mod wall;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::lab::Lab;
use self::report::{Measured, Report};
use self::row::Row;
use crate::{cmd, generate, repository};

pub(crate) use self::page::{markdown, readme};
pub(crate) use self::picture::svg;

/// The committed results.
pub(crate) const RESULTS: &str = "docs/bench/results.json";

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Families of rows; all where none is given.
    rows: Vec<Family>,
    /// Also write results and machine facts to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also print the change against the committed results.
    #[arg(long)]
    compare: bool,
    /// Also keep the results as those to commit, with the page, the picture and the README's table made from them.
    #[arg(long)]
    save: bool,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Family {
    /// Run time of the scheduling programs per context switch, with and without scheduling detail.
    Switch,
    /// Run time of each kernel program, alone and together.
    Probes,
    /// Wall clock of benchmarks with and without the agent.
    Wall,
    /// CPU time of a collection and its encoding.
    Collection,
    /// A collection with ever more tasks and containers.
    Growth,
    /// What grows with the number of CPUs, on paper.
    Cpus,
    /// The agent on an otherwise idle host, and its memory.
    Idle,
    /// 100,000 points over OTLP.
    Throughput,
    /// Virtual machines: a switch between virtual CPUs, an exit from KVM, a collection with 200 machines.
    Vm,
}

impl Family {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it says on the command line.
    fn help(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    fn measure(self, lab: &Lab) -> Result<Vec<Row>> {
        match self {
            Self::Switch => switch::measure(lab),
            Self::Probes => probes::measure(lab),
            Self::Wall => wall::measure(lab),
            Self::Collection => collection::measure(lab),
            Self::Growth => growth::measure(lab),
            Self::Cpus => cpus::measure(lab),
            Self::Idle => idle::measure(lab),
            Self::Throughput => throughput::measure(lab),
            Self::Vm => vm::measure(lab),
        }
    }
}

/// Measures, prints the table, and writes what was asked for.
///
/// # Errors
/// When this is not root, the agent cannot be built, a signal came, or a file cannot be written. A family that
/// cannot be measured is a row with the reason.
pub fn bench(args: &Args) -> Result<()> {
    if !cmd::is_root() {
        bail!("measuring needs root: run `sudo -E cargo xtask bench`");
    }
    let path = repository().join(RESULTS);
    let mut kept = Report::read(&path)?;
    let lab = Lab::prepare()?;
    let families = if args.rows.is_empty() { Family::value_variants() } else { &args.rows };
    let report = Report { families: measure(&lab, families)? };
    print!("{}", report.text());
    if args.compare {
        print!("\n{}", report.compared(&kept));
    }
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    if args.save {
        kept.take(report);
        kept.write(&path)?;
        generate::generate(false)?;
    }
    Ok(())
}

fn measure(lab: &Lab, families: &[Family]) -> Result<BTreeMap<Family, Measured>> {
    let mut measured = BTreeMap::new();
    for &family in families {
        let busy_percent = lab::busy()?;
        eprintln!("measuring: {} (other work takes {busy_percent:.0} % of the cores)", family.name());
        let rows = match family.measure(lab) {
            Ok(rows) => rows,
            Err(error) if lab.ended() => return Err(error),
            Err(error) => vec![Row::not_run(family.name(), &error)],
        };
        measured.insert(family, Measured { machine: lab::machine(), busy_percent, rows });
    }
    Ok(measured)
}
