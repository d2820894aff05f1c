//! A model of the kernel: tasks with real counters, and the kernel programs' rules for closing and reporting them,
//! written down a second time. Beside the books it keeps the truth: who burned what, at the moment it was burned.
//!
//! Left out is what the programs resolve in one timeslice: a thread other than the leader that is moved runs again
//! only after the move was noticed, and no task is moved twice within one stay on a CPU. Nor does a thread with a pid
//! below its leader's execute: while the iterator passes it would be visited under both.

mod report;

use std::collections::{BTreeMap, HashMap};

use podscope_abi::{Book, BookKey, Closed, Counters, EXE_OTHER, EXES_PER_CGROUP};

use super::super::{Moment, ProcessKey};
use super::amount;

/// Pid of the task that reads the iterator.
const READER: u32 = 1;
/// The cgroup everything begins in.
pub(super) const ROOT: u64 = 1;

/// What the programs remember of a task.
#[derive(Clone)]
struct State {
    mark: Counters,
    /// Where it was found, and how far it had come.
    split: Option<(u64, Counters)>,
    cgroup: u64,
    exe: u64,
    book_exe: u64,
    changes: u32,
    leader: bool,
    older: bool,
    seen: bool,
    unknown: bool,
}

struct Task {
    process: ProcessKey,
    counters: Counters,
    cgroup: u64,
    queued: Option<u64>,
    exiting: bool,
    state: Option<State>,
}

struct Group {
    exe: u64,
    /// The state of a leader that died before other threads.
    zombie: Option<State>,
    dead_threads: Counters,
}

/// Who burned something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Burner {
    pub(super) process: ProcessKey,
    pub(super) cgroup: u64,
    pub(super) exe: u64,
}

pub(super) struct Kernel {
    pub(super) now: u64,
    tasks: BTreeMap<u32, Task>,
    groups: BTreeMap<ProcessKey, Group>,
    attached: bool,
    books: HashMap<BookKey, Book>,
    pub(super) closed: BTreeMap<ProcessKey, Closed>,
    exes: HashMap<u64, u32>,
    /// Truth: since the agent watches.
    pub(super) burned: HashMap<Burner, Counters>,
    /// Truth: whole lives.
    pub(super) lives: HashMap<ProcessKey, Counters>,
    /// Truth: whole lives of threads that closed while a collection read.
    pub(super) closed_amid: HashMap<ProcessKey, Counters>,
    /// Processes that were there before the agent, by book.
    pub(super) older: HashMap<(u64, u64), u64>,
}

impl Kernel {
    /// A machine with one task, the reader.
    pub(super) fn new() -> Self {
        let key = ProcessKey { start: 1, tgid: READER, pad: 0 };
        let reader =
            Task { process: key, counters: Counters::ZERO, cgroup: ROOT, queued: None, exiting: false, state: None };
        Self {
            now: 1_000_000_000,
            tasks: BTreeMap::from([(READER, reader)]),
            groups: BTreeMap::from([(key, Group { exe: 1, zombie: None, dead_threads: Counters::ZERO })]),
            attached: false,
            books: HashMap::new(),
            closed: BTreeMap::new(),
            exes: HashMap::new(),
            burned: HashMap::new(),
            lives: HashMap::new(),
            closed_amid: HashMap::new(),
            older: HashMap::new(),
        }
    }

    /// From now on the programs are there.
    pub(super) fn attach(&mut self) {
        self.attached = true;
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { unix_ns: 1_000_000_000_000_000 + self.now, boot_ns: self.now, monotonic_ns: self.now }
    }

    /// The pid that a number means, of those that can still act; never the reader.
    pub(super) fn pick(&self, number: u8) -> Option<u32> {
        let pids: Vec<u32> =
            self.tasks.iter().filter(|(pid, task)| **pid != READER && !task.exiting).map(|(pid, _)| *pid).collect();
        (!pids.is_empty()).then(|| pids[usize::from(number) % pids.len()])
    }

    /// The pid of a task that is exiting.
    pub(super) fn pick_exiting(&self, number: u8) -> Option<u32> {
        let pids: Vec<u32> = self.tasks.iter().filter(|(_, task)| task.exiting).map(|(pid, _)| *pid).collect();
        (!pids.is_empty()).then(|| pids[usize::from(number) % pids.len()])
    }

