//! Rows of the node and its parts, and of what pods and containers use of them.

super::metrics! {
    super::cluster::NEXT;

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
}
