//! A runtime that answers what a test tells it to, over gRPC on a unix socket.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tonic::{Code, Status};

/// How a method is answered.
pub(crate) type Answer = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync>;

/// What the server does with every connection or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers.
    Good,
    /// Takes the connection and never says a word.
    Mute,
    /// Speaks HTTP/2 and never answers a call.
    Slow,
    /// Ends each answer in its middle.
    CutAnswer,
    /// Closes the connection while an answer is awaited.
    CutConnection,
    /// Writes what is no HTTP/2.
    Garbage,
    /// Answers with bytes that are no protobuf.
    GarbageMessage,
}

/// The server; ends with all its connections when dropped, and removes its socket.
pub(crate) struct FakeRuntime {
    path: PathBuf,
    pub answers: Arc<Mutex<HashMap<&'static str, Answer>>>,
    /// How often each method was called.
    pub calls: Arc<Mutex<HashMap<String, usize>>>,
    _connections: JoinSet<()>,
}

type Body = BoxBody<Bytes, Infallible>;

impl FakeRuntime {
    /// Listens; methods without an answer are unimplemented.
    pub(crate) fn start(path: &Path, manner: Manner) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let answers = Arc::<Mutex<HashMap<&'static str, Answer>>>::default();
        let calls = Arc::<Mutex<HashMap<String, usize>>>::default();
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, manner, Arc::clone(&answers), Arc::clone(&calls)));
        Self { path: path.to_owned(), answers, calls, _connections: connections }
    }

    /// Gives a method the same answer each time.
    pub(crate) fn answer(&self, method: &'static str, message: &impl Message) {
        let bytes = message.encode_to_vec();
        self.respond(method, move |_| Ok(bytes.clone()));
    }

    /// Gives a method an answer that is made from the request.
    pub(crate) fn respond(
        &self,
        method: &'static str,
        answer: impl Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) {
        self.answers.lock().unwrap().insert(method, Arc::new(answer));
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.calls.lock().unwrap().get(method).copied().unwrap_or(0)
    }
}

impl Drop for FakeRuntime {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(
    listener: UnixListener,
    manner: Manner,
    answers: Arc<Mutex<HashMap<&'static str, Answer>>>,
    calls: Arc<Mutex<HashMap<String, usize>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, manner, Arc::clone(&answers), Arc::clone(&calls)));
    }
}

async fn serve(
    mut stream: UnixStream,
    manner: Manner,
    answers: Arc<Mutex<HashMap<&'static str, Answer>>>,
    calls: Arc<Mutex<HashMap<String, usize>>>,
) {
    match manner {
        Manner::Mute => std::future::pending().await,
        Manner::Garbage => drop(stream.write_all(&[0xff; 4096]).await),
        _ => {}
    }
    let hang_up = Arc::new(tokio::sync::Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, calls, hang_up) = (Arc::clone(&answers), Arc::clone(&calls), Arc::clone(&hang_up));
        async move {
            let method = request.uri().path().trim_start_matches('/').to_owned();
            *calls.lock().unwrap().entry(method.clone()).or_default() += 1;
            match manner {
                Manner::Slow => std::future::pending().await,
                Manner::CutConnection => {
                    hang_up.notify_one();
                    std::future::pending().await
                }
                _ => {}
            }
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = answers.lock().unwrap().get(method.as_str()).cloned();
            let answer = answer.ok_or_else(|| Status::new(Code::Unimplemented, format!("unknown method {method}")));
            Ok::<_, Infallible>(respond(answer.and_then(|answer| answer(body.get(5..).unwrap_or_default())), manner))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = hang_up.notified() => {}
    }
}

fn respond(answer: Result<Vec<u8>, Status>, manner: Manner) -> Response<Body> {
    let mut message = match answer {
        Ok(message) => message,
        Err(status) => return status.into_http(),
    };
    if manner == Manner::GarbageMessage {
        message = vec![0xff; 64];
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(&message);
    if manner == Manner::CutAnswer {
        frame.truncate(frame.len() / 2);
    }
    let end = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(frame.freeze()).with_trailers(async move { Some(Ok(end)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}
