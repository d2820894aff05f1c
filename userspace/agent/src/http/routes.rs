//! Every route.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Body;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Mutex;

use super::pages::{Pages, Pieces, Whole};
use super::places::{Answering, Place, Places};
use super::{Counters, Refusal, Source};
use crate::export::prometheus::{accepts, accepts_gzip};

type Answer = Response<Either<Full<Bytes>, Pieces>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "podscope agent\n\n\
    /metrics            Prometheus text or OpenMetrics\n\
    /status             version, probes and sources with state and reason (JSON)\n\
    /top?processes=10   pods, containers and their processes (JSON)\n\
    /healthz            200 while the agent runs\n\
    /readyz             200 after the first collection\n";

/// Processes per container that `/top` shows unless asked otherwise.
const TOP_PROCESSES: usize = 10;

/// What answers requests.
pub(super) struct Site<S> {
    source: Arc<S>,
    pages: Pages,
    counters: Arc<Counters>,
    places: Arc<Places>,
    /// Bytes of pages and snapshots that may be held by clients.
    most_held: usize,
    /// Held while a page is made that is not shared.
    listing: Mutex<()>,
}

/// A page on its way to a client: read by the connection until it is sent.
struct OnTheWay {
    page: Arc<Whole>,
    _answering: Answering,
}

impl AsRef<[u8]> for OnTheWay {
    fn as_ref(&self) -> &[u8] {
        (*self.page).as_ref()
    }
}

impl<S: Source> Site<S> {
    pub(super) fn new(source: Arc<S>, counters: Arc<Counters>, places: Arc<Places>, most_held: usize) -> Self {
        Self { source, pages: Pages::default(), counters, places, most_held, listing: Mutex::default() }
    }

    /// Answers a request; its body is never read. `answering` goes with the answer until that is sent.
    pub(super) async fn answer(&self, request: Request<impl Body>, answering: Answering) -> Answer {
        self.counters.request();
        let mut answer = self.route(&request, answering).await;
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    async fn route(&self, request: &Request<impl Body>, answering: Answering) -> Answer {
        let path = request.uri().path();
        if self.source.only_metrics() && path != "/metrics" {
            return text(StatusCode::NOT_FOUND, "no such page; there is /metrics\n");
        }
        if !["/", "/metrics", "/status", "/top", "/healthz", "/readyz"].contains(&path) {
            return text(StatusCode::NOT_FOUND, "no such page; / lists those there are\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            return with(answer, ALLOW, "GET, HEAD");
        }
        if !request.body().is_end_stream() {
            self.counters.refuse(Refusal::Body);
            let answer = text(StatusCode::PAYLOAD_TOO_LARGE, "a request body is not accepted\n");
            return with(answer, CONNECTION, "close");
        }
        match path {
            "/metrics" => self.metrics(request.headers(), answering).await,
            "/status" => self.list(Source::status_json, answering).await,
            "/top" => self.top(request.uri().query(), answering).await,
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.source.ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => not_yet(),
            _ => text(StatusCode::OK, INDEX),
        }
    }

    async fn metrics(&self, headers: &HeaderMap, answering: Answering) -> Answer {
        let Some(snapshot) = self.source.fresh().await else { return not_yet() };
        let format = accepts(list(headers, ACCEPT).as_deref());
        let gzip = accepts_gzip(list(headers, ACCEPT_ENCODING).as_deref());
        let place = answering.place().clone();
        let made = if gzip {
            let page = self.pages.zipped(snapshot, format).await;
            page.map(|page| Either::Left(Full::new(send(page, answering))))
        } else {
            self.pages.pieces(snapshot, format, answering).await.map(Either::Right)
        };
        self.make_room(&place);
        match made {
            Ok(page) => {
                let answer = respond(StatusCode::OK, format.content_type(), page);
                let answer = with(answer, VARY, "accept, accept-encoding");
                if gzip { with(answer, CONTENT_ENCODING, "gzip") } else { answer }
            }
            Err(error) => failed(&error),
        }
    }

    /// Whoever has been reading longest makes room where too much is held; not `own`.
    fn make_room(&self, own: &Arc<Place>) {
        if self.pages.held() > self.most_held {
            self.places.shed(own);
        }
    }

    /// Answers with a page made for this request, one at a time: it waits while a collection is made.
    async fn list(&self, make: impl FnOnce(&S) -> Vec<u8> + Send + 'static, answering: Answering) -> Answer {
        let source = self.source.clone();
        let _turn = self.listing.lock().await;
        match tokio::task::spawn_blocking(move || make(&source)).await {
            Ok(page) => {
                let page = self.pages.hold(page);
                self.make_room(answering.place());
                respond(StatusCode::OK, JSON, Either::Left(Full::new(send(page, answering))))
            }
            Err(error) => failed(&error.into()),
        }
    }

    async fn top(&self, query: Option<&str>, answering: Answering) -> Answer {
        let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("processes="));
        match asked.map_or(Ok(TOP_PROCESSES), str::parse) {
            Ok(processes) => self.list(move |source| source.top_json(processes), answering).await,
            Err(_) => text(StatusCode::BAD_REQUEST, "processes must be a whole number, as in /top?processes=10\n"),
        }
    }
}

/// Hands a page over to a connection.
fn send(page: Arc<Whole>, answering: Answering) -> Bytes {
    Bytes::from_owner(OnTheWay { page, _answering: answering })
}

/// A header that may stand several times, as one list; `None` where it is absent or no text.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn failed(error: &anyhow::Error) -> Answer {
    tracing::error!("cannot make a page: {error:#}");
    text(StatusCode::INTERNAL_SERVER_ERROR, "cannot make the page; the agent's log has the reason\n")
}

fn not_yet() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "no collection has been made yet\n")
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    respond(status, TEXT, Either::Left(Full::new(body.into())))
}

fn respond(status: StatusCode, content_type: &'static str, body: Either<Full<Bytes>, Pieces>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, content_type)
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
