//! Where this host's cgroup hierarchies are mounted, and which of them accounts CPU time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where cgroup hierarchies are mounted on every distribution.
const USUAL: &str = "/sys/fs/cgroup";

/// The link of the first cgroup namespace; its number is fixed in the kernel (`PROC_CGROUP_INIT_INO`).
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

/// The inode of every hierarchy's root directory.
const ROOT_INODE: u64 = 1;

/// Why the hierarchies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of /proc could not be read.
    #[error("cannot read {path}: {source}; is /proc mounted there?")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The hierarchy that accounts CPU time is mounted nowhere.
    #[error("no mount of the cgroup {what} at or below {below}; mount the host's /sys/fs/cgroup there")]
    NotMounted {
        /// The hierarchy.
        what: String,
        /// Where it was sought.
        below: PathBuf,
    },
}

/// The two interfaces of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller, or per few of them.
    V1,
    /// The default hierarchy.
    V2,
}

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its interface.
    pub version: Version,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Path, in the hierarchy, of the group that is mounted there; empty for the root, and where a private cgroup
    /// namespace hides it.
    pub below: String,
    /// Whether the whole hierarchy is there. If not, the other groups cannot be seen.
    pub whole: bool,
}

impl Mount {
    /// The directory of a group; none where it lies outside what is mounted.
    pub fn directory(&self, path: &str) -> Option<PathBuf> {
        let inside = path.strip_prefix(self.below.as_str())?;
        let is_inside = inside.is_empty() || inside.starts_with('/');
        let steps_out = inside.split('/').any(|segment| segment == "..");
        (is_inside && !steps_out).then(|| self.point.join(inside.trim_matches('/')))
    }
}

/// The hierarchy whose CPU counters the processes' times are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounting {
    /// Where it is.
    pub mount: Mount,
    /// The kernel's number of the hierarchy, as in `/proc/<pid>/cgroup`; 0 for the default one.
    pub hierarchy: u32,
    /// Controller by which a task's group in it is found in `css_set.subsys`; none in the default hierarchy, where
    /// it is `css_set.dfl_cgrp`.
    pub controller: Option<&'static str>,
}

/// Where each controller lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The hierarchy that accounts CPU time: that of `cpuacct`, else of `cpu`, where it is one of version 1, else
    /// the default one.
    pub accounting: Accounting,
    /// CPU time.
    pub cpuacct: Option<Mount>,
    /// CPU limits and throttling.
    pub cpu: Option<Mount>,
    /// Memory.
    pub memory: Option<Mount>,
    /// Block devices: `blkio` in version 1, `io` in version 2.
    pub blkio: Option<Mount>,
    /// The default hierarchy, which has the pressure files whoever owns the controllers.
    pub unified: Option<Mount>,
}

impl Layout {
    /// Reads `self/mountinfo`, `self/cgroup` and `self/ns/cgroup` below `proc`.
    ///
    /// Mounts at or below `cgroup` count. Where mountinfo has none there, its mounts below /sys/fs/cgroup are
    /// taken to stand below `cgroup`: so a tree of files may stand for a host.
    ///
    /// # Errors
    /// If a file cannot be read or the accounting hierarchy is not mounted.
    pub fn detect(proc: &Path, cgroup: &Path) -> Result<Self, LayoutError> {
        let read = |name: &str| {
            let path = proc.join(name);
            fs::read_to_string(&path).map_err(|source| LayoutError::Read { path, source })
        };
        let private = fs::read_link(proc.join("self/ns/cgroup")).is_ok_and(|link| link != Path::new(FIRST_NAMESPACE));
        let mut found = mounts(&read("self/mountinfo")?, cgroup);
        for mount in &mut found {
            mount.complete(private, |point| Some(fs::metadata(point).ok()?.ino()));
        }
        Self::of(&found, &read("self/cgroup")?, cgroup)
    }

    fn of(found: &[Found], self_cgroup: &str, below: &Path) -> Result<Self, LayoutError> {
        let best = |fits: &dyn Fn(&&Found) -> bool| {
            found.iter().filter(fits).max_by_key(|f| f.mount.whole).map(|f| f.mount.clone())
        };
        let unified = best(&|f| f.mount.version == Version::V2);
        let place = |controller: &str| match hierarchy(self_cgroup, controller) {
            Some(_) => best(&|f| f.controllers.iter().any(|c| c == controller)),
            None => unified.clone(),
        };
        let v1 = ["cpuacct", "cpu"].into_iter().find_map(|c| hierarchy(self_cgroup, c).map(|number| (c, number)));
        let (controller, hierarchy, mount) = match v1 {
            Some((controller, number)) => (Some(controller), number, place(controller)),
            None => (None, 0, unified.clone()),
        };
        let mount = mount.ok_or_else(|| LayoutError::NotMounted {
            what: controller.map_or("v2 hierarchy".to_owned(), |c| format!("v1 hierarchy of {c}")),
            below: below.to_owned(),
        })?;
        Ok(Self {
            accounting: Accounting { mount, hierarchy, controller },
            cpuacct: place("cpuacct"),
            cpu: place("cpu"),
            memory: place("memory"),
            blkio: place("blkio"),
            unified,
        })
    }

