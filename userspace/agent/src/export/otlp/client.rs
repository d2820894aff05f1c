//! One connection to the receiver, made when needed, and one request at a time on it.
//!
//! gRPC and HTTP share it: both are a POST, over HTTP/2 with a five-byte frame header for gRPC. A gRPC library would
//! encode the message again or compress it at a level of its own; here the request comes as finished bytes.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_rustls::TlsConnector;

use super::answer::{self, Verdict};
use super::config::{Protocol, Target};
use super::tls;

/// The gRPC method.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The most that is read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends to one receiver.
#[derive(Debug)]
pub(super) struct Client {
    target: Arc<Target>,
    connection: Option<Connection>,
}

/// Why an attempt brought no answer.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS handshake failed: {0}")]
    Handshake(std::io::Error),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("{0:?} is no host name that TLS could check")]
    Name(String),
    #[error("the receiver did not agree to HTTP/2, which gRPC needs; try --otlp-protocol http/protobuf")]
    NoHttp2,
    #[error("{}{hint}", chain(.source))]
    Http { source: hyper::Error, hint: &'static str },
    #[error("the answer broke off or is too long: {0}")]
    Answer(String),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

impl Client {
    /// Connects to nothing yet.
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, connection: None }
    }

    /// Sends one finished request (in gRPC with its frame header) and reads the answer; whatever goes wrong on the way is a [`Verdict::Later`].
    ///
    /// Has no time-out of its own. Dropping the future closes the connection.
    pub(super) async fn send(&mut self, body: &Bytes) -> Verdict {
        // A connection that has been idle may have been closed meanwhile; that is no fault of the receiver.
        if let Some(connection) = self.connection.take()
            && let Ok(verdict) = self.attempt(connection, body).await
        {
            return verdict;
        }
        let fresh = async {
            let connection = Connection::open(&self.target).await?;
            self.attempt(connection, body).await
        };
        fresh.await.unwrap_or_else(|error| Verdict::Later { reason: error.to_string(), after: None })
    }

    /// Uses a connection, and keeps it if it still works afterwards.
    async fn attempt(&mut self, mut connection: Connection, body: &Bytes) -> Result<Verdict, AttemptError> {
        let request = request(&self.target, body)?;
        let response = connection.send(request).await.map_err(|e| http_error(e, &self.target))?;
        let verdict = verdict(self.target.protocol, response).await?;
        self.connection = Some(connection);
        Ok(verdict)
    }
}

/// A connection and the task that drives it, which ends with it.
#[derive(Debug)]
struct Connection {
    sender: Sender,
    driver: JoinSet<hyper::Result<()>>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Connection {
    async fn open(target: &Target) -> Result<Self, AttemptError> {
        let io = TokioIo::new(stream(target).await?);
        let failed = |error| http_error(error, target);
        let mut driver = JoinSet::new();
        let sender = match target.protocol {
            Protocol::Http => {
                let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
                driver.spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Grpc => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
                driver.spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, driver })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let error = match self.sender.send(request).await {
            Err(error) if error.is_closed() || error.is_canceled() => error,
            other => return other,
        };
        // The connection had failed before the request was on it: its own error says why.
        let ended = self.driver.join_next().await.and_then(Result::ok);
        Err(ended.and_then(Result::err).unwrap_or(error))
    }
}

/// Connects, with TLS for `https`.
async fn stream(target: &Target) -> Result<Pin<Box<dyn Stream>>, AttemptError> {
    let secure = target.uri.scheme_str() == Some("https");
    let host = target.uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let connect = async {
        let tcp = TcpStream::connect((host, target.port())).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    };
    if !secure {
        return Ok(Box::pin(connect.await.map_err(AttemptError::Connect)?));
    }
    let alpn: &[u8] = if target.protocol == Protocol::Grpc { b"h2" } else { b"http/1.1" };
    let files = target.tls.clone();
    let config = spawn_blocking(move || tls::client_config(&files, alpn)).await.map_err(std::io::Error::other);
    let config = config.map_err(AttemptError::Connect)??;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| AttemptError::Name(host.to_owned()))?;
    let tcp = connect.await.map_err(AttemptError::Connect)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(AttemptError::Handshake)?;
    if target.protocol == Protocol::Grpc && stream.get_ref().1.alpn_protocol() != Some(alpn) {
        return Err(AttemptError::NoHttp2);
    }
    Ok(Box::pin(stream))
}

fn request(target: &Target, body: &Bytes) -> http::Result<Request<Full<Bytes>>> {
    const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
    const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
    let authority = target.uri.authority().map_or("", |authority| authority.as_str());
    let mut headers: HeaderMap = target.headers.clone();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("podscope/", env!("CARGO_PKG_VERSION"))));
    let uri = match target.protocol {
        Protocol::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(GRPC_TIMEOUT, HeaderValue::try_from(grpc_timeout(target.timeout))?);
            if target.gzip {
                headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
            }
            let scheme = target.uri.scheme_str().unwrap_or_default();
            Uri::builder().scheme(scheme).authority(authority).path_and_query(GRPC_PATH).build()?
        }
        Protocol::Http => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(HOST, HeaderValue::try_from(authority)?);
            if target.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
            Uri::builder().path_and_query(path).build()?
        }
    };
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// At most eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        ms @ ..100_000_000 => format!("{ms}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

/// Reads the answer to its end.
async fn verdict(protocol: Protocol, response: Response<Incoming>) -> Result<Verdict, AttemptError> {
    let (head, body) = response.into_parts();
    if protocol == Protocol::Grpc && body.is_end_stream() && head.status == StatusCode::OK {
        // Without a body the status stands in the headers.
        return Ok(answer::grpc(&head.headers, b"").unwrap_or_else(no_status));
    }
    let collected = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|e| AttemptError::Answer(chain(&*e)))?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let bytes = collected.to_bytes();
    if protocol == Protocol::Grpc && head.status == StatusCode::OK {
        let status = answer::grpc(&trailers, &bytes).or_else(|| answer::grpc(&head.headers, &bytes));
        return Ok(status.unwrap_or_else(no_status));
    }
    // A gRPC request answered with another HTTP status was answered by something in between.
    Ok(answer::http(head.status, &head.headers, &bytes, SystemTime::now()))
}

fn no_status() -> Verdict {
    Verdict::Later { reason: "the answer has no gRPC status".to_owned(), after: None }
}

/// An error with all its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat their cause.
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

/// Adds the most common cause of a connection that brings no answer.
fn http_error(source: hyper::Error, target: &Target) -> AttemptError {
    let hint = match target.protocol {
        // With TLS 1.3 a client's certificate is refused after the handshake, often without a word that arrives.
        _ if target.uri.scheme_str() == Some("https") && target.tls.identity.is_none() => {
            "; if the receiver asks for a client certificate, use --otlp-cert and --otlp-key"
        }
        _ if target.uri.scheme_str() == Some("https") => "",
        // Some servers answer in the other protocol, some only close the connection.
        Protocol::Http => "; if this is a gRPC port, use --otlp-protocol grpc",
        Protocol::Grpc => "; if this is an HTTP port, use --otlp-protocol http/protobuf",
    };
    AttemptError::Http { source, hint }
}
