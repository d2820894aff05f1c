use super::*;
use crate::snapshot::{Attributes, Point, Resource, ResourceAttribute, Value};
use podscope_catalog::{Entity, id};
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::Instant;

mod crowd;
mod prometheus;
mod tls;

/// A source with one process; ready after `ready` is set.
#[derive(Default)]
struct Fixed {
    snapshot: Arc<Snapshot>,
    ready: AtomicBool,
}

impl Fixed {
    /// `processes`: how many, to make the page as large as needed.
    fn ready(processes: i64) -> Arc<Self> {
        let process = |pid| Resource {
            entity: Entity::Process,
            attributes: Arc::new(Attributes::new(vec![
                ResourceAttribute::label("process.executable.name", "we\"ird\\\n"),
                ResourceAttribute::label_int("process.pid", pid),
            ])),
            start_ns: 1_700_000_000_000_000_000,
            kernel_start_ns: 0,
            ended: false,
            points: vec![
                Point { metric: id::PROCESS_CPU_TIME, combination: 0, value: Value::Double(1.25 + pid as f64) },
                Point { metric: id::PROCESS_MEMORY_USAGE, combination: 0, value: Value::Int(4096) },
            ],
        };
        let snapshot =
            Snapshot { time_ns: 1, resources: (1..=processes).map(process).collect(), ..Snapshot::default() };
        Arc::new(Self { snapshot: Arc::new(snapshot), ready: true.into() })
    }
}

