//! Sizes of file systems, asked for by a thread of its own: one that does not answer holds up nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};
use podscope_catalog::id;
use rustix::fs::{major, minor, statvfs};

use super::disks::Number;
use super::file::whole;
use super::mounts::{Mount, VolumeName, of_path};
use crate::accounting::points::Points;
use crate::snapshot::Point;
use crate::status::{Board, Kind, State};

/// Name on the board.
const SOURCE: &str = "filesystem";
/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(30);
/// A file system that takes longer than this does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// File systems and volumes published at most.
const MOST: usize = 256;
/// Where the kubelet has its folder.
const KUBELET: &str = "/var/lib/kubelet";

/// A size in bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes in all, free, and left to programs without privilege.
    pub(super) bytes: [u64; 3],
    /// Inodes in all, and free.
    pub(super) inodes: [u64; 2],
}

/// A file system of the node.
#[derive(Clone, Debug)]
pub struct Filesystem {
    mount: Mount,
    size: Size,
}

/// A volume of a pod.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Whose, and which.
    pub name: VolumeName,
    size: Size,
}

/// A round's outcome.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Those of the node.
    pub filesystems: Vec<Filesystem>,
    /// Those of pods.
    pub volumes: Vec<Volume>,
    /// Of the one with the kubelet's folder.
    of_kubelet: Option<Size>,
    /// All mounts of the host, by which a path's file system is found.
    mounts: Vec<Mount>,
    by_device: HashMap<Number, Size>,
    /// Left out for want of room.
    dropped: u64,
}

/// What the thread and its users share.
#[derive(Debug, Default)]
struct Shared {
    sizes: Arc<Sizes>,
    /// What is being asked, and since when.
    asked: Option<(Instant, PathBuf)>,
    /// Why the mounts cannot be read.
    fault: Option<String>,
    dropped: u64,
}

/// The thread's results; it ends with the last of them.
#[derive(Debug, Default)]
pub struct Filesystems(Arc<Mutex<Shared>>);

impl Filesystems {
    /// Starts the thread. `proc`: where the host's procfs is mounted.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(proc: &Path) -> std::io::Result<Self> {
        let filesystems = Self::default();
        let (shared, proc) = (Arc::downgrade(&filesystems.0), proc.to_owned());
        let work = move || {
            while let Some(period) = round(&shared, &proc) {
                std::thread::sleep(period);
            }
        };
        std::thread::Builder::new().name("filesystems".to_owned()).spawn(work)?;
        Ok(filesystems)
    }

    /// The last round's outcome; nothing while a file system does not answer. Writes the state on the board.
    pub fn sizes(&self, board: &Board) -> Arc<Sizes> {
        let shared = lock(&self.0);
        let late = shared.asked.as_ref().filter(|(since, _)| since.elapsed() > PATIENCE);
        let reason = match (late, &shared.fault) {
            (Some((_, point)), _) => Some(format!("the file system at {} does not answer", point.display())),
            (None, fault) => fault.clone(),
        };
        let Some(reason) = reason else {
            board.set(Kind::Source, SOURCE, State::Up);
            return Arc::clone(&shared.sizes);
        };
        board.set(Kind::Source, SOURCE, State::Absent { reason });
        Arc::default()
    }

    /// What was left out for want of room so far.
    pub fn dropped(&self) -> u64 {
        lock(&self.0).dropped
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for all sizes once, and returns the time to the next round; none once nobody wants them.
fn round(shared: &Weak<Mutex<Shared>>, proc: &Path) -> Option<Duration> {
    let tell = |asked: Option<&Path>| {
        let shared = shared.upgrade()?;
        lock(&shared).asked = asked.map(|point| (Instant::now(), point.to_owned()));
        Some(())
    };
    let outcome = measure(proc, |point| {
        tell(Some(point))?;
        size(point)
    });
    tell(None)?;
    let shared = shared.upgrade()?;
    let mut shared = lock(&shared);
    match outcome {
        Ok(sizes) => {
            shared.dropped += sizes.dropped;
            (shared.sizes, shared.fault) = (Arc::new(sizes), None);
        }
        Err(error) => shared.fault = Some(format!("cannot read the mounts of {}: {error}", proc.display())),
    }
    Some(PERIOD)
}

/// The size of the file system at a path.
fn size(point: &Path) -> Option<Size> {
    let status = statvfs(point).ok()?;
    let bytes = [status.f_blocks, status.f_bfree, status.f_bavail].map(|blocks| blocks.saturating_mul(status.f_frsize));
    Some(Size { bytes, inodes: [status.f_files, status.f_ffree] })
}

/// `ask`: gives the size at a place of the agent's own.
///
/// The host's mounts cannot be entered from a container. But each file system that the agent sees anything of has the
/// host's number for it: the container's `/etc/hosts` is a file of the node's own.
fn measure(proc: &Path, ask: impl Fn(&Path) -> Option<Size>) -> std::io::Result<Sizes> {
    let read = |name: &str| -> std::io::Result<Vec<Mount>> {
        let mut text = Vec::new();
        let length = whole(fs::File::open(proc.join(name))?, &mut text)?;
        Ok(Mount::parse(&text[..length]).collect())
    };
    let (mounts, own) = (read("1/mountinfo")?, read("self/mountinfo")?);
    let mut sizes = Sizes::default();
    let mut by_device = HashMap::<Number, Option<Size>>::default();
    let mut size_of = |mount: &Mount| {
        *by_device.entry(mount.device).or_insert_with(|| {
            own.iter().filter(|own| own.device == mount.device && is_on(own)).find_map(|own| ask(&own.point))
        })
    };
    let mut volumes = HashSet::default();
    for mount in mounts.iter().filter(|mount| mount.is_local() || mount.kind == "tmpfs") {
        let Some(name) = mount.volume() else { continue };
        if !volumes.insert((Arc::clone(&name.pod), Arc::clone(&name.name))) {
            continue;
        }
        let Some(size) = size_of(mount) else { continue };
        if sizes.volumes.len() < MOST {
            sizes.volumes.push(Volume { name, size });
        } else {
            sizes.dropped += 1;
        }
    }
    for mount in first_mounts(&mounts) {
        let Some(size) = size_of(mount) else { continue };
        if sizes.filesystems.len() < MOST {
            sizes.filesystems.push(Filesystem { mount: mount.clone(), size });
        } else {
            sizes.dropped += 1;
        }
    }
    sizes.of_kubelet = of_path(&mounts, KUBELET.as_ref()).filter(|mount| mount.is_local()).and_then(&mut size_of);
    sizes.by_device = by_device.into_iter().filter_map(|(device, size)| Some((device, size?))).collect();
    sizes.mounts = mounts;
    Ok(sizes)
}

/// Whether a mount is not covered by another one. The parts of a btrfs have numbers of their own.
fn is_on(mount: &Mount) -> bool {
    let device = |point: &Path| fs::metadata(point).map(|found| (major(found.dev()), minor(found.dev())));
    mount.kind == "btrfs" || device(&mount.point).is_ok_and(|device| device == mount.device)
}

/// Each local file system of the host where it is mounted first: as a whole if anywhere, and at the shortest path.
fn first_mounts(mounts: &[Mount]) -> Vec<&Mount> {
    let mut first = HashMap::<Number, &Mount>::default();
    let rank = |mount: &Mount| (!mount.is_whole, mount.point.as_os_str().len());
    for mount in mounts.iter().filter(|mount| mount.is_local() && mount.volume().is_none()) {
        let best = first.entry(mount.device).or_insert(mount);
        if rank(mount) < rank(best) {
            *best = mount;
        }
    }
    let mut first: Vec<&Mount> = first.into_values().collect();
    first.sort_unstable_by(|a, b| a.point.cmp(&b.point));
    first
}

impl Sizes {
    /// The size of the file system that a path of the host lies on, where it is local and within reach.
    pub fn of_path(&self, path: &Path) -> Option<&Size> {
        self.by_device.get(&of_path(&self.mounts, path)?.device)
    }

    /// The points of the node itself.
    pub(super) fn add_to(&self, points: &mut Points) {
        let Some(size) = &self.of_kubelet else { return };
        points
            .int(id::NODE_FILESYSTEM_CAPACITY, 0, size.bytes[0])
            .int(id::NODE_FILESYSTEM_USAGE, 0, size.used())
            .int(id::NODE_FILESYSTEM_AVAILABLE, 0, size.bytes[2])
            .int(id::NODE_FILESYSTEM_INODES, 0, size.inodes[0])
            .int(id::NODE_FILESYSTEM_INODES_FREE, 0, size.inodes[1]);
    }
}

impl Size {
    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.bytes[0].saturating_sub(self.bytes[1])
    }

    /// Bytes in all.
    pub fn capacity(&self) -> u64 {
        self.bytes[0]
    }

    /// Bytes left to programs without privilege.
    pub fn available(&self) -> u64 {
        self.bytes[2]
    }
}

