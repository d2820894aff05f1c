//! Rows of containers and pods, by their cgroups and processes.

super::metrics! {
    super::process::NEXT;

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
}
