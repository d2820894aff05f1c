//! Cgroups whose processes work while something fails: what the kernel counts for them is the truth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, SUMS};
use crate::otlp_support::receiver::Receiver;
use crate::support::{LIMIT, eventually, kernel};
use xtask::rig::cgroup;

/// As for the conservation of containers.
const TOLERANCE: f64 = 0.001;
const TICK: f64 = 0.004;

/// Short processes of two executables, and a shell that burns what shows in its own series.
const WORK: &str = "i=0; while [ $i -lt 20 ]; do i=$((i + 1)); /bin/true; done; \
                    i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done";

/// A container's cgroup, without a container runtime.
pub(crate) struct Ground {
    /// The container's id.
    pub(crate) id: String,
    dir: PathBuf,
    path: String,
    /// Removed with this value.
    own: bool,
    workers: Vec<Child>,
}

impl Ground {
    /// Makes the cgroup of a container that no runtime knows.
    pub(crate) fn new() -> Self {
        let [id, uid] = [rand::random::<[u64; 4]>().map(|part| format!("{part:016x}")).concat(), hex_uid()];
        let path = format!("/kubepods/burstable/pod{uid}/{id}");
        let dir = cgroup::dir("cpuacct", &path);
        // Folders above it may just be removed by others, because they are empty.
        eventually("a cgroup", || fs::create_dir_all(&dir).ok());
        Self { id, dir, path, own: true, workers: Vec::new() }
    }

    /// Takes the cgroup of a container.
    pub(crate) fn of(container: &xtask::rig::Container) -> Self {
        let (id, path) = (container.id().to_owned(), container.cgroup().to_owned());
        Self { id, dir: cgroup::dir("cpuacct", &path), path, own: false, workers: Vec::new() }
    }

    /// Starts processes in it that work for a while and end.
    pub(crate) fn work(&mut self) {
        self.work_by(Path::new("sh"), WORK);
    }

    /// Starts a shell in it, which is that program, with a script.
    pub(crate) fn work_by(&mut self, program: &Path, script: &str) {
        let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$0\" -c \"$1\"", self.dir.display());
        let mut command = Command::new("sh");
        command.args(["-c", &enter]).arg(program).arg(script);
        self.workers.push(command.stdin(Stdio::null()).spawn().unwrap());
    }

    /// Waits until all that was started has ended.
    pub(crate) fn rest(&mut self) {
        for mut worker in self.workers.drain(..) {
            assert!(worker.wait().unwrap().success(), "the work in {} failed", self.path);
        }
    }

    /// CPU time by the kernel's own counter, s.
    pub(crate) fn cpu(&self) -> f64 {
        cgroup::cpu_time(&self.path).unwrap() as f64 / 1e9
    }

    /// Waits until all has ended and the receiver holds what the kernel has counted: as the sum of the container, of
    /// its executables, and of its processes with the rest.
    pub(crate) fn is_whole(&mut self, ledger: &mut Ledger, receiver: &Receiver) {
        self.is_whole_since(ledger, receiver, 0.0, 0);
    }

    /// The same of what was counted after `before`, in series that began after `start_ns`.
    pub(crate) fn is_whole_since(&mut self, ledger: &mut Ledger, receiver: &Receiver, before: f64, start_ns: u64) {
        self.rest();
        let own = self.cpu() - before;
        assert!(own > 0.01, "only {own} s of work in {}", self.path);
        let mut arrived = [0.0; SUMS.len()];
        let is_whole = |sum: &f64| (sum - own).abs() <= own * TOLERANCE + TICK;
        let start = Instant::now();
        while !arrived.iter().all(is_whole) {
            assert!(start.elapsed() < LIMIT, "{SUMS:?}: {arrived:?} s arrived, the cgroup has {own} s");
            sleep(Duration::from_millis(50));
            ledger.read(receiver);
            arrived = SUMS.map(|metric| ledger.sum_since(metric, &self.id, start_ns));
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
        if self.own {
            for pid in kernel::procs(&self.dir) {
                eprintln!("process {pid} is left in {}", self.path);
            }
            let _ = fs::remove_dir(&self.dir).and_then(|()| fs::remove_dir(self.dir.parent().unwrap()));
        }
    }
}

fn hex_uid() -> String {
    let hex = format!("{:032x}", rand::random::<u128>());
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
