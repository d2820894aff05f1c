//! Run-queue wait histograms of containers: the sum over their cgroups' slots, which come and go.

use std::io;

use foldhash::HashMap;
use podscope_abi::{Cgroup, Histogram};

use crate::accounting::ContainerKey;
use crate::kernel::Kernel;

/// How long the slot of a retired cgroup rests before another one gets it: a task that died in it may still close.
const REST_NS: u64 = 60_000_000_000;

/// A container's histogram.
pub(crate) type ByContainer = HashMap<ContainerKey, Box<Histogram>>;

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
}

impl Waits {
    /// Reads all slots: the number of cgroups in the kernel's map, and the sum for each container.
    ///
    /// # Errors
    /// When the kernel's map cannot be listed.
    pub(crate) fn read<'a>(
        &mut self,
        kernel: &mut Kernel,
        owner: impl Fn(u64) -> Option<&'a ContainerKey>,
    ) -> io::Result<(u64, ByContainer)> {
        let mut groups: Vec<(u64, Cgroup)> = Vec::new();
        let count = kernel.cgroups.for_each(|id, cgroup| groups.push((*id, *cgroup)))?;
        let mut sums = self.retired.clone();
        for (id, cgroup) in groups.into_iter().filter(|(_, cgroup)| cgroup.slot != 0) {
            let Some(owner) = owner(id) else { continue };
            self.slots.insert(id, (cgroup.slot, owner.clone()));
            if let Some(waits) = kernel.waits(cgroup.slot) {
                add(sums.entry(owner.clone()).or_insert_with(|| Box::new(Histogram::EMPTY)), &waits);
            }
        }
        self.last = sums.clone();
        for (container, base) in &self.base {
            if let Some(sum) = sums.get_mut(container) {
                subtract(sum, base);
            }
        }
        Ok((count as u64, sums))
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
            add(self.retired.entry(owner).or_insert_with(|| Box::new(Histogram::EMPTY)), &waits);
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
