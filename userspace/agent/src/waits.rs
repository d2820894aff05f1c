//! Run-queue wait histograms of containers: the sum over their cgroups' slots, which come and go.

use std::hash::Hash;
use std::io;

use foldhash::HashMap;
use podscope_abi::{Cgroup, Histogram, Vcpu};

use crate::accounting::ContainerKey;
use crate::kernel::Kernel;
use crate::vm::{Machines, Run, VcpuKey, VcpuThread};

/// How long the slot of a retired cgroup rests before another one gets it: a task that died in it may still close.
const REST_NS: u64 = 60_000_000_000;

/// A container's histogram.
pub(crate) type ByContainer = HashMap<ContainerKey, Box<Histogram>>;

/// What the kernel side keeps of a virtual CPU.
#[derive(Clone, Debug)]
pub struct VcpuFigures {
    /// Its run-queue waits.
    pub waits: Box<Histogram>,
    /// How KVM has run it, where it does.
    pub kvm: Option<Run>,
}

impl VcpuFigures {
    const fn new(waits: Box<Histogram>) -> Self {
        Self { waits, kvm: None }
    }

    /// Adds what stands in a slot.
    fn add(&mut self, waits: &Histogram, kvm: Option<Run>) {
        add(&mut self.waits, waits);
        if let Some(kvm) = kvm {
            self.kvm.get_or_insert_default().add(&kvm);
        }
    }
}

/// The same by virtual CPU.
pub(crate) type ByVcpu = HashMap<VcpuKey, VcpuFigures>;

/// What a reading found.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Cgroups in the kernel's map.
    pub(crate) cgroups: u64,
    /// With the waits of a machine's virtual CPUs among those of its container.
    pub(crate) by_container: ByContainer,
    pub(crate) by_vcpu: ByVcpu,
}

/// The slot of a virtual CPU's thread.
#[derive(Debug)]
struct VcpuSlot {
    thread: VcpuThread,
    container: ContainerKey,
    slot: u32,
}

/// What has to be remembered for the sums never to fall.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    slots: HashMap<u64, (u32, ContainerKey)>,
    /// Of cgroups that are gone.
    retired: ByContainer,
    /// At the last reading.
    last: ByContainer,
    /// What was published under another name.
    base: ByContainer,
    resting: Vec<(u64, u32)>,
    /// Virtual CPUs by thread id.
    vcpus: HashMap<u32, VcpuSlot>,
    /// Of virtual CPUs whose thread is gone.
    retired_vcpus: ByVcpu,
    /// At the last reading.
    last_runs: HashMap<VcpuKey, Run>,
}

