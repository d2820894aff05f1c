//! Runs other programs, with errors that say what was run and what it answered.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a child with a time-out is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Makes a command of a program and its arguments.
pub fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// A cargo as if it were started by hand.
///
/// The cargo that runs this program has told it about its own package. Build scripts ask for such variables, and
/// would be run again, with all that depends on them, whenever a build by hand follows one from here.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut cargo = command("cargo", args);
    let own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| own(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs a command with this process's own standard streams.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", show(command)))?;
    check(command, status, "")
}

/// Runs a command and returns what it wrote to its standard output, trimmed.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the message has what it wrote to its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", show(command)))?;
    check(command, out.status, &String::from_utf8_lossy(&out.stderr))?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Runs a command without showing its output, and ends it when it takes longer than `limit`.
///
/// # Errors
/// When it cannot be started, takes too long or does not exit with 0; the message has what it wrote.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let log = tempfile::NamedTempFile::new().context("cannot create a temporary file for a command's output")?;
    let stream = || log.reopen().context("cannot open a temporary file for a command's output");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stream()?)
        .stderr(stream()?)
        .spawn()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            let mut text = String::new();
            // What cannot be read back only makes the message shorter.
            let _ = File::open(log.path()).and_then(|mut file| file.read_to_string(&mut text));
            return check(command, status, &text);
        }
        std::thread::sleep(POLL);
    }
    child.kill().ok();
    child.wait().ok();
    bail!("`{}` took longer than {} s", show(command), limit.as_secs())
}

/// The program of that name on the search path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    // sbin is not on an ordinary user's path, but what stands there may still be run with sudo.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

/// Whether the effective user of this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs as root: itself where this process is root, else through sudo, which is told to pass on the
/// variables that podscope and its tests read.
///
/// # Errors
/// When this process is not root and there is no sudo; the message has the command to run.
pub fn as_root<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Result<Command> {
    let plain = command(program, args);
    if is_root() {
        return Ok(plain);
    }
    if find("sudo").is_none() {
        bail!("this needs root and there is no sudo; run as root: {}", show(&plain));
    }
    let mut sudo = Command::new("sudo");
    let set: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let kept: Vec<&str> = set.iter().map(String::as_str).filter(|name| is_passed_on(name)).collect();
    sudo.arg(format!("--preserve-env={}", kept.join(","))).arg("--").arg(plain.get_program()).args(plain.get_args());
    Ok(sudo)
}

fn is_passed_on(name: &str) -> bool {
    const PREFIXES: [&str; 7] = ["CARGO", "INSTA_", "NEXTEST", "OTEL_", "PODSCOPE_", "RUST", "XDG_CACHE"];
    ["CI", "HOME", "TMPDIR"].contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A command as one would type it.
#[must_use]
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn check(command: &Command, status: ExitStatus, said: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let said = said.trim();
    let colon = if said.is_empty() { "" } else { ": " };
    bail!("`{}` failed ({status}){colon}{said}", show(command))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
