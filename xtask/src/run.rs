//! `cargo xtask run`: the agent on this host, beside real pods or the demo's, and a hub where one is asked for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cmd;
use crate::setup::{self, toolchain::Source};

/// Where the agent listens unless its flags say otherwise.
const LISTEN: &str = "127.0.0.1:9435";
/// Where the hub listens: OTLP's own port.
const HUB: &str = "127.0.0.1:4318";
/// The sockets of container runtimes that the agent finds by itself.
const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
];
/// The agent's promise is 5 s after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(10);
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// How the agent is to be run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Beside a private containerd with three pods: one busy, one of short processes, one asleep.
    #[arg(long)]
    demo: bool,
    /// With a hub that keeps what the agent measures, and shows it at http://127.0.0.1:4318/web.
    #[arg(long)]
    hub: bool,
    /// Without optimisation: faster to build, dearer to run.
    #[arg(long)]
    debug: bool,
    /// Flags for the agent.
    #[arg(last = true)]
    flags: Vec<String>,
}

/// Sets up, builds and runs the agent until it ends, the live view is left, or Ctrl-C.
///
/// # Errors
/// When something cannot be built or started, or the agent fails.
pub fn run(args: &Args) -> Result<()> {
    let cache = setup::setup(Source::Auto)?;
    let binaries = build(args)?;
    let mut flags = args.flags.clone();
    // Both are taken from here on: the end is in order, not at once.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("cannot take signals")?;
    }
    let demo = if args.demo {
        setup::setup_rig(&cache)?;
        let demo = Demo::start()?;
        flags.extend(["--cri-socket".to_owned(), format!("unix://{}", demo.socket)]);
        Some(demo)
    } else {
        say_runtime(&flags);
        None
    };
    let hub = if args.hub {
        flags.extend(["--otlp-endpoint".to_owned(), format!("http://{HUB}/v1/metrics")]);
        Some(Hub::start(&binaries)?)
    } else {
        None
    };
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let result = if std::io::stdout().is_terminal() && !dumb {
        with_view(&binaries, &flags, &ended)
    } else {
        plain(&binaries, &flags, &ended)
    };
    let stopped = hub.map_or(Ok(()), Hub::stop);
    let removed = demo.map_or(Ok(()), Demo::stop);
    result.and(stopped).and(removed)
}

/// Builds what is run and returns the folder that holds it.
fn build(args: &Args) -> Result<PathBuf> {
    let mut cargo = cmd::cargo(["build", "--package", "podscope-agent", "--package", "podscope-cli"]);
    if args.hub {
        cargo.args(["--package", "podscope-hub"]);
    }
    if !args.debug {
        cargo.arg("--release");
    }
    cmd::run(&mut cargo)?;
    Ok(target().join(if args.debug { "debug" } else { "release" }))
}

/// A hub that lets everybody on this machine in; what it has kept is there the next time.
struct Hub(Child);

impl Hub {
    fn start(binaries: &Path) -> Result<Self> {
        let (database, log) = (binaries.join("podscope-hub.db"), binaries.join("podscope-hub.log"));
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let url = format!("sqlite:{}", database.display());
        let flags = ["serve", "--open", "--listen", HUB, "--database-url", url.as_str()];
        let mut command = cmd::command(binaries.join("podscope-hub"), flags);
        let child = command.stderr(file).spawn();
        let mut child = child.with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
        let start = Instant::now();
        while TcpStream::connect(HUB).is_err() {
            if child.try_wait()?.is_some() || start.elapsed() > READY_LIMIT {
                child.kill().ok();
                bail!("the hub does not answer at {HUB}: {}", fs::read_to_string(&log).unwrap_or_default().trim());
            }
            std::thread::sleep(POLL);
        }
        println!("http://{HUB}/web    the hub's pages; its log is in {}", log.display());
        Ok(Self(child))
    }

    fn stop(mut self) -> Result<()> {
        end(&mut self.0, false).map(drop)
    }
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| crate::repository().join("target"))
}

/// The private containerd with the demo's pods, in a process of its own that ends with its standard input.
struct Demo {
    child: Child,
    socket: String,
}

impl Demo {
    fn start() -> Result<Self> {
        println!("starting a private containerd with the pods busy, fork-storm and sleeper");
        // This very program, with the feature that needs what setup has installed by now.
        cmd::run(&mut cmd::cargo(["build", "--quiet", "--package", "xtask", "--features", "rig"]))?;
        let mut command = cmd::as_root(target().join("debug/xtask"), ["rig"])?;
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
        let out = child.stdout.take().context("the demo has no output")?;
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let socket = lines.filter_map(|line| line.strip_prefix("socket ").map(str::to_owned)).next();
        Ok(Self { child, socket: socket.context("the demo's pods did not start")? })
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("cannot wait for the end of the demo's pods")?;
        // Ctrl-C reaches it too; its janitor removes the pods in any case.
        if status.success() || status.code().is_none() {
            Ok(())
        } else {
            bail!("the demo's pods did not end well: {status}")
        }
    }
}