    fn free_pid(&self) -> u32 {
        let taken = |pid: u32| self.tasks.contains_key(&pid) || self.groups.keys().any(|key| key.tgid == pid);
        (READER..).find(|pid| !taken(*pid)).unwrap()
    }

    fn threads(&self, process: ProcessKey) -> Vec<u32> {
        self.tasks.iter().filter(|(_, task)| task.process == process).map(|(pid, _)| *pid).collect()
    }

    fn book(&mut self, cgroup: u64, exe: u64) -> &mut Book {
        self.books.entry(BookKey { cgroup, exe }).or_default()
    }

    /// The executable under which a pair stands in the books.
    fn place(&mut self, cgroup: u64, exe: u64) -> u64 {
        self.book(cgroup, EXE_OTHER);
        if self.books.contains_key(&BookKey { cgroup, exe }) {
            return exe;
        }
        let exes = self.exes.entry(cgroup).or_default();
        if *exes >= EXES_PER_CGROUP {
            return EXE_OTHER;
        }
        *exes += 1;
        self.book(cgroup, exe);
        exe
    }

    fn new_state(&mut self, cgroup: u64, exe: u64, changes: u32) -> State {
        let book_exe = self.place(cgroup, exe);
        State {
            mark: Counters::ZERO,
            split: None,
            cgroup,
            exe,
            book_exe,
            changes,
            leader: false,
            older: false,
            seen: false,
            unknown: false,
        }
    }

    /// A child of `parent`: a process where `pid` is new as a thread group, else a thread.
    fn clone_task(&mut self, parent: u32, as_thread: bool, into: Option<u64>) -> u32 {
        // What makes a task has run.
        self.run(parent, &amount(1), false);
        let pid = self.free_pid();
        let (process, exe) = (self.tasks[&parent].process, self.groups[&self.tasks[&parent].process].exe);
        let cgroup = into.unwrap_or(self.tasks[&parent].cgroup);
        let key = if as_thread { process } else { ProcessKey { start: self.now, tgid: pid, pad: 0 } };
        if !as_thread {
            self.groups.insert(key, Group { exe, zombie: None, dead_threads: Counters::ZERO });
        }
        let state = self.attached.then(|| {
            let from = self.tasks[&parent].state.clone();
            let changes = from.filter(|_| as_thread).map_or(0, |from| from.changes);
            let mut state = self.new_state(cgroup, exe, changes);
            state.leader = !as_thread;
            if !as_thread {
                self.book(cgroup, state.book_exe).lives.started_fork += 1;
            }
            state
        });
        let task = Task { process: key, counters: Counters::ZERO, cgroup, queued: None, exiting: false, state };
        self.tasks.insert(pid, task);
        pid
    }

    pub(super) fn fork(&mut self, parent: u32, into: Option<u64>) -> u32 {
        self.clone_task(parent, false, into)
    }

    pub(super) fn thread(&mut self, parent: u32) -> u32 {
        self.clone_task(parent, true, None)
    }

    /// Burns; the truth is written here.
    pub(super) fn run(&mut self, pid: u32, amount: &Counters, switches_out: bool) {
        let mut amount = *amount;
        let task = &self.tasks[&pid];
        if let Some(since) = task.queued {
            amount.wait_ns += self.now - since;
        }
        let is_noticed = task
            .state
            .as_ref()
            .is_none_or(|state| state.cgroup == task.cgroup || state.split.is_some_and(|(to, _)| to == task.cgroup));
        if !is_noticed {
            self.follow(pid);
        }
        let burner = self.burner(pid);
        let watched = self.tasks[&pid].state.is_some();
        let task = self.tasks.get_mut(&pid).unwrap();
        task.queued = None;
        task.counters.add(&amount);
        self.lives.entry(burner.process).or_default().add(&amount);
        if watched {
            self.burned.entry(burner).or_default().add(&amount);
        }
        if switches_out {
            self.follow(pid);
        }
    }

    fn burner(&self, pid: u32) -> Burner {
        let task = &self.tasks[&pid];
        Burner { process: task.process, cgroup: task.cgroup, exe: self.groups[&task.process].exe }
    }

    /// What acts is on a CPU: its wait is over.
    fn on_cpu(&mut self, pid: u32) {
        if self.tasks[&pid].queued.is_some() {
            self.run(pid, &Counters::ZERO, false);
        }
    }

