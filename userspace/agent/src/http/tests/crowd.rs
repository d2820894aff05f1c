//! More clients than there is room for, and clients that hold what they were given.

use super::*;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// Makes a new snapshot for every scrape, so that no two readers share a page.
#[derive(Default)]
struct Changing(std::sync::atomic::AtomicU64);

impl Source for Changing {
    async fn fresh(&self) -> Option<Arc<Snapshot>> {
        let time_ns = self.0.fetch_add(1, Ordering::Relaxed);
        let resources = Fixed::ready(5_000).snapshot.resources.clone();
        Some(Arc::new(Snapshot { time_ns, resources, ..Snapshot::default() }))
    }

    fn ready(&self) -> bool {
        true
    }

    fn status_json(&self) -> Vec<u8> {
        Vec::new()
    }

    fn top_json(&self, processes: usize) -> Vec<u8> {
        vec![b' '; processes]
    }
}

/// Asks for a page, reads its first byte and then no more.
async fn reluctant(address: SocketAddr, path: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The kernel must not take the whole answer in the reader's place.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    stream.read_u8().await.unwrap();
    stream
}

#[tokio::test]
async fn connections_that_only_wait_make_room_for_those_that_ask() {
    let server = start(Fixed::ready(1), LIMITS, None).await;
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    for _ in 0..10 {
        assert!(request(server.address, "GET /healthz", "").await.0.starts_with("http/1.1 200 "));
    }
    // Those that closed on their own have left their places to the next.
    assert!((1..=10).contains(&server.refused(Refusal::Displaced)), "{:?}", server.counters.refused());
    assert_eq!(server.refused(Refusal::Full), 0);
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), held[0].read_to_end(&mut rest)).await.expect("the oldest must be closed").unwrap();
}

/// Thousands of connections, half of them silent and half sending a byte now and then, while a client with another
/// address asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_clients_does_not_keep_a_good_one_out() {
    let server = start(Fixed::ready(100), LIMITS, None).await;
    let address = server.address;
    let crowd = tokio::spawn(async move {
        let mut clients = JoinSet::new();
        for number in 0..2_000_u32 {
            clients.spawn(async move {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
                let Ok(mut stream) = socket.connect(address).await else { return };
                while number % 2 == 0 && stream.write_all(b"G").await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
                let _ = stream.read_u8().await;
            });
            tokio::task::yield_now().await;
        }
        clients.join_all().await;
    });
    for asked in 0..40 {
        let (header, _) = request(address, "GET /metrics", "").await;
        assert!(header.starts_with("http/1.1 200 "), "request {asked}: {header}");
        sleep(Duration::from_millis(10)).await;
    }
    timeout(LIMITS.header_time * 3, crowd).await.expect("every one of the crowd must be cut off").unwrap();
    let [displaced, slow] = [Refusal::Displaced, Refusal::Slow].map(|refusal| server.refused(refusal));
    assert!(displaced > 1_000 && slow > 0, "{:?}", server.counters.refused());
}

#[tokio::test]
async fn pages_that_nobody_reads_do_not_pile_up() {
    let limits = Limits { held_bytes: 1 << 20, ..LIMITS };
    let mut server = Server::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    server.limits = limits;
    let (address, counters) = (server.address(), server.counters());
    let task = tokio::spawn(async move { server.serve(Arc::new(Changing::default())).await }).abort_handle();
    let server = Running { address, counters, task };

    let (_, page) = request(server.address, "GET /metrics", "").await;
    assert!(page.len() > 500_000, "{} bytes", page.len());
    let mut readers = Vec::new();
    for number in 0..30 {
        let path = if number % 2 == 0 { "/metrics" } else { "/top?processes=600000" };
        readers.push(reluctant(server.address, path).await);
    }
    // What fits may stay, and a page is kept for a second after it was made.
    let fit = limits.held_bytes / 500_000 + 2;
    let displaced = server.refused(Refusal::Displaced);
    assert!(displaced >= 30 - 2 * fit as u64, "only {displaced} of 30 readers were cut off");
    assert!(request(server.address, "GET /metrics", "").await.0.starts_with("http/1.1 200 "));
}

/// A client that shuts its side down after the request, as `nc` does, still gets its answer; one that does so in the
/// middle of a request, or goes away in the middle of an answer, costs nothing but its connection.
#[tokio::test]
async fn half_closed_connections() {
    let server = start(Fixed::ready(20_000), LIMITS, None).await;
    let (_, want) = request(server.address, "GET /metrics", "").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(LIMITS.header_time, stream.read_to_end(&mut answer)).await.expect("the server closes too").unwrap();
    let (header, body) = split(&answer);
    assert!(header.starts_with("http/1.1 200 ") && body == want, "{header}");

    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /metrics HT").await.unwrap();
    half.shutdown().await.unwrap();
    timeout(LIMITS.header_time, half.read_to_end(&mut answer)).await.expect("the server closes too").unwrap();
    for _ in 0..LIMITS.connections * 2 {
        drop(reluctant(server.address, "/metrics").await);
    }
    assert!(request(server.address, "GET /healthz", "").await.0.starts_with("http/1.1 200 "));
}
