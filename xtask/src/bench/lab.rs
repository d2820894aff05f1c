//! What all measurements share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::report::Machine;
use crate::cmd;
use crate::setup::{self, Cache, toolchain::Source};

const STEP: Duration = Duration::from_millis(50);

/// The built programs and the wish to stop.
pub(crate) struct Lab {
    pub(crate) cache: Cache,
    target: PathBuf,
    ended: Arc<AtomicBool>,
}

impl Lab {
    /// Sets up and builds what is measured, with optimisation.
    pub(crate) fn prepare() -> Result<Self> {
        Self::of(None)
    }

    /// Takes the programs from a folder, where one is given, instead of building them.
    pub(crate) fn of(built: Option<PathBuf>) -> Result<Self> {
        let (cache, target) = match built {
            Some(folder) => (Cache::locate()?, folder),
            None => (Self::build()?, crate::run::target().join("release")),
        };
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // What was changed on the host is undone on the way out.
            signal_hook::flag::register(signal, Arc::clone(&ended)).context("cannot take signals")?;
        }
        Ok(Self { cache, target, ended })
    }

    fn build() -> Result<Cache> {
        let cache = setup::setup(Source::Auto)?;
        let agent = ["build", "--release", "--package", "podscope-agent", "--bins", "--examples"];
        cmd::run(&mut cmd::cargo(agent))?;
        cmd::run(&mut cmd::cargo(["build", "--release", "--package", "xtask", "--bin", "podscope-load"]))?;
        Ok(cache)
    }

    /// A program of the workspace.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// Whether a signal came.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, span: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            if self.ended() {
                bail!("stopped by a signal");
            }
            let left = span.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(STEP));
        }
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait(&self, what: &str, limit: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !ready()? {
            if start.elapsed() > limit {
                bail!("{what} took longer than {} s", limit.as_secs());
            }
            self.pause(STEP)?;
        }
        Ok(())
    }
}

/// What the machine is.
pub(crate) fn machine() -> Machine {
    let of = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory: f64 = of("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpu: of("/proc/cpuinfo", "model name"),
        cores: cores(),
        memory: format!("{:.0} GB", memory / 1e6),
        cgroup: if v2 { "v2" } else { "v1" }.to_owned(),
    }
}

/// CPUs that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Percent of all cores that other work takes, looked at for a second.
pub(crate) fn busy() -> Result<f64> {
    let before = cpu_times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = cpu_times()?;
    Ok((1.0 - (after.1 - before.1) / (after.0 - before.0)) * 100.0)
}

/// Time of all CPUs in ticks: all, and idle.
fn cpu_times() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time stands in user time already.
    if ticks.len() < 5 {
        bail!("/proc/stat has no CPU times");
    }
    Ok((ticks.iter().take(8).sum(), ticks[3] + ticks[4]))
}

/// Between which values the middle half of them lies; no numbers where there are none.
pub(crate) fn middle_half(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarter: usize| sorted.get(sorted.len() * quarter / 4).copied().unwrap_or(f64::NAN);
    (at(1), at(3))
}

/// The middle value; of an even number the lower one of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
