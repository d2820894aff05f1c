//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz`, `/status`, `/top`.
//!
//! It reads and never changes anything. What clients can hold is bounded: connections, header size, the time to send
//! a header, the life of a connection, the pages they have not read; request bodies are refused. What is refused or
//! cut off is counted.

mod counters;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod latest;
mod pages;
mod places;
mod routes;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::snapshot::Snapshot;
use places::{Place, Places};
use routes::Site;
use tls::Tls;

pub use counters::{Counters, Refusal};
pub use latest::Latest;
pub use tls::{TlsError, TlsFiles};

/// What the server shows.
pub trait Source: Send + Sync + 'static {
    /// The last snapshot; where it is stale, a newer one is waited for within reason. `None` before the first.
    fn fresh(&self) -> impl Future<Output = Option<Arc<Snapshot>>> + Send;
    /// Whether a first collection has been made.
    fn ready(&self) -> bool;
    /// Whether `/metrics` is the only page there is.
    fn only_metrics(&self) -> bool {
        false
    }
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

/// What clients can hold.
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
    /// Bytes of pages that are being read: a new one beyond that costs the oldest reader its connection.
    held_bytes: usize,
}

const LIMITS: Limits = Limits {
    connections: 64,
    header_bytes: 16 * 1024,
    header_time: Duration::from_secs(5),
    life: Duration::from_secs(30),
    held_bytes: 32 << 20,
};

/// Connections that the kernel keeps until they are taken; the standard library asks for fewer.
const BACKLOG: i32 = 1024;
/// Bytes of an answer that the kernel takes over; it counts twice as many, for what stands around them.
const SEND_BUFFER: usize = 128 * 1024;

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
    /// When the address cannot be had or the TLS files cannot be used.
    pub fn bind(listen: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(Tls::load).transpose()?;
        let bound = listener(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|reason| Error::Bind { listen, reason })?;
        Ok(Self { listener, address, tls, limits: LIMITS, counters: Arc::default() })
    }

    /// Serves with this certificate instead of files.
    ///
    /// # Errors
    /// When certificate and key do not fit.
    pub fn with_certificate(
        mut self,
        (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    ) -> Result<Self, TlsError> {
        self.tls = Some(Tls::made(chain, key)?);
        Ok(self)
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
        let places = Arc::new(Places::new(self.limits.connections));
        let site = Arc::new(Site::new(source, self.counters.clone(), places.clone(), self.limits.held_bytes));
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
                // Those that were told to go are counted until they have gone.
                accepted = listener.accept(), if connections.len() < 2 * self.limits.connections => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = places.take(peer.ip(), Instant::now()) else {
                        self.counters.refuse(Refusal::Full);
                        continue;
                    };
                    let tls = self.tls.as_ref().map(Tls::acceptor);
                    let (site, limits, counters) = (site.clone(), self.limits, self.counters.clone());
                    connections.spawn(async move {
                        let ended = tokio::select! {
                            ended = connection(stream, tls, site, &place, limits) => ended,
                            () = place.dismissed() => Err(End::of(Refusal::Displaced)),
                        };
                        if let Err(End { refusal, error }) = ended {
                            refusal.into_iter().for_each(|refusal| counters.refuse(refusal));
                            tracing::debug!("HTTP connection from {peer}: {error:#}");
                        }
                    });
                    // Its request may be there already: it is looked at before another one can take its place.
                    tokio::task::yield_now().await;
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

/// Listens with a send buffer that has a bound: the kernel would hold megabytes for each client that does not read.
fn listener(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(listen)?;
    rustix::net::listen(&listener, BACKLOG)?;
    // Inherited by the connections.
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// How a connection ended before its time.
struct End {
    /// `None`: the client went away.
    refusal: Option<Refusal>,
    error: anyhow::Error,
}

impl End {
    fn of(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), error: anyhow::anyhow!("cut off: {refusal:?}") }
    }
}

/// Serves one connection to its end.
async fn connection<S: Source>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    site: Arc<Site<S>>,
    place: &Arc<Place>,
    limits: Limits,
) -> Result<(), End> {
    let broken = |refusal| move |error: io::Error| End { refusal, error: error.into() };
    stream.set_nodelay(true).map_err(broken(None))?;
    let Some(tls) = tls else { return requests(stream, site, place, limits).await };
    let accepted = timeout(limits.header_time, tls.accept(stream)).await;
    let stream = accepted.map_err(|_| End::of(Refusal::Handshake))?.map_err(broken(Some(Refusal::Handshake)))?;
    requests(stream, site, place, limits).await
}

/// Answers the requests that come over a stream.
async fn requests<S: Source>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    site: Arc<Site<S>>,
    place: &Arc<Place>,
    limits: Limits,
) -> Result<(), End> {
    let service = service_fn(move |request| {
        let (site, answering) = (site.clone(), place.answer(Instant::now()));
        async move { Ok::<_, Infallible>(site.answer(request, answering).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes)
            // `printf … | nc` shuts its side down once it has asked.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = match timeout(limits.life, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.life / 2, connection).await.map_err(|_| End::of(Refusal::Slow))?
        }
    };
    ended.map_err(|error| {
        let refusal = Refusal::of(&error).filter(|refusal| *refusal != Refusal::Slow || !place.is_idle());
        End { refusal, error: error.into() }
    })
}

#[cfg(test)]
mod tests;