    pub(super) fn queue(&mut self, pid: u32) {
        let now = self.now;
        self.tasks.get_mut(&pid).unwrap().queued.get_or_insert(now);
    }

    fn charge(&mut self, pid: u32, now: &Counters) {
        let state = self.tasks[&pid].state.as_ref().unwrap();
        let (cgroup, exe, sums) = (state.cgroup, state.book_exe, now.since(&state.mark));
        self.book(cgroup, exe).sums.add(&sums);
        self.state(pid).mark = *now;
    }

    fn state(&mut self, pid: u32) -> &mut State {
        self.tasks.get_mut(&pid).unwrap().state.as_mut().unwrap()
    }

    /// Whether its process has never had another thread.
    pub(super) fn is_alone(&self, pid: u32) -> bool {
        let process = self.tasks[&pid].process;
        self.threads(process).len() == 1 && self.groups[&process].dead_threads == Counters::ZERO
    }

    fn is_leader(&self, pid: u32) -> bool {
        self.tasks[&pid].process.tgid == pid
    }

    /// What a switch-out does about a move.
    fn follow(&mut self, pid: u32) {
        let task = &self.tasks[&pid];
        let Some(state) = &task.state else { return };
        let (to, split, exe) = (task.cgroup, state.split, state.exe);
        if state.cgroup == to {
            self.void_split(pid);
            return;
        }
        let noticed = split.filter(|(css, _)| *css == to);
        let upto = noticed.map_or(task.counters, |(_, upto)| upto);
        self.count_move(pid, to);
        self.charge(pid, &upto);
        let book_exe = self.place(to, exe);
        let state = self.state(pid);
        (state.cgroup, state.book_exe, state.split) = (to, book_exe, None);
        state.changes += u32::from(noticed.is_none());
    }

    /// A task that was found moved is back.
    fn void_split(&mut self, pid: u32) {
        if self.state(pid).split.is_some() {
            let home = self.state(pid).cgroup;
            self.count_move(pid, home);
            let state = self.state(pid);
            state.split = None;
            state.changes += 1;
        }
    }

    /// A process is counted where its leader was found last.
    fn count_move(&mut self, pid: u32, to: u64) {
        let state = self.state(pid);
        let (from, exe) = (state.split.map_or(state.cgroup, |(found, _)| found), state.exe);
        if state.leader && from != to {
            let book_exe = self.place(from, exe);
            self.book(from, book_exe).lives.ended_moved += 1;
            let book_exe = self.place(to, exe);
            self.book(to, book_exe).lives.started_moved += 1;
        }
    }

    fn note_move(&mut self, pid: u32) {
        let task = &self.tasks[&pid];
        let (to, counters) = (task.cgroup, task.counters);
        let Some(state) = &task.state else { return };
        if state.cgroup == to {
            self.void_split(pid);
        } else {
            self.count_move(pid, to);
            let state = self.state(pid);
            state.split = Some((to, counters));
            state.changes += 1;
        }
    }

    /// Moves a whole thread group; the programs' hook sees the leader alone.
    pub(super) fn move_process(&mut self, pid: u32, to: u64) {
        let process = self.tasks[&pid].process;
        let threads = self.threads(process);
        // Without a leader the programs count its exit where it died.
        if !self.tasks.contains_key(&process.tgid) || threads.iter().any(|thread| self.tasks[thread].exiting) {
            return;
        }
        for &thread in &threads {
            let task = &self.tasks[&thread];
            let noted = task.state.as_ref().and_then(|state| state.split);
            if task.queued.is_some() || noted.is_some_and(|(_, upto)| upto != task.counters) {
                self.run(thread, &Counters::ZERO, true);
            }
            self.tasks.get_mut(&thread).unwrap().cgroup = to;
        }
        self.note_move(process.tgid);
    }

