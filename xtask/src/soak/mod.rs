//! `cargo xtask soak`: the agent under far more than a node has, for as long as is asked for.
//!
//! | file | what it does |
//! |---|---|
//! | `storm` | 100,000 short processes from 50 containers |
//! | `crowd` | 30,000 tasks in 2,000 containers |
//! | `churn` | containers that come and go, for an hour |
//! | `samples`, `chart` | what the agent holds over time: whether it stays flat, as lines and as a picture |
//! | `page` | figures from the agent's page |

mod chart;
mod churn;
mod crowd;
mod page;
mod samples;
mod storm;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::samples::{CURVES, Sample};
use crate::bench::agent::Agent;
use crate::bench::lab::{self, Lab};
use crate::{cmd, repository, run};

/// How often the agent is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Parts; all where none is given.
    parts: Vec<Part>,
    /// Of churn. What has gone is remembered for up to ten minutes, so fewer would show its growth alone.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=1440))]
    minutes: u32,
    /// A folder with a podscope-agent that is built already, instead of building one.
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
    /// Also keep the figures and the picture in docs.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// 100,000 short processes from 50 containers.
    Storm,
    /// 30,000 tasks in 2,000 containers at once.
    Crowd,
    /// Containers that come and go.
    Churn,
}

/// What a part has found: its figures, and in words what should not be.
struct Found {
    figures: Value,
    faults: Vec<String>,
}

/// Runs the parts one after the other, and writes what they found to `target/soak`.
///
/// # Errors
/// When this is not root, a part cannot run, or something is not as it should be; the message has all of it.
pub fn soak(args: &Args) -> Result<()> {
    if !cmd::is_root() {
        bail!("cgroups need root: run `sudo -E cargo xtask soak`");
    }
    let lab = Lab::of(args.built.clone())?;
    let parts = if args.parts.is_empty() { vec![Part::Storm, Part::Crowd, Part::Churn] } else { args.parts.clone() };
    let mut folders = vec![run::target().join("soak")];
    folders.extend(args.keep.then(|| repository().join("docs")));
    for folder in &folders {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut faults = Vec::new();
    for part in parts {
        let (name, found) = match part {
            Part::Storm => ("storm", storm::run(&lab)?),
            Part::Crowd => ("crowd", crowd::run(&lab)?),
            Part::Churn => ("churn", churn::run(&lab, args.minutes, &folders)?),
        };
        println!("{name}: {:#}", found.figures);
        let text = format!("{:#}\n", json!({ "machine": lab::machine(), name: found.figures }));
        for folder in &folders {
            write(&folder.join(format!("soak-{name}.json")), &text)?;
        }
        faults.extend(found.faults.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

fn write(file: &std::path::Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Does `work` while the agent is looked at every second.
fn watched<T>(lab: &Lab, agent: &Agent, work: impl FnOnce() -> Result<T> + Send) -> Result<(T, Vec<Sample>)>
where
    T: Send,
{
    let start = Instant::now();
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut samples = Vec::new();
        let mut due = Duration::ZERO;
        while !working.is_finished() {
            samples.push(Sample::take(agent, start.elapsed())?);
            due += EVERY;
            lab.pause(due.saturating_sub(start.elapsed()))?;
        }
        let done = working.join().map_err(|_| anyhow::anyhow!("the work failed"))??;
        Ok((done, samples))
    })
}

/// Waits until all that has happened so far is in the agent's page, and returns it.
fn settled(lab: &Lab, agent: &Agent) -> Result<String> {
    let wanted = agent.collections()? + 4.0;
    lab.wait("further collections", Duration::from_secs(60), || Ok(agent.collections()? >= wanted))?;
    agent.metrics()
}

/// What the agent could not keep, by reason.
fn losses(page: &str) -> Value {
    let lost = page::samples(page, "podscope_agent_losses_total").filter(|(_, count)| *count > 0.0);
    lost.map(|(labels, count)| (labels.to_owned(), json!(count))).collect::<serde_json::Map<_, _>>().into()
}

/// Each curve's medians in the second and in the last quarter.
fn medians(samples: &[Sample]) -> Value {
    let of = |index| {
        let (early, late) = samples::quarters(samples, index);
        json!({ "second quarter": early, "last quarter": late })
    };
    CURVES
        .iter()
        .enumerate()
        .map(|(index, curve)| (curve.name.to_owned(), of(index)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
