//! Reads the counters of control groups, thousands of them a second.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};

use super::figures::{Cpu, Disk, Figures, Limits, Memory, Pressure};
use super::layout::{Layout, Mount, Version};
use super::{parse, v1, v2};

const NS_PER_S: u64 = 1_000_000_000;

/// Large enough for any cgroup file but the `io.stat` of a host with many devices.
const BUFFER: usize = 16 << 10;

/// A file that goes on beyond this is none of the kernel's.
const LARGEST: usize = 1 << 20;

/// A file missing this often beside its controller's other files, and never there, is one this kernel lacks.
/// Once would not do: the group may vanish between two opens.
const MISSING: u8 = 8;

/// Reads figures. Keeps one buffer, so it is one per thread.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    buffer: Vec<u8>,
    tick_ns: u64,
    has_pressure: bool,
    peak: Presence,
    swap: Presence,
}

/// A group that is read again and again. Runtimes use the same path (`/kubepods/…`) in every hierarchy.
#[derive(Debug)]
pub struct Group {
    path: Arc<str>,
    /// Files that stay open: opening one costs several times what reading it does.
    open: Vec<(&'static str, OwnedFd)>,
    keeps: bool,
}

impl Group {
    /// Most files of a group that stay open.
    pub const FILES: usize = 6;

    /// `keeps`: the files of CPU and memory stay open until the group is dropped, at most [`Self::FILES`].
    pub fn new(path: impl Into<Arc<str>>, keeps: bool) -> Self {
        Self { path: path.into(), open: Vec::new(), keeps }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether its files stay open.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Reads a file that is wanted at every collection.
    fn often<'a>(&mut self, buffer: &'a mut Vec<u8>, mount: &Mount, file: &'static str) -> Option<&'a str> {
        if let Some(at) = self.open.iter().position(|(name, _)| *name == file) {
            if let Some(length) = contents(buffer, &self.open[at].1) {
                return std::str::from_utf8(&buffer[..length]).ok();
            }
            // The group is gone; one of the same name may have come.
            self.open.swap_remove(at);
        }
        let opened = self.file(mount, file)?;
        let length = contents(buffer, &opened)?;
        if self.keeps && self.open.len() < Self::FILES {
            self.open.push((file, opened));
        }
        std::str::from_utf8(&buffer[..length]).ok()
    }

    /// Reads a file that is wanted now and then.
    fn seldom<'a>(&self, buffer: &'a mut Vec<u8>, mount: &Mount, file: &str) -> Option<&'a str> {
        let length = contents(buffer, &self.file(mount, file)?)?;
        std::str::from_utf8(&buffer[..length]).ok()
    }

    fn file(&self, mount: &Mount, file: &str) -> Option<OwnedFd> {
        let path = mount.directory(&self.path)?.join(file);
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }
}

impl Reader {
    /// Looks once whether the kernel has pressure files.
    pub fn new(layout: &Layout) -> Self {
        let mut reader = Self {
            layout: layout.clone(),
            buffer: vec![0; BUFFER],
            tick_ns: NS_PER_S / rustix::param::clock_ticks_per_second().max(1),
            has_pressure: false,
            peak: Presence::default(),
            swap: Presence::default(),
        };
        // Where it was switched off at boot, old kernels have the file but refuse to read it.
        reader.has_pressure = layout.unified.as_ref().is_some_and(|mount| {
            let top = Group::new(mount.below.as_str(), false);
            top.seldom(&mut reader.buffer, mount, "cpu.pressure").is_some()
        });
        reader
    }

    /// All figures.
    pub fn read(&mut self, group: &mut Group) -> Figures {
        Figures {
            cpu: self.cpu(group),
            memory: self.memory(group),
            disk: self.disk(group),
            pressure: self.pressure(group),
            limits: self.limits(group),
        }
    }

    /// The run time alone, ns, of the group at a path.
    pub fn cpu_usage_ns(&mut self, path: &str) -> Option<u64> {
        let (mount, group) = (self.layout.cpuacct.as_ref()?, Group::new(path, false));
        match mount.version {
            Version::V1 => group.seldom(&mut self.buffer, mount, "cpuacct.usage").and_then(parse::value),
            Version::V2 => {
                group.seldom(&mut self.buffer, mount, "cpu.stat").and_then(|text| v2::cpu_stat(text).usage_ns)
            }
        }
    }

