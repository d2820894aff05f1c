//! The names of control groups: id ↔ path in the accounting hierarchy.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::sync::Arc;

use super::layout::Layout;

/// What a walk over the accounting hierarchy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Id (the inode of the directory) and path from the hierarchy's root, `/` first, then level by level.
    pub groups: Vec<(u64, Arc<str>)>,
    /// Directories beyond the maximum; what lies below them was not counted.
    pub beyond: u64,
    /// Directories that were there but could not be read; what lies below them was not found.
    pub unreadable: u64,
}

/// Walks the accounting hierarchy, taking at most `max` directories. What vanishes on the way is left out.
///
/// # Errors
/// If the root cannot be read.
pub fn scan(layout: &Layout, max: usize) -> io::Result<Scan> {
    let mount = &layout.accounting.mount;
    let root = if mount.below.is_empty() { "/" } else { &mount.below };
    let mut scan = Scan { groups: vec![(fs::metadata(&mount.point)?.ino(), root.into())], ..Scan::default() };
    let mut at = 0;
    while let Some((_, parent)) = scan.groups.get(at).cloned() {
        let entries = mount.directory(&parent).map_or(Err(io::ErrorKind::NotFound.into()), fs::read_dir);
        match entries {
            Ok(entries) => scan.take_children(&parent, entries, max),
            Err(error) if at == 0 => return Err(error),
            Err(error) if is_gone(&error) => {}
            Err(_) => scan.unreadable += 1,
        }
        at += 1;
    }
    Ok(scan)
}

impl Scan {
    fn take_children(&mut self, parent: &str, entries: fs::ReadDir, max: usize) {
        for entry in entries {
            match entry {
                Ok(entry) if !entry.file_type().is_ok_and(|kind| kind.is_dir()) => {}
                Ok(_) if self.groups.len() >= max => self.beyond += 1,
                Ok(entry) => {
                    let path = format!("{}/{}", parent.trim_end_matches('/'), entry.file_name().to_string_lossy());
                    self.groups.push((entry.ino(), path.into()));
                }
                Err(error) if is_gone(&error) => {}
                Err(_) => self.unreadable += 1,
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// The groups known so far. Those removed keep their names for a while, because what ran in them is reported
/// after they are gone.
///
/// Owns no clock: `now` is nanoseconds of one monotonic clock throughout.
#[derive(Debug)]
pub struct Tree {
    groups: HashMap<u64, Group>,
    /// Living groups by path.
    ids: HashMap<Arc<str>, u64>,
    /// Removed groups, the longest gone first; an entry counts only where the group still says the same.
    removed: VecDeque<(u64, u64)>,
    capacity: usize,
    linger_ns: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Group {
    path: Arc<str>,
    inserted_ns: u64,
    removed_ns: Option<u64>,
}

impl Tree {
    /// A tree of at most `capacity` groups that keeps removed ones for `linger_ns`.
    pub fn new(capacity: usize, linger_ns: u64) -> Self {
        let (groups, ids, removed) = Default::default();
        Self { groups, ids, removed, capacity, linger_ns, dropped: 0 }
    }

    /// Takes the result of a walk that began at `started`: what is new comes in, what is missing counts as removed.
    ///
    /// What was inserted or removed while the walk went on stays as it is. Where the walk was incomplete, nothing
    /// counts as removed.
    pub fn adopt(&mut self, scan: &Scan, started: u64, now: u64) {
        if scan.beyond == 0 && scan.unreadable == 0 {
            let found: HashSet<u64> = scan.groups.iter().map(|&(id, _)| id).collect();
            let is_gone = |id: &u64| !found.contains(id) && self.groups[id].inserted_ns < started;
            let gone: Vec<u64> = self.ids.values().copied().filter(is_gone).collect();
            gone.into_iter().for_each(|id| self.remove(id, now));
        }
        for (id, path) in &scan.groups {
            let removed_ns = self.groups.get(id).and_then(|group| group.removed_ns);
            if removed_ns.is_none_or(|removed| removed < started) {
                self.insert(*id, path.clone(), now);
            }
        }
    }

    /// A group was made or found. False if there is no room: all of the capacity is living.
    pub fn insert(&mut self, id: u64, path: impl Into<Arc<str>>, now: u64) -> bool {
        let path = path.into();
        self.expire(now);
        if !self.groups.contains_key(&id) && self.groups.len() >= self.capacity && !self.drop_oldest_removed() {
            self.dropped += 1;
            return false;
        }
        // Another living group of this name has been removed unseen.
        if let Some(&other) = self.ids.get(&path).filter(|&&other| other != id) {
            self.remove(other, now);
        }
        let group = Group { path: path.clone(), inserted_ns: now, removed_ns: None };
        if let Some(Group { path: old, removed_ns: None, .. }) = self.groups.insert(id, group) {
            self.ids.remove(&old);
        }
        self.ids.insert(path, id);
        true
    }

    /// A group was renamed, and with it all below it. Version 1 alone allows that.
    pub fn rename(&mut self, id: u64, path: &str, now: u64) {
        let Some(old) = self.groups.get(&id).map(|group| group.path.clone()) else {
            self.insert(id, path, now);
            return;
        };
        let below = |other: &str| other.strip_prefix(&*old).filter(|tail| tail.starts_with('/')).map(str::to_owned);
        let moved: Vec<_> = self.living().filter_map(|(id, other)| Some((id, below(other)?))).collect();
        self.insert(id, path, now);
        for (id, tail) in moved {
            self.insert(id, format!("{path}{tail}"), now);
        }
    }

    /// A group was removed. Its name is known until it has been gone for long or the room is needed.
    pub fn remove(&mut self, id: u64, now: u64) {
        let Some(group) = self.groups.get_mut(&id).filter(|group| group.removed_ns.is_none()) else {
            return;
        };
        group.removed_ns = Some(now);
        self.ids.remove(&group.path);
        self.removed.push_back((now, id));
        // Only entries of groups that came back can exceed the capacity.
        if self.removed.len() > 2 * self.capacity {
            let groups = &self.groups;
            self.removed.retain(|entry| is_removed(groups, entry));
        }
    }

    /// Forgets what has been gone for long.
    pub fn expire(&mut self, now: u64) {
        while let Some(entry) = self.removed.pop_front_if(|(since, _)| now.saturating_sub(*since) >= self.linger_ns) {
            self.forget(entry);
        }
    }

    /// The path of a group, living or removed not long ago.
    pub fn path(&self, id: u64) -> Option<&Arc<str>> {
        self.groups.get(&id).map(|group| &group.path)
    }

    /// The living group at a path.
    pub fn id(&self, path: &str) -> Option<u64> {
        self.ids.get(path).copied()
    }

    /// Every living group, in no particular order.
    pub fn living(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.ids.iter().map(|(path, &id)| (id, path))
    }

    /// Groups known, living and removed.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Insertions refused because there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Makes room by forgetting the group that has been gone longest; false if there is none.
    fn drop_oldest_removed(&mut self) -> bool {
        while let Some(entry) = self.removed.pop_front() {
            if self.forget(entry) {
                return true;
            }
        }
        false
    }

    fn forget(&mut self, entry: (u64, u64)) -> bool {
        is_removed(&self.groups, &entry) && self.groups.remove(&entry.1).is_some()
    }
}

/// Whether the group of a queue entry has been gone since then.
fn is_removed(groups: &HashMap<u64, Group>, (since, id): &(u64, u64)) -> bool {
    groups.get(id).is_some_and(|group| group.removed_ns == Some(*since))
}
