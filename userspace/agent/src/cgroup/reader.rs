//! Reads the counters of control groups, thousands of them a second.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open, openat};

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

/// Whether a kernel has a file that not every kernel has.
#[derive(Debug, Default)]
enum Presence {
    #[default]
    Unknown,
    Missed(u8),
    Known,
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
        let top = layout.unified.as_ref().and_then(|mount| open_directory(mount, &mount.below));
        reader.has_pressure = top.is_some_and(|top| text(&mut reader.buffer, &top, "cpu.pressure").is_some());
        reader
    }

    /// All figures of the group at a path (`/kubepods/…`). Runtimes use the same path in every hierarchy.
    pub fn read(&mut self, path: &str) -> Figures {
        Figures {
            cpu: self.cpu(path),
            memory: self.memory(path),
            disk: self.disk(path),
            pressure: self.pressure(path),
            limits: self.limits(path),
        }
    }

    /// The run time alone, ns.
    pub fn cpu_usage_ns(&mut self, path: &str) -> Option<u64> {
        let (mount, directory) = group(&self.layout.cpuacct, path)?;
        match mount.version {
            Version::V1 => text(&mut self.buffer, &directory, "cpuacct.usage").and_then(parse::value),
            Version::V2 => text(&mut self.buffer, &directory, "cpu.stat").and_then(|text| v2::cpu_stat(text).usage_ns),
        }
    }

    /// CPU figures.
    pub fn cpu(&mut self, path: &str) -> Cpu {
        let (buffer, mut cpu) = (&mut self.buffer, Cpu::default());
        let Some((mount, directory)) = group(&self.layout.cpuacct, path) else {
            return cpu;
        };
        if mount.version == Version::V2 {
            return text(buffer, &directory, "cpu.stat").map(v2::cpu_stat).unwrap_or_default();
        }
        cpu.usage_ns = text(buffer, &directory, "cpuacct.usage").and_then(parse::value);
        if let Some(text) = text(buffer, &directory, "cpuacct.stat") {
            v1::cpuacct_stat(text, self.tick_ns, &mut cpu);
        }
        // Most distributions mount the two together.
        let other = match &self.layout.cpu {
            Some(other) if other != mount => open_directory(other, path),
            _ => Some(directory),
        };
        if let Some(text) = other.as_ref().and_then(|other| text(buffer, other, "cpu.stat")) {
            v1::cpu_stat(text, &mut cpu);
        }
        cpu
    }

    /// Memory figures.
    pub fn memory(&mut self, path: &str) -> Memory {
        let (buffer, mut memory) = (&mut self.buffer, Memory::default());
        let Some((mount, directory)) = group(&self.layout.memory, path) else {
            return memory;
        };
        let (usage, peak) = match mount.version {
            Version::V1 => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
            Version::V2 => ("memory.current", "memory.peak"),
        };
        let Some(text_of_usage) = text(buffer, &directory, usage) else {
            return memory; // The controller is off in this group.
        };
        memory.usage = parse::value(text_of_usage);
        if let Some(text) = text(buffer, &directory, "memory.stat") {
            match mount.version {
                Version::V1 => v1::memory_stat(text, &mut memory),
                Version::V2 => v2::memory_stat(text, &mut memory),
            }
        }
        memory.peak = self.peak.text(buffer, &directory, peak).and_then(parse::value);
        if mount.version == Version::V2 {
            memory.swap = self.swap.text(buffer, &directory, "memory.swap.current").and_then(parse::value);
        }
        memory
    }

    /// Block device figures.
    pub fn disk(&mut self, path: &str) -> Disk {
        let Some((mount, directory)) = group(&self.layout.blkio, path) else {
            return Disk::default();
        };
        let buffer = &mut self.buffer;
        match mount.version {
            Version::V1 => v1::disk(
                text(buffer, &directory, "blkio.throttle.io_service_bytes_recursive").and_then(v1::blkio),
                text(buffer, &directory, "blkio.throttle.io_serviced_recursive").and_then(v1::blkio),
            ),
            Version::V2 => text(buffer, &directory, "io.stat").and_then(v2::disk).unwrap_or_default(),
        }
    }

    /// Stalls.
    pub fn pressure(&mut self, path: &str) -> Pressure {
        if !self.has_pressure {
            return Pressure::default();
        }
        let Some((_, directory)) = group(&self.layout.unified, path) else {
            return Pressure::default();
        };
        let mut stall = |file| text(&mut self.buffer, &directory, file).map(v2::pressure).unwrap_or_default();
        Pressure { cpu: stall("cpu.pressure"), memory: stall("memory.pressure"), io: stall("io.pressure") }
    }

    /// Limits. They change rarely, so they need not be read as often as the rest.
    pub fn limits(&mut self, path: &str) -> Limits {
        let Self { layout, buffer, .. } = self;
        let cpu = group(&layout.cpu, path).and_then(|(mount, directory)| match mount.version {
            Version::V1 => {
                let quota = text(buffer, &directory, "cpu.cfs_quota_us").and_then(parse::value)?;
                parse::cores(quota, text(buffer, &directory, "cpu.cfs_period_us").and_then(parse::value)?)
            }
            Version::V2 => text(buffer, &directory, "cpu.max").and_then(v2::cpu_limit),
        });
        let memory = group(&layout.memory, path).and_then(|(mount, directory)| {
            let file = if mount.version == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
            text(buffer, &directory, file).and_then(parse::limit)
        });
        Limits { cpu, memory }
    }
}

