//! /proc/diskstats: what each block device has done.

use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::HashMap;
use podscope_catalog::id;

use super::births::Births;
use super::file::{lines, number, numbers, words};
use crate::accounting::points::Points;
use crate::snapshot::Point;
use crate::text::visible;

/// Devices published at most.
const MOST: usize = 128;
/// Names that are remembered at most, those of partitions included.
const MOST_KNOWN: usize = 4096;
/// The unit of sizes in this file, whatever the device's own sectors are.
const SECTOR: u64 = 512;
const NS_PER_MS: u64 = 1_000_000;

/// Major and minor number.
pub(crate) type Number = (u32, u32);

/// A line: reads, writes, discards and flushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Finished requests, merged ones, sectors, ms: of reads, then of writes.
    transfers: [[u64; 4]; 2],
    in_flight: u64,
    busy_ms: u64,
    queued_ms: u64,
    discards: [u64; 4],
    flushes: [u64; 2],
    /// How many numbers the kernel gives: 11, from Linux 4.18 on 15, from 5.5 on 17.
    given: usize,
}

/// A device that is published.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<str>,
    /// When its sums began, ns since the Unix epoch.
    pub(crate) start_ns: u64,
    counters: Counters,
}

/// The devices there are, and what is known of each.
#[derive(Debug)]
pub(crate) struct Disks {
    sys: PathBuf,
    known: HashMap<Number, Known>,
    births: Births<Number>,
    /// Devices left out because there were too many, once for each reading.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Known {
    raw: Vec<u8>,
    name: Arc<str>,
    is_published: bool,
}

/// Reads a line: number, name and counters.
fn line(line: &[u8]) -> Option<(Number, &[u8], Counters)> {
    let mut words = words(line);
    let major = u32::try_from(number(words.next()?)?).ok()?;
    let minor = u32::try_from(number(words.next()?)?).ok()?;
    let name = words.next()?;
    let given = words.clone().count();
    let values: [u64; 17] = numbers(words)?;
    let four = |at: usize| [values[at], values[at + 1], values[at + 2], values[at + 3]];
    let counters = Counters {
        transfers: [four(0), four(4)],
        in_flight: values[8],
        busy_ms: values[9],
        queued_ms: values[10],
        discards: four(11),
        flushes: [values[15], values[16]],
        given,
    };
    (given >= 11).then_some(((major, minor), name, counters))
}

impl Counters {
    /// One that only grows.
    fn operations(&self) -> u64 {
        [self.transfers[0][0], self.transfers[1][0], self.discards[0], self.flushes[0]]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl Disks {
    /// `sys`: where sysfs is mounted.
    pub(crate) fn new(sys: &Path) -> Self {
        Self { sys: sys.to_owned(), known: HashMap::default(), births: Births::default(), dropped: 0 }
    }

    /// The devices to publish. `booted_ns`, `now_ns`: ns since the Unix epoch.
    pub(crate) fn read(&mut self, text: &[u8], booted_ns: u64, now_ns: u64) -> Vec<Device> {
        let mut devices = Vec::new();
        for (number, name, counters) in lines(text).filter_map(line) {
            let known = known(&mut self.known, &self.sys, number, name);
            if !known.is_published || counters.operations() == 0 {
                continue;
            }
            if devices.len() == MOST {
                self.dropped += 1;
                continue;
            }
            let start_ns = self.births.start_ns(number, counters.operations(), booted_ns);
            devices.push(Device { name: Arc::clone(&known.name), start_ns, counters });
        }
        self.births.end(now_ns);
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        devices
    }

    /// The names of all devices there have been, also of those that are not published themselves.
    pub(crate) fn name(&self, number: Number) -> Option<&Arc<str>> {
        self.known.get(&number).map(|known| &known.name)
    }
}

/// Looks a device up, and in sysfs where it is new or has another name.
fn known<'a>(all: &'a mut HashMap<Number, Known>, sys: &Path, number: Number, raw: &[u8]) -> &'a Known {
    let look = || Known { raw: raw.to_owned(), name: visible(raw).into(), is_published: is_published(sys, raw) };
    match all.entry(number) {
        Entry::Occupied(entry) => {
            let known = entry.into_mut();
            if known.raw != raw {
                *known = look();
            }
            known
        }
        Entry::Vacant(entry) => entry.insert(look()),
    }
}

