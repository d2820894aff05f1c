//! What the agent may do: what it needs to start, and the little it keeps once its programs are attached.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use crate::descriptors;

/// A capability that the agent asks for.
#[derive(Debug)]
pub struct Need {
    /// Which.
    pub capability: Capability,
    /// What it does with it.
    pub purpose: &'static str,
    /// What happens without it.
    pub without: &'static str,
    /// Without it nothing is measured.
    pub required: bool,
    /// When it is kept after attaching; never where this is empty.
    pub kept_when: &'static str,
    /// Whether the DaemonSet grants it.
    pub granted: bool,
    is_kept: fn(&Facts) -> bool,
}

/// Every capability the agent asks for: what the documents print and what is dropped and kept.
pub static NEEDS: &[Need] = &[
    Need {
        capability: Capability::CAP_BPF,
        purpose: "create maps and load programs",
        without: "no kernel programs; `-M` works",
        required: true,
        kept_when: "before Linux 5.19 where `kernel.unprivileged_bpf_disabled` is not 0, to read maps, run the iterator and attach to KVM",
        granted: true,
        is_kept: |facts| facts.release < (5, 19) && facts.unprivileged_bpf_disabled != 0,
    },
    Need {
        capability: Capability::CAP_PERFMON,
        purpose: "load programs that read kernel memory",
        without: "no kernel programs; `-M` works",
        required: true,
        kept_when: "",
        granted: true,
        is_kept: |_| false,
    },
    Need {
        capability: Capability::CAP_SYSLOG,
        purpose: "read the kernel's log where `kernel.dmesg_restrict` is 1",
        without: "the scope of OOM kills is `unknown`",
        required: false,
        kept_when: "where /dev/kmsg cannot be opened and the log is read by syslog(2)",
        granted: true,
        is_kept: |facts| facts.log_by_call,
    },
    Need {
        capability: Capability::CAP_DAC_READ_SEARCH,
        purpose: "list the descriptors of other users' processes, whose number the kernel tells to everyone from Linux 6.2 on",
        without: "no descriptor counts of theirs",
        required: false,
        kept_when: "before Linux 6.2",
        granted: true,
        is_kept: |facts| !facts.descriptors_are_told,
    },
    Need {
        capability: Capability::CAP_SETPCAP,
        purpose: "empty the bounding set",
        without: "that set stays as it is; with `no_new_privs` nothing can be gained from it",
        required: false,
        kept_when: "",
        granted: false,
        is_kept: |_| false,
    },
];

/// What decides which capabilities are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's version.
    pub release: (u32, u32),
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: u8,
    /// The kernel tells the number of a process's descriptors ([`descriptors::are_told`]).
    pub descriptors_are_told: bool,
    /// The log is read by syslog(2) ([`crate::oom::Kmsg::is_by_call`]).
    pub log_by_call: bool,
}

impl Facts {
    /// Reads them. What cannot be read is taken to be as on the oldest kernel. `proc`: where procfs is mounted.
    pub fn read(proc: &Path) -> Self {
        let setting = |name: &str| fs::read_to_string(proc.join("sys/kernel").join(name)).unwrap_or_default();
        Self {
            release: release(&setting("osrelease")).unwrap_or((0, 0)),
            unprivileged_bpf_disabled: setting("unprivileged_bpf_disabled").trim().parse().unwrap_or(u8::MAX),
            descriptors_are_told: descriptors::are_told(proc),
            log_by_call: false,
        }
    }

    /// The capabilities that are kept on such a kernel.
    pub fn kept(&self) -> impl Iterator<Item = &'static Need> {
        NEEDS.iter().filter(|need| (need.is_kept)(self))
    }
}

/// The version in `major.minor…`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Capabilities without which nothing can be measured.
#[derive(Debug)]
pub struct MissingCapabilities(pub Vec<&'static Need>);

impl fmt::Display for MissingCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("missing")?;
        for (at, need) in self.0.iter().enumerate() {
            let and = if at == 0 { "" } else { "," };
            write!(f, "{and} {} (to {})", need.capability, need.purpose)?;
        }
        f.write_str(
            "; run as root or with these capabilities (CAP_SYS_ADMIN stands for both); \
             `podscope-agent -M` lists all metrics without any",
        )
    }
}

impl std::error::Error for MissingCapabilities {}

/// Checks whether the calling thread has what loading needs.
///
/// # Errors
/// The required capabilities that are not effective, CAP_SYS_ADMIN neither.
pub fn check() -> Result<(), MissingCapabilities> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let has = |need: &Need| [need.capability, Capability::CAP_SYS_ADMIN].iter().any(|c| effective.contains(c));
    let missing: Vec<_> = NEEDS.iter().filter(|need| need.required && !has(need)).collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing)) }
}

/// Why capabilities could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// Other threads would keep theirs.
    #[error("cannot drop capabilities: {0} threads run, and each has its own; drop them before any other is started")]
    Threads(usize),
    /// The threads could not be counted, or the kernel has no `no_new_privs`.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot reduce the {set:?} capabilities: {source}")]
    Set {
        /// Which set.
        set: CapSet,
        /// The kernel's answer.
        source: CapsError,
    },
}

