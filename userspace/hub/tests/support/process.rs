//! A hub, and a database server, as processes of their own that can be killed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// An address that nobody listens on now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn wait_for(address: SocketAddr, child: &mut Child, what: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "{what} has ended");
        assert!(start.elapsed() < PATIENCE, "{what} does not listen on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that ends with what holds it.
pub(crate) struct Held(Child);

impl Held {
    fn start(command: &mut Command, address: SocketAddr, what: &str) -> Self {
        let mut child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        wait_for(address, &mut child, what);
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A hub on one address with one database.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    url: String,
    process: Option<Held>,
}

impl Server {
    pub(crate) fn start(url: &str) -> Self {
        let mut server = Self { address: free(), url: url.to_owned(), process: None };
        server.again();
        server
    }

    /// Kills it at once and starts it again.
    pub(crate) fn again(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_podscope-hub"));
        command.args(["serve", "--listen", &self.address.to_string(), "--database-url", &self.url]);
        command.env("PODSCOPE_LOG", "error").stderr(Stdio::null());
        self.process = Some(Held::start(&mut command, self.address, "podscope-hub"));
    }
}

/// A MariaDB server of its own.
pub(crate) struct Maria {
    folder: TempDir,
    address: SocketAddr,
    process: Option<Held>,
}

impl Maria {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .expect("mariadb-install-db is missing: `cargo xtask setup --all` installs mariadb-server");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, address: free(), process: None };
        server.again();
        let client = Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--execute=CREATE DATABASE hub"])
            .arg(format!("--socket={}", server.socket().display()))
            .status();
        assert!(client.unwrap().success());
        server
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn url(&self) -> String {
        format!("mysql://root@{}/hub", self.address)
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(crate) fn again(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(server_program());
        command.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M"]);
        command.args([format!("--datadir={}", path("data")), format!("--socket={}", path("socket"))]);
        command.args([format!("--port={}", self.address.port()), format!("--log-error={}", path("log"))]);
        self.process = Some(Held::start(&mut command, self.address, "mariadbd"));
    }
}

fn server_program() -> &'static str {
    ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("mariadbd")
}
