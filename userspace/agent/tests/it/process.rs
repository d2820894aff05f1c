//! One process's figures against what /proc says of it, while it does not run.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use xtask::rig::ContainerSpec;

use crate::support::agent::Agent;
use crate::support::kernel::{adopt, cpu_dir, freeze, keyed, pin, proc_file, procs, schedstat, stat, thaw};
use crate::support::page::{Labels, Page};
use crate::support::{Host, eventually, pod, rig, running, turn};

const SPAN: Duration = Duration::from_secs(3);
/// The kernel keeps memory counters per CPU and lets each be off by up to 32 pages or twice the CPUs
/// (include/linux/percpu_counter.h), for each of three kinds.
const LAG_PAGES: usize = 32;

/// Two spinners that share a CPU, one that writes and has held more memory than it holds, one with memory, and one
/// with threads that come and go.
const WORK: &str = "podscope-load spin 0 & podscope-load spin 0 & podscope-load mem 48 0 &
    podscope-load threads 4 20 1000000 &
    held=$(head -c 12000000 /dev/zero | tr '\\0' x); unset held
    while :; do echo text > /tmp/written; read -r line < /tmp/written; done";

/// Reads a file past the page cache, which takes a third of a second of CPU time.
fn read(folder: &Path) -> Host {
    let file = folder.join("to-read");
    std::fs::write(&file, vec![b'x'; 64 << 20]).unwrap();
    Host::start("dd", &[&format!("if={}", file.display()), "of=/dev/null", "bs=4096", "iflag=direct"])
}

