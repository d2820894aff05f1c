//! The node as a whole: what the kernel's own files say of it, beside all containers.

mod births;
mod disks;
mod file;
mod filesystems;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod memory;
mod mounts;
mod network;
mod pods;
mod reading;
mod stat;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use podscope_catalog::id;

pub(crate) use self::births::Births;
use self::disks::Disks;
pub use self::filesystems::{Filesystem, Filesystems, Size, Sizes, Volume};
pub use self::mounts::VolumeName;
use self::network::DefaultRoute;
pub use self::pods::{PodNetwork, PodNetworks};
use self::reading::{Files, Reading};
use crate::accounting::Moment;
use crate::accounting::points::Points;
use crate::snapshot::Point;
use crate::status::{Board, Kind, State};

/// The files are read again after so long: a collection that a scraper asked for in between has the last figures.
const PERIOD_NS: u64 = 900_000_000;

/// Interfaces of the node published at most.
const MOST_INTERFACES: usize = 64;

/// Reads the files of the node. Keeps them open and what they said.
#[derive(Debug)]
pub struct Node {
    /// Networks of pods.
    pub pods: PodNetworks,
    board: Board,
    proc: PathBuf,
    tick_ns: u64,
    buffer: Vec<u8>,
    files: Files,
    disks: Disks,
    filesystems: Option<Filesystems>,
    sizes: Arc<Sizes>,
    interfaces: Births<String>,
    default_route: DefaultRoute,
    read_ns: Option<u64>,
    /// When the kernel was started, ns since the Unix epoch; as first reckoned, so that no sum begins anew when the
    /// clock is set.
    booted_ns: u64,
    last: Reading,
    /// CPUs' worth of time used between the last two readings.
    cpus_used: Option<f64>,
    interfaces_dropped: u64,
}

/// A part of the node that has points of its own.
#[derive(Debug)]
pub struct Part {
    /// Its name.
    pub name: Arc<str>,
    /// When its sums began, ns since the Unix epoch.
    pub start_ns: u64,
    /// What was read of it.
    pub points: Vec<Point>,
}

impl Node {
    /// `proc`, `sys`: where the host's procfs and sysfs are mounted; `board`: where it says whether they can be read.
    pub fn new(proc: &Path, sys: &Path, board: Board) -> Self {
        Self {
            pods: PodNetworks::new(proc),
            board,
            proc: proc.to_owned(),
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
            buffer: Vec::new(),
            files: Files::new(proc),
            disks: Disks::new(sys),
            filesystems: None,
            sizes: Arc::default(),
            interfaces: Births::default(),
            default_route: DefaultRoute::default(),
            read_ns: None,
            booted_ns: 0,
            last: Reading::default(),
            cpus_used: None,
            interfaces_dropped: 0,
        }
    }

    /// Asks for the sizes of file systems from now on, on a thread of their own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn watch_filesystems(&mut self) -> std::io::Result<()> {
        self.filesystems = Some(Filesystems::start(&self.proc)?);
        Ok(())
    }

    /// Reads all files again where that is due.
    pub fn refresh(&mut self, now: &Moment) {
        let passed_ns = match self.read_ns {
            Some(read_ns) => now.monotonic_ns.saturating_sub(read_ns),
            None => u64::MAX,
        };
        if passed_ns < PERIOD_NS {
            return;
        }
        if self.read_ns.replace(now.monotonic_ns).is_none() {
            self.booted_ns = now.unix_of_boot(0);
        }
        let mut reading = self.files.read(&mut self.buffer, self.tick_ns);
        if let (Some(stat), Some(before)) = (&mut reading.stat, &self.last.stat) {
            stat.not_before(before);
            let used_ns = stat.busy_ns() - before.busy_ns();
            self.cpus_used = Some(used_ns as f64 / passed_ns as f64);
        }
        reading.devices = match self.files.diskstats.read(&mut self.buffer) {
            Ok(text) => self.disks.read(text, self.booted_ns, now.unix_ns),
            Err(_) => Vec::new(),
        };
        self.default_route.follow(reading.default_interface());
        let beyond = reading.interfaces.len().saturating_sub(MOST_INTERFACES);
        reading.interfaces.truncate(MOST_INTERFACES);
        self.interfaces_dropped += beyond as u64;
        for interface in &reading.interfaces {
            let start_ns = self.interfaces.start_ns(interface.name.clone(), interface.total(), self.booted_ns);
            reading.interface_starts.push(start_ns);
        }
        self.interfaces.end(now.unix_ns);
        self.board.set(Kind::Source, "node", self.state(&reading));
        if let Some(filesystems) = &self.filesystems {
            self.sizes = filesystems.sizes(&self.board);
        }
        self.last = reading;
    }

    fn state(&self, reading: &Reading) -> State {
        match reading.missing[..] {
            [] => State::Up,
            ref missing => State::Absent {
                reason: format!(
                    "cannot read {} of {}; is the host's /proc mounted?",
                    missing.join(", "),
                    self.proc.display()
                ),
            },
        }
    }

    /// When the kernel was started, ns since the Unix epoch.
    pub fn booted_ns(&self) -> u64 {
        self.booted_ns
    }

    /// Sizes of file systems and volumes.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// What was left out for want of room: devices, interfaces, file systems.
    pub fn dropped(&self) -> [u64; 3] {
        let filesystems = self.filesystems.as_ref().map_or(0, Filesystems::dropped);
        [self.disks.dropped, self.interfaces_dropped + self.pods.dropped, filesystems]
    }

    /// The name of a block device by its major and minor number, where the kernel has told it.
    pub fn device_name(&self, number: (u32, u32)) -> Option<&Arc<str>> {
        self.disks.name(number)
    }

    /// The node's own points. `processes`: how many live.
    pub fn points(&self, processes: u64, now: &Moment) -> Vec<Point> {
        let mut points = Points::default();
        points.int(id::SYSTEM_PROCESS_COUNT, 0, processes).seconds(id::NODE_UPTIME, 0, now.boot_ns);
        if let Some(cpus) = self.cpus_used {
            points.double(id::NODE_CPU_USAGE, cpus);
        }
        self.last.add_to(&mut points);
        self.default_route.add_to(&mut points);
        self.sizes.add_to(&mut points);
        points.finish()
    }

    /// Its block devices.
    pub fn devices(&self) -> impl Iterator<Item = Part> {
        self.last.devices.iter().map(|device| Part {
            name: Arc::clone(&device.name),
            start_ns: device.start_ns,
            points: device.points(),
        })
    }

    /// The interfaces of its own network namespace.
    pub fn interfaces(&self) -> impl Iterator<Item = Part> {
        let last = &self.last;
        last.interfaces.iter().zip(&last.interface_starts).map(|(interface, start_ns)| Part {
            name: interface.name.as_str().into(),
            start_ns: *start_ns,
            points: interface.points(&network::OF_NODE),
        })
    }
}

#[cfg(test)]
mod tests;
