//! Threads of an emulator by what they are there for.
//!
//! QEMU names its threads when libvirt asks it to (`-name debug-threads=on`): qemu, `system/cpus.c`, `iothread.c`,
//! `migration/`, `util/thread-pool.c`; vhost threads are named in drivers/vhost/vhost.c and belong to the emulator's
//! process from Linux 6.4 on.

use std::collections::BTreeMap;

use foldhash::HashMap;
use podscope_abi::{Counters, TaskFlags, TaskRecord};
use podscope_catalog::id;

use crate::accounting::points::Points;

/// Virtual CPUs kept of a machine: more than QEMU takes.
const MOST_VCPUS: usize = 4096;

/// In the order of the attribute `podscope.vm.thread.class`, with the number of a virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A virtual CPU.
    Vcpu(u32),
    /// An I/O thread.
    Io,
    /// A vhost worker.
    Vhost,
    /// Sends or receives a migration.
    Migration,
    /// A thread of QEMU's pool.
    Worker,
    /// The main thread, and whatever has no other name.
    Emulator,
}

impl Class {
    const COUNT: usize = 6;

    /// The class of a thread: of one that has run a guest by KVM by that, else by its name.
    pub fn of(record: &TaskRecord) -> Self {
        match record.kvm_vcpu.checked_sub(1) {
            Some(number) => Self::Vcpu(number),
            None => Self::of_name(&record.comm),
        }
    }

    /// The class of a thread by its name (`task_struct.comm`, cut at 15 bytes).
    pub fn of_name(comm: &[u8]) -> Self {
        let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
        let name = std::str::from_utf8(&comm[..end]).unwrap_or_default();
        let vcpu = || name.strip_prefix("CPU ")?.split_once('/')?.0.parse().ok();
        let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
        match vcpu() {
            Some(number) => Self::Vcpu(number),
            None if begins(&["IO "]) => Self::Io,
            None if begins(&["vhost-"]) => Self::Vhost,
            None if begins(&["live_migration", "migration", "multifd", "mig/", "postcopy/"]) => Self::Migration,
            None if begins(&["worker", "vnc_worker"]) => Self::Worker,
            None => Self::Emulator,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Vcpu(_) => 0,
            Self::Io => 1,
            Self::Vhost => 2,
            Self::Migration => 3,
            Self::Worker => 4,
            Self::Emulator => 5,
        }
    }
}

/// For which thread a vhost worker works, where that is a thread of the kernel: before Linux 6.4, and with v2 in no
/// group of its machine's. Its name ends with the id of the thread that asked for it.
pub(super) fn owner_of_vhost(record: &TaskRecord) -> Option<u32> {
    if record.flags & TaskFlags::KERNEL == 0 {
        return None;
    }
    let name = record.comm.strip_prefix(b"vhost-")?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    std::str::from_utf8(&name[..end]).ok()?.parse().ok()
}

/// What the threads of a machine's emulator have used.
#[derive(Debug, Default)]
pub struct Threads {
    /// By thread id: what the books lack of it, at the last collection.
    last: HashMap<u32, Last>,
    by_class: [Counters; Class::COUNT],
    /// What of that threads of the kernel have used, which are not the emulator's.
    outside: Counters,
    living: [u64; Class::COUNT],
    vcpus: BTreeMap<u32, Counters>,
    pass: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    since: Counters,
    pass: u64,
}

impl Threads {
    /// Takes a living thread of the collection `pass`, and says what it is.
    pub(super) fn take(&mut self, record: &TaskRecord, pass: u64) -> Class {
        if self.pass != pass {
            self.last.retain(|_, last| last.pass == self.pass);
            (self.pass, self.living) = (pass, [0; Class::COUNT]);
        }
        let class = Class::of(record);
        let before = self.last.insert(record.pid, Last { since: record.since, pass });
        // Less than before: another thread has the id now, or the time until then has gone into a book.
        let before = before.map(|last| last.since).filter(|since| since.run_ns <= record.since.run_ns);
        let growth = record.since.since(&before.unwrap_or_default());
        self.by_class[class.index()].add(&growth);
        self.living[class.index()] += 1;
        if record.flags & TaskFlags::KERNEL != 0 {
            self.outside.add(&growth);
        }
        if let Class::Vcpu(number) = class
            && (self.vcpus.len() < MOST_VCPUS || self.vcpus.contains_key(&number))
        {
            self.vcpus.entry(number).or_default().add(&growth);
        }
        class
    }

    /// Adds the points by class. `all`: what the emulator has used; what no living thread accounts for is its own.
    pub(super) fn points(&self, all: &Counters, points: &mut Points) {
        let named = self.by_class[..Class::Emulator.index()].iter();
        let named = named.fold(Counters::ZERO, |mut sum, class| {
            sum.add(class);
            sum
        });
        let mut all = *all;
        all.add(&self.outside);
        for (index, used) in self.by_class.iter().enumerate() {
            let rest = all.since(&named);
            let used = if index == Class::Emulator.index() { &rest } else { used };
            if self.living[index] == 0 && used.run_ns == 0 {
                continue;
            }
            points
                .seconds(id::VM_THREAD_CPU_TIME, index, used.run_ns)
                .seconds(id::VM_THREAD_RUN_QUEUE_WAIT_TIME, index, used.wait_ns)
                .int(id::VM_THREAD_COUNT, index, self.living[index]);
        }
    }