impl Waits {
    /// Reads all slots: the number of cgroups in the kernel's map, and the sum for each container. `now`: monotonic,
    /// ns.
    ///
    /// # Errors
    /// When the kernel's map cannot be listed.
    pub(crate) fn read<'a>(
        &mut self,
        kernel: &mut Kernel,
        owner: impl Fn(u64) -> Option<&'a ContainerKey>,
        now: u64,
    ) -> io::Result<Read> {
        let mut groups: Vec<(u64, Cgroup)> = Vec::new();
        let count = kernel.cgroups.for_each(|id, cgroup| groups.push((*id, *cgroup)))?;
        let mut sums = self.retired.clone();
        for (id, cgroup) in groups.into_iter().filter(|(_, cgroup)| cgroup.slot != 0) {
            let Some(owner) = owner(id) else { continue };
            self.slots.insert(id, (cgroup.slot, owner.clone()));
            if let Some(waits) = kernel.waits(cgroup.slot) {
                add(entry(&mut sums, owner), &waits);
            }
        }
        let mut by_vcpu = self.retired_vcpus.clone();
        for VcpuSlot { thread, container, slot } in self.vcpus.values() {
            if let Some(waits) = kernel.waits(*slot) {
                add(entry(&mut sums, container), &waits);
                let run = kernel.kvm(*slot).map(|kvm| Run::of(&kvm, now));
                figures(&mut by_vcpu, &thread.vcpu).add(&waits, run);
            }
        }
        for (vcpu, figures) in &mut by_vcpu {
            // What lasted at the last reading may have turned out to be something else.
            if let (Some(run), Some(last)) = (&mut figures.kvm, self.last_runs.get(vcpu)) {
                run.never_below(last);
            }
        }
        self.last_runs = by_vcpu.iter().filter_map(|(vcpu, figures)| Some((vcpu.clone(), figures.kvm?))).collect();
        self.last = sums.clone();
        for (container, base) in &self.base {
            if let Some(sum) = sums.get_mut(container) {
                subtract(sum, base);
            }
        }
        Ok(Read { cgroups: count as u64, by_container: sums, by_vcpu })
    }

    /// Gives each new virtual CPU a slot of its own as long as there are any, and takes back those of the ended ones.
    pub(crate) fn follow<'a>(
        &mut self,
        kernel: &mut Kernel,
        machines: &Machines,
        owner: impl Fn(u64) -> Option<&'a ContainerKey>,
        now: u64,
    ) {
        let alive = machines.vcpus();
        let over: Vec<u32> =
            self.vcpus.iter().filter(|(id, known)| alive.get(id) != Some(&known.thread)).map(|(id, _)| *id).collect();
        for id in over {
            kernel.vcpus.remove(&id);
            let Some(VcpuSlot { thread, container, slot }) = self.vcpus.remove(&id) else { continue };
            if let Some(waits) = kernel.waits(slot) {
                add(entry(&mut self.retired, &container), &waits);
                // It has ended: nothing of it lasts.
                let run = kernel.kvm(slot).map(|kvm| Run::of(&kvm, 0));
                figures(&mut self.retired_vcpus, &thread.vcpu).add(&waits, run);
            }
            self.resting.push((now, slot));
        }
        for (id, thread) in alive {
            let (false, Some(container)) = (self.vcpus.contains_key(id), owner(thread.cgroup)) else { continue };
            let Some(slot) = kernel.take_slot() else { break };
            if kernel.vcpus.set(id, &Vcpu { leader_start: thread.leader_start, slot, pad: 0 }).is_err() {
                kernel.free_slot(slot);
                break;
            }
            self.vcpus.insert(*id, VcpuSlot { thread: thread.clone(), container: container.clone(), slot });
        }
        self.retired_vcpus.retain(|(machine, _), _| machines.get(machine).is_some());
    }

    /// A container is published under another name from now on, at zero.
    pub(crate) fn restart(&mut self, container: &ContainerKey) {
        if let Some(last) = self.last.get(container) {
            self.base.insert(container.clone(), last.clone());
        }
    }

    /// A cgroup is gone: its waits stay in its container's sum, its slot rests.
    pub(crate) fn retire(&mut self, kernel: &Kernel, cgroup: u64, now: u64) {
        let Some((slot, owner)) = self.slots.remove(&cgroup) else { return };
        if let Some(waits) = kernel.waits(slot) {
            add(entry(&mut self.retired, &owner), &waits);
        }
        self.resting.push((now, slot));
    }

    /// Gives rested slots back.
    pub(crate) fn reuse(&mut self, kernel: &mut Kernel, now: u64) {
        self.resting.retain(|(since, slot)| {
            let rests = now.saturating_sub(*since) <= REST_NS;
            if !rests {
                kernel.free_slot(*slot);
            }
            rests
        });
    }

    /// Forgets containers that are gone.
    pub(crate) fn retain(&mut self, alive: impl Fn(&ContainerKey) -> bool) {
        for map in [&mut self.retired, &mut self.base] {
            map.retain(|container, _| alive(container));
        }
    }
}

fn figures<'a>(sums: &'a mut ByVcpu, vcpu: &VcpuKey) -> &'a mut VcpuFigures {
    sums.entry(vcpu.clone()).or_insert_with(|| VcpuFigures::new(Box::new(Histogram::EMPTY)))
}

fn entry<'a, K: Clone + Eq + Hash>(sums: &'a mut HashMap<K, Box<Histogram>>, key: &K) -> &'a mut Histogram {
    sums.entry(key.clone()).or_insert_with(|| Box::new(Histogram::EMPTY))
}

fn each(to: &mut Histogram, from: &Histogram, apply: impl Fn(u64, u64) -> u64) {
    for (to, from) in to.buckets.iter_mut().zip(&from.buckets) {
        *to = apply(*to, *from);
    }
    to.zero = apply(to.zero, from.zero);
    to.over = apply(to.over, from.over);
    to.sum_ns = apply(to.sum_ns, from.sum_ns);
}

fn add(to: &mut Histogram, from: &Histogram) {
    each(to, from, u64::saturating_add);
}

fn subtract(to: &mut Histogram, from: &Histogram) {
    each(to, from, u64::saturating_sub);
}
