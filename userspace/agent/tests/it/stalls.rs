//! What processes wait for besides a CPU: uninterruptible sleep, memory reclaim, and the end by the OOM killer.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use xtask::rig::ContainerSpec;

use crate::support::agent::Agent;
use crate::support::kernel::{adopt, counted, oom_kills, proc_file};
use crate::support::{Host, LIMIT, eventually, pod, rig, turn, work};

const BLOCKED: &str = "podscope_process_blocked_time_seconds_total";
/// What a loaded host may take between two steps of a test.
const SLACK: f64 = 0.15;

/// Starts a program by way of a child that opens a FIFO first: until somebody writes to that, the parent waits for the
/// child in uninterruptible sleep, since both share their memory (vfork).
const SPAWN: &str = "import os, sys
os.posix_spawn('/bin/true', ['true'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])
import time
time.sleep(600)";

#[tokio::test(flavor = "multi_thread")]
async fn uninterruptible_sleep_shows_while_it_lasts() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "blocked").await;
    let container = work(&pod, "work", "sleep 0").await;
    let agent = Agent::beside(&rig, &[]);
    let fifo = rig.dir().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let start = Instant::now();
    let parent = Host::start("python3", &["-c", SPAWN, &fifo.display().to_string()]);
    adopt(&container, parent.pid());
    // An uninterruptible sleep without a child is one for python's own files.
    let children = format!("task/{}/children", parent.pid());
    let sleeps = || proc_file(parent.pid(), "stat").contains(") D ") && !proc_file(parent.pid(), &children).is_empty();
    eventually("the parent sleeps uninterruptibly", || sleeps().then_some(()));
    let begun = start.elapsed();

    let pid = parent.pid().to_string();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let exe = exe.file_name().unwrap().to_string_lossy();
    let labels = [("container_id", container.id()), ("process_pid", &pid), ("process_executable_name", &exe)];
    let first = eventually("its process is published", || agent.page().get(BLOCKED, &labels));
    let seen = Instant::now();
    agent.collections(3);
    let (lasting, span) = (agent.page().one(BLOCKED, &labels) - first, seen.elapsed().as_secs_f64());
    // Each page is as old as the last collection, half a second at most.
    assert!((lasting - span).abs() < 0.5 + SLACK, "{lasting} s in {span} s of sleep");

    assert!(sleeps());
    let (least, end) = (start.elapsed() - begun, Instant::now());
    fs::write(&fifo, "").unwrap();
    eventually("the parent goes on", || (!sleeps()).then_some(()));
    let most = start.elapsed();
    println!("blocked: released in {:?}", end.elapsed());
    // The container has all of it, the sleep before the process had a series too.
    let whole = [("container_id", container.id())];
    let page = agent.settled();
    let blocked = page.one("podscope_container_blocked_time_seconds_total", &whole);
    println!("blocked: at least {least:?}, at most {most:?}, published {blocked:.6}s");
    assert!(blocked > least.as_secs_f64() - 0.001 && blocked < most.as_secs_f64() + 0.001);
    let (ended, later) = (page.one(BLOCKED, &labels), agent.settled().one(BLOCKED, &labels));
    assert_eq!(ended, later, "it grows though the sleep is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_too_small_is_seen_as_stalls() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "tight").await;
    let agent = Agent::beside(&rig, &[]);
    // Page cache beyond the limit, again and again.
    let shell = "dd if=/dev/zero of=/tmp/file bs=1M count=96 2>/dev/null
        while :; do dd if=/tmp/file of=/dev/null bs=1M 2>/dev/null; done";
    let spec = ContainerSpec::new("work", ["sh", "-c", shell]).memory_limit(24 << 20);
    let container = pod.container(spec).await.unwrap();
    let id = [("container_id", container.id()), ("k8s_pod_name", "tight")];
    let stalls = || agent.page().get("podscope_container_reclaim_stalls_total", &id).unwrap_or(0.0);
    eventually("the container stalls", || (stalls() > 50.0).then_some(()));
    // The kernel gave pages up for the limit and had to read them again.
    let refaults = counted(&container, "memory.stat", "workingset_refault_file ");
    assert!(refaults > 1000, "only {refaults} pages were read again");
    let page = agent.settled();
    let time = page.one("podscope_container_reclaim_time_seconds_total", &id);
    let pressure = page.get(
        "podscope_container_pressure_time_seconds_total",
        &[id[0], ("podscope_pressure_resource", "memory"), ("podscope_pressure_kind", "some")],
    );
    println!("reclaim: {} stalls, {time:.6}s, {refaults} pages read again, pressure {pressure:?}", stalls());
    let mean = time / page.one("podscope_container_reclaim_stalls_total", &id);
    assert!(mean > 1e-6 && mean < 1.0, "{mean} s a stall");
    // An untouched container of the same pod has none.
    let pause = [("k8s_pod_name", "tight"), ("k8s_container_name", "POD")];
    assert_eq!(page.one("podscope_container_reclaim_stalls_total", &pause), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_for_memory_is_counted_by_whose_limit_it_was() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "greedy").await;
    let agent = Agent::beside(&rig, &[]);
    let shell = "for i in 1 2 3; do podscope-load mem 256 0; done; exec sleep 600";
    let spec = ContainerSpec::new("work", ["sh", "-c", shell]).memory_limit(32 << 20);
    let container = pod.container(spec).await.unwrap();
    let start = Instant::now();
    while oom_kills(&container) < 3 && start.elapsed() < LIMIT {
        sleep(Duration::from_millis(100));
    }
    assert_eq!(oom_kills(&container), 3, "the kernel has killed otherwise than expected");
    let published = |scope: &str| {
        let labels = [("container_id", container.id()), ("podscope_oom_scope", scope)];
        agent.page().get("podscope_container_oom_kills_total", &labels).unwrap_or(0.0)
    };
    eventually("three kills are published", || (published("container") == 3.0).then_some(()));
    for scope in ["pod", "node", "other", "unknown"] {
        assert_eq!(published(scope), 0.0, "{scope}");
    }
}
