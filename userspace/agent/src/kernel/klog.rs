//! The kernel's log by `syslog(2)`, for containers: their device cgroup refuses `/dev/kmsg` even where it is mounted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

/// `SYSLOG_ACTION_READ_ALL`: the last messages, without consuming them.
const READ_ALL: libc::c_int = 3;
/// Bytes of the log's end that are read.
const TAIL: usize = 256 * 1024;

/// Gives the log as records of `/dev/kmsg`, each once, as far as the log's end reaches back. Every reading copies
/// that end whole: to be read only when something is looked for.
#[derive(Debug, Default)]
pub struct KernelLog {
    records: VecDeque<String>,
    newest_us: u64,
    sequence: u64,
}

impl KernelLog {
    /// Checks that the log may be read, and passes over what it holds.
    ///
    /// # Errors
    /// EPERM without CAP_SYSLOG where kernel.dmesg_restrict is set.
    pub fn open() -> io::Result<Self> {
        let mut log = Self::default();
        log.fill()?;
        log.records.clear();
        Ok(log)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = vec![0u8; TAIL];
        // SAFETY: the kernel writes at most `TAIL` bytes to the buffer.
        let length = unsafe { libc::klogctl(READ_ALL, buffer.as_mut_ptr().cast(), TAIL as libc::c_int) };
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        buffer.truncate(length as usize);
        self.add(&buffer);
        Ok(())
    }

    /// Takes what is new in the log's end.
    fn add(&mut self, log: &[u8]) {
        let before = self.newest_us;
        for line in String::from_utf8_lossy(log).lines() {
            let Some((level, time_us, text)) = split(line) else { continue };
            if time_us > before {
                self.newest_us = self.newest_us.max(time_us);
                self.sequence += 1;
                self.records.push_back(format!("{level},{},{time_us},-;{text}\n", self.sequence));
            }
        }
    }

    /// The records of a log as the kernel would give it.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn records_of(log: &[u8]) -> VecDeque<String> {
        let mut read = Self::default();
        read.add(log);
        read.records
    }
}

/// `<level>[seconds.micros] text`; where the kernel writes no times (`printk.time=0`) nothing can be told apart.
fn split(line: &str) -> Option<(u64, u64, &str)> {
    let (level, rest) = line.strip_prefix('<')?.split_once('>')?;
    let (time, text) = rest.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = time.trim().split_once('.')?;
    let micros = micros.get(..6)?;
    let time_us = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?;
    // A caller's id may stand between the time and the text.
    let text = text.strip_prefix(' ').unwrap_or(text);
    Some((level.parse().ok()?, time_us, text))
}

impl Read for KernelLog {
    /// One record; `WouldBlock` when there is none.
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.records.is_empty() {
            self.fill()?;
        }
        let record = self.records.pop_front().ok_or(ErrorKind::WouldBlock)?;
        let length = record.len().min(to.len());
        to[..length].copy_from_slice(&record.as_bytes()[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_lines_apart() {
        assert_eq!(split("<6>[   12.345678] oom-kill:x"), Some((6, 12_345_678, "oom-kill:x")));
        assert_eq!(split("<4>[99999.000001][  T12] text"), Some((4, 99_999_000_001, "[  T12] text")));
        for broken in ["", "<6>no time", "<6>[x] y", "<6>[1.2] y", "<>[1.000000] y", "continued"] {
            assert_eq!(split(broken), None, "{broken}");
        }
    }

    #[test]
    fn reads_this_hosts_log_once() {
        let mut log = KernelLog::open().expect("the log can be read; this needs root or kernel.dmesg_restrict=0");
        let mut buffer = [0; 4096];
        let marker = format!("podscope-klog-test-{}", std::process::id());
        std::fs::write("/dev/kmsg", format!("{marker}\n")).unwrap();
        let mut seen = 0;
        while let Ok(length) = log.read(&mut buffer) {
            seen += usize::from(String::from_utf8_lossy(&buffer[..length]).contains(&marker));
        }
        assert_eq!(seen, 1);
    }
}
