//! What is published of a container's processes adds up to what the kernel has counted for its cgroup.

use std::thread::sleep;
use std::time::Duration;

use xtask::rig::{Container, ContainerSpec, Pod};

use crate::support::agent::Agent;
use crate::support::kernel::{cpu_dir, enter, freeze, procs, thaw};
use crate::support::page::Page;
use crate::support::watch::{Increments, Watch};
use crate::support::{eventually, patience, pod, rig, running, script, turn};

/// How long a process stays where it was moved.
const STAY: Duration = Duration::from_millis(800);
/// What each container has to burn, seconds.
const WORK: f64 = 2.5;
/// What comes and goes in a container meanwhile, at least.
const SHORT_LIVES: f64 = 100.0;
/// The promise.
const TOLERANCE: f64 = 0.001;
/// Where a sum is small, what one tick of the kernel's clock is long.
const TICK: f64 = 0.004;

/// Spinners, threads that die, sleepers, memory, short processes, one after the other and together, for ever.
const MIXED: &str = "while :; do podscope-load mix 900; podscope-load threads 8 3 5; done";
/// What comes from looking at every context switch: the beginnings of metrics' names.
const DETAIL: [&str; 4] = [
    "podscope_process_blocked_time_",
    "podscope_executable_blocked_time_",
    "podscope_container_blocked_time_",
    "podscope_container_run_queue_wait_seconds_bucket",
];

/// Processes shorter than 10 ms from two parents at a time, and processes that go on under another name.
const STORM: &str = "podscope-load forks 0 & podscope-load forks 0 &
    while :; do podscope-load exec-chain other-$((RANDOM % 4)) 5; usleep 20000; done";
/// Spinners and a shell that starts what is moved about.
const MOVED: &str = "podscope-load spin 0 & podscope-load spin 0 & podscope-load sleep 0 &
    while :; do podscope-load threads 3 2 20; done";

/// A container and the kernel's counter of it, at a time when none of its processes runs.
struct Account<'a> {
    container: &'a Container,
    before: u64,
}

impl<'a> Account<'a> {
    fn open(container: &'a Container) -> Self {
        Self { container, before: container.cpu_time().unwrap() }
    }

    /// Seconds since then.
    fn burned(&self) -> f64 {
        (self.container.cpu_time().unwrap() - self.before) as f64 / 1e9
    }

