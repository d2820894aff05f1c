//! `cargo xtask bench`: what podscope costs, beside other programs that do part of the same, measured in one run.
//!
//! | file | what it does |
//! |---|---|
//! | `report` | rows, ratios, verdicts; the table, the JSON, the README |
//! | `lab` | what all measurements share: binaries, pauses, the host's facts |
//! | `agent`, `bpf`, `proc`, `tools`, `crowd`, `receiver` | the agent, the kernel's books on programs and maps, processes, other programs, thousands of processes in containers, an OTLP receiver |
//! | `switch`, `wall`, `collection`, `idle`, `throughput` | one family of rows each |

pub(crate) mod agent;
mod bpf;
mod collection;
mod crowd;
mod idle;
pub(crate) mod lab;
pub(crate) mod proc;
mod receiver;
mod report;
mod switch;
mod throughput;
mod tools;
mod wall;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::lab::Lab;
use self::report::{Report, Row};
use crate::cmd;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Families of rows; all where none is given.
    rows: Vec<Family>,
    /// Also write results and machine facts to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the table into README.md, between its two bench marks.
    #[arg(long)]
    readme: bool,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Family {
    /// Run time of the scheduling programs per context switch.
    Switch,
    /// Wall clock of a scheduling benchmark with and without the agent.
    Wall,
    /// CPU time of a collection and its encoding.
    Collection,
    /// The agent on an otherwise idle host, and its memory.
    Idle,
    /// 100,000 points over OTLP.
    Throughput,
}

impl Family {
    const ALL: [Self; 5] = [Self::Switch, Self::Wall, Self::Collection, Self::Idle, Self::Throughput];

    fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Wall => "wall",
            Self::Collection => "collection",
            Self::Idle => "idle",
            Self::Throughput => "throughput",
        }
    }

    fn measure(self, lab: &Lab) -> Result<Vec<Row>> {
        match self {
            Self::Switch => switch::measure(lab),
            Self::Wall => wall::measure(lab),
            Self::Collection => collection::measure(lab),
            Self::Idle => idle::measure(lab),
            Self::Throughput => throughput::measure(lab),
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
    let lab = Lab::prepare()?;
    let families = if args.rows.is_empty() { Family::ALL.to_vec() } else { args.rows.clone() };
    let mut report = Report::new(lab::facts());
    for family in families {
        let busy = lab::busy()?;
        eprintln!("measuring: {} (other work takes {busy:.0} % of the cores)", family.name());
        report.busy.push(busy);
        match family.measure(&lab) {
            Ok(rows) => report.rows.extend(rows.into_iter().map(|row| (family.name(), row))),
            Err(error) if lab.ended() => return Err(error),
            Err(error) => report.rows.push((family.name(), Row::not_run(family.name(), &error))),
        }
    }
    print!("{}", report.text());
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.readme {
        report.write_into(&crate::repository().join("README.md"))?;
    }
    Ok(())
}
