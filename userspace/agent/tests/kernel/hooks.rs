//! The tracker: what each hook passes on the kernel at hand, against every form that the programs know.

use podscope_agent::kernel::btf::{Btf, VMLINUX};
use podscope_agent::kernel::programs::{Hook, PROGRAMS};

/// Every hook with the prototypes that its program was written for, the oldest first. What the programs read is
/// decided by the number and kind of the parameters alone (`kernel/offsets.rs`); a form that does not stand here has
/// to be looked at before it is added.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "sched_switch",
        &[
            "bool, struct task_struct *, struct task_struct *",
            "bool, struct task_struct *, struct task_struct *, unsigned int",
        ],
    ),
    ("sched_wakeup", &["struct task_struct *"]),
    ("sched_wakeup_new", &["struct task_struct *"]),
    ("sched_process_fork", &["struct task_struct *, struct task_struct *"]),
    ("sched_process_exec", &["struct task_struct *, pid_t, struct linux_binprm *"]),
    ("sched_process_exit", &["struct task_struct *", "struct task_struct *, bool"]),
    ("cgroup_mkdir", &["struct cgroup *, const char *"]),
    ("cgroup_rmdir", &["struct cgroup *, const char *"]),
    ("cgroup_rename", &["struct cgroup *, const char *"]),
    ("cgroup_attach_task", &["struct cgroup *, const char *, struct task_struct *, bool"]),
    ("mark_victim", &["int", "struct task_struct *, uid_t"]),
    ("mm_vmscan_direct_reclaim_begin", &["int, gfp_t", "gfp_t, int, struct mem_cgroup *"]),
    ("mm_vmscan_direct_reclaim_end", &["long unsigned int", "long unsigned int, struct mem_cgroup *"]),
    ("mm_vmscan_memcg_reclaim_begin", &["int, gfp_t", "gfp_t, int, struct mem_cgroup *"]),
    ("mm_vmscan_memcg_reclaim_end", &["long unsigned int", "long unsigned int, struct mem_cgroup *"]),
    ("task", &["struct bpf_iter_meta *, struct task_struct *"]),
];

#[test]
fn every_hook_has_a_prototype_that_its_program_knows() {
    let btf = Btf::read(VMLINUX.as_ref()).unwrap();
    let mut unknown = Vec::new();
    for program in PROGRAMS {
        let found = match program.hook {
            Hook::Iterator => btf.function_prototype(&format!("bpf_iter_{}", program.name)),
            Hook::Tracepoint | Hook::TracedWait => btf.tracepoint_prototype(program.name),
            // Those of a module that is loaded later: `tests/kvm.rs`.
            Hook::Kvm => continue,
        };
        let found = found.unwrap_or_else(|| "no such hook".to_owned());
        println!("fact: hook {} {found}", program.name);
        let known = KNOWN.iter().find(|(name, _)| *name == program.name);
        if !known.is_some_and(|(_, forms)| forms.contains(&found.as_str())) {
            unknown.push(format!("{}({found}), known are {known:?}", program.name));
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
