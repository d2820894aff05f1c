//! The names of control groups: id ↔ path in the accounting hierarchy.

use std::collections::VecDeque;

use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::sync::Arc;

use super::layout::Layout;
use foldhash::{HashMap, HashSet};

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
            let is_old = |id: &u64| self.groups.get(id).is_some_and(|group| group.inserted_ns < started);
            let is_gone = |id: &u64| !found.contains(id) && is_old(id);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::cgroup::{Accounting, Mount, Version};

    const LINGER: u64 = 100;

    fn layout(point: &Path, below: &str) -> Layout {
        let mount = Mount { version: Version::V2, point: point.into(), below: below.into(), whole: below.is_empty() };
        let accounting = Accounting { mount, hierarchy: 0, controller: None };
        Layout { accounting, cpuacct: None, cpu: None, memory: None, blkio: None, unified: None }
    }

    fn path(tree: &Tree, id: u64) -> Option<&str> {
        tree.path(id).map(|path| &**path)
    }

    /// Trees recorded on nodes with either cgroup driver, made anew as directories.
    #[test]
    fn scan_finds_every_group_of_a_recorded_tree() {
        for recorded in [
            include_str!("../../testdata/cgroup/guest-cgroupfs.txt"),
            include_str!("../../testdata/cgroup/guest-systemd.txt"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let mut paths: Vec<&str> =
                recorded.lines().map(|line| line.strip_prefix("/sys/fs/cgroup").unwrap()).collect();
            for path in &paths {
                let group = root.path().join(&path[1..]);
                fs::create_dir_all(&group).unwrap();
                fs::write(group.join("cgroup.procs"), "").unwrap();
            }
            let scan = scan(&layout(root.path(), ""), 1000).unwrap();
            for (id, path) in &scan.groups {
                assert_eq!(*id, fs::metadata(root.path().join(&path[1..])).unwrap().ino(), "{path}");
            }
            assert_eq!(&*scan.groups[0].1, "/");
            let mut found: Vec<&str> = scan.groups[1..].iter().map(|(_, path)| &**path).collect();
            found.sort_unstable();
            paths.sort_unstable();
            assert_eq!(found, paths);
            assert_eq!((scan.beyond, scan.unreadable), (0, 0));
        }
    }

    #[test]
    fn scan_is_bounded_and_counts_what_it_left_out() {
        let root = tempfile::tempdir().unwrap();
        for group in ["a/x", "b/y", "c"] {
            fs::create_dir_all(root.path().join(group)).unwrap();
        }
        let all = scan(&layout(root.path(), "/kubepods"), 6).unwrap();
        assert_eq!((all.groups.len(), all.beyond), (6, 0));
        assert!(all.groups.iter().all(|(_, path)| path.starts_with("/kubepods")), "{all:?}");
        let some = scan(&layout(root.path(), ""), 4).unwrap();
        assert_eq!((some.groups.len(), some.beyond), (4, 2), "the upper levels come first");
        assert!(scan(&layout(&root.path().join("none"), ""), 4).is_err());
    }

    #[test]
    fn removed_groups_keep_their_name_for_a_while() {
        let mut tree = Tree::new(10, LINGER);
        tree.insert(7, "/a", 0);
        tree.remove(7, 50);
        assert_eq!((path(&tree, 7), tree.id("/a")), (Some("/a"), None));
        tree.expire(149);
        assert_eq!(path(&tree, 7), Some("/a"));
        tree.expire(150);
        assert_eq!(path(&tree, 7), None);
    }

    #[test]
    fn a_name_may_be_used_again() {
        let mut tree = Tree::new(10, LINGER);
        tree.insert(7, "/a", 0);
        tree.insert(8, "/a", 1);
        assert_eq!(tree.id("/a"), Some(8));
        assert_eq!(path(&tree, 7), Some("/a"), "what ran in the old one still has its name");
        tree.expire(101);
        assert_eq!((path(&tree, 7), path(&tree, 8)), (None, Some("/a")));
    }

    #[test]
    fn room_is_made_by_forgetting_the_longest_gone() {
        let mut tree = Tree::new(2, LINGER);
        tree.insert(1, "/a", 0);
        tree.insert(2, "/b", 0);
        assert!(!tree.insert(3, "/c", 0));
        assert_eq!((tree.dropped(), path(&tree, 3)), (1, None));
        tree.remove(2, 1);
        assert!(tree.insert(3, "/c", 2));
        assert_eq!((path(&tree, 1), path(&tree, 2), path(&tree, 3)), (Some("/a"), None, Some("/c")));
        assert_eq!(tree.dropped(), 1);
    }

    #[test]
    fn renaming_takes_the_groups_below_along() {
        let mut tree = Tree::new(10, LINGER);
        for (id, path) in [(1, "/a"), (2, "/a/x"), (3, "/ab")] {
            tree.insert(id, path, 0);
        }
        tree.rename(1, "/z", 1);
        assert_eq!([1, 2, 3].map(|id| path(&tree, id).unwrap()), ["/z", "/z/x", "/ab"]);
        assert_eq!((tree.id("/a"), tree.id("/z/x")), (None, Some(2)));
    }

    #[test]
    fn a_walk_removes_what_it_missed_but_not_what_came_meanwhile() {
        let mut tree = Tree::new(10, LINGER);
        for (id, path, now) in [(1, "/gone", 0), (2, "/stays", 0), (3, "/left", 0), (4, "/came", 10)] {
            tree.insert(id, path, now);
        }
        tree.remove(3, 11);
        let found = |beyond| Scan { groups: vec![(2, "/stays".into()), (3, "/left".into())], beyond, unreadable: 0 };
        tree.adopt(&found(1), 10, 12);
        assert_eq!(tree.id("/gone"), Some(1), "an incomplete walk proves nothing");
        tree.adopt(&found(0), 10, 12);
        let ids = ["/gone", "/stays", "/left", "/came"].map(|path| tree.id(path));
        assert_eq!(ids, [None, Some(2), None, Some(4)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u8),
        Rename(u64, u8),
        Remove(u64),
        Expire,
        Adopt(Vec<(u64, u8)>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..8u64, 0..8u8).prop_map(|(id, name)| Step::Insert(id, name)),
            1 => (0..8u64, 0..8u8).prop_map(|(id, name)| Step::Rename(id, name)),
            3 => (0..8u64).prop_map(Step::Remove),
            1 => Just(Step::Expire),
            1 => prop::collection::vec((0..8u64, 0..8u8), 0..8).prop_map(Step::Adopt),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn names_and_ids_agree_within_bounds(steps in steps(), capacity in 1usize..6) {
            let mut tree = Tree::new(capacity, 20);
            let name = |name: u8| if name < 4 { format!("/{name}") } else { format!("/0/{name}") };
            for (now, step) in steps.into_iter().enumerate() {
                let now = now as u64;
                match step {
                    Step::Insert(id, at) => prop_assert_eq!(tree.insert(id, name(at), now), tree.id(&name(at)) == Some(id)),
                    Step::Rename(id, at) => tree.rename(id, &name(at), now),
                    Step::Remove(id) => {
                        let before = path(&tree, id).map(str::to_owned);
                        tree.remove(id, now);
                        prop_assert_eq!(path(&tree, id).map(str::to_owned), before);
                    }
                    Step::Expire => tree.expire(now),
                    Step::Adopt(found) => {
                        let groups = found.into_iter().map(|(id, at)| (id, name(at).into())).collect();
                        tree.adopt(&Scan { groups, ..Scan::default() }, now.saturating_sub(3), now);
                    }
                }
                prop_assert!(tree.len() <= capacity && tree.removed.len() <= 2 * capacity);
                for (id, at) in tree.living() {
                    prop_assert_eq!(tree.path(id), Some(at));
                }
            }
            let living = tree.living().count();
            tree.expire(u64::MAX);
            prop_assert_eq!(tree.len(), living, "nothing removed is kept for ever");
        }
    }
}
