//! Properties of the accounting over random histories, against the truth of a model kernel.

mod bounds;
mod consumers;
mod kernel;
mod machine;
mod published;

use podscope_abi::Counters;
use proptest::prelude::*;

use machine::{Deaths, Machine, Step, steps};

/// Figures that differ from each other, in the proportions of real ones.
fn amount(run_ns: u64) -> Counters {
    Counters {
        run_ns,
        user_ns: run_ns / 3,
        system_ns: run_ns / 5,
        wait_ns: run_ns / 7,
        blocked_ns: run_ns * 2,
        switches_voluntary: run_ns / 11,
        switches_involuntary: run_ns / 13,
        migrations: run_ns / 17,
        faults_minor: run_ns / 2,
        faults_major: run_ns / 19,
        read_bytes: run_ns * 4096,
        write_bytes: run_ns * 512,
        read_calls: run_ns / 4,
        write_calls: run_ns / 6,
        reclaim_ns: run_ns / 8,
        reclaims: run_ns / 9,
    }
}

fn play(limit: usize, deaths: Deaths, history: &[Step]) -> Machine {
    let mut machine = Machine::new(limit, deaths);
    for step in history {
        machine.step(step);
    }
    machine.finish();
    machine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Tasks may die at any moment of a collection.
    #[test]
    fn nothing_is_lost_doubled_or_published_under_another_name(history in steps(), limit in 1usize..6) {
        play(limit, Deaths::AtAnyMoment, &history);
    }

    /// While books, closings and tasks are read tasks run, fork, execute and move, but none dies.
    #[test]
    fn an_ended_process_ends_with_its_true_total(history in steps(), limit in 1usize..6) {
        play(limit, Deaths::BetweenCollections, &history);
    }
}
