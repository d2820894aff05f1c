//! Asks one server, within bounds of time and size, and says what went wrong in the form of [`Error`].

mod fault;
pub(crate) mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceBuilder;

use crate::error::Counters;
use crate::{Error, Outcome};

pub(crate) use fault::chain;
pub use watch::Watch;

/// Who asks, for who looks for the origin of load.
const AGENT: &str = concat!("podscope/", env!("CARGO_PKG_VERSION"));
/// For connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// For a call, until the end of the answer.
const CALL: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const LARGEST: usize = 32 << 20;
/// Most that is read of an answer that says what went wrong.
const LARGEST_FAULT: usize = 64 << 10;
/// What waits in the buffer of a connection.
const BUFFER: usize = 64 << 10;
/// How long a connection stays open that nothing uses.
const IDLE: Duration = Duration::from_secs(60);

/// Talks to one server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: kube::Client,
    url: String,
    call: Duration,
    offset: Arc<Mutex<Option<Offset>>>,
    counters: Arc<Counters>,
}

/// How far the server's clock is ahead of ours (positive) or behind (negative), seconds. Exact to a second.
pub type Offset = i64;

impl Client {
    /// kube's own stack, without what logs each failure, repeats requests and waits without an end.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let unusable = |error: kube::Error| Error::Config(format!("{url} cannot be asked: {}", chain(&error)));
        if let Some(proxy) = &config.proxy_url {
            return Err(Error::Config(format!("{url} cannot be asked by way of the proxy {proxy}: give a direct way")));
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(IDLE));
        let connector = config.rustls_https_connector_with_connector(connector).map_err(unusable)?;
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(BUFFER)
            .build(connector);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(unusable)?)
            .layer(config.extra_headers_layer().map_err(unusable)?)
            .map_err(tower::BoxError::from)
            .service(client);
        let inner = kube::Client::new(service, config.default_namespace);
        Ok(Self { inner, url, call: CALL, offset: Arc::default(), counters: Arc::default() })
    }

    /// With another time for a call; ten seconds are the usual one.
    #[must_use]
    pub fn with_call_time(self, call: Duration) -> Self {
        Self { call, ..self }
    }

    /// Counts what becomes of its calls here.
    #[must_use]
    pub fn counting(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// The server: scheme, host and port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How far the server's clock is from ours, by its last answer; unknown before that.
    pub fn clock_offset(&self) -> Option<Offset> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// GET of a path with its query; JSON.
    ///
    /// # Errors
    /// Whatever is in [`Error`].
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.get(path, "application/json").await;
        let read = body.and_then(|body| serde_json::from_slice(&body).map_err(|error| self.malformed(path, &error)));
        self.counted(read)
    }

    /// GET of a path with its query; text. What is no UTF-8 is replaced.
    ///
    /// # Errors
    /// Whatever is in [`Error`].
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        let body = self.counted(self.get(path, "text/plain").await)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.counters.count(result.as_ref().err().map_or(Outcome::Ok, Error::outcome));
        result
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Bytes, Error> {
        let reading = async {
            let answer = self.send(path, accept).await?;
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            Ok(body.map_err(|error| self.broken(path, &*error))?.to_bytes())
        };
        self.within(path, reading).await
    }

    /// Sends a request and takes the head of the answer, if that is a success.
    async fn send(&self, path: &str, accept: &str) -> Result<Response<Body>, Error> {
        let request = Request::get(path).header(ACCEPT, accept).header(USER_AGENT, AGENT).body(Body::empty());
        let request = request.map_err(|error| self.malformed(path, &error))?;
        let answer = self.inner.send(request).await.map_err(|error| fault::of_transport(self.call(path), &error))?;
        self.note_clock(answer.headers());
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        let body = Limited::new(answer.into_body(), LARGEST_FAULT).collect().await;
        let said = body.map(|body| said(&body.to_bytes())).unwrap_or_default();
        Err(fault::of_status(self.call(path), status, said, retry_after))
    }

    async fn within<T>(&self, path: &str, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| Err(Error::TimedOut { call: self.call(path), within: self.call });
        tokio::time::timeout(self.call, call).await.unwrap_or_else(late)
    }

    fn note_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let Some(date) = date else { return };
        let offset = match date.duration_since(SystemTime::now()) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
            Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap_or(i64::MAX),
        };
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
    }

    fn call(&self, path: &str) -> String {
        format!("GET {}{path}", self.url)
    }

    fn malformed(&self, path: &str, error: &dyn std::error::Error) -> Error {
        Error::Malformed { call: self.call(path), reason: format!("the answer is not what was asked for: {error}") }
    }

    /// A body that ended early or is too long.
    fn broken(&self, path: &str, error: &(dyn std::error::Error + 'static)) -> Error {
        let call = self.call(path);
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Error::Malformed { call, reason: format!("the answer is longer than {LARGEST} bytes") },
            None => Error::Unreachable { call, reason: format!("the answer broke off: {}", chain(error)) },
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A part of `metav1.Status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

/// The server's own words, with what sets them off from ours; nothing where it said nothing.
fn said(body: &[u8]) -> String {
    let message = match serde_json::from_slice::<Status>(body) {
        Ok(status) => status.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let message: String = message.trim().chars().take(300).collect();
    if message.is_empty() { message } else { format!(" ({message})") }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

/// The code of a status that came in the place of an object.
fn status_code(status: &Status) -> StatusCode {
    StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
