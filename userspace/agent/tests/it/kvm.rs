//! A real guest run by KVM: a few instructions that the test counts.
//!
//! Ignored where nobody asks for it: most machines have no KVM, and where it emulates guests without the processor's
//! help there are no exits to count. `cargo xtask vm` runs it on every kernel.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use podscope_agent::kernel::btf::{Btf, VMLINUX};
use podscope_agent::kernel::programs::{Hook, PROGRAMS};
use xtask::groups::Groups;

use crate::support::agent::Agent;
use crate::support::kernel::proc_file;
use crate::support::page::{Labels, Page};
use crate::support::{eventually, turn};

/// Of plain cgroups that this test makes.
const MARK: u16 = 0x20;
/// Where the modules are that the test loads itself, in their order.
const MODULES: &str = "PODSCOPE_TEST_KVM_MODULES";
/// What the hooks pass, the oldest first. The programs tell the first form of `kvm_exit` from the others by its first
/// argument, which is no address there, and read nothing else.
const KNOWN: &[(&str, &[&str])] = &[
    ("kvm_entry", &["struct kvm_vcpu *", "struct kvm_vcpu *, bool"]),
    ("kvm_exit", &["unsigned int, struct kvm_vcpu *, u32", "struct kvm_vcpu *, u32"]),
    ("kvm_vcpu_wakeup", &["__u64, bool, bool"]),
];
const VM: Labels<'_> = &[("podscope_vm_name", "tiny"), ("k8s_namespace_name", "it")];

/// The guest's program, under an emulator's name and with an emulator's arguments.
struct Guest {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _groups: Groups,
    _dir: tempfile::TempDir,
}

