//! A kube-apiserver and a kubelet in one: recorded answers over TLS, and every way to fail.
#![allow(dead_code, reason = "each test uses a part of it")]

mod answer;
mod tls;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

pub(crate) use answer::{Answers, Recorded, status};
pub(crate) use tls::{Authority, Validity};

/// A fault that a server has on request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Fault {
    /// None.
    #[default]
    None,
    /// An error status, with headers, in the form of the API.
    Status(u16, &'static str),
    /// Takes the question and never answers.
    Hang,
    /// Closes in the middle of the answer.
    BreakOff,
    /// Answers something else than was asked for.
    Nonsense,
    /// Answers without an end.
    Endless,
    /// Ends watches with this code, as the API does: by an event.
    Watches(u16),
}

/// What the server does at the moment.
pub(crate) struct Behaviour {
    /// By what the path begins with; the first that fits.
    pub(crate) faults: Vec<(&'static str, Fault)>,
    /// The token that is accepted.
    pub(crate) token: String,
    /// Added to the server's clock, seconds.
    pub(crate) clock: i64,
    /// Path and query of all questions so far.
    pub(crate) asked: Vec<String>,
    /// Objects.
    pub(crate) answers: Answers,
    /// Events that are sent to all watches, in order, each a line.
    pub(crate) events: Vec<String>,
}

/// A running server; its thread lasts as long as the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    behaviour: Arc<Mutex<Behaviour>>,
    folder: TempDir,
}

/// How often a watch looks for new events.
const LOOK: Duration = Duration::from_millis(20);

impl Server {
    /// Starts one with the recorded answers, and the token `first`.
    pub(crate) fn start() -> Self {
        Self::with(Validity::Now)
    }

    /// The same with a certificate that is valid at another time.
    pub(crate) fn with(validity: Validity) -> Self {
        let authority = Authority::new();
        let config = authority.server(validity);
        let behaviour = Arc::new(Mutex::new(Behaviour {
            faults: Vec::new(),
            token: "first".to_owned(),
            clock: 0,
            asked: Vec::new(),
            answers: Answers::recorded(),
            events: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&behaviour);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, behaviour) = (Arc::clone(&config), Arc::clone(&shared));
                thread::spawn(move || serve(stream, config, &behaviour));
            }
        });
        let server = Self { address, authority, behaviour, folder: TempDir::new().unwrap() };
        std::fs::write(server.token_file(), "first").unwrap();
        std::fs::write(server.path("ca.pem"), server.authority.pem()).unwrap();
        server
    }

    /// What it does from now on.
    pub(crate) fn now(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    /// Fails from now on at all paths that begin so.
    pub(crate) fn fail(&self, path: &'static str, fault: Fault) {
        self.now().faults = vec![(path, fault)];
    }

    /// How often a path that begins so was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.now().asked.iter().filter(|asked| asked.starts_with(path)).count()
    }

    /// A file in the server's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file that the kubeconfig names for the token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.path("token")
    }

    /// A kubeconfig for this server, whose user is the given piece of YAML.
    pub(crate) fn kubeconfig_with(&self, user: &str) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             clusters:\n- name: this\n  cluster:\n    server: https://{}\n    certificate-authority: ca.pem\n\
             - name: other\n  cluster:\n    server: https://127.0.0.1:1\n    certificate-authority: ca.pem\n\
             users:\n- name: agent\n  user: {user}\n\
             contexts:\n- name: here\n  context: {{ cluster: this, user: agent }}\n\
             - name: there\n  context: {{ cluster: other, user: agent }}\n",
            self.address
        );
        let path = self.path("config");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A kubeconfig with a token file.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_with("{ tokenFile: token }")
    }
}

/// One connection, with as many questions as come.
fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, behaviour: &Mutex<Behaviour>) -> Option<()> {
    let connection = rustls::ServerConnection::new(config).ok()?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
    loop {
        let (path, token) = question(&mut stream)?;
        let to = stream.get_mut();
        let (fault, accepted, date) = {
            let mut behaviour = behaviour.lock().unwrap();
            behaviour.asked.push(path.clone());
            let fault = behaviour.faults.iter().find(|(begin, _)| path.starts_with(begin));
            let seconds = Duration::from_secs(behaviour.clock.unsigned_abs());
            let now = SystemTime::now();
            let date = if behaviour.clock < 0 { now - seconds } else { now + seconds };
            let date = httpdate::fmt_http_date(date);
            (fault.map(|(_, fault)| fault.clone()).unwrap_or_default(), token == behaviour.token, date)
        };
        if !accepted {
            send(to, 401, "", &date, &status(401, "Unauthorized"))?;
            continue;
        }
        match fault {
            Fault::Status(code, headers) => send(to, code, headers, &date, &status(code, "as the test wants it"))?,
            Fault::Hang => thread::sleep(Duration::from_secs(600)),
            Fault::BreakOff => {
                write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{{\"kind\":").ok()?;
                return to.flush().ok();
            }
            Fault::Nonsense => send(to, 200, "", &date, "<html>\u{7}nothing like it</html>")?,
            Fault::Endless => return endless(to),
            _ if path.contains("watch=true") => watch(to, &date, behaviour, &fault)?,
            _ => {
                let answer = behaviour.lock().unwrap().answers.to(&path);
                let (code, body) = answer;
                send(to, code, "", &date, &body)?;
            }
        }
    }
}

/// Path with query, and token.
fn question(from: &mut impl BufRead) -> Option<(String, String)> {
    let mut first = String::new();
    from.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut token = String::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some((path, token));
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            token = value.strip_prefix("Bearer ").unwrap_or_default().to_owned();
        }
    }
}

fn send(to: &mut impl Write, code: u16, headers: &str, date: &str, body: &str) -> Option<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {code} Whatever\r\nDate: {date}\r\nContent-Length: {length}\r\n{headers}\r\n");
    to.write_all(head.as_bytes()).and_then(|()| to.write_all(body.as_bytes())).and_then(|()| to.flush()).ok()
}

fn chunk(to: &mut impl Write, text: &str) -> Option<()> {
    write!(to, "{:x}\r\n{text}\r\n", text.len()).and_then(|()| to.flush()).ok()
}

fn endless(to: &mut impl Write) -> Option<()> {
    write!(to, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
    let block = " ".repeat(1 << 20);
    loop {
        chunk(to, &block)?;
    }
}

/// Sends events as they come, until the other side goes or the fault wants an end.
fn watch(to: &mut impl Write, date: &str, behaviour: &Mutex<Behaviour>, fault: &Fault) -> Option<()> {
    write!(to, "HTTP/1.1 200 OK\r\nDate: {date}\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
    to.flush().ok()?;
    if let Fault::Watches(code) = fault {
        chunk(
            to,
            &format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", status(*code, "too old resource version: 1 (2)")),
        )?;
        return chunk(to, "");
    }
    let mut sent = 0;
    loop {
        let new: Vec<String> = behaviour.lock().unwrap().events.get(sent..).unwrap_or_default().to_vec();
        for event in &new {
            if event == "END" {
                behaviour.lock().unwrap().events.clear();
                return chunk(to, "");
            }
            // In two pieces, as a network may do it.
            let (begin, end) = event.split_at(event.len() / 2);
            chunk(to, begin)?;
            chunk(to, &format!("{end}\n"))?;
        }
        sent += new.len();
        thread::sleep(LOOK);
    }
}
