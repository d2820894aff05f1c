//! The OTLP exporter against receivers that are away, slow, refuse, break off or present the wrong certificate.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod otlp_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otlp_support::receiver::{Act, Protocol, Receiver};
use otlp_support::{POINTS, absent, eventually, exporter, points, resource, snapshot, state, up};
use podscope_agent::export::otlp::{Handle, OtlpArgs, Stats, Tally};
use podscope_agent::snapshot::Snapshot;
use podscope_agent::status::State;
use tonic::Code;

fn args(protocol: Protocol, address: SocketAddr) -> OtlpArgs {
    let path = if protocol == Protocol::Http { "/v1/metrics" } else { "" };
    OtlpArgs {
        otlp_endpoint: Some(format!("http://{address}{path}")),
        otlp_protocol: Some(protocol.flag()),
        ..OtlpArgs::default()
    }
}

/// Waits until as many points are counted as were offered.
async fn settled(handle: &Handle, offered: u64) -> Stats {
    let all = || Some(handle.stats()).filter(|stats| stats.points.by_result().iter().sum::<u64>() == offered);
    eventually("a verdict on every point", all).await
}

/// A port that nobody listens on.
async fn free_port() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn named(names: &[(&str, usize)], value: i64) -> Vec<(String, i64)> {
    names.iter().flat_map(|&(name, n)| vec![(name.to_owned(), value); n]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_headers_and_counts_arrive() {
    for (protocol, compression) in [(Protocol::Grpc, "none"), (Protocol::Http, "none"), (Protocol::Http, "gzip")] {
        let receiver = Receiver::start(protocol).await;
        let (handle, board) = exporter(OtlpArgs {
            otlp_compression: Some(compression.to_owned()),
            otlp_header: vec!["x-key=hush".parse().unwrap()],
            ..args(protocol, receiver.address)
        });
        for n in 1..=3 {
            handle.offer(snapshot(n));
            settled(&handle, POINTS * n as u64).await;
        }
        up(&board).await;
        let came = receiver.came();
        assert_eq!(came.len(), 3);
        for (came, n) in came.iter().zip(1..) {
            assert_eq!(points(&came.request), named(&[(&format!("ended-{n}"), 2), ("living", 3)], n));
            assert_eq!(came.key.as_deref(), Some("hush"));
        }
        let stats = handle.stats();
        assert_eq!(stats.points, Tally { sent: 3 * POINTS, ..Tally::default() });
        assert_eq!(stats.requests, Tally { sent: 3, ..Tally::default() });
        assert!(stats.bytes > 100 && stats.last_success_ns.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_newest_and_every_last_word_arrive() {
    for protocol in Protocol::BOTH {
        let address = free_port().await;
        let (handle, board) = exporter(args(protocol, address));
        handle.offer(snapshot(1));
        let reason = absent(&board).await;
        assert!(reason.contains(&address.to_string()) && reason.contains("refused"), "{reason}");
        for n in 2..=9 {
            handle.offer(snapshot(n));
        }
        let receiver = Receiver::at(address, protocol, None).await;
        up(&board).await;
        let stats = settled(&handle, 9 * POINTS).await;
        let mut arrived: Vec<_> = receiver.came().iter().flat_map(|came| points(&came.request)).collect();
        let mut expected: Vec<_> = (1..=9).flat_map(|n| named(&[(&format!("ended-{n}"), 2)], n)).collect();
        expected.extend(named(&[("living", 3)], 9));
        arrived.sort();
        expected.sort();
        assert_eq!(arrived, expected);
        assert_eq!(stats.points.sent, 9 * 2 + 3);
        assert_eq!(stats.points.failed + stats.points.dropped, 8 * 3);
        assert!(stats.points.failed >= 3, "the first one was tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_now_is_sent_again() {
    // A connection that ends in the middle of an HTTP answer, and after HTTP/2's first frame.
    let half = |protocol| match protocol {
        Protocol::Http => &b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"[..],
        Protocol::Grpc => &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    };
    for protocol in Protocol::BOTH {
        let receiver = Receiver::start(protocol).await;
        let (handle, board) =
            exporter(OtlpArgs { otlp_timeout: Some("1000".to_owned()), ..args(protocol, receiver.address) });

        receiver.break_connection(half(protocol));
        handle.offer(snapshot(1));
        absent(&board).await;
        settled(&handle, POINTS).await;
        assert_eq!(receiver.came().len(), 1, "{protocol:?}");

        receiver.then(Act::Hang);
        handle.offer(snapshot(2));
        let reason = absent(&board).await;
        assert!(reason.contains("no answer within 1000 ms"), "{reason}");
        settled(&handle, 2 * POINTS).await;

        receiver.then(Act::Refuse(503, Code::Unavailable, None));
        handle.offer(snapshot(3));
        let reason = absent(&board).await;
        assert!(reason.contains("navailable: as scripted"), "{reason}");
        let stats = settled(&handle, 3 * POINTS).await;

        assert_eq!(stats.points.sent, 3 * POINTS);
        assert_eq!(stats.requests, Tally { sent: 3, ..Tally::default() });
        up(&board).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it() {
    for protocol in Protocol::BOTH {
        let receiver = Receiver::start(protocol).await;
        receiver.then(Act::Refuse(429, Code::ResourceExhausted, Some(2)));
        let (handle, board) = exporter(args(protocol, receiver.address));
        handle.offer(snapshot(1));
        absent(&board).await;
        handle.offer(snapshot(2));
        let stats = settled(&handle, 2 * POINTS).await;
        let came = receiver.came();
        let pause = came[1].at - came[0].at;
        assert!((2.0..10.0).contains(&pause.as_secs_f64()), "{protocol:?}: {pause:?}");
        // The newer snapshot has taken the place of the first one, but for its last words.
        assert_eq!(points(&came[1].request)[..2], named(&[("ended-1", 2)], 1));
        assert_eq!(stats.points, Tally { sent: 2 * POINTS - 3, failed: 3, ..Tally::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_counted_and_not_repeated() {
    for protocol in Protocol::BOTH {
        let receiver = Receiver::start(protocol).await;
        receiver.then(Act::Refuse(400, Code::InvalidArgument, None));
        receiver.then(Act::Refuse(413, Code::ResourceExhausted, None));
        receiver.then(Act::Partial(2, "too old"));
        let (handle, board) = exporter(args(protocol, receiver.address));
        for n in 1..=2 {
            handle.offer(snapshot(n));
            settled(&handle, POINTS * n as u64).await;
            assert!(absent(&board).await.contains("as scripted"));
        }
        handle.offer(snapshot(3));
        let stats = settled(&handle, 3 * POINTS).await;
        assert_eq!(stats.points, Tally { sent: 3, rejected: 2 * POINTS + 2, ..Tally::default() });
        assert_eq!(stats.requests, Tally { rejected: 3, ..Tally::default() });
        up(&board).await;
        assert_eq!(receiver.came().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ends_are_named() {
    let http = Receiver::start(Protocol::Http).await;
    http.then(Act::Page);
    let (handle, board) = exporter(args(Protocol::Http, http.address));
    handle.offer(snapshot(1));
    assert!(absent(&board).await.contains("is this an OTLP endpoint?"));
    assert_eq!(handle.stats().points.rejected, POINTS);

    let (handle, board) = exporter(args(Protocol::Grpc, http.address));
    handle.offer(snapshot(1));
    let reason = absent(&board).await;
    assert!(reason.contains("--otlp-protocol http/protobuf"), "{reason}");

    let grpc = Receiver::start(Protocol::Grpc).await;
    let (handle, board) = exporter(args(Protocol::Http, grpc.address));
    handle.offer(snapshot(1));
    let reason = absent(&board).await;
    assert!(reason.contains("--otlp-protocol grpc"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offering_never_blocks_and_flushing_keeps_its_deadline() {
    for protocol in Protocol::BOTH {
        let receiver = Receiver::start(protocol).await;
        (0..100).for_each(|_| receiver.then(Act::Hang));
        let (handle, board) = exporter(args(protocol, receiver.address));
        let resources: Vec<_> = (0..1000).map(|n| resource(&n.to_string(), 3, 1, n == 0)).collect();
        let before = Instant::now();
        for time_ns in 1..=200 {
            let snapshot = Arc::new(Snapshot { time_ns, resources: resources.clone(), ..Snapshot::default() });
            handle.offer(snapshot);
        }
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "half the time-out of one attempt, of which each would hang"
        );
        eventually("a request in flight", || receiver.came().first().cloned()).await;
        let before = Instant::now();
        assert!(!handle.flush(Duration::from_millis(500)).await);
        let took = before.elapsed();
        assert!((0.4..5.0).contains(&took.as_secs_f64()), "{took:?}");
        let stats = settled(&handle, 200 * 999 * 3 + 3).await;
        assert_eq!((stats.points.sent, stats.points.rejected), (0, 0));
        assert!(matches!(state(&board), Some(State::Absent { .. })));
        handle.offer(snapshot(1));
        settled(&handle, 200 * 999 * 3 + 3 + POINTS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_sends_the_last_snapshot() {
    for protocol in Protocol::BOTH {
        let receiver = Receiver::start(protocol).await;
        // In the middle of a long pause: flushing does not wait for its end.
        receiver.then(Act::Refuse(503, Code::Unavailable, Some(60)));
        let (handle, board) = exporter(args(protocol, receiver.address));
        handle.offer(snapshot(1));
        absent(&board).await;
        handle.offer(snapshot(2));
        let before = Instant::now();
        assert!(handle.flush(Duration::from_secs(5)).await);
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        let last = points(&receiver.came()[1].request);
        assert_eq!(last, [named(&[("ended-1", 2)], 1), named(&[("ended-2", 2), ("living", 3)], 2)].concat());
        assert_eq!(handle.stats().points, Tally { sent: POINTS + 2, failed: 3, ..Tally::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_snapshots_come_in_requests_that_a_receiver_takes() {
    // tonic's server refuses messages above 4 MiB.
    let receiver = Receiver::start(Protocol::Grpc).await;
    let (handle, _board) = exporter(args(Protocol::Grpc, receiver.address));
    let resources: Vec<_> = (0..10_000).map(|n| resource(&format!("process-{n}"), 10, n, false)).collect();
    handle.offer(Arc::new(Snapshot { time_ns: 1, resources, ..Snapshot::default() }));
    let stats = settled(&handle, 100_000).await;
    assert_eq!(stats.points, Tally { sent: 100_000, ..Tally::default() });
    let came = receiver.came();
    assert!(came.len() >= 2, "one request");
    let arrived: Vec<_> = came.iter().flat_map(|came| points(&came.request)).collect();
    let expected: Vec<_> = (0..10_000).flat_map(|n| vec![(format!("process-{n}"), n); 10]).collect();
    assert!(arrived == expected, "{} points arrived", arrived.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_the_exporter_is_off() {
    let (handle, board) = exporter(OtlpArgs::default());
    handle.offer(snapshot(1));
    assert!(handle.flush(Duration::from_secs(1)).await);
    assert_eq!(handle.stats(), Stats::default());
    let Some(State::Off { reason }) = state(&board) else { panic!("not off") };
    assert!(reason.contains("--otlp-endpoint"), "{reason}");
}
