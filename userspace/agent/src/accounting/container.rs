//! One container: the books of its cgroups added up, and the exact remainder beside its published processes.

use foldhash::HashMap;
use podscope_abi::{Counters, EXE_OTHER, EXES_PER_CGROUP, Lives};

use super::process::Process;
use super::split::CpuSplit;

/// An executable within a container, living and ended processes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executable {
    /// Sums since the agent has watched the container.
    pub sums: Counters,
    /// Life cycle.
    pub lives: Lives,
    /// Divided run time.
    pub cpu: CpuSplit,
    /// Living processes at the last collection.
    pub living: u64,
}

/// A container, or the host's processes outside of pods as one.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// By executable id; the rest under [`EXE_OTHER`], which always exists. At most [`EXES_PER_CGROUP`] and the rest.
    pub executables: HashMap<u64, Executable>,
    /// Sum over all executables.
    pub sums: Counters,
    /// Growth of `sums` in the last collection.
    pub delta: Counters,
    /// What the published series of processes have grown by, all together.
    pub exported: Counters,
    /// `sums − exported`; never runs backwards, since series only grow by what it has not yet taken.
    pub remainder: Counters,
    /// Divided run time of the remainder.
    pub remainder_cpu: CpuSplit,
    /// Living processes at the last collection, and their resident pages.
    pub processes: u64,
    /// Resident pages of the processes that are not published, and how many those are.
    pub remainder_pages: u64,
    /// Processes that are not published.
    pub remainder_processes: u64,
    /// OOM kills by index of the attribute `podscope.oom.scope`.
    pub oom_kills: [u64; 5],
    /// Zero of the sums, ns since the Unix epoch.
    pub start_ns: u64,
    /// Began under the agent's eyes: the sums have all that its processes ever used.
    pub from_birth: bool,
    before: Counters,
    /// Made by the running collection.
    young: bool,
}

impl Container {
    pub(super) fn new(start_ns: u64, from_birth: bool) -> Self {
        let executables = HashMap::from_iter([(EXE_OTHER, Executable::default())]);
        Self { executables, start_ns, from_birth, young: true, ..Self::default() }
    }

    pub(super) fn begin(&mut self) {
        self.before = self.sums;
        self.processes = 0;
        self.remainder_pages = 0;
        self.remainder_processes = 0;
        self.young = false;
        for executable in self.executables.values_mut() {
            executable.living = 0;
        }
    }

    /// The entry of an executable: its own, or the rest's beyond the bound. Once given, it stays.
    fn executable(&mut self, exe: u64) -> &mut Executable {
        let own = exe == EXE_OTHER
            || self.executables.contains_key(&exe)
            || self.executables.len() <= EXES_PER_CGROUP as usize;
        self.executables.entry(if own { exe } else { EXE_OTHER }).or_default()
    }

    /// Credits an increment of a book that began at `start_ns`.
    pub(super) fn credit(&mut self, exe: u64, sums: &Counters, lives: &Lives, start_ns: u64) {
        if self.young {
            self.start_ns = self.start_ns.min(start_ns);
        }
        self.sums.add(sums);
        let executable = self.executable(exe);
        executable.sums.add(sums);
        add_lives(&mut executable.lives, lives);
    }

    /// Counts living processes under the executable of their book.
    pub(super) fn count(&mut self, exe: u64, living: u64) {
        self.processes += living;
        self.executable(exe).living += living;
    }

    /// Lets a published series grow: by what the books have of it, never into the remainder, which is out already.
    pub(super) fn export(&mut self, process: &mut Process) {
        let room = self.sums.since(&self.exported).since(&self.remainder);
        if let Some(series) = &mut process.series {
            self.exported.add(&series.grow(&process.total, &room));
        }
    }

    /// Counts a living process that is not published.
    pub(super) fn leave_out(&mut self, process: &Process) {
        self.remainder_pages += process.memory.resident();
        self.remainder_processes += 1;
    }

    /// Divides run times and takes the remainder, once all of a collection is in.
    pub(super) fn settle(&mut self) {
        self.delta = self.sums.since(&self.before);
        for executable in self.executables.values_mut() {
            let sums = &executable.sums;
            executable.cpu.update(sums.run_ns, sums.user_ns, sums.system_ns);
        }
        self.remainder = self.sums.since(&self.exported);
        let rest = &self.remainder;
        self.remainder_cpu.update(rest.run_ns, rest.user_ns, rest.system_ns);
    }

    /// Life cycle of all executables together.
    pub fn lives(&self) -> Lives {
        let mut all = Lives::default();
        self.executables.values().for_each(|executable| add_lives(&mut all, &executable.lives));
        all
    }
}

pub(super) fn add_lives(to: &mut Lives, lives: &Lives) {
    to.started_fork += lives.started_fork;
    to.started_exec += lives.started_exec;
    to.started_moved += lives.started_moved;
    to.ended_exit += lives.ended_exit;
    to.ended_exec += lives.ended_exec;
    to.ended_moved += lives.ended_moved;
}

pub(super) fn lives_since(now: &Lives, before: &Lives) -> Lives {
    Lives {
        started_fork: now.started_fork.saturating_sub(before.started_fork),
        started_exec: now.started_exec.saturating_sub(before.started_exec),
        started_moved: now.started_moved.saturating_sub(before.started_moved),
        ended_exit: now.ended_exit.saturating_sub(before.ended_exit),
        ended_exec: now.ended_exec.saturating_sub(before.ended_exec),
        ended_moved: now.ended_moved.saturating_sub(before.ended_moved),
    }
}
