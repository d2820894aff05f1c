//! The agent's own log on its way to standard error.
//!
//! Neither a full disk nor a reader that has stopped may hold a collection up or end the agent: a thread of its own
//! writes the lines, from a queue that has a bound. A line that is not written is counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::status::State;

/// Lines that wait; a burst at start is some dozens.
const WAITING: usize = 1024;
/// A write that takes longer is a fault.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to standard error. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

struct Shared {
    to: Mutex<Box<dyn Write + Send>>,
    /// Until there is one, lines are written where they come up: capabilities are dropped while there is one thread.
    queue: OnceLock<SyncSender<Message>>,
    health: Mutex<Health>,
    dropped: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Health {
    /// Why the last write failed.
    fault: Option<String>,
    /// Since when a write has not come back.
    writing: Option<Instant>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

impl Log {
    /// A log to standard error.
    pub fn to_stderr() -> Self {
        Self::to(io::stderr())
    }

    fn to(to: impl Write + Send + 'static) -> Self {
        let to = Mutex::new(Box::new(to) as Box<dyn Write + Send>);
        Self(Arc::new(Shared { to, queue: OnceLock::new(), health: Mutex::default(), dropped: AtomicU64::new(0) }))
    }

    /// Starts the thread that writes from now on.
    ///
    /// # Errors
    /// When the system refuses a thread; lines are then written where they come up.
    pub fn start(&self) -> io::Result<()> {
        let (queue, lines) = sync_channel(WAITING);
        let shared = Arc::clone(&self.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all(&lines))?;
        // A second start would find the first one's queue in place, and its own thread ends with the channel.
        let _started = self.0.queue.set(queue);
        Ok(())
    }

    /// Waits until all lines so far are written, at most so long.
    pub fn flush(&self, within: Duration) {
        let Some(queue) = self.0.queue.get() else { return };
        let (done, written) = sync_channel(1);
        if queue.try_send(Message::Flush(done)).is_ok() {
            // Whatever is not written by then is lost with the process.
            let _ = written.recv_timeout(within);
        }
    }

    /// Lines that were not written: the write failed, or too many waited.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Whether lines are written.
    pub fn state(&self) -> State {
        let health = self.0.health();
        if health.writing.is_some_and(|since| since.elapsed() > PATIENCE) {
            let reason = "nobody reads standard error; lines wait, and beyond a bound they are lost";
            return State::Absent { reason: reason.to_owned() };
        }
        match &health.fault {
            Some(fault) => State::Absent { reason: format!("cannot write to standard error: {fault}; lines are lost") },
            None => State::Up,
        }
    }
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, lines: &Receiver<Message>) {
        while let Ok(message) = lines.recv() {
            match message {
                Message::Line(line) => self.write(&line),
                // Nobody waits any more.
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn write(&self, line: &[u8]) {
        self.health().writing = Some(Instant::now());
        let written = self.to.lock().unwrap_or_else(PoisonError::into_inner).write_all(line);
        let mut health = self.health();
        health.writing = None;
        health.fault = written.err().map(|error| error.to_string());
        if health.fault.is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes whole lines: the formatter hands each over in one piece. Never fails and never waits once the thread runs.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0.queue.get() {
            None => self.0.write(line),
            Some(queue) if queue.try_send(Message::Line(line.to_vec())).is_err() => {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    use super::*;

    fn reason(log: &Log) -> String {
        match log.state() {
            State::Absent { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for what another thread does.
    fn eventually(check: impl Fn() -> bool) {
        let start = Instant::now();
        while !check() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let log = Log::to(File::options().write(true).open("/dev/full").unwrap());
        writeln!(&log, "at once").unwrap();
        assert!(log.dropped() >= 1);
        assert!(reason(&log).contains("No space left on device"), "{}", reason(&log));
        log.start().unwrap();
        let before = log.dropped();
        (&log).write_all(b"later\n").unwrap();
        log.flush(Duration::from_secs(10));
        assert_eq!(log.dropped(), before + 1);
    }

    #[test]
    fn a_reader_that_has_stopped_holds_nobody_up_and_gets_the_oldest_lines_later() {
        let (reader, writer) = io::pipe().unwrap();
        let log = Log::to(writer);
        log.start().unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let offered = 3 * WAITING as u64;
        let start = Instant::now();
        (0..offered).for_each(|_| (&log).write_all(&line).unwrap());
        assert!(start.elapsed() < PATIENCE);
        assert!(log.dropped() > WAITING as u64, "{} of {offered} were dropped", log.dropped());
        eventually(|| !log.state().is_up());
        assert!(reason(&log).contains("nobody reads"), "{}", reason(&log));

        let wanted = (offered - log.dropped()) as usize;
        let came = BufReader::new(reader).lines().take(wanted).filter(|line| line.as_ref().unwrap().len() == 999);
        assert_eq!(came.count(), wanted);
        eventually(|| log.state().is_up());
    }
}
