//! The background task: connects, refreshes, waits, and starts again when the runtime goes away.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use podscope_cluster::Backoff;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tonic::transport::Channel;

use super::cache::Cache;
use super::containerd::Containerd;
use super::cri::{Cri, Listing};
use super::rpc::{RpcError, connect};
use super::{Config, Layers, NoSocket, RuntimeVersion, Shared, SocketChoice, find};
use crate::status::{Board, Kind, State};

/// Names on the board.
const RUNTIME: &str = "runtime";
const CONTAINERD: &str = "containerd";
const STATS: &str = "container_stats";

/// Most questions about single containers in one refresh; the rest is asked in the next one.
const MAX_SINGLE_QUESTIONS: usize = 64;

/// Refreshes take at most one part in this of the time.
const SHARE: u32 = 20;

/// Why there is no session with a runtime.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    NoSocket(#[from] NoSocket),
    #[error(transparent)]
    Connect(RpcError),
    #[error("unix://{}: {error}", .path.display())]
    Call { path: PathBuf, error: RpcError },
}

/// The background task's state.
#[derive(Debug)]
pub(super) struct Worker {
    config: Config,
    board: Board,
    shared: Arc<Shared>,
    cache: Cache,
    /// Containers of containerd that belong to no pod: asked about once.
    podless: HashSet<Arc<str>>,
    /// The question for what containers have written, while it is under way.
    asking: JoinSet<()>,
}

/// A runtime that answers, over one connection.
#[derive(Debug)]
struct Session {
    version: RuntimeVersion,
    cri: Cri,
    containerd: Option<Containerd>,
    /// When it was last asked for what containers have written.
    layers_asked: Option<Instant>,
}

impl Worker {
    pub(super) fn new(config: Config, board: Board, shared: Arc<Shared>) -> Self {
        let cache = Cache::new(config.limits.containers, config.limits.keep_gone);
        Self { config, board, shared, cache, podless: HashSet::new(), asking: JoinSet::new() }
    }

