//! The ring buffer of rare events.

use aya::maps::{Map, MapData, RingBuf};
use podscope_abi::{CgroupEvent, EventHeader, EventKind, OomEvent};

use crate::text::visible;

/// An event of the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A cgroup directory was made or renamed.
    CgroupNamed {
        /// Inode.
        id: u64,
        /// Path below the hierarchy's root.
        path: String,
    },
    /// A cgroup directory was removed.
    CgroupRemoved {
        /// Inode.
        id: u64,
    },
    /// The OOM killer chose a victim.
    Oom(Oom),
}

/// An OOM kill; what the kernel's hook does not pass is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oom {
    /// Victim.
    pub pid: u32,
    /// Its thread group.
    pub tgid: u32,
    /// Start of its leader, ns since boot.
    pub leader_start: u64,
    /// Its cgroup.
    pub cgroup: u64,
    /// Its executable's id.
    pub exe: u64,
    /// Resident pages, hugetlb included.
    pub resident_pages: u64,
    /// Its name.
    pub comm: String,
}

/// The events not yet read.
pub struct Events(RingBuf<MapData>);

impl Events {
    pub(super) fn new(map: Option<Map>) -> Result<Self, String> {
        let map = map.ok_or("is missing")?;
        RingBuf::try_from(map).map(Self).map_err(|e| e.to_string())
    }

    /// The next event; `None` when all are read. A record that cannot be read as an event is passed over.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = parse(&self.0.next()?) {
                return Some(event);
            }
        }
    }
}

pub(super) fn parse(bytes: &[u8]) -> Option<Event> {
    let header: EventHeader = bytemuck::pod_read_unaligned(bytes.get(..size_of::<EventHeader>())?);
    match header.kind {
        EventKind::CGROUP_MADE | EventKind::CGROUP_RENAMED | EventKind::CGROUP_REMOVED => {
            let event: CgroupEvent = bytemuck::pod_read_unaligned(bytes.get(..size_of::<CgroupEvent>())?);
            if header.kind == EventKind::CGROUP_REMOVED {
                return Some(Event::CgroupRemoved { id: event.id });
            }
            let path = event.path.get(..event.len as usize)?;
            Some(Event::CgroupNamed { id: event.id, path: String::from_utf8_lossy(path).into_owned() })
        }
        EventKind::OOM => {
            let event: OomEvent = bytemuck::pod_read_unaligned(bytes.get(..size_of::<OomEvent>())?);
            Some(Event::Oom(Oom {
                pid: header.detail,
                tgid: event.tgid,
                leader_start: event.leader_start,
                cgroup: event.cgroup,
                exe: event.exe,
                resident_pages: event.resident_pages,
                comm: text(&event.comm),
            }))
        }
        _ => None,
    }
}

/// A NUL-padded name, with what cannot be shown written out; what follows the NUL is undefined on old kernels.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    visible(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_bytes_is_no_panic() {
        for length in 0..600 {
            for kind in 0..6u32 {
                let mut bytes = vec![0xff; length];
                if length >= 4 {
                    bytes[..4].copy_from_slice(&kind.to_ne_bytes());
                }
                let _any = parse(&bytes);
            }
        }
    }
}