impl Source for Fixed {
    async fn fresh(&self) -> Option<Arc<Snapshot>> {
        self.ready().then(|| self.snapshot.clone())
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn status_json(&self) -> Vec<u8> {
        br#"{"version":"test"}"#.to_vec()
    }

    fn top_json(&self, processes: usize) -> Vec<u8> {
        format!("[{processes}]").into_bytes()
    }
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl Running {
    fn refused(&self, refusal: Refusal) -> u64 {
        self.counters.refused()[refusal as usize]
    }

    /// Waits until so many refusals have been counted; a connection is closed a little before it is counted.
    async fn refuses(&self, refusal: Refusal, wanted: u64) {
        for _ in 0..500 {
            if self.refused(refusal) >= wanted {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.refused(refusal), wanted, "{refusal:?} of {:?}", self.counters.refused());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(source: Arc<Fixed>, limits: Limits, tls: Option<TlsFiles>) -> Running {
    let mut server = Server::bind(([127, 0, 0, 1], 0).into(), tls).unwrap();
    server.limits = limits;
    let (address, counters) = (server.address(), server.counters());
    let task = tokio::spawn(async move { server.serve(source).await }).abort_handle();
    Running { address, counters, task }
}

/// Times that a test can wait for.
const QUICK: Limits = Limits { header_time: Duration::from_millis(300), life: Duration::from_millis(1_000), ..LIMITS };

/// Sends bytes and reads until the server closes; a reset after the answer counts as closing.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = async { while matches!(stream.read_buf(&mut answer).await, Ok(1..)) {} };
    timeout(Duration::from_secs(20), read).await.expect("the server must close the connection");
    answer
}

/// One request on a connection of its own: status line and headers in lower case, and body.
async fn request(address: SocketAddr, line: &str, headers: &str) -> (String, Vec<u8>) {
    let text = format!("{line} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n{headers}\r\n");
    split(&exchange(address, text.as_bytes()).await)
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let (header, body, _) = first(answer);
    (header, body)
}

/// Header, body and what follows the first of the answers on a connection; one without a length is the last.
fn first(answers: &[u8]) -> (String, Vec<u8>, &[u8]) {
    let end = answers.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer with a header") + 4;
    let header = String::from_utf8_lossy(&answers[..end]).to_ascii_lowercase();
    let mut rest = &answers[end..];
    // An answer to HEAD has the header of a body, and none.
    if !header.contains("transfer-encoding: chunked\r\n") || rest.is_empty() {
        return (header, rest.to_vec(), &[]);
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..][..size]);
        rest = &rest[line + 2 + size + 2..];
        if size == 0 {
            return (header, body, rest);
        }
    }
}

#[tokio::test]
async fn every_route_answers() {
    let server = start(Fixed::ready(1), LIMITS, None).await;
    for (line, status, content_type, body) in [
        ("GET /", 200, "text/plain; charset=utf-8", "podscope agent\n"),
        ("GET /metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "# HELP process_cpu_time_seconds_total "),
        ("GET /metrics?x=y", 200, "text/plain; version=0.0.4; charset=utf-8", "# HELP "),
        ("GET /status", 200, "application/json", "{\"version\":\"test\"}"),
        ("GET /top", 200, "application/json", "[10]"),
        ("GET /top?a=b&processes=3", 200, "application/json", "[3]"),
        ("GET /top?processes=-1", 400, "text/plain; charset=utf-8", "processes must be"),
        ("GET /healthz", 200, "text/plain; charset=utf-8", "ok\n"),
        ("GET /readyz", 200, "text/plain; charset=utf-8", "ready\n"),
        ("GET /metrics/", 404, "text/plain; charset=utf-8", "no such page"),
        ("POST /nowhere", 404, "text/plain; charset=utf-8", "no such page"),
        ("POST /metrics", 405, "text/plain; charset=utf-8", "only GET and HEAD"),
        ("DELETE /top", 405, "text/plain; charset=utf-8", "only GET and HEAD"),
        ("BREW /status", 405, "text/plain; charset=utf-8", "only GET and HEAD"),
    ] {
        let (header, got) = request(server.address, line, "").await;
        assert!(header.starts_with(&format!("http/1.1 {status} ")), "{line}: {header}");
        assert!(header.contains(&format!("content-type: {content_type}\r\n")), "{line}: {header}");
        assert_eq!(header.contains("allow: get, head\r\n"), status == 405, "{line}: {header}");
        assert!(got.starts_with(body.as_bytes()), "{line}: {}", String::from_utf8_lossy(&got));
    }
    assert_eq!(server.counters.requests(), 14);
}

#[tokio::test]
async fn before_the_first_collection_only_readiness_is_missing() {
    let server = start(Arc::default(), LIMITS, None).await;
    for (line, status) in [("GET /readyz", 503), ("GET /metrics", 503), ("GET /healthz", 200), ("GET /status", 200)] {
        let (header, _) = request(server.address, line, "").await;
        assert!(header.starts_with(&format!("http/1.1 {status} ")), "{line}: {header}");
    }
}

#[tokio::test]
async fn forms_are_negotiated() {
    let server = start(Fixed::ready(3), LIMITS, None).await;
    let openmetrics = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (header, plain) = request(server.address, "GET /metrics", openmetrics).await;
    assert!(
        header.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{header}"
    );
    assert!(plain.ends_with(b"# EOF\n") && !header.contains("content-encoding"), "{header}");

    // Two Accept headers mean the same as one.
    let zipped = "Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text\r\nAccept-Encoding: gzip\r\n";
    let (header, body) = request(server.address, "GET /metrics", zipped).await;
    assert!(header.contains("content-encoding: gzip\r\n") && header.contains("vary: accept, accept-encoding\r\n"));
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain);

    let (header, body) = request(server.address, "HEAD /metrics", openmetrics).await;
    assert!(header.starts_with("http/1.1 200 "), "{header}");
    assert!(body.is_empty());
}

#[tokio::test]
async fn a_request_body_is_refused() {
    let server = start(Fixed::ready(1), LIMITS, None).await;
    for headers in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (header, _) = request(server.address, "GET /metrics", headers).await;
        assert!(header.starts_with("http/1.1 413 ") && header.contains("connection: close\r\n"), "{header}");
    }
    server.refuses(Refusal::Body, 2).await;
}

/// What comes before the garbage is answered, what comes after is not.
#[tokio::test]
async fn pipelined_garbage_ends_only_its_connection() {
    let server = start(Fixed::ready(1), QUICK, None).await;
    let good = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(server.address, format!("{good}{good}\0\u{ff}\r\n\r\n{good}").as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 1, "{answer}");
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET", b"\r\n\r\n\r\n", &[0xff; 100_000]] {
        exchange(server.address, garbage).await;
    }
    assert!(request(server.address, "GET /healthz", "").await.0.starts_with("http/1.1 200 "));
    assert!(server.refused(Refusal::Malformed) >= 3, "{:?}", server.counters.refused());
}

