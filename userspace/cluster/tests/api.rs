//! The client against recorded answers over TLS, and against every way to fail.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use podscope_cluster::metrics::{self, LAUNCHERS};
use podscope_cluster::pods::{Change, PodWatch, list_and_watch};
use podscope_cluster::{Access, Client, Counters, Error, Outcome, Pod, Trust, kubelet, node};
use support::{Fault, Recorded, Server, Validity};

const LONG: Duration = Duration::from_secs(60);
const WEB: &str = "web-5d9f7c6b8-abcde";

fn access(server: &Server) -> Access {
    Access::find(Some(&server.kubeconfig()), None, |_| None).unwrap()
}

fn client(server: &Server) -> Client {
    access(server).load().unwrap().client().unwrap()
}

#[tokio::test]
async fn recorded_objects_are_read() {
    let server = Server::start();
    let client = client(&server);

    let node = node(&client, "node1").await.unwrap();
    assert_eq!(node.metadata.uid, "de3587ac-9472-41bb-9fb3-14b4a1beb083");
    assert_eq!(node.metadata.labels["kubernetes.io/arch"], "amd64");
    assert_eq!(node.status.allocatable.memory.unwrap().whole(), Some(24_581_692 * 1024));
    assert_eq!(node.status.capacity.pods.unwrap().whole(), Some(110));

    let of_node = metrics::node(&client, "node1").await.unwrap();
    assert_eq!(of_node.usage.cpu.unwrap().nanos(), 1_997_794_906);
    assert_eq!(of_node.taken.window, Duration::from_millis(29_607));

    let of_pod = metrics::pod(&client, "default", WEB).await.unwrap();
    let memory = |name: &str| {
        let container = of_pod.containers.iter().find(|container| container.name == name).unwrap();
        container.usage.memory.unwrap().whole().unwrap()
    };
    assert_eq!((memory("app"), memory("sidecar")), (332 * 1024, 216 * 1024));

    let launchers = metrics::pods_with(&client, &format!("{LAUNCHERS},kubevirt.io/nodeName=node1")).await.unwrap();
    assert_eq!(launchers.len(), 1);
    assert_eq!(launchers[0].containers[0].usage.cpu.unwrap().nanos(), 931_420_159);
    assert!(metrics::pods_with(&client, &format!("{LAUNCHERS},kubevirt.io/nodeName=node2")).await.unwrap().is_empty());

    assert_eq!(metrics::all_nodes(&client).await.unwrap().len(), 1);
    assert_eq!(metrics::all_pods(&client).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_kubelet_is_asked_with_the_same_token() {
    let server = Server::start();
    let api = access(&server).load().unwrap();
    let kubelet = api.kubelet(&server.address.to_string(), &Trust::Cluster).unwrap();
    assert_eq!(kubelet.port(), server.address.port());
    let read = kubelet::resource(&kubelet.client().unwrap()).await.unwrap();
    assert_eq!(read, kubelet::parse(Recorded::KUBELET));
    assert_eq!((read.readings.len(), read.malformed, read.incomplete), (6, 0, false));

    server.fail("/metrics", Fault::Nonsense);
    let error = kubelet::resource(&kubelet.client().unwrap()).await.unwrap_err();
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("no figure")), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_unless_that_is_asked_for() {
    let (api, kubelet) = (Server::start(), Server::start());
    let api = access(&api).load().unwrap();
    let ask = async |trust| {
        let endpoint = api.kubelet(&kubelet.address.to_string(), &trust).unwrap();
        kubelet::resource(&endpoint.client().unwrap()).await
    };
    let Err(Error::Tls { reason, .. }) = ask(Trust::Cluster).await else { panic!("it is another authority's") };
    assert!(reason.contains("UnknownIssuer") && reason.contains("another authority"), "{reason}");
    assert_eq!(kubelet.asked(""), 0, "it has not learnt the token");
    assert!(ask(Trust::Authority(kubelet.path("ca.pem"))).await.is_ok());
    assert!(ask(Trust::Anyone).await.is_ok());
}

/// Every state that the server can put a call in.
#[tokio::test]
async fn each_fault_is_its_own_outcome() {
    let server = Server::start();
    let counters = std::sync::Arc::<Counters>::default();
    let client = client(&server).with_call_time(Duration::from_millis(500)).counting(counters.clone());
    for (fault, outcome, says) in [
        (Fault::Status(401, ""), Outcome::Unauthorized, "401 Unauthorized (as the test wants it); is the token"),
        (Fault::Status(403, ""), Outcome::Forbidden, "403 Forbidden (as the test wants it); the role"),
        (Fault::Status(404, ""), Outcome::NotFound, "404 Not Found"),
        (Fault::Status(410, ""), Outcome::Expired, "410 Gone"),
        (Fault::Status(429, "Retry-After: 7\r\n"), Outcome::Throttled, "429 Too Many Requests"),
        (Fault::Status(500, ""), Outcome::Server, "500 Internal Server Error"),
        (Fault::Status(503, "Retry-After: 7\r\n"), Outcome::Server, "503 Service Unavailable"),
        (Fault::Status(418, ""), Outcome::Refused, "418 I'm a teapot"),
        (Fault::Hang, Outcome::TimedOut, "no answer within 0.5 s"),
        (Fault::BreakOff, Outcome::Unreachable, "the answer broke off"),
        (Fault::Nonsense, Outcome::Malformed, "not what was asked for"),
    ] {
        server.fail("/api", fault.clone());
        let before = counters.read()[outcome as usize];
        let error = node(&client, "node1").await.unwrap_err();
        assert_eq!(error.outcome(), outcome, "{fault:?}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("GET https://{}/api/v1/nodes/node1: ", server.address)), "{text}");
        assert!(text.contains(says) && !text.contains("ServiceError"), "{fault:?}: {text}");
        let asks = matches!(fault, Fault::Status(_, headers) if !headers.is_empty());
        assert_eq!(error.retry_after(), asks.then_some(Duration::from_secs(7)), "{text}");
        assert_eq!(counters.read()[outcome as usize], before + 1, "{text}");
        server.now().faults.clear();
        assert!(node(&client, "node1").await.is_ok(), "after {fault:?}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let server = Server::start();
    server.fail("/api", Fault::Endless);
    let error = node(&client(&server).with_call_time(LONG), "node1").await.unwrap_err();
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("longer than")), "{error}");
}

#[tokio::test]
async fn nobody_there_and_nobody_who_knows_the_time() {
    let server = Server::start();
    let there = Access::find(Some(&server.kubeconfig()), Some("there"), |_| None).unwrap();
    let error = node(&there.load().unwrap().client().unwrap(), "node1").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("refused")), "{error}");

    for validity in [Validity::Past, Validity::Future] {
        let server = Server::with(validity);
        let error = node(&client(&server), "node1").await.unwrap_err();
        assert!(matches!(&error, Error::Tls { reason, .. } if reason.contains("clock")), "{validity:?}: {error}");
    }
}

#[tokio::test]
async fn clocks_are_compared() {
    let server = Server::start();
    let client = client(&server);
    assert_eq!(client.clock_offset(), None);
    for offset in [0, 7200, -7200] {
        server.now().clock = offset;
        node(&client, "node1").await.unwrap();
        let found = client.clock_offset().unwrap();
        assert!((found - offset).abs() <= 2, "{found} is not {offset}");
    }
}

#[tokio::test]
async fn a_token_is_read_again_when_the_client_is_made_anew() {
    let server = Server::start();
    let before = client(&server);
    server.now().token = "second".to_owned();
    std::fs::write(server.token_file(), "second").unwrap();
    // For up to a minute the old one is still used.
    assert_eq!(node(&before, "node1").await.unwrap_err().outcome(), Outcome::Unauthorized);
    assert!(node(&client(&server), "node1").await.is_ok());
}

async fn listed(server: &Server) -> (Vec<Pod>, PodWatch) {
    list_and_watch(&client(server), "node1", LONG).await.unwrap()
}

#[tokio::test]
async fn only_the_pods_of_the_node_are_listed_page_by_page() {
    let server = Server::start();
    let mut other = Recorded::items(Recorded::PODS)[0].clone();
    other["spec"]["nodeName"] = "node2".into();
    server.now().answers.pods.push(other);
    for (page, questions) in [(usize::MAX, 1), (1, 2)] {
        server.now().answers.page = page;
        server.now().asked.clear();
        let (pods, _watch) = listed(&server).await;
        let names: Vec<_> = pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
        assert_eq!(names, ["virt-launcher-testvm-8dzl7", WEB]);
        let asked = server.now().asked.clone();
        assert_eq!(asked.len(), questions + 1, "{asked:#?}");
        assert!(asked.iter().all(|asked| asked.contains("fieldSelector=spec.nodeName%3Dnode1")), "{asked:#?}");
        // From the server's memory, where it has an index by node.
        assert!(asked[0].contains("&resourceVersion=0"), "{asked:#?}");
        let watch = asked.last().unwrap();
        assert!(watch.contains("watch=true") && watch.contains("resourceVersion=325"), "{watch}");
        assert!(watch.contains("allowWatchBookmarks=true") && watch.contains("timeoutSeconds=60"), "{watch}");
    }
}

fn event(kind: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut pod = Recorded::items(Recorded::PODS)[1].clone();
    change(&mut pod);
    serde_json::json!({ "type": kind, "object": pod }).to_string()
}

#[tokio::test]
async fn changes_are_told_and_a_watch_goes_on_where_it_ended() {
    let server = Server::start();
    let recorded = include_str!("../testdata/watch-pods.jsonl");
    server.now().events = recorded.lines().map(str::to_owned).collect();
    let (_, mut watch) = listed(&server).await;
    let mut uids = Vec::new();
    for _ in 0..2 {
        let Change::Applied(pod) = watch.next().await.unwrap() else { panic!("it was added") };
        uids.push(pod.metadata.uid);
    }
    assert_eq!(uids, ["a13f949f-5c9b-42d4-8119-f21c823acd07", "24edac59-fa26-428b-b6d8-36dd78823a8a"]);

    let bookmark =
        r#"{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"900"}}}"#;
    server.now().events.extend([
        event("MODIFIED", |pod| pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "300m".into()),
        event("DELETED", |_| ()),
        bookmark.to_owned(),
        "END".to_owned(),
    ]);
    let Change::Applied(pod) = watch.next().await.unwrap() else { panic!("it was modified") };
    let (name, wanted, _) = pod.resources().next().unwrap();
    assert_eq!((name, wanted.limits.cpu.unwrap().nanos()), ("app", 300_000_000));
    let Change::Gone(uid) = watch.next().await.unwrap() else { panic!("it was deleted") };
    assert_eq!(uid, pod.metadata.uid);

    let next = tokio::spawn(async move { watch.next().await });
    let begin = Instant::now();
    while server.asked("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1&watch=true") < 2 {
        assert!(begin.elapsed() < LONG, "the watch was not taken up again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = server.now().asked.last().unwrap().clone();
    assert!(again.contains("resourceVersion=900"), "{again}");
    server.now().events.push(event("ADDED", |pod| pod["metadata"]["uid"] = "new".into()));
    let Change::Applied(pod) = next.await.unwrap().unwrap() else { panic!("it was added") };
    assert_eq!(pod.metadata.uid, "new");
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_says_why() {
    let server = Server::start();
    for (code, outcome) in [(410, Outcome::Expired), (500, Outcome::Server), (403, Outcome::Forbidden)] {
        server.fail("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1&watch", Fault::Watches(code));
        let (_, mut watch) = listed(&server).await;
        let error = watch.next().await.unwrap_err();
        assert_eq!(error.outcome(), outcome, "{error}");
        assert!(error.to_string().contains("too old resource version"), "{error}");
    }
    server.now().faults.clear();
    server.now().events = vec!["{\"type\":\"ADDED\"".to_owned()];
    let (_, mut watch) = listed(&server).await;
    assert_eq!(watch.next().await.unwrap_err().outcome(), Outcome::Malformed);

    server.now().events = vec![" ".repeat(5 << 20)];
    let (_, mut watch) = listed(&server).await;
    let error = watch.next().await.unwrap_err();
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("longer than")), "{error}");
}
