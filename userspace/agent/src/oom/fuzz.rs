//! Entries for fuzzing.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::{Kmsg, Line, OomTracker};
use crate::kernel::{KernelLog, Oom};
use crate::status::Board;

/// Records that are read one by one, as /dev/kmsg gives them.
struct Records(VecDeque<Vec<u8>>);

impl Read for Records {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let record = self.0.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let length = record.len().min(to.len());
        to[..length].copy_from_slice(&record[..length]);
        Ok(length)
    }
}

/// Any bytes are the kernel's log, in the form of /dev/kmsg and in that of syslog(2); every kill that is told of is
/// resolved once.
pub fn kernel_log(data: &[u8]) {
    let records = data.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    follow(records);
    follow(KernelLog::records_of(data).into_iter().map(String::into_bytes).collect());
}

fn follow(records: VecDeque<Vec<u8>>) {
    let mut kmsg = Kmsg::of(Some(Box::new(Records(records))), Board::default());
    let mut tracker = OomTracker::default();
    let mut kills = 0;
    let mut now = 0;
    kmsg.poll(|line| {
        now += 1;
        if let Line::Chosen(chosen) = &line
            && kills < 1000
        {
            kills += 1;
            tracker.take(Oom { pid: chosen.pid, cgroup: u64::from(chosen.pid % 2), ..Oom::default() }, now);
        }
        tracker.line(line, now);
    });
    let resolved = tracker.resolve(u64::MAX, |cgroup| (cgroup == 1).then(|| "/kubepods/x".into()));
    assert_eq!(resolved.len(), kills);
    assert!(!tracker.is_waiting());
}
