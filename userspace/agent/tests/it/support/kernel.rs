//! The kernel's own figures, and its means to stop and move processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use xtask::rig::{Container, cgroup};

use super::eventually;

/// Stops all processes of containers, those in cgroups below theirs too, and waits until none runs.
pub(crate) fn freeze(containers: &[&Container]) {
    for container in containers {
        eventually("the container is frozen", || try_freeze(container).then_some(()));
    }
}

/// v1 can stay at FREEZING for ever where processes are started meanwhile; so it is let go, to be tried again.
fn try_freeze(container: &Container) -> bool {
    const PATIENCE: Duration = Duration::from_millis(500);
    let (file, v1) = freezer(container);
    fs::write(&file, if v1 { "FROZEN" } else { "1" }).unwrap();
    let (shown, state) =
        if v1 { (file.clone(), "FROZEN\n") } else { (file.with_file_name("cgroup.events"), "frozen 1\n") };
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if fs::read_to_string(&shown).unwrap().contains(state) {
            return true;
        }
        sleep(Duration::from_millis(5));
    }
    fs::write(&file, if v1 { "THAWED" } else { "0" }).unwrap();
    false
}

/// Lets frozen containers go on.
pub(crate) fn thaw(containers: &[&Container]) {
    for container in containers {
        let (file, v1) = freezer(container);
        fs::write(file, if v1 { "THAWED" } else { "0" }).unwrap();
    }
}

/// The file that freezes, and whether it is v1's.
fn freezer(container: &Container) -> (PathBuf, bool) {
    let dir = cgroup::dir("freezer", container.cgroup());
    let v1 = dir.join("freezer.state");
    if v1.is_file() { (v1, true) } else { (dir.join("cgroup.freeze"), false) }
}

/// The folder of a cgroup in the hierarchy that accounts CPU time.
pub(crate) fn cpu_dir(path: &str) -> PathBuf {
    cgroup::dir("cpuacct", path)
}

/// A cgroup of the hierarchy that accounts CPU time; removed with this value.
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    /// Makes one of that name, and of this process alone.
    pub(crate) fn new(name: &str) -> Self {
        let dir = cpu_dir(&format!("/podscope-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that have just ended leave a moment later.
        let start = Instant::now();
        while fs::remove_dir(&self.0).is_err() && start.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(20));
        }
    }
}

/// The processes in a cgroup folder, without those below it.
pub(crate) fn procs(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Moves a process with all its threads into a cgroup folder.
pub(crate) fn enter(dir: &Path, pid: u32) {
    fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
}

/// Moves a process into a container's cgroup in every hierarchy, as if it had been started there.
pub(crate) fn adopt(container: &Container, pid: u32) {
    for dir in cgroup::dirs(container.cgroup()) {
        enter(&dir, pid);
    }
}

/// Keeps a process on one CPU.
pub(crate) fn pin(pid: u32, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(Some(Pid::from_raw(pid as i32).unwrap()), &set).unwrap();
}

/// A file of a process.
pub(crate) fn proc_file(pid: u32, name: &str) -> String {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A number from a file of lines `Key: number …`, such as status and io.
pub(crate) fn keyed(pid: u32, name: &str, key: &str) -> u64 {
    let text = proc_file(pid, name);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {key} in /proc/{pid}/{name}:\n{text}"))
}

/// Field `number` of `/proc/PID/stat`, counted from 1 as proc(5) does; only those behind the name.
pub(crate) fn stat(pid: u32, number: usize) -> u64 {
    let text = proc_file(pid, "stat");
    let (_, behind) = text.rsplit_once(") ").unwrap();
    behind.split(' ').nth(number - 3).and_then(|field| field.trim().parse().ok()).unwrap()
}

/// `/proc/PID/schedstat`, of the first thread: time on a CPU and time in a run queue, nanoseconds.
pub(crate) fn schedstat(pid: u32) -> (u64, u64) {
    let text = proc_file(pid, "schedstat");
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1])
}

/// A number that the kernel counts for a container's memory, from a file of lines `key number`.
pub(crate) fn counted(container: &Container, file: &str, key: &str) -> u64 {
    let path = cgroup::dir("memory", container.cgroup()).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {key:?} in {}:\n{text}", path.display()))
}

/// Processes that were killed because the container had no memory left.
pub(crate) fn oom_kills(container: &Container) -> u64 {
    let v1 = cgroup::dir("memory", container.cgroup()).join("memory.oom_control").is_file();
    counted(container, if v1 { "memory.oom_control" } else { "memory.events" }, "oom_kill ")
}
