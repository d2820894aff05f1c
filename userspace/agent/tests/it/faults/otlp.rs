//! The OTLP receiver fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tonic::Code;

use super::door::{Door, Manner};
use super::ground::Ground;
use super::ledger::Ledger;
use super::table::{self, Row};
use crate::otlp_support::receiver::{Act, Protocol, Receiver};
use crate::support::agent::Agent;
use crate::support::turn;

/// An agent, the way to its receiver, and work to be measured.
struct Stage {
    agent: Agent,
    door: Door,
    receiver: Receiver,
    ground: Ground,
    ledger: Ledger,
}

impl Stage {
    async fn start(protocol: Protocol) -> Self {
        let receiver = Receiver::start(protocol).await;
        Self::of(protocol, receiver, "http", &[]).await
    }

    async fn of(protocol: Protocol, receiver: Receiver, scheme: &str, flags: &[&str]) -> Self {
        let ground = Ground::new();
        let door = Door::tcp(receiver.address).await;
        let path = if protocol == Protocol::Http { "/v1/metrics" } else { "" };
        let endpoint = format!("{scheme}://{}{path}", door.address());
        let always = ["--cri-socket", "none", "--otlp-timeout", "1000", "--otlp-endpoint", &endpoint];
        let agent = Agent::start(&[&always[..], &["--otlp-protocol", &protocol.flag()], flags].concat());
        Self { agent, door, receiver, ground, ledger: Ledger::default() }
    }

    /// Work goes on before, during and after a fault, and all of it arrives.
    async fn row(
        &mut self,
        row: &Row,
        fail: impl AsyncFnOnce(&mut Door, &Receiver),
        mend: impl AsyncFnOnce(&mut Door, &Receiver),
    ) {
        self.agent.becomes("otlp", "up");
        let logged = self.agent.log().len();
        self.ground.work();
        let began = Instant::now();
        fail(&mut self.door, &self.receiver).await;
        let seen = row.seen(&self.agent, began);
        self.ground.work();
        // Its series end while nothing gets through.
        self.ground.rest();
        self.agent.collections(3);
        self.ground.work();
        let mended = Instant::now();
        mend(&mut self.door, &self.receiver).await;
        row.mended(&self.agent, seen, mended);
        self.ground.is_whole(&mut self.ledger, &self.receiver);
        let told = self.agent.log()[logged..].matches("otlp is absent").count();
        assert!(told <= 4, "{}: told {told} times:\n{}", row.id, &self.agent.log()[logged..]);
    }

    /// A fault of the way there.
    async fn way(&mut self, row: &Row, manner: Manner) {
        self.row(row, async |door, _| door.set(manner).await, async |door, _| door.set(Manner::Pass).await).await;
    }

    /// A receiver that answers so.
    async fn answer(&mut self, row: &Row, act: Act) {
        self.row(row, async |_, receiver| receiver.always(Some(act)), async |_, receiver| receiver.always(None)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc() {
    let _turn = turn().await;
    let mut stage = Stage::start(Protocol::Grpc).await;
    stage.way(&table::OTLP_REFUSED, Manner::Closed).await;
    stage.way(&table::OTLP_HANGS, Manner::Mute).await;
    stage.way(&table::OTLP_CUT, Manner::Cut(60)).await;
    stage.answer(&table::OTLP_UNAVAILABLE, Act::Refuse(503, Code::Unavailable, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http() {
    let _turn = turn().await;
    let mut stage = Stage::start(Protocol::Http).await;
    stage.answer(&table::OTLP_THROTTLED, Act::Refuse(429, Code::ResourceExhausted, Some(2))).await;
    let rejected = |stage: &Stage| stage.agent.status()["export"]["rejected"].as_u64().unwrap();
    let before = rejected(&stage);
    stage.answer(&table::OTLP_PARTIAL, Act::Partial(2, "as scripted")).await;
    let more = rejected(&stage) - before;
    assert!(more >= 2 && more.is_multiple_of(2), "{more} points were counted as rejected");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow rows: `cargo xtask faults`"]
async fn over_a_bad_line() {
    let _turn = turn().await;
    let mut stage = Stage::start(Protocol::Http).await;
    stage.way(&table::OTLP_SLOW, Manner::Slow).await;
    stage.way(&table::OTLP_GARBLED, Manner::Garble(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_of_another_authority() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let (trusted, _) = authority();
    std::fs::write(&ca, trusted).unwrap();
    let (other, server) = authority();
    let receiver = Receiver::at("127.0.0.1:0".parse().unwrap(), Protocol::Http, Some(server)).await;
    let began = Instant::now();
    let flags = ["--otlp-ca", ca.to_str().unwrap()];
    let mut stage = Stage::of(Protocol::Http, receiver, "https", &flags).await;
    stage.ground.work();
    let seen = table::OTLP_WRONG_CA.seen(&stage.agent, began);
    stage.ground.work();
    stage.ground.rest();
    stage.agent.collections(2);
    assert_eq!(stage.receiver.came().len(), 0, "something was sent to a stranger");
    let mended = Instant::now();
    replace(&ca, &other);
    table::OTLP_WRONG_CA.mended(&stage.agent, seen, mended);
    stage.ground.is_whole(&mut stage.ledger, &stage.receiver);
}

/// As secrets are renewed: in one piece.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// An authority's certificate, and a server of that authority.
fn authority() -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(server)], key);
    (certificate, config.unwrap())
}