/// A counter of a process: metric, label, the kernel's word in the metric's unit.
type Counter = (&'static str, (&'static str, &'static str), f64);

/// What the kernel has counted for a process. Run time, waits and switches stand in /proc only per thread, so they are
/// left out where it has several.
fn counters(pid: u32) -> Vec<Counter> {
    let io = |key: &str| keyed(pid, "io", key) as f64;
    let fault = "system_paging_fault_type";
    let mut all = vec![
        ("process_paging_faults_total", (fault, "minor"), stat(pid, 10) as f64),
        ("process_paging_faults_total", (fault, "major"), stat(pid, 12) as f64),
        ("process_disk_io_bytes_total", ("disk_io_direction", "read"), io("read_bytes")),
        ("process_disk_io_bytes_total", ("disk_io_direction", "write"), io("write_bytes")),
        ("process_disk_operations_total", ("disk_io_direction", "read"), io("syscr")),
        ("process_disk_operations_total", ("disk_io_direction", "write"), io("syscw")),
    ];
    if keyed(pid, "status", "Threads") == 1 {
        let (run, wait) = schedstat(pid);
        let switches = |key: &str| keyed(pid, "status", key) as f64;
        let kind = "process_context_switch_type";
        all.extend([
            ("process_cpu_time_seconds_total", ("", ""), run as f64 / 1e9),
            ("podscope_process_run_queue_wait_time_seconds_total", ("", ""), wait as f64 / 1e9),
            ("process_context_switches_total", (kind, "voluntary"), switches("voluntary_ctxt_switches")),
            ("process_context_switches_total", (kind, "involuntary"), switches("nonvoluntary_ctxt_switches")),
        ]);
    }
    all
}

/// Compares the growth of every counter of a process.
fn check_counters(pid: u32, before: (&Page, &[Counter]), after: (&Page, &[Counter])) {
    let of = pid.to_string();
    for (then, now) in before.1.iter().zip(after.1) {
        let (metric, label, _) = *now;
        let labels = [("process_pid", of.as_str()), label];
        let labels: Labels<'_> = if label.0.is_empty() { &labels[..1] } else { &labels };
        let published = after.0.sum(metric, labels) - before.0.sum(metric, labels);
        let truth = now.2 - then.2;
        // Seconds are exact but for what the wait of a queued task is estimated at; the others are whole numbers.
        let allowed = if metric.contains("seconds") { truth * 0.001 + 1e-6 } else { 0.0 };
        assert!((published - truth).abs() <= allowed, "{metric}{labels:?}: {published}, the kernel: {truth}");
        if metric.contains("seconds") {
            println!("process {pid}: {metric} published={published:.9} kernel={truth:.9}");
        }
    }
}

/// Compares what a process holds.
fn check_holdings(pid: u32, page: &Page) {
    let of = pid.to_string();
    let labels = [("process_pid", of.as_str())];
    let cpus = std::thread::available_parallelism().unwrap().get();
    let lag = (LAG_PAGES.max(2 * cpus) * cpus * rustix::param::page_size()) as f64;
    let near = |metric: &str, labels: Labels<'_>, key: &str, lag: f64| {
        let (published, truth) = (page.one(metric, labels), (keyed(pid, "status", key) * 1024) as f64);
        assert!((published - truth).abs() <= lag, "{metric}{labels:?}: {published}, {key}: {truth}");
    };
    near("process_memory_usage_bytes", &labels, "VmRSS", 3.0 * lag);
    near("podscope_process_memory_peak_bytes", &labels, "VmHWM", 3.0 * lag);
    near("process_memory_virtual_bytes", &labels, "VmSize", 0.0);
    for (kind, key) in [("anonymous", "RssAnon"), ("file", "RssFile"), ("shared", "RssShmem"), ("swap", "VmSwap")] {
        near("podscope_process_memory_kind_bytes", &[labels[0], ("podscope_memory_kind", kind)], key, lag);
    }
    let statm: Vec<f64> =
        proc_file(pid, "statm").split_ascii_whitespace().map(|pages| pages.parse().unwrap()).collect();
    for (metric, pages) in
        [("podscope_process_memory_text_bytes", statm[3]), ("podscope_process_memory_data_bytes", statm[5])]
    {
        assert_eq!(page.one(metric, &labels), pages * rustix::param::page_size() as f64, "{metric}");
    }
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    for (mode, field) in [("user", 16), ("system", 17)] {
        let labels = [labels[0], ("cpu_mode", mode)];
        let (published, truth) =
            (page.sum("podscope_process_children_cpu_time_seconds_total", &labels), stat(pid, field) as f64 / ticks);
        // The kernel shows whole ticks, and divides what it has by the ticks that each mode had.
        assert!((published - truth).abs() <= 1.01 / ticks, "{mode}: {published} s, the kernel: {truth} s");
    }
    assert_eq!(page.one("process_thread_count", &labels), keyed(pid, "status", "Threads") as f64);

    let since_boot: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let uptime = since_boot - stat(pid, 22) as f64 / ticks;
    let published = page.one("process_uptime_seconds", &labels);
    // As old as the page is; the kernel gives the start in hundredths of a second.
    assert!((-0.02..1.0).contains(&(uptime - published)), "process {pid}: {published} s, the kernel: {uptime} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_what_proc_says_of_it() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "figures").await;
    let container = pod.container(ContainerSpec::new("work", ["sh", "-c", WORK])).await.unwrap();
    let agent = Agent::beside(&rig, &[]);
    let spinners = eventually("two spinners run", || {
        let spinners = running(&container, "podscope-load spin");
        (spinners.len() == 2).then_some(spinners)
    });
    spinners.iter().for_each(|pid| pin(*pid, 0));
    eventually("the shell writes", || (keyed(container.pid(), "io", "syscw") > 1000).then_some(()));

    let reader = read(rig.dir());
    adopt(&container, reader.pid());
    freeze(&[&container]);
    let pids = procs(&cpu_dir(container.cgroup()));
    assert_eq!(pids.len(), 6, "{pids:?}");
    let before = agent.settled();
    let then: Vec<_> = pids.iter().map(|pid| counters(*pid)).collect();
    thaw(&[&container]);
    sleep(SPAN);
    let ended = || proc_file(reader.pid(), "stat").contains(") Z ");
    eventually("the reader has ended", || ended().then_some(()));
    freeze(&[&container]);
    let after = agent.settled();
    assert!(stat(container.pid(), 16) + stat(container.pid(), 17) > 0, "the shell's children have worked");
    for (pid, then) in pids.iter().zip(&then) {
        let now = counters(*pid);
        check_counters(*pid, (&before, then), (&after, &now));
        // The reader has ended and waits for its parent: it holds nothing, and its counters are final.
        if *pid != reader.pid() {
            check_holdings(*pid, &after);
        }
    }

    // The work was what it should be: a wait as long as the time, direct reads, writes, a peak far above the present.
    let waits = |pid: u32| {
        after.one("podscope_process_run_queue_wait_time_seconds_total", &[("process_pid", &pid.to_string())])
    };
    assert!(spinners.iter().all(|pid| waits(*pid) > 0.8), "the spinners did not wait for each other");
    let shell = container.pid();
    let (peak, now) = (keyed(shell, "status", "VmHWM"), keyed(shell, "status", "VmRSS"));
    assert!(peak > now + 8_000, "the shell's memory has not fallen: {now} of {peak} kB");
    assert!(keyed(shell, "io", "write_bytes") > 1 << 20, "the shell has not written");
    assert!(keyed(reader.pid(), "io", "read_bytes") > 1 << 20, "the reader has not read past the page cache");
    thaw(&[&container]);
}
