//! What does not fit is still counted.

use podscope_abi::{EXE_OTHER, EXES_PER_CGROUP};
use proptest::prelude::*;

use super::super::ContainerKey;
use super::amount;
use super::machine::{Act, Deaths, Machine};

const EXES: usize = EXES_PER_CGROUP as usize;

#[test]
fn executables_beyond_the_bound_share_one_entry() {
    let mut machine = Machine::new(3, Deaths::AtAnyMoment);
    let (first, second) = (machine.make(0), machine.make(0));
    machine.collect(&Default::default());
    for exe in 0..100 {
        let group = if exe < 50 { first } else { second };
        machine.tick();
        let pid = machine.kernel.fork(1, Some(group));
        machine.kernel.exec(pid, 1_000 + exe);
        machine.kernel.run(pid, &amount(1_000 + exe), true);
        if exe % 10 == 0 {
            machine.collect(&Default::default());
        }
    }
    machine.finish();
    let container = &machine.accounting.containers[&ContainerKey::Container("c2".into())];
    assert_eq!(container.executables.len(), EXES + 1);
    let rest = container.executables[&EXE_OTHER];
    // 100 and the one they were forked as, less those with an entry of their own.
    assert_eq!(rest.living, 100 - (EXES as u64 - 1));
    assert!(rest.sums.run_ns > 1_000 * rest.living);
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
