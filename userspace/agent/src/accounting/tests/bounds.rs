//! What does not fit is still counted.

use podscope_abi::{EXE_OTHER, EXES_PER_CGROUP};
use proptest::prelude::*;

use super::super::ContainerKey;
use super::amount;
use super::machine::{Act, Deaths, Machine};
use crate::kernel::Oom;

const EXES: usize = EXES_PER_CGROUP as usize;

#[test]
fn executables_beyond_the_bound_share_one_entry() {
    let mut machine = Machine::new(3, Deaths::AtAnyMoment);
    let (first, second) = (machine.make(0), machine.make(0));
    machine.collect(&Default::default());
    // The last one of the second cgroup has a book of its own in the first one alone.
    for (group, exes) in [(first, 1_099..1_100), (second, 1_000..1_100), (first, 2_000..2_050)] {
        for exe in exes {
            machine.tick();
            let pid = machine.kernel.fork(1, Some(group));
            machine.kernel.exec(pid, exe);
            machine.kernel.run(pid, &amount(1_000), true);
            if exe % 10 == 9 {
                machine.collect(&Default::default());
            }
        }
    }
    machine.finish();
    let container = &machine.accounting.containers[&ContainerKey::Container("c2".into())];
    assert_eq!(container.executables.len(), EXES + 1);
    let rest = container.executables[&EXE_OTHER];
    // Those in the entries are one of each, and none of what they were forked as.
    assert_eq!(rest.living, 151 - (EXES as u64 - 1));
    assert!(rest.sums.run_ns >= 1_000 * rest.living);
}

#[test]
fn processes_beyond_the_bound_are_in_the_books_alone() {
    let mut machine = Machine::new(20, Deaths::AtAnyMoment);
    machine.accounting.limits.processes = 10;
    machine.collect(&Default::default());
    let pids: Vec<u32> = (0..50)
        .map(|_| {
            machine.tick();
            machine.kernel.fork(1, None)
        })
        .collect();
    for round in 0..5 {
        pids.iter().for_each(|&pid| machine.kernel.run(pid, &amount(100 + u64::from(pid)), round % 2 == 0));
        machine.collect(&Default::default());
    }
    assert_eq!(machine.accounting.processes.len(), 10);
    assert!(machine.accounting.processes_dropped >= 40);
    machine.check_sums();
}

#[test]
fn a_victim_of_which_only_the_id_is_known_is_whom_the_last_collection_knew() {
    let mut machine = Machine::new(3, Deaths::AtAnyMoment);
    let group = machine.make(0);
    let pid = machine.kernel.fork(1, Some(group));
    machine.collect(&Default::default());
    let identify = |oom| machine.accounting.identify(oom);
    let known = identify(Oom { pid, ..Oom::default() });
    let (key, process) = machine.accounting.processes.iter().find(|(key, _)| key.tgid == pid).unwrap();
    assert_eq!((known.tgid, known.leader_start), (pid, key.start));
    assert_eq!((known.cgroup, known.exe), (process.cgroup, process.exe));
    assert_ne!(known.cgroup, 0);
    let unknown = Oom { pid: 4_000_000, ..Oom::default() };
    assert_eq!(identify(unknown.clone()), unknown);
    let told = Oom { pid, cgroup: 77, ..Oom::default() };
    assert_eq!(identify(told.clone()), told, "the kernel's word goes before ours");
}

#[test]
fn a_move_there_and_back_leaves_no_trace() {
    let mut machine = Machine::new(3, Deaths::AtAnyMoment);
    let (home, away) = (machine.make(0), machine.make(0));
    let pid = machine.kernel.fork(1, Some(home));
    let thread = machine.kernel.thread(pid);
    machine.collect(&Default::default());
    // Asleep all the while; the collections find it here and there.
    for group in [away, home] {
        machine.kernel.move_process(pid, group);
        machine.collect(&Default::default());
    }
    machine.kernel.run(thread, &amount(5_000), false);
    machine.collect(&Default::default());
    machine.kernel.move_process(pid, away);
    machine.kernel.run(thread, &amount(70), false);
    machine.finish();
}

#[test]
fn processes_with_threads_that_came_and_went_leave_the_kernels_map_at_once() {
    let mut machine = Machine::new(3, Deaths::BetweenCollections);
    let group = machine.make(0);
    machine.collect(&Default::default());
    for _ in 0..10 {
        machine.tick();
        let pid = machine.kernel.fork(1, Some(group));
        let thread = machine.kernel.thread(pid);
        machine.kernel.run(thread, &amount(500), true);
        for task in [thread, pid] {
            machine.kernel.exit(task);
            machine.kernel.close(task);
        }
    }
    assert_eq!(machine.kernel.closed.len(), 10);
    machine.collect(&Default::default());
    assert_eq!(machine.kernel.closed.len(), 0);
    machine.finish();
}

#[test]
fn a_series_that_begins_with_its_process_has_the_threads_that_died_before_it_was_seen() {
    let mut machine = Machine::new(3, Deaths::BetweenCollections);
    let group = machine.make(0);
    machine.collect(&Default::default());
    machine.tick();
    let pid = machine.kernel.fork(1, Some(group));
    let thread = machine.kernel.thread(pid);
    machine.kernel.run(thread, &amount(5_000), true);
    machine.kernel.exit(thread);
    machine.kernel.close(thread);
    machine.collect(&Default::default());
    machine.kernel.exit(pid);
    machine.finish();
    assert!(machine.accounting.containers[&ContainerKey::Container("c2".into())].exported.run_ns > 5_000);
}

#[test]
fn what_a_task_used_in_a_removed_cgroup_is_counted_once() {
    let mut machine = Machine::new(3, Deaths::AtAnyMoment);
    let (gone, left) = (machine.make(0), machine.make(0));
    machine.collect(&Default::default());
    let pid = machine.kernel.fork(1, Some(gone));
    machine.kernel.run(pid, &amount(5_000), true);
    machine.collect(&Default::default());
    machine.kernel.move_process(pid, left);
    (0..3).for_each(|_| machine.remove());
    (0..20).for_each(|_| machine.collect(&Default::default()));
    machine.check_sums();
    machine.kernel.run(pid, &amount(70), true);
    machine.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Few of many processes are published, each collection other ones are busy, and nothing is lost or doubled.
    #[test]
    fn the_top_changes_and_the_sums_hold(
        busy in prop::collection::vec(prop::collection::vec((any::<u8>(), 0u16..5_000), 0..20), 5..40),
        limit in 1usize..5,
    ) {
        let mut machine = Machine::new(limit, Deaths::AtAnyMoment);
        machine.collect(&Default::default());
        for _ in 0..60 {
            machine.act(Act::Fork(0), false);
        }
        for burst in busy {
            let acts: Vec<Act> = burst.into_iter().map(|(pid, ns)| Act::Run(pid, ns, ns % 2 == 0)).collect();
            machine.collect(&[acts, Vec::new(), Vec::new(), Vec::new()]);
            let accounting = &machine.accounting;
            for (key, container) in &accounting.containers {
                let published = |p: &&super::super::Process| p.series.as_ref().is_some_and(|s| s.container == *key);
                let published = accounting.processes.values().filter(published).count();
                prop_assert!(published <= 3 * limit);
                prop_assert_eq!(container.remainder_processes + published as u64, container.processes);
            }
        }
        machine.finish();
    }
}
