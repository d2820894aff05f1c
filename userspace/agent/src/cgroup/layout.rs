//! Where this host's cgroup hierarchies are mounted, and which of them accounts CPU time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where cgroup hierarchies are mounted on every distribution.
const USUAL: &str = "/sys/fs/cgroup";

/// The link of the first cgroup namespace; its number is fixed in the kernel (`PROC_CGROUP_INIT_INO`).
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

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
    /// Path, in the hierarchy, of the group that is mounted there; empty for the root.
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
        let found = mounts(&read("self/mountinfo")?, cgroup, private);
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

/// A cgroup mount and the controllers of its hierarchy (v1 only).
struct Found {
    mount: Mount,
    controllers: Vec<String>,
}

/// The cgroup mounts of a mountinfo file that stand for `cgroup`.
fn mounts(mountinfo: &str, cgroup: &Path, private: bool) -> Vec<Found> {
    let all = || mountinfo.lines().filter_map(|line| mount_line(line, private));
    let there: Vec<_> = all().filter(|f| f.mount.point.starts_with(cgroup)).collect();
    if !there.is_empty() {
        return there;
    }
    let moved = all().filter_map(|mut f| {
        let tail = f.mount.point.strip_prefix(USUAL).ok()?;
        // `join("")` would end the path with a slash.
        f.mount.point = if tail.as_os_str().is_empty() { cgroup.to_owned() } else { cgroup.join(tail) };
        Some(f)
    });
    moved.collect()
}

/// A line of mountinfo: `id parent major:minor root point options [optional…] - type source super-options`.
fn mount_line(line: &str, private: bool) -> Option<Found> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
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
    // Seen from a private namespace "/" is our own group, and the root is some steps above it.
    let steps = root.split('/').all(|step| step.is_empty() || step == "..");
    let whole = if private { root != "/" && steps } else { root == "/" };
    let below = if private || whole { String::new() } else { root };
    Some(Found { mount: Mount { version, point: point.into(), below, whole }, controllers })
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
