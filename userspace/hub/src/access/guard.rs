//! Stands before every route: who is it, may it, and does the request come from where it says.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::role::{changes, need};
use super::{Access, Error, Role, Who, secret, tokens};
use crate::api::Problem;
use crate::config::Open;
use crate::ingest;
use crate::listen::Peer;

/// The largest form.
const FORM: usize = 64 * 1024;
/// For the rest of a small request that is refused.
const REST: Duration = Duration::from_secs(1);
/// What says that a request is from a page of the hub.
const CSRF: &str = "x-csrf-token";

/// Lets a request through to its route, with [`Who`] it is from, or refuses it.
pub(crate) async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    match access.admit(&mut request).await {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let asked = Asked::of(&request);
            // A client that is cut off while it sends may not see the answer.
            let _too_large_or_slow = tokio::time::timeout(REST, to_bytes(request.into_body(), FORM)).await;
            let refused = access.refused();
            match problem.status {
                401 => refused.unknown.fetch_add(1, Ordering::Relaxed),
                403 => refused.forbidden.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            asked.refuse(problem)
        }
    }
}

impl Access {
    async fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        let forbidden = |detail: &str| Problem::new(StatusCode::FORBIDDEN, detail);
        let changes = changes(request.method());
        if changes && !same_site(request) {
            return Err(forbidden("the request comes from another site's page"));
        }
        let peer = self.peer(request);
        let need = need(request.method(), request.uri().path());
        request.extensions_mut().insert(peer.clone());
        let Some(need) = need else { return Ok(()) };
        let who = if let Some(open) = self.0.open {
            if open == Open::Loopback && !host(request).is_none_or(is_loopback) {
                return Err(forbidden("with --open only the names of this machine are served, such as localhost"));
            }
            Who { anyone: true, ..Who::new("anyone".to_owned(), Role::Admin) }
        } else {
            let who = self.who(request.headers(), &peer).await?;
            who.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "log in, or show a token that is valid"))?
        };
        if !who.may(need) {
            return Err(forbidden(&format!("{} has role {}; this needs {}", who.name, who.role.name(), need.name())));
        }
        if let Some(csrf) = who.csrf.as_deref().filter(|_| changes) {
            let shown = shown_csrf(request).await?;
            if !shown.is_some_and(|shown| secret::same(&shown, csrf)) {
                return Err(forbidden("the request lacks the session's csrf token; load the page again"));
            }
        }
        request.extensions_mut().insert(who);
        Ok(())
    }

    /// Who shows a token, a cookie or a certificate. A token that is wrong is not made up for by anything else.
    async fn who(&self, headers: &HeaderMap, peer: &Peer) -> Result<Option<Who>, Error> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| value.split_once(' '));
            let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
                return Ok(None);
            };
            let found = tokens::find(&self.0.store, token.trim()).await?;
            return Ok(found.map(|(name, role)| Who::new(name, role)));
        }
        if let Some(session) = self.cookie(headers) {
            return self.session(session).await;
        }
        Ok(peer.certificate.clone().map(|name| Who::new(name, Role::Ingest)))
    }

    /// The name of the session's cookie. With `__Host-` a browser takes it from this host over TLS alone.
    pub(super) fn cookie_name(&self) -> &'static str {
        if self.secure() { "__Host-podscope" } else { "podscope" }
    }

    pub(crate) fn secure(&self) -> bool {
        self.0.secure
    }

    pub(super) fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(name, _)| *name == self.cookie_name()).map(|(_, value)| value)
    }

    /// Where a request is from: behind a proxy, as the proxy saw it.
    fn peer(&self, request: &Request) -> Peer {
        let mut peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        if self.0.proxy {
            let seen = request.headers().get_all("x-forwarded-for").iter().next_back();
            let seen = seen.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
            peer.address = seen.unwrap_or(peer.address);
        }
        peer
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Error::Random(_) | Error::Hash(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Error::Password(_) | Error::Name(_) | Error::Exists(_) | Error::Missing(_) | Error::Last(_) => {
                Self::wrong(error.to_string())
            }
        }
    }
}

