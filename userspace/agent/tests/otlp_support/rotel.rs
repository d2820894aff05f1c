//! A real collector (rotel) that prints every point it gets.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::eventually;

/// A running collector; ends with this value.
pub(crate) struct Collector {
    folder: TempDir,
    grpc: u16,
    http: u16,
    child: Child,
}

impl Collector {
    /// Starts one and waits until it listens.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (grpc, http) = (free_port(), free_port());
        let child = Self::spawn(&folder, grpc, http).await;
        Self { folder, grpc, http, child }
    }

    /// Ends it and starts it again, on the same ports, with nothing printed.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = Self::spawn(&self.folder, self.grpc, self.http).await;
    }

    async fn spawn(folder: &TempDir, grpc: u16, http: u16) -> Child {
        let mut command = Command::new(program());
        command
            .args(["start", "--exporter", "blackhole", "--debug-log", "metrics", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .arg("--pid-file")
            .arg(folder.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.path().join("log")).unwrap())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        for port in [grpc, http] {
            let listens = || TcpStream::connect(("127.0.0.1", port)).ok();
            eventually("the collector's port", listens).await;
        }
        child
    }

    /// Its endpoint for gRPC.
    pub(crate) fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Its endpoint for protobuf over HTTP.
    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}/v1/metrics", self.http)
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Where pip put the collector's program.
fn program() -> PathBuf {
    let python = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let found = std::process::Command::new("python3").args(["-c", python]).output();
    let path = found.ok().map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    path.filter(|path| path.is_file())
        .expect("this test needs the collector rotel for the python3 in PATH: python3 -m pip install --pre rotel")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
