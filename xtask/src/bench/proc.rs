//! What the kernel says of a process.

use std::fs;

use anyhow::{Context, Result};

/// CPU time, seconds; of a process with its ended threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// CPU time so far, in steps of a clock tick (10 ms as a rule): measure over many of them.
pub(crate) fn cpu(pid: u32) -> Result<Cpu> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold spaces; state follows it, as field 3.
    let (_, rest) = text.rsplit_once(')').with_context(|| format!("no name in {path}"))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let seconds = |field: usize| -> Result<f64> {
        let ticks: u64 =
            fields.get(field - 3).and_then(|text| text.parse().ok()).context("no CPU time in a stat file")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    };
    Ok(Cpu { user: seconds(14)?, system: seconds(15)? })
}

/// Resident memory now and at its highest, bytes.
pub(crate) fn resident(pid: u32) -> Result<(f64, f64)> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let bytes = |key: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
        let kilobytes: f64 = line.and_then(|text| text.parse().ok()).with_context(|| format!("no {key} in {path}"))?;
        Ok(kilobytes * 1024.0)
    };
    Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
}
