//! Puts the agent together and keeps it running until it is told to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use podscope_abi::Loss;
use podscope_catalog::Entity;
use tokio::signal::unix::{SignalKind, signal};

use crate::accounting::Limits;
use crate::attribution::Attribution;
use crate::cgroup::{Layout, Tree};
use crate::collect::{Collector, GROUP_LINGER_NS, MAX_GROUPS, Shared, Sources};
use crate::compat::kubevirt;
use crate::config::Config;
use crate::detail::{Choice, Detail};
use crate::export::otlp::{self, Exporter};
use crate::http::{Latest, Server, Source};
use crate::kernel::offsets::Wishes;
use crate::kernel::{Kernel, Options};
use crate::log::Log;
use crate::node::Node;
use crate::oom::Kmsg;
use crate::own::OwnFigures;
use crate::publish::Publisher;
use crate::runtime::SocketChoice;
use crate::snapshot::{Attributes, Resource, Snapshot};
use crate::status::{Board, Kind, State};
use crate::{cluster, confine, gpu, http, own, privileges, runtime, view};

/// Time for the last export: within the five seconds after a signal.
const FLUSH: Duration = Duration::from_secs(3);
/// Events are taken at least so often, so that the ring buffer does not fill up between collections.
const EVENTS: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or SIGINT. `older`: the older tool that the agent stands in for as well.
///
/// # Errors
/// When the agent cannot start: no kernel programs, no cgroup hierarchy, the address is taken.
pub fn run(config: &Config, older: Option<&kubevirt::Settings>, otlp: otlp::Config, log: &Log) -> anyhow::Result<()> {
    let board = Board::default();
    let layout = Layout::detect("/proc".as_ref(), &config.cgroup_root)
        .context("cannot find the cgroup hierarchy that accounts CPU time")?;
    board.set(Kind::Source, "cgroup", State::Up);
    let accounting = &layout.accounting;
    let options = Options {
        wishes: Wishes {
            controller: accounting.controller,
            hierarchy: accounting.hierarchy,
            closing_only: config.scheduling_detail == Choice::Off,
            ..Wishes::default()
        },
        max_tasks: 65_536,
        max_cgroups: config.max_cgroups,
        max_books: config.max_books,
        hash_state: false,
        without: config.without_probe.clone(),
        board: board.clone(),
    };
    privileges::check()?;
    let (kernel, events) =
        Kernel::load(&options).context("cannot load the kernel programs; `podscope-agent -M` works without them")?;
    let kmsg = Kmsg::open("/dev/kmsg".as_ref(), &board);
    let server = Server::bind(config.listen, config.tls())?;
    let older_server = older.map(kubevirt::Settings::bind).transpose()?;
    let kube = config.kube.resolve(&config.node(), |name| std::env::var(name).ok());
    let capabilities = drop_privileges(&kmsg);
    confine::confine(config.confine, &within_reach(config, older, &otlp, &kube), &board);
    log.start().context("cannot start the thread that writes the log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let named = runtime::Config {
            socket: config.cri_socket.clone(),
            host_root: config.host_root.clone(),
            ..runtime::Config::default()
        };
        let attribution =
            Attribution::new(Tree::new(MAX_GROUPS, GROUP_LINGER_NS), runtime::spawn(named, board.clone()));
        let detail = Detail::new(config.scheduling_detail, kernel.counts_waits());
        let (page, linger_ns) = (rustix::param::page_size() as u64, config.linger.as_nanos() as u64);
        let publisher = Publisher::new(&config.node(), page, linger_ns, detail.clone());
        let limits = Limits {
            processes_per_container: config.processes_per_container as usize,
            absence_ends: closings_absent(&board),
            linger_ns,
            ..Limits::default()
        };
        let mut node = Node::new("/proc".as_ref(), "/sys".as_ref(), board.clone());
        node.watch_filesystems().context("cannot start the thread that asks for sizes of file systems")?;
        let compares = kube.access.is_ok() && kube.metrics != cluster::MetricsChoice::Off;
        let sources = Sources {
            kmsg,
            node,
            cluster: cluster::spawn(&kube, &board),
            join: cluster::Join::new(&config.node(), compares),
            gpus: gpu::Gpus::new(gpu::spawn(&config.gpu_socket, &board), "/sys".as_ref()),
            tracker: older.map(|older| kubevirt::Tracker::new(older, board.clone())),
        };
        let collector = Collector::new(kernel, events, layout, publisher, attribution, limits, sources);
        let servers = Servers { own: server, older: older_server };
        serve(config, servers, otlp, board, collector, Facts { capabilities, detail, log: log.clone() }).await
    })
}

