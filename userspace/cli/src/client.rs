//! Asking an agent over HTTP.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use crate::model::{Status, Top};
use crate::text::Text;

/// An answer that takes longer is given up.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The most bytes of an answer that are read.
pub const LARGEST: usize = 16 << 20;

/// The address of an agent: `http://host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentUrl(String);

/// Why a text is no [`AgentUrl`].
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("{0}; expected something like http://127.0.0.1:9435")]
    Syntax(#[from] http::uri::InvalidUri),
    /// A URL without `http://`.
    #[error("expected http:// in front, as in http://127.0.0.1:9435")]
    Scheme,
    /// A URL with `https://`.
    #[error("https is not spoken yet; ask the agent through `kubectl port-forward` or `kubectl proxy`")]
    Https,
    /// A URL whose port is no number.
    #[error("the port is no number between 0 and 65535")]
    Port,
    /// A URL with something after its path.
    #[error("a query has no meaning here")]
    Query,
    /// A URL with a user name.
    #[error("a user name has no meaning here")]
    User,
}

impl FromStr for AgentUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse()?;
        let authority = uri.authority().ok_or(UrlError::Scheme)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(UrlError::Https),
            _ => return Err(UrlError::Scheme),
        }
        if uri.query().is_some() {
            return Err(UrlError::Query);
        }
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err(UrlError::Port);
        }
        Ok(Self(format!("http://{authority}{}", uri.path().trim_end_matches('/'))))
    }
}

impl fmt::Display for AgentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A question that got no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("GET {url}: {cause}; {}", cause.advice())]
pub struct Error {
    /// What was asked.
    pub url: String,
    /// What came of it.
    pub cause: Cause,
}

/// What came of a question.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The agent could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// No whole answer within [`PATIENCE`].
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// Another status than 200, and the beginning of what it came with.
    #[error("the answer was {0}{1}")]
    Refused(StatusCode, String),
    /// The connection broke within the answer.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// More than [`LARGEST`].
    #[error("the answer is larger than {} MiB", LARGEST >> 20)]
    Large,
    /// Not what an agent says.
    #[error("the answer is not understood: {0}")]
    Strange(String),
}

impl Cause {
    /// What to do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => {
                "is podscope-agent running there? Name another with --agent URL or PODSCOPE_AGENT; \
                 in a cluster, `kubectl port-forward POD 9435` brings it here"
            }
            Self::Slow | Self::Broken(_) => "try again, and see the agent's log if it stays so",
            Self::Refused(..) | Self::Strange(_) => "is this a podscope-agent, and of about this version?",
            Self::Large => "ask for fewer processes with --processes N",
        }
    }
}

/// Asks one agent. Connections are kept; clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Empty<Bytes>>,
    agent: AgentUrl,
}

impl Client {
    /// Connects nowhere yet.
    pub fn new(agent: AgentUrl) -> Self {
        Self { http: legacy::Client::builder(TokioExecutor::new()).build_http(), agent }
    }

    /// Whom it asks.
    pub fn agent(&self) -> &AgentUrl {
        &self.agent
    }

    /// `GET /top` as it comes: at most `processes` of each container.
    pub async fn top_raw(&self, processes: u32) -> Result<Bytes, Error> {
        self.get(&format!("/top?processes={processes}")).await
    }

    /// `GET /top`, read.
    pub async fn top(&self, processes: u32) -> Result<Top, Error> {
        self.parse("/top", &self.top_raw(processes).await?)
    }

    /// `GET /status` as it comes.
    pub async fn status_raw(&self) -> Result<Bytes, Error> {
        self.get("/status").await
    }

    /// `GET /status`, read.
    pub async fn status(&self) -> Result<Status, Error> {
        self.parse("/status", &self.status_raw().await?)
    }

    /// Reads an answer of `path`.
    pub fn parse<T: DeserializeOwned>(&self, path: &str, answer: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(answer).map_err(|error| self.error(path, Cause::Strange(harmless(&error.to_string()))))
    }

    async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let answer = tokio::time::timeout(PATIENCE, self.ask(path)).await;
        answer.unwrap_or(Err(Cause::Slow)).map_err(|cause| self.error(path, cause))
    }

    async fn ask(&self, path: &str) -> Result<Bytes, Cause> {
        let uri = format!("{}{path}", self.agent).parse::<Uri>();
        let uri = uri.map_err(|error| Cause::Unreachable(error.to_string()))?;
        let response = self.http.get(uri).await.map_err(|error| Cause::Unreachable(innermost(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Cause::Large,
            None => Cause::Broken(innermost(&*error)),
        })?;
        let body = body.to_bytes();
        if status != StatusCode::OK {
            let start = harmless(String::from_utf8_lossy(&body[..body.len().min(200)]).trim());
            let start = if start.is_empty() { start } else { format!(": {start}") };
            return Err(Cause::Refused(status, start));
        }
        Ok(body)
    }

    fn error(&self, path: &str, cause: Cause) -> Error {
        Error { url: format!("{}{path}", self.agent), cause }
    }
}

fn harmless(text: &str) -> String {
    Text::new(text).to_string()
}

/// The last of an error's causes says what happened; those before it say who passed it on.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    harmless(&last.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Sends these bytes to whoever connects, then closes, or stays silent if there are none.
    async fn client_of(answer: Vec<u8>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(&answer).await;
            }
        });
        Client::new(url.parse().unwrap())
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn urls_are_checked() {
        let parse = |text: &str| text.parse::<AgentUrl>().map(|url| url.0).map_err(|error| error.to_string());
        assert_eq!(parse("http://10.0.0.1:9435/").unwrap(), "http://10.0.0.1:9435");
        assert_eq!(parse("http://[::1]:9435").unwrap(), "http://[::1]:9435");
        assert_eq!(parse("http://127.0.0.1:8001/api/v1/x/proxy/").unwrap(), "http://127.0.0.1:8001/api/v1/x/proxy");
        assert!(parse("127.0.0.1:9435").unwrap_err().contains("http:// in front"));
        assert!(parse("https://x").unwrap_err().contains("https"));
        assert!(parse("http://x/?a=1").unwrap_err().contains("query"));
        assert!(parse("http://me@x/").unwrap_err().contains("user name"));
        for bad in ["", " ", "http://", "http://a b", "/top", "ftp://x", "http://x:port"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn unknown_fields_are_ignored_and_missing_ones_take_their_default() {
        let top = client_of(ok(r#"{"node":"n","colour":"red","containers":[{"container":"a","more":[1]},{}]}"#)).await;
        let top = top.top(5).await.unwrap();
        assert_eq!((&*top.node, top.containers.len(), &*top.containers[0].container), ("n", 2, "a"));
        assert_eq!(top.containers[1].totals.memory_bytes, 0);
    }

    #[tokio::test]
    async fn nobody_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::new(url.parse().unwrap()).status().await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("GET {url}/status: Connection refused")), "{error}");
        assert!(error.contains("--agent URL or PODSCOPE_AGENT"), "{error}");
    }

    #[tokio::test]
    async fn every_bad_answer_has_its_cause() {
        let cases: [(Vec<u8>, &str); 6] = [
            (vec![], "no answer within 3 s"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), "invalid HTTP"),
            (ok("{\"node\": 7}"), "not understood: invalid type: integer `7`"),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 8\r\n\r\nno \x1b[31m".to_vec(), "404 Not Found: no �[31m"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec(), "broke off"),
            (ok(&" ".repeat(LARGEST + 1)), "larger than 16 MiB"),
        ];
        for (answer, expected) in cases {
            let error = client_of(answer).await.top(5).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error} lacks {expected:?}");
        }
    }
}
