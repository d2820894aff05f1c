//! A proxy between the agent and what it depends on, that fails as it is told.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::eventually;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// All is passed on.
    Pass,
    /// They are refused.
    Closed,
    /// They are taken, and nothing is ever passed on.
    Mute,
    /// They end after so many bytes of answers.
    Cut(usize),
    /// All bytes of answers beyond so many are wrong.
    Garble(usize),
    /// 512 bytes of requests pass every 100 ms.
    Slow,
}

/// Where a door is, or what is behind it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Stands open until it is told otherwise; ends with this value.
pub(crate) struct Door {
    place: Place,
    behind: Place,
    tasks: JoinSet<()>,
    silence: watch::Sender<bool>,
    /// Connections that were silenced, but not closed.
    silenced: Vec<JoinSet<()>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// On a free port.
    pub(crate) async fn tcp(behind: SocketAddr) -> Self {
        // Below the ports that the kernel gives to clients: one of those could take it while the door is closed.
        let mut ports = (10_000..30_000).map(|_| rand::random_range(10_000..30_000));
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let free = ([127, 0, 0, 1], ports.find(is_free).unwrap()).into();
        Self::at(Place::Tcp(free), Place::Tcp(behind)).await
    }

    /// On a unix socket.
    pub(crate) async fn unix(path: PathBuf, behind: PathBuf) -> Self {
        Self::at(Place::Unix(path), Place::Unix(behind)).await
    }

    async fn at(place: Place, behind: Place) -> Self {
        let silenced = Vec::new();
        let mut door = Self { place, behind, tasks: JoinSet::new(), silence: watch::channel(false).0, silenced };
        door.set(Manner::Pass).await;
        door
    }

    /// Its port.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("{} is no port", path.display()),
        }
    }

    /// What is behind it from the next [`Door::set`] on.
    pub(crate) fn lead_to(&mut self, behind: PathBuf) {
        self.behind = Place::Unix(behind);
    }

    /// Cuts all connections, and treats the next ones in that manner.
    pub(crate) async fn set(&mut self, manner: Manner) {
        self.tasks.shutdown().await;
        self.silenced.clear();
        if let Place::Unix(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
        if manner != Manner::Closed {
            self.open(manner);
        }
    }

    /// Silences all connections without closing them, and opens a new door in the place of this one.
    pub(crate) fn replace(&mut self) {
        self.silence.send_replace(true);
        self.silenced.push(std::mem::take(&mut self.tasks));
        if let Place::Unix(path) = &self.place {
            std::fs::remove_file(path).unwrap();
        }
        self.open(Manner::Pass);
    }

    fn open(&mut self, manner: Manner) {
        // A process that is just being started may hold the old listener until it has executed its program.
        let listener = eventually("the door opens", || self.place.listen(manner).ok());
        let (silence, hushed) = watch::channel(false);
        self.silence = silence;
        self.tasks.spawn(accept(listener, self.behind.clone(), manner, hushed));
    }
}

impl Place {
    fn listen(&self, manner: Manner) -> io::Result<Listener> {
        match self {
            Self::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
            Self::Tcp(address) => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                if manner == Manner::Slow {
                    // Else the kernel takes megabytes in the receiver's place.
                    socket.set_recv_buffer_size(4096)?;
                }
                socket.bind(*address)?;
                socket.listen(16).map(Listener::Tcp)
            }
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn accept(listener: Listener, behind: Place, manner: Manner, hushed: watch::Receiver<bool>) {
    // Connections end with the door.
    let mut connections = JoinSet::new();
    while let Ok(client) = listener.accept().await {
        connections.spawn(serve(client, behind.clone(), manner, hushed.clone()));
    }
}

async fn serve(client: Box<dyn Stream>, behind: Place, manner: Manner, hushed: watch::Receiver<bool>) {
    if manner == Manner::Mute {
        return std::future::pending().await;
    }
    let Ok(server) = behind.connect().await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (tokio::io::split(client), tokio::io::split(server));
    let (requests, answers) = if manner == Manner::Slow { (manner, Manner::Pass) } else { (Manner::Pass, manner) };
    tokio::select! {
        () = pump(from_client, to_server, requests, hushed.clone()) => {}
        () = pump(from_server, to_client, answers, hushed) => {}
    }
}

/// Passes bytes on until either side ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    manner: Manner,
    hushed: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; if manner == Manner::Slow { 512 } else { 16 * 1024 }];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if *hushed.borrow() {
            return std::future::pending().await;
        }
        let mut bytes = &mut buffer[..read];
        match manner {
            Manner::Cut(most) if passed + read > most => bytes = &mut bytes[..most - passed],
            Manner::Garble(good) => {
                let wrong = bytes.iter_mut().enumerate().filter(|(at, _)| passed + at >= good);
                wrong.for_each(|(_, byte)| *byte ^= 0x55);
            }
            Manner::Slow => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            _ => {}
        }
        if to.write_all(bytes).await.is_err() || bytes.len() < read {
            return;
        }
        passed += read;
    }
}