#[tokio::test]
async fn an_oversized_header_is_refused() {
    let server = start(Fixed::ready(1), LIMITS, None).await;
    let small = format!("X-Filler: {}\r\n", "x".repeat(8 * 1024));
    assert!(request(server.address, "GET /healthz", &small).await.0.starts_with("http/1.1 200 "));
    let large = format!("X-Filler: {}\r\n", "x".repeat(17 * 1024));
    assert!(request(server.address, "GET /healthz", &large).await.0.starts_with("http/1.1 431 "));
    let many = "X-Filler: x\r\n".repeat(1_000);
    assert!(request(server.address, "GET /healthz", &many).await.0.starts_with("http/1.1 431 "));
    server.refuses(Refusal::Header, 2).await;
}

/// A header that trickles in, one that never comes, and a connection that stays silent after an answer.
#[tokio::test]
async fn slow_clients_are_cut_off() {
    let server = start(Fixed::ready(1), QUICK, None).await;
    let before = Instant::now();
    let mut trickle = TcpStream::connect(server.address).await.unwrap();
    let sent = timeout(Duration::from_secs(10), async {
        let mut sent = 0;
        while trickle.write_all(b"X").await.is_ok() {
            sent += 1;
            sleep(Duration::from_millis(20)).await;
        }
        sent
    });
    assert!(sent.await.expect("a header that trickles must be cut off") > 3);
    for start in ["", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let began = Instant::now();
        let answer = exchange(server.address, start.as_bytes()).await;
        assert_eq!(answer.starts_with(b"HTTP/1.1 200 "), start.ends_with("\r\n\r\n"), "{start:?}");
        assert!(began.elapsed() >= QUICK.header_time && began.elapsed() < QUICK.header_time * 15, "{start:?}");
    }
    assert!(before.elapsed() < Duration::from_secs(10));
    // The connection that was kept after its answer has done nothing wrong.
    server.refuses(Refusal::Slow, 3).await;
}

/// A client that asks and never reads, and one that asks without pause.
#[tokio::test]
async fn no_connection_outlives_its_limit() {
    let server = start(Fixed::ready(50_000), Limits { connections: 1, ..QUICK }, None).await;
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    greedy.write_all(&b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20)).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(exchange(server.address, b"GET /healthz HTTP/1.1\r\n\r\n").await.is_empty(), "the only place is taken");
    assert_eq!(server.refused(Refusal::Full), 1);
    sleep(QUICK.life * 2).await;
    assert!(
        request(server.address, "GET /healthz", "").await.0.starts_with("http/1.1 200 "),
        "the place is free again"
    );
    server.refuses(Refusal::Slow, 1).await;

    let mut busy = TcpStream::connect(server.address).await.unwrap();
    let asked = timeout(Duration::from_secs(10), async {
        let mut buffer = [0; 4096];
        while busy.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok() {
            if !matches!(busy.read(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
    });
    asked.await.expect("a connection in constant use must end too");
}

/// 50 clients ask four times each over their connections; all see the same page, of several pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_concurrent_scrapes_are_identical() {
    let server = start(Fixed::ready(2000), LIMITS, None).await;
    let (_, want) = request(server.address, "GET /metrics", "").await;
    let address = server.address;
    let clients: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn(async move {
                let ask = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3)
                    + "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                exchange(address, ask.as_bytes()).await
            })
        })
        .collect();
    for client in clients {
        let answers = client.await.unwrap();
        let mut rest = &answers[..];
        for _ in 0..4 {
            let (header, body, after) = first(rest);
            assert!(header.starts_with("http/1.1 200 "), "{header}");
            assert_eq!(body, want);
            rest = after;
        }
        assert!(rest.is_empty());
    }
    assert_eq!(server.counters.requests(), 201);
    assert_eq!(server.counters.refused(), [0; Refusal::ALL.len()]);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = Server::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    let error = Server::bind(first.address(), None).unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()) && error.contains("--listen"), "{error}");
}