/// Gives up what is not needed once all programs are attached, before any other thread exists. Names what is kept.
fn drop_privileges(kmsg: &Kmsg) -> Vec<String> {
    let facts = privileges::Facts { log_by_call: kmsg.is_by_call(), ..privileges::Facts::read("/proc".as_ref()) };
    match privileges::drop_to_needed(&facts) {
        Ok(kept) => kept.iter().map(ToString::to_string).collect(),
        Err(error) => {
            tracing::warn!("{error}; the agent goes on with all it was given");
            vec!["all it was given".to_owned()]
        }
    }
}

/// What the agent still needs to reach once it is confined.
fn within_reach(
    config: &Config,
    older: Option<&kubevirt::Settings>,
    otlp: &otlp::Config,
    kube: &cluster::Config,
) -> confine::Wants {
    let sockets = match &config.cri_socket {
        SocketChoice::None => Vec::new(),
        SocketChoice::Path(path) => vec![path.clone()],
        SocketChoice::Auto => runtime::candidates(&config.host_root).collect(),
    };
    let target = otlp.target.as_ref().ok();
    let served = [config.tls(), older.and_then(kubevirt::Settings::files)];
    let served = served.iter().flatten().flat_map(http::TlsFiles::paths);
    confine::Wants {
        cgroup_root: config.cgroup_root.clone(),
        sockets,
        gpu_sockets: config.gpu_socket.sockets(),
        tls_files: served.chain(target.iter().flat_map(|target| target.files())).map(PathBuf::from).collect(),
        ports: target.map(otlp::Target::port).into_iter().chain(kube.ports()).collect(),
        kube_files: kube.files(),
    }
}

/// Without the programs that close books, only absence can end a process.
fn closings_absent(board: &Board) -> bool {
    board.all().iter().any(|((kind, name), state)| {
        *kind == Kind::Probe && ["sched_switch", "sched_process_exit"].contains(&name.as_str()) && !state.is_up()
    })
}

/// What the start has left.
struct Facts {
    /// Capabilities kept.
    capabilities: Vec<String>,
    detail: Detail,
    log: Log,
}

/// What listens.
struct Servers {
    own: Server,
    /// The older tool's page.
    older: Option<Server>,
}

impl Servers {
    /// Serves until it is dropped.
    async fn serve(self, site: &Arc<Site>) -> std::io::Result<std::convert::Infallible> {
        let own = self.own.serve(Arc::clone(site));
        let Some(older) = self.older else { return own.await };
        tokio::select! {
            ended = own => ended,
            ended = older.serve(Arc::new(kubevirt::Site(Arc::clone(site)))) => ended,
        }
    }
}

