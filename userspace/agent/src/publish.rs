//! Makes the resources of a snapshot: which attributes an entity is published under, and when a series ends.

mod gpu;
mod identity;
mod machines;
mod node;

use std::collections::VecDeque;

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use podscope_abi::{Counters, Histogram};
use podscope_catalog::Entity;

use crate::accounting::points::{self, ContainerFigures, LayerFigures};
use crate::accounting::split::CpuSplit;
use crate::accounting::{Accounting, Container, ContainerKey, Ended, Moment, Process, ProcessKey};
use crate::attribution::{Attribution, Identity};
use crate::cgroup::Figures;
use crate::cluster::Workloads;
use crate::detail::Detail;
use crate::snapshot::{Attributes, Resource, ResourceAttribute, Snapshot};
use crate::vm::{Blamed, Machines, VcpuKey};
use crate::waits::VcpuFigures;

pub use identity::rfc3339;
use identity::{belongs, created_ns, exe_name, identify};

/// The executable name of what has no series of its own.
pub const OTHER: &str = "_other";

/// At most so many ended series stay on `/metrics`.
const LINGERING: usize = 4096;

/// What was read of a container's cgroups besides the books.
#[derive(Debug, Default)]
pub struct Readings {
    /// By the container's or pod's own group.
    pub figures: HashMap<ContainerKey, Figures>,
    /// CPUs' worth of time used of late, by the same.
    pub cpus: HashMap<ContainerKey, f64>,
    /// Run-queue waits by container.
    pub waits: HashMap<ContainerKey, Box<Histogram>>,
    /// What the kernel side keeps of virtual CPUs.
    pub vcpus: HashMap<VcpuKey, VcpuFigures>,
    /// What containers have written over their images, by container id.
    pub layers: HashMap<Arc<str>, LayerFigures>,
    /// Names of block devices by major and minor number.
    pub devices: HashMap<(u32, u32), Arc<str>>,
}

/// Names of executables by id.
pub type Names = HashMap<u64, Arc<str>>;

/// Whose attributes are cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Process(ProcessKey, ContainerKey, u64),
    Executable(ContainerKey, u64),
    Container(ContainerKey),
    /// By pod, with the name: that may come late.
    Vm(Arc<str>, Arc<str>),
    Vcpu(Arc<str>, Arc<str>, u32),
    Culprit(Arc<str>, Blamed),
    Device(ContainerKey, (u32, u32)),
    /// By executable, and by GPU and instance.
    ProcessGpu(ProcessKey, ContainerKey, u64, Arc<str>),
    ContainerGpu(ContainerKey, Arc<str>),
    /// The node or a part of it, by name.
    Part(Entity, Arc<str>),
}

/// The cgroup's own CPU counter beside the processes' sum.
#[derive(Clone, Copy, Debug, Default)]
struct OwnCpu {
    split: CpuSplit,
    /// The last reading, and the processes' sum at that time.
    last: Option<(CpuReading, Counters)>,
    /// `cgroup − processes` from before both were watched.
    gap: i64,
    /// Collections so far.
    seen: u32,
}

/// Run time, and how the kernel divides it, ns.
#[derive(Clone, Copy, Debug)]
struct CpuReading {
    usage: u64,
    user: u64,
    system: u64,
}

/// A container that is first seen with more than this unaccounted did not begin under the agent's eyes after all: its
/// cgroup was found late.
const YOUNG_NS: i64 = 1_000_000_000;
/// Collections in which the gap of an older container settles.
const SETTLING: u32 = 12;

impl CpuReading {
    fn plus(self, used: &Counters) -> Self {
        Self { usage: self.usage + used.run_ns, user: self.user + used.user_ns, system: self.system + used.system_ns }
    }
}

/// Makes resources; keeps what outlives a collection.
#[derive(Debug)]
pub struct Publisher {
    node: Arc<str>,
    page: u64,
    linger_ns: u64,
    detail: Detail,
    attributes: HashMap<Subject, (Arc<Attributes>, u64)>,
    own_cpu: HashMap<ContainerKey, OwnCpu>,
    lingering: VecDeque<(u64, Arc<Resource>)>,
    /// Ended series that did not fit among the lingering ones.
    pub lingering_dropped: u64,
    /// What pods belong to, by uid.
    workloads: Arc<Workloads>,
}

impl Publisher {
    /// `page`: bytes of a page; `linger_ns`: how long an ended series stays on `/metrics`; `detail`: what is measured.
    pub fn new(node: &str, page: u64, linger_ns: u64, detail: Detail) -> Self {
        Self {
            node: node.into(),
            page,
            linger_ns,
            detail,
            attributes: HashMap::new(),
            own_cpu: HashMap::new(),
            lingering: VecDeque::new(),
            lingering_dropped: 0,
            workloads: Arc::default(),
        }
    }