    /// Compares each published sum with the growth of the cgroup's counter, and prints how far it is off.
    fn check(&self, grown: &Increments) {
        let id = [("container_id", self.container.id())];
        let own = self.burned();
        let mut wrong = Vec::new();
        for (what, metric) in [
            ("processes", "process_cpu_time_seconds_total"),
            ("executables", "podscope_executable_cpu_time_seconds_total"),
            ("container", "podscope_container_process_cpu_time_seconds_total"),
        ] {
            let sum = grown.sum(metric, &id);
            let off = (sum - own) / own;
            println!(
                "conservation: of=containers container={} sum={what} cgroup={own:.6}s published={sum:.6}s off={:+.4}%",
                self.container.name(),
                off * 100.0
            );
            if off.abs() > TOLERANCE {
                wrong.push(format!("{what} of {}: {sum} s, its cgroup: {own} s", self.container.name()));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// Compares the processes that came and went with those that are there.
    fn check_lives(&self, before: &Page, after: &Page) {
        // Until its runtime has answered, a container may have been published without its pod's name.
        let id = [("container_id", self.container.id()), ("k8s_pod_name", "mixed")];
        for (started, ended) in [
            ("podscope_container_process_started_total", "podscope_container_process_ended_total"),
            ("podscope_executable_process_started_total", "podscope_executable_process_ended_total"),
        ] {
            let balance = |page: &Page| page.sum(started, &id) - page.sum(ended, &id);
            let living = |page: &Page| page.one("podscope_container_process_count", &id);
            let (came, more) = (balance(after) - balance(before), living(after) - living(before));
            assert_eq!(came, more, "{started} less {ended} of {}", self.container.name());
        }
        // The kernel's list, of all its cgroups.
        let dir = cpu_dir(self.container.cgroup());
        let there = procs(&dir).len() + procs(&dir.join("inner")).len();
        let counted = after.one("podscope_container_process_count", &id);
        assert_eq!(counted, there as f64, "living processes of {}", self.container.name());
    }
}

/// Moves processes of a container into a cgroup within its own and back, while they run.
fn move_about(container: &Container) {
    let outer = cpu_dir(container.cgroup());
    let inner = outer.join("inner");
    std::fs::create_dir_all(&inner).unwrap();
    let spinner = running(container, "podscope-load spin")[0];
    for _ in 0..3 {
        sleep(STAY);
        enter(&inner, spinner);
        sleep(STAY);
        enter(&outer, spinner);
    }
    enter(&inner, spinner);
}

/// Processes of an executable that the container has started so far.
fn begun(page: &Page, container: &Container, executable: &str) -> f64 {
    let labels = [("container_id", container.id()), ("process_executable_name", executable)];
    page.sum("podscope_executable_process_started_total", &labels)
}

async fn containers(pod: &Pod) -> [Container; 2] {
    let throttled = ContainerSpec::new("storm", ["sh", "-c", STORM]).cpu_limit(600);
    [pod.container(throttled).await.unwrap(), script(pod, "moved", MOVED).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_burn_is_what_their_cgroups_count() {
    let (agent, page) = conserves(&[]).await;
    assert_eq!(agent.status()["scheduling_detail"]["on"], true);
    assert!(DETAIL.iter().all(|name| page.samples.iter().any(|sample| sample.name.starts_with(name))));
    assert!(agent.get("/top").1.contains("blocked_cores"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_burn_is_what_their_cgroups_count_without_scheduling_detail() {
    let (agent, page) = conserves(&["--scheduling-detail", "off"]).await;
    for name in DETAIL {
        let there = page.samples.iter().find(|sample| sample.name.starts_with(name));
        assert!(there.is_none(), "published though it is not measured: {there:?}");
    }
    let detail = &agent.status()["scheduling_detail"];
    assert_eq!(detail["on"], false);
    assert!(detail["absent"].as_array().unwrap().contains(&"podscope.process.blocked.time".into()), "{detail}");
    assert!(!agent.get("/top").1.contains("blocked_cores"));
    // The kernel counts it by itself.
    assert!(page.sum("podscope_process_run_queue_wait_time_seconds_total", &[]) > 0.0);
}

/// Compares what is published of busy containers with the kernel's own counts, and returns the agent and the last page.
async fn conserves(flags: &[&str]) -> (Agent, Page) {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "mixed").await;
    // One is older than the agent, two are younger.
    let elder = script(&pod, "mixed", MIXED).await;
    let agent = Agent::beside(&rig, flags);
    let [storm, moved] = containers(&pod).await;
    let all = [&elder, &storm, &moved];
    let name_of = |id: &str| {
        let page = agent.page();
        page.get("podscope_container_process_count", &[("container_id", id), ("k8s_pod_name", "mixed")])
    };
    for container in all {
        eventually("the container has its name", || name_of(container.id()));
    }

    freeze(&all);
    let before = agent.settled();
    let watch = Watch::start(&agent);
    let accounts = all.map(Account::open);
    thaw(&all);
    move_about(&moved);
    eventually("every container has worked", || accounts.iter().all(|account| account.burned() > WORK).then_some(()));
    eventually("enough short processes have come and gone, under every name", || {
        let page = agent.page();
        let begun = |executable: &str| begun(&page, &storm, executable) - begun(&before, &storm, executable);
        let all = begun("podscope-load") > SHORT_LIVES && (0..4).all(|i| begun(&format!("other-{i}")) > 0.0);
        all.then_some(())
    });
    freeze(&all);
    let after = agent.settled();
    let grown = watch.finish();
    for account in &accounts {
        account.check(&grown);
        account.check_lives(&before, &after);
        let id = [("container_id", account.container.id()), ("k8s_pod_name", "mixed")];
        let own = account.container.cpu_time().unwrap() as f64 / 1e9;
        let unaccounted = after.one("podscope_container_cpu_unaccounted_seconds", &id);
        println!("unaccounted: container={} {unaccounted:+.6}s", account.container.name());
        // The runtime's program runs when it is moved into the container: of its last tick either side may be counted.
        // An emulated processor that has to wait for a real one makes that tick a long one.
        let allowed = (TICK * f64::from(patience().pow(2))).max(own * TOLERANCE);
        assert!(unaccounted.abs() <= allowed, "unaccounted: {unaccounted} s of {own} s");
    }
    thaw(&all);
    (agent, after)
}
