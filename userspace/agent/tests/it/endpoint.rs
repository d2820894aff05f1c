//! A crowd at the agent's HTTP endpoint costs it neither memory nor descriptors, and does not keep a scraper out.

use std::collections::VecDeque;
use std::fs;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::support::agent::Agent;
use crate::support::{kernel, turn};

/// Connections that are opened, and how many are held open at once: below the usual limit of 1,024 descriptors.
const CONNECTIONS: usize = 4_000;
const HELD: usize = 800;
/// Connections that the agent keeps open.
const PLACES: usize = 64;

/// Sockets that the agent holds; its other descriptors come and go with the cgroups of the host.
fn sockets(agent: &Agent) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

fn resident_kb(agent: &Agent) -> u64 {
    kernel::keyed(agent.pid(), "status", "VmRSS")
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_cost_little_and_keep_nobody_out() {
    let _turn = turn().await;
    let agent = Agent::start(&["--cri-socket", "none"]);
    agent.collections(2);
    let _warm = agent.page();
    let (sockets_before, resident_before) = (sockets(&agent), resident_kb(&agent));
    let mut held = VecDeque::new();
    let mut most = 0;
    for number in 0..CONNECTIONS {
        // From one address, as a crowd within one pod would come; the scraper has another.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = socket.connect(agent.address).await.unwrap();
        // Some say nothing, some begin a request, some ask for all there is and never read it.
        let words: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nHost:",
            _ => b"GET /top?processes=1000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        };
        // The agent may have closed it by now.
        let _ = stream.write_all(words).await;
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
        if number % 100 == 99 {
            // Panics unless it is answered.
            let _page = agent.page();
            most = most.max(sockets(&agent));
        }
    }
    // Those that were told to go may still be open.
    assert!(most <= sockets_before + 2 * PLACES, "{most} sockets, {sockets_before} before");
    let grown = resident_kb(&agent).saturating_sub(resident_before);
    assert!(grown < 40_000, "the agent has grown by {grown} kB");
    let page = agent.page();
    let refused = page.sum("podscope_agent_http_refused_total", &[]);
    assert!(refused > (CONNECTIONS / 4) as f64, "{refused} refusals");
    assert_eq!(page.one("podscope_agent_http_refused_total", &[("podscope_http_refusal_reason", "body")]), 0.0);
}
