//! Where the running kernel keeps what the programs read: filled from its BTF before loading.

use bytemuck::{Pod, Zeroable};

/// A field that the running kernel does not have; branches on it are pruned by the verifier.
pub const ABSENT: u32 = u32::MAX;

/// Declares [`Offsets`] and the table of the kernel members it is filled from, so that both cannot differ.
macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident = $members:literal,)*; $($(#[$flag_doc:meta])* $flag:ident,)*) => {
        /// Byte offsets of kernel struct members, [`ABSENT`] where the kernel lacks one, and facts about its hooks.
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        #[repr(C)]
        pub struct Offsets {
            $($(#[$doc])* #[doc = concat!("\n\nOffset of `", $members, "`.")] pub $field: u32,)*
            $($(#[$flag_doc])* pub $flag: u32,)*
        }

        impl Offsets {
            /// Everything absent.
            pub const ABSENT: Self = Self { $($field: ABSENT,)* $($flag: 0,)* };

            /// Calls `find` with the field's name and its members (`struct.path`, alternatives by `|`) and keeps the answer.
            pub fn resolve(mut find: impl FnMut(&'static str, &'static str) -> Option<u32>) -> Self {
                let mut all = Self::ABSENT;
                $(all.$field = find(stringify!($field), $members).unwrap_or(ABSENT);)*
                all
            }
        }
    };
}

offsets! {
    /// Thread id.
    pid = "task_struct.pid",
    /// Thread-group id.
    tgid = "task_struct.tgid",
    /// `PF_*` flags.
    task_flags = "task_struct.flags",
    /// Scheduler state; renamed in 5.14.
    state = "task_struct.__state|task_struct.state",
    /// Non-zero on a run queue.
    on_rq = "task_struct.on_rq",
    /// Leader of the thread group.
    group_leader = "task_struct.group_leader",
    /// Parent.
    real_parent = "task_struct.real_parent",
    /// Start, ns since boot; before 5.5 `real_start_time`.
    start = "task_struct.start_boottime|task_struct.real_start_time",
    /// Name, 16 bytes.
    comm = "task_struct.comm",
    /// Cgroup memberships.
    cgroups = "task_struct.cgroups",
    /// Address space.
    mm = "task_struct.mm",
    /// What the thread group shares.
    signal = "task_struct.signal",
    /// Run time.
    run = "task_struct.se.sum_exec_runtime",
    /// Moves between CPUs.
    migrations = "task_struct.se.nr_migrations",
    /// User time.
    utime = "task_struct.utime",
    /// System time.
    stime = "task_struct.stime",
    /// Voluntary switches.
    nvcsw = "task_struct.nvcsw",
    /// Involuntary switches.
    nivcsw = "task_struct.nivcsw",
    /// Minor faults.
    min_flt = "task_struct.min_flt",
    /// Major faults.
    maj_flt = "task_struct.maj_flt",
    /// Run-queue wait; absent without `CONFIG_SCHED_INFO`.
    run_delay = "task_struct.sched_info.run_delay",
    /// When queued, by the run queue's clock; 0 when not queued.
    last_queued = "task_struct.sched_info.last_queued",
    /// When it last came onto a CPU, by the run queue's clock.
    last_arrival = "task_struct.sched_info.last_arrival",
    /// On a CPU now.
    on_cpu = "task_struct.on_cpu",
    /// I/O; absent without `CONFIG_TASK_IO_ACCOUNTING`.
    read_bytes = "task_struct.ioac.read_bytes",
    /// I/O.
    write_bytes = "task_struct.ioac.write_bytes",
    /// I/O; absent without `CONFIG_TASK_XACCT`.
    read_calls = "task_struct.ioac.syscr",
    /// I/O.
    write_calls = "task_struct.ioac.syscw",
    /// Threads that have not begun to exit.
    signal_live = "signal_struct.live",
    /// Threads.
    signal_threads = "signal_struct.nr_threads",
    /// Peak resident pages of the ended process.
    signal_maxrss = "signal_struct.maxrss",
    /// Of dead threads.
    signal_utime = "signal_struct.utime",
    /// Of dead threads.
    signal_stime = "signal_struct.stime",
    /// Of dead threads.
    signal_run = "signal_struct.sum_sched_runtime",
    /// Of dead threads.
    signal_nvcsw = "signal_struct.nvcsw",
    /// Of dead threads.
    signal_nivcsw = "signal_struct.nivcsw",
    /// Of dead threads.
    signal_min_flt = "signal_struct.min_flt",
    /// Of dead threads.
    signal_maj_flt = "signal_struct.maj_flt",
    /// Of dead threads.
    signal_read_bytes = "signal_struct.ioac.read_bytes",
    /// Of dead threads.
    signal_write_bytes = "signal_struct.ioac.write_bytes",
    /// Of dead threads.
    signal_read_calls = "signal_struct.ioac.syscr",
    /// Of dead threads.
    signal_write_calls = "signal_struct.ioac.syscw",
    /// Of children that were waited for.
    signal_cutime = "signal_struct.cutime",
    /// Of children that were waited for.
    signal_cstime = "signal_struct.cstime",
    /// Resident pages by kind; per-CPU counters from 6.2.
    rss_stat = "mm_struct.rss_stat",
    /// The central count inside a per-CPU counter.
    percpu_count = "percpu_counter.count",
    /// Hugetlb bytes in base pages; absent without `CONFIG_HUGETLB_PAGE`.
    hugetlb = "mm_struct.hugetlb_usage",
    /// Virtual pages.
    total_vm = "mm_struct.total_vm",
    /// Beginning of the program's code.
    start_code = "mm_struct.start_code",
    /// Its end.
    end_code = "mm_struct.end_code",
    /// Virtual pages that are private and can be written, without the stack.
    data_vm = "mm_struct.data_vm",
    /// Virtual pages of the stack.
    stack_vm = "mm_struct.stack_vm",
    /// Peak resident pages.
    hiwater_rss = "mm_struct.hiwater_rss",
    /// The executable.
    exe_file = "mm_struct.exe_file",
    /// Its directory entry; inside `f_path`.
    file_dentry = "file.f_path.dentry|file.__f_path.dentry",
    /// Base name.
    dentry_name = "dentry.d_name.name|dentry.__d_name.name",
    /// Memberships by controller.
    css_subsys = "css_set.subsys",
    /// Membership in the default hierarchy.
    css_default = "css_set.dfl_cgrp",
    /// From a controller's state to its cgroup.
    subsys_cgroup = "cgroup_subsys_state.cgroup",
    /// Directory of a cgroup.
    cgroup_kn = "cgroup.kn",
    /// Hierarchy of a cgroup.
    cgroup_root = "cgroup.root",
    /// Number of a hierarchy.
    root_hierarchy = "cgroup_root.hierarchy_id",
    /// Inode of a directory.
    kn_id = "kernfs_node.id",
    /// Byte that holds the bit `sched_contributes_to_load`.
    load_byte = "task_struct.sched_contributes_to_load",
    ;
    /// Mask of that bit; 0 where it was not found.
    load_mask,
    /// Bytes between two kinds in `rss_stat`.
    rss_stride,
    /// 1 where `rss_stat` is an array of per-CPU counters (6.2 and later), readable by plain dereference.
    rss_percpu,
    /// 1 + index of the controller in `css_set.subsys` whose hierarchy we account by; 0: the default hierarchy.
    subsys_slot,
    /// 1 where `sched_switch` passes the previous task's state (5.18 and later).
    switch_has_state,
    /// 1 where `sched_process_exit` passes `group_dead` (6.18 and later).
    exit_has_group_dead,
    /// 1 where `mark_victim` passes the task (6.10 and backports), 0 where it passes the pid.
    victim_has_task,
    /// Hierarchy whose directories are reported.
    hierarchy,
    /// 1 where waits are traced because the kernel keeps no `run_delay`.
    trace_wait,
    /// 1 where a switch serves closing alone: no scheduling detail.
    closing_only,
}
