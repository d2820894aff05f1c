//! Open file descriptors of exported processes: costly before Linux 6.2, so counted rarely and spread evenly.

use std::collections::hash_map::Entry;
use std::fs;
use std::path::Path;

use crate::accounting::ProcessKey;
use foldhash::HashMap;

/// Entries that are counted one by one at most: the kernel's default for `fs.nr_open`.
const MOST: usize = 1 << 20;

/// How often a process is counted.
const PERIOD_NS: u64 = 30_000_000_000;

/// Processes counted for the first time per collection.
const NEW_AT_ONCE: usize = 64;

/// Counts the open descriptors of a process; none where it is gone or may not be read. `proc`: where procfs is
/// mounted.
///
/// Linux 6.2 and later tell the number as the directory's size, to everyone. Before, the directory is read, which for
/// other users' processes needs CAP_DAC_READ_SEARCH.
pub fn count(proc: &Path, pid: u32) -> Option<u64> {
    let directory = proc.join(pid.to_string()).join("fd");
    match fs::metadata(&directory).ok()?.len() {
        0 => Some(fs::read_dir(&directory).ok()?.take(MOST).count() as u64),
        told => Some(told),
    }
}

/// Whether the kernel tells the number without the directory being read; this very process has some open.
pub fn are_told(proc: &Path) -> bool {
    fs::metadata(proc.join("self/fd")).is_ok_and(|directory| directory.len() > 0)
}

/// Which processes are due: a new one at once as far as the bound allows, then every 30 s at an instant of its own, so
/// that every collection has its share. Owns no clock.
#[derive(Debug, Default)]
pub struct Schedule {
    known: HashMap<ProcessKey, Known>,
    collection: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The turn in which it was counted last.
    turn: u64,
    /// The collection in which it was exported last.
    collection: u64,
}

impl Schedule {
    /// The processes to count in this collection. `exported`: all that are published, each once; `now`: monotonic ns.
    pub fn due(&mut self, exported: impl IntoIterator<Item = ProcessKey>, now: u64) -> Vec<ProcessKey> {
        self.collection += 1;
        let collection = self.collection;
        let (mut due, mut new) = (Vec::new(), 0);
        for key in exported {
            let turn = turn(key.tgid, now);
            match self.known.entry(key) {
                Entry::Occupied(mut known) => {
                    if known.insert(Known { turn, collection }).turn != turn {
                        due.push(key);
                    }
                }
                Entry::Vacant(vacant) if new < NEW_AT_ONCE => {
                    vacant.insert(Known { turn, collection });
                    due.push(key);
                    new += 1;
                }
                Entry::Vacant(_) => {}
            }
        }
        self.known.retain(|_, known| known.collection == collection);
        due
    }
}

/// The number of a process's turn, which changes every 30 s. Multiples of the golden ratio lie evenly in the period
/// even for neighbouring ids (Knuth, The Art of Computer Programming, 6.4).
fn turn(tgid: u32, now: u64) -> u64 {
    let phase = (u64::from(tgid.wrapping_mul(0x9e37_79b1)) * (PERIOD_NS >> 16)) >> 16;
    now.saturating_add(phase) / PERIOD_NS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey { tgid, start: 1, ..ProcessKey::default() }
    }

    /// A process that has opened some files and waits to be told to end.
    fn opener() -> Child {
        let mut child = Command::new("sh")
            .args(["-c", "exec 5</dev/null 6</dev/null 9</dev/null; echo; read x"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It has opened them when it speaks.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    #[test]
    fn counts_what_a_process_has_open() {
        let mut child = opener();
        let listed = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count() as u64;
        assert!(listed >= 6);
        assert_eq!(count(Path::new("/proc"), child.id()), Some(listed));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(count(Path::new("/proc"), child.id()), None);
    }

    /// `fdinfo` has the entries of `fd` and, as `fd` had before Linux 6.2, no size.
    #[test]
    fn entries_are_counted_where_the_number_is_not_told() {
        let mut child = opener();
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("7")).unwrap();
        let fdinfo = format!("/proc/{}/fdinfo", child.id());
        symlink(&fdinfo, proc.path().join("7/fd")).unwrap();
        symlink(proc.path().join("7"), proc.path().join("self")).unwrap();
        assert!(!are_told(proc.path()));
        assert_eq!(count(proc.path(), 7), Some(fs::read_dir(&fdinfo).unwrap().count() as u64));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(count(proc.path(), 7), None);
    }

    #[test]
    fn one_process_is_counted_at_once_and_then_every_30_seconds() {
        let mut schedule = Schedule::default();
        let times: Vec<_> = (0..200).filter(|&s| !schedule.due([key(1)], s * SECOND).is_empty()).collect();
        assert!(times[0] == 0 && times[1] <= 30, "{times:?}");
        assert!(times.len() > 5 && times[1..].windows(2).all(|pair| pair[1] - pair[0] == 30), "{times:?}");
    }

    #[test]
    fn newcomers_are_bounded_and_the_rest_spread() {
        let mut schedule = Schedule::default();
        let counts: Vec<_> = (0..40).map(|at| schedule.due((5000..5600).map(key), at * 5 * SECOND).len()).collect();
        assert_eq!(counts[0], NEW_AT_ONCE);
        assert!(counts.iter().all(|&count| count <= NEW_AT_ONCE + 105), "{counts:?}");
        assert!(counts[10..].iter().all(|&count| (95..=105).contains(&count)), "a sixth each: {counts:?}");
    }

    #[test]
    fn the_gone_are_forgotten() {
        let mut schedule = Schedule::default();
        schedule.due((0..50).map(key), 0);
        assert_eq!(schedule.due([], SECOND), []);
        assert!(schedule.known.is_empty());
        assert_eq!(schedule.due([key(1)], 2 * SECOND), [key(1)], "it is new again");
    }

    proptest! {
        /// Processes come and go: who was exported all the time is counted in time, and nobody twice.
        #[test]
        fn who_stays_is_counted_in_time(
            interval in 1u64..60,
            others in prop::collection::vec(prop::collection::hash_set(any::<u32>(), 0..200), 1..60),
        ) {
            let mut schedule = Schedule::default();
            let mut counted_at = HashMap::default();
            for (at, others) in others.into_iter().enumerate() {
                let now = at as u64 * interval * SECOND;
                let exported: HashSet<u32> = others.into_iter().chain(0..30).collect();
                let known = |pid: &u32| counted_at.contains_key(pid);
                let new = exported.iter().filter(|pid| !known(pid)).count();
                let mut ordered: Vec<u32> = exported.iter().copied().collect();
                ordered.sort_unstable();
                let due = schedule.due(ordered.into_iter().map(key), now);
                let pids: HashSet<u32> = due.iter().map(|key| key.tgid).collect();
                prop_assert!(pids.len() == due.len() && pids.is_subset(&exported));
                prop_assert!(pids.iter().filter(|pid| !known(pid)).count() <= new.min(NEW_AT_ONCE));
                counted_at.extend(pids.into_iter().map(|pid| (pid, now)));
                for pid in 0..30 {
                    let age = now - counted_at[&pid];
                    prop_assert!(age < 30 * SECOND + interval * SECOND, "{} not counted for {} ns", pid, age);
                }
            }
        }
    }
}