    /// Says what pods belong to. Attributes of those of which something else was said before are made anew.
    pub fn describe(&mut self, workloads: Arc<Workloads>) {
        if Arc::ptr_eq(&self.workloads, &workloads) {
            return;
        }
        let before = std::mem::replace(&mut self.workloads, workloads);
        let after = &self.workloads;
        self.attributes.retain(|subject, (attributes, _)| {
            let uid = attributes.text("k8s.pod.uid").filter(|_| matches!(subject, Subject::Container(_)));
            uid.is_none_or(|uid| before.get(uid) == after.get(uid))
        });
    }

    /// All resources of a collection.
    pub fn resources(
        &mut self,
        accounting: &Accounting,
        attribution: &Attribution,
        names: &Names,
        machines: &Machines,
        ended: &[Ended],
        mut readings: Readings,
    ) -> Vec<Resource> {
        let mut resources = Vec::with_capacity(accounting.processes.len() / 2 + accounting.containers.len() * 4);
        let now = accounting.now;
        for (key, container) in &accounting.containers {
            if matches!(attribution.identity(key), Identity::Waiting) {
                continue;
            }
            self.container(key, container, attribution, names, machines, &mut readings, &now, &mut resources);
        }
        for (key, process) in &accounting.processes {
            if let Some(resource) = self.process(key, process, attribution, names, machines, &now, false) {
                resources.push(resource);
            }
        }
        for Ended { key, process } in ended {
            if let Some(resource) = self.process(key, process, attribution, names, machines, &now, true) {
                resources.push(resource);
            }
        }
        self.pods(attribution, &readings, &now, &mut resources);
        self.machines(machines, attribution, &mut readings, &now, &mut resources);
        self.detail.leave_out(&mut resources);
        self.forget(accounting);
        resources
    }

    /// The series that ended a while ago; `resources` are those of the running collection.
    ///
    /// A scraper that comes at least once in the lingering time sees the last value of each. A slower one misses what
    /// a series grew by after its last scrape; none counts anything twice.
    pub fn lingering(&mut self, resources: &[Resource], now: &Moment) -> Vec<Arc<Resource>> {
        while self.lingering.front().is_some_and(|(since, _)| now.monotonic_ns.saturating_sub(*since) > self.linger_ns)
        {
            self.lingering.pop_front();
        }
        let before = self.lingering.iter().map(|(_, resource)| Arc::clone(resource)).collect();
        for resource in resources.iter().filter(|resource| resource.ended) {
            self.linger(resource.clone(), now);
        }
        before
    }

