//! Points of processes, executables and containers. Pure: figures in, points out.

use podscope_abi::{Counters, Histogram, Lives};
use podscope_catalog::{MetricId, id};

use super::Container;
use super::container::Executable;
use super::process::Process;
use super::split::CpuSplit;
use crate::cgroup::{DeviceIo, Figures};
use crate::node::Size;
use crate::snapshot::{Point, Value};
use crate::vm::Run;
use crate::waits::VcpuFigures;

/// Points that a process has, at most: a list of them never grows.
const MOST: usize = 32;

/// Collects points; they end up sorted as [`crate::snapshot::Resource::points`] asks. What comes in the order of the
/// catalogue costs least.
#[derive(Debug)]
pub struct Points(Vec<Point>);

impl Default for Points {
    fn default() -> Self {
        Self(Vec::with_capacity(MOST))
    }
}

impl Points {
    fn push(&mut self, metric: MetricId, combination: usize, value: Value) -> &mut Self {
        self.0.push(Point { metric, combination: combination as u8, value });
        self
    }

    /// A whole number; what does not fit is cut.
    pub fn int(&mut self, metric: MetricId, combination: usize, value: u64) -> &mut Self {
        self.push(metric, combination, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    /// A whole number that may be unknown.
    pub fn known(&mut self, metric: MetricId, combination: usize, value: Option<u64>) -> &mut Self {
        if let Some(value) = value {
            self.int(metric, combination, value);
        }
        self
    }

    /// Nanoseconds as seconds.
    pub fn seconds(&mut self, metric: MetricId, combination: usize, ns: u64) -> &mut Self {
        self.push(metric, combination, Value::Double(ns as f64 / 1e9))
    }

    /// Nanoseconds that may be unknown, as seconds.
    pub fn known_seconds(&mut self, metric: MetricId, combination: usize, ns: Option<u64>) -> &mut Self {
        if let Some(ns) = ns {
            self.seconds(metric, combination, ns);
        }
        self
    }

    /// A whole number that may be negative.
    pub fn signed(&mut self, metric: MetricId, value: i64) -> &mut Self {
        self.push(metric, 0, Value::Int(value))
    }

    /// A number that may be negative or broken.
    pub fn double(&mut self, metric: MetricId, value: f64) -> &mut Self {
        self.push(metric, 0, Value::Double(value))
    }

    /// The points, sorted.
    pub fn finish(mut self) -> Vec<Point> {
        self.0.sort_unstable_by_key(|point| (point.metric, point.combination));
        self.0
    }

    /// Divided run time, as the two values of `cpu.mode`.
    pub fn cpu(&mut self, metric: MetricId, cpu: &CpuSplit) -> &mut Self {
        self.seconds(metric, 0, cpu.user_ns).seconds(metric, 1, cpu.system_ns)
    }

    fn switches_and_faults(&mut self, sums: &Counters) -> &mut Self {
        self.int(id::PROCESS_CONTEXT_SWITCHES, 0, sums.switches_voluntary)
            .int(id::PROCESS_CONTEXT_SWITCHES, 1, sums.switches_involuntary)
            .int(id::PROCESS_PAGING_FAULTS, 0, sums.faults_minor)
            .int(id::PROCESS_PAGING_FAULTS, 1, sums.faults_major)
    }

    fn disk(&mut self, sums: &Counters) -> &mut Self {
        self.int(id::PROCESS_DISK_IO, 0, sums.read_bytes)
            .int(id::PROCESS_DISK_IO, 1, sums.write_bytes)
            .int(id::PROCESS_DISK_OPERATIONS, 0, sums.read_calls)
            .int(id::PROCESS_DISK_OPERATIONS, 1, sums.write_calls)
    }

    fn delays(&mut self, sums: &Counters) -> &mut Self {
        self.seconds(id::PROCESS_RUN_QUEUE_WAIT_TIME, 0, sums.wait_ns)
            .seconds(id::PROCESS_BLOCKED_TIME, 0, sums.blocked_ns)
            .int(id::PROCESS_CPU_MIGRATIONS, 0, sums.migrations)
            .seconds(id::PROCESS_RECLAIM_TIME, 0, sums.reclaim_ns)
            .int(id::PROCESS_RECLAIM_STALLS, 0, sums.reclaims)
    }

    fn lives(&mut self, started: MetricId, ended: MetricId, lives: &Lives) -> &mut Self {
        self.int(started, 0, lives.started_fork)
            .int(started, 1, lives.started_exec)
            .int(started, 2, lives.started_moved)
            .int(ended, 0, lives.ended_exit)
            .int(ended, 1, lives.ended_exec)
            .int(ended, 2, lives.ended_moved)
    }
}

/// A published process, in the order of the catalogue. `page`: bytes of a page; `uptime_ns`: since its start.
pub fn process(process: &Process, page: u64, uptime_ns: u64) -> Vec<Point> {
    let mut points = Points::default();
    let series = process.series.as_ref();
    if let Some(series) = series {
        points.cpu(id::PROCESS_CPU_TIME, &series.cpu);
    }
    if !process.kernel {
        let memory = &process.memory;
        points
            .int(id::PROCESS_MEMORY_USAGE, 0, memory.resident() * page)
            .int(id::PROCESS_MEMORY_VIRTUAL, 0, memory.virtual_size * page)
            .int(id::PROCESS_MEMORY_PEAK, 0, memory.peak * page);
        for (kind, pages) in memory.kinds().into_iter().enumerate() {
            points.int(id::PROCESS_MEMORY_KIND, kind, pages * page);
        }
        points.int(id::PROCESS_MEMORY_TEXT, 0, memory.text(page)).int(id::PROCESS_MEMORY_DATA, 0, memory.data * page);
        if process.children_ns != [0; 2] {
            let [user, system] = process.children_ns;
            points.seconds(id::PROCESS_CHILDREN_CPU_TIME, 0, user).seconds(id::PROCESS_CHILDREN_CPU_TIME, 1, system);
        }
    }
    if let Some(series) = series {
        points.switches_and_faults(&series.published);
    }
    points.int(id::PROCESS_THREAD_COUNT, 0, u64::from(process.threads));
    if let Some(series) = series {
        points.disk(&series.published);
    }
    points.known(id::PROCESS_FILE_DESCRIPTOR_COUNT, 0, process.descriptors).seconds(id::PROCESS_UPTIME, 0, uptime_ns);
    if let Some(series) = series {
        points.delays(&series.published);
    }
    points.finish()
}

/// The processes of a container that are not published, as one.
pub fn remainder(container: &Container, page: u64) -> Vec<Point> {
    let sums = &container.remainder;
    let mut points = Points::default();
    points
        .cpu(id::PROCESS_CPU_TIME, &container.remainder_cpu)
        .int(id::PROCESS_MEMORY_USAGE, 0, container.remainder_pages * page)
        .switches_and_faults(sums)
        .disk(sums)
        .delays(sums);
    points.finish()
}

/// An executable within a container.
pub fn executable(executable: &Executable) -> Vec<Point> {
    let sums = &executable.sums;
    let mut points = Points::default();
    points
        .cpu(id::EXECUTABLE_CPU_TIME, &executable.cpu)
        .seconds(id::EXECUTABLE_RUN_QUEUE_WAIT_TIME, 0, sums.wait_ns)
        .seconds(id::EXECUTABLE_BLOCKED_TIME, 0, sums.blocked_ns)
        .int(id::EXECUTABLE_PAGING_FAULTS, 0, sums.faults_minor)
        .int(id::EXECUTABLE_PAGING_FAULTS, 1, sums.faults_major)
        .lives(id::EXECUTABLE_PROCESS_STARTED, id::EXECUTABLE_PROCESS_ENDED, &executable.lives);
    points.finish()
}

/// What a container has written over its image, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerFigures {
    /// Bytes.
    pub used: Option<u64>,
    /// Files and folders.
    pub inodes: Option<u64>,
    /// The file system that holds it, where it is within reach.
    pub size: Option<Size>,
}

/// A virtual CPU. `figures`: what the kernel side keeps of it, where it does.
pub fn vcpu(used: &Counters, figures: Option<VcpuFigures>) -> Vec<Point> {
    let mut points = Points::default();
    points
        .seconds(id::VCPU_CPU_TIME, 0, used.run_ns)
        .seconds(id::VCPU_READY_TIME, 0, used.wait_ns)
        .seconds(id::VCPU_BLOCKED_TIME, 0, used.blocked_ns)
        .int(id::VCPU_CONTEXT_SWITCHES, 0, used.switches_voluntary)
        .int(id::VCPU_CONTEXT_SWITCHES, 1, used.switches_involuntary)
        .int(id::VCPU_MIGRATIONS, 0, used.migrations);
    if let Some(VcpuFigures { waits, kvm }) = figures {
        points.push(id::VCPU_READY, 0, Value::Histogram(waits));
        if let Some(Run { exits, states }) = kvm {
            points.int(id::VCPU_EXITS, 0, exits.iter().sum());
            for (state, ns) in states.into_iter().enumerate() {
                points.seconds(id::VCPU_STATE_TIME, state, ns);
            }
        }
    }
    points.finish()
}

/// Who ran while virtual CPUs waited, ns.
pub fn culprit(waited_ns: u64) -> Vec<Point> {
    let mut points = Points::default();
    points.seconds(id::CULPRIT_TIME, 0, waited_ns);
    points.finish()
}

/// What a container's points are made of besides its own sums.
#[derive(Debug, Default)]
pub struct ContainerFigures<'a> {
    /// What the cgroup's files say.
    pub figures: Option<&'a Figures>,
    /// The cgroup's own CPU time, divided exactly.
    pub cpu: Option<CpuSplit>,
    /// Growth of the cgroup's own counter beyond the processes', ns.
    pub unaccounted_ns: Option<i64>,
    /// Run-queue waits of the container's cgroups together.
    pub waits: Option<Box<Histogram>>,
    /// CPUs' worth of time used of late.
    pub cpus: Option<f64>,
    /// What it has written over its image.
    pub layer: Option<LayerFigures>,
    /// Since the container started.
    pub uptime_ns: Option<u64>,
}

