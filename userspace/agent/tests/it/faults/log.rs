//! The log cannot be written.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::table;
use crate::support::agent::{self, Agent};
use crate::support::{eventually, turn};

/// A file system of 64 KiB; unmounted with this value.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).status().unwrap();
        assert!(mounted.success(), "this test mounts a file system and has to run as root");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut filler = File::create(self.path("filler")).unwrap();
        while filler.write_all(&[b'x'; 64]).is_ok() {}
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// An agent that logs much, to where it is told.
fn command(to: impl Into<Stdio>) -> Command {
    let mut command = agent::command();
    agent::settings(&mut command);
    command.args(["--cri-socket", "none", "--log-level", "podscope_agent::http=debug,info"]).stderr(to);
    command
}

/// Where the agent says that it listens.
fn address(said: &str) -> Option<SocketAddr> {
    said.split_once("serving http://")?.1.split_once('/')?.0.parse().ok()
}

/// Makes the agent log a line.
fn provoke(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"\0\r\n\r\n").unwrap();
    // Until it has been answered, so that the line is on its way.
    let _ = stream.read_to_end(&mut Vec::new());
}

fn lines_dropped(agent: &Agent) -> f64 {
    agent.page().one("podscope_agent_dropped_total", &[("podscope_drop_reason", "log_line")])
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_disk_is_full() {
    let _turn = turn().await;
    let tiny = Tiny::new();
    let path = tiny.path("log");
    let child = command(File::create(&path).unwrap()).spawn().unwrap();
    let listens = eventually("the agent says where it listens", || address(&read(&path)));
    let agent = Agent::ready(child, listens, Arc::default());
    tiny.fill();
    let began = Instant::now();
    // What is left of the last page of the file is filled first.
    (0..60).for_each(|_| provoke(agent.address));
    let seen = table::LOG_FULL.seen(&agent, began);
    agent.collections(2);
    assert!(lines_dropped(&agent) > 0.0);
    fs::remove_file(tiny.path("filler")).unwrap();
    let mended = Instant::now();
    provoke(agent.address);
    table::LOG_FULL.mended(&agent, seen, mended);
    eventually("the log goes on", || read(&path).contains("log is up").then_some(()));
    assert_eq!(agent.get("/healthz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a slow row: `cargo xtask faults`"]
async fn nobody_reads_it() {
    let _turn = turn().await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = command(writer).spawn().unwrap();
    let mut said = String::new();
    let listens = loop {
        let mut piece = [0; 512];
        let read = reader.read(&mut piece).unwrap();
        assert!(read > 0, "the agent ended:\n{said}");
        said.push_str(&String::from_utf8_lossy(&piece[..read]));
        if let Some(address) = address(&said) {
            break address;
        }
    };
    let agent = Agent::ready(child, listens, Arc::default());
    let began = Instant::now();
    // More than the pipe and the queue hold.
    (0..2_500).for_each(|_| provoke(agent.address));
    let seen = table::LOG_STUCK.seen(&agent, began);
    agent.collections(2);
    let dropped = lines_dropped(&agent);
    assert!(dropped > 0.0 && dropped < 2_500.0, "{dropped} lines");
    let mended = Instant::now();
    let rest = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&rest);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut piece) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    });
    table::LOG_STUCK.mended(&agent, seen, mended);
    eventually("the lines that waited come", || {
        let lines = rest.lock().unwrap().matches("HTTP connection from").count();
        (lines >= 1_024).then_some(())
    });
}