    /// What each virtual CPU has used, by its number.
    pub fn vcpus(&self) -> impl Iterator<Item = (u32, &Counters)> {
        self.vcpus.iter().map(|(number, used)| (*number, used))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::snapshot::Value;

    #[test]
    fn names_of_recorded_and_documented_threads() {
        let values = podscope_catalog::attribute::VM_THREAD_CLASS.values;
        assert_eq!(values.len(), Class::COUNT);
        for (name, class) in [
            ("CPU 0/KVM", "vcpu"),
            ("CPU 127/TCG", "vcpu"),
            ("CPU x/TCG", "emulator"),
            ("IO mon_iothread", "io"),
            ("IO iothread1", "io"),
            ("vhost-2382", "vhost"),
            ("live_migration", "migration"),
            ("multifdsend_0", "migration"),
            ("mig/src/main", "migration"),
            ("worker", "worker"),
            ("vnc_worker", "worker"),
            ("call_rcu", "emulator"),
            ("qemu-system-x86", "emulator"),
            ("", "emulator"),
        ] {
            assert_eq!(values[Class::of_name(name.as_bytes()).index()], class, "{name}");
        }
        assert_eq!(Class::of_name(b"CPU 12/KVM\0\0rest"), Class::Vcpu(12));
        assert_eq!(Class::of_name(b"\xff\xfe"), Class::Emulator);
        let unnamed = TaskRecord { kvm_vcpu: 4, ..TaskRecord::zeroed() };
        assert_eq!(Class::of(&unnamed), Class::Vcpu(3), "KVM knows its number");
    }

    fn record(pid: u32, name: &str, run_ns: u64) -> TaskRecord {
        let mut record = TaskRecord { pid, ..TaskRecord::zeroed() };
        record.comm[..name.len()].copy_from_slice(name.as_bytes());
        record.since.run_ns = run_ns;
        record
    }

    #[test]
    fn a_worker_of_the_kernel_belongs_to_who_asked_for_it() {
        let kernel = |name| TaskRecord { flags: TaskFlags::KERNEL, ..record(9, name, 1_500_000_000) };
        assert_eq!(owner_of_vhost(&kernel("vhost-2382")), Some(2382));
        assert_eq!(owner_of_vhost(&kernel("vhost-x")), None);
        assert_eq!(owner_of_vhost(&record(9, "vhost-2382", 1)), None, "anybody may have this name");
        let (mut threads, mut points) = (Threads::default(), Points::default());
        threads.take(&record(1, "qemu", 2_000_000_000), 1);
        threads.take(&kernel("vhost-1"), 1);
        threads.points(&Counters { run_ns: 2_000_000_000, ..Counters::ZERO }, &mut points);
        let times = points.finish().into_iter().filter(|point| point.metric == id::VM_THREAD_CPU_TIME);
        let times: Vec<_> = times.map(|point| (point.combination, point.value)).collect();
        assert_eq!(times, [(2, Value::Double(1.5)), (5, Value::Double(2.0))], "beside what the emulator has used");
    }

    #[test]
    fn classes_add_up_to_the_emulator_whatever_becomes_of_its_threads() {
        let mut threads = Threads::default();
        let cpu = |threads: &Threads, all| {
            let (mut points, all) = (Points::default(), Counters { run_ns: all, ..Counters::ZERO });
            threads.points(&all, &mut points);
            let times = points.finish().into_iter().filter(|point| point.metric == id::VM_THREAD_CPU_TIME);
            times.map(|point| format!("{}={:?}", point.combination, point.value)).collect::<Vec<_>>().join(" ")
        };
        for (name, pid, run) in [("qemu", 1, 10), ("CPU 0/KVM", 2, 1_000_000_000), ("worker", 3, 2_000_000_000)] {
            threads.take(&record(pid, name, run), 1);
        }
        assert_eq!(cpu(&threads, 3_500_000_000), "0=Double(1.0) 4=Double(2.0) 5=Double(0.5)");
        // The worker ends; a virtual CPU gets its id, the other one's time so far goes into a book.
        threads.take(&record(3, "CPU 1/KVM", 500_000_000), 2);
        threads.take(&record(2, "CPU 0/KVM", 250_000_000), 2);
        assert_eq!(cpu(&threads, 5_000_000_000), "0=Double(1.75) 4=Double(2.0) 5=Double(1.25)");
        let vcpus: Vec<_> = threads.vcpus().map(|(number, used)| (number, used.run_ns)).collect();
        assert_eq!(vcpus, [(0, 1_250_000_000), (1, 500_000_000)]);
    }
}
