//! The end of a collection: everything is added up, credited to its owner, and chosen for publication.

use foldhash::{HashMap, HashMapExt};
use podscope_abi::{BookKey, Counters};

use super::container::{Container, lives_since};
use super::select::{Candidate, Verdict, choose};
use super::{Accounting, ContainerKey, Ended, Outcome, Policy, ProcessKey};

impl Accounting {
    /// Ends a collection.
    ///
    /// `owner` says whose a cgroup is, once that is known; until then its books wait, and nothing of them is
    /// published under another name. `policy` says how many of a container's processes are published.
    pub fn finish(
        &mut self,
        mut owner: impl FnMut(u64) -> Option<ContainerKey>,
        policy: impl Fn(&ContainerKey) -> Policy,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let pass = self.pass;
        for (key, process) in &mut self.processes {
            let born = self.previous.is_some_and(|previous| key.start > previous.boot_ns);
            process.settle(self.closed.get(key), pass, born);
            let book = BookKey { cgroup: process.cgroup, exe: process.book_exe };
            if process.last_pass == pass
                && let Some(book) = self.books.get_mut(&book)
            {
                book.living += 1;
            }
        }
        self.credit_books(&mut owner, &mut outcome);
        self.end_processes(&mut outcome);
        self.choose_series(&policy, &mut outcome);
        for container in self.containers.values_mut() {
            container.settle();
        }
        self.retire_cgroups(&mut outcome);
        outcome
    }

    /// Begins a container anew at zero, because it is published under another name from now on. To be called
    /// between collections: all that was published stays true, and all that comes is published under the new name.
    pub fn restart(&mut self, key: &ContainerKey) {
        for process in self.processes.values_mut() {
            if process.series.as_ref().is_some_and(|series| series.container == *key) {
                process.series = None;
            }
        }
        if let Some(container) = self.containers.get_mut(key) {
            *container = Container::new(self.now.unix_ns, false);
        }
    }

    /// The owner of a cgroup; asked for until it is known, then kept.
    fn own(&mut self, cgroup: u64, owner: &mut impl FnMut(u64) -> Option<ContainerKey>) -> Option<ContainerKey> {
        if let Some(known) = self.owners.get(&cgroup) {
            return Some(known.clone());
        }
        let key = owner(cgroup)?;
        self.owners.insert(cgroup, key.clone());
        Some(key)
    }

    fn container(&mut self, key: &ContainerKey) -> &mut Container {
        let (start_ns, from_birth) = (self.interval_start_ns(), self.previous.is_some());
        self.containers.entry(key.clone()).or_insert_with(|| Container::new(start_ns, from_birth))
    }

    fn credit_books(&mut self, owner: &mut impl FnMut(u64) -> Option<ContainerKey>, outcome: &mut Outcome) {
        let keys: Vec<_> = self.books.keys().copied().collect();
        for key in keys {
            let Some(owner) = self.own(key.cgroup, owner) else {
                if let Some(book) = self.books.get_mut(&key) {
                    book.total = book.total.max(&book.live);
                    outcome.unowned_processes += book.living;
                }
                continue;
            };
            let Some(book) = self.books.get_mut(&key) else { continue };
            book.total = book.total.max(&book.live);
            let sums = book.total.since(&book.credited);
            let lives = lives_since(&book.lives, &book.credited_lives);
            (book.credited, book.credited_lives) = (book.total, book.lives);
            let (start_ns, living) = (book.start_ns, book.living);
            let container = self.container(&owner);
            container.credit(key.exe, &sums, &lives, start_ns);
            if living > 0 {
                container.count(key.exe, living);
            }
        }
    }

    /// Begins, keeps and ends series.
    fn choose_series(&mut self, policy: &impl Fn(&ContainerKey) -> Policy, outcome: &mut Outcome) {
        let mut by_container: HashMap<ContainerKey, Vec<Candidate<ProcessKey>>> = HashMap::new();
        for (key, process) in &mut self.processes {
            let gone = process.last_pass != self.pass;
            if process.changed && process.series.is_some() {
                // The interval stays in the remainder: nobody knows how much of it the series' owner had.
                outcome.ended.push(Ended { key: *key, process: process.clone() });
                process.series = None;
            }
            if gone && process.series.is_none() {
                continue;
            }
            let Some(owner) = self.owners.get(&process.cgroup) else { continue };
            if process.changed {
                // It begins at the next collection, when all that it used before has arrived.
                if let Some(container) = self.containers.get_mut(owner) {
                    container.leave_out(process);
                }
                continue;
            }
            by_container.entry(owner.clone()).or_default().push(Candidate {
                key: *key,
                cpu: process.delta.run_ns,
                memory: process.memory.resident(),
                selected: process.series.as_ref().map(|series| series.unwanted),
            });
        }
        for (container, candidates) in by_container {
            let limit = match policy(&container) {
                Policy::All => candidates.len(),
                Policy::Top => self.limits.processes_per_container,
                Policy::Wait => 0,
            };
            for (key, verdict) in choose(&candidates, limit) {
                self.apply(&container, key, verdict, outcome);
            }
        }
    }

    fn apply(&mut self, owner: &ContainerKey, key: ProcessKey, verdict: Verdict, outcome: &mut Outcome) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let Some(container) = self.containers.get_mut(owner) else { return };
        if verdict == Verdict::Out {
            if process.series.is_some() {
                // The interval that ends now still belongs to the series.
                container.export(process);
                outcome.ended.push(Ended { key, process: process.clone() });
                process.series = None;
            }
            container.leave_out(process);
            return;
        }
        if process.series.is_none() {
            process.begin_series(owner.clone(), key.start, &self.now);
        }
        container.export(process);
        if let Some(series) = &mut process.series {
            series.unwanted = match verdict {
                Verdict::Kept(unwanted) => unwanted,
                _ => 0,
            };
        }
    }
}

/// A container is dropped once none of its cgroups is left and it has been silent for a while.
pub(super) fn is_over(container: &Container, has_cgroup: bool) -> bool {
    !has_cgroup && container.processes == 0 && container.delta == Counters::ZERO
}
