//! Asks podscope-gpu, on a task of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use podscope_cluster::Backoff;
use podscope_gpu_document::{Answer, Document, MOST_BYTES, Malformed, Node};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Choice, clean};
use crate::kernel::boot_ns;
use crate::status::{Board, Kind, State};

/// Name on the board.
const SOURCE: &str = "gpu";
/// For a whole answer. podscope-gpu itself gives NVML less.
const LIMIT: Duration = Duration::from_secs(3);
/// First and longest pause after a fault.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What podscope-gpu said last; nothing where it does not answer.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The GPUs.
    pub node: Node,
    /// When it was asked, ns since boot.
    pub asked_boot_ns: u64,
}

/// The way to the task, which ends with the last clone. The default one has no task and nothing to say.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    shared: Arc<Shared>,
    _task: Arc<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Notify,
    view: RwLock<Arc<View>>,
    left_out: AtomicU64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("connecting to unix://{}: {error}; is podscope-gpu running? --gpu-socket says where it listens", .path.display())]
    Connect { path: PathBuf, error: io::Error },
    #[error("reading from unix://{}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("unix://{}: no answer within {LIMIT:?}", .path.display())]
    Silent { path: PathBuf },
    #[error("an answer of more than {MOST_BYTES} bytes, which is not read")]
    Oversized,
    #[error("an empty answer: podscope-gpu has more readers than it takes, or was ended")]
    Empty,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Unavailable(String),
}

/// Starts the task where there is somebody to ask; needs a tokio runtime. Its state goes to the board.
pub fn spawn(choice: &Choice, board: &Board) -> Handle {
    let shared = Arc::<Shared>::default();
    let mut task = JoinSet::new();
    match choice.path() {
        None => board.set(Kind::Source, SOURCE, State::Off { reason: "--gpu-socket off".to_owned() }),
        Some(path) => {
            let asker = Asker {
                path: path.to_owned(),
                may_lack: *choice == Choice::Auto,
                board: board.clone(),
                shared: Arc::clone(&shared),
            };
            task.spawn(asker.run());
        }
    }
    Handle { shared, _task: Arc::new(task) }
}

impl Handle {
    /// Has podscope-gpu asked once more. Returns at once; what it is told before the task has come round is one wish.
    pub(super) fn ask(&self) {
        self.shared.wanted.notify_one();
    }

    /// What it said last.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Devices, instances and processes beyond the bounds so far.
    pub(super) fn left_out(&self) -> u64 {
        self.shared.left_out.load(Ordering::Relaxed)
    }
}

/// The task.
struct Asker {
    path: PathBuf,
    /// No socket is nothing amiss.
    may_lack: bool,
    board: Board,
    shared: Arc<Shared>,
}

impl Asker {
    async fn run(self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            self.shared.wanted.notified().await;
            if self.may_lack && !self.path.exists() {
                self.show(View::default(), State::Off { reason: format!("no socket at {}", self.path.display()) });
                continue;
            }
            let asked_boot_ns = boot_ns();
            match ask(&self.path).await {
                Ok(node) => {
                    let (node, left_out) = clean::node(node);
                    self.shared.left_out.fetch_add(left_out, Ordering::Relaxed);
                    let state = state(&node);
                    self.show(View { node, asked_boot_ns }, state);
                    backoff.reset();
                }
                Err(error) => {
                    self.show(View::default(), State::Absent { reason: error.to_string() });
                    sleep(backoff.pause(None)).await;
                }
            }
        }
    }

    fn show(&self, view: View, state: State) {
        *self.shared.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        self.board.set(Kind::Source, SOURCE, state);
    }
}

/// A figure that could not be read although it is supported is a fault, beside which the others stand.
fn state(node: &Node) -> State {
    let of_devices = node
        .devices
        .iter()
        .flat_map(|device| device.faults.iter().map(move |fault| format!("GPU {}: {fault}", device.index)));
    let faults: Vec<String> = node.faults.iter().cloned().chain(of_devices).collect();
    if faults.is_empty() { State::Up } else { State::Absent { reason: faults.join("; ") } }
}

async fn ask(path: &Path) -> Result<Node, AskError> {
    let asked = async {
        let connected = UnixStream::connect(path).await;
        let stream = connected.map_err(|error| AskError::Connect { path: path.to_owned(), error })?;
        let mut answer = Vec::new();
        let read = stream.take(MOST_BYTES as u64 + 1).read_to_end(&mut answer).await;
        read.map_err(|error| AskError::Read { path: path.to_owned(), error })?;
        Ok::<_, AskError>(answer)
    };
    let answer = timeout(LIMIT, asked).await.map_err(|_| AskError::Silent { path: path.to_owned() })??;
    read(&answer)
}

/// What an answer says.
pub(super) fn read(answer: &[u8]) -> Result<Node, AskError> {
    match answer.len() {
        0 => return Err(AskError::Empty),
        length if length > MOST_BYTES => return Err(AskError::Oversized),
        _ => {}
    }
    match Document::from_json(answer)?.answer {
        Answer::Node(node) => Ok(node),
        Answer::Unavailable(reason) => Err(AskError::Unavailable(reason)),
    }
}
