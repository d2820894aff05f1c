//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz`, `/status`, `/top`.
//!
//! It reads and never changes anything. What one client can hold is bounded: connections, header size, the time to
//! send a header, the life of a connection; request bodies are refused.

mod latest;
mod pages;
mod routes;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::snapshot::Snapshot;
use routes::Site;
use tls::Tls;

pub use latest::Latest;
pub use tls::{TlsError, TlsFiles};

/// What the server shows.
pub trait Source: Send + Sync + 'static {
    /// The last snapshot; where it is stale, a newer one is waited for within reason. `None` before the first.
    fn fresh(&self) -> impl Future<Output = Option<Arc<Snapshot>>> + Send;
    /// Whether a first collection has been made.
    fn ready(&self) -> bool;
    /// The body of `/status`.
    fn status_json(&self) -> Vec<u8>;
    /// The body of `/top`, with at most `processes` processes per container.
    fn top_json(&self, processes: usize) -> Vec<u8>;
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("cannot listen on {listen}: {reason} (choose another address with --listen)")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// The reason.
        reason: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What the server counts about itself.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// Requests answered, errors included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections closed unserved because too many were open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What one client can hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Open connections.
    connections: usize,
    /// Bytes of a request's header.
    header_bytes: usize,
    /// From the end of one answer, or the start of the connection, to the end of the next request's header.
    header_time: Duration,
    /// Of a connection; an answer that is then under way may take half as long again.
    life: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    header_bytes: 16 * 1024,
    header_time: Duration::from_secs(5),
    life: Duration::from_secs(30),
};

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    limits: Limits,
    counters: Arc<Counters>,
}

impl Server {
    /// Starts to listen; clients wait until [`Server::serve`].
    ///
    /// # Errors
    /// When the address or the TLS files cannot be used.
    pub fn bind(listen: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(Tls::load).transpose()?;
        let bound = || {
            let listener = std::net::TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound().map_err(|reason| Error::Bind { listen, reason })?;
        Ok(Self { listener, address, tls, limits: LIMITS, counters: Arc::default() })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters, which go on counting while it serves.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves until it is dropped; open connections are then cut.
    ///
    /// # Errors
    /// When the listener cannot be watched.
    pub async fn serve<S: Source>(self, source: Arc<S>) -> io::Result<Infallible> {
        let listener = TcpListener::from_std(self.listener)?;
        let site = Arc::new(Site::new(source, self.counters.clone()));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("an HTTP connection ended by a fault of the agent: {error}");
                    }
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(_) if connections.len() >= self.limits.connections => {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                }
                Ok((stream, peer)) => {
                    let tls = self.tls.as_ref().map(Tls::acceptor);
                    let (site, limits) = (site.clone(), self.limits);
                    connections.spawn(async move {
                        if let Err(error) = connection(stream, tls, site, limits).await {
                            tracing::debug!("HTTP connection from {peer}: {error:#}");
                        }
                    });
                }
                // Out of descriptors, most likely: what is open must end first.
                Err(error) => {
                    tracing::warn!("cannot accept an HTTP connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection<S: Source>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    site: Arc<Site<S>>,
    limits: Limits,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => requests(stream, site, limits).await,
        Some(tls) => requests(timeout(limits.header_time, tls.accept(stream)).await??, site, limits).await,
    }
}

/// Answers the requests that come over a stream.
async fn requests<S: Source>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    site: Arc<Site<S>>,
    limits: Limits,
) -> anyhow::Result<()> {
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes)
            .serve_connection(TokioIo::new(stream), service)
    );
    match timeout(limits.life, connection.as_mut()).await {
        Ok(ended) => ended?,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.life / 2, connection).await??;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
