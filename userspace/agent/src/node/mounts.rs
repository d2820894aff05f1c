//! /proc/…/mountinfo: which file systems there are, and which volume of which pod one is.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disks::Number;
use super::file::{lines, number, words};
use crate::text::visible;

/// File systems on disks of the node: asking one for its size cannot wait for another machine.
const LOCAL: [&str; 15] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "nilfs2", "reiserfs", "vfat", "exfat",
    "ntfs3", "udf",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The file system: mounts of one have the same number.
    pub(super) device: Number,
    /// Whether it shows the whole of it, and not a folder or file.
    pub(super) is_whole: bool,
    /// Where.
    pub(super) point: PathBuf,
    /// Its type.
    pub(super) kind: String,
    /// What it is made from, such as `/dev/vda1`.
    pub(super) source: String,
    /// Whether it cannot be written here.
    pub(super) is_read_only: bool,
}

/// A volume of a pod, by where the kubelet mounts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeName {
    /// The pod's uid.
    pub pod: Arc<str>,
    /// The volume's name; of a persistent one the name of the PersistentVolume.
    pub name: Arc<str>,
    /// What it is, in OpenTelemetry's words where it has one for it, else the kubelet's plugin.
    pub kind: Arc<str>,
}

impl Mount {
    /// Reads all lines that are understood (proc_pid_mountinfo(5)).
    pub(super) fn parse(text: &[u8]) -> impl Iterator<Item = Self> {
        lines(text).filter_map(|line| {
            let mut words = words(line);
            let (device, root, point, options) = (words.nth(2)?, words.next()?, words.next()?, words.next()?);
            words.find(|word| *word == b"-")?;
            let (kind, source, of_all) = (words.next()?, words.next()?, words.next()?);
            let mut numbers = device.split(|&byte| byte == b':').map(|part| u32::try_from(number(part)?).ok());
            let is_read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|option| option == b"ro");
            Some(Self {
                device: (numbers.next()??, numbers.next()??),
                is_whole: root == b"/",
                point: PathBuf::from(OsString::from_vec(unescaped(point))),
                kind: visible(kind),
                source: visible(&unescaped(source)),
                is_read_only: is_read_only(options) || is_read_only(of_all),
            })
        })
    }

    /// Whether it lies on a disk of this node.
    pub(super) fn is_local(&self) -> bool {
        LOCAL.contains(&self.kind.as_str())
    }

    /// The volume that is mounted here: `…/pods/<uid>/volumes/<plugin>/<name>` and, of some plugins, a folder in it.
    pub(super) fn volume(&self) -> Option<VolumeName> {
        let parts: Vec<&[u8]> = self.point.as_os_str().as_bytes().split(|&byte| byte == b'/').collect();
        let at = parts.windows(3).position(|part| part[0] == b"pods" && part[2] == b"volumes")?;
        let [uid, _, plugin, name, rest @ ..] = parts.get(at + 1..)? else { return None };
        let is_one = rest.is_empty() || *rest == [b"mount".as_slice()];
        let plugin = std::str::from_utf8(plugin).ok()?;
        let kind = match plugin.rsplit('~').next()? {
            "empty-dir" => "emptyDir",
            "local-volume" => "local",
            // What the kubelet fills itself: small, and in memory.
            "secret" | "configmap" | "downward-api" | "projected" => return None,
            plugin => plugin,
        };
        let name = visible(name).into();
        (is_one && uid.len() == 36).then(|| VolumeName {
            pod: visible(uid).into(),
            name,
            kind: visible(kind.as_bytes()).into(),
        })
    }
}

/// A name with its blanks and backslashes, which the kernel writes as octal numbers.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match (first, tail.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                name.push(byte);
                rest = &tail[3..];
            }
            _ => {
                name.push(*first);
                rest = tail;
            }
        }
    }
    name
}

/// The mount that a path lies on; of a container's root the one that holds what the container writes.
pub(super) fn of_path<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let below = mounts.iter().filter(|mount| mount.kind != "overlay" && path.starts_with(&mount.point));
    // Of two at the same point the later one covers the earlier.
    below.max_by_key(|mount| mount.point.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "1f0b2c3d-0001-4a00-8000-0000000000a1";

    fn mount(line: &str) -> Option<Mount> {
        Mount::parse(format!("{line}\n").as_bytes()).next()
    }

    #[test]
    fn the_line_of_the_manual_is_understood() {
        let line =
            r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 propagate_from:2 - ext3 /dev/root ro,errors=continue";
        let expected = Mount {
            device: (98, 0),
            is_whole: false,
            point: "/mnt 2".into(),
            kind: "ext3".to_owned(),
            source: "/dev/root".to_owned(),
            is_read_only: true,
        };
        assert_eq!(mount(line), Some(expected));
        for wrong in ["36 35 98 / / rw - ext4 a rw", "36 35 98:0 / / rw ext4 a rw", "36 35 98:0 / / rw - ext4", ""] {
            assert_eq!(mount(wrong), None, "{wrong:?}");
        }
        assert_eq!(Mount::parse(line.as_bytes()).count(), 0, "a line that does not end");
        assert_eq!(unescaped(br"a\134b\09c\"), br"a\b\09c\");
    }

    #[test]
    fn volumes_are_known_by_where_the_kubelet_mounts_them() {
        let volume = |below: &str| {
            let line = format!("1 2 8:1 / /var/lib/kubelet/pods/{UID}/{below} rw - ext4 /dev/sda1 rw");
            mount(&line).unwrap().volume().map(|volume| format!("{} {}", volume.kind, volume.name))
        };
        assert_eq!(volume("volumes/kubernetes.io~csi/pvc-7/mount").as_deref(), Some("csi pvc-7"));
        assert_eq!(volume("volumes/kubernetes.io~empty-dir/cache").as_deref(), Some("emptyDir cache"));
        assert_eq!(volume("volumes/kubernetes.io~local-volume/pv").as_deref(), Some("local pv"));
        assert_eq!(volume("volumes/kubernetes.io~secret/token"), None);
        assert_eq!(volume("volumes/kubernetes.io~csi/pvc-7/mount/below"), None);
        assert_eq!(volume("volume-subpaths/pvc-7/app/0"), None);
        assert_eq!(mount("1 2 8:1 / /data/pods/x/volumes/a~b/c rw - ext4 a rw").unwrap().volume(), None);
    }

    #[test]
    fn a_path_lies_on_the_deepest_mount_and_of_two_on_the_later() {
        let mounts: Vec<_> = ["8:1 / /", "8:2 / /var/lib", "8:3 / /var/lib", "8:4 / /variable"]
            .iter()
            .map(|place| format!("1 2 {place} rw - ext4 /dev/a rw"))
            .chain(["1 2 0:7 / /var/lib/layers/merged rw - overlay overlay rw".to_owned()])
            .filter_map(|line| mount(&line))
            .collect();
        assert_eq!(mounts.len(), 5);
        let device = |path: &str| of_path(&mounts, path.as_ref()).map(|mount| mount.device);
        assert_eq!(device("/var/lib/kubelet"), Some((8, 3)));
        assert_eq!(device("/var/lib"), Some((8, 3)));
        assert_eq!(device("/var"), Some((8, 1)));
        assert_eq!(device("/var/lib/layers/merged/etc"), Some((8, 3)), "the layers' own");
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<Vec<u8>>(), near in r"([0-9]{1,12}|:| |/|/pods/|volumes|-|ext4|\\[0-7]{0,4}|\n){0,40}") {
            for text in [&text[..], near.as_bytes()] {
                Mount::parse(text).for_each(|mount| drop(mount.volume()));
            }
        }
    }
}
