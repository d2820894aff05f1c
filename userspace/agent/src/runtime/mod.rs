//! Container runtimes: which pod a container id belongs to.
//!
//! A background task keeps a copy of what the runtime knows: from the CRI, and where the runtime is containerd also
//! from its native interface, which tells main processes and announces new containers. Readers look ids up in that
//! copy and never wait. A runtime that goes away is a state on the board, and what it said before stays known.

mod agenda;
mod cache;
mod containerd;
mod cri;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod meta;
mod rpc;
mod socket;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use podscope_cluster::Backoff;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use meta::{ContainerMeta, Labels, PodMeta, Vm};
pub use socket::{BadSocket, NoSocket, SocketChoice, candidates, find};

use crate::status::Board;
use agenda::Agenda;

/// Container id → what is known about it.
pub type Containers = HashMap<Arc<str>, Arc<ContainerMeta>>;

/// What a container has written over its image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Bytes, where the runtime tells.
    pub used_bytes: Option<u64>,
    /// Files and folders, where the runtime tells.
    pub inodes: Option<u64>,
    /// Where the runtime keeps such layers, by the host's paths; empty where it does not tell.
    pub mountpoint: PathBuf,
}

/// Container id → what it has written over its image.
pub type Layers = HashMap<Arc<str>, Layer>;

/// How to reach a runtime.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which socket.
    pub socket: SocketChoice,
    /// Where the host's root is, for [`SocketChoice::Auto`]; `/` on the host itself.
    pub host_root: PathBuf,
    /// Times and sizes.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { socket: SocketChoice::Auto, host_root: PathBuf::from("/"), limits: Limits::default() }
    }
}

/// Times and sizes that bound what a runtime can do to the agent.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For connecting.
    pub connect: Duration,
    /// For each call.
    pub call: Duration,
    /// Largest answer, bytes.
    pub message_bytes: usize,
    /// Between two refreshes that nothing asked for.
    pub poll: Duration,
    /// Between two questions for what containers have written over their images: for the runtime they are work.
    pub layers: Duration,
    /// Between two refreshes at least. They take at most a twentieth of the time, so a slow runtime is asked less often.
    pub refresh: Duration,
    /// First and longest pause between two attempts to connect.
    pub retry: (Duration, Duration),
    /// Most containers known.
    pub containers: usize,
    /// How long a container that the runtime has forgotten stays known.
    pub keep_gone: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            call: Duration::from_secs(5),
            message_bytes: 64 << 20,
            poll: Duration::from_secs(30),
            layers: Duration::from_secs(60),
            refresh: Duration::from_millis(200),
            retry: (Duration::from_millis(500), Duration::from_secs(10)),
            containers: 16_384,
            keep_gone: Duration::from_secs(300),
        }
    }
}

impl Limits {
    fn backoff(&self) -> Backoff {
        Backoff::new(self.retry.0, self.retry.1)
    }
}

/// Who answers, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// `containerd`, `cri-o`, `docker`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What is known about an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This.
    Known(Arc<ContainerMeta>),
    /// The runtime has not named it so far.
    Unknown,
    /// Nothing, and no runtime answers.
    NoRuntime,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Complete listings taken.
    pub refreshes: u64,
    /// Failed attempts to connect and calls that ended a connection.
    pub failures: u64,
    /// Containers left out or forgotten early because there were too many.
    pub evictions: u64,
    /// Labels left out or cut because a pod has too many or too long ones.
    pub truncated_labels: u64,
    /// Containers and events that could not be read.
    pub malformed: u64,
    /// Requests for an id that found no room: the runtime is asked once for them, and again at the regular refresh.
    pub requests_dropped: u64,
}

/// What is known of the runtime. Cheap to clone; the background task ends with the last clone.
#[derive(Clone, Debug)]
pub struct RuntimeHandle {
    shared: Arc<Shared>,
    _worker: Arc<JoinSet<()>>,
}

/// What the background task and the readers share.
#[derive(Debug, Default)]
struct Shared {
    containers: RwLock<Arc<Containers>>,
    layers: RwLock<Arc<Layers>>,
    generation: AtomicU64,
    version: Mutex<Option<Arc<RuntimeVersion>>>,
    stats: Mutex<Stats>,
    agenda: Mutex<Agenda>,
    wake: Notify,
}

/// Starts the background task; needs a tokio runtime. States go to the board as sources `runtime` (the CRI),
/// `container_stats` (its figures) and `containerd` (the native interface of that runtime).
pub fn spawn(config: Config, board: Board) -> RuntimeHandle {
    let shared = Arc::<Shared>::default();
    let mut task = JoinSet::new();
    task.spawn(worker::Worker::new(config, board, Arc::clone(&shared)).run());
    RuntimeHandle { shared, _worker: Arc::new(task) }
}

impl RuntimeHandle {
    /// Looks an id up.
    pub fn get(&self, id: &str) -> Lookup {
        match self.containers().get(id) {
            Some(meta) => Lookup::Known(Arc::clone(meta)),
            None if self.version().is_some() => Lookup::Unknown,
            None => Lookup::NoRuntime,
        }
    }

    /// All that is known now, for many look-ups.
    pub fn containers(&self) -> Arc<Containers> {
        Arc::clone(&self.shared.containers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What containers have written over their images, as the runtime said last.
    pub fn layers(&self) -> Arc<Layers> {
        Arc::clone(&self.shared.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever [`RuntimeHandle::containers`] does.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Asks for an id that was met and is not known. Returns at once; the runtime is asked soon, and again a few times
    /// if it does not know the id yet. Cheap to repeat.
    pub fn request_refresh(&self, id: &str) {
        if !self.containers().contains_key(id) {
            self.shared.ask(id);
        }
    }

    /// Main process → container id.
    pub fn pids(&self) -> HashMap<u32, Arc<str>> {
        self.containers().values().filter_map(|meta| Some((meta.pid?, Arc::clone(&meta.id)))).collect()
    }

    /// The pods that have containers here; of a pod with several sandboxes the newest one.
    pub fn pods(&self) -> Vec<Arc<PodMeta>> {
        let mut pods = HashMap::<Arc<str>, Arc<PodMeta>>::new();
        for meta in self.containers().values() {
            let pod = pods.entry(Arc::clone(&meta.pod.uid)).or_insert_with(|| Arc::clone(&meta.pod));
            if pod.created_at_ns < meta.pod.created_at_ns {
                *pod = Arc::clone(&meta.pod);
            }
        }
        pods.into_values().collect()
    }

    /// Who answers; `None` while nobody does.
    pub fn version(&self) -> Option<Arc<RuntimeVersion>> {
        self.shared.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Totals since the start.
    pub fn stats(&self) -> Stats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn ask(&self, id: &str) {
        if self.agenda(|agenda| agenda.ask(id, Instant::now())) {
            self.wake.notify_one();
        } else {
            self.count(|stats| stats.requests_dropped += 1);
            self.poke();
        }
    }

    fn poke(&self) {
        self.agenda(|agenda| agenda.poke(Instant::now()));
        self.wake.notify_one();
    }

    fn agenda<T>(&self, change: impl FnOnce(&mut Agenda) -> T) -> T {
        change(&mut self.agenda.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn publish(&self, containers: Containers) {
        *self.containers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(containers);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn set_layers(&self, layers: Layers) {
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(layers);
    }

    fn set_version(&self, version: Option<&RuntimeVersion>) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version.cloned().map(Arc::new);
    }
}
