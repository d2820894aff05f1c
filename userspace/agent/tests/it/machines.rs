//! A virtual machine: a real emulator among the processes of a launcher pod.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xtask::rig::{Container, ContainerSpec, Pod, PodSpec, Rig, cgroup};

use crate::support::agent::Agent;
use crate::support::kernel::{adopt, freeze, keyed, oom_kills, pin, proc_file, schedstat, thaw};
use crate::support::page::{Labels, Page};
use crate::support::{Host, eventually, pod, rig, running, script, turn, work};

pub(crate) const VMI: &str = "3cbb32a1-f11c-4065-99e6-62ce670bff12";
const GUEST: &str = "5d307ca9-b3ef-428c-8861-06e72d69f223";
pub(crate) const NAME: &str = "virt-launcher-moon-x7k2p";
pub(crate) const CPU: &str = "podscope_vm_cpu_time_seconds_total";
pub(crate) const MEMORY: &str = "podscope_vm_memory_usage_bytes";
/// Programs with the names of KubeVirt's; the daemon works a little.
const LAUNCHER: &str = "for name in virt-launcher-monitor virt-launcher virtqemud virtlogd; do
        cp $(which podscope-load) /tmp/$name
    done
    /tmp/virt-launcher sleep 0 & /tmp/virtqemud pulse 5 50 & /tmp/virtlogd sleep 0 &
    exec /tmp/virt-launcher-monitor sleep 0";

/// A pod as KubeVirt makes it.
pub(crate) async fn launcher(rig: &Rig) -> Pod {
    let spec = PodSpec::new(NAME).namespace("it").label("kubevirt.io", "virt-launcher");
    rig.pod(spec.label("kubevirt.io/created-by", VMI).annotation("kubevirt.io/domain", "it_moon")).await.unwrap()
}

/// Firmware that is one endless loop.
pub(crate) fn rom() -> Vec<u8> {
    // The processor begins 16 bytes before the end: a jump to itself.
    let mut firmware = vec![0xf4; 64 << 10];
    firmware[0xfff0..0xfff2].copy_from_slice(&[0xeb, 0xfe]);
    firmware
}

/// QEMU under a name that says nothing, with a guest of two CPUs and 64 MiB whose firmware is one endless loop.
fn emulator(dir: &Path) -> Host {
    emulator_with(dir, &[])
}

/// The same with further arguments.
fn emulator_with(dir: &Path, more: &[&str]) -> Host {
    let (program, file) = (dir.join("moon-engine"), dir.join("rom"));
    fs::write(&file, rom()).unwrap();
    fs::copy("/usr/bin/qemu-system-x86_64", &program)
        .expect("qemu-system-x86 must be installed: cargo xtask test does");
    let (program, file) = (program.to_str().unwrap(), file.to_str().unwrap());
    let modules = "QEMU_MODULE_DIR=/usr/lib/x86_64-linux-gnu/qemu";
    let named = [modules, program, "-name", "guest=it_moon,debug-threads=on", "-uuid", GUEST, "-L", "/usr/share/qemu"];
    let guest = ["-machine", "pc,accel=tcg", "-m", "size=65536k", "-smp", "2,sockets=2", "-bios", file];
    Host::start("env", &[&named[..], &guest, &["-nodefaults", "-display", "none"], more].concat())
}

/// What all threads of a process have burned, seconds.
pub(crate) fn burned(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let run_time = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    threads.map(run_time).sum::<u64>() as f64 / 1e9
}

pub(crate) fn close(figure: f64, truth: f64, what: &str) {
    assert!((figure - truth).abs() <= 0.001 * truth + 0.004, "{what}: {figure}, in truth {truth}");
}

/// The container's processes stand still while the figures are taken: page, emulator and cgroup, seconds.
fn still(agent: &Agent, container: &Container, emulator: u32) -> (Page, f64, f64) {
    freeze(&[container]);
    let figures = (agent.settled(), burned(emulator), container.cpu_time().unwrap() as f64 / 1e9);
    thaw(&[container]);
    figures
}

