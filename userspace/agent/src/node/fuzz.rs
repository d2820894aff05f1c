//! Entries for fuzzing.

use std::path::Path;

use super::disks::Disks;
use super::memory::{Memory, Paging};
use super::mounts::{Mount, of_path};
use super::network::{OF_NODE, default_route, interfaces, is_cable, sockets};
use super::stat::Stat;
use crate::accounting::points::Points;

/// Any bytes are a file of /proc: names that are found in it can be shown, and points are in order.
pub(crate) fn file(data: &[u8]) {
    let mut points = Points::default();
    if let Some(stat) = Stat::parse(data, 10_000_000) {
        stat.add_to(&mut points);
    }
    Memory::parse(data).add_to(&mut points);
    Paging::parse(data).add_to(&mut points);
    let points = points.finish();
    assert!(points.is_sorted_by_key(|point| (point.metric, point.combination)));
    let is_shown = |name: &str| assert!(!name.chars().any(char::is_control), "{name:?}");
    for interface in interfaces(data, |name| !is_cable(name)) {
        is_shown(&interface.name);
        interface.points(&OF_NODE);
    }
    default_route(data).iter().for_each(|name| is_shown(name));
    sockets(data, data);
    for device in Disks::new(Path::new("/nowhere")).read(data, 0, 1) {
        device.points();
    }
    let mounts: Vec<_> = Mount::parse(data).collect();
    for mount in &mounts {
        is_shown(&mount.source);
        is_shown(&mount.kind);
        if let Some(volume) = mount.volume() {
            [&volume.pod, &volume.name, &volume.kind].iter().for_each(|name| is_shown(name));
        }
    }
    of_path(&mounts, "/var/lib/kubelet".as_ref());
}
