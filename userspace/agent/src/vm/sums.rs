//! What the processes of a virtual machine have used, by role.

use foldhash::{HashMap, HashMapExt};
use podscope_abi::Counters;
use podscope_catalog::id;

use super::{Emulator, Role, Run, Threads};
use crate::accounting::ContainerKey;
use crate::accounting::points::Points;
use crate::accounting::process::Memory;
use crate::accounting::split::CpuSplit;
use crate::snapshot::Point;

/// Sums by role. They only grow, though the containers they come from end one by one.
#[derive(Debug)]
pub struct Sums {
    /// Zero of the sums, ns since the Unix epoch.
    pub start_ns: u64,
    by_role: [Sum; Role::COUNT],
    /// What each executable of each container has been credited with.
    credited: HashMap<(ContainerKey, u64), Counters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    used: Counters,
    cpu: CpuSplit,
    /// Of the living processes of the running collection; the peak is that of all time.
    memory: Memory,
    /// Living processes of the running collection.
    processes: u64,
    oom_kills: u64,
}

impl Sums {
    pub(super) fn new(start_ns: u64) -> Self {
        Self { start_ns, by_role: Default::default(), credited: HashMap::new() }
    }

    /// Begins a collection.
    pub(super) fn begin(&mut self) {
        for sum in &mut self.by_role {
            sum.memory = Memory { peak: sum.memory.peak, ..Memory::default() };
            sum.processes = 0;
        }
    }

    /// Takes the sums of an executable as they are now.
    pub(super) fn credit(&mut self, container: &ContainerKey, exe: u64, role: Role, sums: &Counters) {
        let credited = self.credited.entry((container.clone(), exe)).or_default();
        self.by_role[role as usize].used.add(&sums.since(credited));
        *credited = *sums;
    }

    /// Counts a living process.
    pub(super) fn count(&mut self, role: Role, memory: &Memory) {
        let sum = &mut self.by_role[role as usize];
        sum.memory.add(memory);
        sum.processes += 1;
    }

    /// Counts a process that the OOM killer ended.
    pub(super) fn count_oom_kill(&mut self, role: Role) {
        self.by_role[role as usize].oom_kills += 1;
    }

    /// Whether a container has a part in it.
    pub(super) fn has(&self, container: &ContainerKey) -> bool {
        self.credited.keys().any(|(of, _)| of == container)
    }

    /// Forgets containers that are gone for good; what they have used stays.
    pub(super) fn retain(&mut self, known: impl Fn(&ContainerKey) -> bool) {
        self.credited.retain(|(container, _), _| known(container));
    }

    /// Divides run times.
    pub(super) fn settle(&mut self) {
        for Sum { used, cpu, .. } in &mut self.by_role {
            cpu.update(used.run_ns, used.user_ns, used.system_ns);
        }
    }

    /// The points of a machine; roles that it has never had are left out. `run`: all its virtual CPUs, where KVM runs
    /// them; `page`: bytes of a page.
    pub fn points(&self, emulator: Option<&Emulator>, threads: &Threads, run: Option<Run>, page: u64) -> Vec<Point> {
        let mut points = Points::default();
        for (role, sum) in self.by_role.iter().enumerate() {
            if sum.processes == 0 && sum.used == Counters::ZERO && sum.oom_kills == 0 {
                continue;
            }
            points
                .seconds(id::VM_CPU_TIME, 2 * role, sum.cpu.user_ns)
                .seconds(id::VM_CPU_TIME, 2 * role + 1, sum.cpu.system_ns)
                .seconds(id::VM_RUN_QUEUE_WAIT_TIME, role, sum.used.wait_ns)
                .seconds(id::VM_BLOCKED_TIME, role, sum.used.blocked_ns)
                .int(id::VM_MEMORY_USAGE, role, sum.memory.resident() * page)
                .int(id::VM_MEMORY_PEAK, role, sum.memory.peak * page)
                .int(id::VM_PROCESS_COUNT, role, sum.processes)
                .int(id::VM_OOM_KILLS, role, sum.oom_kills);
            let kinds = sum.memory.kinds();
            for (kind, pages) in kinds.into_iter().enumerate() {
                points.int(id::VM_MEMORY_KIND, role * kinds.len() + kind, pages * page);
            }
        }
        threads.points(&self.by_role[Role::Emulator as usize].used, &mut points);
        if let Some(emulator) = emulator {
            points.known(id::VM_GUEST_MEMORY_SIZE, 0, emulator.memory).known(id::VM_VCPU_COUNT, 0, emulator.vcpus);
        }
        for (reason, exits) in run.iter().flat_map(|run| run.exits).enumerate() {
            points.int(id::VM_EXITS, reason, exits);
        }
        points.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(run_ns: u64) -> Counters {
        Counters { run_ns, user_ns: run_ns, ..Counters::ZERO }
    }

    #[test]
    fn sums_go_on_when_a_container_is_gone() {
        let mut sums = Sums::new(0);
        let container = |id: &str| ContainerKey::Container(id.into());
        let emulators = |sums: &Sums| sums.by_role[Role::Emulator as usize].used.run_ns;
        sums.credit(&container("a"), 1, Role::Emulator, &ran(100));
        sums.credit(&container("b"), 1, Role::Emulator, &ran(5));
        sums.credit(&container("a"), 1, Role::Emulator, &ran(130));
        assert_eq!(emulators(&sums), 135);
        assert!(sums.has(&container("a")));
        sums.retain(|of| *of != container("a"));
        assert!(!sums.has(&container("a")) && sums.has(&container("b")));
        sums.credit(&container("b"), 1, Role::Emulator, &ran(7));
        assert_eq!(emulators(&sums), 137);
    }

    #[test]
    fn a_role_that_never_was_has_no_points() {
        let mut sums = Sums::new(0);
        sums.credit(&ContainerKey::Host, 1, Role::Log, &ran(2_000_000_000));
        sums.begin();
        sums.count(Role::Monitor, &Memory { anonymous: 3, hugetlb: 512, peak: 515, ..Memory::default() });
        sums.settle();
        let points = sums.points(None, &Threads::default(), None, 4096);
        let combinations: Vec<_> = points.iter().map(|p| (p.metric, usize::from(p.combination))).collect();
        assert_eq!(combinations.iter().filter(|(metric, _)| *metric == id::VM_MEMORY_USAGE).count(), 2);
        let hugetlb = points.iter().find(|p| p.metric == id::VM_MEMORY_KIND && p.combination == 4).unwrap();
        assert_eq!(hugetlb.value, crate::snapshot::Value::Int(2 << 20));
        assert!(combinations.contains(&(id::VM_CPU_TIME, 2 * Role::Log as usize)));
        assert!(combinations.contains(&(id::VM_PROCESS_COUNT, Role::Monitor as usize)));
        assert!(points.is_sorted_by_key(|p| (p.metric, p.combination)));
    }
}