/// The first virtual CPU spins, the other one has not been started by it.
fn check_threads(before: &Page, after: &Page, vm: Labels<'_>) {
    let grown = |metric: &str, labels: Labels<'_>| {
        let labels = [vm, labels].concat();
        after.sum(metric, &labels) - before.sum(metric, &labels)
    };
    let threads = "podscope_vm_thread_cpu_time_seconds_total";
    let emulator = grown(CPU, &[("podscope_vm_role", "emulator")]);
    close(grown(threads, &[]), emulator, "CPU time of all classes");
    let vcpus = grown(threads, &[("podscope_vm_thread_class", "vcpu")]);
    assert!(vcpus > 0.9 * emulator, "{vcpus} of {emulator} s");
    let first = grown("podscope_vm_vcpu_cpu_time_seconds_total", &[("podscope_vm_vcpu_id", "0")]);
    let second = grown("podscope_vm_vcpu_cpu_time_seconds_total", &[("podscope_vm_vcpu_id", "1")]);
    close(first + second, vcpus, "CPU time of both virtual CPUs");
    assert!(second < 0.1 * first, "{second} s, the one that spins {first} s");
    let count = |class| after.one("podscope_vm_thread_count", &[vm, &[("podscope_vm_thread_class", class)]].concat());
    assert_eq!(count("vcpu"), 2.0);
    assert!(count("emulator") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_processes_are_accounted_by_what_they_are_there_for() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &[]);
    let pod = launcher(&rig).await;
    let compute = script(&pod, "compute", LAUNCHER).await;
    eventually("the launcher runs", || (!running(&compute, "/tmp/virt-launcher-monitor").is_empty()).then_some(()));
    let emulator = emulator(rig.dir());
    adopt(&compute, emulator.pid());

    let vm: Labels<'_> = &[("podscope_vm_name", "moon"), ("podscope_vm_uid", VMI), ("k8s_pod_name", NAME)];
    let role = |name| [vm, &[("podscope_vm_role", name)]].concat();
    eventually("the guest is seen", || agent.page().get("podscope_vm_vcpu_count", vm));
    let (before, burned_before, cgroup_before) = still(&agent, &compute, emulator.pid());
    let daemon = running(&compute, "/tmp/virtqemud")[0];
    let daemon_before = burned(daemon);
    eventually("both have worked", || {
        (burned(emulator.pid()) > burned_before + 1.0 && burned(daemon) > daemon_before + 0.02).then_some(())
    });
    let (after, burned_after, cgroup_after) = still(&agent, &compute, emulator.pid());

    let grown = |labels: Labels<'_>| after.sum(CPU, labels) - before.sum(CPU, labels);
    close(grown(&role("emulator")), burned_after - burned_before, "CPU time of the emulator");
    close(grown(vm), cgroup_after - cgroup_before, "CPU time of all roles");
    assert!(grown(&role("libvirt")) > 0.02 && grown(&role("emulator")) > 1.0);
    for name in ["monitor", "launcher", "libvirt", "log", "emulator"] {
        assert_eq!(after.one("podscope_vm_process_count", &role(name)), 1.0, "{name}");
    }
    assert_eq!(after.one("podscope_vm_vcpu_count", vm), 2.0);
    check_threads(&before, &after, vm);
    assert_eq!(after.one("podscope_vm_guest_memory_size_bytes", vm), f64::from(64 << 20));
    let resident = keyed(emulator.pid(), "status", "VmRSS") as f64 * 1024.0;
    let memory = after.one(MEMORY, &role("emulator"));
    assert!((memory - resident).abs() < 2e6, "{memory} B, in truth {resident} B");
    let pid = emulator.pid().to_string();
    let process = after.one("process_memory_usage_bytes", &[&role("emulator")[..], &[("process_pid", &pid)]].concat());
    assert_eq!(process, memory, "the process has the machine's labels too");
    check_top(&agent, emulator.pid());
}

/// What `podscope top` shows.
fn check_top(agent: &Agent, emulator: u32) {
    let top: Value = serde_json::from_str(&agent.get("/top").1).unwrap();
    let its = |container: &&Value| container["vm"] == "it/moon" && container["container"] == "compute";
    let compute = top["containers"].as_array().unwrap().iter().find(its).unwrap();
    let processes = compute["processes"].as_array().unwrap();
    let role = |pid| processes.iter().find(|process| process["pid"] == pid).map(|process| process["role"].clone());
    assert_eq!(role(emulator), Some("emulator".into()));
    let vcpus = compute["vcpus"].as_array().unwrap();
    assert_eq!(vcpus.len(), 2);
    let spins = vcpus.iter().find(|vcpu| vcpu["id"] == 0).unwrap();
    assert!(spins["totals"]["cpu_s"].as_f64().unwrap() > 0.5 && spins["totals"]["wait_s"].is_f64(), "{spins}");
}