    /// The path, below the accounting hierarchy's mount, of the group that the kernel calls `path`.
    ///
    /// They differ where the mount is not of the kernel's root, as on a node that is itself a container. The group
    /// is known by its id, the inode of its directory. None if it is not there (any more).
    pub fn locate<'a>(&self, id: u64, path: &'a str) -> Option<&'a str> {
        let mount = &self.accounting.mount;
        let inode = |path: &str| fs::metadata(mount.directory(path)?).ok().map(|directory| directory.ino());
        path.match_indices('/').map(|(at, _)| &path[at..]).find(|tail| inode(tail) == Some(id))
    }
}

/// As [`Layout::detect`] does, from the texts of the files alone and as if nothing could be looked up.
#[cfg(feature = "fuzzing")]
pub(super) fn of_files(mountinfo: &str, self_cgroup: &str, cgroup: &Path) -> Result<Layout, LayoutError> {
    let mut found = mounts(mountinfo, cgroup);
    found.iter_mut().for_each(|mount| mount.complete(false, |_| None));
    Layout::of(&found, self_cgroup, cgroup)
}

/// A cgroup mount and the controllers of its hierarchy (v1 only).
struct Found {
    mount: Mount,
    controllers: Vec<String>,
}

impl Found {
    /// Tells the whole hierarchy from a part of it. `inode` reads the inode of a directory.
    ///
    /// Seen from a private cgroup namespace mountinfo cannot say: it counts from our own group, which need not be
    /// the same in every hierarchy. A hierarchy's root has inode 1.
    fn complete(&mut self, private: bool, inode: impl Fn(&Path) -> Option<u64>) {
        self.mount.whole = if private { inode(&self.mount.point) == Some(ROOT_INODE) } else { self.mount.below == "/" };
        if private || self.mount.whole {
            self.mount.below.clear();
        }
    }
}

/// The cgroup mounts of a mountinfo file that stand for `cgroup`.
fn mounts(mountinfo: &str, cgroup: &Path) -> Vec<Found> {
    let all = || mountinfo.lines().filter_map(mount_line);
    let there: Vec<_> = all().filter(|found| found.mount.point.starts_with(cgroup)).collect();
    if !there.is_empty() {
        return there;
    }
    let moved = all().filter_map(|mut found| {
        found.mount.point = cgroup.join(found.mount.point.strip_prefix(USUAL).ok()?);
        Some(found)
    });
    moved.collect()
}

