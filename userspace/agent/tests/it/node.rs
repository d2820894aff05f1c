//! The node's figures against what the kernel says of it elsewhere.

use std::time::{Duration, Instant};

use xtask::rig::{Container, cgroup};

use crate::support::agent::Agent;
use crate::support::kernel::{freeze, thaw};
use crate::support::{eventually, patience, pod, rig, running, script, turn};

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

/// A number of the container's `memory.stat`, by its names in v1 and v2.
fn memory_stat(container: &Container, v1: &str, v2: &str) -> Option<f64> {
    let folder = cgroup::dir("memory", container.cgroup());
    let key = if folder.join("memory.usage_in_bytes").exists() { v1 } else { v2 };
    let text = std::fs::read_to_string(folder.join("memory.stat")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// The folder into which a container writes what differs from its image.
fn upper_folder(pid: u32) -> String {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.contains(" / / ")).unwrap();
    let (_, upper) = root.split_once("upperdir=").unwrap();
    upper.split(',').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_containers_memory_layer_and_cpu_are_what_the_kernel_and_du_say() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "figures").await;
    let work = "head -c 3000000 /dev/zero > /tmp/written; exec podscope-load spin 0";
    let container = script(&pod, "app", work).await;
    let pid = eventually("it spins", || running(&container, "podscope-load spin").first().copied());
    let du = || {
        let told = std::process::Command::new("du").args(["-s", "-B1", &upper_folder(pid)]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split('\t').next().unwrap().parse::<f64>().unwrap()
    };
    // The runtime counts it once a second, and the agent asks when it comes.
    std::thread::sleep(Duration::from_secs(3) * patience());
    let agent = Agent::beside(&rig, &[]);
    let of: &[(&str, &str)] = &[("k8s_container_name", "app")];
    let written = eventually("the runtime tells", || agent.page().get("container_filesystem_usage_bytes", of));
    assert_eq!(written, du());
    assert!(written >= 3e6);
    assert_eq!(agent.becomes("container_stats", "up"), "");

    let used = || container.cpu_time().unwrap() as f64 / 1e9;
    let (before, began) = (used(), Instant::now());
    agent.collections(8);
    let cpus = (used() - before) / began.elapsed().as_secs_f64();
    let page = agent.page();
    let said = page.one("container_cpu_usage", of);
    assert!((said - cpus).abs() < 0.35, "{said} CPUs, in truth {cpus}");
    assert!(page.one("k8s_node_cpu_usage", &[]) > said - 0.35);

    freeze(&[&container]);
    let page = agent.settled();
    let equal = |metric: &str, labels: &[(&str, &str)], v1: &str, v2: &str| {
        let labels = [of, labels].concat();
        assert_eq!(page.get(metric, &labels), memory_stat(&container, v1, v2), "{metric} {labels:?}");
    };
    equal("podscope_container_memory_cache_bytes", &[], "total_cache", "file");
    equal("podscope_container_memory_mapped_bytes", &[], "total_mapped_file", "file_mapped");
    for list in ["active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable"] {
        let label = [("podscope_memory_list", list)];
        equal("podscope_container_memory_list_bytes", &label, &format!("total_{list}"), list);
    }
    for (direction, v1) in [("charged", "total_pgpgin"), ("uncharged", "total_pgpgout")] {
        let label = [("podscope_memory_charge", direction)];
        equal("podscope_container_memory_charges_total", &label, v1, "none");
    }
    thaw(&[&container]);
    // The pod has the host's network, so it has no interface of its own.
    assert_eq!(page.select("k8s_pod_network_io_bytes_total", &[]).count(), 0);
}

#[tokio::test]
async fn the_nodes_file_system_is_what_df_says_though_the_agent_is_confined() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    let metric = "system_filesystem_limit_bytes";
    let root = [("system_filesystem_mountpoint", "/")];
    let size = eventually("the root's size", || agent.page().get(metric, &root));
    let told = std::process::Command::new("df").args(["-B1", "--output=size", "/"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(Some(size), told.lines().nth(1).and_then(|line| line.trim().parse().ok()));
    assert_eq!(agent.becomes("filesystem", "up"), "");
    assert_eq!(agent.becomes("node", "up"), "");
    let page = agent.page();
    for (metric, labels) in [
        ("k8s_node_filesystem_capacity_bytes", &[][..]),
        ("system_memory_limit_bytes", &[]),
        ("system_paging_faults_total", &[("system_paging_fault_type", "minor")]),
        ("podscope_node_context_switches_total", &[]),
        ("k8s_node_uptime_seconds", &[]),
    ] {
        assert!(page.one(metric, labels) > 0.0, "{metric}");
    }
}
