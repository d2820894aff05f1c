//! Figures of cgroups, read no more often than they are worth, from files that stay open as far as descriptors allow.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::accounting::ContainerKey;
use crate::cgroup::{Figures, Group, Reader};
use crate::kernel::monotonic_ns;

/// Figures other than CPU and memory are read again after so long.
const SELDOM_NS: u64 = 4_900_000_000;

/// Descriptors wanted for files of cgroups; enough for 2,730 groups.
const DESCRIPTORS: u64 = 16_384;

/// The last figures of each group.
#[derive(Debug)]
pub(crate) struct GroupFigures {
    groups: HashMap<ContainerKey, Known>,
    /// Groups whose files stay open, and how many may.
    open: usize,
    most_open: usize,
}

#[derive(Debug)]
struct Known {
    group: Group,
    figures: Figures,
    usage: Usage,
    /// When all of them were read, and when the group was last asked for, monotonic ns.
    whole_ns: u64,
    asked_ns: u64,
}

/// How much CPU time a group uses, over a second at least: a shorter span says little.
#[derive(Debug, Default)]
struct Usage {
    /// Where the span begins: monotonic ns, and the group's counter.
    since: Option<(u64, u64)>,
    cpus: Option<f64>,
}

impl Usage {
    const SPAN_NS: u64 = 1_000_000_000;

    /// `used_ns`: the group's counter; `now`: when it was read, monotonic ns.
    fn update(&mut self, used_ns: Option<u64>, now: u64) {
        let Some(used_ns) = used_ns else { return };
        match self.since {
            Some((since, _)) if now.saturating_sub(since) < Self::SPAN_NS => return,
            Some((since, before)) if used_ns >= before => {
                self.cpus = Some((used_ns - before) as f64 / (now - since) as f64);
            }
            _ => self.cpus = None,
        }
        self.since = Some((now, used_ns));
    }
}

impl GroupFigures {
    /// Raises the number of descriptors that the process may have, and takes half of them at most.
    pub(crate) fn new() -> Self {
        let most_open = (raise_descriptors() / 2).min(DESCRIPTORS) as usize / Group::FILES;
        Self { groups: HashMap::new(), open: 0, most_open }
    }

    /// Figures of a group: CPU and memory as they are now, the others at most five seconds old.
    pub(crate) fn read(&mut self, reader: &mut Reader, key: &ContainerKey, path: &Arc<str>, now: u64) -> Figures {
        let Some(known) = self.groups.get_mut(key).filter(|known| known.group.path() == &**path) else {
            return self.take(reader, key, path, now);
        };
        known.asked_ns = now;
        if now.saturating_sub(known.whole_ns) < SELDOM_NS {
            known.figures.cpu = reader.cpu(&mut known.group);
            known.figures.memory = reader.memory(&mut known.group);
        } else {
            known.figures = reader.read(&mut known.group);
            known.whole_ns = now;
        }
        known.usage.update(known.figures.cpu.usage_ns, monotonic_ns());
        known.figures.clone()
    }

    /// CPUs' worth of time that a group has used of late.
    pub(crate) fn cpus(&self, key: &ContainerKey) -> Option<f64> {
        self.groups.get(key)?.usage.cpus
    }

    fn take(&mut self, reader: &mut Reader, key: &ContainerKey, path: &Arc<str>, now: u64) -> Figures {
        if let Some(before) = self.groups.remove(key) {
            self.open -= usize::from(before.group.keeps());
        }
        let mut group = Group::new(Arc::clone(path), self.open < self.most_open);
        self.open += usize::from(group.keeps());
        let figures = reader.read(&mut group);
        let mut usage = Usage::default();
        usage.update(figures.cpu.usage_ns, monotonic_ns());
        let known = Known { group, figures: figures.clone(), usage, whole_ns: now, asked_ns: now };
        self.groups.insert(key.clone(), known);
        figures
    }

    /// Forgets the groups that this collection has not asked for.
    pub(crate) fn forget_unread(&mut self, now: u64) {
        self.groups.retain(|_, known| {
            let asked = known.asked_ns == now;
            self.open -= usize::from(!asked && known.group.keeps());
            asked
        });
    }
}

/// Raises the soft limit of open files towards the hard one, which needs no privilege, and returns it.
fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Absent is unlimited.
    let wanted = maximum.unwrap_or(u64::MAX).min(2 * DESCRIPTORS);
    let Some(current) = current.filter(|&current| current < wanted) else { return wanted };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!("cannot raise the number of open files from {current} to {wanted}: {error}");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_over_a_second_at_least() {
        const SECOND: u64 = Usage::SPAN_NS;
        let mut usage = Usage::default();
        let mut after = |used_ns, now| {
            usage.update(used_ns, now);
            usage.cpus
        };
        assert_eq!(after(Some(7 * SECOND), 10 * SECOND), None);
        assert_eq!(after(Some(8 * SECOND), 10 * SECOND + SECOND / 2), None, "too short");
        assert_eq!(after(Some(10 * SECOND), 12 * SECOND), Some(1.5));
        assert_eq!(after(None, 13 * SECOND), Some(1.5), "not read");
        assert_eq!(after(Some(10 * SECOND), 14 * SECOND), Some(0.0));
        assert_eq!(after(Some(1), 16 * SECOND), None, "another group has its path");
    }
}
