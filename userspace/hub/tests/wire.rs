//! What goes over the wire: OTLP with tokens and certificates, TLS, HTTP/2, headers, limits.

#![expect(clippy::unwrap_used, reason = "a test ends where its ground is not as it needs it")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::Hub;
use support::curl::{Browser, PASSWORD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request};

/// An authority and what it has signed, as files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `localhost`, and its key.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, folder: &Path, name: &str) -> (String, String) {
        let (cert, key) = self.sign();
        let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
        std::fs::write(path("pem"), cert).unwrap();
        std::fs::write(path("key"), key).unwrap();
        (path("pem"), path("key"))
    }
}

/// A hub that serves TLS to clients of an authority, whose file it gives.
async fn tls_hub(folder: &Path, authority: &Authority) -> (Hub, String) {
    let ca = folder.join("ca.pem").display().to_string();
    std::fs::write(&ca, &authority.pem).unwrap();
    let (cert, key) = authority.write(folder, "server");
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    (Hub::start_with(&flags).await, ca)
}

async fn export(channel: Channel, token: Option<&str>) -> Result<(), Code> {
    let mut request = Request::new(ExportMetricsServiceRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    MetricsServiceClient::new(channel).export(request).await.map(drop).map_err(|status| status.code())
}

/// OTLP over gRPC, on HTTP/2 without TLS: a token of role ingest sends, none and others do not.
#[tokio::test]
async fn grpc_asks_for_a_token() {
    let hub = Hub::start_with(&[]).await;
    let (ingest, read) = (hub.token("agent", "ingest").await, hub.token("reader", "read").await);
    let channel = Channel::from_shared(format!("http://{}", hub.address)).unwrap().connect().await.unwrap();
    assert_eq!(export(channel.clone(), None).await, Err(Code::Unauthenticated));
    assert_eq!(export(channel.clone(), Some("podscope_x_y")).await, Err(Code::Unauthenticated));
    assert_eq!(export(channel.clone(), Some(&read)).await, Err(Code::PermissionDenied));
    assert_eq!(export(channel, Some(&ingest)).await, Ok(()));
}

/// With TLS cookies are bound to it, browsers are told to stay with it, and HTTP/2 is chosen by ALPN.
#[tokio::test]
async fn tls_serves_browsers() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("of the test");
    let (hub, ca) = tls_hub(folder.path(), &authority).await;
    hub.user("ada", "read").await;
    let browser = Browser::secure(&hub, "ada", &["--cacert", &ca]);
    let login = browser.login("ada", PASSWORD).await;
    assert!(login.head.starts_with("HTTP/2 303"), "{login:?}");
    let cookie = login.header("set-cookie");
    assert!(cookie.starts_with("__Host-podscope="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    assert_eq!(login.header("strict-transport-security"), "max-age=31536000");
    let me = browser.ask("/api/v1/me", &["--http1.1"]).await;
    assert!(me.head.starts_with("HTTP/1.1 200"), "{me:?}");
    let out = browser.form("/web/logout", &[("csrf", me.json()["csrf"].as_str().unwrap())]).await;
    assert_eq!(out.status, 303);

    let plain = Browser::new(&hub, "plain").attempt("/healthz", &[]).await;
    assert!(plain.is_err(), "{plain:?}");
    let stranger = Browser::secure(&hub, "stranger", &[]).attempt("/healthz", &[]).await.unwrap_err();
    assert!(stranger.contains("certificate"), "{stranger}");
    let old = Browser::secure(&hub, "old", &["--cacert", &ca, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]);
    assert!(old.attempt("/healthz", &[]).await.is_err());
    let weak = Browser::secure(&hub, "weak", &["--cacert", &ca, "--tls-max", "1.2", "--ciphers"]);
    assert!(weak.attempt("/healthz", &["AES128-SHA:AES256-SHA"]).await.is_err());
    assert_eq!(weak.ask("/healthz", &["ECDHE+AESGCM"]).await.status, 200);
}

/// A certificate of the client authority sends points and reads nothing; one of another authority is refused.
#[tokio::test]
async fn certificates_of_clients_send_points() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("of the test");
    let (hub, ca) = tls_hub(folder.path(), &authority).await;
    let (cert, key) = authority.write(folder.path(), "client");
    let known = Browser::secure(&hub, "known", &["--cacert", &ca, "--cert", &cert, "--key", &key]);
    assert_eq!(known.points("").await.status, 200);
    assert_eq!(known.get("/api/v1/status").await.status, 403);
    let unknown = Browser::secure(&hub, "unknown", &["--cacert", &ca]);
    assert_eq!(unknown.points("").await.status, 401);
    let (cert, key) = Authority::new("another one").write(folder.path(), "other");
    let other = Browser::secure(&hub, "other", &["--cacert", &ca, "--cert", &cert, "--key", &key]);
    assert!(other.attempt("/v1/metrics", &["--data", "{}"]).await.is_err());

    let (cert, key) = authority.sign();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem)).domain_name("localhost");
    let address = format!("https://localhost:{}", hub.address.port());
    let channel = async |tls| Channel::from_shared(address.clone()).unwrap().tls_config(tls).unwrap().connect().await;
    let without = channel(tls.clone()).await.unwrap();
    assert_eq!(export(without, None).await, Err(Code::Unauthenticated));
    let with = channel(tls.identity(Identity::from_pem(cert, key))).await.unwrap();
    assert_eq!(export(with, None).await, Ok(()));
}

