//! The OTLP exporter over TLS: authorities, client certificates, rotation.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod otlp_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use otlp_support::receiver::{Protocol, Receiver};
use otlp_support::{POINTS, absent, eventually, exporter, snapshot, state, up};
use podscope_agent::export::otlp::OtlpArgs;
use podscope_agent::status::State;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

/// An authority and the PEM files made with it.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let this = Self { folder: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), ca };
        std::fs::write(this.path("ca"), &this.ca).unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn flag(&self, name: &str) -> Option<String> {
        Some(self.path(name).to_str().unwrap().to_owned())
    }

    /// Certificate and key for `host`, as PEM files `<name>` and `<name>.key`.
    fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        std::fs::write(self.path(name), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A server with the certificate `name`, which asks for client certificates of `clients` if given.
    fn server(&self, name: &str, protocol: Protocol, clients: Option<&Authority>) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(&clients.path("ca"))).unwrap();
                let provider = Arc::new(ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let mut config = builder.with_single_cert(vec![certificate(&self.path(name))], key).unwrap();
        let alpn: &[u8] = if protocol == Protocol::Grpc { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

async fn receiver(protocol: Protocol, config: ServerConfig) -> Receiver {
    Receiver::at("127.0.0.1:0".parse().unwrap(), protocol, Some(config)).await
}

fn args(protocol: Protocol, receiver: &Receiver, ca: Option<String>) -> OtlpArgs {
    let path = if protocol == Protocol::Http { "/v1/metrics" } else { "" };
    OtlpArgs {
        otlp_endpoint: Some(format!("https://{}{path}", receiver.address)),
        otlp_protocol: Some(protocol.flag()),
        otlp_ca: ca,
        ..OtlpArgs::default()
    }
}

/// Offers a snapshot and waits for the reason why it cannot be sent.
async fn refused(args: OtlpArgs) -> String {
    let (handle, board) = exporter(args);
    handle.offer(snapshot(1));
    absent(&board).await
}

/// Offers a snapshot and waits until it has been taken.
async fn accepted(args: OtlpArgs) {
    let (handle, board) = exporter(args);
    handle.offer(snapshot(1));
    up(&board).await;
    eventually("the count", || (handle.stats().points.sent == POINTS).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_receivers_of_the_given_authority_are_trusted() {
    let (ours, other) = (Authority::new(), Authority::new());
    ours.issue("server", "127.0.0.1");
    ours.issue("elsewhere", "collector.example");
    for protocol in Protocol::BOTH {
        let server = receiver(protocol, ours.server("server", protocol, None)).await;
        accepted(args(protocol, &server, ours.flag("ca"))).await;
        let reason = refused(args(protocol, &server, other.flag("ca"))).await;
        assert!(reason.contains("TLS handshake failed") && reason.contains("invalid peer certificate"), "{reason}");
        assert_eq!(server.came().len(), 1, "nothing was sent to an untrusted receiver");

        let server = receiver(protocol, ours.server("elsewhere", protocol, None)).await;
        let reason = refused(args(protocol, &server, ours.flag("ca"))).await;
        assert!(reason.contains("not valid for name"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_presented_where_asked_for() {
    let (servers, clients) = (Authority::new(), Authority::new());
    servers.issue("server", "127.0.0.1");
    servers.issue("stranger", "agent");
    clients.issue("agent", "agent");
    for protocol in Protocol::BOTH {
        let server = receiver(protocol, servers.server("server", protocol, Some(&clients))).await;
        let with = |of: &Authority, name: &str| OtlpArgs {
            otlp_cert: of.flag(name),
            otlp_key: of.flag(&format!("{name}.key")),
            ..args(protocol, &server, servers.flag("ca"))
        };
        accepted(with(&clients, "agent")).await;
        let without = refused(args(protocol, &server, servers.flag("ca"))).await;
        assert!(without.contains("--otlp-cert"), "{without}");
        refused(with(&servers, "stranger")).await;
        assert_eq!(server.came().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_is_read_with_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    new.issue("server", "127.0.0.1");
    let protocol = Protocol::Grpc;
    let server = receiver(protocol, new.server("server", protocol, None)).await;
    let (handle, board) = exporter(args(protocol, &server, old.flag("ca")));
    handle.offer(snapshot(1));
    absent(&board).await;
    std::fs::write(old.path("ca"), &new.ca).unwrap();
    up(&board).await;
    assert_eq!(server.came().len(), 1);
    // Files that are gone by then are a state, too.
    std::fs::remove_file(old.path("ca")).unwrap();
    drop(server);
    let probe = || {
        handle.offer(snapshot(2));
        match state(&board) {
            Some(State::Absent { reason }) if reason.contains("cannot read CA certificate") => Some(()),
            _ => None,
        }
    };
    eventually("the missing file on the board", probe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_needs_a_receiver_that_agrees_to_http2() {
    let authority = Authority::new();
    authority.issue("server", "127.0.0.1");
    let mut config = authority.server("server", Protocol::Grpc, None);
    config.alpn_protocols.clear();
    let server = receiver(Protocol::Grpc, config).await;
    let reason = refused(args(Protocol::Grpc, &server, authority.flag("ca"))).await;
    assert!(reason.contains("HTTP/2"), "{reason}");
}
