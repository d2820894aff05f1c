//! Rows of virtual machines.

super::metrics! {
    super::container::NEXT;

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
}
