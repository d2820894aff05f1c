//! What a runtime may do wrong: each is a state with its reason, and none outlasts its cause.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_cri::v1::{ListPodSandboxResponse, PodSandbox, PodSandboxMetadata};
use podscope_agent::runtime::{Config, Limits, Lookup, RuntimeHandle, SocketChoice, Stats, spawn};
use podscope_agent::status::{Board, State};
use prost::Message;

use crate::support::fake::{FakeRuntime, Manner};
use crate::support::recorded::{self, LIST_CONTAINERS, LIST_SANDBOXES, LIST_TASKS, replay};
use crate::support::{absent, eventually, state};

/// A container and the sandbox of the recording that is replayed here.
const APP: &str = "2b6dd3e013651af525a60a1d2b89102aa0c8d8d0bc749517f3238b520617f5dd";
const SANDBOX: &str = "8a7cca79e501eb282bbe54a32321f3f4a2ccfe50173722ee59d4aff0b1de5f92";

/// A place for a socket, and an agent's view of it.
struct Place {
    path: PathBuf,
    board: Board,
    handle: RuntimeHandle,
    _folder: tempfile::TempDir,
}

/// Short times, and no polling unless a test wants it.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_millis(300),
        call: Duration::from_millis(300),
        refresh: Duration::from_millis(5),
        retry: (Duration::from_millis(20), Duration::from_millis(50)),
        ..Limits::default()
    }
}

fn place(limits: Limits, before: impl FnOnce(&PathBuf)) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runtime.sock");
    before(&path);
    let board = Board::default();
    let config = Config { socket: SocketChoice::Path(path.clone()), limits, ..Config::default() };
    let handle = spawn(config, board.clone());
    Place { path, board, handle, _folder: folder }
}

impl Place {
    fn good(&self) -> FakeRuntime {
        let server = FakeRuntime::start(&self.path, Manner::Good);
        replay(&server, &recorded::folder("ctd16"));
        server
    }

