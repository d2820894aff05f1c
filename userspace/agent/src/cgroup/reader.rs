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

    /// All figures of the group at a path below the accounting hierarchy's root (`/kubepods/…`).
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