/// The host has so many huge pages of 2 MiB more; until the end of this value.
struct HugePages {
    before: u64,
}

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    fn reserve(count: u64) -> Self {
        let read = || fs::read_to_string(Self::FILE).unwrap().trim().parse::<u64>().unwrap();
        let before = read();
        fs::write(Self::FILE, (before + count).to_string()).unwrap();
        let pages = Self { before };
        assert_eq!(read(), before + count, "the host has not enough memory in one piece for {count} huge pages");
        pages
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, self.before.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_on_huge_pages_does_not_look_empty() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &[]);
    let pod = launcher(&rig).await;
    let compute = script(&pod, "compute", LAUNCHER).await;
    let _pages = HugePages::reserve(32);
    let memory = "memory-backend-memfd,id=huge,size=64M,hugetlb=on,hugetlbsize=2M,prealloc=on";
    let emulator = emulator_with(rig.dir(), &["-object", memory, "-machine", "memory-backend=huge"]);
    adopt(&compute, emulator.pid());
    let huge = || keyed(emulator.pid(), "status", "HugetlbPages") as f64 * 1024.0;
    eventually("the guest's memory is there", || (huge() >= f64::from(64 << 20)).then_some(()));

    let role: Labels<'_> = &[("podscope_vm_name", "moon"), ("podscope_vm_role", "emulator")];
    eventually("the guest is seen", || agent.page().get(MEMORY, role));
    let page = agent.settled();
    let kind = |name| page.one("podscope_vm_memory_kind_bytes", &[role, &[("podscope_memory_kind", name)]].concat());
    let resident = ["VmRSS", "VmHWM"].map(|key| keyed(emulator.pid(), "status", key) as f64 * 1024.0);
    assert_eq!(kind("hugetlb"), huge());
    assert_eq!(kind("swap"), keyed(emulator.pid(), "status", "VmSwap") as f64 * 1024.0);
    assert_eq!(["anonymous", "file", "shared", "hugetlb"].map(kind).iter().sum::<f64>(), page.one(MEMORY, role));
    let off = page.one(MEMORY, role) - resident[0] - huge();
    assert!(off.abs() < 2e6, "{off} B beside {} B resident", resident[0]);
    let peak = page.one("podscope_vm_memory_peak_bytes", role);
    assert!(peak >= page.one(MEMORY, role) && peak <= resident[1] + huge() + 2e6, "{peak} B");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_emulator_is_killed_for_memory_is_named() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &[]);
    let pod = launcher(&rig).await;
    // Takes more than there is, once it is told to.
    let greedy = "(while [ ! -e /tmp/go ]; do sleep 0.1; done; exec podscope-load mem 256 0) &";
    let spec = ContainerSpec::new("compute", ["sh", "-c", &format!("{greedy}\n{LAUNCHER}")]).memory_limit(64 << 20);
    let compute = pod.container(spec).await.unwrap();
    let emulator = emulator(rig.dir());
    adopt(&compute, emulator.pid());
    let kills = |role| {
        let labels = [("podscope_vm_name", "moon"), ("podscope_vm_uid", VMI), ("podscope_vm_role", role)];
        agent.page().get("podscope_vm_oom_kills_total", &labels)
    };
    eventually("the guest is seen", || (kills("emulator") == Some(0.0)).then_some(()));
    // First of all, however little it has.
    fs::write(format!("/proc/{}/oom_score_adj", emulator.pid()), "1000").unwrap();
    let monitor = eventually("the launcher runs", || running(&compute, "/tmp/virt-launcher-monitor").first().copied());
    fs::write(format!("/proc/{monitor}/root/tmp/go"), "").unwrap();
    eventually("the emulator's end is counted", || (kills("emulator") == Some(1.0)).then_some(()));
    // The greedy one has no less after it.
    eventually("another end is counted", || (kills("other") == Some(oom_kills(&compute) as f64 - 1.0)).then_some(()));
    assert!(oom_kills(&compute) > 1);
    let log = agent.log();
    let named = |line: &str| line.contains("vm=it/moon") && line.contains("role=\"emulator\"");
    assert!(log.lines().any(named), "{log}");
}

/// Gives all pods together eight times as much of a CPU as a process of the host; ends with this value. More would
/// starve the kernel's own threads on that CPU, for which everybody waits.
struct Favour {
    file: PathBuf,
    before: String,
}

impl Favour {
    fn pods() -> Self {
        let dir = cgroup::dir("cpu", "/kubepods");
        let v1 = dir.join("cpu.shares");
        let (file, most) = if v1.is_file() { (v1, "8192") } else { (dir.join("cpu.weight"), "800") };
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, most).unwrap();
        Self { file, before }
    }
}

impl Drop for Favour {
    fn drop(&mut self) {
        // Nothing is left of it where the pods have gone.
        let _ = fs::write(&self.file, &self.before);
    }
}