    /// Waits for a reason that contains `part`; a failure tells the one that stood there instead.
    async fn reason(&self, part: &str) -> String {
        let shown = || absent(&self.board, "runtime");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match shown() {
                Some(reason) if reason.contains(part) => return reason,
                other => assert!(Instant::now() < deadline, "no `{part}` in {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn up(&self) {
        let is_up = || state(&self.board, "runtime").is_some_and(|state| state.is_up()).then_some(());
        eventually("the runtime is up", is_up).await;
    }

    fn knows(&self, id: &str) -> bool {
        matches!(self.handle.get(id), Lookup::Known(_))
    }
}

/// A fault is shown with its reason, and a good server at the same path ends it.
async fn shown_and_overcome(manner: Manner, reason: &str) {
    let mut server = None;
    let place = place(limits(), |path| {
        let faulty = FakeRuntime::start(path, manner);
        replay(&faulty, &recorded::folder("ctd16"));
        server = Some(faulty);
    });
    let shown = place.reason(reason).await;
    assert!(shown.contains(&format!("unix://{}", place.path.display())), "{shown}");
    assert_eq!(place.handle.get(APP), Lookup::NoRuntime);
    assert!(absent(&place.board, "containerd").is_some());
    drop(server);
    let _good = place.good();
    place.up().await;
    assert!(place.knows(APP));
    assert!(place.handle.stats().failures > 0);
}

#[tokio::test]
async fn a_server_that_never_speaks() {
    shown_and_overcome(Manner::Mute, "Version: no answer within 300ms").await;
}

#[tokio::test]
async fn a_server_that_never_answers() {
    shown_and_overcome(Manner::Slow, "Version: no answer within 300ms").await;
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_of_an_answer() {
    shown_and_overcome(Manner::CutAnswer, "Version: Internal, Missing response message").await;
}

#[tokio::test]
async fn a_server_that_closes_the_connection_instead_of_answering() {
    shown_and_overcome(Manner::CutConnection, "Version: Unknown, transport error").await;
}

#[tokio::test]
async fn a_server_that_speaks_something_else() {
    shown_and_overcome(Manner::Garbage, "http2 error").await;
}

#[tokio::test]
async fn a_server_whose_answers_make_no_sense() {
    shown_and_overcome(Manner::GarbageMessage, "Version: Internal, failed to decode").await;
}

#[tokio::test]
async fn a_socket_that_is_missing_and_comes_later() {
    let place = place(limits(), |_| {});
    let reason = place.reason("No such file").await;
    assert!(reason.starts_with(&format!("connecting to unix://{}: ", place.path.display())), "{reason}");
    assert!(reason.ends_with("mount the socket or pass --cri-socket"), "{reason}");
    assert_eq!(place.handle.get(APP), Lookup::NoRuntime);
    let _good = place.good();
    place.up().await;
    assert!(place.knows(APP) && place.knows(SANDBOX));
}

#[tokio::test]
async fn a_plain_file_in_place_of_the_socket() {
    let place = place(limits(), |path| std::fs::write(path, "").unwrap());
    place.reason("Connection refused").await;
}

#[tokio::test]
async fn no_known_socket_until_there_is_one() {
    let root = tempfile::tempdir().unwrap();
    let board = Board::default();
    let config = Config { host_root: root.path().to_owned(), limits: limits(), ..Config::default() };
    let handle = spawn(config, board.clone());
    let reason = eventually("a reason", || absent(&board, "runtime")).await;
    assert!(reason.contains("run/containerd/containerd.sock") && reason.contains("--cri-socket"), "{reason}");

    std::fs::create_dir_all(root.path().join("run/crio")).unwrap();
    let server = FakeRuntime::start(&root.path().join("run/crio/crio.sock"), Manner::Good);
    replay(&server, &recorded::folder("crio"));
    let version = eventually("the runtime is found", || handle.version()).await;
    assert_eq!(version.name, "cri-o");
}

#[tokio::test]
async fn no_runtime_is_wanted() {
    let board = Board::default();
    let handle = spawn(Config { socket: SocketChoice::None, ..Config::default() }, board.clone());
    for source in ["runtime", "containerd"] {
        let state = eventually("a state", || state(&board, source)).await;
        assert!(matches!(state, State::Off { .. }), "{source}: {state:?}");
    }
    handle.request_refresh(APP);
    assert_eq!(handle.get(APP), Lookup::NoRuntime);
}

#[tokio::test]
async fn an_answer_that_is_too_large() {
    let limits = Limits { message_bytes: 100_000, ..limits() };
    let mut server = None;
    let place = place(limits, |path| {
        let large = FakeRuntime::start(path, Manner::Good);
        replay(&large, &recorded::folder("ctd16"));
        let sandbox = PodSandbox { id: "x".repeat(200_000), ..PodSandbox::default() };
        large.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items: vec![sandbox] });
        server = Some(large);
    });
    let reason = place.reason("ListPodSandbox: OutOfRange").await;
    assert!(reason.contains("100000 bytes"), "{reason}");
    let server = server.unwrap();
    replay(&server, &recorded::folder("ctd16"));
    place.up().await;
    assert!(place.knows(APP));
}

#[tokio::test]
async fn what_was_known_survives_the_runtime_and_a_new_one_is_taken_up() {
    let limits = Limits { poll: Duration::from_millis(20), keep_gone: Duration::from_millis(400), ..limits() };
    let place = place(limits, |_| {});
    let first = place.good();
    place.up().await;
    // When it was started is asked for apart, and comes last.
    let whole = || match place.handle.get(APP) {
        Lookup::Known(meta) => meta.started_at_ns.and(meta.pid).map(|_| meta),
        _ => None,
    };
    let before = Lookup::Known(eventually("all of the container is known", whole).await);
    drop(first);
    place.reason("No such file").await;
    assert_eq!(place.handle.get(APP), before);
    assert_eq!(place.handle.get("something else"), Lookup::NoRuntime);

    // A newer runtime, which knows other containers.
    let second = FakeRuntime::start(&place.path, Manner::Good);
    replay(&second, &recorded::folder("ctd21"));
    place.up().await;
    assert_eq!(place.handle.version().unwrap().version, "2.1.9+unknown");
    assert!(place.knows("f82fb18e24e0759a257dd6a9868549c708d6efcb283524cfb58051d7be816f6e"));
    // Still named, since the books may close late, but its process id may be another's.
    assert!(matches!(place.handle.get(APP), Lookup::Known(meta) if meta.pid.is_none() && &*meta.name == "app"));
    eventually("it is forgotten", || (!place.knows(APP)).then_some(())).await;
    assert_eq!(place.handle.get(APP), Lookup::Unknown);
}

#[tokio::test]
async fn a_native_interface_that_does_not_answer_leaves_the_cri_as_it_is() {
    let mut server = None;
    let place = place(limits(), |path| {
        let good = FakeRuntime::start(path, Manner::Good);
        replay(&good, &recorded::folder("ctd16"));
        good.respond(LIST_TASKS, |_| Err(tonic::Status::permission_denied("not\nfor you")));
        server = Some(good);
    });
    let reason = eventually("a reason", || absent(&place.board, "containerd")).await;
    assert_eq!(reason, "containerd Tasks.List: PermissionDenied, notfor you");
    place.up().await;
    assert!(place.knows(APP));
    assert_eq!(place.handle.pids().len(), 0);
}

#[tokio::test]
async fn without_events_new_containers_are_polled_for() {
    let place = place(limits(), |_| {});
    let _server = place.good();
    let reason = eventually("a reason", || {
        absent(&place.board, "containerd").filter(|reason| reason.contains("Events.Subscribe"))
    });
    assert!(reason.await.contains("Unimplemented"));
    place.up().await;
    assert_eq!(place.handle.pids().len(), 3);
}

#[tokio::test]
async fn an_id_is_asked_for_until_the_runtime_knows_it() {
    let place = place(limits(), |_| {});
    let server = FakeRuntime::start(&place.path, Manner::Good);
    replay(&server, &recorded::folder("crio"));
    place.up().await;
    let listed = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&listed);
    server.respond(LIST_SANDBOXES, move |_| {
        let metadata = PodSandboxMetadata { name: "late".into(), ..PodSandboxMetadata::default() };
        let sandbox = PodSandbox { id: "abc".into(), metadata: Some(metadata), ..PodSandbox::default() };
        let items = if switch.load(Ordering::Relaxed) { vec![sandbox] } else { vec![] };
        Ok(ListPodSandboxResponse { items }.encode_to_vec())
    });
    let generation = place.handle.generation();
    let calls = server.calls(LIST_CONTAINERS);
    // A burst of requests, as when each task of a new container is met.
    for _ in 0..1000 {
        place.handle.request_refresh("abc");
    }
    eventually("the runtime is asked", || (server.calls(LIST_CONTAINERS) > calls).then_some(())).await;
    assert_eq!(place.handle.get("abc"), Lookup::Unknown);
    listed.store(true, Ordering::Relaxed);
    eventually("it is known", || place.knows("abc").then_some(())).await;
    assert_ne!(place.handle.generation(), generation);
    assert!(server.calls(LIST_CONTAINERS) - calls <= 4, "one attempt and a few repetitions");
}

