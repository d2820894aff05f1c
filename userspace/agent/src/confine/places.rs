//! What of the file system and the network stays within reach, as Landlock rules.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

/// What the rules depend on.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Where the cgroup hierarchies are mounted.
    pub cgroup_root: PathBuf,
    /// Sockets on which a container runtime may listen, now or later.
    pub sockets: Vec<PathBuf>,
    /// Where podscope-gpu listens.
    pub gpu_sockets: Vec<PathBuf>,
    /// Certificates and keys that are read again when they change.
    pub tls_files: Vec<PathBuf>,
    /// Files by which the cluster is reached, some of which are renewed.
    pub kube_files: Vec<PathBuf>,
    /// Ports that are connected to: those of the OTLP endpoint, of the Kubernetes API, of the kubelet.
    pub ports: Vec<u16>,
}

/// A place that stays within reach.
#[derive(Debug)]
pub struct Place {
    /// Where.
    pub what: &'static str,
    /// What may be done there.
    pub may: May,
    /// What the agent does there.
    pub why: &'static str,
    paths: fn(&Wants) -> Vec<PathBuf>,
}

/// What may be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Files are read, folders are listed.
    Read,
    /// Sockets are connected to.
    Connect,
}

/// Every place; nothing else can be read, and nothing at all written, made, removed or executed.
pub static PLACES: &[Place] = &[
    Place {
        what: "/proc",
        may: May::Read,
        why: "descriptors of processes, figures of the node, of pods' networks and of the agent itself",
        paths: |_| vec!["/proc".into()],
    },
    Place {
        what: "/sys",
        may: May::Read,
        why: "types of kernel modules that are loaded later, number of CPUs, which block devices are disks",
        paths: |_| vec!["/sys".into()],
    },
    Place {
        what: "/dev/random, /dev/urandom",
        may: May::Read,
        why: "random numbers: a static program does not find getrandom(2) in its library",
        paths: |_| vec!["/dev/random".into(), "/dev/urandom".into()],
    },
    Place {
        what: "`--cgroup-root`",
        may: May::Read,
        why: "counters of cgroups, their names",
        paths: |wants| vec![wants.cgroup_root.clone()],
    },
    Place {
        what: "folders of the files of `--tls-…` and `--otlp-…`",
        may: May::Read,
        why: "certificates and keys that have changed",
        paths: |wants| wants.tls_files.iter().flat_map(|file| folders(file)).collect(),
    },
    Place {
        what: "folders of the kubeconfig, of what it names and of `--kubelet-ca`, or of the service account",
        may: May::Read,
        why: "the way to the Kubernetes API: tokens and certificates that have changed",
        paths: |wants| wants.kube_files.iter().flat_map(|file| folders(file)).collect(),
    },
    Place {
        what: "with OTLP or a cluster: resolv.conf, hosts, nsswitch.conf, host.conf and gai.conf in /etc",
        may: May::Read,
        why: "the address of the endpoint",
        paths: |wants| if wants.ports.is_empty() { Vec::new() } else { names() },
    },
    Place {
        what: "with OTLP or a cluster: the system's certificate authorities, also those of `SSL_CERT_FILE` and \
               `SSL_CERT_DIR`",
        may: May::Read,
        why: "the certificate of the endpoint",
        paths: |wants| if wants.ports.is_empty() { Vec::new() } else { authorities() },
    },
    Place {
        what: "folders of the container runtime's sockets",
        may: May::Connect,
        why: "names of pods",
        paths: |wants| socket_folders(&wants.sockets),
    },
    Place {
        what: "folder of `--gpu-socket`",
        may: May::Connect,
        why: "figures of GPUs",
        paths: |wants| socket_folders(&wants.gpu_sockets),
    },
];

/// The port of name servers, which are asked by TCP when an answer is long.
const DNS: u16 = 53;

/// The features that are asked for: those that have been tried. What a later kernel adds stays unrestricted.
const TRIED: ABI = ABI::V9;

/// What a kernel leaves open: the first interface that closes it, and what it is.
pub static SINCE: &[(u32, &str, &str)] = &[
    (1, "5.13", "reading outside of these places; writing, making, removing, executing"),
    (3, "6.2", "truncating files"),
    (
        4,
        "6.7",
        "TCP to other ports than those of the OTLP endpoint, the Kubernetes API, the kubelet and 53, TCP servers",
    ),
    (5, "6.10", "ioctl(2) on device files"),
    (6, "6.12", "signals to other processes, abstract UNIX sockets"),
    (9, "7.1", "UNIX sockets in other folders"),
];

