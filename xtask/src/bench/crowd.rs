//! Thousands of processes in containers' cgroups, as a kubelet without a runtime would see them.
//!
//! The cgroups have the paths that a runtime gives them; no runtime is asked, so that only what the agent itself does
//! is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::lab::Lab;
use crate::cmd;

const ROOT: &str = "/sys/fs/cgroup";
const PARENT: &str = "kubepods/burstable";
/// All pods' uids begin so: what an earlier run left is known by it.
const UID: &str = "bec40000-0000-4000-8000-";
const LIMIT: Duration = Duration::from_secs(120);
/// Enters the cgroups, starts sleepers of some threads, and becomes the one process of the container that works a little.
const SCRIPT: &str = r#"
load=$1 sleepers=$2 threads=$3; shift 3
for dir in "$@"; do echo $$ > "$dir/cgroup.procs" || exit 1; done
while [ "$sleepers" -gt 0 ]; do "$load" idle "$threads" & sleepers=$((sleepers - 1)); done
exec "$load" pulse 1 1000
"#;

/// Running processes in cgroups; dropping it ends and removes them.
pub(super) struct Crowd {
    shells: Vec<Child>,
}

impl Crowd {
    /// Starts `containers` with `each` processes: one burns 1 ms every second, the others sleep.
    pub(super) fn start(lab: &Lab, containers: usize, each: usize) -> Result<Self> {
        Self::of_threads(lab, containers, each, 0)
    }

    /// The same with so many threads in each sleeper besides its first.
    pub(super) fn of_threads(lab: &Lab, containers: usize, each: usize, threads: usize) -> Result<Self> {
        remove();
        let mut crowd = Self { shells: Vec::new() };
        for index in 0..containers {
            let dirs = make_groups(index)?;
            let mut command = cmd::command("sh", ["-c", SCRIPT, "crowd"]);
            command.arg(lab.program("podscope-load")).args([each - 1, threads].map(|n| n.to_string())).args(dirs);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            crowd.shells.push(child.context("cannot start a container's processes")?);
        }
        let wanted = containers * each;
        lab.wait("starting the processes", LIMIT, || Ok(pids().len() >= wanted))?;
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        remove();
        for shell in &mut self.shells {
            // Only the exit status would be lost.
            let _ = shell.wait();
        }
    }
}

/// The hierarchies that a runtime uses: v1's, or v2's one.
fn hierarchies() -> Vec<PathBuf> {
    let entries = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    // A new cpuset of v1 takes no process until it has been given CPUs.
    let v1 = entries.filter(|dir| dir.join("tasks").exists() && !dir.ends_with("cpuset"));
    let v1: Vec<PathBuf> = v1.filter(|dir| !fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_symlink())).collect();
    if v1.is_empty() { vec![PathBuf::from(ROOT)] } else { v1 }
}

fn make_groups(index: usize) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for top in hierarchies() {
        let dir = top.join(PARENT).join(format!("pod{UID}{index:012x}/{:064x}", index + 1));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        enable_controllers(&top, &dir);
        dirs.push(dir);
    }
    Ok(dirs)
}

/// On v2 a group has only the controllers that its parents hand on; one that is not there is not measured either.
fn enable_controllers(top: &Path, dir: &Path) {
    for parent in dir.ancestors().skip(1).take_while(|parent| parent.starts_with(top)) {
        let control = parent.join("cgroup.subtree_control");
        if control.exists() {
            for controller in ["+cpu", "+memory", "+io"] {
                let _ = fs::write(&control, controller);
            }
        }
    }
}

/// The pods' folders in every hierarchy.
fn pods() -> Vec<PathBuf> {
    let prefix = format!("pod{UID}");
    let below = |top: PathBuf| fs::read_dir(top.join(PARENT)).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    hierarchies().into_iter().flat_map(below).filter(ours).collect()
}

fn containers() -> Vec<PathBuf> {
    let below = |pod: PathBuf| fs::read_dir(pod).into_iter().flatten().flatten().map(|entry| entry.path());
    pods().into_iter().flat_map(below).filter(|dir| dir.is_dir()).collect()
}

/// The processes, each once.
fn pids() -> Vec<u32> {
    let texts = containers().into_iter().filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok());
    let mut pids: Vec<u32> =
        texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Ends all processes and removes their groups, also those that an earlier run has left.
fn remove() {
    let start = std::time::Instant::now();
    loop {
        let pids = pids();
        for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid.cast_signed())) {
            // It has ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if pids.is_empty() || start.elapsed() > LIMIT {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // A group that still holds an ending process stays until the next try.
    while !pods().is_empty() && start.elapsed() < LIMIT {
        for dir in containers().into_iter().chain(pods()) {
            let _ = fs::remove_dir(dir);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for top in hierarchies() {
        // Where a kubelet runs these are not empty and stay.
        let _ = fs::remove_dir(top.join(PARENT));
        let _ = fs::remove_dir(top.join("kubepods"));
    }
}
