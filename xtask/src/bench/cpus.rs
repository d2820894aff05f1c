//! What grows with the number of CPUs, on paper: from the definitions of the agent's maps and the kernel's sizes.

use std::time::Duration;

use anyhow::Result;

use super::agent::Agent;
use super::bpf::{self, Map};
use super::lab::{self, Lab};
use super::row::{Row, Unit};

const CPUS: [usize; 4] = [2, 16, 64, 256];
/// The kernel's element of a hash map before its key (`struct htab_elem`), bytes.
const HASH_HEADER: u64 = 48;
/// Lists of an LRU map that each CPU has (`struct bpf_lru_locallist`, a cache line more at most), bytes.
const LRU_LISTS: u64 = 128;

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let agent = Agent::start(lab, &[])?;
    lab.pause(Duration::from_secs(1))?;
    let maps = bpf::maps(agent.pid())?;
    let here = lab::cores();
    let each: u64 = maps.iter().map(per_cpu).sum();
    let now: u64 = maps.iter().map(|map| map.bytes).sum();
    let rows = CPUS.map(|cpus| {
        let bytes = now as f64 + each as f64 * (cpus as f64 - here as f64);
        let row = Row::new(format!("kernel maps without tasks, {cpus} CPUs (on paper)"), Unit::Bytes, bytes);
        row.at("CPUs", cpus)
    });
    let mut rows = Vec::from(rows);
    if let Some(last) = rows.last_mut() {
        last.note = format!("{each} bytes a CPU: {}; measured here with {here}: {now} bytes", list(&maps));
    }
    Ok(rows)
}

/// Bytes that a map takes for each CPU.
fn per_cpu(map: &Map) -> u64 {
    let rounded = |bytes: u64| bytes.next_multiple_of(8);
    match &*map.kind {
        "percpu_array" => map.entries * rounded(map.value_bytes),
        "percpu_hash" | "lru_percpu_hash" => map.entries * rounded(map.value_bytes),
        // Elements are made beforehand, and one more for each CPU that replaces one.
        "hash" => HASH_HEADER + rounded(map.key_bytes) + rounded(map.value_bytes),
        "lru_hash" => LRU_LISTS,
        // Arrays, queues, ring buffers and task storage are shared.
        _ => 0,
    }
}

fn list(maps: &[Map]) -> String {
    let growing = maps.iter().filter(|map| per_cpu(map) > 0);
    growing.map(|map| format!("{} ({}) {}", map.name, map.kind, per_cpu(map))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maps_with_a_part_for_each_cpu_grow() {
        let map = |kind: &str| Map {
            name: "M".to_owned(),
            kind: kind.to_owned(),
            key_bytes: 4,
            value_bytes: 100,
            entries: 2,
            bytes: 0,
        };
        let grown = ["percpu_array", "hash", "lru_hash", "array", "ringbuf"].map(|kind| per_cpu(&map(kind)));
        assert_eq!(grown, [208, 48 + 8 + 104, 128, 0, 0]);
    }
}