/// Why the rules are not in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestrictError {
    /// Before Linux 5.13, or built without.
    #[error("this kernel has no Landlock (Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK has)")]
    None,
    /// There, but not in use.
    #[error("Landlock is switched off; add it to the kernel's parameter lsm=")]
    Off,
    /// Threads that run already would not be held.
    #[error("{0} threads run, and rules hold the one that sets them and those it starts")]
    Threads(usize),
    /// The kernel refuses a rule.
    #[error("the kernel refuses the rules: {0}")]
    Refused(#[from] RulesetError),
}

/// Sets the rules for the calling thread and all that it starts from now on, and returns the version of Landlock's
/// interface, which says what they hold ([`SINCE`]).
///
/// # Errors
/// When no rule is in force afterwards.
pub(super) fn restrict(wants: &Wants) -> Result<u32, RestrictError> {
    let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads > 1 {
        return Err(RestrictError::Threads(threads));
    }
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(Scope::from_all(TRIED))?
        .create()?;
    for place in PLACES {
        ruleset = ruleset.add_rules(path_beneath_rules((place.paths)(wants), place.may.access()))?;
    }
    let names = (!wants.ports.is_empty()).then_some(DNS);
    for port in wants.ports.iter().copied().chain(names) {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    let RestrictionStatus { landlock, .. } = ruleset.restrict_self()?;
    match landlock {
        LandlockStatus::NotImplemented => Err(RestrictError::None),
        LandlockStatus::NotEnabled => Err(RestrictError::Off),
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi as u32),
    }
}

impl May {
    fn access(self) -> BitFlags<AccessFs> {
        match self {
            Self::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::Connect => AccessFs::ResolveUnix.into(),
        }
    }
}

/// The folder a file is in, and the one it is in when links are followed: who replaces the file does it there.
fn folders(file: &Path) -> Vec<PathBuf> {
    let named = fs::canonicalize(file.parent().unwrap_or(file)).ok();
    let real = fs::canonicalize(file).ok().and_then(|real| Some(real.parent()?.to_owned()));
    named.into_iter().chain(real).collect()
}

/// The folders of those sockets that are there; where none is, a runtime that comes later may make one anywhere above.
fn socket_folders(sockets: &[PathBuf]) -> Vec<PathBuf> {
    let present: Vec<PathBuf> = sockets.iter().flat_map(|socket| folders(socket)).collect();
    if !present.is_empty() {
        return present;
    }
    let above = sockets.iter().filter_map(|socket| socket.ancestors().skip(1).find(|folder| folder.is_dir()));
    above.map(Path::to_owned).collect()
}

/// What a resolver reads. A link out of /etc stands for its target's folder, in which a service writes it anew.
fn names() -> Vec<PathBuf> {
    let etc = Path::new("/etc");
    let files = ["resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf"].map(|name| etc.join(name));
    let place = |file: PathBuf| match fs::canonicalize(&file).ok()?.parent() {
        Some(folder) if folder != etc => Some(folder.to_owned()),
        _ => Some(file),
    };
    files.into_iter().filter_map(place).collect()
}

/// Where distributions and the variables of OpenSSL have the authorities; those that do not exist are passed over.
fn authorities() -> Vec<PathBuf> {
    const USUAL: [&str; 9] = [
        "/etc/ssl/certs",
        "/etc/ssl/cert.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/certs",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust",
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
    ];
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
    let named = variables.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>());
    USUAL.into_iter().map(PathBuf::from).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_stands_for_its_folder_and_for_the_one_behind_the_link() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["named", "real"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::write(root.join("real/key.pem"), "").unwrap();
        symlink("../real/key.pem", root.join("named/key.pem")).unwrap();
        assert_eq!(folders(&root.join("named/key.pem")), [root.join("named"), root.join("real")]);
        assert_eq!(folders(&root.join("named/later.sock")), [root.join("named")]);
        assert_eq!(folders(&root.join("nowhere/later.sock")), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_runtime_that_comes_later_is_within_reach() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let sockets = ["run/containerd/containerd.sock", "run/crio/crio.sock"].map(|socket| root.join(socket));
        assert_eq!(socket_folders(&sockets), [root.clone(), root.clone()]);
        fs::create_dir_all(root.join("run/crio")).unwrap();
        assert_eq!(socket_folders(&sockets), [root.join("run/crio")]);
    }

    #[test]
    fn without_a_way_out_nothing_in_etc_is_read() {
        let paths = |port: Option<u16>| {
            let wants = Wants { ports: port.into_iter().collect(), ..Wants::default() };
            PLACES.iter().flat_map(|place| (place.paths)(&wants)).filter(|path| path.starts_with("/etc")).count()
        };
        assert_eq!(paths(None), 0);
        assert!(paths(Some(4317)) >= 5);
    }
}