    fn linger(&mut self, resource: Resource, now: &Moment) {
        if self.lingering.len() >= LINGERING {
            self.lingering.pop_front();
            self.lingering_dropped += 1;
        }
        self.lingering.push_back((now.monotonic_ns, Arc::new(resource)));
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are the running collection")]
    fn container(
        &mut self,
        key: &ContainerKey,
        container: &Container,
        attribution: &Attribution,
        names: &Names,
        machines: &Machines,
        readings: &mut Readings,
        now: &Moment,
        to: &mut Vec<Resource>,
    ) {
        let identity = attribution.identity(key);
        let created_ns = created_ns(identity);
        let figures = readings.figures.get(key);
        let (cpu, unaccounted_ns) = self.own_cpu(key, container, figures);
        let resource = |entity, attributes, points| Resource {
            entity,
            attributes,
            start_ns: container.start_ns,
            kernel_start_ns: created_ns.unwrap_or(container.start_ns),
            ended: false,
            points,
        };
        let points = points::container(
            container,
            ContainerFigures {
                figures,
                cpu,
                unaccounted_ns,
                cpus: readings.cpus.get(key).copied(),
                layer: match key {
                    ContainerKey::Container(id) => readings.layers.get(id).copied(),
                    _ => None,
                },
                waits: readings.waits.remove(key),
                uptime_ns: created_ns.map(|created| now.unix_ns.saturating_sub(created)),
            },
        );
        let workloads = Arc::clone(&self.workloads);
        let attributes = self.attributes_of(Subject::Container(key.clone()), now, |list| {
            identify(identity, list);
            belongs(identity, &workloads, list);
        });
        to.push(resource(Entity::Container, attributes, points));
        for device in figures.iter().flat_map(|figures| figures.disk.devices.iter()) {
            let attributes = self.device(key, identity, device.number, &readings.devices, now);
            to.push(resource(Entity::ContainerDevice, attributes, points::device(device)));
        }
        for (&exe, executable) in &container.executables {
            let name = exe_name(names, exe);
            let attributes = self.attributes_of(Subject::Executable(key.clone(), exe), now, |list| {
                identify(identity, list);
                if let Some(role) = machines.role(key, exe) {
                    list.push(ResourceAttribute::label("podscope.vm.role", role.name()));
                }
                list.push(ResourceAttribute::label("process.executable.name", name));
            });
            if exe == podscope_abi::EXE_OTHER {
                let rest = points::remainder(container, self.page);
                to.push(resource(Entity::Process, Arc::clone(&attributes), rest));
            }
            to.push(resource(Entity::Executable, attributes, points::executable(executable)));
        }
    }

    /// The cgroup's own CPU time, and how far it has run ahead of the processes' since both are watched.
    ///
    /// When the cgroup has gone, its last reading is continued with what its processes have used since.
    fn own_cpu(
        &mut self,
        key: &ContainerKey,
        container: &Container,
        figures: Option<&Figures>,
    ) -> (Option<CpuSplit>, Option<i64>) {
        let read = figures.map(|f| &f.cpu).and_then(|cpu| {
            let (user, system) = (cpu.user_ns.unwrap_or(0), cpu.system_ns.unwrap_or(0));
            Some(CpuReading { usage: cpu.usage_ns?, user, system })
        });
        let before = self.own_cpu.get(key).and_then(|own| own.last);
        let Some(reading) = read.or_else(|| before.map(|(last, sums)| last.plus(&container.sums.since(&sums)))) else {
            return (None, None);
        };
        let own = self.own_cpu.entry(key.clone()).or_default();
        own.last = Some((reading, container.sums));
        own.split.update(reading.usage, reading.user, reading.system);
        let gap = reading.usage as i64 - container.sums.run_ns as i64;
        own.seen += 1;
        // The cgroup is read a little after the processes, so of a busy container every gap is a little too large:
        // the smallest of the first ones is the best. One that is younger than the agent had none.
        own.gap = match own.seen {
            1 if container.from_birth && gap < YOUNG_NS => 0,
            1 => gap,
            2..=SETTLING if own.gap != 0 => own.gap.min(gap),
            _ => own.gap,
        };
        (Some(own.split), Some(gap - own.gap))
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are the running collection")]
    fn process(
        &mut self,
        key: &ProcessKey,
        process: &Process,
        attribution: &Attribution,
        names: &Names,
        machines: &Machines,
        now: &Moment,
        ended: bool,
    ) -> Option<Resource> {
        let series = process.series.as_ref()?;
        let born_ns = series.born_ns;
        let subject = Subject::Process(*key, series.container.clone(), series.exe);
        let identity = attribution.identity(&series.container);
        let attributes = self.attributes_of(subject, now, |list| {
            identify(identity, list);
            if let Some(role) = machines.role(&series.container, series.exe) {
                list.push(ResourceAttribute::label("podscope.vm.role", role.name()));
            }
            list.push(ResourceAttribute::label("process.executable.name", exe_name(names, series.exe)));
            list.push(ResourceAttribute::label_int("process.pid", i64::from(key.tgid)));
            list.push(ResourceAttribute::int("process.parent_pid", i64::from(process.ppid)));
            list.push(ResourceAttribute::text("process.creation.time", rfc3339(born_ns)));
        });
        Some(Resource {
            entity: Entity::Process,
            attributes,
            start_ns: series.start_ns,
            kernel_start_ns: born_ns,
            ended,
            points: points::process(process, self.page, now.boot_ns.saturating_sub(key.start)),
        })
    }

    fn pods(&mut self, attribution: &Attribution, readings: &Readings, now: &Moment, to: &mut Vec<Resource>) {
        for pod in attribution.runtime().pods() {
            let key = ContainerKey::Pod(Arc::clone(&pod.uid));
            let Some(figures) = readings.figures.get(&key) else { continue };
            let identity = Identity::Pod(Arc::clone(&pod));
            let subject = Subject::Container(ContainerKey::Pod(format!("{}/pod", pod.uid).into()));
            let workloads = Arc::clone(&self.workloads);
            let attributes = self.attributes_of(subject, now, |list| {
                identify(&identity, list);
                belongs(&identity, &workloads, list);
            });
            to.push(Resource {
                entity: Entity::Pod,
                attributes,
                start_ns: pod.created_at_ns,
                kernel_start_ns: pod.created_at_ns,
                ended: false,
                points: points::pod(
                    figures,
                    readings.cpus.get(&key).copied(),
                    Some(now.unix_ns.saturating_sub(pod.created_at_ns)),
                ),
            });
        }
    }

    fn attributes_of(
        &mut self,
        subject: Subject,
        now: &Moment,
        fill: impl FnOnce(&mut Vec<ResourceAttribute>),
    ) -> Arc<Attributes> {
        let node = &self.node;
        let (attributes, used_ns) = self.attributes.entry(subject).or_insert_with(|| {
            let mut list = vec![ResourceAttribute::label("k8s.node.name", Arc::clone(node))];
            fill(&mut list);
            (Arc::new(Attributes::new(list)), 0)
        });
        *used_ns = now.monotonic_ns;
        Arc::clone(attributes)
    }

    /// A container is published under another name from now on; `last` has its series under the old one, which end.
    pub fn rename(&mut self, key: &ContainerKey, last: Option<&Snapshot>, now: &Moment) {
        let mut before = Vec::new();
        self.attributes.retain(|subject, (attributes, _)| match subject {
            Subject::Process(_, container, _)
            | Subject::Executable(container, _)
            | Subject::Container(container)
            | Subject::Culprit(_, Blamed::Container(container))
            | Subject::Device(container, _)
            | Subject::ProcessGpu(_, container, _, _)
            | Subject::ContainerGpu(container, _)
                if container == key =>
            {
                before.push(Arc::clone(attributes));
                false
            }
            _ => true,
        });
        for resource in last.into_iter().flat_map(|snapshot| &snapshot.resources) {
            if before.iter().any(|attributes| Arc::ptr_eq(attributes, &resource.attributes)) {
                self.linger(Resource { ended: true, ..resource.clone() }, now);
            }
        }
        self.own_cpu.remove(key);
    }

    fn forget(&mut self, accounting: &Accounting) {
        let now = accounting.now.monotonic_ns;
        self.attributes.retain(|_, (_, used_ns)| *used_ns == now);
        self.own_cpu.retain(|key, _| accounting.containers.contains_key(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cpu;

    #[test]
    fn a_cgroup_that_has_gone_is_continued_with_its_books() {
        let mut publisher = Publisher::new("node", 4096, 0, Detail::default());
        let key = ContainerKey::Container("id".into());
        let mut container = Container::default();
        container.from_birth = true;
        container.sums = Counters { run_ns: 900, user_ns: 600, system_ns: 300, ..Counters::ZERO };
        let cpu = Cpu { usage_ns: Some(1000), user_ns: Some(700), system_ns: Some(300), ..Cpu::default() };
        let there = Figures { cpu, ..Figures::default() };
        let total = |(cpu, gap): (Option<CpuSplit>, Option<i64>)| (cpu.map(|cpu| cpu.user_ns + cpu.system_ns), gap);

        assert_eq!(total(publisher.own_cpu(&key, &container, None)), (None, None), "it was never read");
        assert_eq!(total(publisher.own_cpu(&key, &container, Some(&there))), (Some(1000), Some(100)));
        container.sums.run_ns += 50;
        let gone = Figures::default();
        assert_eq!(total(publisher.own_cpu(&key, &container, Some(&gone))), (Some(1050), Some(100)));
        container.sums.run_ns += 7;
        assert_eq!(total(publisher.own_cpu(&key, &container, None)), (Some(1057), Some(100)));
        assert_eq!(total(publisher.own_cpu(&key, &container, None)), (Some(1057), Some(100)), "nothing more was used");
    }

    #[test]
    fn a_name_that_changes_leaves_its_series_for_a_while() {
        const LINGER: u64 = 100;
        let mut publisher = Publisher::new("node", 4096, LINGER, Detail::default());
        let key = ContainerKey::Container("id".into());
        let at = |monotonic_ns| Moment { monotonic_ns, ..Moment::default() };
        let attributes = publisher.attributes_of(Subject::Container(key.clone()), &at(1), |_| ());
        let other = publisher.attributes_of(Subject::Container(ContainerKey::Host), &at(1), |_| ());
        let resources = [attributes, other].map(|attributes| Resource {
            entity: Entity::Container,
            attributes,
            start_ns: 0,
            kernel_start_ns: 0,
            ended: false,
            points: Vec::new(),
        });
        let last = Snapshot { resources: resources.to_vec(), ..Snapshot::default() };
        publisher.rename(&key, Some(&last), &at(10));
        for (now, left) in [(11, 1), (10 + LINGER, 1), (11 + LINGER, 0)] {
            let lingering = publisher.lingering(&[], &at(now));
            assert_eq!(lingering.len(), left);
            for resource in lingering {
                assert!(resource.ended && Arc::ptr_eq(&resource.attributes, &resources[0].attributes));
            }
        }
    }

    #[test]
    fn writes_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_170_549_760_000_000), "2026-11-20T10:29:09.760Z");
        assert_eq!(rfc3339(4_107_542_399_999_000_000), "2100-02-28T23:59:59.999Z");
    }
}
