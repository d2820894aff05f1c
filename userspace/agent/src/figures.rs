//! Figures of cgroups, read no more often than they are worth, from files that stay open as far as descriptors allow.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::accounting::ContainerKey;
use crate::cgroup::{Figures, Group, Reader};

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
    /// When all of them were read, and when the group was last asked for, monotonic ns.
    whole_ns: u64,
    asked_ns: u64,
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
        known.figures.clone()
    }

    fn take(&mut self, reader: &mut Reader, key: &ContainerKey, path: &Arc<str>, now: u64) -> Figures {
        if let Some(before) = self.groups.remove(key) {
            self.open -= usize::from(before.group.keeps());
        }
        let mut group = Group::new(Arc::clone(path), self.open < self.most_open);
        self.open += usize::from(group.keeps());
        let figures = reader.read(&mut group);
        self.groups.insert(key.clone(), Known { group, figures: figures.clone(), whole_ns: now, asked_ns: now });
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