/// Whole devices: a partition's requests are its disk's. A RAM disk is memory, and a read-only loop device is an image
/// whose requests are those of the disk it lies on.
fn is_published(sys: &Path, raw: &[u8]) -> bool {
    let name = String::from_utf8_lossy(raw).replace('/', "!");
    let device = sys.join("block").join(&name);
    let is_read_only = || std::fs::read(device.join("ro")).is_ok_and(|text| text == b"1\n");
    device.exists() && !raw.starts_with(b"ram") && !(raw.starts_with(b"loop") && is_read_only())
}

impl Device {
    pub(crate) fn points(&self) -> Vec<Point> {
        let mut points = Points::default();
        let counters = &self.counters;
        let ns = |ms: u64| ms.saturating_mul(NS_PER_MS);
        for (direction, [operations, merged, sectors, ms]) in counters.transfers.into_iter().enumerate() {
            points
                .int(id::SYSTEM_DISK_IO, direction, sectors.saturating_mul(SECTOR))
                .int(id::SYSTEM_DISK_OPERATIONS, direction, operations)
                .int(id::SYSTEM_DISK_MERGED, direction, merged)
                .seconds(id::SYSTEM_DISK_OPERATION_TIME, direction, ns(ms));
        }
        points
            .seconds(id::SYSTEM_DISK_IO_TIME, 0, ns(counters.busy_ms))
            .seconds(id::NODE_DISK_QUEUE_TIME, 0, ns(counters.queued_ms))
            .int(id::NODE_DISK_IN_FLIGHT, 0, counters.in_flight);
        if counters.given >= 15 {
            let [operations, merged, sectors, ms] = counters.discards;
            points
                .int(id::NODE_DISK_DISCARD_IO, 0, sectors.saturating_mul(SECTOR))
                .int(id::NODE_DISK_DISCARD_OPERATIONS, 0, operations)
                .int(id::NODE_DISK_DISCARD_MERGED, 0, merged)
                .seconds(id::NODE_DISK_DISCARD_TIME, 0, ns(ms));
        }
        if counters.given >= 17 {
            let [operations, ms] = counters.flushes;
            points.int(id::NODE_DISK_FLUSH_OPERATIONS, 0, operations).seconds(id::NODE_DISK_FLUSH_TIME, 0, ns(ms));
        }
        points.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use podscope_catalog::MetricId;
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::Value;

    const MS: f64 = 1e-3;

    /// A sysfs with these whole disks; of `read_only` ones the kernel says so.
    fn sys(disks: &[&str], read_only: &[&str]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        for disk in disks {
            let device = sys.path().join("block").join(disk);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("ro"), if read_only.contains(disk) { "1\n" } else { "0\n" }).unwrap();
        }
        sys
    }

    fn value(device: &Device, metric: MetricId, combination: u8) -> Option<f64> {
        let points = device.points();
        let point = points.iter().find(|point| (point.metric, point.combination) == (metric, combination))?;
        match point.value {
            Value::Int(value) => Some(value as f64),
            Value::Double(value) => Some(value),
            Value::Histogram(_) => None,
        }
    }

