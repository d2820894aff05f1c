//! Drives the accounting with a model kernel and checks it after each collection.

use std::collections::HashMap;

use podscope_abi::{Counters, EXE_OTHER, Lives};
use proptest::prelude::*;

use super::super::{Accounting, ContainerKey, Ended, Limits, Outcome, Policy, ProcessKey};
use super::amount;
use super::consumers::Pages;
use super::kernel::{Burner, Kernel, ROOT};
use super::published::Published;

/// Something a task does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Fork(u8),
    ForkInto(u8, u8),
    Thread(u8),
    Exec(u8, u8),
    Run(u8, u16, bool),
    Queue(u8),
    Move(u8, u8),
    Exit(u8),
    ExitGroup(u8),
    /// An exiting task runs on and reaches its last switch-out.
    Close(u8, u16),
}

impl Act {
    /// Which task acts.
    fn number(self) -> u8 {
        let (Self::Fork(n)
        | Self::ForkInto(n, _)
        | Self::Thread(n)
        | Self::Exec(n, _)
        | Self::Run(n, ..)
        | Self::Queue(n)
        | Self::Move(n, _)
        | Self::Exit(n)
        | Self::ExitGroup(n)
        | Self::Close(n, _)) = self;
        n
    }
}

/// What happens until the end of a collection.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Acts before it, between books and closings, between closings and tasks, and amid the tasks.
    Collect([Vec<Act>; 4]),
    /// All that is under way ends, then two collections follow in which nothing happens.
    Quiet,
    /// A cgroup is made; its name becomes known after so many collections.
    Make { after: u8 },
    /// The first empty cgroup is removed.
    Remove,
    /// A container is published under another name.
    Rename(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<u8>().prop_map(Act::Fork),
        1 => any::<(u8, u8)>().prop_map(|(pid, to)| Act::ForkInto(pid, to)),
        2 => any::<u8>().prop_map(Act::Thread),
        2 => any::<(u8, u8)>().prop_map(|(pid, exe)| Act::Exec(pid, exe)),
        6 => (any::<u8>(), 0u16..2000, any::<bool>()).prop_map(|(pid, ns, out)| Act::Run(pid, ns, out)),
        1 => any::<u8>().prop_map(Act::Queue),
        2 => any::<(u8, u8)>().prop_map(|(pid, to)| Act::Move(pid, to)),
        2 => any::<u8>().prop_map(Act::Exit),
        1 => any::<u8>().prop_map(Act::ExitGroup),
        3 => (any::<u8>(), 0u16..500).prop_map(|(pid, ns)| Act::Close(pid, ns)),
    ]
}

fn acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 0..most)
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let collect = (acts(12), acts(3), acts(3), acts(3)).prop_map(|(a, b, c, d)| Step::Collect([a, b, c, d]));
    let step = prop_oneof![
        10 => collect,
        3 => Just(Step::Quiet),
        1 => (0u8..4).prop_map(|after| Step::Make { after }),
        1 => Just(Step::Remove),
        1 => any::<u8>().prop_map(Step::Rename),
    ];
    prop::collection::vec(step, 1..25)
}

/// When tasks may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deaths {
    AtAnyMoment,
    BetweenCollections,
}

struct Group {
    id: u64,
    owner: ContainerKey,
    known_at: u64,
    removed: bool,
}

pub(super) struct Machine {
    pub(super) kernel: Kernel,
    pub(super) accounting: Accounting,
    pub(super) published: Published,
    /// Scrapers, where some are to be there.
    pub(super) pages: Option<Pages>,
    groups: Vec<Group>,
    deaths: Deaths,
    pub(super) executables: u8,
    /// The first collection is over.
    watched: bool,
    /// Sums of containers that began anew since: they got another name, or were dropped with their cgroups.
    earlier: HashMap<ContainerKey, Counters>,
}

/// Time between collections.
pub(super) const INTERVAL: u64 = 10_000_000_000;

