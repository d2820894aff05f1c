//! What is read from /proc and from cgroups vanishes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ground::Ground;
use super::ledger::Ledger;
use super::sink;
use super::table;
use crate::otlp_support::receiver::{Protocol, Receiver};
use crate::support::agent::{self, Agent};
use crate::support::turn;

/// Runs a command in the agent's mount namespace.
fn within(agent: &Agent, words: &[&str]) {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &agent.pid().to_string(), "--"]).args(words);
    assert!(command.status().unwrap().success(), "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_unmounted() {
    let _turn = turn().await;
    let receiver = Receiver::start(Protocol::Grpc).await;
    let mut ground = Ground::new();
    let plain = agent::command();
    let mut command = Command::new("unshare");
    agent::settings(&mut command);
    command.args(["--mount", "--propagation", "private"]).arg(plain.get_program());
    command.args(["--cri-socket", "none"]);
    command.args(sink(&receiver));
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let agent = Agent::launch(command);
    let resident = || agent.page().sum("podscope_agent_memory_usage_bytes", &[]);
    let used = || agent.page().sum("podscope_agent_cpu_time_seconds_total", &[]);
    assert!(resident() > 1e6);
    let (before, began) = (used(), Instant::now());
    within(&agent, &["mount", "-t", "tmpfs", "tmpfs", "/proc"]);
    let seen = table::PROC_VANISHES.seen(&agent, began);
    ground.work();
    ground.rest();
    agent.collections(2);
    assert_eq!(resident(), 0.0);
    assert!(used() >= before, "its own CPU time has run backwards");
    let mended = Instant::now();
    within(&agent, &["umount", "/proc"]);
    table::PROC_VANISHES.mended(&agent, seen, mended);
    assert!(resident() > 1e6 && used() > before);
    ground.is_whole(&mut Ledger::default(), &receiver);
}

/// Containers that are gone again within a second, with all their processes; their last figures are the kernel's.
#[tokio::test(flavor = "multi_thread")]
async fn entries_vanish_while_they_are_read() {
    let _turn = turn().await;
    let receiver = Receiver::start(Protocol::Grpc).await;
    let agent = Agent::sending_to(&receiver, &["--cri-socket", "none", "--interval", "0.1"]);
    let mut ledger = Ledger::default();
    let mut gone = Vec::new();
    for round in 0..8 {
        let mut ground = Ground::new();
        (0..3).for_each(|_| ground.work());
        std::thread::sleep(Duration::from_millis(round * 7 % 50));
        ground.rest();
        gone.push((ground.id.clone(), ground.cpu()));
    }
    agent.collections(5);
    agent.becomes("otlp", "up");
    ledger.read(&receiver);
    let metric = "podscope.container.process.cpu.time";
    let (arrived, burned): (f64, f64) =
        gone.iter().fold((0.0, 0.0), |(arrived, burned), (id, cpu)| (arrived + ledger.sum(metric, id), burned + cpu));
    assert!((arrived - burned).abs() <= burned * 0.001 + 0.004, "{arrived} s arrived of {burned} s");
    table::PROC_ENTRIES_VANISH.seen(&agent, Instant::now());
    table::PROC_ENTRIES_VANISH.passed(None, None);
}
