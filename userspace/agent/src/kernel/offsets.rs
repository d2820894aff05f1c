//! Fills [`Offsets`] from the running kernel's BTF.

use podscope_abi::Offsets;

use super::btf::Btf;

/// What the programs need to know besides the kernel's types.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// Controller whose v1 hierarchy we account by; `None` for the default (v2) hierarchy.
    pub controller: Option<&'a str>,
    /// Number of that hierarchy (0 for v2).
    pub hierarchy: u32,
    /// Trace waits although the kernel may count them (for comparing both).
    pub trace_wait: bool,
    /// Leave out what is looked at in every context switch: see [`crate::detail`].
    pub closing_only: bool,
}

/// The members without which nothing can be counted.
const NEEDED: &[&str] =
    &["pid", "tgid", "state", "group_leader", "start", "cgroups", "signal", "run", "cgroup_kn", "kn_id"];

/// Resolves all members.
///
/// # Errors
/// The name of a member (or of the controller) that the kernel lacks and that nothing can be counted without.
pub fn resolve(btf: &Btf, wishes: Wishes<'_>) -> Result<Offsets, String> {
    let mut missing = None;
    let mut offsets = Offsets::resolve(|field, path| {
        let found = btf.member(path);
        if found.is_none() && NEEDED.contains(&field) {
            missing = Some(path);
        }
        found.map(|member| member.bit_offset / 8)
    });
    if let Some(path) = missing {
        return Err(format!("the kernel's BTF has no {path}"));
    }
    if let Some(bit) = btf.member("task_struct.sched_contributes_to_load").filter(|m| m.bit_size == 1) {
        offsets.load_mask = 1 << (bit.bit_offset % 8);
    }
    resident_sizes(btf, &mut offsets);
    if let Some(controller) = wishes.controller {
        let id = btf
            .enumerator("cgroup_subsys_id", &format!("{controller}_cgrp_id"))
            .ok_or_else(|| format!("the kernel's BTF has no cgroup controller {controller}"))?;
        offsets.subsys_slot = id.saturating_add(1);
    }
    offsets.hierarchy = wishes.hierarchy;
    let parameters = |name| btf.tracepoint(name).unwrap_or_default();
    offsets.switch_has_state = u32::from(parameters("sched_switch").len() >= 4);
    offsets.exit_has_group_dead = u32::from(parameters("sched_process_exit").len() >= 2);
    offsets.victim_has_task = u32::from(parameters("mark_victim").first() == Some(&true));
    let counts_waits = offsets.run_delay != podscope_abi::offsets::ABSENT;
    offsets.trace_wait = u32::from(!wishes.closing_only && (wishes.trace_wait || !counts_waits));
    offsets.closing_only = u32::from(wishes.closing_only);
    Ok(offsets)
}

/// `mm_struct.rss_stat` is an array of per-CPU counters from 6.2 and a struct of an array of longs before.
fn resident_sizes(btf: &Btf, offsets: &mut Offsets) {
    let Some(member) = btf.member("mm_struct.rss_stat") else { return };
    match btf.array_element(&member, "percpu_counter") {
        Some((size, true)) => {
            offsets.rss_percpu = 1;
            offsets.rss_stride = size;
        }
        _ => offsets.rss_stride = 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::VMLINUX;

    #[test]
    fn resolves_the_running_kernel() {
        let btf = Btf::read(std::path::Path::new(VMLINUX)).unwrap();
        let offsets = resolve(&btf, Wishes { controller: Some("cpuacct"), hierarchy: 2, ..Wishes::default() }).unwrap();
        assert!(offsets.subsys_slot > 0);
        assert_eq!(offsets.load_mask.count_ones(), 1);
        assert!(offsets.rss_stride >= 8);
        let error = resolve(&btf, Wishes { controller: Some("nonsense"), ..Wishes::default() }).unwrap_err();
        assert!(error.contains("nonsense"), "{error}");
    }
}