/// A container.
pub fn container(container: &Container, more: ContainerFigures<'_>) -> Vec<Point> {
    let mut points = Points::default();
    let sums = &container.sums;
    points
        .seconds(id::CONTAINER_PROCESS_CPU_TIME, 0, sums.run_ns)
        .seconds(id::CONTAINER_RUN_QUEUE_WAIT_TIME, 0, sums.wait_ns)
        .seconds(id::CONTAINER_BLOCKED_TIME, 0, sums.blocked_ns)
        .seconds(id::CONTAINER_RECLAIM_TIME, 0, sums.reclaim_ns)
        .int(id::CONTAINER_RECLAIM_STALLS, 0, sums.reclaims)
        .int(id::CONTAINER_PROCESS_COUNT, 0, container.processes)
        .known_seconds(id::CONTAINER_UPTIME, 0, more.uptime_ns);
    for (scope, kills) in container.oom_kills.iter().enumerate() {
        points.int(id::CONTAINER_OOM_KILLS, scope, *kills);
    }
    // A container's processes do not leave it by an exec: only forks, moves and exits count here.
    let mut lives = container.lives();
    (lives.started_exec, lives.ended_exec) = (0, 0);
    points.lives(id::CONTAINER_PROCESS_STARTED, id::CONTAINER_PROCESS_ENDED, &lives);
    if let Some(cpu) = &more.cpu {
        points.cpu(id::CONTAINER_CPU_TIME, cpu);
    }
    if let Some(ns) = more.unaccounted_ns {
        points.double(id::CONTAINER_CPU_UNACCOUNTED, ns as f64 / 1e9);
    }
    if let Some(cpus) = more.cpus {
        points.double(id::CONTAINER_CPU_USAGE, cpus);
    }
    if let Some(LayerFigures { used, inodes, size }) = more.layer {
        points
            .known(id::CONTAINER_FILESYSTEM_USAGE, 0, used)
            .known(id::CONTAINER_FILESYSTEM_INODES_USED, 0, inodes)
            .known(id::CONTAINER_FILESYSTEM_CAPACITY, 0, size.map(|size| size.capacity()))
            .known(id::CONTAINER_FILESYSTEM_AVAILABLE, 0, size.map(|size| size.available()));
    }
    if let Some(figures) = more.figures {
        container_figures(&mut points, figures);
    }
    if let Some(waits) = more.waits {
        points.push(id::CONTAINER_RUN_QUEUE_WAIT, 0, Value::Histogram(waits));
    }
    points.finish()
}

