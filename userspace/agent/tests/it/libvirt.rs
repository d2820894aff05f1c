//! A virtual machine as libvirt makes it: its daemons and a domain in a launcher pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use xtask::rig::Container;

use crate::machines::{CPU, MEMORY, NAME, VMI, burned, close, launcher, rom, wait_of};
use crate::support::agent::Agent;
use crate::support::kernel::{adopt, cpu_dir, freeze, procs, thaw};
use crate::support::page::{Labels, Page};
use crate::support::{Host, eventually, rig, script, turn};

/// The pod's first two processes by their names; libvirt's own come from the host.
const LAUNCHER: &str = "for name in virt-launcher-monitor virt-launcher; do cp $(which podscope-load) /tmp/$name; done
    /tmp/virt-launcher sleep 0 &
    exec /tmp/virt-launcher-monitor sleep 0";
/// Starts the daemons once they may, with folders of their own. The packages' user is only looked up.
const DAEMONS: &str = r#"set -e
until [ -e go ]; do sleep 0.1; done
mount --make-rprivate /
for dir in /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $dir
    mount -t tmpfs tmpfs $dir
done
cp qemu.conf /etc/libvirt/
for file in passwd group; do
    { cat /etc/$file; cat $file; } >$file.all
    mount --bind $file.all /etc/$file
done
virtlogd --daemon
exec libvirtd --config "$PWD/libvirtd.conf" --pid-file "$PWD/pid""#;
/// As in KubeVirt's pods: no other user, and the emulator stays in the cgroup of the daemon.
const QEMU: &str = "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\ncgroup_controllers = []\n\
                    namespaces = []\ndynamic_ownership = 0\nstdio_handler = \"logd\"\n";

/// Libvirt's daemons in a container's cgroups; all of it ends with this value.
struct Libvirt {
    dir: PathBuf,
    groups: PathBuf,
    _daemon: Host,
}

impl Libvirt {
    fn start(dir: &Path, compute: &Container) -> Self {
        let dir = dir.join("libvirt");
        fs::create_dir_all(dir.join("run")).unwrap();
        let daemon = format!(
            "unix_sock_dir = \"{0}/run\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n\
             log_outputs = \"3:file:{0}/log\"\n",
            dir.display()
        );
        for (name, text) in [
            ("qemu.conf", QEMU),
            ("libvirtd.conf", &daemon),
            ("passwd", "libvirt-qemu:x:64055:64055::/:/bin/false\n"),
            ("group", "libvirt-qemu:x:64055:\nkvm:x:64056:\n"),
            ("domain.xml", &domain(&dir)),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        fs::write(dir.join("rom"), rom()).unwrap();
        let shell = format!("cd {} && {DAEMONS}", dir.display());
        let daemon = Host::start("unshare", &["--mount", "sh", "-c", &shell]);
        adopt(compute, daemon.pid());
        fs::write(dir.join("go"), "").unwrap();
        let libvirt = Self { groups: cpu_dir(compute.cgroup()), _daemon: daemon, dir };
        eventually("libvirt's daemon listens", || libvirt.dir.join("run/libvirt-sock").exists().then_some(()));
        libvirt
    }

    /// Asks the daemon for something; whether it did it in time.
    fn virsh(&self, words: &[&str], patience: Duration) -> bool {
        let socket = format!("qemu:///system?socket={}/run/libvirt-sock", self.dir.display());
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", &patience.as_secs_f64().to_string(), "virsh", "--quiet", "--connect", &socket]);
        command.args(words).current_dir(&self.dir).status().unwrap().success()
    }

    /// What the daemons and the emulator wrote.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The one process of that program.
    fn process(&self, program: &str) -> Option<u32> {
        let is_its = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(program));
        procs(&self.groups).into_iter().find(is_its)
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        for pid in procs(&self.groups) {
            // It has ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
    }
}

/// A domain of two CPUs and 64 MiB whose firmware is one endless loop; the second CPU waits for the first to start it.
fn domain(dir: &Path) -> String {
    format!(
        "<domain type='qemu'><name>it_moon</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
        <os><type arch='x86_64' machine='pc'>hvm</type><loader type='rom'>{0}/rom</loader></os>
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/>
        <controller type='usb' model='none'/><serial type='file'><source path='{0}/serial'/></serial></devices></domain>",
        dir.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_of_libvirt_is_seen_whole_and_goes_on_being_seen_while_it_hangs() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &[]);
    let pod = launcher(&rig).await;
    let compute = script(&pod, "compute", LAUNCHER).await;
    let libvirt = Libvirt::start(rig.dir(), &compute);
    assert!(libvirt.virsh(&["create", "domain.xml"], Duration::from_secs(60)), "{}", libvirt.log());
    let emulator = eventually("the emulator runs", || libvirt.process("qemu-system-x86_64"));
    let daemon = eventually("the daemon runs", || libvirt.process("libvirtd"));

    let vm: Labels<'_> = &[("podscope_vm_name", "moon"), ("podscope_vm_uid", VMI), ("k8s_pod_name", NAME)];
    let role = |name| [vm, &[("podscope_vm_role", name)]].concat();
    let vcpu = |id| [vm, &[("podscope_vm_vcpu_id", id)]].concat();
    let ready = "podscope_vm_vcpu_ready_time_seconds_total";
    eventually("both virtual CPUs are seen", || agent.page().get(ready, &vcpu("1")));
    let still = || {
        freeze(&[&compute]);
        let truth = [0, 1].map(|number| wait_of(emulator, vcpu_thread(emulator, number)));
        let figures = (agent.settled(), burned(emulator), truth);
        thaw(&[&compute]);
        figures
    };
    let (before, burned_before, waited_before) = still();
    eventually("the guest works", || (burned(emulator) > burned_before + 0.5).then_some(()));
    let (after, burned_after, waited_after) = still();
    for name in ["monitor", "launcher", "libvirt", "log", "emulator"] {
        assert_eq!(after.one("podscope_vm_process_count", &role(name)), 1.0, "{name}");
        assert!(after.one(MEMORY, &role(name)) > 0.0, "{name}");
    }
    let grown = |metric: &str, labels: Labels<'_>| after.sum(metric, labels) - before.sum(metric, labels);
    close(grown(CPU, &role("emulator")), burned_after - burned_before, "CPU time of the emulator");
    for (id, at) in [("0", 0), ("1", 1)] {
        close(grown(ready, &vcpu(id)), waited_after[at] - waited_before[at], "ready time");
    }

    for pid in [emulator, daemon] {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::STOP).unwrap();
    }
    assert!(!libvirt.virsh(&["domstate", "it_moon"], Duration::from_secs(1)), "the daemon still answers");
    let (before, after) = (agent.settled(), agent.settled());
    let uptime = |page: &Page| page.one("process_uptime_seconds", &[("process_pid", &emulator.to_string())]);
    assert!(uptime(&after) > uptime(&before));
    for metric in [CPU, MEMORY] {
        assert_eq!(before.sum(metric, &role("emulator")), after.sum(metric, &role("emulator")), "{metric}");
    }
    let page = agent.settled();
    close(page.sum(ready, &vcpu("0")), wait_of(emulator, vcpu_thread(emulator, 0)), "ready time since it was started");
}

fn vcpu_thread(emulator: u32, number: u32) -> u32 {
    let name = format!("CPU {number}/TCG");
    crate::machines::thread(emulator, &name).unwrap_or_else(|| panic!("no thread {name:?}"))
}
