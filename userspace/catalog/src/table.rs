//! The rows. A row's doc comment is its description.

use crate::attribute::*;
use crate::{Entity, Instrument, Metric, MetricId, Source, ValueType};

/// Declares the rows and a constant for each.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $id:ident = $name:literal, $unit:literal, $instrument:ident $value:ident,
        $entity:ident, $source:ident $(, [$($attribute:ident),+])?;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "variants carry the constants' names")]
        #[repr(u16)]
        enum Row { $($id,)* }

        /// One constant per metric.
        #[expect(unreachable_pub, reason = "re-exported as `id`")]
        pub mod ids {
            use super::Row;
            use crate::MetricId;
            $(#[doc = concat!("`", $name, "`")] pub const $id: MetricId = MetricId(Row::$id as u16);)*
        }

        /// Every metric, in the order in which it is listed and exported.
        pub static METRICS: &[Metric] = &[$(Metric {
            name: $name,
            unit: $unit,
            instrument: Instrument::$instrument,
            value: ValueType::$value,
            entity: Entity::$entity,
            attributes: &[$($(&$attribute),+)?],
            source: Source::$source,
            description: concat!($($doc),+).trim_ascii(),
        }),*];
    };
}

metrics! {
    /// CPU time of the process, exact to the nanosecond, split by the kernel's user and system accounting.
    PROCESS_CPU_TIME = "process.cpu.time", "s", Counter Double, Process, Task, [CPU_MODE];
    /// Resident memory of the process, hugetlb pages included.
    PROCESS_MEMORY_USAGE = "process.memory.usage", "By", UpDownCounter Int, Process, Memory;
    /// Virtual address space of the process.
    PROCESS_MEMORY_VIRTUAL = "process.memory.virtual", "By", UpDownCounter Int, Process, Memory;
    /// Largest resident memory the process has had.
    PROCESS_MEMORY_PEAK = "podscope.process.memory.peak", "By", Gauge Int, Process, Memory;
    /// Memory of the process by what its pages are.
    PROCESS_MEMORY_KIND = "podscope.process.memory.kind", "By", UpDownCounter Int, Process, Memory, [MEMORY_KIND];
    /// Virtual memory of the process's own code.
    PROCESS_MEMORY_TEXT = "podscope.process.memory.text", "By", Gauge Int, Process, Memory;
    /// Virtual memory of the process for private data and its stack.
    PROCESS_MEMORY_DATA = "podscope.process.memory.data", "By", Gauge Int, Process, Memory;
    /// CPU time of the process's children that have ended and were waited for, and of theirs; absent before the first.
    PROCESS_CHILDREN_CPU_TIME = "podscope.process.children.cpu.time", "s", Counter Double, Process, Kernel, [CPU_MODE];
    /// Context switches of the process.
    PROCESS_CONTEXT_SWITCHES = "process.context_switches", "{context_switch}", Counter Int, Process, Task, [SWITCH_TYPE];
    /// Page faults of the process.
    PROCESS_PAGING_FAULTS = "process.paging.faults", "{fault}", Counter Int, Process, Task, [FAULT_TYPE];
    /// Threads of the process.
    PROCESS_THREAD_COUNT = "process.thread.count", "{thread}", UpDownCounter Int, Process, Task;
    /// Bytes the process had fetched from or sent to storage.
    PROCESS_DISK_IO = "process.disk.io", "By", Counter Int, Process, Task, [IO_DIRECTION];
    /// Read and write system calls of the process.
    PROCESS_DISK_OPERATIONS = "process.disk.operations", "{operation}", Counter Int, Process, Task, [IO_DIRECTION];
    /// Open file descriptors of the process, counted every 30 s.
    PROCESS_FILE_DESCRIPTOR_COUNT = "process.unix.file_descriptor.count", "{file_descriptor}", UpDownCounter Int, Process, Proc;
    /// Time since the process started.
    PROCESS_UPTIME = "process.uptime", "s", Gauge Double, Process, Task;
    /// Time the process was ready to run but waited for a CPU, preemption and throttling included.
    PROCESS_RUN_QUEUE_WAIT_TIME = "podscope.process.run_queue.wait.time", "s", Counter Double, Process, Task;
    /// Time the process spent in uninterruptible sleep.
    PROCESS_BLOCKED_TIME = "podscope.process.blocked.time", "s", Counter Double, Process, Traced;
    /// Moves of the process's threads to another CPU.
    PROCESS_CPU_MIGRATIONS = "podscope.process.cpu.migrations", "{migration}", Counter Int, Process, Task;
    /// Time the process stalled in direct or memory-cgroup reclaim.
    PROCESS_RECLAIM_TIME = "podscope.process.reclaim.time", "s", Counter Double, Process, Traced;
    /// Stalls of the process in direct or memory-cgroup reclaim.
    PROCESS_RECLAIM_STALLS = "podscope.process.reclaim.stalls", "{stall}", Counter Int, Process, Traced;

    /// CPU time of all processes of this executable in the container, living and ended.
    EXECUTABLE_CPU_TIME = "podscope.executable.cpu.time", "s", Counter Double, Executable, Books, [CPU_MODE];
    /// Run-queue wait of all processes of this executable in the container, living and ended.
    EXECUTABLE_RUN_QUEUE_WAIT_TIME = "podscope.executable.run_queue.wait.time", "s", Counter Double, Executable, Books;
    /// Uninterruptible sleep of all processes of this executable in the container, living and ended.
    EXECUTABLE_BLOCKED_TIME = "podscope.executable.blocked.time", "s", Counter Double, Executable, Books;
    /// Page faults of all processes of this executable in the container, living and ended.
    EXECUTABLE_PAGING_FAULTS = "podscope.executable.paging.faults", "{fault}", Counter Int, Executable, Books, [FAULT_TYPE];
    /// Processes that came to this executable in the container.
    EXECUTABLE_PROCESS_STARTED = "podscope.executable.process.started", "{process}", Counter Int, Executable, Books, [START_TYPE];
    /// Processes that left this executable in the container.
    EXECUTABLE_PROCESS_ENDED = "podscope.executable.process.ended", "{process}", Counter Int, Executable, Books, [END_TYPE];

    /// CPU time of the container by its cgroup's own counter, split by the cgroup's user and system accounting.
    CONTAINER_CPU_TIME = "container.cpu.time", "s", Counter Double, Container, Cgroup, [CPU_MODE];
    /// CPUs' worth of time that the container used since a collection at least a second before.
    CONTAINER_CPU_USAGE = "container.cpu.usage", "{cpu}", Gauge Double, Container, Cgroup;
    /// CPU limit of the container, where it has one.
    CONTAINER_CPU_LIMIT = "podscope.container.cpu.limit", "{cpu}", Gauge Double, Container, Cgroup;
    /// CPU time of the container's processes, living and ended, since the agent has watched them.
    CONTAINER_PROCESS_CPU_TIME = "podscope.container.process.cpu.time", "s", Counter Double, Container, Books;
    /// Growth of the cgroup's own CPU counter beyond the sum of the processes since the agent has watched both.
    CONTAINER_CPU_UNACCOUNTED = "podscope.container.cpu.unaccounted", "s", Gauge Double, Container, Books;
    /// Time in which the container was throttled by its CPU limit.
    CONTAINER_CPU_THROTTLED_TIME = "podscope.container.cpu.throttled.time", "s", Counter Double, Container, Cgroup;
    /// Enforcement periods in which the container was throttled by its CPU limit.
    CONTAINER_CPU_THROTTLED_PERIODS = "podscope.container.cpu.throttled.periods", "{period}", Counter Int, Container, Cgroup;
    /// Enforcement periods of the container's CPU limit.
    CONTAINER_CPU_PERIODS = "podscope.container.cpu.periods", "{period}", Counter Int, Container, Cgroup;
    /// Memory charged to the container, page cache included.
    CONTAINER_MEMORY_USAGE = "container.memory.usage", "By", UpDownCounter Int, Container, Cgroup;
    /// Memory charged to the container less inactive page cache, as the kubelet counts it.
    CONTAINER_MEMORY_WORKING_SET = "container.memory.working_set", "By", UpDownCounter Int, Container, Cgroup;
    /// Anonymous memory of the container.
    CONTAINER_MEMORY_RSS = "container.memory.rss", "By", UpDownCounter Int, Container, Cgroup;
    /// Page cache of the container, shared memory included.
    CONTAINER_MEMORY_CACHE = "podscope.container.memory.cache", "By", Gauge Int, Container, Cgroup;
    /// Page cache of the container that is mapped into processes.
    CONTAINER_MEMORY_MAPPED = "podscope.container.memory.mapped", "By", Gauge Int, Container, Cgroup;
    /// Memory of the container by the list on which it waits to be reclaimed.
    CONTAINER_MEMORY_LIST = "podscope.container.memory.list", "By", Gauge Int, Container, Cgroup, [MEMORY_LIST];
    /// How often pages came to the container's account and left it; cgroup v1 alone counts them.
    CONTAINER_MEMORY_CHARGES = "podscope.container.memory.charges", "{charge}", Counter Int, Container, Cgroup, [MEMORY_CHARGE];
    /// Memory limit of the container less its working set, where it has a limit.
    CONTAINER_MEMORY_AVAILABLE = "container.memory.available", "By", UpDownCounter Int, Container, Cgroup;
    /// Memory limit of the container, where it has one.
    CONTAINER_MEMORY_LIMIT = "podscope.container.memory.limit", "By", Gauge Int, Container, Cgroup;
    /// Largest memory charged to the container.
    CONTAINER_MEMORY_PEAK = "podscope.container.memory.peak", "By", Gauge Int, Container, Cgroup;
    /// Swap space of the container.
    CONTAINER_MEMORY_SWAP = "podscope.container.memory.swap", "By", Gauge Int, Container, Cgroup;
    /// Pages of the container read back from swap.
    CONTAINER_SWAP_IN = "podscope.container.swap.in", "{page}", Counter Int, Container, Cgroup;
    /// Page faults of the container.
    CONTAINER_PAGING_FAULTS = "container.paging.faults", "{fault}", Counter Int, Container, Cgroup, [FAULT_TYPE];
    /// Bytes the container transferred from and to block devices.
    CONTAINER_DISK_IO = "container.disk.io", "By", Counter Int, Container, Cgroup, [IO_DIRECTION];
    /// Requests of the container to block devices.
    CONTAINER_DISK_OPERATIONS = "podscope.container.disk.operations", "{operation}", Counter Int, Container, Cgroup, [IO_DIRECTION];
    /// Bytes that the container has written over its image, as the runtime counts them about once a minute.
    CONTAINER_FILESYSTEM_USAGE = "container.filesystem.usage", "By", UpDownCounter Int, Container, Runtime;
    /// Files that the container has written over its image, as the runtime counts them about once a minute.
    CONTAINER_FILESYSTEM_INODES_USED = "podscope.container.filesystem.inode.used", "{inode}", UpDownCounter Int, Container, Runtime;
    /// Size of the file system that holds what containers write over their images.
    CONTAINER_FILESYSTEM_CAPACITY = "container.filesystem.capacity", "By", UpDownCounter Int, Container, Kernel;
    /// Bytes of that file system that are left to programs without privilege.
    CONTAINER_FILESYSTEM_AVAILABLE = "container.filesystem.available", "By", UpDownCounter Int, Container, Kernel;
    /// Time in which some or all of the container's tasks stalled on a resource (PSI).
    CONTAINER_PRESSURE_TIME = "podscope.container.pressure.time", "s", Counter Double, Container, Cgroup, [PRESSURE_RESOURCE, PRESSURE_KIND];
    /// Time since the container started.
    CONTAINER_UPTIME = "container.uptime", "s", Gauge Double, Container, Agent;
    /// How long the container's threads waited for a CPU, one value at each switch away from it.
    CONTAINER_RUN_QUEUE_WAIT = "podscope.container.run_queue.wait", "s", Histogram Double, Container, Traced;
    /// Run-queue wait of the container's processes, living and ended.
    CONTAINER_RUN_QUEUE_WAIT_TIME = "podscope.container.run_queue.wait.time", "s", Counter Double, Container, Books;
    /// Uninterruptible sleep of the container's processes, living and ended.
    CONTAINER_BLOCKED_TIME = "podscope.container.blocked.time", "s", Counter Double, Container, Books;
    /// Time the container's processes stalled in direct or memory-cgroup reclaim.
    CONTAINER_RECLAIM_TIME = "podscope.container.reclaim.time", "s", Counter Double, Container, Books;
    /// Stalls of the container's processes in direct or memory-cgroup reclaim.
    CONTAINER_RECLAIM_STALLS = "podscope.container.reclaim.stalls", "{stall}", Counter Int, Container, Books;
    /// Processes of the container that the kernel's OOM killer ended, by whose limit was enforced.
    CONTAINER_OOM_KILLS = "podscope.container.oom.kills", "{kill}", Counter Int, Container, Traced, [OOM_SCOPE];
    /// Processes living in the container.
    CONTAINER_PROCESS_COUNT = "podscope.container.process.count", "{process}", UpDownCounter Int, Container, Task;
    /// Processes that came to the container; those that only changed their executable are not counted.
    CONTAINER_PROCESS_STARTED = "podscope.container.process.started", "{process}", Counter Int, Container, Books, [START_TYPE];
    /// Processes that left the container; those that only changed their executable are not counted.
    CONTAINER_PROCESS_ENDED = "podscope.container.process.ended", "{process}", Counter Int, Container, Books, [END_TYPE];

    /// CPU time of the pod by its cgroup's own counter.
    POD_CPU_TIME = "k8s.pod.cpu.time", "s", Counter Double, Pod, Cgroup;
    /// CPUs' worth of time that the pod used since a collection at least a second before.
    POD_CPU_USAGE = "k8s.pod.cpu.usage", "{cpu}", Gauge Double, Pod, Cgroup;
    /// Memory charged to the pod, page cache included.
    POD_MEMORY_USAGE = "k8s.pod.memory.usage", "By", UpDownCounter Int, Pod, Cgroup;
    /// Memory charged to the pod less inactive page cache, as the kubelet counts it.
    POD_MEMORY_WORKING_SET = "k8s.pod.memory.working_set", "By", UpDownCounter Int, Pod, Cgroup;
    /// Anonymous memory of the pod.
    POD_MEMORY_RSS = "k8s.pod.memory.rss", "By", UpDownCounter Int, Pod, Cgroup;
    /// Memory limit of the pod less its working set, where it has a limit.
    POD_MEMORY_AVAILABLE = "k8s.pod.memory.available", "By", UpDownCounter Int, Pod, Cgroup;
    /// Page faults of the pod.
    POD_PAGING_FAULTS = "k8s.pod.paging.faults", "{fault}", Counter Int, Pod, Cgroup, [FAULT_TYPE];
    /// Time in which some or all of the pod's tasks stalled on a resource (PSI).
    POD_PRESSURE_TIME = "podscope.pod.pressure.time", "s", Counter Double, Pod, Cgroup, [PRESSURE_RESOURCE, PRESSURE_KIND];
    /// Time in which the pod was throttled by its CPU limit.
    POD_CPU_THROTTLED_TIME = "podscope.pod.cpu.throttled.time", "s", Counter Double, Pod, Cgroup;
    /// Bytes the pod transferred from and to block devices.
    POD_DISK_IO = "podscope.pod.disk.io", "By", Counter Int, Pod, Cgroup, [IO_DIRECTION];
    /// Time since the pod's sandbox was made.
    POD_UPTIME = "k8s.pod.uptime", "s", Gauge Double, Pod, Agent;

    /// CPU time of the virtual machine's processes, living and ended, by what they are there for.
    VM_CPU_TIME = "podscope.vm.cpu.time", "s", Counter Double, Vm, Books, [VM_ROLE, CPU_MODE];
    /// Run-queue wait of the virtual machine's processes, living and ended, by what they are there for.
    VM_RUN_QUEUE_WAIT_TIME = "podscope.vm.run_queue.wait.time", "s", Counter Double, Vm, Books, [VM_ROLE];
    /// Uninterruptible sleep of the virtual machine's processes, living and ended, by what they are there for.
    VM_BLOCKED_TIME = "podscope.vm.blocked.time", "s", Counter Double, Vm, Books, [VM_ROLE];
    /// Resident memory of the virtual machine's processes, hugetlb pages included, by what they are there for.
    VM_MEMORY_USAGE = "podscope.vm.memory.usage", "By", UpDownCounter Int, Vm, Memory, [VM_ROLE];
    /// Memory of the virtual machine's processes by what they are there for and by what its pages are.
    VM_MEMORY_KIND = "podscope.vm.memory.kind", "By", UpDownCounter Int, Vm, Memory, [VM_ROLE, MEMORY_KIND];
    /// Largest resident memory that one of the virtual machine's processes has had, by what it is there for.
    VM_MEMORY_PEAK = "podscope.vm.memory.peak", "By", Gauge Int, Vm, Memory, [VM_ROLE];
    /// Living processes of the virtual machine by what they are there for.
    VM_PROCESS_COUNT = "podscope.vm.process.count", "{process}", UpDownCounter Int, Vm, Task, [VM_ROLE];
    /// Processes of the virtual machine that the kernel's OOM killer ended, by what they were there for.
    VM_OOM_KILLS = "podscope.vm.oom.kills", "{kill}", Counter Int, Vm, Traced, [VM_ROLE];
    /// Memory that the guest was started with, by the emulator's arguments.
    VM_GUEST_MEMORY_SIZE = "podscope.vm.guest.memory.size", "By", Gauge Int, Vm, Proc;
    /// Virtual CPUs that the guest was started with, by the emulator's arguments.
    VM_VCPU_COUNT = "podscope.vm.vcpu.count", "{vcpu}", Gauge Int, Vm, Proc;

    /// Exits of the machine's virtual CPUs from their guest by why, where KVM runs them.
    VM_EXITS = "podscope.vm.exits", "{exit}", Counter Int, Vm, Traced, [VM_EXIT_REASON];

    /// CPU time of the emulator's threads, living and ended, by what they are there for.
    VM_THREAD_CPU_TIME = "podscope.vm.thread.cpu.time", "s", Counter Double, Vm, Task, [VM_THREAD_CLASS];
    /// Run-queue wait of the emulator's threads, living and ended, by what they are there for.
    VM_THREAD_RUN_QUEUE_WAIT_TIME = "podscope.vm.thread.run_queue.wait.time", "s", Counter Double, Vm, Task, [VM_THREAD_CLASS];
    /// Living threads of the emulator by what they are there for.
    VM_THREAD_COUNT = "podscope.vm.thread.count", "{thread}", UpDownCounter Int, Vm, Task, [VM_THREAD_CLASS];

    /// Time the virtual CPU's thread was on a CPU.
    VCPU_CPU_TIME = "podscope.vm.vcpu.cpu.time", "s", Counter Double, Vcpu, Task;
    /// Time the virtual CPU was ready to run but its thread waited for a CPU: CPU ready, or steal as the guest sees it.
    VCPU_READY_TIME = "podscope.vm.vcpu.ready.time", "s", Counter Double, Vcpu, Task;
    /// How long the virtual CPU was ready to run but waited, one value each time it had a CPU.
    VCPU_READY = "podscope.vm.vcpu.ready", "s", Histogram Double, Vcpu, Traced;
    /// Uninterruptible sleep of the virtual CPU's thread.
    VCPU_BLOCKED_TIME = "podscope.vm.vcpu.blocked.time", "s", Counter Double, Vcpu, Traced;
    /// Context switches of the virtual CPU's thread.
    VCPU_CONTEXT_SWITCHES = "podscope.vm.vcpu.context_switches", "{context_switch}", Counter Int, Vcpu, Task, [SWITCH_TYPE];
    /// Moves of the virtual CPU's thread to another CPU.
    VCPU_MIGRATIONS = "podscope.vm.vcpu.migrations", "{migration}", Counter Int, Vcpu, Task;

    /// Exits of the virtual CPU from its guest, where KVM runs it.
    VCPU_EXITS = "podscope.vm.vcpu.exits", "{exit}", Counter Int, Vcpu, Traced;
    /// Time of the virtual CPU in its guest, on a CPU outside of it, polling while halted, and halted without, where KVM runs it.
    VCPU_STATE_TIME = "podscope.vm.vcpu.state.time", "s", Counter Double, Vcpu, Traced, [VCPU_STATE];

    /// Ready time of the machine's virtual CPUs by who ran meanwhile: the last on that CPU, before it whoever had taken it; their sum is all of it.
    CULPRIT_TIME = "podscope.vm.culprit.time", "s", Counter Double, Culprit, Traced;

    /// CPU that the container asks for, by its pod's specification.
    K8S_CONTAINER_CPU_REQUEST_DESIRED = "k8s.container.cpu.request.desired", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container asks for, as the kubelet has put it in force.
    K8S_CONTAINER_CPU_REQUEST_CURRENT = "k8s.container.cpu.request.current", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container may use at most, by its pod's specification.
    K8S_CONTAINER_CPU_LIMIT_DESIRED = "k8s.container.cpu.limit.desired", "{cpu}", UpDownCounter Double, Container, Api;
    /// CPU that the container may use at most, as the kubelet has put it in force.
    K8S_CONTAINER_CPU_LIMIT_CURRENT = "k8s.container.cpu.limit.current", "{cpu}", UpDownCounter Double, Container, Api;
    /// Memory that the container asks for, by its pod's specification.
    K8S_CONTAINER_MEMORY_REQUEST_DESIRED = "k8s.container.memory.request.desired", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container asks for, as the kubelet has put it in force.
    K8S_CONTAINER_MEMORY_REQUEST_CURRENT = "k8s.container.memory.request.current", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container may use at most, by its pod's specification.
    K8S_CONTAINER_MEMORY_LIMIT_DESIRED = "k8s.container.memory.limit.desired", "By", UpDownCounter Int, Container, Api;
    /// Memory that the container may use at most, as the kubelet has put it in force.
    K8S_CONTAINER_MEMORY_LIMIT_CURRENT = "k8s.container.memory.limit.current", "By", UpDownCounter Int, Container, Api;
    /// Ephemeral storage that the container asks for.
    K8S_CONTAINER_EPHEMERAL_STORAGE_REQUEST = "k8s.container.ephemeral_storage.request", "By", UpDownCounter Int, Container, Api;
    /// Ephemeral storage that the container may use at most.
    K8S_CONTAINER_EPHEMERAL_STORAGE_LIMIT = "k8s.container.ephemeral_storage.limit", "By", UpDownCounter Int, Container, Api;
    /// 1, with labels for the workload that the pod belongs to and for its quality of service.
    POD_INFO = "podscope.pod.info", "{pod}", Gauge Int, Workload, Api;
    /// CPUs that the node has for pods, by its object in the Kubernetes API.
    NODE_CPU_ALLOCATABLE = "k8s.node.cpu.allocatable", "{cpu}", UpDownCounter Double, Node, Api;
    /// Memory that the node has for pods, by its object in the Kubernetes API.
    NODE_MEMORY_ALLOCATABLE = "k8s.node.memory.allocatable", "By", UpDownCounter Int, Node, Api;
    /// Ephemeral storage that the node has for pods, by its object in the Kubernetes API.
    NODE_EPHEMERAL_STORAGE_ALLOCATABLE = "k8s.node.ephemeral_storage.allocatable", "By", UpDownCounter Int, Node, Api;
    /// Pods that the node takes, by its object in the Kubernetes API.
    NODE_POD_ALLOCATABLE = "k8s.node.pod.allocatable", "{pod}", UpDownCounter Int, Node, Api;
    /// CPUs that the node has in all, by its object in the Kubernetes API.
    NODE_CPU_CAPACITY = "podscope.node.cpu.capacity", "{cpu}", UpDownCounter Double, Node, Api;
    /// Memory that the node has in all, by its object in the Kubernetes API.
    NODE_MEMORY_CAPACITY = "podscope.node.memory.capacity", "By", UpDownCounter Int, Node, Api;
    /// Ephemeral storage that the node has in all, by its object in the Kubernetes API.
    NODE_EPHEMERAL_STORAGE_CAPACITY = "podscope.node.ephemeral_storage.capacity", "By", UpDownCounter Int, Node, Api;
    /// Pods that the node could take in all, by its object in the Kubernetes API.
    NODE_POD_CAPACITY = "podscope.node.pod.capacity", "{pod}", UpDownCounter Int, Node, Api;

    /// CPUs that the container used on average, as metrics-server says it.
    METRICS_SERVER_CONTAINER_CPU_USAGE = "podscope.metrics_server.container.cpu.usage", "{cpu}", Gauge Double, Container, MetricsServer;
    /// How much more metrics-server says than the container's own counter over the same window.
    METRICS_SERVER_CONTAINER_CPU_DIFFERENCE = "podscope.metrics_server.container.cpu.difference", "{cpu}", Gauge Double, Container, MetricsServer;
    /// Working set of the container, as metrics-server says it.
    METRICS_SERVER_CONTAINER_MEMORY_WORKING_SET = "podscope.metrics_server.container.memory.working_set", "By", UpDownCounter Int, Container, MetricsServer;
    /// How much more metrics-server says than the container's own working set at the same instant.
    METRICS_SERVER_CONTAINER_MEMORY_DIFFERENCE = "podscope.metrics_server.container.memory.difference", "By", Gauge Int, Container, MetricsServer;

    /// CPUs that the pod used on average, as metrics-server says it.
    METRICS_SERVER_POD_CPU_USAGE = "podscope.metrics_server.pod.cpu.usage", "{cpu}", Gauge Double, Pod, MetricsServer;
    /// How much more metrics-server says than the pod's own counter over the same window.
    METRICS_SERVER_POD_CPU_DIFFERENCE = "podscope.metrics_server.pod.cpu.difference", "{cpu}", Gauge Double, Pod, MetricsServer;
    /// Working set of the pod, as metrics-server says it.
    METRICS_SERVER_POD_MEMORY_WORKING_SET = "podscope.metrics_server.pod.memory.working_set", "By", UpDownCounter Int, Pod, MetricsServer;
    /// How much more metrics-server says than the pod's own working set at the same instant.
    METRICS_SERVER_POD_MEMORY_DIFFERENCE = "podscope.metrics_server.pod.memory.difference", "By", Gauge Int, Pod, MetricsServer;
    /// Time over which metrics-server's CPU figure of the pod is an average.
    METRICS_SERVER_POD_WINDOW = "podscope.metrics_server.pod.window", "s", Gauge Double, Pod, MetricsServer;
    /// Time since metrics-server's figures of the pod were taken.
    METRICS_SERVER_POD_AGE = "podscope.metrics_server.pod.age", "s", Gauge Double, Pod, MetricsServer;

    /// CPUs that the node used on average, as metrics-server says it.
    METRICS_SERVER_NODE_CPU_USAGE = "podscope.metrics_server.node.cpu.usage", "{cpu}", Gauge Double, Node, MetricsServer;
    /// How much more metrics-server says than the node's own counter over the same window.
    METRICS_SERVER_NODE_CPU_DIFFERENCE = "podscope.metrics_server.node.cpu.difference", "{cpu}", Gauge Double, Node, MetricsServer;
    /// Working set of the node, as metrics-server says it.
    METRICS_SERVER_NODE_MEMORY_WORKING_SET = "podscope.metrics_server.node.memory.working_set", "By", UpDownCounter Int, Node, MetricsServer;
    /// How much more metrics-server says than the node's own working set at the same instant.
    METRICS_SERVER_NODE_MEMORY_DIFFERENCE = "podscope.metrics_server.node.memory.difference", "By", Gauge Int, Node, MetricsServer;
    /// Time over which metrics-server's CPU figure of the node is an average.
    METRICS_SERVER_NODE_WINDOW = "podscope.metrics_server.node.window", "s", Gauge Double, Node, MetricsServer;
    /// Time since metrics-server's figures of the node were taken.
    METRICS_SERVER_NODE_AGE = "podscope.metrics_server.node.age", "s", Gauge Double, Node, MetricsServer;
    /// Time of the node's CPUs by what they did, in the kernel's ticks.
    SYSTEM_CPU_TIME = "system.cpu.time", "s", Counter Double, Node, Kernel, [NODE_CPU_MODE];
    /// Time in which guests ran on the node's CPUs; it is part of the modes user and nice.
    NODE_CPU_GUEST_TIME = "podscope.node.cpu.guest.time", "s", Counter Double, Node, Kernel, [GUEST_PRIORITY];
    /// CPUs of the node that are online.
    SYSTEM_CPU_COUNT = "system.cpu.logical.count", "{cpu}", UpDownCounter Int, Node, Kernel;
    /// Time in which the node's CPUs worked for the node itself: neither idle nor taken by a hypervisor.
    NODE_CPU_TIME = "k8s.node.cpu.time", "s", Counter Double, Node, Kernel;
    /// CPUs' worth of time that the node used since the collection before.
    NODE_CPU_USAGE = "k8s.node.cpu.usage", "{cpu}", Gauge Double, Node, Kernel;
    /// Context switches of the node.
    NODE_CONTEXT_SWITCHES = "podscope.node.context_switches", "{context_switch}", Counter Int, Node, Kernel;
    /// Interrupts that the node has serviced.
    NODE_INTERRUPTS = "podscope.node.interrupts", "{interrupt}", Counter Int, Node, Kernel, [INTERRUPT_KIND];
    /// Processes and threads made on the node.
    SYSTEM_PROCESS_CREATED = "system.process.created", "{process}", Counter Int, Node, Kernel;
    /// Processes living on the node.
    SYSTEM_PROCESS_COUNT = "system.process.count", "{process}", UpDownCounter Int, Node, Task;
    /// Tasks of the node that run or wait for a CPU, and that wait for I/O.
    NODE_TASKS = "podscope.node.tasks", "{task}", UpDownCounter Int, Node, Kernel, [TASK_STATE];
    /// Time since the node's kernel was started.
    NODE_UPTIME = "k8s.node.uptime", "s", Gauge Double, Node, Kernel;
    /// Memory of the node by what it is used for; the kernel's own caches that it can take back count as cached.
    SYSTEM_MEMORY_USAGE = "system.memory.usage", "By", UpDownCounter Int, Node, Kernel, [NODE_MEMORY_STATE];
    /// Memory of the node.
    SYSTEM_MEMORY_LIMIT = "system.memory.limit", "By", UpDownCounter Int, Node, Kernel;
    /// Memory that new programs could have without swapping, by the kernel's estimate.
    SYSTEM_MEMORY_AVAILABLE = "system.memory.linux.available", "By", UpDownCounter Int, Node, Kernel;
    /// Shared memory and memory file systems of the node; part of the cached memory.
    SYSTEM_MEMORY_SHARED = "system.memory.linux.shared", "By", UpDownCounter Int, Node, Kernel;
    /// The kernel's own objects.
    SYSTEM_SLAB_USAGE = "system.memory.linux.slab.usage", "By", UpDownCounter Int, Node, Kernel, [SLAB_STATE];
    /// Huge pages of the default size that the node has.
    SYSTEM_HUGEPAGES_LIMIT = "system.memory.linux.hugepages.limit", "{page}", UpDownCounter Int, Node, Kernel;
    /// Huge pages of the default size by whether they are in use.
    SYSTEM_HUGEPAGES_USAGE = "system.memory.linux.hugepages.usage", "{page}", UpDownCounter Int, Node, Kernel, [HUGEPAGE_STATE];
    /// Huge pages of the default size that are promised and still free.
    SYSTEM_HUGEPAGES_RESERVED = "system.memory.linux.hugepages.reserved", "{page}", UpDownCounter Int, Node, Kernel;
    /// Huge pages of the default size beyond the number that was asked for.
    SYSTEM_HUGEPAGES_SURPLUS = "system.memory.linux.hugepages.surplus", "{page}", UpDownCounter Int, Node, Kernel;
    /// Default size of a huge page.
    SYSTEM_HUGEPAGES_SIZE = "system.memory.linux.hugepages.page_size", "By", UpDownCounter Int, Node, Kernel;
    /// Memory of the node by the list on which it waits to be reclaimed.
    NODE_MEMORY_LIST = "podscope.node.memory.list", "By", UpDownCounter Int, Node, Kernel, [MEMORY_LIST];
    /// Files and shared memory that are mapped into processes.
    NODE_MEMORY_MAPPED = "podscope.node.memory.mapped", "By", UpDownCounter Int, Node, Kernel;
    /// Memory of the node that is not free, page cache included, as the kubelet counts it.
    NODE_MEMORY_USAGE = "k8s.node.memory.usage", "By", UpDownCounter Int, Node, Kernel;
    /// Memory of the node that is not free less inactive page cache, as the kubelet counts it.
    NODE_MEMORY_WORKING_SET = "k8s.node.memory.working_set", "By", UpDownCounter Int, Node, Kernel;
    /// Memory of the node less its working set, as the kubelet counts it.
    NODE_MEMORY_AVAILABLE = "k8s.node.memory.available", "By", UpDownCounter Int, Node, Kernel;
    /// Anonymous memory of the node.
    NODE_MEMORY_RSS = "k8s.node.memory.rss", "By", UpDownCounter Int, Node, Kernel;
    /// Swap space of the node.
    SYSTEM_PAGING_USAGE = "system.paging.usage", "By", UpDownCounter Int, Node, Kernel, [PAGING_STATE];
    /// Page faults of the node.
    SYSTEM_PAGING_FAULTS = "system.paging.faults", "{fault}", Counter Int, Node, Kernel, [FAULT_TYPE];
    /// Bytes that the node's memory has exchanged with block devices.
    NODE_PAGING_IO = "podscope.node.paging.io", "By", Counter Int, Node, Kernel, [PAGING_DIRECTION];
    /// Pages that the node has exchanged with swap space.
    NODE_SWAP_PAGES = "podscope.node.swap.pages", "{page}", Counter Int, Node, Kernel, [PAGING_DIRECTION];
    /// Pages of memory that became free.
    NODE_PAGES_FREED = "podscope.node.memory.pages.freed", "{page}", Counter Int, Node, Kernel;
    /// Write faults that could go on with the page there was instead of a copy.
    NODE_PAGES_REUSED = "podscope.node.memory.pages.reused", "{page}", Counter Int, Node, Kernel;
    /// Processes that the kernel's OOM killer ended since it was started.
    NODE_OOM_KILLS = "podscope.node.oom.kills", "{kill}", Counter Int, Node, Kernel;
    /// Time in which some or all of the node's tasks stalled on a resource (PSI).
    NODE_PRESSURE_TIME = "podscope.node.pressure.time", "s", Counter Double, Node, Kernel, [PRESSURE_RESOURCE, PRESSURE_KIND];
    /// Sockets of the node's own network namespace, IPv6 included.
    NODE_SOCKETS = "podscope.node.network.sockets", "{socket}", UpDownCounter Int, Node, Kernel, [SOCKET_KIND];
    /// Bytes through the interface of the node's default route.
    NODE_NETWORK_IO = "k8s.node.network.io", "By", Counter Int, Node, Kernel, [NETWORK_DIRECTION];
    /// Errors of the interface of the node's default route.
    NODE_NETWORK_ERRORS = "k8s.node.network.errors", "{error}", Counter Int, Node, Kernel, [NETWORK_DIRECTION];
    /// Bytes in use of the file system with the kubelet's folder.
    NODE_FILESYSTEM_USAGE = "k8s.node.filesystem.usage", "By", UpDownCounter Int, Node, Kernel;
    /// Size of the file system with the kubelet's folder.
    NODE_FILESYSTEM_CAPACITY = "k8s.node.filesystem.capacity", "By", UpDownCounter Int, Node, Kernel;
    /// Bytes of the file system with the kubelet's folder that are left to programs without privilege.
    NODE_FILESYSTEM_AVAILABLE = "k8s.node.filesystem.available", "By", UpDownCounter Int, Node, Kernel;
    /// Inodes of the file system with the kubelet's folder.
    NODE_FILESYSTEM_INODES = "k8s.node.filesystem.inode.count", "{inode}", UpDownCounter Int, Node, Kernel;
    /// Free inodes of the file system with the kubelet's folder.
    NODE_FILESYSTEM_INODES_FREE = "k8s.node.filesystem.inode.free", "{inode}", UpDownCounter Int, Node, Kernel;

    /// Space of the file system by what it is used for, read every 30 s.
    SYSTEM_FILESYSTEM_USAGE = "system.filesystem.usage", "By", UpDownCounter Int, Filesystem, Kernel, [FILESYSTEM_STATE];
    /// Size of the file system.
    SYSTEM_FILESYSTEM_LIMIT = "system.filesystem.limit", "By", UpDownCounter Int, Filesystem, Kernel;
    /// Inodes of the file system; of one that makes them as they are needed there are 0.
    NODE_FILESYSTEM_INODE_USAGE = "podscope.node.filesystem.inode.usage", "{inode}", UpDownCounter Int, Filesystem, Kernel, [INODE_STATE];

    /// Bytes in use of the volume, read every 30 s.
    POD_VOLUME_USAGE = "k8s.pod.volume.usage", "By", UpDownCounter Int, Volume, Kernel;
    /// Size of the volume.
    POD_VOLUME_CAPACITY = "k8s.pod.volume.capacity", "By", UpDownCounter Int, Volume, Kernel;
    /// Bytes of the volume that are left to programs without privilege.
    POD_VOLUME_AVAILABLE = "k8s.pod.volume.available", "By", UpDownCounter Int, Volume, Kernel;
    /// Inodes of the volume.
    POD_VOLUME_INODES = "k8s.pod.volume.inode.count", "{inode}", UpDownCounter Int, Volume, Kernel;
    /// Inodes in use of the volume.
    POD_VOLUME_INODES_USED = "k8s.pod.volume.inode.used", "{inode}", UpDownCounter Int, Volume, Kernel;
    /// Free inodes of the volume.
    POD_VOLUME_INODES_FREE = "k8s.pod.volume.inode.free", "{inode}", UpDownCounter Int, Volume, Kernel;

    /// Bytes read from and written to the block device.
    SYSTEM_DISK_IO = "system.disk.io", "By", Counter Int, Device, Kernel, [IO_DIRECTION];
    /// Requests that the block device has finished.
    SYSTEM_DISK_OPERATIONS = "system.disk.operations", "{operation}", Counter Int, Device, Kernel, [IO_DIRECTION];
    /// Requests that were merged with another one before they reached the block device.
    SYSTEM_DISK_MERGED = "system.disk.merged", "{operation}", Counter Int, Device, Kernel, [IO_DIRECTION];
    /// Time that requests took, each for itself.
    SYSTEM_DISK_OPERATION_TIME = "system.disk.operation_time", "s", Counter Double, Device, Kernel, [IO_DIRECTION];
    /// Time in which the block device had a request to work at.
    SYSTEM_DISK_IO_TIME = "system.disk.io_time", "s", Counter Double, Device, Kernel;
    /// Time that requests waited and were worked at, each for itself, those under way included.
    NODE_DISK_QUEUE_TIME = "podscope.node.disk.queue.time", "s", Counter Double, Device, Kernel;
    /// Requests under way.
    NODE_DISK_IN_FLIGHT = "podscope.node.disk.in_flight", "{operation}", UpDownCounter Int, Device, Kernel;
    /// Bytes that the block device was told are no longer needed.
    NODE_DISK_DISCARD_IO = "podscope.node.disk.discard.io", "By", Counter Int, Device, Kernel;
    /// Requests that told the block device what is no longer needed.
    NODE_DISK_DISCARD_OPERATIONS = "podscope.node.disk.discard.operations", "{operation}", Counter Int, Device, Kernel;
    /// Discards that were merged with another one.
    NODE_DISK_DISCARD_MERGED = "podscope.node.disk.discard.merged", "{operation}", Counter Int, Device, Kernel;
    /// Time that discards took, each for itself.
    NODE_DISK_DISCARD_TIME = "podscope.node.disk.discard.time", "s", Counter Double, Device, Kernel;
    /// Requests to make durable what the block device holds in its cache.
    NODE_DISK_FLUSH_OPERATIONS = "podscope.node.disk.flush.operations", "{operation}", Counter Int, Device, Kernel;
    /// Time that such requests took, each for itself.
    NODE_DISK_FLUSH_TIME = "podscope.node.disk.flush.time", "s", Counter Double, Device, Kernel;

    /// Bytes through the interface.
    SYSTEM_NETWORK_IO = "system.network.io", "By", Counter Int, Interface, Kernel, [NETWORK_DIRECTION];
    /// Packets through the interface.
    SYSTEM_NETWORK_PACKETS = "system.network.packet.count", "{packet}", Counter Int, Interface, Kernel, [NETWORK_DIRECTION];
    /// Packets that the interface dropped.
    SYSTEM_NETWORK_DROPPED = "system.network.packet.dropped", "{packet}", Counter Int, Interface, Kernel, [NETWORK_DIRECTION];
    /// Errors of the interface.
    SYSTEM_NETWORK_ERRORS = "system.network.errors", "{error}", Counter Int, Interface, Kernel, [NETWORK_DIRECTION];
    /// Errors of the interface by what went wrong; absent until the first one.
    NODE_NETWORK_FAULTS = "podscope.node.network.faults", "{error}", Counter Int, Interface, Kernel, [NETWORK_FAULT];
    /// Compressed packets through the interface; absent until the first one.
    NODE_NETWORK_COMPRESSED = "podscope.node.network.compressed", "{packet}", Counter Int, Interface, Kernel, [NETWORK_DIRECTION];
    /// Multicast packets that the interface received; absent until the first one.
    NODE_NETWORK_MULTICAST = "podscope.node.network.multicast", "{packet}", Counter Int, Interface, Kernel;

    /// Bytes through the pod's interface.
    POD_NETWORK_IO = "k8s.pod.network.io", "By", Counter Int, PodInterface, Kernel, [NETWORK_DIRECTION];
    /// Errors of the pod's interface.
    POD_NETWORK_ERRORS = "k8s.pod.network.errors", "{error}", Counter Int, PodInterface, Kernel, [NETWORK_DIRECTION];
    /// Packets through the pod's interface.
    POD_NETWORK_PACKETS = "podscope.pod.network.packets", "{packet}", Counter Int, PodInterface, Kernel, [NETWORK_DIRECTION];
    /// Packets that the pod's interface dropped.
    POD_NETWORK_DROPPED = "podscope.pod.network.dropped", "{packet}", Counter Int, PodInterface, Kernel, [NETWORK_DIRECTION];
    /// Errors of the pod's interface by what went wrong; absent until the first one.
    POD_NETWORK_FAULTS = "podscope.pod.network.faults", "{error}", Counter Int, PodInterface, Kernel, [NETWORK_FAULT];
    /// Compressed packets through the pod's interface; absent until the first one.
    POD_NETWORK_COMPRESSED = "podscope.pod.network.compressed", "{packet}", Counter Int, PodInterface, Kernel, [NETWORK_DIRECTION];
    /// Multicast packets that the pod's interface received; absent until the first one.
    POD_NETWORK_MULTICAST = "podscope.pod.network.multicast", "{packet}", Counter Int, PodInterface, Kernel;

    /// Bytes that the container had the block device read, write and discard.
    CONTAINER_DEVICE_IO = "podscope.container.device.io", "By", Counter Int, ContainerDevice, Cgroup, [DEVICE_OPERATION];
    /// Requests of the container to the block device.
    CONTAINER_DEVICE_OPERATIONS = "podscope.container.device.operations", "{operation}", Counter Int, ContainerDevice, Cgroup, [DEVICE_OPERATION];
    /// The same bytes by whether somebody waited for them; cgroup v1 alone tells.
    CONTAINER_DEVICE_WAITING = "podscope.container.device.waiting", "By", Counter Int, ContainerDevice, Cgroup, [DISK_WAITING];

    /// Share of time in which a program ran on the GPU, over NVML's last sample of up to a second.
    GPU_UTILIZATION = "hw.gpu.utilization", "1", Gauge Double, Gpu, Nvml;
    /// Share of that time in which the GPU's memory was read or written.
    GPU_MEMORY_BUSY = "podscope.gpu.memory.busy", "1", Gauge Double, Gpu, Nvml;
    /// Memory of the GPU in use, without what the driver keeps for itself where it tells that apart.
    GPU_MEMORY_USAGE = "hw.gpu.memory.usage", "By", UpDownCounter Int, Gpu, Nvml;
    /// Memory of the GPU.
    GPU_MEMORY_LIMIT = "hw.gpu.memory.limit", "By", UpDownCounter Int, Gpu, Nvml;
    /// Memory of the GPU that is free.
    GPU_MEMORY_FREE = "podscope.gpu.memory.free", "By", UpDownCounter Int, Gpu, Nvml;
    /// Power that the GPU draws.
    GPU_POWER = "hw.power", "W", Gauge Double, Gpu, Nvml, [HW_TYPE];
    /// Energy that the GPU has used since its driver was loaded.
    GPU_ENERGY = "hw.energy", "J", Counter Double, Gpu, Nvml, [HW_TYPE];
    /// Temperature of the GPU.
    GPU_TEMPERATURE = "hw.temperature", "Cel", Gauge Double, Gpu, Nvml;
    /// 1 where the GPU is divided into instances (MIG), 0 where it could be.
    GPU_MIG = "podscope.gpu.mig", "{gpu}", Gauge Int, Gpu, Nvml;
    /// Processes with a context on the GPU, those included that the agent does not know.
    GPU_PROCESS_COUNT = "podscope.gpu.process.count", "{process}", UpDownCounter Int, Gpu, Nvml, [GPU_CONTEXT];
    /// Memory of the instance in use.
    GPU_INSTANCE_MEMORY_USAGE = "podscope.gpu.instance.memory.usage", "By", UpDownCounter Int, GpuInstance, Nvml;
    /// Memory of the instance.
    GPU_INSTANCE_MEMORY_LIMIT = "podscope.gpu.instance.memory.limit", "By", UpDownCounter Int, GpuInstance, Nvml;
    /// Memory of the GPU that the container's processes hold, also on its instances.
    CONTAINER_GPU_MEMORY_USAGE = "podscope.container.gpu.memory.usage", "By", UpDownCounter Int, ContainerGpu, Nvml;
    /// Sum of the container's processes' use of the GPU's multiprocessors, absent on instances.
    CONTAINER_GPU_UTILIZATION = "podscope.container.gpu.utilization", "1", Gauge Double, ContainerGpu, Nvml;
    /// Processes of the container with a context on the GPU.
    CONTAINER_GPU_PROCESS_COUNT = "podscope.container.gpu.process.count", "{process}", UpDownCounter Int, ContainerGpu, Nvml;
    /// Memory of the GPU that the process holds.
    PROCESS_GPU_MEMORY_USAGE = "podscope.process.gpu.memory.usage", "By", UpDownCounter Int, ProcessGpu, Nvml, [GPU_CONTEXT];
    /// The process's use of the GPU's multiprocessors, by its last sample of the last 5 s; absent on instances.
    PROCESS_GPU_UTILIZATION = "podscope.process.gpu.utilization", "1", Gauge Double, ProcessGpu, Nvml;
    /// Share of time in which the process had the GPU's memory read or written, by the same sample.
    PROCESS_GPU_MEMORY_BUSY = "podscope.process.gpu.memory.busy", "1", Gauge Double, ProcessGpu, Nvml;
    /// 1 for each GPU that is left to virtual machines.
    GPU_PASSTHROUGH = "podscope.gpu.passthrough", "{gpu}", Gauge Int, PassthroughGpu, Kernel;

    /// CPU time of the agent itself, without its kernel programs.
    AGENT_CPU_TIME = "podscope.agent.cpu.time", "s", Counter Double, Agent, Agent, [CPU_MODE];
    /// Resident memory of the agent itself.
    AGENT_MEMORY_USAGE = "podscope.agent.memory.usage", "By", UpDownCounter Int, Agent, Agent;
    /// Length of the last collection's parts.
    AGENT_COLLECTION_DURATION = "podscope.agent.collection.duration", "s", Gauge Double, Agent, Agent, [PHASE];
    /// Collections made.
    AGENT_COLLECTIONS = "podscope.agent.collections", "{collection}", Counter Int, Agent, Agent;
    /// Collections skipped because the one before took longer than the interval.
    AGENT_COLLECTIONS_SKIPPED = "podscope.agent.collections.skipped", "{collection}", Counter Int, Agent, Agent;
    /// Processes the last collection saw.
    AGENT_PROCESSES = "podscope.agent.processes", "{process}", UpDownCounter Int, Agent, Agent;
    /// Containers the last collection saw.
    AGENT_CONTAINERS = "podscope.agent.containers", "{container}", UpDownCounter Int, Agent, Agent;
    /// Processes in the last collection that belong to a pod that could not be named.
    AGENT_UNATTRIBUTED = "podscope.agent.unattributed", "{process}", UpDownCounter Int, Agent, Agent, [UNATTRIBUTED];
    /// Run time of the kernel programs, where the kernel counts it (kernel.bpf_stats_enabled).
    AGENT_BPF_RUN_TIME = "podscope.agent.bpf.run.time", "s", Counter Double, Agent, Agent, [PROGRAM];
    /// Runs of the kernel programs, where the kernel counts them (kernel.bpf_stats_enabled).
    AGENT_BPF_RUNS = "podscope.agent.bpf.runs", "{run}", Counter Int, Agent, Agent, [PROGRAM];
    /// 1 where the kernel program is attached, 0 where it is absent; the reason is in /status.
    AGENT_PROBE_UP = "podscope.agent.probe.up", "{probe}", Gauge Int, Agent, Agent, [PROGRAM];
    /// 1 where the source works, 0 where it does not; the reason is in /status.
    AGENT_SOURCE_UP = "podscope.agent.source.up", "{source}", Gauge Int, Agent, Agent, [AGENT_SOURCE];
    /// Entries in use of the kernel maps.
    AGENT_MAP_ENTRIES = "podscope.agent.bpf.map.entries", "{entry}", UpDownCounter Int, Agent, Agent, [MAP];
    /// Capacity of the kernel maps.
    AGENT_MAP_CAPACITY = "podscope.agent.bpf.map.capacity", "{entry}", UpDownCounter Int, Agent, Agent, [MAP];
    /// What the kernel programs could not keep.
    AGENT_LOSSES = "podscope.agent.losses", "{loss}", Counter Int, Agent, Agent, [LOSS];
    /// What the agent itself left out because of its bounds or of a fault.
    AGENT_DROPPED = "podscope.agent.dropped", "{drop}", Counter Int, Agent, Agent, [DROP];
    /// CPU time of processes whose cgroup was removed before its path was known; it is in no container.
    AGENT_UNOWNED_CPU_TIME = "podscope.agent.unowned.cpu.time", "s", Counter Double, Agent, Agent;
    /// OTLP requests by what became of them.
    AGENT_EXPORT_REQUESTS = "podscope.agent.export.requests", "{request}", Counter Int, Agent, Agent, [EXPORT_RESULT];
    /// OTLP data points by what became of them.
    AGENT_EXPORT_POINTS = "podscope.agent.export.points", "{data_point}", Counter Int, Agent, Agent, [EXPORT_RESULT];
    /// Questions to the Kubernetes API and the kubelet by what became of them; one that goes on is counted when it begins.
    AGENT_KUBE_REQUESTS = "podscope.agent.kube.requests", "{request}", Counter Int, Agent, Agent, [KUBE_RESULT];
    /// HTTP requests answered.
    AGENT_HTTP_REQUESTS = "podscope.agent.http.requests", "{request}", Counter Int, Agent, Agent;
    /// What the HTTP endpoint refused or cut off.
    AGENT_HTTP_REFUSED = "podscope.agent.http.refused", "{refusal}", Counter Int, Agent, Agent, [HTTP_REFUSAL];

    /// CPU time spent, seconds.
    KUBEVIRT_CPU_TIME = "kubevirt.pod_infra.cpu", "s", Counter Double, KubevirtProcess, Proc, [KUBEVIRT_CPU];
    /// Memory amount, bytes.
    KUBEVIRT_MEMORY_AMOUNT = "kubevirt.pod_infra.memory_amount", "By", UpDownCounter Int, KubevirtProcess, Proc, [KUBEVIRT_MEMORY];
    /// Version information
    KUBEVIRT_INFO = "kubevirt.info", "{info}", Gauge Int, KubevirtInfo, Agent;
}