fn container_figures(points: &mut Points, figures: &Figures) {
    let (cpu, memory, disk) = (&figures.cpu, &figures.memory, &figures.disk);
    points
        .known_seconds(id::CONTAINER_CPU_THROTTLED_TIME, 0, cpu.throttled_ns)
        .known(id::CONTAINER_CPU_THROTTLED_PERIODS, 0, cpu.throttled_periods)
        .known(id::CONTAINER_CPU_PERIODS, 0, cpu.periods)
        .known(id::CONTAINER_MEMORY_USAGE, 0, memory.usage)
        .known(id::CONTAINER_MEMORY_WORKING_SET, 0, memory.working_set)
        .known(id::CONTAINER_MEMORY_RSS, 0, memory.rss)
        .known(id::CONTAINER_MEMORY_CACHE, 0, memory.cache)
        .known(id::CONTAINER_MEMORY_MAPPED, 0, memory.mapped)
        .known(id::CONTAINER_MEMORY_AVAILABLE, 0, available(figures))
        .known(id::CONTAINER_MEMORY_LIMIT, 0, figures.limits.memory)
        .known(id::CONTAINER_MEMORY_PEAK, 0, memory.peak)
        .known(id::CONTAINER_MEMORY_SWAP, 0, memory.swap)
        .known(id::CONTAINER_SWAP_IN, 0, memory.swap_in_pages)
        .known(id::CONTAINER_PAGING_FAULTS, 0, memory.minor_faults)
        .known(id::CONTAINER_PAGING_FAULTS, 1, memory.major_faults)
        .known(id::CONTAINER_DISK_IO, 0, disk.read_bytes)
        .known(id::CONTAINER_DISK_IO, 1, disk.write_bytes)
        .known(id::CONTAINER_DISK_OPERATIONS, 0, disk.read_operations)
        .known(id::CONTAINER_DISK_OPERATIONS, 1, disk.write_operations);
    for (list, bytes) in memory.lists.into_iter().enumerate() {
        points.known(id::CONTAINER_MEMORY_LIST, list, bytes);
    }
    for (direction, count) in memory.charges.into_iter().enumerate() {
        points.known(id::CONTAINER_MEMORY_CHARGES, direction, count);
    }
    if let Some(cpus) = figures.limits.cpu {
        points.double(id::CONTAINER_CPU_LIMIT, cpus);
    }
    pressure(points, id::CONTAINER_PRESSURE_TIME, figures);
}

