//! The files of the node and what they said.

use std::path::Path;

use podscope_catalog::id;

use super::disks::Device;
use super::file::Kept;
use super::memory::{Memory, Paging};
use super::network::{self, Interface};
use super::stat::Stat;
use crate::accounting::points::Points;
use crate::cgroup::{Stall, pressure};

/// The files, open.
#[derive(Debug)]
pub(super) struct Files {
    stat: Kept,
    meminfo: Kept,
    vmstat: Kept,
    pub(super) diskstats: Kept,
    interfaces: Kept,
    routes: Kept,
    sockets: [Kept; 2],
    /// Of CPUs, memory and I/O.
    pressure: [Kept; 3],
}

/// What the files said; a part is absent where its file could not be read or understood.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) stat: Option<Stat>,
    memory: Option<Memory>,
    paging: Option<Paging>,
    pub(super) devices: Vec<Device>,
    pub(super) interfaces: Vec<Interface>,
    /// When the sums of `interfaces` began, ns since the Unix epoch.
    pub(super) interface_starts: Vec<u64>,
    default_route: Option<String>,
    /// In the order of the attribute `podscope.socket.kind`.
    sockets: [Option<u64>; 5],
    /// Of CPUs, memory and I/O.
    pressure: [Stall; 3],
    /// Files that every kernel has and that could not be read.
    pub(super) missing: Vec<&'static str>,
}

impl Files {
    /// `proc`: where procfs is mounted. The network is that of process 1, which is the host's: `/proc/net` would be the
    /// reader's own.
    pub(super) fn new(proc: &Path) -> Self {
        let file = |name: &str| Kept::new(proc.join(name));
        Self {
            stat: file("stat"),
            meminfo: file("meminfo"),
            vmstat: file("vmstat"),
            diskstats: file("diskstats"),
            interfaces: file("1/net/dev"),
            routes: file("1/net/route"),
            sockets: [file("1/net/sockstat"), file("1/net/sockstat6")],
            pressure: [file("pressure/cpu"), file("pressure/memory"), file("pressure/io")],
        }
    }

    /// Reads them all but the devices.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, tick_ns: u64) -> Reading {
        let mut reading = Reading::default();
        let missing = &mut reading.missing;
        reading.stat = take(&mut self.stat, buffer, "stat", missing, |text| Stat::parse(text, tick_ns)).flatten();
        reading.memory = take(&mut self.meminfo, buffer, "meminfo", missing, Memory::parse);
        reading.paging = take(&mut self.vmstat, buffer, "vmstat", missing, Paging::parse);
        let is_wanted = |name: &[u8]| !network::is_cable(name);
        let interfaces = |text: &[u8]| network::interfaces(text, is_wanted).collect();
        reading.interfaces = take(&mut self.interfaces, buffer, "1/net/dev", missing, interfaces).unwrap_or_default();
        // These are not in every kernel: without IPv4, IPv6, PSI.
        reading.default_route = self.routes.read(buffer).ok().and_then(network::default_route);
        let [sockets, of_six] = &mut self.sockets;
        if let Ok(text) = sockets.read(buffer) {
            let text = text.to_owned();
            reading.sockets = network::sockets(&text, of_six.read(buffer).unwrap_or_default());
        }
        for (stall, file) in reading.pressure.iter_mut().zip(&mut self.pressure) {
            if let Ok(text) = file.read(buffer) {
                *stall = pressure(&String::from_utf8_lossy(text));
            }
        }
        reading
    }
}

fn take<T>(
    file: &mut Kept,
    buffer: &mut Vec<u8>,
    name: &'static str,
    missing: &mut Vec<&'static str>,
    parse: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    match file.read(buffer) {
        Ok(text) => Some(parse(text)),
        Err(_) => {
            missing.push(name);
            None
        }
    }
}

impl Reading {
    /// The points of the node itself.
    pub(super) fn add_to(&self, points: &mut Points) {
        if let Some(stat) = &self.stat {
            stat.add_to(points);
        }
        if let Some(memory) = &self.memory {
            memory.add_to(points);
        }
        if let Some(paging) = &self.paging {
            paging.add_to(points);
        }
        let default = self.default_route.as_ref();
        if let Some(interface) = self.interfaces.iter().find(|interface| Some(&interface.name) == default) {
            interface.add_to_node(points);
        }
        for (kind, count) in self.sockets.into_iter().enumerate() {
            points.known(id::NODE_SOCKETS, kind, count);
        }
        for (resource, stall) in self.pressure.iter().enumerate() {
            points.known_seconds(id::NODE_PRESSURE_TIME, 2 * resource, stall.some_ns).known_seconds(
                id::NODE_PRESSURE_TIME,
                2 * resource + 1,
                stall.full_ns,
            );
        }
    }
}
