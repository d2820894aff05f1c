//! Entries for fuzzing.

use super::btf::Btf;
use super::events::{Event, parse};
use super::offsets::{Wishes, resolve};
use crate::cgroup::Tree;

/// Any bytes are a kernel's type information; looking everything up in it comes to an end.
pub fn btf(data: &[u8]) {
    let Ok(btf) = Btf::scan(data.to_vec()) else { return };
    let wishes = Wishes { controller: Some("cpuacct"), hierarchy: 2, ..Wishes::default() };
    // Mostly something is missing; the members after it are looked up all the same.
    let _incomplete = resolve(&btf, wishes);
    btf.tracepoint("sched_switch");
    btf.enumerator("cgroup_subsys_id", "cpu_cgrp_id");
    if let Some(member) = btf.member("mm_struct.rss_stat") {
        btf.array_element(&member, "percpu_counter");
    }
}

/// Any bytes are records of the ring buffer, each after its length in two bytes; the tree of cgroups that they make
/// knows each living group by one path.
pub fn ring_record(mut data: &[u8]) {
    let mut tree = Tree::new(64, 1000);
    let mut now = 0;
    while let Some((length, rest)) = data.split_first_chunk() {
        let (record, after) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = after;
        now += 100;
        match parse(record) {
            Some(Event::CgroupNamed { id, path }) => tree.rename(id, &path, now),
            Some(Event::CgroupRemoved { id }) => tree.remove(id, now),
            Some(Event::Oom(oom)) => assert!(!oom.comm.contains('\0')),
            None => {}
        }
    }
    assert!(tree.len() <= 64);
    for (id, path) in tree.living() {
        assert_eq!((tree.id(path), tree.path(id)), (Some(id), Some(path)));
    }
}