/// Says where pods can be found, when nothing else does.
fn say_runtime(flags: &[String]) {
    if flags.iter().any(|flag| flag.starts_with("--cri-socket")) {
        return;
    }
    match SOCKETS.iter().find(|socket| Path::new(socket).exists()) {
        Some(socket) => println!("container runtime at {socket}"),
        None => println!(
            "no container runtime found: plain processes only; `cargo xtask run --demo` starts pods to look at"
        ),
    }
}

/// The agent with its log on this process's standard error.
fn plain(binaries: &Path, flags: &[String], ended: &AtomicBool) -> Result<()> {
    let mut agent = Agent::start(binaries, flags, None)?;
    let address = address(flags);
    println!(
        "curl http://{address}/metrics    what is measured\ncurl http://{address}/status     the state of probes and sources"
    );
    agent.wait(ended, None)
}

/// The agent with its log in a file, and the live view on the terminal.
fn with_view(binaries: &Path, flags: &[String], ended: &AtomicBool) -> Result<()> {
    let log = binaries.join("podscope-agent.log");
    let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut agent = Agent::start(binaries, flags, Some(file))?;
    let address = address(flags);
    let result = agent.until_ready(&address, ended).and_then(|()| {
        let mut view = cmd::command(binaries.join("podscope"), ["top", "--agent", &format!("http://{address}")]);
        let mut view = view.spawn().context("cannot start `podscope top`")?;
        let result = agent.wait(ended, Some(&mut view));
        // The view restores the terminal when it is told to end.
        end(&mut view, false)?;
        result
    });
    if result.is_err() {
        eprint!("{}", fs::read_to_string(&log).unwrap_or_default());
    }
    println!("the agent's log is in {}", log.display());
    result
}

struct Agent {
    child: Child,
}

impl Agent {
    fn start(binaries: &Path, flags: &[String], log: Option<File>) -> Result<Self> {
        let mut command: Command = cmd::as_root(binaries.join("podscope-agent"), flags)?;
        if let Some(log) = log {
            command.stdout(log.try_clone().context("cannot open the agent's log")?).stderr(log);
        }
        let child = command.spawn().with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
        Ok(Self { child })
    }

    fn until_ready(&mut self, address: &str, ended: &AtomicBool) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended before it answered: {status}");
            }
            if ended.load(Ordering::Relaxed) || start.elapsed() > READY_LIMIT {
                end(&mut self.child, true)?;
                bail!("the agent did not answer at {address}");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until the agent has ended, by itself or because the view ended or a signal came.
    fn wait(&mut self, ended: &AtomicBool, mut view: Option<&mut Child>) -> Result<()> {
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for the agent")? {
                break status;
            }
            let left = view.as_mut().is_some_and(|view| !matches!(view.try_wait(), Ok(None)));
            if left || ended.load(Ordering::Relaxed) {
                break end(&mut self.child, true)?;
            }
            std::thread::sleep(POLL);
        };
        if status.success() { Ok(()) } else { bail!("the agent ended: {status}") }
    }
}

/// Ends a child with SIGTERM, and with SIGKILL where that does not help.
pub(crate) fn end(child: &mut Child, as_root: bool) -> Result<std::process::ExitStatus> {
    let start = Instant::now();
    let mut signal = Some("-TERM");
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child process")? {
            return Ok(status);
        }
        if let Some(signal) = signal.take() {
            let args = [signal.to_owned(), child.id().to_string()];
            let mut kill = if as_root { cmd::as_root("kill", args)? } else { cmd::command("kill", args) };
            cmd::output(&mut kill).ok();
        }
        if start.elapsed() > END_LIMIT {
            child.kill().ok();
            bail!("a child process did not end within {} s of SIGTERM", END_LIMIT.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// Where the agent can be asked, by its own flag `--listen`.
fn address(flags: &[String]) -> String {
    let mut value = LISTEN;
    for (index, flag) in flags.iter().enumerate() {
        if let Some(given) = flag.strip_prefix("--listen=") {
            value = given;
        } else if flag == "--listen"
            && let Some(given) = flags.get(index + 1)
        {
            value = given;
        }
    }
    // An agent that listens everywhere is asked on this host.
    value.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_the_agents_flag() {
        let of = |flags: &[&str]| address(&flags.iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["--interval", "1s"]), "127.0.0.1:9435");
        assert_eq!(of(&["--listen", "127.0.0.1:1"]), "127.0.0.1:1");
        assert_eq!(of(&["--listen=0.0.0.0:2"]), "127.0.0.1:2");
        assert_eq!(of(&["--listen", "[::]:3"]), "[::1]:3");
        assert_eq!(of(&["--listen"]), "127.0.0.1:9435");
    }
}