    /// CPU figures.
    pub fn cpu(&mut self, group: &mut Group) -> Cpu {
        let Self { layout, buffer, tick_ns, .. } = self;
        let mut cpu = Cpu::default();
        let Some(mount) = &layout.cpuacct else { return cpu };
        if mount.version == Version::V2 {
            return group.often(buffer, mount, "cpu.stat").map(v2::cpu_stat).unwrap_or_default();
        }
        cpu.usage_ns = group.often(buffer, mount, "cpuacct.usage").and_then(parse::value);
        if let Some(text) = group.often(buffer, mount, "cpuacct.stat") {
            v1::cpuacct_stat(text, *tick_ns, &mut cpu);
        }
        if let Some(text) = layout.cpu.as_ref().and_then(|mount| group.often(buffer, mount, "cpu.stat")) {
            v1::cpu_stat(text, &mut cpu);
        }
        cpu
    }

    /// Memory figures.
    pub fn memory(&mut self, group: &mut Group) -> Memory {
        let Self { layout, buffer, peak, swap, .. } = self;
        let mut memory = Memory::default();
        let Some(mount) = &layout.memory else { return memory };
        let (usage, largest) = match mount.version {
            Version::V1 => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
            Version::V2 => ("memory.current", "memory.peak"),
        };
        let Some(text) = group.often(buffer, mount, usage) else {
            return memory; // The controller is off in this group.
        };
        memory.usage = parse::value(text);
        if let Some(text) = group.often(buffer, mount, "memory.stat") {
            match mount.version {
                Version::V1 => v1::memory_stat(text, &mut memory),
                Version::V2 => v2::memory_stat(text, &mut memory),
            }
        }
        memory.peak = peak.text(buffer, group, mount, largest).and_then(parse::value);
        if mount.version == Version::V2 {
            memory.swap = swap.text(buffer, group, mount, "memory.swap.current").and_then(parse::value);
        }
        memory
    }

    /// Block device figures.
    pub fn disk(&mut self, group: &Group) -> Disk {
        let Self { layout, buffer, .. } = self;
        let Some(mount) = &layout.blkio else { return Disk::default() };
        match mount.version {
            Version::V1 => v1::disk(
                group.seldom(buffer, mount, "blkio.throttle.io_service_bytes_recursive").and_then(v1::blkio),
                group.seldom(buffer, mount, "blkio.throttle.io_serviced_recursive").and_then(v1::blkio),
            ),
            Version::V2 => group.seldom(buffer, mount, "io.stat").and_then(v2::disk).unwrap_or_default(),
        }
    }

    /// Stalls.
    pub fn pressure(&mut self, group: &Group) -> Pressure {
        let Some(mount) = self.layout.unified.as_ref().filter(|_| self.has_pressure) else {
            return Pressure::default();
        };
        let mut stall = |file| group.seldom(&mut self.buffer, mount, file).map(v2::pressure).unwrap_or_default();
        Pressure { cpu: stall("cpu.pressure"), memory: stall("memory.pressure"), io: stall("io.pressure") }
    }

    /// Limits. They change rarely, so they need not be read as often as the rest.
    pub fn limits(&mut self, group: &Group) -> Limits {
        let Self { layout, buffer, .. } = self;
        let cpu = layout.cpu.as_ref().and_then(|mount| match mount.version {
            Version::V1 => {
                let quota = group.seldom(buffer, mount, "cpu.cfs_quota_us").and_then(parse::value)?;
                parse::cores(quota, group.seldom(buffer, mount, "cpu.cfs_period_us").and_then(parse::value)?)
            }
            Version::V2 => group.seldom(buffer, mount, "cpu.max").and_then(v2::cpu_limit),
        });
        let memory = layout.memory.as_ref().and_then(|mount| {
            let file = if mount.version == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
            group.seldom(buffer, mount, file).and_then(parse::limit)
        });
        Limits { cpu, memory }
    }
}

/// Whether a kernel has a file that not every kernel has.
#[derive(Debug, Default)]
enum Presence {
    #[default]
    Unknown,
    Missed(u8),
    Known,
}

