//! Thousands of processes in containers' cgroups, as a kubelet without a runtime would see them.
//!
//! The cgroups have the paths that a runtime gives them; no runtime is asked, so that only what the agent itself does
//! is measured.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::Result;

use super::lab::Lab;
use crate::groups::Groups;

const MARK: u16 = 0;
const LIMIT: Duration = Duration::from_secs(120);
/// Starts sleepers of some threads, and becomes the one process of the container that works a little.
const SCRIPT: &str = r#"
while [ "$2" -gt 0 ]; do "$1" idle "$3" & set -- "$1" $(($2 - 1)) "$3"; done
exec "$1" pulse 1 1000
"#;

/// Running processes in cgroups; dropping it ends and removes them.
pub(super) struct Crowd {
    groups: Groups,
    shells: Vec<Child>,
}

impl Crowd {
    /// Starts `containers` with `each` processes: one burns 1 ms every second, the others sleep.
    pub(super) fn start(lab: &Lab, containers: usize, each: usize) -> Result<Self> {
        Self::of_threads(lab, containers, each, 1)
    }

    /// The same with so many threads in each sleeper.
    pub(super) fn of_threads(lab: &Lab, containers: usize, each: usize, threads: usize) -> Result<Self> {
        let mut crowd = Self { groups: Groups::make(MARK, containers)?, shells: Vec::new() };
        let (program, sleepers, threads) = (lab.program("podscope-load"), (each - 1).to_string(), threads.to_string());
        let args = ["-c", SCRIPT, "crowd", &*program.to_string_lossy(), &sleepers, &threads];
        for index in 0..containers {
            crowd.shells.push(crowd.groups.start(index, Path::new("sh"), &args)?);
        }
        let wanted = containers * each;
        lab.wait("starting the processes", LIMIT, || Ok(crowd.groups.pids().len() >= wanted))?;
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.groups.clear();
        for shell in &mut self.shells {
            // Only the exit status would be lost.
            let _ = shell.wait();
        }
    }
}
