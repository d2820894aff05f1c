//! What the tests share: the agent's process, its page, the work in containers, and the kernel's figures.

pub(crate) mod agent;
pub(crate) mod gpu;
pub(crate) mod kernel;
pub(crate) mod page;
pub(crate) mod watch;

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};
use xtask::rig::{Container, ContainerSpec, Driver, Options, Pod, PodSpec, Rig};

/// How long anything may take that is only waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Keeps tests of one process apart; those of several are the test runner's business.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// How many times as long everything takes here; set for emulated machines.
pub(crate) fn patience() -> u32 {
    std::env::var("PODSCOPE_TEST_PATIENCE").map_or(1, |factor| factor.parse().unwrap())
}

/// Waits until `check` gives a value; panics with `what` after a minute.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        let limit = LIMIT * patience();
        assert!(start.elapsed() < limit, "not within {} s: {what}", limit.as_secs());
        sleep(POLL);
    }
}

/// A private containerd.
pub(crate) async fn rig() -> Rig {
    let driver = Driver::from_environment().unwrap();
    Rig::start(Options { driver, ..Options::default() }).await.unwrap()
}

/// A pod of that name.
pub(crate) async fn pod(rig: &Rig, name: &str) -> Pod {
    rig.pod(PodSpec::new(name).namespace("it")).await.unwrap()
}

/// A container that runs a shell script for ever or to its end.
pub(crate) async fn script(pod: &Pod, name: &str, script: &str) -> Container {
    pod.container(ContainerSpec::new(name, ["sh", "-c", script])).await.unwrap()
}

/// A container that does one work of `podscope-load`.
pub(crate) async fn work(pod: &Pod, name: &str, words: &str) -> Container {
    let argv = std::iter::once("podscope-load").chain(words.split(' '));
    pod.container(ContainerSpec::new(name, argv)).await.unwrap()
}

/// The processes directly in a container's cgroup whose command line begins with these words.
pub(crate) fn running(container: &Container, words: &str) -> Vec<u32> {
    let wanted = words.replace(' ', "\0");
    let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = kernel::procs(&kernel::cpu_dir(container.cgroup()));
    pids.into_iter().filter(|pid| line(pid).starts_with(wanted.as_bytes())).collect()
}

/// A process that the test starts on the host; killed with this value.
pub(crate) struct Host(Child);

impl Host {
    /// Starts a program.
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
