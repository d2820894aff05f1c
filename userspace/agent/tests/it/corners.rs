//! What hardly ever happens: a task that never leaves its CPU, one pid for many processes, a cgroup with a new name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use xtask::groups::Groups;
use xtask::setup::{Cache, load};

use crate::support::agent::Agent;
use crate::support::kernel::{cpu_dir, enter, keyed, proc_file, schedstat};
use crate::support::watch::Watch;
use crate::support::{Host, eventually, turn};

const CPU: &str = "podscope_container_process_cpu_time_seconds_total";
const SHARES: &str = "process_cpu_time_seconds_total";
const ENDED: &str = "podscope_executable_process_ended_total";
const STAYS: u16 = 0x20;
const REUSED: u16 = 0x21;
const RENAMED: u16 = 0x22;
const TICK: f64 = 0.004;

fn program() -> PathBuf {
    load::program(&Cache::locate().unwrap()).unwrap()
}

fn own(groups: &Groups, index: usize) -> f64 {
    groups.cpu_time(index).unwrap() as f64 / 1e9
}

fn switches(pid: u32) -> u64 {
    ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map(|key| keyed(pid, "status", key)).iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_leaves_its_cpu_grows_with_every_collection() {
    let _turn = turn().await;
    let groups = Groups::make(STAYS, 1).unwrap();
    let agent = Agent::start(&["--cri-socket", "none", "--interval", "0.1"]);
    // Before all others on its CPU; the kernel lets those wait for less than a second.
    let program = program();
    let words = ["-f", "1", "taskset", "-c", "0", &program.to_string_lossy(), "spin", "800"];
    let spinner = Host::start("chrt", &words);
    let pid = spinner.pid();
    // Only where CPU time is accounted: elsewhere a group has no time for such tasks unless it was given some.
    enter(&cpu_dir(&groups.path(0)), pid);
    eventually("it spins", || {
        (fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().starts_with("podscope")).then_some(())
    });
    sleep(Duration::from_millis(150));
    let labels = [("process_pid", &*pid.to_string())];
    let before = (switches(pid), agent.page().sum(SHARES, &labels));
    sleep(Duration::from_millis(400));
    let after = (agent.page().sum(SHARES, &labels), switches(pid));
    let counted = schedstat(pid).0 as f64 / 1e9;
    // Nothing goes before it but the kernel's own stopper thread; among equals it would leave a hundred times.
    let left = after.1 - before.0;
    assert!(left <= 4, "it has left its CPU {left} times");
    println!(
        "never leaves: {:.3} s more after 0.4 s, {:.3} s in all, {counted:.3} s by the kernel",
        after.0 - before.1,
        after.0
    );
    assert!(after.0 - before.1 > 0.25 && after.0 <= counted + TICK, "{before:?} {after:?} {counted}");
    eventually("it has ended", || proc_file(pid, "stat").contains(") Z ").then_some(()));
    let page = agent.settled();
    let (own, published) = (own(&groups, 0), page.one(CPU, &[("container_id", &groups.id(0))]));
    assert!((own - published).abs() < own * 0.001 + TICK, "{published} s of {own} s");
}

/// Starts a program in a container under that pid, where the kernel has it to give.
fn start_as(groups: &Groups, index: usize, pid: u32, program: &Path, words: &[&str]) -> Child {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    groups.start(index, program, words).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pid_for_many_processes_mixes_nothing() {
    const ROUNDS: usize = 40;
    let _turn = turn().await;
    let program = program();
    let groups = Groups::make(REUSED, 2).unwrap();
    let agent = Agent::start(&["--cri-socket", "none", "--interval", "0.1"]);
    let watch = Watch::start(&agent);
    // In turn: a long one in the first container, and a short one with threads in the second.
    let works = [["spin", "60"].as_slice(), ["threads", "3", "2", "1"].as_slice()];
    let mut first = Command::new("true").spawn().unwrap();
    let pid = first.id();
    first.wait().unwrap();
    let mut reused = 0;
    for round in 0..ROUNDS {
        let mut child = start_as(&groups, round % 2, pid, &program, works[round % 2]);
        reused += usize::from(child.id() == pid);
        assert!(child.wait().unwrap().success());
    }
    assert!(reused > ROUNDS / 2, "only {reused} of {ROUNDS} got the pid: others start processes all the time");
    let page = agent.settled();
    let grown = watch.finish();
    for index in 0..2 {
        let id = groups.id(index);
        let id = [("container_id", id.as_str())];
        let (own, published) = (own(&groups, index), page.one(CPU, &id));
        let series = grown.sum(SHARES, &id);
        println!("reuse: container {index}: cgroup={own:.6}s published={published:.6}s series={series:.6}s");
        assert!((own - published).abs() < own * 0.001, "{published} s of {own} s");
        // Series that look alike hide one another from who does not read every page; none has what is another's.
        assert!(series < own * 1.001, "{series} s in all series of {own} s");
        let exits = page.sum(ENDED, &[id[0], ("podscope_process_end_type", "exit")]);
        assert_eq!(exits, (ROUNDS / 2) as f64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cgroup_with_a_new_name_keeps_what_it_has() {
    let _turn = turn().await;
    let program = program();
    let groups = Groups::make(RENAMED, 1).unwrap();
    let old = cpu_dir(&groups.path(0));
    if !old.join("tasks").exists() {
        // Version 2 refuses: there is nothing to follow.
        assert!(fs::rename(&old, old.with_file_name("renamed")).is_err());
        return;
    }
    let agent = Agent::start(&["--cri-socket", "none"]);
    let mut child = groups.start(0, &program, &["spin", "1500"]).unwrap();
    let id = groups.id(0);
    let id = [("container_id", id.as_str())];
    eventually("it is published", || agent.page().get(CPU, &id).filter(|seconds| *seconds > 0.2));
    let new = old.with_file_name(groups.id(7));
    fs::rename(&old, &new).unwrap();
    assert!(child.wait().unwrap().success());
    let page = agent.settled();
    let usage: f64 = fs::read_to_string(new.join("cpuacct.usage")).unwrap().trim().parse().unwrap();
    fs::rename(&new, &old).unwrap();
    // Under one name only, whichever: nothing is lost, nothing is there twice.
    let of = |index: usize| page.sum(CPU, &[("container_id", groups.id(index).as_str())]);
    let (published, truth) = (of(0) + of(7), usage / 1e9);
    println!("renamed: {} s under the old name, {} s under the new one, {truth} s by the cgroup", of(0), of(7));
    assert!((published - truth).abs() < truth * 0.001, "{published} s of {truth} s");
}
