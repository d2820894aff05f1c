//! Where a cgroup path stands in the host's file system, v1, v2 or both, and the kernel's own figures of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// The folder of the cgroup `path` in the hierarchy that has `controller`: v1's where it is mounted, else v2's.
#[must_use]
pub fn dir(controller: &str, path: &str) -> PathBuf {
    let v1 = Path::new(ROOT).join(controller);
    let top = if v1.is_dir() { v1 } else { Path::new(ROOT).to_path_buf() };
    top.join(path.trim_start_matches('/'))
}

/// Every folder that the cgroup `path` has now: one for each hierarchy of v1, one for v2.
#[must_use]
pub fn dirs(path: &str) -> Vec<PathBuf> {
    let below = path.trim_start_matches('/');
    let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = std::iter::once(PathBuf::from(ROOT)).chain(hierarchies);
    all.map(|top| top.join(below)).filter(|dir| dir.is_dir()).collect()
}

/// The CPU time in nanoseconds that the kernel has counted for a cgroup and those below it (v2: in whole
/// microseconds).
///
/// # Errors
/// When the cgroup is gone or has no CPU figures.
pub fn cpu_time(path: &str) -> Result<u64> {
    let dir = dir("cpuacct", path);
    if let Ok(text) = fs::read_to_string(dir.join("cpuacct.usage")) {
        return text.trim().parse().with_context(|| format!("no number in {}/cpuacct.usage", dir.display()));
    }
    let file = dir.join("cpu.stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
    Ok(micros.with_context(|| format!("no usage_usec in {}", file.display()))? * 1000)
}
