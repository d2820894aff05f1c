//! Work that reaches every hook of the agent within seconds: context switches, processes that start, execute and end,
//! cgroups that come and go with processes moved through them, memory reclaim, an OOM kill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use super::lab::Lab;
use super::tools::Load;
use crate::cmd;

const ROOT: &str = "/sys/fs/cgroup";
const ROUNDS: usize = 100;
/// Of a cgroup in which files are written and read until pages have to be reclaimed.
const LIMIT: &str = "16777216";

/// Does all of it once.
pub(super) fn run(lab: &Lab) -> Result<()> {
    Load::PingPong.run(lab)?;
    Load::Starts.run(lab)?;
    groups(lab)?;
    pressure(lab)
}

/// A sleeper is moved into new cgroups and out of them again.
fn groups(lab: &Lab) -> Result<()> {
    let top = hierarchy("cpuacct");
    let sleeper = Sleeper::start(lab)?;
    let pid = sleeper.0.id().to_string();
    for round in 0..ROUNDS {
        let group = Group::make(top.join(format!("podscope-bench-{round}")))?;
        group.set("cgroup.procs", &pid)?;
        write(&top.join("cgroup.procs"), &pid)?;
    }
    Ok(())
}

/// Reading and writing under a memory limit reclaims pages; holding more than the limit is the end of a process.
fn pressure(lab: &Lab) -> Result<()> {
    let group = Group::make(hierarchy("memory").join("podscope-bench-memory"))?;
    let v1 = group.0.join("memory.limit_in_bytes").exists();
    group.set(if v1 { "memory.limit_in_bytes" } else { "memory.max" }, LIMIT)?;
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
    for work in [["io", "64"].as_slice(), &["mem", "64", "1"]] {
        let mut command = cmd::command("sh", ["-c", &enter, "churn"]);
        command.arg(lab.program("podscope-load")).args(work).stdout(Stdio::null()).stderr(Stdio::null());
        // The second one is meant to be killed.
        let _ended = command.status().context("cannot start work under a memory limit")?;
    }
    Ok(())
}

/// Where cgroups are made: v1's hierarchy of a controller, or v2's one.
fn hierarchy(controller: &str) -> PathBuf {
    let v1 = Path::new(ROOT).join(controller);
    if v1.is_dir() { v1 } else { PathBuf::from(ROOT) }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// A cgroup; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make(dir: PathBuf) -> Result<Self> {
        // What an earlier run has left.
        let _ = fs::remove_dir(&dir);
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn set(&self, file: &str, text: &str) -> Result<()> {
        write(&self.0.join(file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn start(lab: &Lab) -> Result<Self> {
        let child = cmd::command(lab.program("podscope-load"), ["sleep", "0"]).stdin(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start a sleeper")?))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
