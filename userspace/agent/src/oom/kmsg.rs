//! The kernel's log, read record by record without waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::line::{Joiner, Line, Record};
use crate::kernel::KernelLog;
use crate::status::{Board, Kind, State};

/// Its name on the board.
const NAME: &str = "kmsg";

/// Longer than any record (`PRINTK_MESSAGE_MAX` is 2,048 bytes before escaping).
const BUFFER: usize = 16 * 1024;

/// Reads per poll: a log that grows faster than it is read must not hold the collection up.
const READS: usize = 20_000;

/// An open log. It is read to the end of its life with the descriptor it was opened with: that alone needs privilege.
pub struct Kmsg {
    source: Option<Box<dyn Read + Send>>,
    board: Board,
    joiner: Joiner,
    next: Option<u64>,
    lost: u64,
    buffer: Vec<u8>,
    by_call: bool,
}

impl Kmsg {
    /// Opens the log (`/dev/kmsg`) at its end, or reads it by syslog(2) where that is refused. That it cannot be read is a state on the board; polls then give nothing.
    pub fn open(path: &Path, board: &Board) -> Self {
        Self::open_or(path, KernelLog::open, board)
    }

    fn open_or(path: &Path, by_call: impl FnOnce() -> io::Result<KernelLog>, board: &Board) -> Self {
        let refused = match open_at_end(path) {
            Ok(file) => {
                board.set(Kind::Source, NAME, State::Up);
                return Self::of(Some(Box::new(file)), board.clone());
            }
            Err(error) => reason(path, &error),
        };
        match by_call() {
            Ok(log) => {
                board.set(Kind::Source, NAME, State::Up);
                Self { by_call: true, ..Self::of(Some(Box::new(log)), board.clone()) }
            }
            Err(error) => {
                let reason = format!("{refused}; syslog(2) says: {error}");
                board.set(Kind::Source, NAME, State::Absent { reason });
                Self::of(None, board.clone())
            }
        }
    }

    /// Whether the log is read by syslog(2), because its file cannot be opened: each reading then costs, and it may
    /// need CAP_SYSLOG.
    pub fn is_by_call(&self) -> bool {
        self.by_call
    }

    pub(super) fn of(source: Option<Box<dyn Read + Send>>, board: Board) -> Self {
        Self { source, board, joiner: Joiner::default(), next: None, lost: 0, buffer: vec![0; BUFFER], by_call: false }
    }

    /// Reads what was logged since the last poll, passes on what tells of OOM kills, and returns how many records it
    /// read.
    pub fn poll(&mut self, mut each: impl FnMut(Line)) -> usize {
        let Some(source) = &mut self.source else { return 0 };
        let mut records = 0;
        for _ in 0..READS {
            match source.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => {
                    records += 1;
                    let Some(record) = Record::parse(&self.buffer[..length]) else { continue };
                    let missing = self.next.map_or(0, |next| record.sequence.saturating_sub(next));
                    self.lost = self.lost.saturating_add(missing);
                    self.next = Some(record.sequence.saturating_add(1));
                    if let Some(line) = self.joiner.take(&record) {
                        each(line);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    // Records were overwritten before they were read; the next one's number says how many.
                    ErrorKind::BrokenPipe => self.lost += u64::from(self.next.is_none()),
                    ErrorKind::Interrupted => {}
                    _ => {
                        let reason = format!("cannot read the kernel's log: {error}");
                        self.board.set(Kind::Source, NAME, State::Absent { reason });
                        return records;
                    }
                },
            }
        }
        self.board.set(Kind::Source, NAME, State::Up);
        records
    }

    /// Records that the kernel overwrote before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn open_at_end(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

fn reason(path: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => "mount the host's /dev/kmsg there",
        ErrorKind::PermissionDenied => {
            "it needs CAP_SYSLOG, or kernel.dmesg_restrict=0 and permission to read the file"
        }
        _ => "is it the kernel's log?",
    };
    format!("cannot open {}: {error}; {advice}; OOM kills are counted with scope unknown", path.display())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rustix::io::Errno;

    use super::*;