    #[test]
    fn every_column_has_its_place_and_old_kernels_have_fewer() {
        let sys = sys(&["vda", "sda"], &[]);
        let text = b"254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n";
        let devices = Disks::new(sys.path()).read(text, 5, 6);
        let [new, old] = &devices[..] else { panic!("{devices:?}") };
        assert_eq!((&*new.name, new.start_ns), ("vda", 5));
        for (metric, wanted) in [
            (id::SYSTEM_DISK_OPERATIONS, [1.0, 5.0]),
            (id::SYSTEM_DISK_MERGED, [2.0, 6.0]),
            (id::SYSTEM_DISK_IO, [3.0 * 512.0, 7.0 * 512.0]),
            (id::SYSTEM_DISK_OPERATION_TIME, [4.0 * MS, 8.0 * MS]),
        ] {
            assert_eq!([0, 1].map(|at| value(new, metric, at)), wanted.map(Some), "{}", metric.metric().name);
        }
        for (metric, wanted) in [
            (id::NODE_DISK_IN_FLIGHT, 9.0),
            (id::SYSTEM_DISK_IO_TIME, 10.0 * MS),
            (id::NODE_DISK_QUEUE_TIME, 11.0 * MS),
            (id::NODE_DISK_DISCARD_OPERATIONS, 12.0),
            (id::NODE_DISK_DISCARD_MERGED, 13.0),
            (id::NODE_DISK_DISCARD_IO, 14.0 * 512.0),
            (id::NODE_DISK_DISCARD_TIME, 15.0 * MS),
            (id::NODE_DISK_FLUSH_OPERATIONS, 16.0),
            (id::NODE_DISK_FLUSH_TIME, 17.0 * MS),
        ] {
            assert_eq!(value(new, metric, 0), Some(wanted), "{}", metric.metric().name);
        }
        assert_eq!(value(old, id::NODE_DISK_QUEUE_TIME, 0), Some(11.0 * MS));
        assert_eq!(value(old, id::NODE_DISK_DISCARD_IO, 0), None);
        assert_eq!(value(old, id::NODE_DISK_FLUSH_TIME, 0), None);
    }

    #[test]
    fn partitions_ram_disks_images_and_idle_devices_are_left_out() {
        let whole = ["nvme0n1", "dm-0", "ram0", "loop0", "loop1", "sr0", "cciss!c0d0"];
        let sys = sys(&whole, &["loop1", "sr0"]);
        let lines = |name: &str, minor: usize| format!("8 {minor} {name} 1 0 8 1 0 0 0 0 0 1 1\n");
        let names = ["nvme0n1", "nvme0n1p1", "dm-0", "ram0", "loop0", "loop1", "cciss/c0d0"];
        let mut text: String = names.iter().enumerate().map(|(minor, name)| lines(name, minor)).collect();
        text.push_str("11 0 sr0 0 0 0 0 0 0 0 0 0 0 0\n8 99 cut 1 0");
        let mut disks = Disks::new(sys.path());
        let found: Vec<_> = disks.read(text.as_bytes(), 0, 1).into_iter().map(|device| device.name).collect();
        assert_eq!(found, ["nvme0n1", "dm-0", "loop0", "cciss/c0d0"].map(Arc::from));
        assert_eq!(disks.name((8, 1)).map(|name| &**name), Some("nvme0n1p1"), "containers name it");
        let taken = disks.read(b"8 0 dm-0 1 0 8 1 0 0 0 0 0 1 1\n", 0, 2);
        assert_eq!(taken.len(), 1);
        assert_eq!(disks.name((8, 0)).map(|name| &**name), Some("dm-0"), "a number that is used again");
    }

    #[test]
    fn too_many_are_counted() {
        let names: Vec<_> = (0..MOST + 3).map(|number| format!("d{number}")).collect();
        let sys = sys(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let line = |(minor, name)| format!("8 {minor} {name} 1 0 8 1 0 0 0 0 0 1 1\n");
        let text: String = names.iter().enumerate().map(line).collect();
        let mut disks = Disks::new(sys.path());
        assert_eq!((disks.read(text.as_bytes(), 0, 1).len(), disks.dropped), (MOST, 3));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<Vec<u8>>(), near in "(8 0 vda|[0-9]{0,21}| |\n){0,40}") {
            let sys = sys(&["vda"], &[]);
            for text in [&text[..], near.as_bytes()] {
                Disks::new(sys.path()).read(text, 0, 1).iter().for_each(|device| drop(device.points()));
            }
        }
    }
}
