//! The agent itself is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use rustix::process::{Pid, Signal, kill_process};

use super::ground::Ground;
use super::ledger::{Ledger, SUMS};
use super::table;
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::support::agent::{self, Agent};
use crate::support::{eventually, turn};

/// How often, unless `PODSCOPE_FAULTS_KILLS` says otherwise.
const KILLS: u32 = 8;
/// Loading takes about half of it.
const LONGEST_LIFE: Duration = Duration::from_millis(1_500);

/// What the kernel holds for a process: (kind, id) of programs, maps and links.
type Held = BTreeSet<(&'static str, u32)>;

/// What a stopped process holds open.
fn held(pid: u32) -> Held {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let texts: Vec<String> = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
    let id = |text: &str, key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    let kinds = [("program", "prog_id:"), ("map", "map_id:"), ("link", "link_id:")];
    texts.iter().flat_map(|text| kinds.iter().filter_map(move |(kind, key)| Some((*kind, id(text, key)?)))).collect()
}

/// What the kernel holds for anybody.
fn loaded() -> Held {
    let programs = loaded_programs().flatten().map(|program| ("program", program.id()));
    let maps = loaded_maps().flatten().map(|map| ("map", map.id()));
    let links = loaded_links().flatten().map(|link| ("link", link.id()));
    programs.chain(maps).chain(links).collect()
}

/// Everything below the file system in which programs and maps are pinned.
fn pinned() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::from("/sys/fs/bpf")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// Starts an agent, kills it after a while, and returns what it held.
fn start_and_kill(after: Duration) -> Held {
    let mut command = agent::command();
    agent::settings(&mut command);
    let mut child = command.args(["--cri-socket", "none", "--interval", "0.1"]).stderr(Stdio::null()).spawn().unwrap();
    sleep(after);
    let pid = Pid::from_child(&child);
    // Stopped first, so that what it holds can be read; it dies in the very same place.
    kill_process(pid, Signal::STOP).unwrap();
    eventually("the agent stops", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T').then_some(())
    });
    let held = held(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn at_random_moments_it_leaves_nothing() {
    let _turn = turn().await;
    let pinned_before = pinned();
    let kills = std::env::var("PODSCOPE_FAULTS_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let (mut all, mut most, mut early) = (Held::new(), 0, 0);
    for _ in 0..kills {
        let held = start_and_kill(LONGEST_LIFE.mul_f64(rand::random()));
        most = most.max(held.len());
        early += u32::from(held.is_empty());
        all.extend(held);
    }
    println!(
        "fault: {kills} agents killed, {early} before they held anything; {} objects, at most {most} at once",
        all.len()
    );
    assert!(most >= 30, "no agent lived to attach its programs: {most} objects");
    eventually("the kernel has let all of it go", || all.is_disjoint(&loaded()).then_some(()));
    assert_eq!(pinned(), pinned_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_begins_anew() {
    let _turn = turn().await;
    let receiver = Receiver::start(Protocol::Grpc).await;
    let start = |listen: &str| Agent::sending_to(&receiver, &["--cri-socket", "none", "--listen", listen]);
    let mut ground = Ground::new();
    let mut ledger = Ledger::default();

    let first = start("127.0.0.1:0");
    ground.work();
    ground.is_whole(&mut ledger, &receiver);
    let address = first.address.to_string();
    ground.work();
    assert!(!first.end(Signal::KILL).status.success());
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mended = Instant::now();
    // The same address is free at once.
    let _second = start(&address);
    let back = mended.elapsed();
    ground.rest();
    let between = ground.cpu();
    ground.work();
    ground.is_whole_since(&mut ledger, &receiver, between, killed);

    // Nothing is counted twice.
    let total = ground.cpu();
    for metric in SUMS {
        let sum = ledger.sum(metric, &ground.id);
        assert!(sum <= total * 1.001 + 0.004, "{metric}: {sum} s of {total} s");
        assert!(ledger.starts(metric, &ground.id).iter().any(|start| *start > killed), "{metric} has its old start");
    }
    table::AGENT_KILLED.passed(None, Some(back));
}
