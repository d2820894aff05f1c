//! An OTLP receiver that takes everything: in this process, so that its work is not counted as the sender's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A receiver on a port of its own, for as long as this process runs.
pub(super) struct Receiver {
    address: String,
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Receiver {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen for OTLP")?;
        let address = listener.local_addr().context("cannot listen for OTLP")?.to_string();
        let (requests, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&requests), Arc::clone(&bytes));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, bytes) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
                // A connection that fails is the sender's to repeat.
                std::thread::spawn(move || take_all(stream, &requests, &bytes));
            }
        });
        Ok(Self { address, requests, bytes })
    }

    /// The URL for OTLP over HTTP.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1/metrics", self.address)
    }

    /// Requests and bytes of bodies so far.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Answers request after request of a connection.
fn take_all(stream: TcpStream, requests: &AtomicU64, bytes: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let read = std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        requests.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(read, Ordering::Relaxed);
        stream.write_all(ACCEPTED)?;
    }
}
