//! Figures of cgroups, read no more often than they are worth: opening their files is most of what a collection costs.

use std::collections::HashMap;

use crate::accounting::ContainerKey;
use crate::cgroup::{Figures, Reader};

/// Figures other than CPU and memory are read again after so long.
const SELDOM_NS: u64 = 4_900_000_000;

/// The last figures of each group.
#[derive(Debug, Default)]
pub(crate) struct GroupFigures(HashMap<ContainerKey, Known>);

#[derive(Debug)]
struct Known {
    figures: Figures,
    /// When all of them were read, and when the group was last asked for, monotonic ns.
    whole_ns: u64,
    asked_ns: u64,
}

impl GroupFigures {
    /// Figures of a group: CPU and memory as they are now, the others at most five seconds old.
    pub(crate) fn read(&mut self, reader: &mut Reader, key: &ContainerKey, path: &str, now: u64) -> Figures {
        match self.0.get_mut(key) {
            Some(known) if now.saturating_sub(known.whole_ns) < SELDOM_NS => {
                known.figures.cpu = reader.cpu(path);
                known.figures.memory = reader.memory(path);
                known.asked_ns = now;
                known.figures.clone()
            }
            _ => {
                let figures = reader.read(path);
                self.0.insert(key.clone(), Known { figures: figures.clone(), whole_ns: now, asked_ns: now });
                figures
            }
        }
    }

    /// Forgets the groups that this collection has not asked for.
    pub(crate) fn forget_unread(&mut self, now: u64) {
        self.0.retain(|_, known| known.asked_ns == now);
    }
}