async fn serve(
    config: &Config,
    servers: Servers,
    otlp: otlp::Config,
    board: Board,
    collector: Collector,
    facts: Facts,
) -> anyhow::Result<()> {
    board.set(Kind::Source, "http", State::Up);
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    tracing::info!("serving {scheme}://{}/metrics", servers.own.address());
    if let Some(older) = &servers.older {
        tracing::info!("serving the older tool's metrics on {}", older.address());
    }
    let site = Arc::new(Site {
        latest: Latest::default(),
        shared: collector.shared(),
        node: config.node(),
        interval: config.interval,
        started: Instant::now(),
        started_unix_ns: since_epoch().as_nanos() as u64,
        skipped: AtomicU64::new(0),
        http: servers.own.counters(),
        own: Arc::new(own::attributes(&config.node(), &otlp.resource)),
        facts,
        exports: otlp.target.is_ok(),
        exporter: Exporter::spawn(&otlp, board.clone()),
        board,
    });
    // One place: a wish that is told while another one waits is the same wish.
    let (wishes, inbox) = sync_channel(1);
    let interval = config.interval;
    let loop_site = Arc::clone(&site);
    let collecting = std::thread::Builder::new()
        .name("collector".to_owned())
        .spawn(move || collect_until_stopped(collector, &loop_site, interval, &inbox))?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failed = servers.serve(&site) => {
            let Err(error) = failed;
            return Err(error).context("cannot serve HTTP");
        }
        () = pass_wishes_on(&site, &wishes) => {}
    }
    tracing::info!("stopping: one last collection");
    drop(wishes);
    tokio::task::spawn_blocking(move || collecting.join())
        .await?
        .map_err(|_| anyhow::anyhow!("the collector failed"))?;
    if site.exports && !site.exporter.flush(FLUSH).await {
        tracing::warn!("the last collection did not reach the OTLP endpoint");
    }
    Ok(())
}

/// Ends only with the collector.
async fn pass_wishes_on(site: &Site, wishes: &SyncSender<()>) {
    loop {
        site.latest.wanted().await;
        if let Err(std::sync::mpsc::TrySendError::Disconnected(())) = wishes.try_send(()) {
            return;
        }
    }
}

/// Collects on the multiples of the interval and on wishes, until the other end of `inbox` is gone; then once more.
fn collect_until_stopped(mut collector: Collector, site: &Site, interval: Duration, inbox: &Receiver<()>) {
    collect(&mut collector, site);
    let mut due = next_multiple(interval);
    loop {
        let left = due.saturating_sub(since_epoch());
        match inbox.recv_timeout(left.min(EVENTS)) {
            Ok(()) => collect(&mut collector, site),
            Err(RecvTimeoutError::Disconnected) => {
                collect(&mut collector, site);
                return;
            }
            Err(RecvTimeoutError::Timeout) if since_epoch() >= due => {
                collect(&mut collector, site);
                let next = next_multiple(interval);
                let missed = (next.saturating_sub(due).as_nanos() / interval.as_nanos().max(1)).saturating_sub(1);
                site.skipped.fetch_add(missed as u64, Ordering::Relaxed);
                due = next;
            }
            Err(RecvTimeoutError::Timeout) => {
                collector.drain_events();
                // A clock that was set back must not stop the collections.
                due = due.min(next_multiple(interval));
            }
        }
    }
}

fn collect(collector: &mut Collector, site: &Site) {
    site.board.set(Kind::Source, "log", site.facts.log.state());
    match collector.collect() {
        Ok(mut snapshot) => {
            snapshot.resources.push(own_resource(collector, site));
            let snapshot = Arc::new(snapshot);
            collector.published(&snapshot);
            site.latest.publish(Arc::clone(&snapshot));
            site.exporter.offer(snapshot);
        }
        Err(error) => tracing::error!("the collection failed: {error}"),
    }
}

