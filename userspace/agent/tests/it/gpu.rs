//! GPUs: what NVML says of processes stands on their containers, pods and virtual machines. NVML is a recorded answer
//! behind podscope-gpu's own server; the processes are real.

use std::path::Path;
use std::process::{Child, Command};

use xtask::groups::Groups;
use xtask::rig::ContainerSpec;

use crate::machines::{NAME, VMI, launcher};
use crate::support::agent::{Agent, command};
use crate::support::gpu::{Helper, process, recorded};
use crate::support::page::{Labels, Page};
use crate::support::{eventually, pod, rig, running, script, turn};

const MARK: u16 = 0x6670;
const GPU: &str = "GPU-5f3a1c52-9f0e-4a1b-8b5e-0c7f3d1a2b3c";
const DIVIDED: &str = "GPU-aaaaaaaa-0000-4000-8000-000000000001";
const BY_PROCESS: &str = "podscope_process_gpu_memory_usage_bytes";
const BY_CONTAINER: &str = "podscope_container_gpu_memory_usage_bytes";
/// A graphics card's display, its sound, a display of another vendor and a network card, all left to virtual machines.
const BOUND: &str =
    "mount -t tmpfs tmpfs /sys/bus/pci/drivers && cd /sys/bus/pci/drivers && mkdir vfio-pci && cd vfio-pci
    add() { mkdir $1 && echo $2 > $1/vendor && echo $3 > $1/device && echo $4 > $1/class; }
    add 0000:3b:00.0 0x10de 0x27b8 0x030200 && add 0000:3b:00.1 0x10de 0x22bc 0x040300
    add 0000:0a:00.0 0x1002 0x73bf 0x030000 && add 0000:81:00.0 0x15b3 0x101e 0x020000
    cd / && exec \"$0\" \"$@\"";

