//! `/web/login`, `/web/logout`, `/web/setup`: pages that need no scripts.

use axum::extract::{Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use serde::Deserialize;

use super::{Access, Error, Key, Who, accounts, audit, name, password, secret};
use crate::api::Problem;
use crate::listen::Peer;

/// The pages.
pub(crate) fn routes(access: Access) -> Router {
    Router::new()
        .route("/web/login", get(ask).post(login))
        .route("/web/logout", post(logout))
        .route("/web/setup", get(ask_first).post(set_up))
        .with_state(access)
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

async fn ask(State(access): State<Access>, Query(asked): Query<Next>) -> Response {
    match access.0.open {
        Some(_) => to(local(&asked.next)),
        None => login_page(StatusCode::OK, "", local(&asked.next)),
    }
}

async fn login(
    State(access): State<Access>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(asked): Form<Login>,
) -> Result<Response, Problem> {
    let next = local(&asked.next);
    let wrong = || login_page(StatusCode::UNAUTHORIZED, "Name or password is wrong.", next);
    let from = peer.address.to_string();
    // What is no name may be a password that was typed into the wrong field: it is not written down.
    let user = name(&asked.name).unwrap_or("(no name)");
    let keys = [Key::Name(user.to_owned()), Key::address(peer.address)];
    if let Err(wait) = access.attempt(&keys) {
        return Ok(come_again(wait, next));
    }
    let kept = accounts::password(&access.0.store, user).await?;
    if !access.0.passwords.verify(asked.password, kept).await? {
        audit::note(&access.0.store, user, &from, "login failed", "").await?;
        return Ok(wrong());
    }
    access.succeeded(&keys);
    if let Some(before) = access.cookie(&headers) {
        access.end(before).await?;
    }
    let session = access.begin(user).await?;
    audit::note(&access.0.store, user, &from, "login", "").await?;
    let mut response = to(next);
    response.headers_mut().insert(SET_COOKIE, access.set_cookie(&session)?);
    Ok(response)
}

async fn logout(
    State(access): State<Access>,
    Extension(who): Extension<Who>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = access.cookie(&headers) {
        access.end(session).await?;
        audit::note(&access.0.store, &who.name, &peer.address.to_string(), "logout", "").await?;
    }
    let mut response = to("/web/login");
    response.headers_mut().insert(SET_COOKIE, access.set_cookie("")?);
    Ok(response)
}

#[derive(Deserialize)]
struct First {
    #[serde(default)]
    secret: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    secret: String,
}

const USED: &str =
    "This link was used or has expired. Start the hub again for a new one, or use podscope-hub user add.";

async fn ask_first(State(access): State<Access>, Query(link): Query<Link>) -> Result<Response, Problem> {
    if accounts::offered(&access.0.store, &secret::hash(&link.secret)).await? {
        return Ok(setup_page(StatusCode::OK, "", &link.secret));
    }
    Ok(page(StatusCode::FORBIDDEN, "Set up", USED, ""))
}

async fn set_up(
    State(access): State<Access>,
    Extension(peer): Extension<Peer>,
    Form(asked): Form<First>,
) -> Result<Response, Problem> {
    let link = secret::hash(&asked.secret);
    // Before the costly hash: who has no link makes nobody work.
    if !accounts::offered(&access.0.store, &link).await? {
        return Ok(page(StatusCode::FORBIDDEN, "Set up", USED, ""));
    }
    let said = |said: &str| setup_page(StatusCode::BAD_REQUEST, said, &asked.secret);
    let user = match name(&asked.name).and_then(|user| password::check(user, &asked.password).map(|()| user)) {
        Ok(user) => user,
        Err(error) => return Ok(said(&error.to_string())),
    };
    if asked.password != asked.again {
        return Ok(said("The two passwords differ."));
    }
    let hash = access.0.passwords.hash(asked.password.clone()).await?;
    if !accounts::first(&access.0.store, &link, user, &hash).await? {
        return Ok(page(StatusCode::FORBIDDEN, "Set up", USED, ""));
    }
    audit::note(&access.0.store, user, &peer.address.to_string(), "set up", "").await?;
    Ok(to("/web/login"))
}

impl Access {
    /// Sets the session's cookie, or with an empty one removes it.
    fn set_cookie(&self, session: &str) -> Result<HeaderValue, Error> {
        let name = self.cookie_name();
        let secure = if self.secure() { "; Secure" } else { "" };
        let age = if session.is_empty() { "; Max-Age=0" } else { "" };
        let text = format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
        HeaderValue::try_from(text).map_err(|error| Error::Random(error.to_string()))
    }
}

/// A page of the hub to go on to, else its first one.
fn local(next: &str) -> &str {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let page = next == "/web" || next.starts_with("/web/") || next.starts_with("/web?");
    if plain && page && !next.starts_with("/web/log") { next } else { "/web/" }
}

fn to(path: &str) -> Response {
    let location = HeaderValue::try_from(path).unwrap_or_else(|_| HeaderValue::from_static("/web/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn come_again(wait: i64, next: &str) -> Response {
    let said = format!("Too many wrong passwords. Try again in {wait} s.");
    let mut response = login_page(StatusCode::TOO_MANY_REQUESTS, &said, next);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    response
}

fn login_page(status: StatusCode, said: &str, next: &str) -> Response {
    let form = format!(
        r#"<form method="post" action="/web/login">
<input type="hidden" name="next" value="{}">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button>
</form>"#,
        escape(next)
    );
    page(status, "Log in", said, &form)
}

fn setup_page(status: StatusCode, said: &str, secret: &str) -> Response {
    let form = format!(
        r#"<p>Choose the first administrator's name and password.</p>
<form method="post" action="/web/setup">
<input type="hidden" name="secret" value="{}">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus maxlength="64">
<label for="password">Password, 12 characters or more</label>
<input id="password" name="password" type="password" autocomplete="new-password" required minlength="12" maxlength="128">
<label for="again">The same again</label>
<input id="again" name="again" type="password" autocomplete="new-password" required minlength="12" maxlength="128">
<button>Set up</button>
</form>"#,
        escape(secret)
    );
    page(status, "Set up", said, &form)
}

fn page(status: StatusCode, title: &str, said: &str, body: &str) -> Response {
    let said = if said.is_empty() { String::new() } else { format!("<p role=\"alert\">{}</p>\n", escape(said)) };
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – podscope</title>
<link rel="icon" href="/web/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/web/assets/style.css">
</head>
<body class="entry">
<main>
<h1>podscope</h1>
<h2>{title}</h2>
{said}{body}
</main>
</body>
</html>
"#
    );
    (status, Html(page)).into_response()
}

/// Text as it stands in HTML, quotes included.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_pages_of_the_hub_alone() {
        for good in ["/web", "/web/pods?namespace=shop", "/web?x=1"] {
            assert_eq!(local(good), good);
        }
        let bad = [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/web/",
            "/web/\r\nSet-Cookie: a=b",
            "/web/\\..\\",
            "/webs",
            "/web/login?next=/web/login",
            "javascript:alert(1)",
        ];
        for bad in bad {
            assert_eq!(local(bad), "/web/", "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_no_markup() {
        assert_eq!(escape("<a href=\"'&"), "&lt;a href=&quot;&#39;&amp;");
    }
}
