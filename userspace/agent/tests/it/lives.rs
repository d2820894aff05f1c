//! Processes that begin, change and end in every way, each against the kernel's counters and the number of them.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use xtask::rig::{Container, Pod};

use crate::support::agent::Agent;
use crate::support::kernel::{cpu_dir, enter, freeze, proc_file, procs, schedstat, thaw};
use crate::support::page::{Labels, Page};
use crate::support::watch::Watch;
use crate::support::{Host, LIMIT, eventually, pod, rig, running, script, turn, work};

const CPU: &str = "podscope_container_process_cpu_time_seconds_total";
const SHARES: &str = "process_cpu_time_seconds_total";
const STARTED: &str = "podscope_executable_process_started_total";
const ENDED: &str = "podscope_executable_process_ended_total";
/// The kernel brings a running task's figures up to date once in a tick of its clock, at 250 a second.
const TICK: f64 = 0.004;

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

/// Waits until a process has burned so many seconds more.
fn burns(pid: u32, seconds: f64) {
    let wanted = schedstat(pid).0 as f64 / 1e9 + seconds;
    eventually("the process burns time", || (schedstat(pid).0 as f64 / 1e9 > wanted).then_some(()));
}

/// What a container's cgroup has counted, seconds.
fn own(container: &Container) -> f64 {
    container.cpu_time().unwrap() as f64 / 1e9
}

