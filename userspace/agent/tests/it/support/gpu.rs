//! Both ends of podscope-gpu: NVML as recorded, behind the program's own server; and a socket that misbehaves.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use podscope_gpu::document::{Answer, Document};
use podscope_gpu::keeper::{Keeper, Pace};
use podscope_gpu::raw::{Raw, RawDevice, RawProcess, Source};
use podscope_gpu::server;
use tempfile::TempDir;

/// What NVML says, after its documentation: a GPU that supports everything, one that is divided, one that is lost.
pub(crate) fn recorded() -> Raw {
    serde_json::from_str(include_str!("../../../../gpu/testdata/raw.json")).unwrap()
}

/// A process that has allocated so much.
pub(crate) fn process(pid: u32, memory: u64) -> RawProcess {
    RawProcess { pid, memory: Some(memory), gpu_instance: None, compute_instance: None }
}

/// podscope-gpu, reading what a test says in the place of NVML. It serves for as long as the test's process lives.
pub(crate) struct Helper {
    dir: TempDir,
    raw: Arc<Mutex<Raw>>,
}

struct Told(Arc<Mutex<Raw>>);

impl Source for Told {
    fn read(&mut self) -> Result<Raw, String> {
        Ok(self.0.lock().unwrap().clone())
    }
}

impl Helper {
    pub(crate) fn start(raw: Raw) -> Self {
        let (dir, raw) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(raw)));
        let pace = Pace { fresh: Duration::from_millis(50), ..Pace::default() };
        let keeper = Keeper::start(Box::new(Told(Arc::clone(&raw))), pace, |_| ()).unwrap();
        let listener = server::bind(&dir.path().join("gpu.sock")).unwrap();
        spawn(move || server::serve(&listener, &keeper));
        Self { dir, raw }
    }

    pub(crate) fn socket(&self) -> String {
        self.dir.path().join("gpu.sock").to_str().unwrap().to_owned()
    }

    /// What NVML says from now on.
    pub(crate) fn raw(&self) -> MutexGuard<'_, Raw> {
        self.raw.lock().unwrap()
    }

    /// The same of a device.
    pub(crate) fn change(&self, index: usize, change: impl FnOnce(&mut RawDevice)) {
        change(self.raw().devices[index].as_mut().unwrap());
    }
}

/// What a socket does with every connection.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Says this and closes it.
    Says(Vec<u8>),
    /// Takes it and says nothing.
    Mute,
}

impl Manner {
    /// What podscope-gpu says where all is well.
    pub(crate) fn good() -> Self {
        let mut raw = recorded();
        raw.devices.truncate(1);
        Self::answers(Answer::Node(podscope_gpu::sift(raw)))
    }

    pub(crate) fn answers(answer: Answer) -> Self {
        Self::Says(Document::of(answer).to_json().unwrap())
    }
}

/// A socket in the place of podscope-gpu's.
pub(crate) struct Stranger {
    path: PathBuf,
    manner: Arc<Mutex<Manner>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    pub(crate) fn start(path: PathBuf) -> Self {
        let (manner, stop) = (Arc::new(Mutex::new(Manner::good())), Arc::default());
        let mut stranger = Self { path, manner, stop, thread: None };
        stranger.listen();
        stranger
    }

    pub(crate) fn become_one_that(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Listens, again after [`Stranger::end`].
    pub(crate) fn listen(&mut self) {
        let _nothing_left = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.stop.store(false, Ordering::Relaxed);
        let (manner, stop) = (Arc::clone(&self.manner), Arc::clone(&self.stop));
        self.thread = Some(spawn(move || {
            let mut held: Vec<UnixStream> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                match &*manner.lock().unwrap() {
                    // Who has read enough goes away.
                    Manner::Says(bytes) => drop(stream.write_all(bytes)),
                    Manner::Mute => held.push(stream),
                }
            }
        }));
    }

    /// Ends as a program does that is killed: the socket stays.
    pub(crate) fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end();
    }
}
