//! The cluster, as far as this node is concerned: what its pods ask for and belong to, what the node has, and what
//! metrics-server says of both.
//!
//! | file | what it does |
//! |---|---|
//! | `config` | flags: whether, where and as whom the API and the kubelet are asked |
//! | `pods`, `node` | tasks that keep the node's pods and the node's object |
//! | `metrics` | tasks that keep metrics-server's figures: from the kubelet, else from metrics.k8s.io |
//! | `session` | what these tasks have in common: connecting, states, pauses |
//! | `facts` | what is kept of a pod and of the node |
//! | `figures` | metrics-server's figures: usage over a window |
//! | `history` | the agent's own figures of the last minutes, to be compared over the same window |
//! | `join` | all of it as points and attributes of the collection's resources |
//!
//! Each task runs for itself. A collection takes what is there and never waits; without the API nothing else changes.

mod config;
mod facts;
mod figures;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod history;
mod join;
mod metrics;
mod node;
mod pods;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use podscope_cluster::{Counters, NotConfigured, Outcome};
use tokio::task::JoinSet;

pub use config::{Config, KubeArgs, MetricsChoice};
pub use facts::{NodeFacts, PodFacts, Workloads};
pub use figures::{Figure, Figures, Rate};
pub use join::Join;

use crate::status::{Board, Kind, State};
use session::Session;

/// Names on the board.
const SOURCES: [&str; 5] = [PODS, NODE, CLOCK, KUBELET, METRICS_SERVER];
const PODS: &str = "kube_pods";
const NODE: &str = "kube_node";
const CLOCK: &str = "kube_clock";
const KUBELET: &str = "kubelet";
const METRICS_SERVER: &str = "metrics_server";

/// Pods of this node by uid.
pub type Pods = HashMap<Arc<str>, Arc<PodFacts>>;

/// What the tasks have found out and collections read.
#[derive(Debug, Default)]
struct Shared {
    pods: RwLock<Arc<Pods>>,
    node: RwLock<Option<Arc<NodeFacts>>>,
    figures: RwLock<Arc<Figures>>,
    requests: Arc<Counters>,
    pods_dropped: AtomicU64,
    pods_unasked: AtomicU64,
    samples_malformed: AtomicU64,
}

/// What is known of the cluster. Cheap to clone; the tasks end with the last clone.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    shared: Arc<Shared>,
    _tasks: Arc<JoinSet<()>>,
}

/// What is known at one instant.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Pods of this node.
    pub pods: Arc<Pods>,
    /// This node.
    pub node: Option<Arc<NodeFacts>>,
    /// What metrics-server says.
    pub figures: Arc<Figures>,
}

/// Starts the tasks; needs a tokio runtime. States go to the board.
pub fn spawn(config: &Config, board: &Board) -> Handle {
    let shared = Arc::<Shared>::default();
    let mut tasks = JoinSet::new();
    let off = |sources: &[&str], reason: &str| {
        for source in sources {
            board.set(Kind::Source, source, State::Off { reason: reason.to_owned() });
        }
    };
    match &config.access {
        Err(reason) => off(&SOURCES, reason),
        Ok(access) => {
            let session = |source| Session::new(source, access.clone(), board.clone(), Arc::clone(&shared));
            tasks.spawn(pods::keep(session(PODS), config.node.clone()));
            tasks.spawn(node::keep(session(NODE), config.node.clone()));
            metrics::spawn(&mut tasks, config, session(KUBELET), session(METRICS_SERVER), off);
        }
    }
    Handle { shared, _tasks: Arc::new(tasks) }
}

impl Handle {
    /// What is known now; takes no longer than copying three pointers.
    pub fn view(&self) -> View {
        View {
            pods: Arc::clone(&self.shared.pods.read().unwrap_or_else(PoisonError::into_inner)),
            node: self.shared.node.read().unwrap_or_else(PoisonError::into_inner).clone(),
            figures: Arc::clone(&self.shared.figures.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Questions by what became of them, in the order of the attribute `podscope.kube.result`.
    pub fn requests(&self) -> [u64; Outcome::ALL.len()] {
        self.shared.requests.read()
    }

    /// What was left out so far, by the attribute value of `podscope.drop.reason`.
    pub fn dropped(&self) -> [(&'static str, u64); 3] {
        let shared = &self.shared;
        [
            ("kube_pod", shared.pods_dropped.load(Ordering::Relaxed)),
            ("kube_pod_metrics", shared.pods_unasked.load(Ordering::Relaxed)),
            ("kube_sample", shared.samples_malformed.load(Ordering::Relaxed)),
        ]
    }
}

impl Shared {
    fn pods(&self) -> Arc<Pods> {
        Arc::clone(&self.pods.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_pods(&self, pods: Pods) {
        *self.pods.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pods);
    }

    fn set_node(&self, node: NodeFacts) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(node));
    }

    fn set_figures(&self, figures: Figures) {
        *self.figures.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(figures);
    }
}

/// Why the cluster is not asked.
fn not_configured(error: &NotConfigured) -> String {
    format!("{error}; --kubeconfig gives a way in")
}