/// Drops every capability but [`Facts::kept`] from all sets of the calling thread, sets `no_new_privs`, and returns
/// what it kept.
///
/// Capabilities belong to threads, and a new thread has those of the one that started it. So this must be called on
/// the main thread when the programs are attached and /dev/kmsg and privileged ports are open, but before the runtime
/// or anything else has started a thread.
///
/// # Errors
/// If another thread runs, nothing is dropped. If the kernel refuses, some may be.
pub fn drop_to_needed(facts: &Facts) -> Result<Vec<Capability>, DropError> {
    let io = |what| move |source| DropError::Io { what, source };
    let threads = fs::read_dir("/proc/self/task").map_err(io("count threads in /proc/self/task"))?.count();
    if threads != 1 {
        return Err(DropError::Threads(threads));
    }
    rustix::thread::set_no_new_privs(true).map_err(|errno| io("set no_new_privs")(errno.into()))?;

    let set = |set| move |source| DropError::Set { set, source };
    let permitted = caps::read(None, CapSet::Permitted).map_err(set(CapSet::Permitted))?;
    let kept: CapsHashSet = facts.kept().filter_map(|need| available(need, &permitted)).collect();
    caps::clear(None, CapSet::Ambient).map_err(set(CapSet::Ambient))?;
    // Without this one the bounding set stays as it is; after no_new_privs nothing can be gained from it.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(set(CapSet::Effective))? {
        let bounding = caps::read(None, CapSet::Bounding).map_err(set(CapSet::Bounding))?;
        for &capability in bounding.difference(&kept) {
            caps::drop(None, CapSet::Bounding, capability).map_err(set(CapSet::Bounding))?;
        }
    }
    caps::clear(None, CapSet::Inheritable).map_err(set(CapSet::Inheritable))?;
    // The permitted set must always hold the effective one.
    for each in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, each, &kept).map_err(set(each))?;
    }
    let mut kept: Vec<_> = kept.into_iter().collect();
    kept.sort_unstable_by_key(Capability::index);
    Ok(kept)
}

/// The capability itself, or CAP_SYS_ADMIN in the place of CAP_BPF: old container runtimes do not know that one.
fn available(need: &Need, permitted: &CapsHashSet) -> Option<Capability> {
    let stands_in = (need.capability == Capability::CAP_BPF).then_some(Capability::CAP_SYS_ADMIN);
    [Some(need.capability), stands_in].into_iter().flatten().find(|capability| permitted.contains(capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(release: (u32, u32), unprivileged_bpf_disabled: u8, descriptors_are_told: bool) -> Vec<Capability> {
        let facts = Facts { release, unprivileged_bpf_disabled, descriptors_are_told, log_by_call: false };
        facts.kept().map(|need| need.capability).collect()
    }

    #[test]
    fn what_is_kept_depends_on_the_kernel() {
        use Capability::{CAP_BPF, CAP_DAC_READ_SEARCH};
        assert_eq!(kept((6, 18), 2, true), []);
        assert_eq!(kept((6, 1), 2, false), [CAP_DAC_READ_SEARCH]);
        assert_eq!(kept((5, 19), 2, false), [CAP_DAC_READ_SEARCH]);
        assert_eq!(kept((5, 18), 1, false), [CAP_BPF, CAP_DAC_READ_SEARCH]);
        assert_eq!(kept((5, 10), 0, false), [CAP_DAC_READ_SEARCH]);
    }

    #[test]
    fn what_can_be_kept_says_when() {
        let oldest =
            Facts { release: (0, 0), unprivileged_bpf_disabled: 2, descriptors_are_told: false, log_by_call: true };
        for need in NEEDS {
            assert_eq!((need.is_kept)(&oldest), !need.kept_when.is_empty(), "{}", need.capability);
        }
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(release("5.10.0-28-cloud-amd64\n"), Some((5, 10)));
        assert_eq!(release("6.18.44-fc-v669\n"), Some((6, 18)));
        assert_eq!(release("7.2-rc1"), Some((7, 2)));
        assert_eq!(release("linux"), None);
        assert_eq!(release(""), None);
    }

    #[test]
    fn what_cannot_be_read_is_as_on_the_oldest_kernel() {
        let facts = Facts::read(Path::new("/nonexistent"));
        assert_eq!(facts.kept().count(), 2);
    }

    #[test]
    fn what_stands_in_for_a_capability() {
        let [bpf, .., search, _] = NEEDS else { panic!("too few") };
        let only = |capability| CapsHashSet::from([capability]);
        assert_eq!(available(bpf, &caps::all()), Some(Capability::CAP_BPF));
        assert_eq!(available(bpf, &only(Capability::CAP_SYS_ADMIN)), Some(Capability::CAP_SYS_ADMIN));
        assert_eq!(available(search, &only(Capability::CAP_SYS_ADMIN)), None);
        assert_eq!(available(bpf, &CapsHashSet::new()), None);
    }
}