/// A thread of a process by its name.
pub(crate) fn thread(pid: u32, name: &str) -> Option<u32> {
    let named = |id: &u32| proc_file(pid, &format!("task/{id}/comm")).trim() == name;
    let ids = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(named)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_while_a_virtual_cpu_is_ready_is_named() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &[]);
    let (pod, other) = (launcher(&rig).await, pod(&rig, "neighbours").await);
    let compute = script(&pod, "compute", LAUNCHER).await;
    let emulator = emulator(rig.dir());
    adopt(&compute, emulator.pid());
    let vcpu = eventually("the first virtual CPU has a thread", || thread(emulator.pid(), "CPU 0/TCG"));
    // Both want the same CPU all the time, the one beside it wants little of it.
    let (busy, idle) = (work(&other, "busy", "spin 0").await, work(&other, "idle", "sleep 0").await);
    let spinner = eventually("the neighbour spins", || running(&busy, "podscope-load spin").first().copied());
    let sleeper = eventually("the other one sleeps", || running(&idle, "podscope-load sleep").first().copied());
    for id in [vcpu, spinner, sleeper] {
        pin(id, 0);
    }
    let favour = Favour::pods();
    let vm: Labels<'_> = &[("podscope_vm_name", "moon")];
    let first = [vm, &[("podscope_vm_vcpu_id", "0")]].concat();
    let waits = |page: &Page| page.get("podscope_vm_vcpu_ready_seconds_count", &first).unwrap_or(0.0);
    eventually("the virtual CPU has a histogram", || (waits(&agent.page()) > 0.0).then_some(()));

    // While all three stand still: the page, and what the kernel says of the first's waits and the second's turns.
    let still = || {
        freeze(&[&compute, &busy]);
        let figures = (agent.settled(), wait_of(emulator.pid(), vcpu), schedstat(spinner).0 as f64 / 1e9);
        thaw(&[&compute, &busy]);
        figures
    };
    let (before, ready_before, ran_before) = still();
    eventually("it waits", || (wait_of(emulator.pid(), vcpu) > ready_before + 0.8).then_some(()));
    let (after, ready_after, ran_after) = still();
    drop(favour);

    let grown = |metric: &str, labels: Labels<'_>| after.sum(metric, labels) - before.sum(metric, labels);
    let (ready, ran) = (ready_after - ready_before, ran_after - ran_before);
    close(grown("podscope_vm_vcpu_ready_time_seconds_total", &first), ready, "ready time");
    close(grown("podscope_vm_vcpu_ready_seconds_sum", &first), ready, "sum of the histogram");
    assert!(waits(&after) > waits(&before));
    let culprit = "podscope_vm_culprit_time_seconds_total";
    let blame = |container: &str| {
        let of = [("podscope_culprit_pod", "neighbours"), ("podscope_culprit_container", container)];
        grown(culprit, &[vm, &of].concat())
    };
    let all = grown("podscope_vm_vcpu_ready_time_seconds_total", vm);
    // Of a wait that lasts while the page is made, one has what the other does not have yet.
    let blamed = grown(culprit, vm);
    assert!((blamed - all).abs() < 0.02 * all + 0.02, "all culprits of both virtual CPUs: {blamed} of {all} s");
    println!("culprits: ready={ready:.3}s busy={:.3}s ran={ran:.3}s idle={:.3}s", blame("busy"), blame("idle"));
    // Whatever else the machine does takes turns on that CPU too.
    assert!((blame("busy") - ran).abs() < 0.3 * ready, "{} s, it ran {ran} of {ready} s", blame("busy"));
    assert!(blame("idle") < 0.02 * ready, "{} of {ready} s", blame("idle"));
}

/// For how long a thread has waited for a CPU, seconds.
pub(crate) fn wait_of(pid: u32, thread: u32) -> f64 {
    let text = proc_file(pid, &format!("task/{thread}/schedstat"));
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() as f64 / 1e9
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_is_seen_and_without_a_runtime_known_by_its_arguments() {
    let _turn = turn().await;
    let rig = rig().await;
    let (named, alone) = (Agent::beside(&rig, &[]), Agent::start(&["--cri-socket", "none"]));
    let pod = launcher(&rig).await;
    let compute = script(&pod, "compute", LAUNCHER).await;
    let emulator = emulator(rig.dir());
    adopt(&compute, emulator.pid());
    let role: Labels<'_> =
        &[("podscope_vm_name", "moon"), ("podscope_vm_role", "emulator"), ("k8s_namespace_name", "it")];
    eventually("the guest is seen", || named.page().get(MEMORY, role).filter(|&bytes| bytes > 0.0));
    let by_arguments = [role, &[("podscope_vm_uid", GUEST), ("k8s_pod_name", "")]].concat();
    eventually("the guest is known by its arguments", || alone.page().get(MEMORY, &by_arguments));

    let daemon = eventually("the daemon runs", || running(&compute, "/tmp/virtqemud").first().copied());
    for pid in [emulator.pid(), daemon] {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::STOP).unwrap();
    }
    let before = named.settled();
    let after = named.settled();
    for metric in [CPU, MEMORY] {
        assert_eq!(before.sum(metric, role), after.sum(metric, role), "{metric}");
        assert!(after.sum(metric, role) > 0.0, "{metric}");
    }
    let uptime = |page: &Page| page.one("process_uptime_seconds", &[("process_pid", &emulator.pid().to_string())]);
    assert!(uptime(&after) > uptime(&before));
}