impl Machine {
    pub(super) fn new(processes_per_container: usize, deaths: Deaths) -> Self {
        let limits = Limits { processes_per_container, linger_ns: 4 * INTERVAL, ..Limits::default() };
        let mut machine = Self {
            kernel: Kernel::new(),
            accounting: Accounting::new(limits),
            published: Published::default(),
            pages: None,
            groups: Vec::new(),
            deaths,
            executables: 5,
            watched: false,
            earlier: HashMap::new(),
        };
        machine.groups.push(Group { id: ROOT, owner: ContainerKey::Host, known_at: 0, removed: false });
        machine.make(0);
        machine.make(0);
        machine.before_the_agent();
        machine
    }

    /// Some of what runs is older than the agent, and has used much.
    fn before_the_agent(&mut self) {
        let old = self.kernel.fork(1, Some(self.groups[1].id));
        let thread = self.kernel.thread(old);
        let short = self.kernel.thread(old);
        let server = self.kernel.fork(1, None);
        self.tick();
        for pid in [old, thread, short, server] {
            self.kernel.run(pid, &amount(1_000_000), true);
        }
        self.kernel.exit(short);
        self.kernel.close(short);
        self.tick();
        self.kernel.attach();
    }

    /// Two cgroups each belong to one container.
    pub(super) fn make(&mut self, after: u8) -> u64 {
        let id = 100 + self.groups.len() as u64;
        let owner = ContainerKey::Container(format!("c{}", self.groups.len().div_ceil(2)).into());
        let known_at = self.accounting.pass + u64::from(after);
        self.groups.push(Group { id, owner, known_at, removed: false });
        id
    }

    pub(super) fn remove(&mut self) {
        let kernel = &self.kernel;
        let empty = self.groups.iter_mut().skip(1).find(|group| !group.removed && kernel.is_empty(group.id));
        if let Some(group) = empty {
            group.removed = true;
            self.accounting.remove_cgroup(group.id);
        }
    }

    fn rename(&mut self, number: u8) {
        let owner = self.groups[usize::from(number) % self.groups.len()].owner.clone();
        self.begin_anew(&owner);
        self.accounting.restart(&owner);
    }

    fn begin_anew(&mut self, owner: &ContainerKey) {
        if let Some(sums) = self.published.forget(owner) {
            self.earlier.entry(owner.clone()).or_default().add(&sums);
        }
    }

    pub(super) fn tick(&mut self) {
        self.kernel.now += 1_000_000;
    }

    fn pick_group(&self, number: u8) -> u64 {
        let living: Vec<u64> = self.groups.iter().filter(|group| !group.removed).map(|group| group.id).collect();
        living[usize::from(number) % living.len()]
    }

    pub(super) fn act(&mut self, act: Act, collecting: bool) {
        self.tick();
        match act {
            Act::Fork(number) => {
                self.kernel.fork(self.kernel.pick(number).unwrap_or(1), None);
            }
            Act::ForkInto(number, to) => {
                let into = Some(self.pick_group(to));
                self.kernel.fork(self.kernel.pick(number).unwrap_or(1), into);
            }
            Act::Close(number, ns) if !collecting || self.deaths == Deaths::AtAnyMoment => {
                if let Some(pid) = self.kernel.pick_exiting(number) {
                    self.kernel.run(pid, &amount(ns.into()), false);
                    if collecting {
                        self.kernel.note_closing(pid);
                    }
                    self.kernel.close(pid);
                }
            }
            act => self.act_of_a_task(act, collecting),
        }
    }

    fn act_of_a_task(&mut self, act: Act, collecting: bool) {
        let Some(pid) = self.kernel.pick(act.number()) else { return };
        match act {
            Act::Fork(_) | Act::ForkInto(..) | Act::Close(..) => {}
            Act::Thread(_) => {
                self.kernel.thread(pid);
            }
            // One thread is seen before and another one after the change, or its closing is read before: what they use
            // within these milliseconds can be published under the wrong one of the two names.
            Act::Exec(..) | Act::Move(..) if (collecting || !self.watched) && !self.kernel.is_alone(pid) => {}
            Act::Exec(_, exe) => self.kernel.exec(pid, 1 + u64::from(exe % self.executables)),
            Act::Run(_, ns, out) => self.kernel.run(pid, &amount(ns.into()), out),
            Act::Queue(_) => self.kernel.queue(pid),
            Act::Move(_, to) => self.kernel.move_process(pid, self.pick_group(to)),
            // What exits while it is seen for the first time would be counted as living from then on.
            Act::Exit(_) | Act::ExitGroup(_) if !self.watched => {}
            Act::Exit(_) => self.kernel.exit(pid),
            Act::ExitGroup(_) => self.kernel.exit_group(pid),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Collect(acts) => self.collect(acts),
            Step::Quiet => self.quiet(),
            Step::Make { after } => drop(self.make(*after)),
            Step::Remove => self.remove(),
            Step::Rename(number) => self.rename(*number),
        }
    }

