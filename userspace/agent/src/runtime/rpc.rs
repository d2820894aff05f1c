//! Calls over a unix socket, each with a limit on its time.

use std::error::Error;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};
use tower::service_fn;

/// Why the runtime gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RpcError {
    #[error("connecting to unix://{}: {reason}; mount the socket or pass --cri-socket", .path.display())]
    Connect { path: PathBuf, reason: String },
    #[error("{method}: no answer within {limit:?}")]
    Timeout { method: &'static str, limit: Duration },
    #[error("{method}: {reason}")]
    Refused { method: &'static str, code: Code, reason: String },
}

impl RpcError {
    /// The thing asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: Code::NotFound, .. })
    }
}

/// Connects to a socket. A channel is one connection: when it breaks, all further calls fail, and whoever connects
/// anew asks anew who answers.
pub(super) async fn connect(path: &Path, limit: Duration) -> Result<Channel, RpcError> {
    let failed = |reason| RpcError::Connect { path: path.to_owned(), reason };
    let stream = match timeout(limit, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no connection within {limit:?}"))),
    };
    let mut stream = Some(TokioIo::new(stream));
    let connector = service_fn(move |_: Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| io::Error::other("the connection was closed")) }
    });
    // The address is only sent as the HTTP authority; gRPC over unix sockets uses this one by convention.
    let endpoint = Endpoint::from_static("http://localhost");
    match timeout(limit, endpoint.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(failed(innermost(&error))),
        Err(_) => Err(failed(format!("no HTTP/2 connection within {limit:?}"))),
    }
}

/// Waits for an answer, for at most `limit`.
pub(super) async fn call<T>(
    method: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RpcError> {
    match timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(RpcError::Refused { method, code: status.code(), reason: describe(&status) }),
        Err(_) => Err(RpcError::Timeout { method, limit }),
    }
}

/// A status in one bounded line. What a peer sends may hold anything.
pub(super) fn describe(status: &Status) -> String {
    let mut line = format!("{:?}", status.code());
    let message: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
    if !message.is_empty() {
        let _ = write!(line, ", {message}");
    }
    if status.source().is_some() {
        let _ = write!(line, " ({})", innermost(status));
    }
    line
}

/// The error at the bottom of a chain: transports wrap the one that says something.
fn innermost(mut error: &(dyn Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