impl Guest {
    fn start() -> Self {
        let built = std::env::current_exe().unwrap();
        let example: PathBuf = built.parent().unwrap().with_file_name("examples/tiny_guest");
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu-system-x86_64");
        fs::copy(&example, &program).unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        let groups = Groups::make(MARK, 1).unwrap();
        let mut command = Command::new(program);
        command.args(["-name", "guest=it_tiny,debug-threads=on", "-m", "64k", "-smp", "1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        for group in groups.dirs(0) {
            fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut guest = Self { child, orders, answers, _groups: groups, _dir: dir };
        assert_eq!(guest.line(), "ready");
        guest
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Has something done: exits that reached the program, and how long it took, seconds.
    fn order(&mut self, what: &str) -> (f64, f64) {
        writeln!(self.orders, "{what}").unwrap();
        let answer = self.line();
        let (exits, ns) = answer.split_once(' ').unwrap_or_else(|| panic!("{what}: it said {answer:?}"));
        (exits.parse().unwrap(), ns.parse::<f64>().unwrap() / 1e9)
    }

    /// CPU time of the virtual CPU's thread, seconds.
    fn cpu(&self) -> f64 {
        let pid = self.child.id();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let ids = threads.map(|thread| thread.file_name().into_string().unwrap());
        let vcpu = ids.into_iter().find(|id| proc_file(pid, &format!("task/{id}/comm")) == "CPU 0/KVM\n").unwrap();
        let text = proc_file(pid, &format!("task/{vcpu}/schedstat"));
        text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has grown between two pages.
struct Grown {
    before: Page,
    after: Page,
    /// What the program said: exits that reached it, seconds in the guest; CPU time of its thread, seconds.
    said: (f64, f64, f64),
}

impl Grown {
    fn by(agent: &Agent, guest: &mut Guest, what: &str) -> Self {
        let (before, cpu) = (agent.settled(), guest.cpu());
        let (exits, seconds) = guest.order(what);
        let after = agent.settled();
        let grown = Self { before, after, said: (exits, seconds, guest.cpu() - cpu) };
        let times = ["guest", "host", "polling", "halted"].map(|state| grown.time(state));
        println!(
            "kvm: {what}: exits={exits} wall={seconds:.4}s cpu={:.4}s guest, host, polling, halted: {times:.4?}",
            grown.said.2
        );
        grown
    }

    fn sum(&self, metric: &str, labels: Labels<'_>) -> f64 {
        let labels = [VM, labels].concat();
        self.after.sum(metric, &labels) - self.before.sum(metric, &labels)
    }

    fn exits(&self, reason: &str) -> f64 {
        self.sum("podscope_vm_exits_total", &[("podscope_vm_exit_reason", reason)])
    }

    /// Of virtual CPU 0, seconds.
    fn time(&self, state: &str) -> f64 {
        let labels = [("podscope_vm_vcpu_id", "0"), ("podscope_vm_vcpu_state", state)];
        self.sum("podscope_vm_vcpu_state_time_seconds_total", &labels)
    }
}

/// Loads KVM where the test has its modules, once the agent has found that it is not there.
fn load(agent: &Agent) {
    let Some(modules) = std::env::var_os(MODULES) else { return };
    for (name, _) in KNOWN {
        let (state, reason) = agent.state("probes", name);
        assert!(state == "off" && reason.contains("kvm is not loaded"), "{name}: {state} ({reason})");
    }
    for module in std::env::split_paths(&modules) {
        let status = Command::new("insmod").arg(&module).status().unwrap();
        assert!(status.success(), "insmod {}: {status}", module.display());
    }
}

/// Says what the hooks pass, for the table of kernels.
fn check_hooks() {
    let mut btf = Btf::read(VMLINUX.as_ref()).unwrap();
    let typed = btf.add_module("/sys/kernel/btf/kvm".as_ref()).is_ok();
    for program in PROGRAMS.iter().filter(|program| program.hook == Hook::Kvm) {
        let found = btf.tracepoint_prototype(program.name);
        println!("fact: hook {} {}", program.name, found.as_deref().unwrap_or("modules have no types"));
        let known = KNOWN.iter().find(|(name, _)| *name == program.name);
        let fits = found.is_none_or(|found| known.is_some_and(|(_, forms)| forms.contains(&found.as_str())));
        assert!(fits, "{}: known are {known:?}", program.name);
        assert!(!typed || btf.tracepoint_prototype(program.name).is_some(), "{} is no hook any more", program.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KVM with the processor's help; `cargo xtask vm` runs it"]
async fn exits_and_times_of_a_guest_are_what_it_counts_itself() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    load(&agent);
    for (name, _) in KNOWN {
        eventually(&format!("{name} is attached"), || (agent.state("probes", name).0 == "up").then_some(()));
    }
    check_hooks();
    let mut guest = Guest::start();
    eventually("the virtual CPU is watched", || {
        guest.order("io 1");
        agent.page().get("podscope_vm_vcpu_exits_total", VM)
    });

    let io = Grown::by(&agent, &mut guest, "io 2000");
    assert_eq!((io.exits("io"), io.said.0), (2001.0, 2001.0));
    let cpuid = Grown::by(&agent, &mut guest, "cpuid 1000");
    assert_eq!((cpuid.exits("cpuid"), cpuid.exits("io")), (1000.0, 1.0));
    let spin = Grown::by(&agent, &mut guest, "spin 20000000");
    let halt = Grown::by(&agent, &mut guest, "halt 20");
    assert_eq!(halt.exits("halt"), 20.0);

    let (_, wall, cpu) = spin.said;
    assert!(spin.time("guest") > 0.8 * cpu && spin.time("guest") < wall + 0.01, "{cpu} s on a CPU, {wall} s in all");
    let (_, wall, cpu) = halt.said;
    let asleep = wall - cpu;
    assert!((halt.time("halted") - asleep).abs() < 0.1 * wall, "{} s halted of {asleep} s", halt.time("halted"));
    for grown in [&io, &cpuid, &spin, &halt] {
        let on_cpu = ["guest", "host", "polling"].map(|state| grown.time(state)).iter().sum::<f64>();
        let cpu = grown.said.2;
        assert!((on_cpu - cpu).abs() < 0.05 * cpu + 0.005, "{on_cpu} s of {cpu} s on a CPU");
        let all: f64 = grown.after.select("podscope_vm_exits_total", VM).map(|sample| sample.value).sum();
        assert_eq!(all, grown.after.one("podscope_vm_vcpu_exits_total", VM));
    }
    assert_eq!(agent.state("probes", "kvm_exit").0, "up");
}
