//! What ends: processes, and cgroups that were removed.

use super::settle::is_over;
use super::{Accounting, ContainerKey, Ended, Moment, Outcome, ProcessKey};
use foldhash::HashSet;

/// Collections for which the books of a removed cgroup are kept at least: dying tasks close late.
const RETIRE: u64 = 3;
/// Collections after which an entry of closed threads whose process nobody has seen is dropped.
const STALE: u32 = 3;
/// Collections after which a process that is gone without a closing is given up.
const MISSING: u64 = 12;

impl Accounting {
    /// Ends the processes whose books say so. Absence from the iterator ends none, unless the programs that
    /// close books are absent themselves, or the process has been missing for very long.
    pub(super) fn end_processes(&mut self, outcome: &mut Outcome) {
        let mut over: Vec<ProcessKey> = Vec::new();
        for (key, process) in &self.processes {
            // What was gone at the collection before has closed its books before they were read for this one.
            let absent = self.pass - process.last_pass;
            let ended = absent > 1 && self.closed.get(key).is_some_and(|closed| closed.ended_ns != 0);
            let missing = absent > if self.limits.absence_ends { 0 } else { MISSING };
            if ended || missing {
                over.push(*key);
            }
        }
        for key in over {
            let Some(process) = self.processes.get_mut(&key) else { continue };
            let owner = process.series.as_ref().map(|series| &series.container);
            if let Some(container) = owner.and_then(|owner| self.containers.get_mut(owner)) {
                if !process.changed {
                    container.export(process);
                }
                if process.is_late() && self.pass - process.last_pass <= MISSING {
                    continue;
                }
                outcome.ended.push(Ended { key, process: process.clone() });
            }
            self.processes.remove(&key);
            outcome.forget.push(key);
        }
        self.drop_stale(outcome);
    }

    /// Entries of processes that came and went between two collections are for nobody.
    fn drop_stale(&mut self, outcome: &mut Outcome) {
        let mut stale = std::mem::take(&mut self.stale);
        stale.retain(|key, _| self.closed.contains_key(key));
        for (key, closed) in self.closed.iter().filter(|(key, _)| !self.processes.contains_key(key)) {
            let age = stale.entry(*key).or_default();
            *age += 1;
            // Whoever has ended unseen is not seen any more: a storm of them must not fill the map meanwhile.
            if *age >= STALE || closed.ended_ns != 0 {
                outcome.forget.push(*key);
            }
        }
        self.stale = stale;
    }

    /// Gives up what belongs to cgroups that were removed a while ago.
    pub(super) fn retire_cgroups(&mut self, outcome: &mut Outcome) {
        // A task that was moved away may not have run since: its last part there is in no kernel book yet.
        let with_tasks = self.books.iter().filter(|(_, book)| book.last_task == self.pass).map(|(key, _)| key.cgroup);
        let inhabited: HashSet<u64> = self.processes.values().map(|process| process.cgroup).chain(with_tasks).collect();
        let is_due = |id: &u64, (since, pass): &(Moment, u64)| {
            let lingered = self.now.monotonic_ns.saturating_sub(since.monotonic_ns) > self.limits.linger_ns;
            lingered && self.pass - pass > RETIRE && !inhabited.contains(id)
        };
        let retired: HashSet<u64> =
            self.removed.iter().filter(|(id, since)| is_due(id, since)).map(|(id, _)| *id).collect();
        if !retired.is_empty() {
            self.removed.retain(|id, _| !retired.contains(id));
            self.owners.retain(|id, _| !retired.contains(id));
            for (_, book) in self.books.extract_if(|key, _| retired.contains(&key.cgroup)) {
                self.unowned.add(&book.total.since(&book.credited));
            }
        }
        let owners: HashSet<&ContainerKey> = self.owners.values().collect();
        self.containers
            .retain(|key, container| *key == ContainerKey::Host || !is_over(container, owners.contains(key)));
        outcome.retired = retired.into_iter().collect();
    }
}