/// A block device as a container uses it.
pub fn device(device: &DeviceIo) -> Vec<Point> {
    let mut points = Points::default();
    for (kind, bytes) in device.bytes.into_iter().enumerate() {
        points.int(id::CONTAINER_DEVICE_IO, kind, bytes);
    }
    for (kind, count) in device.operations.into_iter().enumerate() {
        points.int(id::CONTAINER_DEVICE_OPERATIONS, kind, count);
    }
    for (kind, bytes) in device.waited_bytes.into_iter().flatten().enumerate() {
        points.int(id::CONTAINER_DEVICE_WAITING, kind, bytes);
    }
    points.finish()
}

/// A pod, from its own cgroup. `cpus`: CPUs' worth of time used of late.
pub fn pod(figures: &Figures, cpus: Option<f64>, uptime_ns: Option<u64>) -> Vec<Point> {
    let mut points = Points::default();
    if let Some(cpus) = cpus {
        points.double(id::POD_CPU_USAGE, cpus);
    }
    let memory = &figures.memory;
    points
        .known_seconds(id::POD_CPU_TIME, 0, figures.cpu.usage_ns)
        .known_seconds(id::POD_CPU_THROTTLED_TIME, 0, figures.cpu.throttled_ns)
        .known(id::POD_MEMORY_USAGE, 0, memory.usage)
        .known(id::POD_MEMORY_WORKING_SET, 0, memory.working_set)
        .known(id::POD_MEMORY_RSS, 0, memory.rss)
        .known(id::POD_MEMORY_AVAILABLE, 0, available(figures))
        .known(id::POD_PAGING_FAULTS, 0, memory.minor_faults)
        .known(id::POD_PAGING_FAULTS, 1, memory.major_faults)
        .known(id::POD_DISK_IO, 0, figures.disk.read_bytes)
        .known(id::POD_DISK_IO, 1, figures.disk.write_bytes)
        .known_seconds(id::POD_UPTIME, 0, uptime_ns);
    pressure(&mut points, id::POD_PRESSURE_TIME, figures);
    points.finish()
}

fn available(figures: &Figures) -> Option<u64> {
    let (limit, used) = figures.limits.memory.zip(figures.memory.working_set)?;
    Some(limit.saturating_sub(used))
}

fn pressure(points: &mut Points, metric: MetricId, figures: &Figures) {
    let all = &figures.pressure;
    for (resource, stall) in [&all.cpu, &all.memory, &all.io].into_iter().enumerate() {
        points.known_seconds(metric, resource * 2, stall.some_ns).known_seconds(
            metric,
            resource * 2 + 1,
            stall.full_ns,
        );
    }
}
