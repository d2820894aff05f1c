//! Networks of pods: `net/dev` of one process of each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};
use rustix::fs::{Mode, OFlags, fstat, open, stat};

use super::births::Births;
use super::file::whole;
use super::{Part, network};
use crate::accounting::{Accounting, ContainerKey, Moment, ProcessKey};
use crate::attribution::{Attribution, Identity};
use crate::runtime::PodMeta;

/// Networks are read again after so long.
const PERIOD_NS: u64 = 4_900_000_000;
/// Interfaces of a pod published at most.
const MOST_INTERFACES: usize = 16;

/// A pod and its interfaces.
#[derive(Debug)]
pub struct PodNetwork {
    /// Which pod.
    pub pod: Arc<PodMeta>,
    /// Its interfaces.
    pub interfaces: Vec<Part>,
}

/// Reads the networks of pods.
#[derive(Debug)]
pub struct PodNetworks {
    proc: PathBuf,
    buffer: Vec<u8>,
    births: Births<(Arc<str>, String)>,
    /// The process that was asked last, by pod.
    processes: HashMap<Arc<str>, ProcessKey>,
    read_ns: Option<u64>,
    last: Vec<PodNetwork>,
    pub(super) dropped: u64,
}

impl PodNetworks {
    /// `proc`: where the host's procfs is mounted.
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            buffer: Vec::new(),
            births: Births::default(),
            processes: HashMap::new(),
            read_ns: None,
            last: Vec::new(),
            dropped: 0,
        }
    }

    /// Reads all networks again where that is due.
    pub fn refresh(&mut self, accounting: &Accounting, attribution: &Attribution) {
        let now = accounting.now;
        if self.read_ns.is_some_and(|read_ns| now.monotonic_ns.saturating_sub(read_ns) < PERIOD_NS) {
            return;
        }
        self.read_ns = Some(now.monotonic_ns);
        let pods = attribution.runtime().pods();
        self.find_processes(&pods, accounting, attribution);
        self.last = self.read(pods, &now);
    }

    /// What was read last.
    pub fn all(&self) -> &[PodNetwork] {
        &self.last
    }

    /// Every network namespace once, and not the host's.
    ///
    /// Its links in `/proc/…/ns` are for privileged eyes. But each namespace has a `net/dev` of its own, with an inode
    /// number that no other one has.
    fn read(&mut self, pods: Vec<Arc<PodMeta>>, now: &Moment) -> Vec<PodNetwork> {
        let Ok(of_host) = stat(self.proc.join("1/net/dev")) else { return Vec::new() };
        let mut seen = HashSet::from_iter([of_host.st_ino]);
        let mut networks = Vec::new();
        for pod in pods {
            let Some(process) = self.processes.get(&pod.uid) else { continue };
            // Not kept open: that would keep the namespace of a pod that has ended.
            let file = self.proc.join(process.tgid.to_string()).join("net/dev");
            let Ok(file) = open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { continue };
            let is_new = fstat(&file).is_ok_and(|status| seen.insert(status.st_ino));
            if let Some(length) = is_new.then(|| whole(&file, &mut self.buffer).ok()).flatten() {
                let interfaces = self.interfaces(&pod, length);
                networks.push(PodNetwork { pod, interfaces });
            }
        }
        self.births.end(now.unix_ns);
        networks
    }

    fn interfaces(&mut self, pod: &PodMeta, length: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        for interface in network::interfaces(&self.buffer[..length], |name| name != b"lo") {
            if parts.len() == MOST_INTERFACES {
                self.dropped += 1;
                continue;
            }
            let key = (Arc::clone(&pod.uid), interface.name.clone());
            parts.push(Part {
                start_ns: self.births.start_ns(key, interface.total(), pod.created_at_ns),
                points: interface.points(&network::OF_POD),
                name: interface.name.into(),
            });
        }
        parts
    }

    /// A living process of each pod: the oldest one, which is that of the sandbox where there is one. What a container
    /// starts later may have gone to another network.
    fn find_processes(&mut self, pods: &[Arc<PodMeta>], accounting: &Accounting, attribution: &Attribution) {
        let living = |key: &ProcessKey| accounting.processes.get(key).is_some_and(|process| process.threads > 0);
        self.processes.retain(|_, key| living(key));
        if pods.iter().all(|pod| self.processes.contains_key(&pod.uid)) {
            self.processes.retain(|uid, _| pods.iter().any(|pod| pod.uid == *uid));
            return;
        }
        self.processes.clear();
        for (key, process) in accounting.processes.iter().filter(|(_, process)| process.threads > 0) {
            let Some(owner) = accounting.owner(process.cgroup) else { continue };
            let uid = match (owner, attribution.identity(owner)) {
                (_, Identity::Named(meta)) => &meta.pod.uid,
                (_, Identity::Pod(pod)) => &pod.uid,
                (ContainerKey::Pod(uid), _) => uid,
                _ => continue,
            };
            match self.processes.get_mut(uid) {
                Some(oldest) if oldest.start > key.start => *oldest = *key,
                Some(_) => {}
                None => drop(self.processes.insert(Arc::clone(uid), *key)),
            }
        }
    }
}