    /// One collection, with what happens before and during it.
    pub(super) fn collect(&mut self, acts: &[Vec<Act>; 4]) {
        acts[0].iter().for_each(|act| self.act(*act, false));
        self.kernel.now = (self.kernel.now / INTERVAL + 1) * INTERVAL;
        let now = self.kernel.moment();
        self.accounting.begin(now);
        self.kernel.give_books(&mut self.accounting);
        acts[1].iter().for_each(|act| self.act(*act, true));
        self.kernel.give_closed(&mut self.accounting);
        acts[2].iter().for_each(|act| self.act(*act, true));
        let half = self.kernel.half();
        self.kernel.give_tasks(&mut self.accounting, ..half);
        acts[3].iter().for_each(|act| self.act(*act, true));
        self.kernel.give_tasks(&mut self.accounting, half..);
        let outcome = self.finish_collection();
        self.kernel.obey(&outcome);
        self.watched = true;
        for group in 0..self.groups.len() {
            let owner = self.groups[group].owner.clone();
            if !self.accounting.containers.contains_key(&owner) {
                self.begin_anew(&owner);
            }
        }
        self.published.take(&self.accounting, &outcome);
        if let Some(pages) = &mut self.pages {
            pages.take(&self.accounting, &outcome);
        }
        self.check_always();
    }

    fn finish_collection(&mut self) -> Outcome {
        let (groups, pass) = (&self.groups, self.accounting.pass);
        let owner = |id: u64| groups.iter().find(|g| g.id == id && g.known_at <= pass).map(|g| g.owner.clone());
        self.accounting.finish(owner, |_| Policy::Top)
    }

    fn quiet(&mut self) {
        self.tick();
        self.kernel.settle();
        self.groups.iter_mut().for_each(|group| group.known_at = 0);
        self.collect(&Default::default());
        self.collect(&Default::default());
        self.check_exact();
    }

    pub(super) fn finish(&mut self) {
        self.quiet();
        // Long enough for the removed to be given up, and for the ended to be told.
        (0..8).for_each(|_| self.collect(&Default::default()));
        self.check_exact();
    }

    fn owner(&self, cgroup: u64) -> &ContainerKey {
        &self.groups.iter().find(|group| group.id == cgroup).unwrap().owner
    }

    /// What holds after each collection, whatever happens meanwhile.
    fn check_always(&mut self) {
        for (key, container) in &self.accounting.containers {
            let mut both = container.exported;
            both.add(&container.remainder);
            assert_eq!(both, container.sums, "{key:?}: exported and remainder are the sum");
            let mut executables = Counters::ZERO;
            container.executables.values().for_each(|executable| executables.add(&executable.sums));
            assert_eq!(executables, container.sums, "{key:?}: executables");
            assert!(container.executables.contains_key(&EXE_OTHER), "{key:?}: the rest has an entry");
            for (exe, executable) in &container.executables {
                let cpu = executable.cpu;
                assert_eq!(cpu.user_ns + cpu.system_ns, executable.sums.run_ns, "{key:?} {exe}");
            }
            let cpu = container.remainder_cpu;
            assert_eq!(cpu.user_ns + cpu.system_ns, container.remainder.run_ns, "{key:?}: remainder");
        }
        for process in self.accounting.processes.values() {
            if let Some(series) = &process.series {
                assert_eq!(series.cpu.user_ns + series.cpu.system_ns, series.published.run_ns);
            }
        }
        let truth = self.burned_by_stream();
        self.published.check(&truth, &self.kernel.closed_amid);
        for (key, process) in &self.accounting.processes {
            let life = self.life(key);
            assert_eq!(process.total.since(&life), Counters::ZERO, "{key:?}: no more than its life");
        }
        self.check_ended();
    }

