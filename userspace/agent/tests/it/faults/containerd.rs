//! The container runtime fails.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_cri::v1::{ListPodSandboxResponse, PodSandbox};
use xtask::rig::{Pod, Rig};

use super::door::{Door, Manner};
use super::ground::Ground;
use super::ledger::Ledger;
use super::table::{self, Row};
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::runtime_support::fake::{FakeRuntime, Manner as Speech};
use crate::runtime_support::recorded::{self, LIST_SANDBOXES, replay};
use crate::support::agent::Agent;
use crate::support::{eventually, pod, rig, turn, work};

/// An agent, a real containerd, and a receiver of all figures.
struct Stage {
    agent: Agent,
    receiver: Receiver,
    ledger: Ledger,
    /// A container that was there before.
    old: Ground,
    pod: Pod,
    rig: Rig,
}

impl Stage {
    /// `socket`: where the agent looks for containerd; its own one where not given.
    async fn start(rig: Rig, socket: PathBuf) -> Self {
        let pod = pod(&rig, "steady").await;
        let old = Ground::of(&work(&pod, "old", "sleep 0").await);
        let receiver = Receiver::start(Protocol::Grpc).await;
        let agent = Agent::sending_to(&receiver, &["--cri-socket", &format!("unix://{}", socket.display())]);
        let stage = Self { agent, receiver, ledger: Ledger::default(), old, pod, rig };
        stage.named(&stage.old, "old");
        stage
    }

    /// Waits until a container has its name.
    fn named(&self, ground: &Ground, name: &str) {
        let labels = [("container_id", &*ground.id), ("k8s_pod_name", "steady"), ("k8s_container_name", name)];
        eventually(&format!("{name} has its name"), || {
            self.agent.page().get("podscope_container_process_count", &labels)
        });
    }

    /// Both containers work while the fault lasts; the new one begins with it.
    async fn during(&mut self, row: &Row, began: Instant, new: &mut Ground) -> Duration {
        new.work();
        self.old.work();
        let seen = row.seen(&self.agent, began);
        new.work();
        self.agent.collections(2);
        self.named(&self.old, "old");
        seen
    }

    /// Checks that neither container has lost anything, under whatever names it was published.
    fn after(&mut self, row: &Row, seen: Duration, mended: Instant, new: &mut Ground) {
        row.mended(&self.agent, seen, mended);
        new.work();
        new.is_whole(&mut self.ledger, &self.receiver);
        self.old.rest();
        let told = self.agent.log().matches("runtime is absent").count();
        assert!(told <= 16, "{}: told {told} times:\n{}", row.id, self.agent.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops() {
    let _turn = turn().await;
    let rig = rig().await;
    let socket = rig.socket();
    let mut stage = Stage::start(rig, socket).await;
    let mut stranger = Ground::new();
    let began = Instant::now();
    stage.rig.stop_containerd().await.unwrap();
    let row = table::RUNTIME_STOPS;
    let seen = stage.during(&row, began, &mut stranger).await;
    let mended = Instant::now();
    stage.rig.start_containerd().await.unwrap();
    stage.after(&row, seen, mended, &mut stranger);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a slow row: `cargo xtask faults`"]
async fn it_freezes() {
    let _turn = turn().await;
    let rig = rig().await;
    let socket = rig.socket();
    let mut stage = Stage::start(rig, socket).await;
    // What no runtime knows is asked for, so that a frozen one is noticed.
    let mut stranger = Ground::new();
    let began = Instant::now();
    stage.rig.freeze().unwrap();
    let row = table::RUNTIME_FREEZES;
    let seen = stage.during(&row, began, &mut stranger).await;
    let mended = Instant::now();
    stage.rig.thaw().unwrap();
    stage.after(&row, seen, mended, &mut stranger);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_answers_are_wrong() {
    let _turn = turn().await;
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("containerd.sock");
    let mut door = Door::unix(path.clone(), rig.socket()).await;
    let real = rig.socket();
    let mut stage = Stage::start(rig, path).await;

    for (row, manner, name) in
        [(table::RUNTIME_CUT, Manner::Cut(100), "cut"), (table::RUNTIME_GARBLED, Manner::Garble(50), "garbled")]
    {
        let began = Instant::now();
        door.set(manner).await;
        let mut new = Ground::of(&work(&stage.pod, name, "sleep 0").await);
        let seen = stage.during(&row, began, &mut new).await;
        let mended = Instant::now();
        door.set(Manner::Pass).await;
        stage.after(&row, seen, mended, &mut new);
        stage.named(&new, name);
    }

    let began = Instant::now();
    let fake = folder.path().join("fake.sock");
    let server = FakeRuntime::start(&fake, Speech::Good);
    replay(&server, &recorded::folder("ctd16"));
    let sandbox = PodSandbox { id: "x".repeat(80_000_000), ..PodSandbox::default() };
    server.answer(LIST_SANDBOXES, &ListPodSandboxResponse { items: vec![sandbox] });
    door.lead_to(fake.clone());
    door.set(Manner::Pass).await;
    let mut new = Ground::of(&work(&stage.pod, "oversized", "sleep 0").await);
    let row = table::RUNTIME_OVERSIZED;
    let seen = stage.during(&row, began, &mut new).await;
    let resident = stage.agent.page().sum("podscope_agent_memory_usage_bytes", &[]);
    assert!(resident < 100e6, "the agent has grown to {resident} bytes");
    let mended = Instant::now();
    drop(server);
    door.lead_to(real);
    door.set(Manner::Pass).await;
    stage.after(&row, seen, mended, &mut new);
    stage.named(&new, "oversized");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow rows: `cargo xtask faults`"]
async fn its_socket_is_replaced_and_its_answers_make_no_sense() {
    let _turn = turn().await;
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("containerd.sock");
    let mut door = Door::unix(path.clone(), rig.socket()).await;
    let real = rig.socket();
    let mut stage = Stage::start(rig, path).await;

    // The new socket works from the beginning: the fault is the old connection, and mends itself.
    let row = table::RUNTIME_SOCKET_REPLACED;
    let began = Instant::now();
    door.replace();
    let mut new = Ground::of(&work(&stage.pod, "replaced", "sleep 0").await);
    new.work();
    let seen = row.seen(&stage.agent, began);
    stage.after(&row, seen, Instant::now(), &mut new);
    stage.named(&new, "replaced");

    let row = table::RUNTIME_NONSENSE;
    let began = Instant::now();
    let fake = folder.path().join("fake.sock");
    let server = FakeRuntime::start(&fake, Speech::GarbageMessage);
    replay(&server, &recorded::folder("ctd16"));
    door.lead_to(fake.clone());
    door.set(Manner::Pass).await;
    let mut new = Ground::of(&work(&stage.pod, "nonsense", "sleep 0").await);
    let seen = stage.during(&row, began, &mut new).await;
    let mended = Instant::now();
    drop(server);
    door.lead_to(real);
    door.set(Manner::Pass).await;
    stage.after(&row, seen, mended, &mut new);
    stage.named(&new, "nonsense");
}
