//! An OTLP receiver made of tonic's server (gRPC) or hyper's (HTTP), that does what a script says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

/// What is done with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Take all but this many points, with this message.
    Partial(i64, &'static str),
    /// Refuse with HTTP status or gRPC code, and a delay in seconds.
    Refuse(u16, Code, Option<u64>),
    /// Never answer.
    Hang,
    /// Answer with a web page (HTTP only).
    Page,
}

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    pub(crate) const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

    /// Value of the flag.
    pub(crate) fn flag(self) -> String {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        }
        .to_owned()
    }
}

/// A request that came, whatever was answered.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub at: Instant,
    pub request: ExportMetricsServiceRequest,
    /// The test header `x-key`.
    pub key: Option<String>,
    /// Whether it was answered with success.
    pub accepted: bool,
}

#[derive(Default)]
struct State {
    script: Mutex<VecDeque<Act>>,
    /// What is done once the script is at its end; all is taken where there is nothing.
    standing: Mutex<Option<Act>>,
    /// Connections to be answered with these bytes and closed.
    broken: Mutex<VecDeque<Vec<u8>>>,
    came: Mutex<Vec<Came>>,
    /// How many of those that came were read by [`Receiver::taken`].
    read: Mutex<usize>,
}

/// Runs until it is dropped.
pub(crate) struct Receiver {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) async fn start(protocol: Protocol) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), protocol, None).await
    }

    /// Listens there, with TLS if a configuration is given.
    pub(crate) async fn at(address: SocketAddr, protocol: Protocol, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let task =
            tokio::spawn(accept(listener, protocol, tls.map(|c| TlsAcceptor::from(Arc::new(c))), Arc::clone(&state)));
        Self { address, state, task }
    }

    /// Does this with the next request that has nothing to be done with it yet; without a script all is taken.
    pub(crate) fn then(&self, act: Act) {
        self.state.script.lock().unwrap().push_back(act);
    }

    /// Does this with every request that the script says nothing about.
    pub(crate) fn always(&self, act: Option<Act>) {
        *self.state.standing.lock().unwrap() = act;
    }

    /// Answers the next connection with `bytes` and closes it.
    pub(crate) fn break_connection(&self, bytes: &[u8]) {
        self.state.broken.lock().unwrap().push_back(bytes.to_vec());
    }

    /// The requests that were answered with success since the last call.
    pub(crate) fn taken(&self) -> Vec<ExportMetricsServiceRequest> {
        let came = self.state.came.lock().unwrap();
        let from = std::mem::replace(&mut *self.state.read.lock().unwrap(), came.len());
        came[from..].iter().filter(|came| came.accepted).map(|came| came.request.clone()).collect()
    }

    /// What came so far.
    pub(crate) fn came(&self) -> Vec<Came> {
        self.state.came.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, protocol: Protocol, tls: Option<TlsAcceptor>, state: Arc<State>) {
    // Connections end with the receiver.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut tcp, _)) = listener.accept().await {
        let broken = state.broken.lock().unwrap().pop_front();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        connections.spawn(async move {
            if let Some(bytes) = broken {
                let _read = tcp.read(&mut [0; 1024]).await;
                let _written = tcp.write_all(&bytes).await;
                return;
            }
            match tls {
                None => serve(tcp, protocol, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, protocol, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, protocol: Protocol, state: Arc<State>) {
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Grpc => {
            let service = TowerToHyperService::new(MetricsServiceServer::new(Grpc(state)));
            let _end = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
        }
        Protocol::Http => {
            let service = service_fn(|request| post(Arc::clone(&state), request));
            let _end = http1::Builder::new().serve_connection(io, service).await;
        }
    }
}

impl State {
    /// Notes a request and says what to do with it.
    fn came(&self, request: ExportMetricsServiceRequest, key: Option<String>) -> Act {
        let scripted = self.script.lock().unwrap().pop_front().or_else(|| self.standing.lock().unwrap().clone());
        let act = scripted.unwrap_or(Act::Partial(0, ""));
        let accepted = matches!(act, Act::Partial(..));
        self.came.lock().unwrap().push(Came { at: Instant::now(), request, key, accepted });
        act
    }
}

fn response(rejected: i64, message: &str) -> ExportMetricsServiceResponse {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: message.to_owned() };
    ExportMetricsServiceResponse { partial_success: (rejected > 0 || !message.is_empty()).then_some(partial) }
}

struct Grpc(Arc<State>);

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let key = request.metadata().get("x-key").map(|key| key.to_str().unwrap().to_owned());
        match self.0.came(request.into_inner(), key) {
            Act::Partial(rejected, message) => Ok(tonic::Response::new(response(rejected, message))),
            Act::Refuse(_, code, None) => Err(Status::new(code, "as scripted")),
            Act::Refuse(_, code, Some(delay)) => {
                Err(Status::with_details(code, "as scripted", retry_info(delay).into()))
            }
            Act::Hang => std::future::pending().await,
            Act::Page => Err(Status::internal("no pages over gRPC")),
        }
    }
}

/// `google.rpc.Status` with one `RetryInfo`, byte for byte: code 14, then an `Any` whose value is a `Duration`.
fn retry_info(seconds: u64) -> Vec<u8> {
    let seconds = u8::try_from(seconds).unwrap();
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let value = [0x0a, 2, 0x08, seconds];
    let mut any = vec![0x0a, url.len() as u8];
    any.extend(url);
    any.extend([0x12, value.len() as u8]);
    any.extend(value);
    let mut status = vec![0x08, 14, 0x1a, any.len() as u8];
    status.extend(any);
    status
}

async fn post(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    assert_eq!(request.uri().path(), "/v1/metrics");
    let key = request.headers().get("x-key").map(|key| key.to_str().unwrap().to_owned());
    let gzip = request.headers().get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let Ok(body) = request.into_body().collect().await else { return Ok(Response::default()) };
    let mut bytes = body.to_bytes().to_vec();
    if gzip {
        let mut plain = Vec::new();
        GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    let mut answer = Response::builder();
    let body = match state.came(ExportMetricsServiceRequest::decode(&*bytes).unwrap(), key) {
        Act::Partial(rejected, message) => {
            answer = answer.header("content-type", "application/x-protobuf");
            response(rejected, message).encode_to_vec()
        }
        Act::Refuse(status, _, delay) => {
            answer = answer.status(StatusCode::from_u16(status).unwrap());
            if let Some(delay) = delay {
                answer = answer.header("retry-after", delay);
            }
            b"as scripted".to_vec()
        }
        Act::Hang => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Vec::new()
        }
        Act::Page => {
            answer = answer.header("content-type", "text/html");
            b"<html>welcome</html>".to_vec()
        }
    };
    Ok(answer.body(Full::from(body)).unwrap())
}
