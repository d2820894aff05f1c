//! Plain cgroups with the paths that a kubelet and a runtime give them, for thousands of processes in containers
//! without a runtime.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{cgroup, cmd};

const ROOT: &str = "/sys/fs/cgroup";
const PARENT: &str = "kubepods/burstable";
const LIMIT: Duration = Duration::from_secs(120);
/// Waits until it has been moved, and becomes the command.
const WAIT: &str = r#"read -r _ && exec "$@" < /dev/null"#;

/// Cgroups of containers, one in each pod; dropping them ends their processes and removes them.
#[derive(Debug)]
pub struct Groups {
    /// All pods' uids begin so: what an earlier run has left is known by it.
    mark: String,
    count: usize,
}

impl Groups {
    /// Makes `count` containers' cgroups in every hierarchy that a runtime uses. `mark` tells those of one user from
    /// those of another; what an earlier run has left under it is removed.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn make(mark: u16, count: usize) -> Result<Self> {
        let groups = Self { mark: format!("bec4{mark:04x}"), count };
        groups.clear();
        for index in 0..count {
            groups.make_one(index)?;
        }
        Ok(groups)
    }

    /// Makes the cgroup of a container.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn make_one(&self, index: usize) -> Result<()> {
        for top in hierarchies() {
            let dir = top.join(self.path(index).trim_start_matches('/'));
            // Another user may remove an empty parent at the same time.
            let made = (0..3).find_map(|_| fs::create_dir_all(&dir).ok());
            made.with_context(|| format!("cannot make {}", dir.display()))?;
            enable_controllers(&top, &dir);
        }
        Ok(())
    }

    /// Removes the cgroup of a container with its pod's. It must be empty.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn remove_one(&self, index: usize) -> Result<()> {
        for dir in self.dirs(index) {
            for dir in dir.ancestors().take(2).filter(|dir| dir.exists()) {
                fs::remove_dir(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
            }
        }
        Ok(())
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self, index: usize) -> String {
        format!("{}{index:056x}", self.mark)
    }

    /// The path of the container's cgroup, as in `/proc/PID/cgroup`.
    #[must_use]
    pub fn path(&self, index: usize) -> String {
        format!("/{PARENT}/pod{}-0000-4000-8000-{index:012x}/{}", self.mark, self.id(index))
    }

    /// The container's folder in each hierarchy.
    #[must_use]
    pub fn dirs(&self, index: usize) -> Vec<PathBuf> {
        hierarchies().iter().map(|top| top.join(self.path(index).trim_start_matches('/'))).collect()
    }

    /// CPU time of the container by the kernel's account, ns.
    ///
    /// # Errors
    /// When the cgroup is gone.
    pub fn cpu_time(&self, index: usize) -> Result<u64> {
        cgroup::cpu_time(&self.path(index))
    }

    /// Starts a program in the container.
    ///
    /// It is moved there while it sleeps: what a running task has used since the last tick of the kernel's clock counts
    /// for a v1 hierarchy that does not schedule where it is by then.
    ///
    /// # Errors
    /// When it cannot be started or moved.
    pub fn start(&self, index: usize, program: &Path, args: &[&str]) -> Result<Child> {
        let mut command = cmd::command("sh", ["-c", WAIT, "wait"]);
        let mut child = command.arg(program).args(args).stdin(Stdio::piped()).spawn().context("cannot start sh")?;
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).with_context(|| format!("cannot read {stat}"))?.contains(") S ") {
            std::thread::sleep(Duration::from_micros(200));
        }
        for dir in self.dirs(index) {
            let file = dir.join("cgroup.procs");
            fs::write(&file, child.id().to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut input = child.stdin.take().context("sh has no standard input")?;
        input.write_all(b"\n").context("cannot let sh go on")?;
        Ok(child)
    }

    /// The processes in all containers, each once.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let texts = self.containers().into_iter().filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok());
        let mut pids: Vec<u32> =
            texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Containers that there were at first.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The pods' folders in every hierarchy.
    fn pods(&self) -> Vec<PathBuf> {
        let prefix = format!("pod{}-", self.mark);
        let below = |top: PathBuf| fs::read_dir(top.join(PARENT)).into_iter().flatten().flatten();
        let all = hierarchies().into_iter().flat_map(below).map(|entry| entry.path());
        all.filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))).collect()
    }

    fn containers(&self) -> Vec<PathBuf> {
        let below = |pod: PathBuf| fs::read_dir(pod).into_iter().flatten().flatten().map(|entry| entry.path());
        self.pods().into_iter().flat_map(below).filter(|dir| dir.is_dir()).collect()
    }

    /// Ends all processes and removes their groups, also those that an earlier run has left.
    pub fn clear(&self) {
        let start = Instant::now();
        loop {
            let pids = self.pids();
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
        while !self.pods().is_empty() && start.elapsed() < LIMIT {
            for dir in self.containers().into_iter().chain(self.pods()) {
                let _ = fs::remove_dir(dir);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for top in hierarchies() {
            // Where a kubelet runs, or others have their groups there, these are not empty and stay.
            let _ = fs::remove_dir(top.join(PARENT));
            let _ = fs::remove_dir(top.join("kubepods"));
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.clear();
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
