//! GPUs: what NVML says of them by way of podscope-gpu, which runs beside the agent, and those that are left to virtual
//! machines.
//!
//! | file | what it does |
//! |---|---|
//! | `client` | a task that asks podscope-gpu after each collection has begun |
//! | `clean` | what it answers, within bounds and with harmless texts |
//! | `passthrough` | GPUs that the kernel has handed over to virtual machines |
//! | `points` | figures as points |
//!
//! A collection takes the last answer, which is at most one interval old, and never waits for one.

mod clean;
mod client;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod passthrough;
pub(crate) mod points;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use foldhash::HashMap;

use crate::accounting::{Accounting, ContainerKey, Moment, ProcessKey};
use crate::node::Births;

pub use client::{Handle, View, spawn};
pub use passthrough::{Passthrough, PciDevice};
pub use podscope_gpu_document::{Device, Instance, Node, Process};

/// Where podscope-gpu listens unless told otherwise.
pub const SOCKET: &str = "/run/podscope/gpu.sock";

/// The value of `--gpu-socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// [`SOCKET`], once it is there.
    Auto,
    /// This one.
    Path(PathBuf),
    /// Nobody is asked.
    Off,
}

/// A value of `--gpu-socket` that is none of the accepted forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no socket; accepted are /path/of.sock, auto and off")]
pub struct BadSocket(String);

impl FromStr for Choice {
    type Err = BadSocket;

    fn from_str(text: &str) -> Result<Self, BadSocket> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') => {
                Ok(Self::Path(path.into()))
            }
            _ => Err(BadSocket(text.to_owned())),
        }
    }
}

impl Choice {
    /// The socket that is asked, where there is one.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Auto => Some(Path::new(SOCKET)),
            Self::Path(path) => Some(path),
            Self::Off => None,
        }
    }

    /// The sockets that are connected to, for who has to ask for permission: the usual one only where its folder is
    /// there, since what stands in its place would be the folder above.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let there = |path: &&Path| *self != Self::Auto || path.parent().is_some_and(Path::is_dir);
        self.path().filter(there).map(Path::to_owned).into_iter().collect()
    }
}

/// What a collection needs of GPUs.
#[derive(Debug)]
pub struct Gpus {
    handle: Handle,
    /// Left to virtual machines.
    pub passthrough: Passthrough,
    view: Arc<View>,
    births: Births<String>,
    /// When the first collection was, ns since the Unix epoch; as first reckoned, so that nothing begins anew when the
    /// clock is set.
    since_ns: Option<u64>,
    booted_ns: u64,
    /// Uses by processes that nobody knows.
    unknown: u64,
}

/// A process that uses a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// Who.
    pub key: ProcessKey,
    /// Its executable.
    pub exe: u64,
    /// Whose it is.
    pub container: &'a ContainerKey,
    /// What it uses.
    pub device: &'a Device,
    /// How.
    pub process: &'a Process,
}

impl Gpus {
    /// `sys`: where sysfs is mounted.
    pub fn new(handle: Handle, sys: &Path) -> Self {
        Self {
            handle,
            passthrough: Passthrough::new(sys),
            view: Arc::default(),
            births: Births::default(),
            since_ns: None,
            booted_ns: 0,
            unknown: 0,
        }
    }

    /// Begins a collection: podscope-gpu is asked once more, and what it said last is taken.
    pub fn begin(&mut self, now: &Moment) {
        if self.since_ns.replace(self.since_ns.unwrap_or(now.unix_ns)).is_none() {
            self.booted_ns = now.unix_of_boot(0);
        }
        self.handle.ask();
        self.view = self.handle.view();
        self.passthrough.refresh(now.monotonic_ns);
    }

    /// What podscope-gpu said last.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Since when levels are watched, ns since the Unix epoch.
    pub fn since_ns(&self) -> u64 {
        self.since_ns.unwrap_or(0)
    }

    /// When the energy of each device began to be counted, ns since the Unix epoch, in the order of the view: at boot,
    /// or when it came or began again.
    pub fn starts(&mut self, now: &Moment) -> Vec<u64> {
        let (births, booted_ns) = (&mut self.births, self.booted_ns);
        let start = |device: &Device| births.start_ns(device.uuid.clone(), device.energy_mj.unwrap_or(0), booted_ns);
        let starts = self.view.node.devices.iter().map(start).collect();
        self.births.end(now.unix_ns);
        starts
    }

