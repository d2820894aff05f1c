//! OOM kills: the kernel's hook names the victim, its log says whose limit was enforced.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod kmsg;
mod line;

use std::collections::VecDeque;
use std::sync::Arc;

pub use kmsg::Kmsg;
pub use line::{Constraint, Line, OomLine};

use crate::cgroup::{Owner, owner};
use crate::kernel::Oom;

/// How long a kill waits for its line, which the kernel writes before it calls the hook.
const PATIENCE_NS: u64 = 2_000_000_000;

/// How long a line waits for its kill. Kills are read once per collection, so longer than any interval.
const LINE_LIFE_NS: u64 = 600_000_000_000;

/// Lines, and kills, that are kept at most.
const KEPT: usize = 1024;

/// Whose limit an OOM kill enforced: the values of the attribute `podscope.oom.scope`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The victim's container's, or that of a group within it.
    Container,
    /// Its pod's.
    Pod,
    /// None: the node was out of memory.
    Node,
    /// Another group's (a quality-of-service class, all pods, a service), or that of a set of memory nodes.
    Other,
    /// The log does not say: it cannot be read, the kernel left the line out (after ten in five seconds), or the
    /// process was dying already.
    Unknown,
}

impl Scope {
    /// Every scope, in the order of the attribute's values.
    pub const ALL: [Self; 5] = [Self::Container, Self::Pod, Self::Node, Self::Other, Self::Unknown];

    /// The combination of `podscope.container.oom.kills` that counts it.
    pub const fn combination(self) -> usize {
        self as usize
    }
}

/// Decides whose limit was enforced.
///
/// `victim`: path of the victim's cgroup; where it is not known, the log's own is taken. Groups are compared by the
/// ids in their paths, because the log's paths and ours may begin at different roots.
pub fn scope(line: Option<&OomLine>, victim: Option<&str>) -> Scope {
    let Some(line) = line else { return Scope::Unknown };
    match line.constraint {
        Constraint::None => return Scope::Node,
        Constraint::Cpuset | Constraint::MemoryPolicy => return Scope::Other,
        Constraint::Memcg => {}
    }
    let victim = victim.or(line.task_memcg.as_deref()).map(owner);
    let (Some(limit), Some(victim)) = (line.oom_memcg.as_deref().map(owner), victim) else { return Scope::Unknown };
    let group = line.task_memcg.as_deref().filter(|_| line.with_group).map(owner);
    if group.is_some_and(|group| !is_within(&victim, &group)) {
        // Killed on its own, without a line, after the group whose line this is.
        return Scope::Unknown;
    }
    match limit {
        Owner::Container { .. } if is_within(&victim, &limit) => Scope::Container,
        Owner::Pod { .. } if is_within(&victim, &limit) => Scope::Pod,
        _ => Scope::Other,
    }
}

/// Whether a process belongs to the container or pod that a group belongs to.
fn is_within(process: &Owner, group: &Owner) -> bool {
    match group {
        Owner::Container { id, .. } => process.container_id() == Some(id),
        Owner::Pod { uid, .. } => process.pod_uid() == Some(uid),
        Owner::Host => true,
    }
}

/// Brings kills and lines together. Owns no clock: `now` is nanoseconds of one monotonic clock throughout.
#[derive(Debug, Default)]
pub struct OomTracker {
    lines: VecDeque<(u64, OomLine)>,
    killing: Killing,
    pending: VecDeque<(u64, Oom)>,
    /// Processes whose kill has been taken; the kernel's hook may name several threads of one.
    taken: VecDeque<(u32, u64)>,
    dropped: u64,
}

/// Where in the kernel's account of a kill the last line stood. Kills follow one another: the kernel holds a lock.
#[derive(Debug, Default)]
enum Killing {
    /// Nowhere that is known.
    #[default]
    Unknown,
    /// A victim is chosen.
    Chosen(OomLine),
    /// It is killed; its group may follow.
    Killed(OomLine),
    /// Its group is being killed, each with this line.
    Group(OomLine),
}

impl OomTracker {
    /// Takes a line of the log.
    pub fn line(&mut self, line: Line, now: u64) {
        let killing = std::mem::take(&mut self.killing);
        self.killing = match (line, killing) {
            (Line::Chosen(line), _) => {
                self.keep(line.clone(), now);
                Killing::Chosen(line)
            }
            (Line::Killed { .. }, Killing::Chosen(line)) => Killing::Killed(line),
            (Line::Killed { pid }, Killing::Group(line)) => {
                // The victim is named once more among its group.
                if pid != line.pid {
                    self.keep(OomLine { pid, ..line.clone() }, now);
                }
                Killing::Group(line)
            }
            // The kernel left out the line of this one.
            (Line::Killed { .. }, _) => Killing::Unknown,
            (Line::Group { path }, Killing::Chosen(line) | Killing::Killed(line)) => {
                Killing::Group(OomLine { task_memcg: Some(path), with_group: true, ..line })
            }
            // The last one killed was not of the group before, but the victim that this group follows.
            (Line::Group { .. }, Killing::Group(_)) => {
                self.lines.pop_back_if(|(_, last)| last.with_group);
                Killing::Unknown
            }
            (Line::Group { .. }, _) => Killing::Unknown,
        };
    }

    fn keep(&mut self, line: OomLine, now: u64) {
        let is_old = |(seen, _): &(u64, OomLine)| now.saturating_sub(*seen) > LINE_LIFE_NS;
        while self.lines.len() >= KEPT || self.lines.front().is_some_and(is_old) {
            self.lines.pop_front();
        }
        self.lines.push_back((now, line));
    }

    /// Takes a kill. One process is killed once, however many of its threads the kernel names.
    pub fn take(&mut self, oom: Oom, now: u64) {
        let process = (oom.tgid, oom.leader_start);
        if oom.leader_start != 0 {
            if self.taken.contains(&process) {
                return;
            }
            self.taken.truncate(KEPT - 1);
            self.taken.push_front(process);
        }
        if self.pending.len() >= KEPT {
            self.dropped += 1;
            return;
        }
        self.pending.push_back((now, oom));
    }

    /// The kills whose scope is decided now: their line was found, or they have waited for it long enough.
    pub fn resolve(&mut self, now: u64, path_of: impl Fn(u64) -> Option<Arc<str>>) -> Vec<(Oom, Scope)> {
        let mut resolved = Vec::new();
        for (since, oom) in std::mem::take(&mut self.pending) {
            let line = self.line_of(&oom);
            if line.is_none() && now.saturating_sub(since) < PATIENCE_NS {
                self.pending.push_back((since, oom));
                continue;
            }
            let scope = scope(line.as_ref(), path_of(oom.cgroup).as_deref());
            resolved.push((oom, scope));
        }
        resolved
    }

    /// Takes the newest line of a victim. The log names the process, the hook the thread that holds its memory.
    fn line_of(&mut self, oom: &Oom) -> Option<OomLine> {
        let is_its = |pid: u32| pid == oom.pid || (oom.tgid != 0 && pid == oom.tgid);
        let at = self.lines.iter().rposition(|(_, line)| is_its(line.pid))?;
        self.lines.remove(at).map(|(_, line)| line)
    }

    /// Whether a kill waits for its line.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Kills that were not counted because too many came between two collections.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests;
