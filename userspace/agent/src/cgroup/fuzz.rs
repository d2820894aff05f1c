//! Entries for fuzzing.

use std::path::Path;

use super::figures::{Cpu, Memory};
use super::{layout, owner, parse, v1, v2};
use crate::{node, proc_self};

/// Any bytes are a path; the ids found in it are well formed, and what is below belongs to the same.
pub fn cgroup_path(data: &[u8]) {
    let path = String::from_utf8_lossy(data);
    let found = owner(&path);
    if let Some(id) = found.container_id() {
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path:?}: {id:?}");
    }
    if let Some(uid) = found.pod_uid() {
        assert!([32, 36].contains(&uid.len()) && !uid.contains('_'), "{path:?}: {uid:?}");
    }
    if !path.ends_with(" (deleted)") {
        let below = owner(&format!("{path}/x"));
        assert_eq!(found.container_id(), below.container_id(), "{path:?}");
        assert_eq!(found.pod_uid(), below.pod_uid(), "{path:?}");
    }
}

/// Any bytes are a file of /proc or of a cgroup; a mount that is found leads nowhere outside of itself.
pub fn kernel_file(data: &[u8]) {
    node::fuzz::file(data);
    let text = &String::from_utf8_lossy(data);
    let (mut cpu, mut memory) = (Cpu::default(), Memory::default());
    parse::value(text);
    parse::limit(text);
    v1::cpuacct_stat(text, 10_000_000, &mut cpu);
    v1::cpu_stat(text, &mut cpu);
    v1::memory_stat(text, &mut memory);
    v1::disk(v1::blkio(text), v1::blkio(text));
    v2::cpu_stat(text);
    v2::memory_stat(text, &mut memory);
    v2::disk(text);
    v2::pressure(text);
    assert!(v2::cpu_limit(text).is_none_or(|cores| cores >= 0.0), "{text:?}");
    proc_self::value(text, "VmRSS");
    let (mounts, groups) = text.split_once("\n\n").unwrap_or((text, text));
    if let Ok(layout) = layout::of_files(mounts, groups, Path::new("/host/sys/fs/cgroup")) {
        let mount = layout.accounting.mount;
        for path in groups.lines() {
            let inside = mount.directory(path).is_none_or(|directory| directory.starts_with(&mount.point));
            assert!(inside, "{path:?} is not below {}", mount.point.display());
        }
    }
}
