//! The Kubernetes API and the kubelet fail.

use std::time::Instant;

use super::ground::Ground;
use super::ledger::Ledger;
use super::table::{self, Row};
use crate::cluster_support::{Fault, Server, status};
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::support::agent::Agent;
use crate::support::turn;

const PODS: &str = "/api/v1/pods";
const KUBELET: &str = "/metrics/resource";
const METRICS: &str = "/apis/metrics.k8s.io";
const FORBIDDEN: (&str, Fault) = (KUBELET, Fault::Status(403, ""));

/// An agent, its cluster, and work to be measured.
struct Stage {
    agent: Agent,
    server: Server,
    receiver: Receiver,
    ground: Ground,
}

impl Stage {
    async fn start() -> Self {
        let receiver = Receiver::start(Protocol::Grpc).await;
        let server = Server::start();
        let (kubeconfig, kubelet) = (server.kubeconfig(), server.address.to_string());
        let kubeconfig = kubeconfig.to_str().unwrap();
        let cluster = ["--kubeconfig", kubeconfig, "--kubelet", &kubelet, "--kube-metrics-interval", "1"];
        let always = ["--cri-socket", "none", "--node-name", "node1"];
        let agent = Agent::sending_to(&receiver, &[&always[..], &cluster].concat());
        for source in ["kube_pods", "kube_node", "kubelet", "kube_clock"] {
            agent.becomes(source, "up");
        }
        Self { agent, server, receiver, ground: Ground::new() }
    }

    /// Work and collections go on while something fails.
    fn row(&mut self, row: &Row, fail: impl FnOnce(&Server), mend: impl FnOnce(&Server)) {
        let logged = self.agent.log().len();
        let began = Instant::now();
        fail(&self.server);
        let seen = row.seen(&self.agent, began);
        self.ground.work();
        self.agent.collections(2);
        let mended = Instant::now();
        mend(&self.server);
        row.mended(&self.agent, seen, mended);
        let log = &self.agent.log()[logged..];
        for (source, ..) in row.shown {
            let told = log.matches(&format!("{source} is absent")).count();
            assert!(told <= 3, "{}: told {told} times:\n{log}", row.id);
        }
    }

    /// Faults of whole paths.
    fn fault(&mut self, row: &Row, faults: &[(&'static str, Fault)]) {
        self.row(row, |server| server.now().faults = faults.to_vec(), |server| server.now().faults.clear());
    }

    /// Faults of the list of pods, which is asked for again because the watch has ended.
    fn listing(&mut self, row: &Row, fault: Fault) {
        let fail = |server: &Server| {
            server.fail(PODS, fault);
            expire(server);
        };
        self.row(row, fail, |server| server.now().faults.clear());
    }

    /// All that the kernel has counted has arrived.
    fn all_has_arrived(mut self) {
        self.ground.is_whole(&mut Ledger::default(), &self.receiver);
    }
}

/// Tells running watches that they are too old, and then those to come nothing.
fn expire(server: &Server) {
    let event = format!("{{\"type\":\"ERROR\",\"object\":{}}}", status(410, "too old resource version: 1 (2)"));
    server.now().events = vec![event, "END".to_owned()];
}

/// Without the kubelet, metrics.k8s.io is asked; where that fails too, both are named.
fn metrics_server(stage: &mut Stage, row: &Row, code: u16) {
    stage.server.now().faults = vec![FORBIDDEN];
    stage.agent.becomes("metrics_server", "up");
    let began = Instant::now();
    stage.server.now().faults = vec![FORBIDDEN, (METRICS, Fault::Status(code, ""))];
    let seen = row.seen(&stage.agent, began);
    stage.ground.work();
    let mended = Instant::now();
    stage.server.now().faults = vec![FORBIDDEN];
    stage.agent.becomes("metrics_server", "up");
    row.passed(Some(seen), Some(mended.elapsed()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubelet_and_metrics_server() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.fault(&table::KUBELET_FORBIDDEN, &[FORBIDDEN]);
    metrics_server(&mut stage, &table::METRICS_MISSING, 404);
    stage.server.now().faults.clear();
    stage.agent.becomes("kubelet", "up");
    let reason = stage.agent.becomes("metrics_server", "off");
    assert_eq!(reason, "the kubelet is asked");
    stage.all_has_arrived();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow rows: `cargo xtask faults`"]
async fn the_kubelet_and_metrics_server_in_other_ways() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.fault(&table::KUBELET_BROKEN, &[(KUBELET, Fault::Status(500, ""))]);
    stage.fault(&table::KUBELET_CUT, &[(KUBELET, Fault::BreakOff)]);
    stage.fault(&table::KUBELET_NONSENSE, &[(KUBELET, Fault::Nonsense)]);
    metrics_server(&mut stage, &table::METRICS_UNAVAILABLE, 503);
    stage.all_has_arrived();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.row(&table::API_EXPIRED, expire, |_| ());
    stage.listing(&table::API_FORBIDDEN, Fault::Status(403, ""));
    stage.listing(&table::API_THROTTLED, Fault::Status(429, "Retry-After: 2\r\n"));
    stage.listing(&table::API_UNAVAILABLE, Fault::Status(503, ""));
    let clock = |ahead| {
        move |server: &Server| {
            server.now().clock = ahead;
            expire(server);
        }
    };
    stage.row(&table::API_CLOCK, clock(7200), clock(0));
    stage.all_has_arrived();
}

/// The token is another one from now on, for all; the file with it is written a little later.
#[tokio::test(flavor = "multi_thread")]
async fn the_token() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    let renew = |server: &Server| std::fs::write(server.token_file(), "second").unwrap();
    let fail = |server: &Server| {
        server.now().token = "second".to_owned();
        expire(server);
    };
    let began = Instant::now();
    fail(&stage.server);
    let seen = table::API_UNAUTHORIZED.seen(&stage.agent, began);
    stage.agent.becomes("kubelet", "absent");
    stage.ground.work();
    stage.agent.collections(2);
    let mended = Instant::now();
    renew(&stage.server);
    table::API_UNAUTHORIZED.mended(&stage.agent, seen, mended);
    stage.agent.becomes("kubelet", "up");
    stage.all_has_arrived();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow rows: `cargo xtask faults`"]
async fn the_api_hangs_and_talks_nonsense() {
    let _turn = turn().await;
    let mut stage = Stage::start().await;
    stage.listing(&table::API_NONSENSE, Fault::Nonsense);
    stage.listing(&table::API_HANGS, Fault::Hang);
    stage.all_has_arrived();
}
