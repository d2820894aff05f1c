//! What is asked with curl, which has its own mind on cookies, TLS and HTTP/2; and the hub's command line.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Hub;

/// A password that is good enough.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).unwrap_or("")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A browser without eyes: its cookies are kept in a file.
pub(crate) struct Browser {
    pub(crate) jar: PathBuf,
    pub(crate) base: String,
    flags: Vec<String>,
}

impl Browser {
    pub(crate) fn new(hub: &Hub, name: &str) -> Self {
        let base = format!("http://127.0.0.1:{}", hub.address.port());
        Self { jar: hub.folder.path().join(format!("{name}.jar")), base, flags: Vec::new() }
    }

    /// Over TLS under the name `localhost`, with flags of curl.
    pub(crate) fn secure(hub: &Hub, name: &str, flags: &[&str]) -> Self {
        let base = format!("https://localhost:{}", hub.address.port());
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { base, flags, ..Self::new(hub, name) }
    }

    /// Asks for `path` with flags of curl.
    ///
    /// # Errors
    /// What curl says when there is no answer.
    pub(crate) async fn attempt(&self, path: &str, flags: &[&str]) -> Result<Answer, String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "30", "--noproxy", "*"]);
        curl.arg("--cookie").arg(&self.jar).arg("--cookie-jar").arg(&self.jar).args(&self.flags).args(flags);
        let output = curl.arg(format!("{}{path}", self.base)).stdin(Stdio::null()).output().await;
        let output = output.unwrap_or_else(|error| panic!("cannot run curl ({error}): cargo xtask setup --tests"));
        let said = String::from_utf8_lossy(&output.stdout).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        let Some((head, body)) = said.split_once("\r\n\r\n") else {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub(crate) async fn ask(&self, path: &str, flags: &[&str]) -> Answer {
        self.attempt(path, flags).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(path, &[]).await
    }

    /// Sends a form.
    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let fields = fields.iter().flat_map(|field| ["--data-urlencode", field]);
        let flags: Vec<&str> = ["--request", "POST"].into_iter().chain(fields).collect();
        self.ask(path, &flags).await
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> Answer {
        self.form("/web/login", &[("name", name), ("password", password), ("next", "/web/pods?a=b")]).await
    }

    /// With a token.
    pub(crate) async fn bearer(&self, path: &str, token: &str) -> Answer {
        self.ask(path, &["--header", &format!("Authorization: Bearer {token}")]).await
    }

    /// Sends points as JSON, with a token where one is given.
    pub(crate) async fn points(&self, token: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        let mut flags = vec!["--header", "Content-Type: application/json", "--data", r#"{"resourceMetrics":[]}"#];
        if !token.is_empty() {
            flags.extend(["--header", &bearer]);
        }
        self.ask("/v1/metrics", &flags).await
    }
}

impl Hub {
    /// The hub's command line on the database of this hub: what it says, or why it did not.
    pub(crate) async fn command(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podscope-hub"));
        command.args(arguments).args(["--database-url", &self.url()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that needs nothing may have ended by now.
        let _ended = child.stdin.take().unwrap().write_all(stdin.as_bytes()).await;
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub(crate) async fn user(&self, name: &str, role: &str) {
        self.command(&["user", "add", name, "--role", role], &format!("{PASSWORD}\n")).await.unwrap();
    }

    pub(crate) async fn token(&self, name: &str, role: &str) -> String {
        let said = self.command(&["token", "add", "--name", name, "--role", role], "").await.unwrap();
        said.trim().to_owned()
    }
}
