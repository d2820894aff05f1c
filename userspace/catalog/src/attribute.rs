//! The closed sets of attribute values.

/// An attribute of a metric and the only values it takes.
#[derive(Debug)]
pub struct Attribute {
    /// OpenTelemetry key.
    pub key: &'static str,
    /// All values, in the order of [`crate::Metric::combination`].
    pub values: &'static [&'static str],
}

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident = $key:literal [$($value:literal),* $(,)?];)*) => {
        $($(#[$doc])* pub static $name: Attribute = Attribute { key: $key, values: &[$($value),*] };)*
        /// Every attribute.
        pub static ATTRIBUTES: &[&Attribute] = &[$(&$name),*];
    };
}

attributes! {
    /// User or kernel time.
    CPU_MODE = "cpu.mode" ["user", "system"];
    /// What the node's CPUs do.
    NODE_CPU_MODE = "cpu.mode" ["user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"];
    /// At which priority a guest ran.
    GUEST_PRIORITY = "podscope.guest.priority" ["normal", "nice"];
    /// Raised by a device, or by the kernel itself.
    INTERRUPT_KIND = "podscope.interrupt.kind" ["hard", "soft"];
    /// What a task waits for.
    TASK_STATE = "podscope.task.state" ["runnable", "blocked"];
    /// What the node's memory is used for; the states add up to all of it.
    NODE_MEMORY_STATE = "system.memory.state" ["used", "free", "buffers", "cached"];
    /// Whether the kernel can take it back.
    SLAB_STATE = "system.memory.linux.slab.state" ["reclaimable", "unreclaimable"];
    /// Whether a huge page is in use.
    HUGEPAGE_STATE = "system.memory.linux.hugepages.state" ["free", "used"];
    /// The kernel's list on which a page waits to be reclaimed.
    MEMORY_LIST = "podscope.memory.list" [
        "active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable",
    ];
    /// Whether swap space is in use.
    PAGING_STATE = "system.paging.state" ["used", "free"];
    /// Into memory or out of it.
    PAGING_DIRECTION = "system.paging.direction" ["in", "out"];
    /// What a file system's space is used for; reserved is what only root may use.
    FILESYSTEM_STATE = "system.filesystem.state" ["used", "free", "reserved"];
    /// Whether an inode is in use.
    INODE_STATE = "podscope.inode.state" ["used", "free"];
    /// What a socket is for.
    SOCKET_KIND = "podscope.socket.kind" ["tcp", "tcp_orphan", "tcp_time_wait", "udp", "raw"];
    /// Into the namespace or out of it.
    NETWORK_DIRECTION = "network.io.direction" ["receive", "transmit"];
    /// What went wrong on an interface, by the kernel's words of `/proc/net/dev`.
    NETWORK_FAULT = "podscope.network.fault" [
        "receive_fifo", "receive_frame", "transmit_fifo", "transmit_collision", "transmit_carrier",
    ];
    /// Given up or taken away.
    SWITCH_TYPE = "process.context_switch.type" ["voluntary", "involuntary"];
    /// Without or with I/O.
    FAULT_TYPE = "system.paging.fault.type" ["minor", "major"];
    /// To or from storage.
    IO_DIRECTION = "disk.io.direction" ["read", "write"];
    /// What a container asks of a block device.
    DEVICE_OPERATION = "podscope.disk.operation" ["read", "write", "discard"];
    /// Whether somebody waits for a transfer.
    DISK_WAITING = "podscope.disk.waiting" ["sync", "async"];
    /// Whether a page came to a container's account or left it.
    MEMORY_CHARGE = "podscope.memory.charge" ["charged", "uncharged"];
    /// What a page of a process is; only the first three and hugetlb are resident.
    MEMORY_KIND = "podscope.memory.kind" ["anonymous", "file", "shared", "swap", "hugetlb"];
    /// How a process came to an executable or container.
    START_TYPE = "podscope.process.start.type" ["fork", "exec", "moved"];
    /// How a process left an executable or container.
    END_TYPE = "podscope.process.end.type" ["exit", "exec", "moved"];
    /// What tasks stalled on.
    PRESSURE_RESOURCE = "podscope.pressure.resource" ["cpu", "memory", "io"];
    /// Some or all tasks stalled.
    PRESSURE_KIND = "podscope.pressure.kind" ["some", "full"];
    /// What a process of a virtual machine's launcher pod is there for.
    VM_ROLE = "podscope.vm.role" [
        "monitor", "launcher", "libvirt", "log", "emulator", "swtpm", "passt", "virtiofsd", "other",
    ];
    /// What a thread of a virtual machine's emulator is there for.
    VM_THREAD_CLASS = "podscope.vm.thread.class" ["vcpu", "io", "vhost", "migration", "worker", "emulator"];
    /// Why a guest was left.
    VM_EXIT_REASON = "podscope.vm.exit.reason" [
        "other", "halt", "io", "mmio", "page_fault", "interrupt", "interrupt_window", "apic", "timer", "register",
        "control_register", "cpuid", "hypercall", "pause", "exception",
    ];
    /// What a virtual CPU does; the time in which it is ready and waits for a CPU comes to it.
    VCPU_STATE = "podscope.vm.vcpu.state" ["guest", "host", "polling", "halted"];
    /// Whose limit an OOM kill enforced.
    OOM_SCOPE = "podscope.oom.scope" ["container", "pod", "node", "other", "unknown"];
    /// What a piece of hardware is.
    HW_TYPE = "hw.type" ["gpu"];
    /// What a process has a GPU do.
    GPU_CONTEXT = "podscope.gpu.context" ["compute", "graphics", "both"];
    /// User or kernel time, under the older name.
    KUBEVIRT_CPU = "type" ["user", "system"];
    /// Pages of a process, as /proc/PID/statm counts them; `dirty` and `data` are both its data and stack.
    KUBEVIRT_MEMORY = "type" ["virtual", "resident", "shared", "dirty", "data"];
    /// A kernel program.
    PROGRAM = "podscope.bpf.program" [
        "sched_switch", "sched_process_fork", "sched_process_exec", "sched_process_exit",
        "sched_wakeup", "sched_wakeup_new",
        "cgroup_mkdir", "cgroup_rmdir", "cgroup_rename", "cgroup_attach_task", "mark_victim",
        "mm_vmscan_direct_reclaim_begin", "mm_vmscan_direct_reclaim_end",
        "mm_vmscan_memcg_reclaim_begin", "mm_vmscan_memcg_reclaim_end",
        "kvm_exit", "kvm_entry", "kvm_vcpu_wakeup", "task",
    ];
    /// A kernel map.
    MAP = "podscope.bpf.map" ["tasks", "books", "closed", "cgroups", "waits", "exes", "events"];
    /// What could not be kept.
    LOSS = "podscope.loss.reason" [
        "task_state", "closing", "book", "closed", "cgroup", "exe", "event", "record", "blame",
    ];
    /// What the agent's own bounds, or a fault, made it leave out.
    DROP = "podscope.drop.reason" [
        "process", "ended_series", "cgroup_name", "oom_kill", "kmsg_record",
        "container", "label", "runtime_answer", "runtime_request", "log_line",
        "kube_pod", "kube_pod_metrics", "kube_sample",
        "device", "interface", "filesystem", "gpu", "gpu_process",
    ];
    /// Why the HTTP endpoint refused something or cut it off.
    HTTP_REFUSAL = "podscope.http.refusal.reason" [
        "full", "displaced", "slow", "header", "body", "malformed", "handshake",
    ];
    /// Why a process has no pod.
    UNATTRIBUTED = "podscope.unattributed.reason" [
        "no_cgroup_path", "no_runtime", "unknown_container", "pod_without_container",
    ];
    /// What became of something that was to be exported.
    EXPORT_RESULT = "podscope.export.result" ["sent", "rejected", "failed", "dropped"];
    /// What became of a question to the Kubernetes API or the kubelet.
    KUBE_RESULT = "podscope.kube.result" [
        "ok", "unauthorized", "forbidden", "not_found", "expired", "throttled", "server_error", "refused",
        "timed_out", "tls", "unreachable", "malformed", "configuration",
    ];
    /// Part of a collection.
    PHASE = "podscope.collection.phase" ["books", "tasks", "cgroups", "proc", "account"];
    /// Something the agent reads from or writes to, or what confines it.
    AGENT_SOURCE = "podscope.source" [
        "btf", "cgroup", "runtime", "containerd", "kmsg", "proc", "otlp", "http", "log", "seccomp", "landlock",
        "kube_pods", "kube_node", "kube_clock", "kubelet", "metrics_server",
        "node", "filesystem", "container_stats", "gpu",
    ];
}