/// What openssl's client says of the connection.
async fn openssl(hub: &Hub, ca: &str) -> String {
    let connect = format!("127.0.0.1:{}", hub.address.port());
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &connect, "-servername", "localhost", "-verify_hostname", "localhost"]);
    client.args(["-CAfile", ca, "-alpn", "h2,http/1.1", "-showcerts"]).stdin(std::process::Stdio::null());
    let output = client.output().await;
    let output = output.unwrap_or_else(|error| panic!("cannot run openssl ({error}): cargo xtask setup --tests"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate that was renewed is served without a restart; one that is broken does not end the old one.
#[tokio::test]
async fn renewed_certificates_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("of the test");
    let (hub, ca) = tls_hub(folder.path(), &authority).await;
    let served = |said: &str| said.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap().trim()[..60].to_owned();
    let first = openssl(&hub, &ca).await;
    assert!(first.contains("Verify return code: 0 (ok)") && first.contains("ALPN protocol: h2"), "{first}");
    assert!(first.contains("TLSv1.3"), "{first}");
    let line = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let leaf = |pem: &str| pem.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap().trim()[..60].replace('\r', "");
    assert_eq!(served(&first), leaf(&line("server.pem")));
    tokio::time::sleep(Duration::from_millis(20)).await;
    authority.write(folder.path(), "server");
    let key = openssl(&hub, &ca).await;
    assert!(key.contains("Verify return code: 0 (ok)"), "{key}");
    let digest = |said: &str| blake3::hash(said.split("-----END CERTIFICATE-----").next().unwrap_or("").as_bytes());
    assert_ne!(digest(&first), digest(&key));
    tokio::time::sleep(Duration::from_millis(20)).await;
    std::fs::write(folder.path().join("server.pem"), "no certificate").unwrap();
    assert!(openssl(&hub, &ca).await.contains("Verify return code: 0 (ok)"));
}

/// Every answer says what browsers may do with it, whatever is answered.
#[tokio::test]
async fn every_answer_has_its_headers() {
    let hub = Hub::start_with(&[]).await;
    let browser = Browser::new(&hub, "headers");
    for path in [
        "/web/login",
        "/web/pods",
        "/api/v1/status",
        "/healthz",
        "/none",
        "/web/assets/none.css",
        "/web/assets/style.css",
    ] {
        let answer = browser.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self';") && policy.ends_with("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        let kind = answer.header("content-type");
        let known = [
            "text/html; charset=utf-8",
            "text/plain; charset=utf-8",
            "text/css; charset=utf-8",
            "application/problem+json",
        ];
        assert!(known.contains(&kind) || (kind.is_empty() && answer.body.is_empty()), "{path}: {kind}");
        // Files that are the same for everybody may be kept, and asked for again.
        let kept = if path.starts_with("/web/assets/") { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), kept, "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}: there is no TLS");
        assert_eq!((answer.header("server"), answer.header("x-powered-by")), ("", ""), "{path}");
    }
}

