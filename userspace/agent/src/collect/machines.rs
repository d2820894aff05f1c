//! What a collection does for virtual machines, and for those whose processes ran out of memory.

use super::Collector;
use crate::accounting::{Accounting, ContainerKey};
use crate::attribution::{Attribution, Identity};
use crate::publish::Names;
use crate::vm::Machines;

impl Collector {
    /// What the virtual machines have used, and who ran while their CPUs waited.
    pub(super) fn follow_machines(
        &mut self,
        machines: &mut Machines,
        accounting: &Accounting,
        attribution: &Attribution,
        names: &Names,
    ) {
        let now = accounting.now.monotonic_ns;
        machines.update(accounting, attribution, names, "/proc".as_ref());
        self.waits.follow(&mut self.kernel, machines, |cgroup| accounting.owner(cgroup), now);
        let named = |owner: &&ContainerKey| !matches!(attribution.identity(owner), Identity::Waiting);
        let owner = |cgroup| accounting.owner(cgroup).filter(named);
        let listed = self.kernel.blames.for_each(|blame, waited| machines.take_blame(blame, *waited, owner));
        if let Err(error) = listed {
            tracing::warn!("cannot list who ran before virtual CPUs: {error}");
        }
        machines.settle(accounting);
    }

    /// Credits OOM kills to their containers, once it is known whose limit each enforced.
    pub(super) fn count_oom_kills(
        &mut self,
        machines: &mut Machines,
        accounting: &mut Accounting,
        attribution: &Attribution,
        names: &Names,
    ) {
        let now = accounting.now.monotonic_ns;
        let tracker = &mut self.oom_kills;
        if tracker.is_waiting() || !self.kmsg.is_by_call() {
            self.kmsg.poll(|line| tracker.line(line, now));
        }
        for (oom, scope) in tracker.resolve(now, |cgroup| attribution.tree.path(cgroup).cloned()) {
            let owner = accounting.owner(oom.cgroup).cloned().unwrap_or(ContainerKey::Host);
            let name = names.get(&oom.exe).map_or(oom.comm.as_str(), |name| name);
            let (pid, pages) = (oom.pid, oom.resident_pages);
            match machines.count_oom_kill(&owner, oom.exe) {
                Some((vm, role)) => {
                    let (vm, role) = (format_args!("{}/{}", vm.namespace, vm.name), role.name());
                    tracing::warn!(pid, executable = name, pages, ?scope, %vm, role, "the OOM killer ended a VM's process");
                }
                None => tracing::warn!(pid, executable = name, pages, ?scope, ?owner, "the OOM killer ended a process"),
            }
            if let Some(container) = accounting.containers.get_mut(&owner)
                && let Some(count) = container.oom_kills.get_mut(scope.combination())
            {
                *count += 1;
            }
        }
    }
}