fn sleeper(groups: &Groups, index: usize) -> Child {
    groups.start(index, Path::new("/bin/sleep"), &["1000"]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_a_gpu_is_that_of_the_processes_that_hold_it() {
    let _turn = turn().await;
    let groups = Groups::make(MARK, 2).unwrap();
    let [first, second, other] = [0, 0, 1].map(|index| sleeper(&groups, index));
    let helper = Helper::start(recorded());
    helper.raw().devices.truncate(2);
    let own = std::process::id();
    helper.change(0, |device| {
        let compute = [(first.id(), 7), (second.id(), 5), (own, 3), (4_194_305, 1)];
        device.processes.compute = Ok(compute.map(|(pid, memory)| process(pid, memory << 20)).into());
        device.processes.graphics = Ok(vec![process(second.id(), 5 << 20)]);
        let sample = device.samples.as_ref().unwrap()[0];
        device.samples = Ok(vec![podscope_gpu::raw::RawSample { pid: first.id(), ..sample }]);
    });
    helper.change(1, |device| {
        let on = |instance| podscope_gpu::raw::RawProcess {
            gpu_instance: Some(instance),
            compute_instance: Some(0),
            ..process(other.id(), u64::from(instance) << 20)
        };
        device.processes.compute = Ok(vec![on(2), on(7)]);
        device.instances[0].processes.compute = Ok(vec![on(2)]);
        device.energy_mj = Ok(1);
    });

    let agent = Agent::start(&["--cri-socket", "none", "--gpu-socket", &helper.socket()]);
    agent.becomes("gpu", "up");
    let of = |index: usize| [("container_id", groups.id(index)), ("k8s_pod_uid", uid(&groups, index))];
    let holds = |page: &Page, index, gpu, more: Labels<'_>| {
        let of = of(index);
        let labels = [(of[0].0, of[0].1.as_str()), (of[1].0, of[1].1.as_str()), ("hw_id", gpu)];
        (page.get(BY_CONTAINER, &labels), page.get(BY_PROCESS, &[&labels, more].concat()))
    };
    let pid = |child: &Child| child.id().to_string();
    let page = eventually("the container holds memory", || {
        let page = agent.page();
        holds(&page, 0, GPU, &[("process_pid", &pid(&first))]).1.map(|_| page)
    });
    let of_first =
        [("process_pid", &*pid(&first)), ("podscope_gpu_context", "compute"), ("process_executable_name", "sleep")];
    assert_eq!(holds(&page, 0, GPU, &of_first), (Some(mib(12)), Some(mib(7))));
    let of_second = [("process_pid", &*pid(&second)), ("podscope_gpu_context", "both")];
    assert_eq!(holds(&page, 0, GPU, &of_second).1, Some(mib(5)));
    assert_eq!(holds(&page, 1, GPU, &[]), (None, None), "it does not use that one");
    let on_instance = [("podscope_gpu_instance_id", "7"), ("podscope_gpu_compute_instance_id", "0")];
    assert_eq!(holds(&page, 1, DIVIDED, &on_instance), (Some(mib(9)), Some(mib(7))));
    assert_eq!(
        page.get(BY_PROCESS, &[("process_pid", &own.to_string()), ("container_id", "")]),
        Some(mib(3)),
        "the host's"
    );
    let utilization = |child| page.get("podscope_process_gpu_utilization_ratio", &[("process_pid", &pid(child))]);
    assert_eq!([utilization(&first), utilization(&second), utilization(&other)], [Some(0.8), Some(0.0), None]);
    let unknown = [("podscope_drop_reason", "gpu_process")];
    assert!(page.one("podscope_agent_dropped_total", &unknown) >= 1.0, "nobody has the last process");
    check_devices(&page);

    // One that ends holds nothing, whatever NVML still says.
    end(first);
    eventually("the ended process holds nothing", || {
        let page = agent.page();
        (holds(&page, 0, GPU, &[("process_pid", &pid(&second))]) == (Some(mib(5)), Some(mib(5)))).then_some(())
    });
    [second, other].into_iter().for_each(end);
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn mib(count: u32) -> f64 {
    f64::from(count << 20)
}

/// The pod's uid, as the cgroup's path has it.
fn uid(groups: &Groups, index: usize) -> String {
    let path = groups.path(index);
    path.split('/').find_map(|part| part.strip_prefix("pod")).unwrap().to_owned()
}

/// The devices' own figures are those of the recording.
fn check_devices(page: &Page) {
    let of = [
        ("hw_id", GPU),
        ("hw_model", "NVIDIA L4"),
        ("hw_driver_version", "550.54.15"),
        ("podscope_gpu_index", "0"),
        ("podscope_pci_address", "0000:3b:00.0"),
    ];
    for (metric, value) in [
        ("hw_gpu_utilization_ratio", 0.87),
        ("podscope_gpu_memory_busy_ratio", 0.41),
        ("hw_gpu_memory_usage_bytes", 3_221_225_472.0),
        ("hw_gpu_memory_limit_bytes", 24_152_899_584.0),
        ("podscope_gpu_memory_free_bytes", 20_447_559_680.0),
        ("hw_power_watts", 61.532),
        ("hw_energy_joules_total", 987_654.321),
        ("hw_temperature_celsius", 63.0),
    ] {
        assert_eq!(page.get(metric, &of), Some(value), "{metric}");
    }
    let count = |context| page.get("podscope_gpu_process_count", &[("hw_id", GPU), ("podscope_gpu_context", context)]);
    assert_eq!([count("compute"), count("both"), count("graphics")], [Some(3.0), Some(1.0), Some(0.0)]);
    assert_eq!(page.get("hw_gpu_utilization_ratio", &[("hw_id", DIVIDED)]), None, "it does not support that");
    assert_eq!(page.get("podscope_gpu_mig", &[("hw_id", DIVIDED)]), Some(1.0));
    let instance = [("hw_parent", DIVIDED), ("podscope_gpu_instance_id", "2")];
    assert_eq!(page.get("podscope_gpu_instance_memory_usage_bytes", &instance), Some(mib(1024)));
}

/// The agent where the kernel has handed devices over, in a mount namespace of its own.
fn with_devices() -> Command {
    let plain = command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", BOUND]).arg(plain.get_program());
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_of_pods_and_machines_have_their_names() {
    let _turn = turn().await;
    let rig = rig().await;
    let (plain, machine) = (pod(&rig, "train").await, launcher(&rig).await);
    let cuda = plain.container(ContainerSpec::new("cuda", ["podscope-load", "sleep", "0"])).await.unwrap();
    // By its arguments it is an emulator with two devices of the node, one of which is a GPU.
    let emulator = "exec sh -c 'while sleep 1; do :; done' -name guest=it_moon -device vfio-pci,host=0000:3b:00.0 \
                    -device vfio-pci,host=0000:81:00.0";
    let compute = script(&machine, "compute", emulator).await;
    let of = |container, words: &str| eventually("a process runs", || running(container, words).first().copied());
    let (trainer, engine) = (of(&cuda, "podscope-load"), of(&compute, "sh -c while"));

    let helper = Helper::start(recorded());
    helper.raw().devices.truncate(1);
    helper.change(0, |device| {
        device.name = Ok("NVIDIA\n} 1\u{1b}[2J\u{202e}\"".to_owned());
        device.processes.compute = Ok(vec![process(trainer, 7 << 20), process(engine, 5 << 20)]);
        device.processes.graphics = Ok(Vec::new());
    });
    let agent = Agent::run_beside(&rig, with_devices(), &["--gpu-socket", &helper.socket()]);
    let named =
        [("k8s_namespace_name", "it"), ("k8s_pod_name", "train"), ("k8s_container_name", "cuda"), ("hw_id", GPU)];
    let page = eventually("the pod is named", || {
        let page = agent.page();
        page.get(BY_CONTAINER, &named).map(|_| page)
    });
    assert_eq!((page.one(BY_CONTAINER, &named), page.one(BY_PROCESS, &named)), (mib(7), mib(7)));
    let vm =
        [("podscope_vm_name", "moon"), ("podscope_vm_uid", VMI), ("k8s_pod_name", NAME), ("k8s_namespace_name", "it")];
    assert_eq!(page.one(BY_CONTAINER, &[&vm[..], &[("hw_id", GPU)]].concat()), mib(5));
    // Page::parse has already been through the name that would break it.
    let model = "NVIDIA } 1 [2J\\u{202e}\"";
    assert_eq!(page.get("hw_power_watts", &[("hw_model", model)]), Some(61.532));

    let left = |labels: Labels<'_>| agent.page().get("podscope_gpu_passthrough", labels);
    let given = [&vm[..], &[("podscope_pci_address", "0000:3b:00.0"), ("podscope_pci_id", "10de:27b8")]].concat();
    eventually("the machine's GPU is named", || left(&given).filter(|&one| one == 1.0));
    let idle = [("podscope_pci_address", "0000:0a:00.0"), ("podscope_pci_id", "1002:73bf"), ("podscope_vm_name", "")];
    assert_eq!(left(&idle), Some(1.0), "nobody has it");
    assert_eq!(agent.page().sum("podscope_gpu_passthrough", &[]), 2.0, "sound and network are no GPUs");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_nothing_is_amiss() {
    let _turn = turn().await;
    assert!(!Path::new("/run/podscope/gpu.sock").exists(), "this test needs a host without podscope-gpu");
    let agent = Agent::start(&["--cri-socket", "none"]);
    assert_eq!(agent.becomes("gpu", "off"), "no socket at /run/podscope/gpu.sock");
    assert_eq!(agent.page().get("podscope_agent_source_up", &[("podscope_source", "gpu")]), None);
    let off = Agent::start(&["--cri-socket", "none", "--gpu-socket", "off"]);
    assert_eq!(off.becomes("gpu", "off"), "--gpu-socket off");
}