    pub(super) fn exec(&mut self, pid: u32, exe: u64) {
        let process = self.tasks[&pid].process;
        if pid < process.tgid || self.threads(process).iter().any(|thread| self.tasks[thread].exiting) {
            return;
        }
        self.run(pid, &amount(1), false);
        for other in self.threads(process).into_iter().filter(|other| *other != pid) {
            self.exit(other);
            self.close(other);
        }
        let task = self.tasks.remove(&pid).unwrap();
        let pid = process.tgid;
        self.tasks.insert(pid, task);
        let group = self.groups.get_mut(&process).unwrap();
        (group.zombie, group.exe) = (None, exe);
        if self.tasks[&pid].state.is_none() {
            return;
        }
        self.follow(pid);
        let now = self.tasks[&pid].counters;
        self.charge(pid, &now);
        let (cgroup, old_exe) = (self.state(pid).cgroup, self.state(pid).book_exe);
        self.book(cgroup, old_exe).lives.ended_exec += 1;
        let new_exe = self.place(cgroup, exe);
        let state = self.state(pid);
        (state.exe, state.book_exe) = (exe, new_exe);
        state.changes += if state.leader { 1 } else { 1 << 16 };
        state.leader = true;
        self.book(cgroup, new_exe).lives.started_exec += 1;
    }

    /// `sched_process_exit`: it still runs for a while.
    pub(super) fn exit(&mut self, pid: u32) {
        self.on_cpu(pid);
        self.follow(pid);
        self.tasks.get_mut(&pid).unwrap().exiting = true;
        let process = self.tasks[&pid].process;
        let threads = self.threads(process);
        if self.tasks[&pid].state.is_none() || threads.iter().any(|thread| !self.tasks[thread].exiting) {
            return;
        }
        let zombie = self.groups[&process].zombie.clone();
        let count = threads.len() + usize::from(zombie.is_some());
        let leader = zombie
            .or_else(|| self.tasks.get(&process.tgid).and_then(|leader| leader.state.clone()))
            .unwrap_or_else(|| self.tasks[&pid].state.clone().unwrap());
        self.book(leader.cgroup, leader.book_exe).lives.ended_exit += 1;
        let ended_ns = self.now;
        if leader.seen || count > 1 || self.closed.contains_key(&process) {
            let closed = self.closed.entry(process).or_default();
            (closed.ended_ns, closed.changes) = (ended_ns, leader.changes.into());
        } else {
            self.state(pid).unknown = true;
        }
    }

    /// A task is about to close while a collection reads.
    pub(super) fn note_closing(&mut self, pid: u32) {
        let task = &self.tasks[&pid];
        self.closed_amid.entry(task.process).or_default().add(&task.counters);
    }

    /// All threads of a process exit.
    pub(super) fn exit_group(&mut self, pid: u32) {
        for thread in self.threads(self.tasks[&pid].process) {
            if !self.tasks[&thread].exiting {
                self.exit(thread);
            }
        }
    }

    /// The last switch-out.
    pub(super) fn close(&mut self, pid: u32) {
        self.follow(pid);
        let process = self.tasks[&pid].process;
        let counters = self.tasks[&pid].counters;
        if self.tasks[&pid].state.is_some() {
            self.charge(pid, &counters);
            if !self.state(pid).unknown || self.closed.contains_key(&process) {
                self.closed.entry(process).or_default().sums.add(&counters);
            }
        }
        let leader = self.is_leader(pid);
        let task = self.tasks.remove(&pid).unwrap();
        if self.threads(process).is_empty() {
            self.groups.remove(&process);
            return;
        }
        let group = self.groups.get_mut(&process).unwrap();
        group.dead_threads.add(&counters);
        if leader {
            group.zombie = task.state;
        }
    }

    /// All that is under way comes to its end: exiting tasks close, moves are followed.
    pub(super) fn settle(&mut self) {
        for pid in self.tasks.keys().copied().collect::<Vec<_>>() {
            if self.tasks[&pid].exiting { self.close(pid) } else { self.follow(pid) }
        }
    }

    /// Processes alive, by cgroup and executable.
    pub(super) fn living(&self) -> HashMap<(u64, u64), u64> {
        let mut living = HashMap::new();
        for (key, group) in &self.groups {
            let Some(task) = self.tasks.values().find(|task| task.process == *key) else { continue };
            *living.entry((task.cgroup, group.exe)).or_default() += 1;
        }
        living
    }

    /// Whether a cgroup has no tasks.
    pub(super) fn is_empty(&self, cgroup: u64) -> bool {
        self.tasks.values().all(|task| task.cgroup != cgroup)
    }

    /// Waits of watched tasks that are queued now: they are part of no counter yet.
    pub(super) fn pending_waits(&self) -> Vec<(Burner, u64)> {
        let queued = |(pid, task): (&u32, &Task)| Some((self.burner(*pid), self.now - task.queued?));
        self.tasks.iter().filter_map(queued).collect()
    }
}
