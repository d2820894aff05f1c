//! TLS against certificates made for the occasion.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::path::Path;
use std::time::SystemTime;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `NAME.pem` and `NAME.key` for 127.0.0.1.
    fn sign(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(format!("{name}.pem")), cert.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A folder with `server.pem`, `server.key` and `client-ca.pem`, and the files it makes for a server.
fn folder(authority: &Authority, clients: Option<&Authority>) -> (TempDir, TlsFiles) {
    let folder = TempDir::new().unwrap();
    authority.sign(folder.path(), "server");
    let client_ca = clients.map(|clients| {
        let path = folder.path().join("client-ca.pem");
        fs::write(&path, clients.0.pem()).unwrap();
        path
    });
    let files = TlsFiles { cert: folder.path().join("server.pem"), key: folder.path().join("server.key"), client_ca };
    (folder, files)
}

/// Asks for /healthz; the status line, or why there was none.
async fn ask(server: &Running, trusted: &Authority, identity: Option<&Authority>) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.0.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let folder = TempDir::new().unwrap();
            authority.sign(folder.path(), "client");
            let cert = CertificateDer::from_pem_file(folder.path().join("client.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.path().join("client.key")).unwrap();
            config.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    let ask = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).await.map_err(|error| error.to_string())?;
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_client_checks_the_server() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (_folder, files) = folder(&ours, None);
    let server = start(Fixed::ready(1), LIMITS, Some(files)).await;
    assert_eq!(ask(&server, &ours, None).await.unwrap(), "HTTP/1.1 200 OK");
    let refused = ask(&server, &other, None).await.unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    assert_eq!(ask(&server, &ours, Some(&other)).await.unwrap(), "HTTP/1.1 200 OK", "nobody asked for the client's");
    let plain = exchange(server.address, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!plain.starts_with(b"HTTP"), "plain text must not be answered");
}

#[tokio::test]
async fn the_server_checks_its_clients() {
    let (ours, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let (_folder, files) = folder(&ours, Some(&clients));
    let server = start(Fixed::ready(1), LIMITS, Some(files)).await;
    assert_eq!(ask(&server, &ours, Some(&clients)).await.unwrap(), "HTTP/1.1 200 OK");
    let missing = ask(&server, &ours, None).await.unwrap_err();
    assert!(missing.contains("CertificateRequired"), "{missing}");
    let wrong = ask(&server, &ours, Some(&other)).await.unwrap_err();
    assert!(wrong.contains("fatal alert"), "{wrong}");
    assert_eq!(server.counters.requests(), 1);
}

#[tokio::test]
async fn a_handshake_that_hangs_is_cut_off() {
    let ours = Authority::new();
    let (_folder, files) = folder(&ours, None);
    let server = start(Fixed::ready(1), QUICK, Some(files)).await;
    let began = Instant::now();
    // A record that promises more than ever comes.
    assert!(exchange(server.address, b"\x16\x03\x01\x02\x00\x01").await.is_empty());
    assert!(began.elapsed() >= QUICK.header_time);
    server.refuses(Refusal::Handshake, 1).await;
}

/// As a secret is renewed: new files are used by the next connection, broken ones never.
#[tokio::test]
async fn renewed_files_are_read() {
    let (old, new) = (Authority::new(), Authority::new());
    let (folder, files) = folder(&old, None);
    let server = start(Fixed::ready(1), LIMITS, Some(files.clone())).await;
    let mut clock = SystemTime::now();
    let mut touch = || {
        clock += Duration::from_secs(2);
        fs::File::options().append(true).open(&files.cert).unwrap().set_modified(clock).unwrap();
    };
    assert!(ask(&server, &old, None).await.is_ok());

    fs::write(&files.cert, "half a certif").unwrap();
    touch();
    assert!(ask(&server, &old, None).await.is_ok(), "the last good files serve on");

    new.sign(folder.path(), "server");
    touch();
    assert!(ask(&server, &old, None).await.is_err());
    assert!(ask(&server, &new, None).await.is_ok());
}

#[tokio::test]
async fn unusable_files_are_named() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (folder, files) = folder(&ours, Some(&other));
    other.sign(folder.path(), "other");
    fs::write(folder.path().join("empty"), "").unwrap();
    let at = |name: &str| folder.path().join(name);
    for (broken, says) in [
        (TlsFiles { cert: at("missing.pem"), ..files.clone() }, "missing.pem"),
        (TlsFiles { cert: at("empty"), ..files.clone() }, "cannot read a certificate from"),
        (TlsFiles { key: at("server.pem"), ..files.clone() }, "cannot read a private key from"),
        (TlsFiles { key: at("other.key"), ..files.clone() }, "cannot serve TLS with certificate"),
        (TlsFiles { client_ca: Some(at("empty")), ..files.clone() }, "cannot read a certificate from"),
    ] {
        let error = Server::bind(([127, 0, 0, 1], 0).into(), Some(broken)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// What an older tool's scrapers meet: an authority that nobody knows, and the names of the service.
#[tokio::test]
async fn a_certificate_of_its_own_is_served() {
    let made = crate::compat::kubevirt::Service { namespace: "kubevirt".to_owned() }.certificate().unwrap();
    let authority = made.0[1].clone();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), None).unwrap().with_certificate(made).unwrap();
    let address = server.address();
    let _serving = tokio::spawn(async move { server.serve(Fixed::ready(1)).await });
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for (name, fits) in [("kubevirt-metrics-collector.kubevirt.svc", true), ("elsewhere.kubevirt.svc", false)] {
        let stream = TcpStream::connect(address).await.unwrap();
        let connected = connector.connect(name.try_into().unwrap(), stream).await;
        assert_eq!(connected.is_ok(), fits, "{name}: {:?}", connected.err());
    }
}