    /// A process's life with what its queued threads wait for.
    fn life(&self, key: &ProcessKey) -> Counters {
        let mut life = self.kernel.lives.get(key).copied().unwrap_or_default();
        let pending = self.kernel.pending_waits();
        life.wait_ns += pending.iter().filter(|(burner, _)| burner.process == *key).map(|(_, ns)| ns).sum::<u64>();
        life
    }

    /// Series that end do so with all that is theirs.
    fn check_ended(&self) {
        for Ended { key, process } in &self.published.ended {
            let series = process.series.as_ref().unwrap();
            if !self.accounting.processes.contains_key(key) {
                assert_eq!(process.total, self.life(key), "{key:?}: ends with its true total");
            }
            if self.deaths == Deaths::AtAnyMoment || process.changed {
                continue;
            }
            assert_eq!(series.published, process.total.since(&series.base), "{key:?}: all since its beginning");
            if process.changes == 0 && series.start_ns == self.accounting.now.unix_of_boot(key.start) {
                assert_eq!(series.published, process.total, "{key:?}: all since its birth");
            }
        }
    }

    /// Truth by what a stream stands for.
    fn burned_by_stream(&self) -> HashMap<(ProcessKey, ContainerKey, u64), Counters> {
        let mut truth: HashMap<_, Counters> = HashMap::new();
        let stream = |b: &Burner| (b.process, self.owner(b.cgroup).clone(), b.exe);
        self.kernel.burned.iter().for_each(|(b, sums)| truth.entry(stream(b)).or_default().add(sums));
        let pending = self.kernel.pending_waits();
        pending.iter().for_each(|(b, ns)| truth.entry(stream(b)).or_default().wait_ns += ns);
        truth
    }

    /// What holds once nothing has happened for a while.
    fn check_exact(&self) {
        self.check_sums();
        self.check_lives();
        for (key, process) in &self.accounting.processes {
            assert_eq!(process.total, self.life(key), "{key:?}: lifetime total");
        }
    }

    pub(super) fn check_sums(&self) {
        let mut truth: HashMap<ContainerKey, Counters> = HashMap::new();
        for ((_, owner, _), sums) in self.burned_by_stream() {
            truth.entry(owner).or_default().add(&sums);
        }
        for (key, container) in &self.accounting.containers {
            let mut ours = container.sums;
            ours.add(&self.earlier.get(key).copied().unwrap_or_default());
            assert_eq!(ours, truth.get(key).copied().unwrap_or_default(), "{key:?}: increments since the start");
        }
        for key in truth.keys().filter(|key| !self.accounting.containers.contains_key(key)) {
            let ours = self.earlier.get(key).copied().unwrap_or_default();
            assert_eq!(ours, truth[key], "{key:?}: it was all out before it was dropped");
        }
    }

    /// Started − ended, and those from before the agent, are those that live.
    fn check_lives(&self) {
        let mut living: HashMap<&ContainerKey, i64> = HashMap::new();
        for ((cgroup, _), count) in self.kernel.living() {
            *living.entry(self.owner(cgroup)).or_default() += count as i64;
        }
        for (key, container) in &self.accounting.containers {
            assert_eq!(container.processes as i64, living.get(key).copied().unwrap_or(0), "{key:?}: living");
            if self.earlier.contains_key(key) {
                continue;
            }
            for (exe, executable) in &container.executables {
                let older = self.kernel.older.iter().filter(|((cgroup, book), _)| {
                    let entry = if container.executables.contains_key(book) { *book } else { EXE_OTHER };
                    self.owner(*cgroup) == key && entry == *exe
                });
                let older: u64 = older.map(|(_, count)| count).sum();
                let expected = older as i64 + balance(&executable.lives);
                assert_eq!(executable.living as i64, expected, "{key:?} {exe}: {:?}", executable.lives);
            }
        }
    }
}

fn balance(lives: &Lives) -> i64 {
    (lives.started_fork + lives.started_exec + lives.started_moved) as i64
        - (lives.ended_exit + lives.ended_exec + lives.ended_moved) as i64
}