    /// Answers reads as it was told to, then as an empty log.
    struct Script(VecDeque<Result<&'static str, Errno>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let text = self.0.pop_front().unwrap_or(Err(Errno::AGAIN))?;
            buffer[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }

    fn scripted(answers: impl IntoIterator<Item = Result<&'static str, Errno>>) -> (Kmsg, Board) {
        let board = Board::default();
        (Kmsg::of(Some(Box::new(Script(answers.into_iter().collect()))), board.clone()), board)
    }

    fn state(board: &Board) -> State {
        board.all().remove(&(Kind::Source, "kmsg".to_owned())).unwrap()
    }

    #[test]
    fn overwritten_records_are_counted_and_passed_over() {
        let (mut kmsg, board) = scripted([
            Ok("6,10,1,-;a\n"),
            Err(Errno::INTR),
            Err(Errno::PIPE),
            Ok("3,15,1,-;Out of memory: Killed process 8 (x) total-vm:1kB\n"),
            Ok("6,16,1,-;b\n"),
            Err(Errno::AGAIN),
            Ok("6,17,1,-;c\n"),
        ]);
        let mut lines = Vec::new();
        assert_eq!(kmsg.poll(|line| lines.push(line)), 3);
        assert_eq!(lines, [Line::Killed { pid: 8 }]);
        assert_eq!(kmsg.lost(), 4);
        assert_eq!(kmsg.poll(|_| ()), 1, "the next poll goes on");
        assert_eq!((kmsg.lost(), state(&board)), (4, State::Up));
    }

    #[test]
    fn a_fault_is_a_state_that_may_pass() {
        let (mut kmsg, board) = scripted([Ok("6,1,1,-;a\n"), Err(Errno::IO), Ok("6,2,1,-;b\n")]);
        assert_eq!(kmsg.poll(|_| ()), 1);
        assert!(matches!(state(&board), State::Absent { reason } if reason.contains("Input/output error")));
        assert_eq!(kmsg.poll(|_| ()), 1);
        assert_eq!(state(&board), State::Up);
    }

    #[test]
    fn garbage_is_passed_over() {
        let (mut kmsg, _) = scripted([Ok("garbage"), Ok(";"), Ok("6,7,1,-;a\n"), Ok("-1,x,1,-;\n")]);
        assert_eq!(kmsg.poll(|line| panic!("{line:?}")), 4);
        assert_eq!(kmsg.lost(), 0);
    }

    #[test]
    fn numbers_that_jump_to_and_fro_are_counted_as_far_as_a_count_goes() {
        let far = "6,18446744073709551614,1,-;b\n";
        let (mut kmsg, _) = scripted([Ok("6,1,1,-;a\n"), Ok(far), Ok("6,1,1,-;a\n"), Ok(far)]);
        assert_eq!(kmsg.poll(|line| panic!("{line:?}")), 4);
        assert_eq!(kmsg.lost(), u64::MAX);
    }

    #[test]
    fn an_endless_log_does_not_hold_the_collection_up() {
        let board = Board::default();
        let mut kmsg = Kmsg::of(Some(Box::new(io::repeat(b'x'))), board);
        assert_eq!(kmsg.poll(|line| panic!("{line:?}")), READS);
    }

    #[test]
    fn a_missing_log_is_a_state_with_advice() {
        let board = Board::default();
        let refused = || Err(io::Error::from(ErrorKind::PermissionDenied));
        let mut kmsg = Kmsg::open_or(Path::new("/nonexistent/kmsg"), refused, &board);
        assert_eq!(kmsg.poll(|_| ()), 0);
        assert!(matches!(state(&board), State::Absent { reason }
            if reason.contains("/nonexistent/kmsg") && reason.contains("mount the host's") && reason.contains("syslog(2)")));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_read_by_call() {
        let board = Board::default();
        let mut kmsg = Kmsg::open(Path::new("/nonexistent/kmsg"), &board);
        assert!(kmsg.is_by_call() && state(&board).is_up());
        std::fs::write("/dev/kmsg", "podscope: a record for a test\n").unwrap();
        assert!(kmsg.poll(|_| ()) > 0);
    }
}