/// A line of mountinfo: `id parent major:minor root point options [optional…] - type source super-options`.
fn mount_line(line: &str) -> Option<Found> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (below, point) = (unescape(left.next()?), unescape(left.next()?).into());
    let mut right = right.split(' ');
    let version = match right.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let controllers = match version {
        Version::V1 => right.nth(1)?.split(',').map(str::to_owned).collect(),
        Version::V2 => Vec::new(),
    };
    Some(Found { mount: Mount { version, point, below, whole: false }, controllers })
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The number of a controller's v1 hierarchy, from lines `number:controllers:path`.
fn hierarchy(self_cgroup: &str, controller: &str) -> Option<u32> {
    self_cgroup.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, _) = rest.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> (PathBuf, PathBuf) {
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cgroup").join(name);
        (host.join("proc"), host.join("sys/fs/cgroup"))
    }

    fn whole(version: Version, point: impl Into<PathBuf>) -> Mount {
        Mount { version, point: point.into(), below: String::new(), whole: true }
    }

    #[test]
    fn hybrid_host_accounts_in_cpuacct() {
        let (proc, _) = recorded("hybrid");
        let layout = Layout::detect(&proc, Path::new("/sys/fs/cgroup")).unwrap();
        assert_eq!(layout.accounting.mount, whole(Version::V1, "/sys/fs/cgroup/cpuacct"));
        assert_eq!((layout.accounting.hierarchy, layout.accounting.controller), (2, Some("cpuacct")));
        assert_eq!(layout.cpu, Some(whole(Version::V1, "/sys/fs/cgroup/cpu")));
        assert_eq!(layout.memory, Some(whole(Version::V1, "/sys/fs/cgroup/memory")));
        assert_eq!(layout.blkio, Some(whole(Version::V1, "/sys/fs/cgroup/blkio")));
        assert_eq!(layout.unified, Some(whole(Version::V2, "/sys/fs/cgroup/unified")));
    }

    #[test]
    fn controllers_mounted_together_share_a_place() {
        let (proc, cgroup) = recorded("linux-6.1-v1");
        let layout = Layout::detect(&proc, &cgroup).unwrap();
        let together = whole(Version::V1, cgroup.join("cpu,cpuacct"));
        assert_eq!(layout.cpu.as_ref(), Some(&together));
        assert_eq!(layout.accounting, Accounting { mount: together, hierarchy: 1, controller: Some("cpuacct") });
        assert_eq!(layout.unified, None);
    }

    #[test]
    fn pure_v2_host_accounts_in_the_default_hierarchy() {
        let (proc, cgroup) = recorded("linux-6.1-v2");
        let layout = Layout::detect(&proc, &cgroup).unwrap();
        let mount = whole(Version::V2, cgroup);
        assert_eq!(layout.memory.as_ref(), Some(&mount));
        assert_eq!(layout.accounting, Accounting { mount, hierarchy: 0, controller: None });
    }

    /// A container of a v1 host without a cgroup namespace has its own group's directory at the usual place.
    #[test]
    fn container_sees_only_its_part() {
        let (proc, _) = recorded("container-v1");
        let layout = Layout::detect(&proc, Path::new("/sys/fs/cgroup")).unwrap();
        let mount = layout.accounting.mount;
        let own = "/kubepods/burstable/pod170b2c3d-0001-4a00-8000-0000000000a1/\
                   ab27187150a8420d44eeeaa4fefe5a746987d47ba961ead966752559d49d713e";
        assert!(!mount.whole);
        assert_eq!(mount.directory(&format!("{own}/inner")), Some("/sys/fs/cgroup/cpuacct/inner".into()));
        assert_eq!(mount.directory(&format!("{own}0")), None, "another group whose name begins alike");
        assert_eq!(mount.directory("/kubepods"), None);
    }

    #[test]
    fn the_whole_hierarchy_is_preferred_to_a_part() {
        let (proc, _) = recorded("container-v1");
        let own = fs::read_to_string(proc.join("self/mountinfo")).unwrap();
        let mut found = mounts(
            &format!("900 1 0:30 / /sys/fs/cgroup/host\\040root ro master:3 - cgroup cgroup rw,cpuacct\n{own}"),
            Path::new("/sys/fs/cgroup"),
        );
        found.iter_mut().for_each(|mount| mount.complete(false, |_| None));
        let layout = Layout::of(&found, "2:cpuacct:/\n", Path::new("/sys/fs/cgroup")).unwrap();
        assert_eq!(layout.accounting.mount, whole(Version::V1, "/sys/fs/cgroup/host root"));
    }

    /// Recorded under `unshare -m -C` from a group two levels below /kubepods; inodes likewise.
    #[test]
    fn private_namespace_tells_the_root_by_its_inode() {
        let mountinfo = "\
            73 63 0:38 /../../.. /host/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            74 43 0:38 / /host/cgroup/own rw,relatime - cgroup2 c rw\n\
            75 43 0:38 /../.. /host/cgroup/part rw,relatime - cgroup2 cgroup2 rw\n";
        let inode = |point: &Path| Some(if point.ends_with("unified") { 1 } else { 177 });
        let mut found = mounts(mountinfo, Path::new("/host/cgroup"));
        found.iter_mut().for_each(|mount| mount.complete(true, inode));
        assert_eq!(found.iter().map(|f| f.mount.whole).collect::<Vec<_>>(), [true, false, false]);
        let layout = Layout::of(&found, "0::/\n", Path::new("/host/cgroup")).unwrap();
        assert_eq!(layout.accounting.mount, whole(Version::V2, "/host/cgroup/unified"));
        assert_eq!(layout.accounting.mount.directory("/../../../etc"), None, "no way out");
    }

    #[test]
    fn what_is_missing_is_named() {
        let (proc, _) = recorded("hybrid");
        let error = Layout::detect(&proc.join("none"), Path::new("/sys/fs/cgroup")).unwrap_err();
        assert!(error.to_string().contains("none/self/mountinfo"), "{error}");
        let error = Layout::of(&[], "2:cpuacct:/\n", Path::new("/host/cgroup")).unwrap_err().to_string();
        assert!(error.contains("v1 hierarchy of cpuacct") && error.contains("/host/cgroup"), "{error}");
    }

    /// As on a node that is a container: the kernel's path is longer than the one below the mount.
    #[test]
    fn locate_finds_the_group_by_its_inode() {
        let (proc, cgroup) = recorded("linux-6.1-v2");
        let layout = Layout::detect(&proc, &cgroup).unwrap();
        let path = "/kubepods/burstable";
        let id = fs::metadata(cgroup.join("kubepods/burstable")).unwrap().ino();
        assert_eq!(layout.locate(id, path), Some(path));
        assert_eq!(layout.locate(id, "/docker/kind/kubepods/burstable"), Some(path));
        assert_eq!(layout.locate(id, "/kubepods/besteffort"), None);
    }
}