impl Filesystem {
    /// Device, type, mode and place, in the order of the entity's labels.
    pub fn labels(&self) -> [(&'static str, String); 4] {
        let mount = &self.mount;
        let mode = if mount.is_read_only { "ro" } else { "rw" };
        [
            ("system.device", mount.source.clone()),
            ("system.filesystem.type", mount.kind.clone()),
            ("system.filesystem.mode", mode.to_owned()),
            ("system.filesystem.mountpoint", crate::text::visible(mount.point.as_os_str().as_encoded_bytes())),
        ]
    }

    /// What was read of it.
    pub fn points(&self) -> Vec<Point> {
        let Size { bytes: [all, free, available], inodes } = self.size;
        let states = [self.size.used(), available.min(free), free.saturating_sub(available)];
        let mut points = Points::default();
        for (state, bytes) in states.into_iter().enumerate() {
            points.int(id::SYSTEM_FILESYSTEM_USAGE, state, bytes);
        }
        points
            .int(id::SYSTEM_FILESYSTEM_LIMIT, 0, all)
            .int(id::NODE_FILESYSTEM_INODE_USAGE, 0, inodes[0].saturating_sub(inodes[1]))
            .int(id::NODE_FILESYSTEM_INODE_USAGE, 1, inodes[1]);
        points.finish()
    }
}

impl Volume {
    /// What was read of it.
    pub fn points(&self) -> Vec<Point> {
        let Size { inodes: [inodes, free_inodes], .. } = self.size;
        let mut points = Points::default();
        points
            .int(id::POD_VOLUME_USAGE, 0, self.size.used())
            .int(id::POD_VOLUME_CAPACITY, 0, self.size.capacity())
            .int(id::POD_VOLUME_AVAILABLE, 0, self.size.available())
            .int(id::POD_VOLUME_INODES, 0, inodes)
            .int(id::POD_VOLUME_INODES_USED, 0, inodes.saturating_sub(free_inodes))
            .int(id::POD_VOLUME_INODES_FREE, 0, free_inodes);
        points.finish()
    }
}