fn state(pid: u32) -> char {
    let text = proc_file(pid, "stat");
    text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// An executable's starts of a kind, and its ends of a kind.
fn lives(page: &Page, container: &Container, executable: &str, start: &str, end: &str) -> (f64, f64) {
    let of = |metric: &str, key: &str, kind: &str| {
        let labels = [("container_id", container.id()), ("process_executable_name", executable), (key, kind)];
        page.one(metric, &labels)
    };
    (of(STARTED, "podscope_process_start_type", start), of(ENDED, "podscope_process_end_type", end))
}

/// Waits until a container's script has come to its last command, and no process of it runs.
fn done(container: &Container, last: &str) {
    eventually("the script has come to its end", || {
        (running(container, last).len() == 1 && procs(&cpu_dir(container.cgroup())).len() == 1).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn short_processes_and_threads_killed_together_are_counted_once_and_in_full() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "short").await;
    let agent = Agent::beside(&rig, &[]);
    let short = script(&pod, "short", "podscope-load forks 3000; exec sleep 600").await;
    let groups = "for i in $(seq 40); do
            podscope-load threads 8 60000 1 &
            until grep -q podscope-load /proc/$!/comm; do usleep 1000; done
            usleep 10000; kill -9 $!; wait
        done
        exec sleep 600";
    let killed = script(&pod, "killed", groups).await;
    // The longest wait of all tests: six seconds of work for two CPUs that others use as well.
    let wait = std::time::Instant::now();
    while running(&short, "sleep").is_empty() && wait.elapsed() < 3 * LIMIT {
        sleep(Duration::from_millis(100));
    }
    done(&short, "sleep");
    done(&killed, "sleep");
    let page = agent.settled();
    for (container, count) in [(&short, 3001.0), (&killed, 40.0)] {
        let (own, published) = (own(container), page.one(CPU, &[("container_id", container.id())]));
        println!("{}: cgroup={own:.6}s published={published:.6}s", container.name());
        assert!((published - own).abs() < own * 0.001 + TICK, "{published} s, its cgroup: {own} s");
        assert_eq!(lives(&page, container, "podscope-load", "exec", "exit"), (count, count), "{}", container.name());
        assert_eq!(page.one("podscope_container_process_count", &[("container_id", container.id())]), 1.0);
    }
    // Each short process was a copy of the one that started it, and became its own program.
    assert_eq!(lives(&page, &short, "podscope-load", "fork", "exec"), (3000.0, 3000.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn time_before_an_exec_stays_with_the_program_that_burned_it() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "names").await;
    let agent = Agent::beside(&rig, &[]);
    // Signals to itself do not stop a container's first process, so the second one does the work.
    let inner = "while :; do :; done; exec podscope-load spin 0";
    let shell = format!("sh -c 'trap \"exec podscope-load spin 0\" USR1; {inner}' & wait");
    let container = script(&pod, "work", &shell).await;
    let id = ("container_id", container.id());
    eventually("the container has its name", || agent.page().get(CPU, &[id, ("k8s_pod_name", "names")]));
    let child = eventually("the inner shell runs", || {
        procs(&cpu_dir(container.cgroup())).into_iter().find(|pid| *pid != container.pid())
    });
    freeze(&[&container]);
    agent.settled();
    let watch = Watch::start(&agent);
    let (start, parent) = (schedstat(child).0, schedstat(container.pid()).0);
    thaw(&[&container]);
    burns(child, 0.3);
    freeze(&[&container]);
    agent.settled();
    let middle = schedstat(child).0;
    kill_process(Pid::from_raw(child as i32).unwrap(), Signal::USR1).unwrap();
    thaw(&[&container]);
    eventually("the shell has become another program", || {
        proc_file(child, "comm").starts_with("podscope").then_some(())
    });
    burns(child, 0.3);
    agent.collections(2);
    burns(child, 0.3);
    freeze(&[&container]);
    agent.settled();
    let (end, parent) = (schedstat(child).0, schedstat(container.pid()).0 - parent);
    let grown = watch.finish();
    thaw(&[&container]);

    let seconds = |ns: u64| ns as f64 / 1e9;
    let pid = child.to_string();
    for (name, truth) in [("busybox", seconds(middle - start)), ("podscope-load", seconds(end - middle))] {
        let executable =
            grown.sum("podscope_executable_cpu_time_seconds_total", &[id, ("process_executable_name", name)]);
        let executable = executable - if name == "busybox" { seconds(parent) } else { 0.0 };
        println!("exec: {name} schedstat={truth:.6}s executable={executable:.6}s");
        // The call itself still belongs to the old program.
        assert!((executable - truth).abs() < TICK, "{name}: {executable} s, schedstat: {truth} s");
        let process = grown.sum(SHARES, &[id, ("process_pid", &pid), ("process_executable_name", name)]);
        println!("exec: {name} process={process:.6}s");
        assert!(process > 0.0 && process <= truth + TICK, "the series of {name} has {process} s, it burned {truth} s");
    }
    // Whatever the series: together they are what was burned.
    let all = grown.sum(SHARES, &[id]);
    let truth = seconds(end - start + parent);
    assert!((all - truth).abs() < truth * 0.001, "{all} s in all series, schedstat: {truth} s");
}

/// Two containers and the growth of both their sums.
struct Two<'a> {
    agent: &'a Agent,
    both: [&'a Container; 2],
    before: [f64; 2],
    watch: Watch,
}

impl<'a> Two<'a> {
    fn begin(agent: &'a Agent, both: [&'a Container; 2]) -> Self {
        freeze(&both);
        agent.settled();
        let two = Self { agent, both, before: both.map(own), watch: Watch::start(agent) };
        thaw(&both);
        two
    }

    /// Compares each container's sums with its cgroup's, `slack` seconds apart at most.
    fn end(self, slack: f64) {
        freeze(&self.both);
        self.agent.settled();
        let grown = self.watch.finish();
        for (container, before) in self.both.iter().zip(self.before) {
            let truth = own(container) - before;
            for metric in [CPU, SHARES, "podscope_executable_cpu_time_seconds_total"] {
                let published = grown.sum(metric, &[("container_id", container.id())]);
                println!("moves: {} {metric} cgroup={truth:.6}s published={published:.6}s", container.name());
                assert!((published - truth).abs() < truth * 0.001 + slack, "{metric}: {published} s of {truth} s");
            }
        }
        thaw(&self.both);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_moves_leaves_what_it_burned_where_it_burned_it() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "moving").await;
    let agent = Agent::beside(&rig, &[]);
    let from = script(&pod, "from", "podscope-load spin 0 & podscope-load threads 4 600000 1 & exec sleep 600").await;
    let to = work(&pod, "to", "spin 0").await;
    eventually("the movers run", || (procs(&cpu_dir(from.cgroup())).len() == 3).then_some(()));
    for container in [&from, &to] {
        let labels = [("container_id", container.id()), ("k8s_pod_name", "moving")];
        eventually("the container has its name", || agent.page().get(CPU, &labels));
    }
    let movers = [running(&from, "podscope-load spin")[0], running(&from, "podscope-load threads")[0]];
    let two = Two::begin(&agent, [&from, &to]);
    for _ in 0..2 {
        for container in [&to, &from, &to] {
            sleep(Duration::from_millis(300));
            movers.iter().for_each(|pid| enter(&cpu_dir(container.cgroup()), *pid));
        }
        sleep(Duration::from_millis(700));
        movers.iter().for_each(|pid| enter(&cpu_dir(from.cgroup()), *pid));
    }
    // Each of the five threads, eight times.
    two.end(5.0 * 8.0 * TICK / 4.0);
    let page = agent.page();
    assert_eq!(lives(&page, &to, "podscope-load", "moved", "moved"), (8.0, 8.0));
    assert_eq!(lives(&page, &from, "podscope-load", "moved", "moved"), (8.0, 8.0));

    // One that sleeps all the while has moved too.
    let shell = from.pid();
    let moves = |page: &Page| lives(page, &to, "busybox", "moved", "moved");
    for (container, living, moved) in [(&to, 2.0, (1.0, 0.0)), (&from, 1.0, (1.0, 1.0)), (&to, 2.0, (2.0, 1.0))] {
        enter(&cpu_dir(container.cgroup()), shell);
        let page = agent.settled();
        assert_eq!(page.one("podscope_container_process_count", &[("container_id", to.id())]), living);
        assert_eq!(moves(&page), moved);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_older_than_the_agent_adds_only_what_it_burned_since() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "old").await;
    // One thread, and a group of threads many of which are dead by then.
    let shell = "podscope-load spin 0 & podscope-load threads 4 10 1000000 & exec sleep 600";
    let container = script(&pod, "work", shell).await;
    eventually("it has burned some time", || (own(&container) > 2.0).then_some(()));
    freeze(&[&container]);
    let before = own(&container);
    let agent = Agent::beside(&rig, &[]);
    let id = [("container_id", container.id()), ("k8s_pod_name", "old")];
    eventually("it is published", || agent.page().get(CPU, &id));
    agent.settled();
    thaw(&[&container]);
    sleep(Duration::from_secs(1));
    running(&container, "podscope-load").into_iter().for_each(kill);
    done(&container, "sleep");
    let page = agent.settled();
    let truth = own(&container) - before;
    for metric in [CPU, SHARES, "podscope_executable_cpu_time_seconds_total"] {
        let published = page.sum(metric, &id);
        println!("older: {metric} cgroup={truth:.6}s published={published:.6}s");
        assert!((published - truth).abs() < truth * 0.001 + TICK, "{metric}: {published} s of {truth} s");
    }
    let (started, ended) = lives(&page, &container, "podscope-load", "exec", "exit");
    assert_eq!((started, ended), (0.0, 2.0), "both ended, and began before the agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_has_ended() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "zombie").await;
    let agent = Agent::beside(&rig, &[]);
    // The program that takes the shell's place waits for nobody.
    let container = script(&pod, "work", "podscope-load spin 1500 & exec sleep 600").await;
    let child = eventually("the child runs", || running(&container, "podscope-load spin").pop());
    eventually("the child is a zombie", || (state(child) == 'Z').then_some(()));
    let page = agent.settled();
    let id = [("container_id", container.id())];
    assert_eq!(state(child), 'Z');
    assert_eq!(page.one("podscope_container_process_count", &id), 1.0);
    assert_eq!(lives(&page, &container, "podscope-load", "exec", "exit"), (1.0, 1.0));
    let (truth, published) = (own(&container), page.one(CPU, &id));
    assert!((published - truth).abs() < truth * 0.001 + TICK, "{published} s of {truth} s");
    // Its books are closed, and its series has ended: what it says stays as it is.
    let labels = [id[0], ("process_pid", &child.to_string())];
    let burned = page.sum(SHARES, &labels);
    assert!(burned > 0.0 && burned <= schedstat(child).0 as f64 / 1e9, "{burned} s");
    let later = agent.settled();
    assert_eq!(later.sum(SHARES, &labels), burned);
    assert_eq!(later.one(CPU, &id), published);
}

/// A pid, the name it is to have, and whether it is a kernel thread.
fn host() -> BTreeMap<u32, (String, bool)> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let named = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, fields) = stat.rsplit_once(") ")?;
        // PF_KTHREAD among the flags, the ninth field (include/linux/sched.h).
        let kernel = fields.split(' ').nth(6)?.parse::<u64>().ok()? & 0x0020_0000 != 0;
        let name = if kernel {
            head.split_once('(')?.1.split('/').next()?.to_owned()
        } else {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            exe.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned()
        };
        Some((pid, (name, kernel)))
    };
    pids.filter_map(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_of_the_host_has_its_name() {
    let _turn = turn().await;
    let before = host();
    let agent = Agent::start(&["--cri-socket", "none", "--processes-per-container", "10000"]);
    let page = agent.settled();
    let after = host();
    let (mut threads, mut programs) = (0, 0);
    for (pid, (name, kernel)) in before.iter().filter(|(pid, named)| after.get(pid) == Some(named)) {
        let pid = pid.to_string();
        let labels: Labels<'_> = &[("process_pid", &pid)];
        let found: Vec<_> =
            page.select("process_thread_count", labels).map(|s| s.label("process_executable_name")).collect();
        // /proc shows names of kernel threads in full; the task has 15 letters of them.
        let letters = if *kernel { name.len().min(15) } else { name.len() };
        assert_eq!(found, [&name[..letters]], "process {pid}");
        let memory = page.get("process_memory_usage_bytes", labels);
        assert_eq!(memory.is_none(), *kernel, "process {pid} ({name}) has {memory:?} bytes");
        *(if *kernel { &mut threads } else { &mut programs }) += 1;
    }
    assert!(threads > 10 && programs > 3, "{threads} kernel threads, {programs} programs");
}

/// Starts processes until one has that pid.
fn with_pid(pid: u32, program: &str, args: &[&str]) -> Host {
    for _ in 0..500 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let host = Host::start(program, args);
        if host.pid() == pid {
            return host;
        }
    }
    panic!("pid {pid} cannot be had again: it is in use, or others start processes all the time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pid_that_is_used_again_is_another_process() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod: Pod = pod(&rig, "again").await;
    let container = work(&pod, "work", "sleep 0").await;
    let agent = Agent::beside(&rig, &[]);
    let dir = cpu_dir(container.cgroup());
    let spin = ["-c", "while :; do :; done"];
    let first = Host::start("sh", &spin);
    let pid = first.pid();
    enter(&dir, pid);
    let labels = [("container_id", container.id()), ("process_pid", &pid.to_string())];
    let burned = || agent.page().select(SHARES, &labels).map(|s| s.value).sum::<f64>();
    eventually("the first one has burned a while", || (burned() > 1.0).then_some(()));
    drop(first);

    // At once, and of the same name: only its start tells it apart.
    let second = with_pid(pid, "sh", &spin);
    enter(&dir, pid);
    sleep(Duration::from_millis(700));
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::STOP).unwrap();
    let page = agent.settled();
    let run = schedstat(second.pid()).0 as f64 / 1e9;
    let published = page.sum(SHARES, &labels);
    assert!(published <= run + TICK, "{published} s published of {run} s: the first one's time is in it");
    assert!(published > run - 0.6, "{published} s published of {run} s");
    let uptime = page.one("process_uptime_seconds", &labels);
    assert!(uptime < 5.0, "{uptime} s old");
    assert_eq!(page.one("podscope_container_process_count", &labels[..1]), 2.0);
}
