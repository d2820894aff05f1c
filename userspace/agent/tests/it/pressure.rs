//! Many at once: short processes, containers that come and go, maps that are full. `cargo xtask soak` has the same at
//! greater numbers.
//!
//! The containers are plain cgroups, which no runtime knows: their ids stand in their paths.

use std::path::{Path, PathBuf};
use std::process::Child;

use xtask::groups::Groups;
use xtask::setup::{Cache, load};

use crate::support::agent::Agent;
use crate::support::page::Page;
use crate::support::watch::Watch;
use crate::support::{eventually, turn};

const CPU: &str = "podscope_container_process_cpu_time_seconds_total";
const STARTED: &str = "podscope_executable_process_started_total";
const ENDED: &str = "podscope_executable_process_ended_total";
const UNACCOUNTED: &str = "podscope_container_cpu_unaccounted_seconds";
const LOSSES: &str = "podscope_agent_losses_total";
/// What each user of plain cgroups has its own of.
const STORM: u16 = 0x10;
const FULL: u16 = 0x11;
const CHURN: u16 = 0x12;
/// Where a sum is small, what one tick of the kernel's clock is long.
const TICK: f64 = 0.004;

fn program() -> PathBuf {
    load::program(&Cache::locate().unwrap()).unwrap()
}

/// Starts a work of `podscope-load` in a container.
fn start(groups: &Groups, index: usize, program: &Path, words: &str) -> Child {
    let words: Vec<&str> = words.split(' ').collect();
    groups.start(index, program, &words).unwrap()
}

fn own(groups: &Groups, index: usize) -> f64 {
    groups.cpu_time(index).unwrap() as f64 / 1e9
}

fn without_runtime(flags: &[&str]) -> Agent {
    Agent::start(&[&["--cri-socket", "none"], flags].concat())
}

