//! The agent under measurement.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::lab::Lab;
use crate::{cmd, run};

const LIMIT: Duration = Duration::from_secs(30);

/// A running agent; dropping it ends it.
pub(crate) struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    /// Starts it with a collection a second unless the flags say otherwise, without a runtime's socket, and waits for
    /// its first collection.
    pub(crate) fn start(lab: &Lab, flags: &[&str]) -> Result<Self> {
        let address = free_address()?;
        let own = ["--listen", &address, "--cri-socket", "none", "--log-level", "error"];
        let mut command = cmd::command(lab.program("podscope-agent"), own.iter().chain(flags));
        // As a variable, so that a flag goes before it.
        let child = command.env("PODSCOPE_INTERVAL", "1").stdin(Stdio::null()).spawn();
        let mut agent =
            Self { child: child.with_context(|| format!("cannot start `{}`", cmd::show(&command)))?, address };
        lab.wait("the agent's first collection", LIMIT, || {
            if let Some(status) = agent.child.try_wait()? {
                bail!("the agent ended: {status}");
            }
            Ok(get(&agent.address, "/readyz").is_ok())
        })?;
        Ok(agent)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn metrics(&self) -> Result<String> {
        get(&self.address, "/metrics")
    }

    /// What `/status` says.
    pub(super) fn status(&self) -> Result<Value> {
        serde_json::from_str(&get(&self.address, "/status")?).context("/status is no JSON")
    }

    /// Collections so far.
    pub(crate) fn collections(&self) -> Result<f64> {
        self.status()?["collections"].as_f64().context("/status does not count collections")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = run::end(&mut self.child, false) {
            eprintln!("{error:#}");
        }
    }
}

/// An address of this host that nobody listens on.
pub(crate) fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.to_string())
}

/// The body of a page.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a time-out")?;
    // By 1.0, a body comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(|| format!("cannot ask {address}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{address}{path} did not answer in full"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    if !head.starts_with("HTTP/1.0 200") {
        bail!("{address}{path} answered {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
