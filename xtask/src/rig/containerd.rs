//! The private containerd: its configuration, its process, the way to its CRI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{ImageSpec, ImageStatusRequest, VersionRequest};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::IMAGE;
use super::janitor::Janitor;
use crate::cmd;
use crate::driver::Driver;

/// How long containerd may take to answer after its start, and to end after SIGTERM.
const LIMIT: Duration = Duration::from_secs(60);
/// How long one CRI call may take: in a guest whose processors are software, a pod can take more than a minute.
const CALL_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// A containerd process, running or stopped.
pub(crate) struct Containerd {
    program: PathBuf,
    child: Option<Child>,
    channel: Channel,
}

/// The socket of a rig in `dir`.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

impl Containerd {
    /// Starts containerd with its files in the rig's folder and gives it the rig's image.
    pub(crate) async fn start(janitor: &Janitor, program: PathBuf, archive: &Path, driver: Driver) -> Result<Self> {
        let dir = janitor.dir();
        fs::write(dir.join("config.toml"), config(dir, driver)).context("cannot write containerd's configuration")?;
        let mut containerd = Self { program, child: None, channel: channel(socket(dir)) };
        containerd.run(janitor).await?;
        containerd.import(janitor, archive).await?;
        Ok(containerd)
    }

    /// Starts the process and waits until CRI answers.
    pub(crate) async fn run(&mut self, janitor: &Janitor) -> Result<()> {
        let log = File::options().create(true).append(true).open(log(janitor.dir()));
        let log = log.context("cannot open containerd's log")?;
        let mut command = janitor.enter(&self.program);
        command.arg("--config").arg(janitor.dir().join("config.toml"));
        if let Some(home) = self.program.parent() {
            // containerd finds its shim beside itself or on the search path.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", home.display()));
        }
        let second = log.try_clone().context("cannot open containerd's log")?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(second).spawn();
        self.child = Some(child.with_context(|| format!("cannot start {}", self.program.display()))?);
        let start = Instant::now();
        while let Err(error) = self.runtime().version(VersionRequest::default()).await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().transpose());
            if ended.is_some() || start.elapsed() > LIMIT {
                let (program, log) = (self.program.display(), log_tail(janitor.dir()));
                let state = ended.map_or("it still runs".to_owned(), |status| format!("it has ended: {status:?}"));
                bail!("{program} does not answer after {:?} ({state}): {error}\n{log}", start.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends the process; the containers stay.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let start = Instant::now();
        while child.try_wait().context("cannot wait for containerd")?.is_none() {
            if start.elapsed() > LIMIT {
                child.kill().context("cannot kill containerd")?;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Sends a signal to the process, where there is one.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let pid = Pid::from_child(child);
        kill_process(pid, signal).with_context(|| format!("cannot signal containerd (pid {})", child.id()))
    }

    /// Waits for a process that the janitor has ended, or should have.
    pub(crate) fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            // Only the exit status would be lost.
            let _ = child.wait();
        }
    }

    pub(crate) fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone())
    }

    async fn import(&self, janitor: &Janitor, archive: &Path) -> Result<()> {
        let beside = self.program.with_file_name("ctr");
        let ctr =
            if beside.is_file() { beside } else { cmd::find("ctr").context("there is no ctr beside containerd")? };
        let mut command = janitor.enter(&ctr);
        command.arg("--address").arg(socket(janitor.dir())).args(["--namespace", "k8s.io", "images", "import"]);
        cmd::output(command.arg(archive)).context("cannot import the rig's image")?;
        // CRI learns of a new image by an event.
        let start = Instant::now();
        let mut images = ImageServiceClient::new(self.channel.clone());
        let image = Some(ImageSpec { image: IMAGE.to_owned(), ..Default::default() });
        let request = ImageStatusRequest { image, verbose: false };
        while images.image_status(request.clone()).await.context("CRI's ImageStatus")?.into_inner().image.is_none() {
            if start.elapsed() > LIMIT {
                bail!("{IMAGE} was imported, but CRI does not know it");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Connects with the first call, and again after containerd was restarted.
fn channel(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://containerd").timeout(CALL_LIMIT).connect_with_connector_lazy(connector)
}

/// Version 2 of the format is read by containerd 1.6, 1.7 and 2.
fn config(dir: &Path, driver: Driver) -> String {
    let (dir, systemd) = (dir.display(), driver == Driver::Systemd);
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"

[grpc]
address = "{dir}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
# A host without CAP_SYS_RESOURCE, AppArmor or the hugetlb controller is good enough.
restrict_oom_score_adj = true
disable_apparmor = true
tolerate_missing_hugetlb_controller = true
# How much containers have written is counted each second.
stats_collect_period = 1

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{dir}/cni"
conf_dir = "{dir}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = {systemd}
"#
    )
}

fn log(dir: &Path) -> PathBuf {
    dir.join("containerd.log")
}

/// What containerd wrote last, for an error message.
pub(crate) fn log_tail(dir: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read_to_string(log(dir)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
