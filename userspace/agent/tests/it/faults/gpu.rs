//! podscope-gpu, or NVML behind it, fails.

use std::time::{Duration, Instant};

use podscope_gpu::document::Answer;
use tempfile::TempDir;

use super::ground::Ground;
use super::ledger::Ledger;
use super::table::{self, Row};
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::support::agent::Agent;
use crate::support::gpu::{Manner, Stranger};
use crate::support::{eventually, turn};

const POWER: &str = "hw_power_watts";

/// A thing to do to the socket.
type Deed = fn(&mut Stranger);

/// An agent, its podscope-gpu, and work to be measured.
struct Stage {
    agent: Agent,
    helper: Stranger,
    receiver: Receiver,
    ground: Ground,
    _dir: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let receiver = Receiver::start(Protocol::Grpc).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gpu.sock");
        let flags = ["--cri-socket", "none", "--gpu-socket", path.to_str().unwrap()];
        let helper = Stranger::start(path.clone());
        let agent = Agent::sending_to(&receiver, &flags);
        agent.becomes("gpu", "up");
        Self { agent, helper, receiver, ground: Ground::new(), _dir: dir }
    }

    /// Work and collections go on while it fails; its figures are not shown as if they were of now.
    fn row(&mut self, row: &Row, fail: Deed, mend: Deed) {
        let agent = &self.agent;
        let power = || agent.page().get(POWER, &[]);
        eventually("the GPU has its figures", || power().filter(|&watts| watts == 61.532));
        let logged = agent.log().len();
        let began = Instant::now();
        fail(&mut self.helper);
        let seen = row.seen(agent, began);
        let collecting = Instant::now();
        self.ground.work();
        agent.collections(2);
        assert!(collecting.elapsed() < Duration::from_secs(10), "collections wait: {:?}", collecting.elapsed());
        assert_eq!(power(), None, "{}", row.id);
        assert_eq!(agent.page().get("podscope_agent_source_up", &[("podscope_source", "gpu")]), Some(0.0));
        let mended = Instant::now();
        mend(&mut self.helper);
        row.mended(agent, seen, mended);
        let log = &agent.log()[logged..];
        assert_eq!(log.matches("gpu is absent").count(), 1, "{}:\n{log}", row.id);
    }

    /// An answer that is none of podscope-gpu's.
    fn answer(&mut self, row: &Row, fail: Deed) {
        self.row(row, fail, |helper| helper.become_one_that(Manner::good()));
    }

    /// All that the kernel has counted has arrived.
    fn all_has_arrived(mut self) {
        self.ground.is_whole(&mut Ledger::default(), &self.receiver);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podscope_gpu_and_nvml() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.row(&table::GPU_ENDS, Stranger::end, Stranger::listen);
    stage.answer(&table::NVML_GONE, |helper| {
        let reason = "loading libnvidia-ml.so.1: NVIDIA driver is not loaded".to_owned();
        helper.become_one_that(Manner::answers(Answer::Unavailable(reason)));
    });
    stage.answer(&table::GPU_HANGS, |helper| helper.become_one_that(Manner::Mute));
    stage.all_has_arrived();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow rows: `cargo xtask faults`"]
async fn podscope_gpu_in_other_ways() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.answer(&table::GPU_NONSENSE, |helper| helper.become_one_that(Manner::Says(b"HTTP/1.1 400 Bad".to_vec())));
    stage.answer(&table::GPU_NEWER, |helper| helper.become_one_that(Manner::Says(br#"{"version":2}"#.to_vec())));
    stage.answer(&table::GPU_FLOODS, |helper| helper.become_one_that(Manner::Says(vec![b' '; 8 << 20])));
    stage.all_has_arrived();
}