fn losses(page: &Page) -> Vec<(String, f64)> {
    let all = page.select(LOSSES, &[]).map(|sample| (sample.label("podscope_loss_reason").to_owned(), sample.value));
    all.filter(|(_, value)| *value > 0.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_short_processes_of_fifty_containers_are_all_counted() {
    const EACH: usize = 200;
    let _turn = turn().await;
    let program = program();
    let groups = Groups::make(STORM, 50).unwrap();
    let agent = without_runtime(&[]);
    let work = format!("burst {EACH}");
    let all: Vec<Child> = (0..groups.count()).map(|index| start(&groups, index, &program, &work)).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let page = agent.settled();

    let (mut truth, mut published) = (0.0, 0.0);
    for index in 0..groups.count() {
        let id = groups.id(index);
        let id = [("container_id", id.as_str())];
        let [started, ended] = [STARTED, ENDED].map(|metric| page.sum(metric, &id));
        let exited = page.sum(ENDED, &[id[0], ("podscope_process_end_type", "exit")]);
        assert_eq!(exited, (EACH + 1) as f64, "container {index}");
        assert_eq!((started - ended, page.one("podscope_container_process_count", &id)), (0.0, 0.0));
        let (own, sum) = (own(&groups, index), page.one(CPU, &id));
        assert!((own - sum).abs() < own * 0.001 + TICK, "container {index}: {sum} s of {own} s");
        (truth, published) = (truth + own, published + sum);
    }
    println!("storm: cgroups={truth:.6}s published={published:.6}s off={:+.4}%", (published / truth - 1.0) * 100.0);
    assert!((published / truth - 1.0).abs() < 0.001, "{published} s of {truth} s");
    assert_eq!(losses(&page), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_come_and_go_are_counted_to_their_end() {
    let _turn = turn().await;
    let program = program();
    let agent = without_runtime(&["--interval", "0.1"]);
    let watch = Watch::start(&agent);
    let groups = Groups::make(CHURN, 0).unwrap();
    let mut truth = 0.0;
    for index in 0..60 {
        groups.make_one(index).unwrap();
        let mut child = start(&groups, index, &program, "threads 3 5 2");
        assert!(child.wait().unwrap().success());
        truth += own(&groups, index);
        // At once, while its last figures are on their way.
        eventually("the cgroup can be removed", || groups.remove_one(index).ok());
    }
    agent.settled();
    let grown = watch.finish();
    let all = (0..60).map(|index| grown.sum(CPU, &[("container_id", groups.id(index).as_str())]));
    let sums: Vec<f64> = all.collect();
    let published: f64 = sums.iter().sum();
    println!("churn: cgroups={truth:.6}s published={published:.6}s off={:+.4}%", (published / truth - 1.0) * 100.0);
    assert!(sums.iter().all(|sum| *sum > 0.0), "{sums:?}");
    assert!((published / truth - 1.0).abs() < 0.001, "{published} s of {truth} s");
    assert_eq!(losses(&agent.page()), []);
}

/// A hundred and twenty containers with ten programs each, of which half have ended and half have one that sleeps.
struct Many {
    groups: Groups,
    sleepers: Vec<Child>,
    _programs: tempfile::TempDir,
}

impl Many {
    const CONTAINERS: usize = 120;
    const PROGRAMS: usize = 10;

    fn start() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let named = |index| programs.path().join(format!("program-{index}"));
        // Copies, not links: the kernel knows a program by the name under which its file was opened first.
        for index in 0..Self::PROGRAMS {
            std::fs::copy(program(), named(index)).unwrap();
        }
        let groups = Groups::make(FULL, Self::CONTAINERS).unwrap();
        let script = format!("for i in {}/*; do $i threads 2 1 1; done", programs.path().display());
        let start = |index| {
            let script =
                if index % 2 == 0 { script.clone() } else { format!("{script}; exec {} idle 3", named(0).display()) };
            groups.start(index, Path::new("sh"), &["-c", &script]).unwrap()
        };
        let (ended, sleepers): (Vec<_>, Vec<_>) =
            (0..Self::CONTAINERS).map(|index| (index, start(index))).partition(|(index, _)| index % 2 == 0);
        ended.into_iter().for_each(|(_, mut child)| assert!(child.wait().unwrap().success()));
        let sleepers: Vec<Child> = sleepers.into_iter().map(|(_, child)| child).collect();
        eventually("the sleepers sleep", || {
            let idle = |child: &Child| {
                std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().ends_with(b"idle\x003\0")
            };
            sleepers.iter().all(idle).then_some(())
        });
        Self { groups, sleepers, _programs: programs }
    }

    /// For each container: CPU time by its cgroup, by the page, and what the page says the difference is.
    fn compare(&self, page: &Page) -> Vec<(f64, Option<f64>, Option<f64>)> {
        let one = |index| {
            let id = self.groups.id(index);
            let of = |metric| page.get(metric, &[("container_id", id.as_str())]);
            (own(&self.groups, index), of(CPU), of(UNACCOUNTED))
        };
        (0..self.groups.count()).map(one).collect()
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        self.groups.clear();
        self.sleepers.iter_mut().for_each(|child| drop(child.wait()));
    }
}

/// Checks that the maps have not grown beyond their bounds and that what they refused is counted.
fn check_bounds(page: &Page, refused: &[&str]) {
    for map in ["books", "cgroups", "closed"] {
        let of = |metric: &str| page.one(metric, &[("podscope_bpf_map", map)]);
        let (entries, capacity) = (of("podscope_agent_bpf_map_entries"), of("podscope_agent_bpf_map_capacity"));
        println!("full: {entries} {map} of {capacity}");
        assert!(entries <= capacity, "{entries} {map} of {capacity}");
    }
    let lost = losses(page);
    println!("full: {lost:?}");
    assert_eq!(lost.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_programs_than_books_every_container_is_exact() {
    let _turn = turn().await;
    let agent = without_runtime(&["--max-books", "1024"]);
    let many = Many::start();
    let page = agent.settled();
    check_bounds(&page, &["book"]);
    for (index, (own, published, _)) in many.compare(&page).into_iter().enumerate() {
        let published = published.unwrap_or_default();
        assert!((published - own).abs() < own * 0.001, "container {index}: {published} s of {own} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_books_what_is_missing_is_told_and_nothing_is_invented() {
    let _turn = turn().await;
    let agent = without_runtime(&["--max-cgroups", "16", "--max-books", "128"]);
    let many = Many::start();
    let page = agent.settled();
    check_bounds(&page, &["book", "cgroup"]);
    let all = many.compare(&page);
    let exact = all.iter().filter(|(own, published, _)| published.is_some_and(|it| (it - own).abs() < own * 0.001));
    // How many places are left depends on what else the host runs.
    assert!(exact.count() > 0, "{all:?}");
    for (index, (own, published, told)) in all.into_iter().enumerate() {
        let Some(published) = published else { continue };
        assert!(published <= own * 1.001, "container {index}: {published} s of {own} s");
        let missing = own - published;
        assert!((missing - told.unwrap()).abs() < 1e-5, "container {index}: {missing} s are missing, told {told:?}");
    }
}