/// What is too large is refused before it is read.
#[tokio::test]
async fn what_is_too_large_is_refused() {
    let hub = Hub::start_with(&[]).await;
    let browser = Browser::new(&hub, "large");
    let long = format!("X-Long: {}", "x".repeat(40_000));
    assert_eq!(browser.ask("/healthz", &["--header", &long]).await.status, 431);
    let many: Vec<String> = (0..120).map(|at| format!("X-{at}: x")).collect();
    let many: Vec<&str> = many.iter().flat_map(|header| ["--header", header]).collect();
    assert_eq!(browser.ask("/healthz", &many).await.status, 431);
    let body = hub.folder.path().join("body");
    std::fs::write(&body, "name=ada&password=".to_owned() + &"x".repeat(2 << 20)).unwrap();
    let body = format!("@{}", body.display());
    assert_eq!(browser.ask("/web/login", &["--data-binary", &body]).await.status, 413);
}

/// Who says nothing, or too slowly, is not waited for; more connections than allowed are closed.
#[tokio::test]
async fn who_dawdles_is_not_waited_for() {
    let hub = Hub::start_with(&["--max-connections", "3"]).await;
    let started = Instant::now();
    let open = async |sent: &str| {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    };
    // Silent; the first letter of both HTTP/1 and HTTP/2; a header without an end.
    let dawdlers = [open("").await, open("P").await, open("GET /healthz HTTP/1.1\r\nHost: x\r\n").await];
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Browser::new(&hub, "fourth").attempt("/healthz", &[]).await.is_err());
    for mut dawdler in dawdlers {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(15), dawdler.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "still open after {:?}", started.elapsed());
    }
    assert!(started.elapsed() > Duration::from_secs(5));
    assert_eq!(Browser::new(&hub, "next").get("/healthz").await.status, 200);
}

/// Everybody is let in only where it is said.
#[tokio::test]
async fn open_hubs_listen_on_loopback() {
    let hub = Hub::start().await;
    for (listen, open, refused) in [
        ("0.0.0.0:0", "--open", true),
        ("[::]:0", "--open", true),
        ("0.0.0.0:0", "--open=anywhere", false),
        ("[::1]:0", "--open", false),
    ] {
        use clap::Parser as _;
        use podscope_hub::config::{Command, Config};
        let url = hub.url();
        let flags = ["podscope-hub", "serve", "--database-url", &url, "--listen", listen, open];
        let Command::Serve(serve) = Config::parse_from(flags).command else { panic!("another command") };
        assert_eq!(serve.check().is_err(), refused, "{listen} {open}");
    }
    let error = hub.command(&["serve", "--open", "--listen", "0.0.0.0:0"], "").await.unwrap_err();
    assert!(error.contains("--open=anywhere"), "{error}");
}

/// Behind a proxy that serves TLS cookies are for TLS, and tries are counted by the address that the proxy saw.
#[tokio::test]
async fn proxies_say_who_asks() {
    let hub = Hub::start_with(&["--behind-proxy"]).await;
    hub.user("ada", "admin").await;
    let browser = Browser::new(&hub, "proxy");
    let form = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    let seen = ["--data", &form, "--header", "X-Forwarded-For: 198.51.100.7, 192.0.2.9"];
    let login = browser.ask("/web/login", &seen).await;
    assert!(login.header("set-cookie").starts_with("__Host-podscope="), "{login:?}");
    let cookie = format!("Cookie: {}", login.header("set-cookie").split(';').next().unwrap());
    let log = browser.ask("/api/v1/audit?limit=1", &["--header", &cookie]).await.json();
    assert_eq!(log["entries"][0]["from"], "192.0.2.9");
}

/// The page of the API lists every route of the description.
#[tokio::test]
async fn the_page_lists_the_api() {
    let hub = Hub::start().await;
    let page = Browser::new(&hub, "page").get("/api/v1/").await;
    let described = hub.get("/api/v1/openapi.json").await;
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() >= 8, "{paths:?}");
    for path in paths.keys() {
        assert!(page.body.contains(&format!("<code>{path}</code>")), "{path}");
    }
    assert_eq!(described["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let outside = page.body.split('"').filter(|text| text.starts_with("http")).count();
    assert_eq!((outside, page.body.contains("<script")), (0, false));
}
