//! The agent's process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xtask::rig::Rig;

use super::page::Page;
use super::{eventually, patience};

/// Collections after which all that ended before the first of them is in the books and published.
const SETTLING: u64 = 3;

/// A running agent; ends with this value.
pub(crate) struct Agent {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// How an agent ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
    /// What it wrote to standard error.
    pub(crate) log: String,
}

/// The agent's program: the one that was built with the tests, or the one that `PODSCOPE_TEST_AGENT` names, such as
/// what `cargo xtask dist` has built.
fn program() -> OsString {
    std::env::var_os("PODSCOPE_TEST_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_podscope-agent").into())
}

/// The agent's program.
pub(crate) fn command() -> Command {
    clean(Command::new(program()))
}

/// The agent's program in a cgroup, which it takes for the root of its own cgroup namespace.
pub(crate) fn command_inside(group: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec unshare --cgroup "$@""#]).arg(group).arg(program());
    clean(command)
}

fn clean(mut command: Command) -> Command {
    // Only what a test says counts.
    let begins = ["OTEL_", "PODSCOPE_", "KUBE", "HOST_IP", "NODE_NAME"];
    for (name, _) in std::env::vars().filter(|(name, _)| begins.iter().any(|begin| name.starts_with(begin))) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A port of its own and two collections a second; as variables, so that a flag of the test goes before them.
pub(crate) fn settings(command: &mut Command) {
    command.env("PODSCOPE_LISTEN", "127.0.0.1:0").env("PODSCOPE_INTERVAL", (0.5 * f64::from(patience())).to_string());
}

impl Agent {
    /// Starts an agent on a port of its own with two collections a second, on a slow machine fewer, and waits for the
    /// first of them.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::run(command(), flags)
    }

    /// The same by a command that becomes [`command`]'s program.
    pub(crate) fn run(mut command: Command, flags: &[&str]) -> Self {
        settings(&mut command);
        command.args(flags).stderr(Stdio::piped());
        Self::launch(command)
    }

    /// Starts an agent by a command that pipes standard error, and waits until it is ready.
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let to = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = to.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = eventually("the agent says where it listens", || {
            let said = log.lock().unwrap().clone();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the agent ended at once ({}):\n{said}", ended.unwrap());
            let (_, rest) = said.split_once("serving http://")?;
            rest.split_once('/')?.0.parse().ok()
        });
        Self::ready(child, address, log)
    }

    /// Waits until an agent is ready whose log is read by somebody else.
    pub(crate) fn ready(child: Child, address: SocketAddr, log: Arc<Mutex<String>>) -> Self {
        let agent = Self { child, address, log };
        eventually("the agent is ready", || (agent.get("/readyz").0 == 200).then_some(()));
        agent
    }

    /// Starts an agent that asks the rig's containerd.
    pub(crate) fn beside(rig: &Rig, flags: &[&str]) -> Self {
        Self::run_beside(rig, command(), flags)
    }

    /// The same by a command that becomes [`command`]'s program.
    pub(crate) fn run_beside(rig: &Rig, command: Command, flags: &[&str]) -> Self {
        let socket = format!("unix://{}", rig.socket().display());
        Self::run(command, &[&["--cri-socket", &socket], flags].concat())
    }

    /// The agent's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a page: HTTP status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path)
    }

    /// The page of the last collection.
    pub(crate) fn page(&self) -> Page {
        page(self.address)
    }

    /// `/status`.
    pub(crate) fn status(&self) -> Value {
        let (code, body) = self.get("/status");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The state and the reason of a probe (`probes`) or source (`sources`) in `/status`.
    pub(crate) fn state(&self, kind: &str, name: &str) -> (String, String) {
        let status = self.status();
        let text = |part: &Value, key: &str| part[key].as_str().unwrap_or_default().to_owned();
        let part = status[kind].as_array().unwrap().iter().find(|part| part["name"] == name);
        part.map_or_else(Default::default, |part| (text(part, "state"), text(part, "reason")))
    }

    /// Waits until a source has that state, and returns the reason.
    pub(crate) fn becomes(&self, source: &str, wanted: &str) -> String {
        eventually(&format!("{source} is {wanted}"), || {
            let (state, reason) = self.state("sources", source);
            (state == wanted).then_some(reason)
        })
    }

    /// Waits for so many collections from now on.
    pub(crate) fn collections(&self, count: u64) {
        let made = || self.status()["collections"].as_u64().unwrap();
        let wanted = made() + count;
        eventually("further collections", || (made() >= wanted).then_some(()));
    }

    /// The page when all that has happened until now is in it.
    pub(crate) fn settled(&self) -> Page {
        self.collections(SETTLING);
        self.page()
    }

    /// What the agent wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: Signal) -> End {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = eventually("the agent ends", || self.child.try_wait().unwrap());
        End { status, took: start.elapsed(), log: self.log() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What it said is worth most when a test fails.
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page at an address.
pub(crate) fn page(address: SocketAddr) -> Page {
    let (code, body) = get(address, "/metrics");
    assert_eq!(code, 200, "{body}");
    Page::parse(&body)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // By 1.0, a body comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "a body in pieces is not read here: {head}");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_else(|| panic!("no HTTP: {head}")), body.to_owned())
}
