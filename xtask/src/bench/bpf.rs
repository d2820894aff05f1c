//! The kernel's own books on programs and maps, as bpftool prints them.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::tools;
use crate::cmd;

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// While it lives, the kernel counts runs and run time of programs, which costs 50 to 100 ns a run of its own.
pub(super) struct Stats {
    before: String,
}

impl Stats {
    pub(super) fn on() -> Result<Self> {
        Self::set("1")
    }

    pub(super) fn off() -> Result<Self> {
        Self::set("0")
    }

    fn set(value: &str) -> Result<Self> {
        let before = fs::read_to_string(STATS).with_context(|| format!("cannot read {STATS}"))?;
        fs::write(STATS, value).with_context(|| format!("cannot write {STATS}"))?;
        Ok(Self { before })
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        // Nothing else can be done about it here.
        let _ = fs::write(STATS, self.before.trim());
    }
}

/// A loaded program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) id: u64,
    /// The kernel keeps 15 bytes of it.
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) runs: f64,
}

/// A map.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) key_bytes: u64,
    pub(super) entries: u64,
    pub(super) value_bytes: u64,
    pub(super) bytes: u64,
}

/// The programs that a process holds.
pub(super) fn programs(pid: u32) -> Result<Vec<Program>> {
    let own = ids(pid, "prog_id:")?;
    let programs = show("prog")?.into_iter().filter_map(|entry| {
        Some(Program {
            id: entry["id"].as_u64()?,
            name: entry["name"].as_str().unwrap_or_default().to_owned(),
            seconds: entry["run_time_ns"].as_u64().unwrap_or(0) as f64 / 1e9,
            runs: entry["run_cnt"].as_u64().unwrap_or(0) as f64,
        })
    });
    Ok(programs.filter(|program| own.contains(&program.id)).collect())
}

/// Whether anybody has a program of that name loaded.
pub(super) fn is_loaded(name: &str) -> Result<bool> {
    Ok(show("prog")?.iter().any(|program| program["name"] == name))
}

/// What the programs have done since they were looked at before.
pub(super) fn since(now: &[Program], before: &[Program]) -> Vec<Program> {
    let mut programs = now.to_vec();
    for program in &mut programs {
        if let Some(before) = before.iter().find(|before| before.id == program.id) {
            program.seconds -= before.seconds;
            program.runs -= before.runs;
        }
    }
    programs
}

/// The maps that a process holds.
pub(super) fn maps(pid: u32) -> Result<Vec<Map>> {
    let own = ids(pid, "map_id:")?;
    let of_process = show("map")?.into_iter().filter(|entry| entry["id"].as_u64().is_some_and(|id| own.contains(&id)));
    Ok(of_process
        .map(|entry| Map {
            name: entry["name"].as_str().unwrap_or_default().to_owned(),
            key_bytes: entry["bytes_key"].as_u64().unwrap_or(0),
            entries: entry["max_entries"].as_u64().unwrap_or(0),
            kind: entry["type"].as_str().unwrap_or("task_storage").to_owned(),
            value_bytes: entry["bytes_value"].as_u64().unwrap_or(0),
            bytes: entry["bytes_memlock"].as_u64().unwrap_or(0),
        })
        .collect())
}

/// The numbers behind a key in what the kernel says of a process's descriptors.
fn ids(pid: u32, key: &str) -> Result<BTreeSet<u64>> {
    let dir = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
    // A descriptor that is closed meanwhile is none of those that are looked for.
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let of_text = |text: String| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(key)).and_then(|id| id.trim().parse().ok())
    };
    Ok(texts.filter_map(of_text).collect())
}

fn show(kind: &str) -> Result<Vec<Value>> {
    let text = cmd::output(&mut cmd::command(tools::bpftool()?, ["--json", kind, "show"]))?;
    serde_json::from_str(&text).with_context(|| format!("`bpftool {kind} show` printed no list"))
}
