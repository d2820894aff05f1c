//! What /proc says of the calling process, and of others.

use std::fs;
use std::path::Path;

/// A tick of /proc (USER_HZ is 100 on every architecture that has BTF), ns.
const TICK_NS: u64 = 10_000_000;

/// The text of a process's `stat`; empty where unreadable.
#[derive(Debug, Default)]
pub(crate) struct Stat(String);

impl Stat {
    /// `proc`: where procfs is mounted.
    pub(crate) fn read(proc: &Path) -> Self {
        Self::of(proc, "self")
    }

    /// Of the process of that number.
    pub(crate) fn of(proc: &Path, pid: &str) -> Self {
        // The name in it may be no text.
        let stat = fs::read(proc.join(pid).join("stat")).unwrap_or_default();
        Self(String::from_utf8_lossy(&stat).into_owned())
    }

    /// A field by its number in proc(5); the name in field 2 may hold anything, a parenthesis too.
    pub(crate) fn field(&self, number: usize) -> Option<u64> {
        let (_, after_name) = self.0.rsplit_once(')')?;
        after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
    }

    /// User and system time of all threads, ns, in whole ticks.
    pub(crate) fn cpu_ns(&self) -> Option<(u64, u64)> {
        Some((self.field(14)?.checked_mul(TICK_NS)?, self.field(15)?.checked_mul(TICK_NS)?))
    }

    /// When the process started, ns since boot.
    pub(crate) fn start_ns(&self) -> Option<u64> {
        self.field(22)?.checked_mul(TICK_NS)
    }
}

/// The text of `self/status`; empty where unreadable.
#[derive(Debug, Default)]
pub(crate) struct Status(String);

impl Status {
    /// `proc`: where procfs is mounted.
    pub(crate) fn read(proc: &Path) -> Self {
        Self(text(proc, "self/status"))
    }

    /// The first number on a key's line.
    pub(crate) fn value(&self, key: &str) -> Option<u64> {
        value(&self.0, key)
    }

    /// A size, bytes.
    pub(crate) fn kilobytes(&self, key: &str) -> Option<u64> {
        self.value(key)?.checked_mul(1024)
    }

    /// Bytes; hugetlb pages are not part of the kernel's resident size.
    pub(crate) fn resident(&self) -> Option<u64> {
        Some(self.kilobytes("VmRSS")?.saturating_add(self.kilobytes("HugetlbPages").unwrap_or(0)))
    }
}

/// A file below `proc`; empty where unreadable.
pub(crate) fn text(proc: &Path, name: &str) -> String {
    fs::read_to_string(proc.join(name)).unwrap_or_default()
}

/// The first number on the line `key: number …`.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}