impl Presence {
    /// Reads a file unless it is known that the kernel has none.
    fn text<'a>(
        &mut self,
        buffer: &'a mut Vec<u8>,
        group: &mut Group,
        mount: &Mount,
        file: &'static str,
    ) -> Option<&'a str> {
        let misses = match self {
            Self::Missed(MISSING) => return None,
            Self::Missed(misses) => *misses,
            Self::Unknown | Self::Known => 0,
        };
        let text = group.often(buffer, mount, file);
        match (&text, &self) {
            (Some(_), _) => *self = Self::Known,
            (None, Self::Known) => {}
            (None, _) => *self = Self::Missed(misses + 1),
        }
        text
    }
}

/// Reads a file from its beginning and returns its length. It may be gone.
fn contents(buffer: &mut Vec<u8>, file: &OwnedFd) -> Option<usize> {
    let mut length = 0;
    // The kernel gives what fits into the buffer at once: less than that is the end.
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer[length..], length as u64)).ok()?;
        length += read;
        if length < buffer.len() {
            return Some(length);
        }
        if length >= LARGEST {
            return None;
        }
        buffer.resize(2 * length, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::{DeviceIo, Stall};

    const GROUP: &str = "/kubepods/burstable/pod1f0b2c3d-0001-4a00-8000-0000000000a1/\
                         a562c1fedc668f8411f857d3ebabd03b49c2916c87b8b7a5423818686499e6ca";

    /// A recorded host: a container limited to half a core and 64 MiB that read 13 MiB and wrote 1 MiB in 256
    /// pieces, then counted for a second or so.
    fn recorded(name: &str) -> Reader {
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cgroup").join(name);
        Reader::new(&Layout::detect(&host.join("proc"), &host.join("sys/fs/cgroup")).unwrap())
    }

    #[test]
    fn recorded_v1_host() {
        let expected = Figures {
            cpu: Cpu {
                usage_ns: Some(1_085_093_711),
                user_ns: Some(970_000_000),
                system_ns: Some(110_000_000),
                throttled_ns: Some(1_002_069_252),
                throttled_periods: Some(21),
                periods: Some(24),
            },
            memory: Memory {
                usage: Some(9_736_192),
                working_set: Some(9_736_192 - 9_437_184),
                rss: Some(53_248),
                peak: Some(10_764_288),
                swap: Some(0),
                minor_faults: Some(570),
                major_faults: Some(0),
                swap_in_pages: None,
                cache: Some(9_445_376),
                mapped: Some(0),
                lists: [12_288, 49152, 0, 9_437_184, 0].map(Some),
                charges: [Some(2676), Some(357)],
            },
            disk: transferred(Some([14 << 20, 0])),
            pressure: Pressure::default(),
            limits: Limits { cpu: Some(0.5), memory: Some(64 << 20) },
        };
        let mut reader = recorded("linux-6.1-v1");
        assert_eq!(reader.read(&mut Group::new(GROUP, true)), expected);
        assert_eq!(reader.cpu_usage_ns(GROUP), expected.cpu.usage_ns);
    }

    #[test]
    fn recorded_v2_host() {
        let stall = |some, full| Stall { some_ns: Some(some), full_ns: Some(full) };
        let expected = Figures {
            cpu: Cpu {
                usage_ns: Some(1_093_886_000),
                user_ns: Some(973_236_000),
                system_ns: Some(120_649_000),
                throttled_ns: Some(1_010_420_000),
                throttled_periods: Some(21),
                periods: Some(24),
            },
            memory: Memory {
                usage: Some(9_744_384),
                working_set: Some(9_744_384 - 9_437_184),
                rss: Some(49_152),
                peak: Some(10_776_576),
                swap: Some(0),
                minor_faults: Some(570),
                major_faults: Some(0),
                swap_in_pages: None,
                cache: Some(9_445_376),
                mapped: Some(0),
                lists: [12_288, 45056, 0, 9_437_184, 0].map(Some),
                charges: [None, None],
            },
            disk: transferred(None),
            pressure: Pressure {
                cpu: stall(1_024_460_000, 1_022_740_000),
                memory: stall(0, 0),
                io: stall(35_431_000, 35_431_000),
            },
            limits: Limits { cpu: Some(0.5), memory: Some(64 << 20) },
        };
        let mut reader = recorded("linux-6.1-v2");
        assert_eq!(reader.read(&mut Group::new(GROUP, true)), expected);
        assert_eq!(reader.cpu_usage_ns(GROUP), expected.cpu.usage_ns);
    }

    fn transferred(waited_bytes: Option<[u64; 2]>) -> Disk {
        Disk {
            read_bytes: Some(13 << 20),
            write_bytes: Some(1 << 20),
            read_operations: Some(73),
            write_operations: Some(256),
            devices: Arc::from([DeviceIo {
                number: (254, 0),
                bytes: [13 << 20, 1 << 20, 0],
                operations: [73, 256, 0],
                waited_bytes,
            }]),
        }
    }

    fn group() -> Group {
        Group::new("/group", false)
    }

    #[test]
    fn a_group_that_is_gone_has_no_figures() {
        for host in ["linux-6.1-v1", "linux-6.1-v2"] {
            assert_eq!(recorded(host).read(&mut Group::new("/kubepods/gone", true)), Figures::default());
        }
    }

    /// A v2 host of one group; its files are the test's to change.
    fn own_host() -> (tempfile::TempDir, Reader) {
        let host = tempfile::tempdir().unwrap();
        let mount = Mount { version: Version::V2, point: host.path().into(), below: String::new(), whole: true };
        let accounting = crate::cgroup::Accounting { mount: mount.clone(), hierarchy: 0, controller: None };
        let place = Some(mount);
        let (cpuacct, cpu, memory) = (place.clone(), place.clone(), place.clone());
        fs::create_dir(host.path().join("group")).unwrap();
        (host, Reader::new(&Layout { accounting, cpuacct, cpu, memory, blkio: place.clone(), unified: place }))
    }

    #[test]
    fn files_the_kernel_lacks_are_not_sought_for_ever() {
        let (host, mut reader) = own_host();
        fs::write(host.path().join("group/memory.current"), "1\n").unwrap();
        for _ in 0..MISSING {
            assert_eq!(reader.memory(&mut group()).peak, None);
        }
        fs::write(host.path().join("group/memory.peak"), "2\n").unwrap();
        assert_eq!(reader.memory(&mut group()).peak, None, "given up");

        let mut reader = Reader::new(&reader.layout.clone());
        assert_eq!(reader.memory(&mut group()).peak, Some(2));
        fs::remove_file(host.path().join("group/memory.peak")).unwrap();
        for _ in 0..2 * MISSING {
            assert_eq!(reader.memory(&mut group()).peak, None);
        }
        fs::write(host.path().join("group/memory.peak"), "3\n").unwrap();
        assert_eq!(reader.memory(&mut group()).peak, Some(3), "what was there once is sought again");
    }

    #[test]
    fn groups_without_the_controller_do_not_count_as_misses() {
        let (host, mut reader) = own_host();
        for _ in 0..2 * MISSING {
            assert_eq!(reader.memory(&mut group()), Memory::default());
        }
        fs::write(host.path().join("group/memory.current"), "1\n").unwrap();
        fs::write(host.path().join("group/memory.peak"), "2\n").unwrap();
        assert_eq!(reader.memory(&mut group()).peak, Some(2));
    }

    #[test]
    fn files_that_stay_open_are_read_from_their_beginning() {
        let (host, mut reader) = own_host();
        let file = host.path().join("group/memory.current");
        let mut group = Group::new("/group", true);
        for usage in [4096, 77, 123_456] {
            fs::write(&file, format!("{usage}\n")).unwrap();
            assert_eq!(reader.memory(&mut group).usage, Some(usage));
        }
        assert_eq!(group.open.len(), 1);
        assert!(group.open.len() <= Group::FILES);
    }

    #[test]
    fn long_files_are_read_whole_and_endless_ones_given_up() {
        let (host, mut reader) = own_host();
        let line = "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n";
        let lines = 2 * BUFFER / line.len();
        fs::write(host.path().join("group/io.stat"), line.repeat(lines)).unwrap();
        assert_eq!(reader.disk(&group()).write_operations, Some(4 * lines as u64));
        fs::write(host.path().join("group/io.stat"), line.repeat(2 * LARGEST / line.len())).unwrap();
        assert_eq!(reader.disk(&group()), Disk::default());
        fs::write(host.path().join("group/io.stat"), b"8:0 rbytes=1\xff\n").unwrap();
        assert_eq!(reader.disk(&group()), Disk::default());
    }
}