/// The agent's own resource.
fn own_resource(collector: &mut Collector, site: &Site) -> Resource {
    let exports = site.exporter.stats();
    let mut figures = OwnFigures {
        collections_skipped: site.skipped.load(Ordering::Relaxed),
        export_requests: exports.requests.by_result(),
        export_points: exports.points.by_result(),
        http_requests: site.http.requests(),
        http_refused: site.http.refused(),
        ..collector.own(&site.board)
    };
    figures.dropped.push(("log_line", site.facts.log.dropped()));
    Resource {
        entity: Entity::Agent,
        attributes: Arc::clone(&site.own),
        start_ns: site.started_unix_ns,
        kernel_start_ns: site.started_unix_ns,
        ended: false,
        points: own::points(&figures),
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The next multiple of the interval by the wall clock.
fn next_multiple(interval: Duration) -> Duration {
    let (now, step) = (since_epoch().as_nanos(), interval.as_nanos().max(1));
    Duration::from_nanos(((now / step + 1) * step) as u64)
}

/// What the HTTP endpoint answers from.
struct Site {
    latest: Latest,
    shared: Arc<Mutex<Shared>>,
    board: Board,
    node: String,
    interval: Duration,
    started: Instant,
    started_unix_ns: u64,
    skipped: AtomicU64,
    http: Arc<http::Counters>,
    own: Arc<Attributes>,
    facts: Facts,
    exports: bool,
    exporter: otlp::Handle,
}

impl Source for Site {
    async fn fresh(&self) -> Option<Arc<Snapshot>> {
        self.latest.fresh().await
    }

    fn ready(&self) -> bool {
        self.latest.last().is_some()
    }

    fn status_json(&self) -> Vec<u8> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons = podscope_catalog::attribute::UNATTRIBUTED.values;
        let uname = rustix::system::uname();
        let status = view::Status {
            version: env!("CARGO_PKG_VERSION"),
            node: &self.node,
            kernel: uname.release().to_string_lossy().into_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            interval_s: self.interval.as_secs_f64(),
            collections: shared.accounting.pass,
            last_collection_ms: shared.last.phases.iter().sum::<f64>() * 1e3,
            processes: shared.accounting.processes.len(),
            containers: shared.accounting.containers.len(),
            unattributed: reasons.iter().copied().zip(shared.last.unattributed).collect(),
            losses: view::losses(shared.last.losses),
            dropped: shared.last.dropped.iter().copied().chain([("log_line", self.facts.log.dropped())]).collect(),
            namespace_note: namespace_note(),
            scheduling_detail: &self.facts.detail,
            probes: view::parts(&self.board, Kind::Probe),
            sources: view::parts(&self.board, Kind::Source),
            capabilities: &self.facts.capabilities,
            export: self.exports.then(|| self.export_counts()),
        };
        debug_assert_eq!(Loss::ALL.len(), shared.last.losses.len());
        serde_json::to_vec_pretty(&status).unwrap_or_default()
    }

    fn top_json(&self, processes: usize) -> Vec<u8> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let page = rustix::param::page_size() as u64;
        let Shared { accounting, attribution, names, machines, .. } = &*shared;
        let top = view::top(&self.node, accounting, attribution, names, machines, page, processes);
        let top = if self.facts.detail.is_on() { top } else { top.without_blocked() };
        serde_json::to_vec(&top).unwrap_or_default()
    }
}

impl Site {
    /// OTLP points by result.
    fn export_counts(&self) -> BTreeMap<&'static str, u64> {
        let results = podscope_catalog::attribute::EXPORT_RESULT.values;
        results.iter().copied().zip(self.exporter.stats().points.by_result()).collect()
    }
}

/// The iterator walks the pid namespace of its reader: outside of the host's, most processes are not seen.
fn namespace_note() -> Option<String> {
    let own = std::fs::read_link("/proc/self/ns/pid").ok()?;
    note_on_namespace(&own.to_string_lossy())
}

fn note_on_namespace(own: &str) -> Option<String> {
    /// Inode of the initial pid namespace (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
    const INITIAL: &str = "pid:[4026531836]";
    (own != INITIAL).then(|| {
        format!("only processes of this pid namespace ({own}) are seen: run the agent in the host's (hostPID: true)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_fall_on_multiples_of_the_interval() {
        for interval in [Duration::from_secs(5), Duration::from_millis(100), Duration::from_secs(3600)] {
            let (before, next) = (since_epoch(), next_multiple(interval));
            assert_eq!(next.as_nanos() % interval.as_nanos(), 0);
            assert!(next > before && next <= since_epoch() + interval);
        }
    }

    #[test]
    fn another_pid_namespace_is_told_of() {
        assert_eq!(note_on_namespace("pid:[4026531836]"), None);
        assert!(note_on_namespace("pid:[4026532299]").unwrap().contains("hostPID: true"));
    }
}
