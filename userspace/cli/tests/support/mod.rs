//! A fake agent: a real HTTP server with prepared answers.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

pub(crate) const TOP: &str = include_str!("../../testdata/top.json");
pub(crate) const HOSTILE: &str = include_str!("../../testdata/hostile.json");
pub(crate) const STATUS: &str = include_str!("../../testdata/status.json");

#[derive(Default)]
struct Answers {
    by_path: HashMap<String, (StatusCode, String)>,
    asked: Vec<String>,
}

/// Answers until it is dropped.
pub(crate) struct FakeAgent {
    pub(crate) url: String,
    answers: Arc<Mutex<Answers>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl FakeAgent {
    /// Answers `/top` and `/status` with these texts.
    pub(crate) fn new(top: &str, status: &str) -> Self {
        let agent = Self::at("127.0.0.1:0");
        agent.answer("/top", StatusCode::OK, top);
        agent.answer("/status", StatusCode::OK, status);
        agent
    }

    /// Knows no path yet.
    pub(crate) fn at(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::<Mutex<Answers>>::default();
        runtime.spawn(serve(listener, Arc::clone(&answers)));
        Self { url, answers, runtime: Some(runtime) }
    }

    pub(crate) fn answer(&self, path: &str, status: StatusCode, body: &str) {
        self.answers.lock().unwrap().by_path.insert(path.into(), (status, body.into()));
    }

    /// The paths and queries asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.answers.lock().unwrap().asked.clone()
    }

    /// Runs `podscope` against it with standard output in a pipe.
    pub(crate) fn podscope(&self, args: &[&str]) -> Output {
        podscope().env("PODSCOPE_AGENT", &self.url).args(args).output().unwrap()
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn serve(listener: TcpListener, answers: Arc<Mutex<Answers>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answers = Arc::clone(&answers);
        let service = service_fn(move |request| std::future::ready(respond(&answers, &request)));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn respond(answers: &Mutex<Answers>, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answers = answers.lock().unwrap();
    answers.asked.push(request.uri().to_string());
    let unknown = (StatusCode::NOT_FOUND, "no such page\n".to_owned());
    let (status, body) = answers.by_path.get(request.uri().path()).cloned().unwrap_or(unknown);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    Ok(response)
}

/// The command, without what the caller's environment says about it.
pub(crate) fn podscope() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podscope"));
    command.env_remove("PODSCOPE_AGENT").env_remove("NO_COLOR");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