impl Presence {
    /// Reads a file unless it is known that the kernel has none.
    fn text<'a>(&mut self, buffer: &'a mut Vec<u8>, directory: &OwnedFd, file: &str) -> Option<&'a str> {
        let misses = match self {
            Self::Missed(MISSING) => return None,
            Self::Missed(misses) => *misses,
            Self::Unknown | Self::Known => 0,
        };
        let text = text(buffer, directory, file);
        match (&text, &self) {
            (Some(_), _) => *self = Self::Known,
            (None, Self::Known) => {}
            (None, _) => *self = Self::Missed(misses + 1),
        }
        text
    }
}

/// The group's directory in a hierarchy, if both are there.
fn group<'a>(place: &'a Option<Mount>, path: &str) -> Option<(&'a Mount, OwnedFd)> {
    place.as_ref().and_then(|mount| Some((mount, open_directory(mount, path)?)))
}

/// Opens a group's directory, so that its files are found without walking the path again.
fn open_directory(mount: &Mount, path: &str) -> Option<OwnedFd> {
    open(mount.directory(path)?, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Reads a file. Files and groups may be gone, and the content may be anything.
fn text<'a>(buffer: &'a mut Vec<u8>, directory: &OwnedFd, file: &str) -> Option<&'a str> {
    let file = openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut length = 0;
    // The kernel gives what fits into the buffer at once: less than that is the end.
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[length..])).ok()?;
        length += read;
        if length < buffer.len() {
            return std::str::from_utf8(&buffer[..length]).ok();
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
    use crate::cgroup::Stall;

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
            },
            disk: transferred(),
            pressure: Pressure::default(),
            limits: Limits { cpu: Some(0.5), memory: Some(64 << 20) },
        };
        let mut reader = recorded("linux-6.1-v1");
        assert_eq!(reader.read(GROUP), expected);
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
            },
            disk: transferred(),
            pressure: Pressure {
                cpu: stall(1_024_460_000, 1_022_740_000),
                memory: stall(0, 0),
                io: stall(35_431_000, 35_431_000),
            },
            limits: Limits { cpu: Some(0.5), memory: Some(64 << 20) },
        };
        let mut reader = recorded("linux-6.1-v2");
        assert_eq!(reader.read(GROUP), expected);
        assert_eq!(reader.cpu_usage_ns(GROUP), expected.cpu.usage_ns);
    }

    fn transferred() -> Disk {
        Disk {
            read_bytes: Some(13 << 20),
            write_bytes: Some(1 << 20),
            read_operations: Some(73),
            write_operations: Some(256),
        }
    }

    #[test]
    fn a_group_that_is_gone_has_no_figures() {
        for host in ["linux-6.1-v1", "linux-6.1-v2"] {
            assert_eq!(recorded(host).read("/kubepods/gone"), Figures::default());
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
            assert_eq!(reader.memory("/group").peak, None);
        }
        fs::write(host.path().join("group/memory.peak"), "2\n").unwrap();
        assert_eq!(reader.memory("/group").peak, None, "given up");

        let mut reader = Reader::new(&reader.layout.clone());
        assert_eq!(reader.memory("/group").peak, Some(2));
        fs::remove_file(host.path().join("group/memory.peak")).unwrap();
        for _ in 0..2 * MISSING {
            assert_eq!(reader.memory("/group").peak, None);
        }
        fs::write(host.path().join("group/memory.peak"), "3\n").unwrap();
        assert_eq!(reader.memory("/group").peak, Some(3), "what was there once is sought again");
    }

    #[test]
    fn groups_without_the_controller_do_not_count_as_misses() {
        let (host, mut reader) = own_host();
        for _ in 0..2 * MISSING {
            assert_eq!(reader.memory("/group"), Memory::default());
        }
        fs::write(host.path().join("group/memory.current"), "1\n").unwrap();
        fs::write(host.path().join("group/memory.peak"), "2\n").unwrap();
        assert_eq!(reader.memory("/group").peak, Some(2));
    }

    #[test]
    fn long_files_are_read_whole_and_endless_ones_given_up() {
        let (host, mut reader) = own_host();
        let line = "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n";
        let lines = 2 * BUFFER / line.len();
        fs::write(host.path().join("group/io.stat"), line.repeat(lines)).unwrap();
        assert_eq!(reader.disk("/group").write_operations, Some(4 * lines as u64));
        fs::write(host.path().join("group/io.stat"), line.repeat(2 * LARGEST / line.len())).unwrap();
        assert_eq!(reader.disk("/group"), Disk::default());
        fs::write(host.path().join("group/io.stat"), b"8:0 rbytes=1\xff\n").unwrap();
        assert_eq!(reader.disk("/group"), Disk::default());
    }
}
