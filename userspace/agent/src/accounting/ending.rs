//! What ends: processes, and cgroups that were removed.

use std::collections::HashSet;

use super::settle::is_over;
use super::{Accounting, ContainerKey, Ended, Outcome, ProcessKey};

/// How long after the exit of its last thread a process's end is published: its threads have closed by then.
const CLOSING_NS: u64 = 20_000_000;
/// How long the books of a removed cgroup are kept.
const RETIRE_NS: u64 = 60_000_000_000;
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
            let gone = process.last_pass != self.pass;
            let closed = self.closed.get(key);
            let ended = closed.is_some_and(|c| c.ended_ns != 0 && c.ended_ns + CLOSING_NS < self.now.boot_ns);
            let missing = gone && (self.limits.absence_ends || self.pass - process.last_pass > MISSING);
            if (ended && gone) || missing {
                over.push(*key);
            }
        }
        for key in over {
            let Some(mut process) = self.processes.remove(&key) else { continue };
            outcome.forget.push(key);
            let owner = process.series.as_ref().map(|series| series.container.clone());
            if let Some(container) = owner.and_then(|owner| self.containers.get_mut(&owner)) {
                container.export(&mut process);
                outcome.ended.push(Ended { key, process });
            }
        }
        self.drop_stale(outcome);
    }

    /// Entries of processes that came and went between two collections are for nobody.
    fn drop_stale(&mut self, outcome: &mut Outcome) {
        let mut stale = std::mem::take(&mut self.stale);
        stale.retain(|key, _| self.closed.contains_key(key));
        for key in self.closed.keys().filter(|key| !self.processes.contains_key(key)) {
            let age = stale.entry(*key).or_default();
            *age += 1;
            if *age >= STALE {
                outcome.forget.push(*key);
            }
        }
        self.stale = stale;
    }

    /// Gives up what belongs to cgroups that were removed a while ago.
    pub(super) fn retire_cgroups(&mut self, outcome: &mut Outcome) {
        let inhabited: HashSet<u64> =
            self.processes.values().filter(|p| p.last_pass == self.pass).map(|p| p.cgroup).collect();
        let now = self.now.monotonic_ns;
        let retired: Vec<u64> = self
            .removed
            .iter()
            .filter(|(id, since)| now.saturating_sub(since.monotonic_ns) > RETIRE_NS && !inhabited.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in &retired {
            self.removed.remove(id);
            self.owners.remove(id);
        }
        if !retired.is_empty() {
            self.books.retain(|key, _| !retired.contains(&key.cgroup));
            let owners: HashSet<&ContainerKey> = self.owners.values().collect();
            self.containers
                .retain(|key, container| *key == ContainerKey::Host || !is_over(container, owners.contains(key)));
        }
        outcome.retired = retired;
    }
}