/// What a refusal is to look like.
struct Asked {
    grpc: bool,
    otlp: Option<String>,
    /// A page that a person looks at.
    page: Option<String>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let form = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = request.uri().path();
        let shown = *request.method() == Method::GET && (path == "/" || path == "/web" || path.starts_with("/web/"));
        Self {
            grpc: form.starts_with("application/grpc"),
            otlp: path.starts_with("/v1/").then(|| form.to_owned()),
            page: shown.then(|| request.uri().path_and_query().map_or_else(String::new, ToString::to_string)),
        }
    }

    fn refuse(self, problem: Problem) -> Response {
        let unknown = problem.status == StatusCode::UNAUTHORIZED.as_u16();
        if self.grpc {
            let status = match problem.status {
                401 => tonic::Status::unauthenticated(problem.detail),
                403 => tonic::Status::permission_denied(problem.detail),
                _ => tonic::Status::unavailable(problem.detail),
            };
            return status.into_http::<Body>();
        }
        if let Some(page) = self.page.filter(|_| unknown) {
            let next = percent_encoding::utf8_percent_encode(&page, percent_encoding::NON_ALPHANUMERIC);
            let location = HeaderValue::try_from(format!("/web/login?next={next}"));
            let location = location.unwrap_or_else(|_| HeaderValue::from_static("/web/login"));
            return (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
        }
        let mut response = match &self.otlp {
            Some(form) => ingest::refuse(form, problem),
            None => problem.into_response(),
        };
        if unknown {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"podscope\""));
        }
        response
    }
}

/// The name under which the hub was asked.
fn host(request: &Request) -> Option<&str> {
    let named = request.uri().authority().map(|authority| authority.as_str());
    named.or_else(|| request.headers().get(HOST).map(|value| value.to_str().unwrap_or("?")))
}

/// A page of another site that was given this machine's address by its own name server would ask under its name.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a browser, where it is one, says that the request is from a page of the hub.
fn same_site(request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = header("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = header(ORIGIN.as_str()) else { return true };
    origin.split_once("://").is_some_and(|(_, from)| Some(from) == host(request))
}

/// What a request shows as its csrf token, in a header or a field of its form.
async fn shown_csrf(request: &mut Request) -> Result<Option<String>, Problem> {
    if let Some(value) = request.headers().get(CSRF) {
        return Ok(value.to_str().ok().map(str::to_owned));
    }
    let form = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !form.starts_with("application/x-www-form-urlencoded") {
        return Ok(None);
    }
    let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a form of more than 64 KiB");
    let body: Bytes = to_bytes(std::mem::take(request.body_mut()), FORM).await.map_err(too_large)?;
    let field = body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"csrf="));
    let shown = field.and_then(|field| String::from_utf8(field.to_vec()).ok());
    *request.body_mut() = Body::from(body);
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for good in ["localhost", "localhost:4318", "127.0.0.1:1", "[::1]:4318", "LOCALHOST"] {
            assert!(is_loopback(good), "{good}");
        }
        for other in ["rebound.example.org", "127.0.0.1.example.org", "localhost.example.org:4318", "10.0.0.1", "", "?"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_known() {
        let from = |name: &str, value: &str| {
            let request = Request::builder().uri("/x").header(HOST, "hub:4318").header(name, value);
            same_site(&request.body(Body::empty()).unwrap())
        };
        assert!(from("sec-fetch-site", "same-origin") && from("origin", "http://hub:4318") && from("accept", "x"));
        for site in ["cross-site", "same-site", "\u{ff}"] {
            assert!(!from("sec-fetch-site", site), "{site}");
        }
        for origin in ["http://evil:4318", "null", "http://hub:4319", "http://hub:4318.evil"] {
            assert!(!from("origin", origin), "{origin}");
        }
    }
}
