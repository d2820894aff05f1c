//! What removes a rig: a shell process that outlives the rig's own, whatever happens to that.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::driver::Driver;

const SCRIPT: &str = include_str!("sweep.sh");
const PREFIX: &str = "podscope-rig-";
/// A sweep takes as long as the kernel needs to end the rig's processes.
const SWEEP_LIMIT: Duration = Duration::from_secs(30);

/// A rig's folder and the process that will remove it.
pub(crate) struct Janitor {
    dir: PathBuf,
    child: Child,
    /// Closed by the kernel when this process ends in any way.
    stdin: Option<ChildStdin>,
}

impl Janitor {
    /// Makes a rig's folder and starts its janitor.
    pub(crate) fn start(driver: Driver) -> Result<Self> {
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().context("cannot make the rig's folder")?.keep();
        fs::create_dir(dir.join("run")).context("cannot make the rig's /run")?;
        if driver == Driver::Systemd {
            // Where the script finds this folder it brings systemd's sockets into the rig.
            fs::create_dir(dir.join("run/systemd")).context("cannot make the rig's /run/systemd")?;
        }
        fs::write(dir.join("cgroups"), "").context("cannot make the rig's list of cgroups")?;
        let mut command = janitor(&dir);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start unshare for the rig's janitor")?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the rig's janitor has no output")?)
            .read_line(&mut line)
            .context("cannot read from the rig's janitor")?;
        let janitor = Self { dir, child, stdin };
        if line.trim() != "ready" {
            bail!("a rig needs a mount namespace of its own, which needs root: {}", line.trim());
        }
        Ok(janitor)
    }

    /// The rig's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command that runs in the rig's mount namespace.
    pub(crate) fn enter(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.child.id())).arg("--").arg(program);
        command
    }

    /// Removes the rig.
    pub(crate) fn sweep(&mut self) -> Result<()> {
        drop(self.stdin.take());
        let start = Instant::now();
        while self.child.try_wait().context("cannot wait for the rig's janitor")?.is_none() {
            if start.elapsed() > SWEEP_LIMIT {
                bail!("the rig in {} was not removed within {} s", self.dir.display(), SWEEP_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.dir.exists() { bail!("something is left of the rig in {}", self.dir.display()) } else { Ok(()) }
    }
}

/// Removes the rigs whose process and janitor are both gone.
pub(crate) fn sweep_stale() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for dir in entries.map(|entry| entry.path()).filter(|dir| is_stale(dir)) {
        // Without this folder the script sweeps at once. What cannot be swept now is left for the next rig.
        let _ = fs::remove_dir_all(dir.join("run")).and_then(|()| janitor(&dir).stdin(Stdio::null()).status());
    }
}

fn janitor(dir: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "rig-janitor"]).arg(dir);
    // A group of its own: Ctrl-C and a test runner's time-out do not reach it.
    command.current_dir("/").process_group(0);
    command
}

fn is_stale(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}
