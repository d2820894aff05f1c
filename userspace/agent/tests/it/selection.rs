//! Which processes have series of their own, and how series end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xtask::rig::PodSpec;

use crate::support::agent::Agent;
use crate::support::kernel::{freeze, thaw};
use crate::support::page::Page;
use crate::support::watch::Watch;
use crate::support::{eventually, pod, rig, running, script, turn};

const SHARES: &str = "process_cpu_time_seconds_total";
const REST: (&str, &str) = ("process_executable_name", "_other");

/// Pids of a container's published processes.
fn published(page: &Page, id: &str) -> BTreeSet<u32> {
    let labels = [("container_id", id)];
    let pids = page.select("process_thread_count", &labels).map(|sample| sample.label("process_pid"));
    pids.map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_top_processes_have_series_and_the_rest_is_one() {
    let _turn = turn().await;
    let rig = rig().await;
    let pod = pod(&rig, "crowd").await;
    let agent = Agent::beside(&rig, &["--processes-per-container", "3", "--linger", "3"]);
    let shell = "for i in $(seq 20); do podscope-load sleep 0 & done
        for i in 1 2; do podscope-load mem 24 0 & done
        for i in 1 2 3; do podscope-load spin 0 & done; wait";
    let container = script(&pod, "work", shell).await;
    let id = [("container_id", container.id()), ("k8s_pod_name", "crowd")];
    eventually("all run", || {
        let count = agent.page().get("podscope_container_process_count", &id);
        (count == Some(26.0)).then_some(())
    });
    agent.settled();
    freeze(&[&container]);
    let page = agent.settled();
    let before = container.cpu_time().unwrap();
    let watch = Watch::start(&agent);
    let spinners: BTreeSet<u32> = running(&container, "podscope-load spin").into_iter().collect();
    let holders: BTreeSet<u32> = running(&container, "podscope-load mem").into_iter().collect();
    let chosen = published(&page, container.id());
    assert!(chosen.is_superset(&spinners) && chosen.is_superset(&holders), "{chosen:?} of {spinners:?}, {holders:?}");
    // Three by CPU time, three by memory, and those that were among them a moment ago.
    assert!(chosen.len() <= 9, "{} of 26 are published", chosen.len());
    let rest = page.one("process_memory_usage_bytes", &[id[0], REST]);
    assert!(rest > 0.0, "the rest has no memory");
    thaw(&[&container]);

    // A series that ends stays as it is for as long as was asked for, and goes.
    let victim = *spinners.first().unwrap();
    let labels = [id[0], ("process_pid", &victim.to_string())];
    kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    agent.collections(2);
    let ended = Instant::now();
    let last = agent.page().sum(SHARES, &labels);
    assert!(last > 0.0);
    let gone = eventually("the series goes", || {
        let samples: Vec<f64> = agent.page().select(SHARES, &labels).map(|sample| sample.value).collect();
        let still = samples.iter().sum::<f64>();
        assert!(samples.is_empty() || still == last, "an ended series went from {last} to {still}");
        samples.is_empty().then(|| ended.elapsed())
    });
    assert!(gone > Duration::from_millis(1000) && gone < Duration::from_secs(6), "it went after {gone:?}");

    freeze(&[&container]);
    agent.settled();
    let own = (container.cpu_time().unwrap() - before) as f64 / 1e9;
    let grown = watch.finish().sum(SHARES, &[id[0]]);
    println!("selection: cgroup={own:.6}s published={grown:.6}s");
    assert!((grown - own).abs() < own * 0.001, "{grown} s of {own} s");
    thaw(&[&container]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_of_a_virtual_machine_has_all_its_processes() {
    let _turn = turn().await;
    let rig = rig().await;
    let agent = Agent::beside(&rig, &["--processes-per-container", "1"]);
    let spec = PodSpec::new("virt-launcher-it").namespace("it").label("kubevirt.io", "virt-launcher");
    let pod = rig.pod(spec).await.unwrap();
    let container = script(&pod, "compute", "for i in $(seq 12); do podscope-load sleep 0 & done; wait").await;
    let all = eventually("all are published", || {
        let all = published(&agent.page(), container.id());
        (all.len() == 13).then_some(all)
    });
    assert!(all.contains(&container.pid()));
}