    /// The processes that use GPUs and that the last collection saw; others are counted as dropped. One that began
    /// after NVML was asked has taken the number of the one that was meant.
    pub fn uses<'a>(&mut self, view: &'a View, accounting: &'a Accounting) -> Vec<Use<'a>> {
        let named = || view.node.devices.iter().flat_map(|device| device.processes.iter().map(move |of| (device, of)));
        let mut known: HashMap<u32, Option<(ProcessKey, &crate::accounting::Process)>> =
            named().map(|(_, process)| (process.pid, None)).collect();
        if known.is_empty() {
            return Vec::new();
        }
        for (key, process) in &accounting.processes {
            if process.threads > 0
                && key.start <= view.asked_boot_ns
                && let Some(place) = known.get_mut(&key.tgid)
            {
                *place = Some((*key, process));
            }
        }
        let find = |device, process: &'a Process| {
            let (key, of) = known.get(&process.pid).copied().flatten()?;
            Some(Use { key, exe: of.exe, container: accounting.owner(of.cgroup)?, device, process })
        };
        let uses: Vec<Use<'a>> = named().filter_map(|(device, process)| find(device, process)).collect();
        self.unknown += (named().count() - uses.len()) as u64;
        uses
    }

    /// What was left out so far, by the attribute value of `podscope.drop.reason`.
    pub fn dropped(&self) -> [(&'static str, u64); 2] {
        [("gpu", self.handle.left_out() + self.passthrough.dropped), ("gpu_process", self.unknown)]
    }
}

#[cfg(test)]
mod tests {
    use podscope_abi::{RecordKind, TaskFlags, TaskRecord};
    use podscope_gpu_document::Answer;

    use super::*;
    use crate::accounting::{Limits, Policy};

    #[test]
    fn accepted_forms() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("off".parse(), Ok(Choice::Off));
        assert_eq!("/run/my.sock".parse(), Ok(Choice::Path("/run/my.sock".into())));
        for text in ["", "none", "run/my.sock", "/run/", "unix:///run/my.sock", "/run/\0"] {
            let error = text.parse::<Choice>().unwrap_err().to_string();
            assert!(error.contains("/path/of.sock, auto and off"), "{error}");
        }
    }

    #[test]
    fn only_the_folder_of_the_socket_is_within_reach() {
        assert_eq!(Choice::Off.sockets(), Vec::<PathBuf>::new());
        assert_eq!(Choice::Path("/nowhere/my.sock".into()).sockets(), [PathBuf::from("/nowhere/my.sock")]);
        let usual = Choice::Auto.sockets();
        assert_eq!(usual.is_empty(), !Path::new("/run/podscope").is_dir(), "{usual:?}");
    }

    /// Processes `(pid, start)` in one container.
    fn accounting(processes: &[(u32, u64)]) -> Accounting {
        let mut accounting = Accounting::new(Limits::default());
        accounting.begin(Moment { boot_ns: 1_000, monotonic_ns: 1_000, unix_ns: 1_000 });
        for &(pid, leader_start) in processes {
            accounting.take_task(&TaskRecord {
                pid,
                tgid: pid,
                threads: 1,
                leader_start,
                cgroup: 42,
                exe: 7,
                kind: RecordKind::TASK,
                flags: TaskFlags::LEADER | TaskFlags::MEMORY,
                ..bytemuck::Zeroable::zeroed()
            });
        }
        accounting.finish(|_| Some(ContainerKey::Container("c".into())), |_| Policy::Top);
        accounting
    }

    fn view(asked_boot_ns: u64, pids: &[u32]) -> View {
        let processes = pids.iter().map(|&pid| Process { pid, ..Process::default() }).collect();
        let node = Node { devices: vec![Device { processes, ..Device::default() }], ..Node::default() };
        View { node, asked_boot_ns }
    }

    #[test]
    fn a_process_is_the_one_that_lived_when_nvml_was_asked() {
        let mut gpus = Gpus::new(Handle::default(), Path::new("/nowhere"));
        let accounting = accounting(&[(10, 100), (11, 900)]);
        let view = view(500, &[10, 11, 12]);
        let uses = gpus.uses(&view, &accounting);
        assert_eq!(uses.iter().map(|found| (found.key.tgid, found.exe)).collect::<Vec<_>>(), [(10, 7)]);
        assert_eq!(*uses[0].container, ContainerKey::Container("c".into()));
        assert_eq!(gpus.dropped(), [("gpu", 0), ("gpu_process", 2)], "one that began later, and one that is not there");
    }

    #[test]
    fn energy_begins_again_when_the_driver_does() {
        let mut gpus = Gpus::new(Handle::default(), Path::new("/nowhere"));
        let at = |unix_ns| Moment { unix_ns, boot_ns: unix_ns - 5, monotonic_ns: unix_ns };
        gpus.begin(&at(100));
        let starts = [(10, 100), (20, 200), (3, 300), (4, 400)].map(|(energy, now)| {
            let device = Device { uuid: "GPU-1".to_owned(), energy_mj: Some(energy), ..Device::default() };
            gpus.view = Arc::new(View { node: Node { devices: vec![device], ..Node::default() }, asked_boot_ns: 0 });
            gpus.starts(&at(now))[0]
        });
        assert_eq!(starts, [5, 5, 200, 200]);
    }

    #[test]
    fn the_document_is_the_one_that_podscope_gpu_writes() {
        let raw = serde_json::from_str(include_str!("../../../gpu/testdata/raw.json")).unwrap();
        let sent = podscope_gpu_document::Document::of(Answer::Node(podscope_gpu::sift(raw)));
        let (node, left_out) = clean::node(client::read(&sent.to_json().unwrap()).unwrap());
        assert_eq!((Answer::Node(node), left_out), (sent.answer, 0), "nothing in it needs to be cleaned");
    }
}