impl MetricId {
    /// Every id, in table order.
    pub fn all() -> impl Iterator<Item = MetricId> {
        (0..METRICS.len() as u16).map(MetricId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_in_the_charset() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert!(
                metric.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_'),
                "{} has another character",
                metric.name
            );
        }
    }

    #[test]
    fn descriptions_are_one_sentence() {
        // This one's words are another tool's.
        for metric in METRICS.iter().filter(|metric| metric.entity != Entity::KubevirtInfo) {
            let text = metric.description;
            assert!(text.ends_with('.') && !text.contains(". "), "{}: {text}", metric.name);
            assert!(text.len() <= 140, "{}: {} characters", metric.name, text.len());
            // Then no form of the table has to escape it.
            assert!(!text.contains(['\\', '"', '|', '\n']), "{}: {text}", metric.name);
        }
    }

    #[test]
    fn every_attribute_is_used() {
        for attribute in ATTRIBUTES {
            assert!(
                METRICS.iter().any(|m| m.attributes.iter().any(|a| a.key == attribute.key)),
                "{} is used by no metric",
                attribute.key
            );
        }
    }

    #[test]
    fn combinations_are_in_mixed_radix_order() {
        let metric = ids::CONTAINER_PRESSURE_TIME.metric();
        assert_eq!(metric.combinations(), 6);
        let at = |i| metric.combination(i).map(|(_, v)| v).collect::<Vec<_>>();
        assert_eq!(at(0), ["cpu", "some"]);
        assert_eq!(at(1), ["cpu", "full"]);
        assert_eq!(at(5), ["io", "full"]);
    }
}
