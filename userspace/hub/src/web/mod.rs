//! `/web`: pages for people. They are files that the program carries, and know only what `/api/v1` answers.

mod assets;
mod older;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// A browser asks each time whether a file is still the same, and mostly hears that it is.
const ASK: (HeaderName, &str) = (CACHE_CONTROL, "no-cache");
/// Pages: each is the same document, which knows by its address what to show.
const PAGES: [&str; 9] = [
    "/web",
    "/web/node",
    "/web/namespace",
    "/web/pod",
    "/web/vm",
    "/web/explore",
    "/web/accounting",
    "/web/agents",
    "/web/status",
];

/// `/web` and below, and the ways there.
pub fn routes() -> Router {
    let to_pages = || async { Redirect::temporary("/web") };
    let router = PAGES.into_iter().fold(Router::new(), |router, page| router.route(page, get(page_at)));
    router
        .route("/", get(to_pages))
        .route("/web/", get(to_pages))
        .route("/web/assets/{*name}", get(asset))
        .route("/web/stats", get(to_pages))
        .route("/web/stats/", get(to_pages))
        .route("/web/stats/{*of}", get(|Path(of): Path<String>| async move { Redirect::temporary(&older::page(&of)) }))
}

async fn page_at(asked: HeaderMap) -> Response {
    send("index.html", &asked)
}

async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    send(&name, &asked)
}

/// A file, or that the reader has it already.
fn send(name: &str, asked: &HeaderMap) -> Response {
    let Some(asset) = assets::ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, [ASK], "there is no such file\n").into_response();
    };
    let held = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if held.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == asset.tag) {
        return (StatusCode::NOT_MODIFIED, [ASK, (ETAG, asset.tag.as_str())]).into_response();
    }
    ([ASK, (ETAG, asset.tag.as_str()), (CONTENT_TYPE, asset.form())], asset.text).into_response()
}
