//! A private containerd with real pods beside whatever else runs on the host, for tests, the demo and measurements.
//!
//! Needs root. All that a rig makes lies in one folder, one mount namespace and the pods' cgroups, and a janitor process
//! removes it when the rig is dropped or its process ends, even by SIGKILL.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use xtask::rig::{ContainerSpec, Options, PodSpec, Rig};
//!
//! let rig = Rig::start(Options::default()).await?;
//! let pod = rig.pod(PodSpec::new("web").label("app", "web")).await?;
//! let container = pod.container(ContainerSpec::new("app", ["podscope-load", "spin", "100"])).await?;
//! println!("{} {} {}", rig.socket().display(), container.pid(), container.cgroup());
//! # Ok(())
//! # }
//! ```

mod containerd;
mod demo;
mod janitor;
mod pod;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::Signal;

pub use self::demo::{demo_pods, hold_demo};
pub use self::pod::{Container, ContainerSpec, Output, Pod, PodSpec, Qos};

use self::containerd::Containerd;
use self::janitor::Janitor;
pub use crate::cgroup;
use crate::cmd;
pub use crate::driver::Driver;
pub use crate::setup::image::IMAGE;
use crate::setup::{Cache, image, packages};

/// How a rig is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The containerd program, with its shim and `ctr` beside it; the distribution's where not given.
    pub containerd: Option<PathBuf>,
    /// Who makes the cgroups of pods; systemd has to be the host's first process.
    pub driver: Driver,
}

/// A running rig.
pub struct Rig {
    janitor: Janitor,
    containerd: Containerd,
    driver: Driver,
}

impl Rig {
    /// Installs what is missing, starts a containerd and gives it the image for pods and their work.
    ///
    /// # Errors
    /// When this process is not root, a package cannot be installed, or containerd does not come up; the message has the
    /// end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        let cache = Cache::locate()?;
        packages::ensure(&cache, packages::RIG)?;
        let program = match options.containerd {
            Some(program) => program,
            None => cmd::find("containerd").context("containerd is not on the search path")?,
        };
        let archive = image::archive(&cache)?;
        janitor::sweep_stale();
        let janitor = Janitor::start(options.driver)?;
        let containerd = Containerd::start(&janitor, program, &archive, options.driver).await?;
        Ok(Self { janitor, containerd, driver: options.driver })
    }

    /// The socket of containerd's CRI and native API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        containerd::socket(self.janitor.dir())
    }

    /// The folder that holds the rig's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.janitor.dir()
    }

    /// Runs a pod: its sandbox, without containers.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub async fn pod(&self, spec: PodSpec) -> Result<Pod> {
        let plan = pod::Plan::new(spec, self.dir(), self.driver)?;
        // Before it exists, so that the janitor knows it in any case.
        let list = File::options().append(true).open(self.dir().join("cgroups"));
        list.and_then(|mut file| writeln!(file, "{}", plan.cgroup)).context("cannot note the pod's cgroup")?;
        plan.run(self.containerd.runtime())
            .await
            .with_context(|| format!("containerd's log ends so:\n{}", containerd::log_tail(self.dir())))
    }

    /// Ends containerd; pods and containers stay.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop_containerd(&mut self) -> Result<()> {
        self.containerd.stop().await
    }

    /// Starts containerd after [`Rig::stop_containerd`]; it finds its pods again.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_containerd(&mut self) -> Result<()> {
        self.containerd.run(&self.janitor).await
    }

    /// Ends containerd and starts it again.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart_containerd(&mut self) -> Result<()> {
        self.stop_containerd().await?;
        self.start_containerd().await
    }

    /// Stops containerd's process: its socket accepts and never answers.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn freeze(&self) -> Result<()> {
        self.containerd.signal(Signal::STOP)
    }

    /// Lets a frozen containerd go on.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn thaw(&self) -> Result<()> {
        self.containerd.signal(Signal::CONT)
    }

    /// Removes the rig with all its pods, as dropping it does, and says when something is left.
    ///
    /// # Errors
    /// When something is left or the removal takes too long.
    pub fn stop(mut self) -> Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> Result<()> {
        let swept = self.janitor.sweep();
        self.containerd.reap();
        swept
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("{error:#}");
        }
    }
}