#[tokio::test]
async fn too_many_containers_and_labels_are_left_out_and_counted() {
    let place = place(Limits { containers: 100, ..limits() }, |_| {});
    let server = FakeRuntime::start(&place.path, Manner::Good);
    replay(&server, &recorded::folder("crio"));
    let labels = (0..1000).map(|i| (format!("label-{i}"), "value".to_owned()));
    let labelled = PodSandbox { id: "labelled".into(), labels: labels.collect(), ..PodSandbox::default() };
    let plain = (0..250).map(|i| PodSandbox { id: format!("sandbox-{i}"), ..PodSandbox::default() });
    let nameless = PodSandbox { id: "x".repeat(1000), ..PodSandbox::default() };
    let items = [labelled, nameless].into_iter().chain(plain).collect();
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items });
    server.answer(LIST_CONTAINERS, &k8s_cri::v1::ListContainersResponse::default());
    eventually("a refresh", || (place.handle.stats().refreshes > 0).then_some(())).await;
    assert_eq!(place.handle.containers().len(), 100);
    let stats = place.handle.stats();
    assert_eq!(
        stats,
        Stats {
            refreshes: 1,
            evictions: 151,
            truncated_labels: 936,
            malformed: 1,
            failures: stats.failures,
            requests_dropped: 0
        }
    );
    assert!(matches!(place.handle.get("labelled"), Lookup::Known(meta) if meta.pod.labels.len() == 64));
}

#[tokio::test]
async fn the_background_task_ends_with_the_last_handle() {
    let place = place(Limits { poll: Duration::from_millis(5), ..limits() }, |_| {});
    let server = place.good();
    place.up().await;
    let clone = place.handle.clone();
    drop(place.handle);
    let calls = server.calls(LIST_CONTAINERS);
    eventually("a clone keeps it going", || (server.calls(LIST_CONTAINERS) > calls + 2).then_some(())).await;
    drop(clone);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let calls = server.calls(LIST_CONTAINERS);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.calls(LIST_CONTAINERS), calls);
}