    /// Runs until it is dropped; returns at once where no runtime is wanted.
    pub(super) async fn run(mut self) {
        if self.config.socket == SocketChoice::None {
            let off = State::Off { reason: "--cri-socket none".to_owned() };
            self.set(RUNTIME, off.clone());
            self.set(STATS, off.clone());
            self.set(CONTAINERD, off);
            return;
        }
        let mut backoff = self.config.limits.backoff();
        loop {
            let Err(error) = self.connect_and_serve(&mut backoff).await;
            self.shared.count(|stats| stats.failures += 1);
            self.shared.set_version(None);
            self.set(RUNTIME, State::Absent { reason: error.to_string() });
            for source in [CONTAINERD, STATS] {
                self.set(source, State::Absent { reason: "no runtime answers".to_owned() });
            }
            self.asking.abort_all();
            self.shared.set_layers(Layers::new());
            sleep(backoff.pause(None)).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn connect_and_serve(&mut self, backoff: &mut Backoff) -> Result<Infallible, SessionError> {
        let path = match &self.config.socket {
            SocketChoice::Path(path) => path.clone(),
            SocketChoice::Auto | SocketChoice::None => find(&self.config.host_root)?,
        };
        let channel = connect(&path, self.config.limits.connect).await.map_err(SessionError::Connect)?;
        let Err(error) = self.serve(channel, backoff).await;
        Err(SessionError::Call { path, error })
    }

    async fn serve(&mut self, channel: Channel, backoff: &mut Backoff) -> Result<Infallible, RpcError> {
        let limits = &self.config.limits;
        let mut cri = Cri::new(channel.clone(), limits.call, limits.message_bytes);
        let version = cri.version().await?;
        let is_containerd = version.name == "containerd";
        let containerd = is_containerd.then(|| Containerd::new(channel, limits, Arc::clone(&self.shared)));
        if !is_containerd {
            self.set(CONTAINERD, State::Off { reason: "the runtime is another one".to_owned() });
        }
        let mut session = Session { version, cri, containerd, layers_asked: None };
        loop {
            let began = Instant::now();
            self.refresh(&mut session, began).await?;
            backoff.reset();
            self.wait(began).await;
        }
    }

    /// Asks for everything once. Names are published before the details are asked for.
    async fn refresh(&mut self, session: &mut Session, began: Instant) -> Result<(), RpcError> {
        let listing = session.cri.list().await?;
        self.cache.update(&listing, Instant::now());
        self.publish();
        self.shared.set_version(Some(&session.version));
        self.set(RUNTIME, State::Up);

        if let Some(containerd) = &mut session.containerd {
            let asked = self.ask_containerd(containerd, &listing).await;
            let fault = asked.err().map(|error| error.to_string()).or_else(|| containerd.stream_fault());
            self.set(CONTAINERD, fault.map_or(State::Up, |reason| State::Absent { reason }));
            self.publish();
        }
        self.ask_started(&mut session.cri, session.containerd.is_none()).await;
        self.publish();
        let cache = &self.cache;
        self.shared.agenda(|agenda| agenda.refreshed(began, Instant::now(), |id| cache.contains(id)));
        self.shared.count(|stats| stats.refreshes += 1);
        self.ask_layers(session);
        Ok(())
    }

    /// Has asked what containers have written over their images, which may take the runtime a while: it goes on naming
    /// pods meanwhile.
    fn ask_layers(&mut self, session: &mut Session) {
        while self.asking.try_join_next().is_some() {}
        let is_due = session.layers_asked.is_none_or(|asked| asked.elapsed() >= self.config.limits.layers);
        if !is_due || !self.asking.is_empty() {
            return;
        }
        session.layers_asked = Some(Instant::now());
        let (mut cri, shared, board) = (session.cri.clone(), Arc::clone(&self.shared), self.board.clone());
        let most = self.config.limits.containers;
        self.asking.spawn(async move {
            let (layers, state) = match cri.layers(most).await {
                Ok(layers) => (layers, State::Up),
                Err(error) => (Layers::new(), State::Absent { reason: error.to_string() }),
            };
            shared.set_layers(layers);
            board.set(Kind::Source, STATS, state);
        });
    }

    /// Main processes of all containers, and the names of those that the CRI does not list yet.
    async fn ask_containerd(&mut self, containerd: &mut Containerd, listing: &Listing) -> Result<(), RpcError> {
        let pids = match containerd.pids().await {
            Ok(pids) => pids,
            Err(error) => {
                // An old pid may belong to another process by now.
                self.cache.set_pids(&HashMap::new());
                return Err(error);
            }
        };
        self.podless.retain(|id| pids.contains_key(&**id));
        let sandboxes = listing.sandboxes.iter().map(|sandbox| sandbox.id.as_str());
        let listed: HashSet<_> = sandboxes.chain(listing.containers.iter().map(|c| c.id.as_str())).collect();
        let waited_for = self.shared.agenda(|agenda| agenda.ids());
        let wanted: HashSet<_> = pids.keys().map(String::as_str).chain(waited_for.iter().map(|id| &**id)).collect();
        let is_podless = |id: &&str| self.podless.contains(*id);
        let unlisted: Vec<_> = wanted.difference(&listed).copied().filter(|id| !is_podless(id)).collect();
        let mut found = Vec::new();
        let mut outcome = Ok(());
        for id in unlisted.into_iter().take(MAX_SINGLE_QUESTIONS) {
            match containerd.container(id).await {
                Ok(Some(meta)) => found.push(meta),
                Ok(None) if pids.contains_key(id) => drop(self.podless.insert(Arc::from(id))),
                Ok(None) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        // Sandboxes first: they have the pod's labels, and their containers take them over.
        found.sort_unstable_by_key(|meta| !meta.is_sandbox);
        found.into_iter().for_each(|meta| self.cache.add(meta));
        self.cache.set_pids(&pids);
        outcome
    }

    /// When the running containers started: asked once for each. A failure is not one of the session, since the
    /// container may be gone by now; the next refresh asks again.
    async fn ask_started(&mut self, cri: &mut Cri, with_pid: bool) {
        let unstarted: Vec<_> = self.cache.unstarted().take(MAX_SINGLE_QUESTIONS + 1).cloned().collect();
        if unstarted.len() > MAX_SINGLE_QUESTIONS {
            self.shared.poke();
        }
        for id in unstarted.iter().take(MAX_SINGLE_QUESTIONS) {
            match cri.started(id, with_pid).await {
                Ok(started) => self.cache.set_started(id, started),
                Err(error) if error.is_not_found() => {}
                Err(error) => return tracing::debug!(container = &**id, "start unknown: {error}"),
            }
        }
    }

    /// Waits until the next refresh is due.
    async fn wait(&self, began: Instant) {
        let limits = &self.config.limits;
        let now = Instant::now();
        let earliest = now + limits.refresh.max(((now - began) * SHARE).min(limits.poll));
        loop {
            let due = self.shared.agenda(|agenda| agenda.due()).unwrap_or(now + limits.poll);
            let due = due.min(now + limits.poll).max(earliest);
            tokio::select! {
                () = sleep_until(due.into()) => return,
                () = self.shared.wake.notified() => {}
            }
        }
    }

    fn publish(&mut self) {
        if let Some(containers) = self.cache.take_changed() {
            self.shared.publish(containers);
        }
        let counts = std::mem::take(&mut self.cache.counts);
        self.shared.count(|stats| {
            stats.evictions += counts.evictions;
            stats.malformed += counts.malformed;
            stats.truncated_labels += counts.truncated_labels;
        });
    }

    fn set(&self, source: &str, state: State) {
        self.board.set(Kind::Source, source, state);
    }
}
