//! Rows of processes, and of all processes of an executable.

super::metrics! {
    0;

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
}
