//! The kernel programs, in the order in which they are attached.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF tracepoint (`tp_btf`) of the program's name.
    Tracepoint,
    /// A BTF tracepoint that only serves kernels without `run_delay`.
    TracedWait,
    /// The task iterator.
    Iterator,
    /// A raw tracepoint of KVM, attached once that is loaded.
    Kvm,
}

/// A kernel program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name of the program, of its hook, and its value of the attribute `podscope.bpf.program`.
    pub name: &'static str,
    /// Hook.
    pub hook: Hook,
}

const fn tracepoint(name: &'static str) -> Program {
    Program { name, hook: Hook::Tracepoint }
}

/// Ends before beginnings: nothing that is begun (a fork) can end (a last switch-out) unseen.
pub const PROGRAMS: &[Program] = &[
    tracepoint("sched_switch"),
    Program { name: "sched_wakeup", hook: Hook::TracedWait },
    Program { name: "sched_wakeup_new", hook: Hook::TracedWait },
    tracepoint("mm_vmscan_direct_reclaim_end"),
    tracepoint("mm_vmscan_direct_reclaim_begin"),
    tracepoint("mm_vmscan_memcg_reclaim_end"),
    tracepoint("mm_vmscan_memcg_reclaim_begin"),
    tracepoint("mark_victim"),
    tracepoint("cgroup_attach_task"),
    tracepoint("cgroup_rmdir"),
    tracepoint("cgroup_rename"),
    tracepoint("cgroup_mkdir"),
    tracepoint("sched_process_exit"),
    tracepoint("sched_process_exec"),
    tracepoint("sched_process_fork"),
    Program { name: "kvm_entry", hook: Hook::Kvm },
    Program { name: "kvm_vcpu_wakeup", hook: Hook::Kvm },
    Program { name: "kvm_exit", hook: Hook::Kvm },
    Program { name: "task", hook: Hook::Iterator },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_its_attribute_value() {
        let mut names: Vec<_> = PROGRAMS.iter().map(|p| p.name).collect();
        let mut values = podscope_catalog::attribute::PROGRAM.values.to_vec();
        names.sort_unstable();
        values.sort_unstable();
        assert_eq!(names, values);
    }
}
