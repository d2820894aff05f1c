//! The node's figures against what the kernel says of it elsewhere.

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::turn;

/// The kernel's ticks, and its reckoning of a CPU that is idle.
const TICKS: f64 = 0.1;

/// Burns CPU time in user mode and returns how much, by the thread's own clock.
fn burn(time: Duration) -> f64 {
    let own = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let before = own();
    while own() - before < time.as_secs_f64() {
        std::hint::black_box((0..100_000u64).sum::<u64>());
    }
    own() - before
}

#[tokio::test]
async fn the_nodes_cpu_time_is_what_is_burned_and_what_has_passed() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    let cpus = std::fs::read_to_string("/proc/stat").unwrap().matches("\ncpu").count() as f64;
    let (outer, before) = (Instant::now(), agent.settled());
    let (inner, burned) = (Instant::now(), burn(Duration::from_secs(1)));
    let (inner, after) = (inner.elapsed().as_secs_f64(), agent.settled());
    let outer = outer.elapsed().as_secs_f64();
    let metric = "system_cpu_time_seconds_total";
    let grown = |mode: &str| {
        let labels: &[(&str, &str)] = &[("cpu_mode", mode)];
        after.one(metric, labels) - before.one(metric, labels)
    };
    let working = grown("user") + grown("system");
    assert!(working >= burned - TICKS, "{burned} s were burned, {working} s counted");
    let all = after.sum(metric, &[]) - before.sum(metric, &[]);
    assert!(
        (cpus * inner - TICKS..=cpus * outer + TICKS).contains(&all),
        "between {inner} and {outer} s have passed on {cpus} CPUs, {all} s are counted"
    );
}
