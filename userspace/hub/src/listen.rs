//! Takes connections: HTTP/1.1 and HTTP/2, plain or over TLS, with a bound to everything that a client can hold.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service as _;

use crate::tls::Tls;

/// For a TLS handshake, and until the first request of a connection.
const FIRST: Duration = Duration::from_secs(10);
/// For the next request on an HTTP/1 connection, its header included: who sends once a minute keeps the connection.
const NEXT: Duration = Duration::from_secs(65);
/// For requests under way, when the hub ends.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes of a request's header.
const HEADER_BYTES: usize = 32 * 1024;
/// Requests under way on one connection.
const STREAMS: u32 = 128;

/// The other end of a connection. Routes take it as `Extension<Peer>`.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Stands for the client certificate that was verified, where there is one.
    pub(crate) certificate: Option<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: Ipv4Addr::UNSPECIFIED.into(), certificate: None }
    }
}

/// What connections have in common.
#[derive(Clone)]
struct Server {
    app: Router,
    builder: Builder<TokioExecutor>,
}

/// Serves `app` on `listener`, at most `most` connections at a time, until `ended`, and then
/// what is under way. Those beyond `most` are counted.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    app: Router,
    most: usize,
    turned_away: &AtomicU64,
    ended: impl Future<Output = ()>,
) {
    let server = Server { app, builder: builder() };
    let (tls, room) = (tls.map(Arc::new), Arc::new(Semaphore::new(most)));
    let graceful = GracefulShutdown::new();
    let mut ended = std::pin::pin!(ended);
    loop {
        let (stream, address) = tokio::select! {
            () = &mut ended => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            let count = turned_away.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_power_of_two() {
                tracing::warn!("{count} connections were closed, because {most} are open; --max-connections");
            }
            continue;
        };
        let (server, tls, watcher) = (server.clone(), tls.clone(), graceful.watcher());
        let peer = Peer { address: address.ip().to_canonical(), certificate: None };
        tokio::spawn(async move {
            if let Err(error) = connection(server, tls, stream, peer, watcher, permit).await {
                tracing::debug!("connection of {address}: {error:#}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that were under way for {FAREWELL:?} more are left unanswered");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let timer = TokioTimer::new();
    builder.http1().timer(timer.clone()).header_read_timeout(NEXT).max_buf_size(HEADER_BYTES).max_headers(100);
    builder
        .http2()
        .timer(timer)
        .max_header_list_size(HEADER_BYTES as u32)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(FIRST);
    builder
}

async fn connection(
    server: Server,
    tls: Option<Arc<Tls>>,
    stream: TcpStream,
    mut peer: Peer,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) -> Result<()> {
    let _permit = permit;
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let Some(tls) = tls else { return server.answer(stream, peer, watcher).await };
    let stream = tokio::time::timeout(FIRST, tls.acceptor().accept(stream)).await;
    let stream = stream.context("no TLS handshake in time")?.context("the TLS handshake failed")?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    peer.certificate = shown.map(|shown| format!("certificate {}", &blake3::hash(shown).to_hex()[..16]));
    server.answer(stream, peer, watcher).await
}

impl Server {
    async fn answer<S>(self, stream: S, peer: Peer, watcher: Watcher) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Arc::new(AtomicBool::new(false));
        let (app, began) = (self.app, Arc::clone(&asked));
        let service = service_fn(move |mut request: Request<Incoming>| {
            began.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            app.clone().call(request.map(Body::new))
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let mut connection = std::pin::pin!(watcher.watch(connection));
        // The reader that tells HTTP/1 from HTTP/2 has no time-out of its own.
        let served = tokio::select! {
            served = &mut connection => served,
            () = tokio::time::sleep(FIRST) => {
                anyhow::ensure!(asked.load(Ordering::Relaxed), "no request in time");
                connection.await
            }
        };
        served.map_err(|error| anyhow::anyhow!(error))
    }
}
