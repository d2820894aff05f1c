//! What every podscope metric is. This table is the only place where a metric's name, unit, instrument and
//! description stand; the command line, Prometheus, OTLP and the reference page derive from it.
//!
//! Names are OpenTelemetry's where a semantic convention exists, `podscope.` where none does.

pub mod attribute;
pub mod prometheus;
pub mod reference;
mod table;

pub use attribute::Attribute;
pub use table::METRICS;
/// One constant per row of [`METRICS`].
pub mod id {
    pub use crate::table::ids::*;
}

/// A row of [`METRICS`], by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricId(pub u16);

impl MetricId {
    /// The row.
    pub fn metric(self) -> &'static Metric {
        &METRICS[usize::from(self.0)]
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// UCUM unit, as OpenTelemetry writes it.
    pub unit: &'static str,
    /// How its points behave.
    pub instrument: Instrument,
    /// Type of its values.
    pub value: ValueType,
    /// What the points belong to: becomes the OTLP resource and the Prometheus labels.
    pub entity: Entity,
    /// Its own attributes; a point has exactly one value of each.
    pub attributes: &'static [&'static Attribute],
    /// Where the figure comes from.
    pub source: Source,
    /// One sentence.
    pub description: &'static str,
}

impl Metric {
    /// How many attribute combinations a point can have (1 without attributes).
    pub fn combinations(&self) -> usize {
        self.attributes.iter().map(|a| a.values.len()).product()
    }

    /// The attribute values of combination `index`: `(key, value)` in the order of [`Metric::attributes`].
    ///
    /// The last attribute varies fastest.
    pub fn combination(&self, index: usize) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let attributes = self.attributes;
        (0..attributes.len()).map(move |at| {
            let below: usize = attributes[at + 1..].iter().map(|a| a.values.len()).product();
            let attribute = attributes[at];
            (attribute.key, attribute.values[index / below % attribute.values.len()])
        })
    }
}

/// How a metric's points behave (OpenTelemetry metrics data model).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// Monotonic cumulative sum.
    Counter,
    /// Cumulative sum that may fall.
    UpDownCounter,
    /// A value that is not summed.
    Gauge,
    /// Exponential histogram of scale 3, cumulative.
    Histogram,
}

/// Type of a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// 64-bit signed.
    Int,
    /// 64-bit floating point.
    Double,
}

/// What a point belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A process, or the remainder of a container's processes (`process.executable.name=_other`).
    Process,
    /// All processes of one executable in one container, living and ended.
    Executable,
    /// A container; also the host's processes outside of pods, as one.
    Container,
    /// A pod.
    Pod,
    /// A virtual machine: all processes of its launcher pod.
    Vm,
    /// A virtual CPU of a virtual machine.
    Vcpu,
    /// A container that ran while a virtual machine's CPUs waited.
    Culprit,
    /// A pod's place in its workload.
    Workload,
    /// The node.
    Node,
    /// A block device of the node.
    Device,
    /// A network interface of the node.
    Interface,
    /// A file system of the node.
    Filesystem,
    /// A network interface of a pod.
    PodInterface,
    /// A volume of a pod.
    Volume,
    /// A block device as a container uses it.
    ContainerDevice,
    /// A GPU of the node.
    Gpu,
    /// An instance that a GPU is divided into.
    GpuInstance,
    /// A GPU as a container uses it.
    ContainerGpu,
    /// A GPU as a process uses it.
    ProcessGpu,
    /// A GPU that is left to virtual machines.
    PassthroughGpu,
    /// The agent itself.
    Agent,
    /// Processes that `--compat kubevirt` was told to track: those of one name in one pod.
    KubevirtProcess,
    /// The agent, standing in for the older tool.
    KubevirtInfo,
}

impl Entity {
    /// Every entity.
    pub const ALL: [Entity; 23] = [
        Entity::Process,
        Entity::Executable,
        Entity::Container,
        Entity::Pod,
        Entity::Vm,
        Entity::Vcpu,
        Entity::Culprit,
        Entity::Workload,
        Entity::Node,
        Entity::Device,
        Entity::Interface,
        Entity::Filesystem,
        Entity::PodInterface,
        Entity::Volume,
        Entity::ContainerDevice,
        Entity::Gpu,
        Entity::GpuInstance,
        Entity::ContainerGpu,
        Entity::ProcessGpu,
        Entity::PassthroughGpu,
        Entity::Agent,
        Entity::KubevirtProcess,
        Entity::KubevirtInfo,
    ];

    /// Its name in the reference.
    pub const fn name(self) -> &'static str {
        match self {
            Entity::Process => "process",
            Entity::Executable => "executable",
            Entity::Container => "container",
            Entity::Pod => "pod",
            Entity::Vm => "vm",
            Entity::Vcpu => "vcpu",
            Entity::Workload => "workload",
            Entity::Node => "node",
            Entity::Device => "device",
            Entity::Interface => "interface",
            Entity::Filesystem => "filesystem",
            Entity::PodInterface => "pod interface",
            Entity::Volume => "volume",
            Entity::ContainerDevice => "container device",
            Entity::Gpu => "gpu",
            Entity::GpuInstance => "gpu instance",
            Entity::ContainerGpu => "container gpu",
            Entity::ProcessGpu => "process gpu",
            Entity::PassthroughGpu => "passthrough gpu",
            Entity::Culprit => "culprit",
            Entity::Agent => "agent",
            Entity::KubevirtProcess => "kubevirt process",
            Entity::KubevirtInfo => "kubevirt info",
        }
    }

    /// The resource attributes that identify it, which are labels in Prometheus; one that does not apply is absent.
    pub const fn labels(self) -> &'static [&'static str] {
        /// Those of a pod, the virtual machine in it, and what follows.
        macro_rules! pod {
            ($($more:literal),*) => {
                &[
                    "k8s.node.name",
                    "k8s.namespace.name",
                    "k8s.pod.name",
                    "k8s.pod.uid",
                    "podscope.vm.name",
                    "podscope.vm.uid",
                    $($more),*
                ]
            };
        }
        /// Those of a container, and what follows.
        macro_rules! container {
            ($($more:literal),*) => { pod!("k8s.container.name", "container.id" $(, $more)*) };
        }
        match self {
            Entity::Agent | Entity::Node => &["k8s.node.name"],
            Entity::Device => &["k8s.node.name", "system.device"],
            Entity::Interface => &["k8s.node.name", "network.interface.name"],
            Entity::Filesystem => &[
                "k8s.node.name",
                "system.device",
                "system.filesystem.type",
                "system.filesystem.mode",
                "system.filesystem.mountpoint",
            ],
            Entity::Pod | Entity::Vm => pod!(),
            Entity::Vcpu => pod!("podscope.vm.vcpu.id"),
            Entity::Culprit => {
                pod!("podscope.culprit.namespace", "podscope.culprit.pod", "podscope.culprit.container")
            }
            Entity::PodInterface => pod!("network.interface.name"),
            Entity::Volume => pod!("k8s.volume.name", "k8s.volume.type"),
            Entity::Workload => &[
                "k8s.node.name",
                "k8s.namespace.name",
                "k8s.pod.name",
                "k8s.pod.uid",
                "podscope.workload.kind",
                "podscope.workload.name",
                "podscope.pod.qos_class",
            ],
            Entity::Container => container!(),
            Entity::ContainerDevice => container!("system.device"),
            Entity::Gpu => &[
                "k8s.node.name",
                "hw.id",
                "hw.model",
                "hw.driver_version",
                "podscope.gpu.index",
                "podscope.pci.address",
            ],
            Entity::GpuInstance => {
                &["k8s.node.name", "hw.id", "hw.parent", "podscope.gpu.instance.id", "podscope.gpu.compute_instance.id"]
            }
            Entity::ContainerGpu => container!("hw.id"),
            Entity::ProcessGpu => container!(
                "podscope.vm.role",
                "process.executable.name",
                "process.pid",
                "hw.id",
                "podscope.gpu.instance.id",
                "podscope.gpu.compute_instance.id"
            ),
            Entity::PassthroughGpu => pod!("podscope.pci.address", "podscope.pci.id"),
            Entity::Executable => container!("podscope.vm.role", "process.executable.name"),
            Entity::Process => container!("podscope.vm.role", "process.executable.name", "process.pid"),
            Entity::KubevirtProcess => &["domain", "host", "process"],
            Entity::KubevirtInfo => &["branch", "goversion", "kubeversion", "revision", "version"],
        }
    }

    /// What it is, in one sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Entity::Process => {
                "A process, or with `process.executable.name=_other` and no `process.pid` the sum of a container's \
                 processes that have no series of their own."
            }
            Entity::Executable => {
                "All processes of one executable in one container, living and ended; `_other` stands for the \
                 executables beyond the bound."
            }
            Entity::Container => "A container; the host's processes outside of pods count as one without names.",
            Entity::Pod => "A pod, by its own cgroup.",
            Entity::Vm => {
                "A KubeVirt virtual machine: all processes of its launcher pod, living and ended, by what they are there \
                 for."
            }
            Entity::Vcpu => "A virtual CPU: a thread of the emulator.",
            Entity::Culprit => {
                "A container that ran on a CPU for which one of a virtual machine's CPUs waited; the host's processes \
                 are `_host`, containers beyond the bound `_other`. `_unknown`: the CPU was idle or waking up, the \
                 machine's own limit held it back, or it slept before and nobody knows who ran."
            }
            Entity::Workload => {
                "A pod's place in its workload, by the Kubernetes API: other series of the pod are joined with it by \
                 `k8s_pod_uid`."
            }
            Entity::Device => {
                "A block device of the node; partitions, RAM disks and read-only loop devices are left out."
            }
            Entity::Interface => {
                "A network interface of the node's own network namespace; the ends of pods' cables are left out."
            }
            Entity::Filesystem => {
                "A local file system of the node, under the place where it is mounted first; those of the network and \
                 those without a disk are left out."
            }
            Entity::PodInterface => {
                "A network interface of a pod's own network namespace; pods of the host's network have none, and `lo` \
                 is left out."
            }
            Entity::Volume => "A volume of a pod that is a file system of its own.",
            Entity::ContainerDevice => "A block device as a container uses it, by the container's cgroup.",
            Entity::Gpu => {
                "A GPU of the node, by NVML; `hw_id` is its UUID. Needs podscope-gpu beside the agent. A figure that a \
                 GPU does not support is absent."
            }
            Entity::GpuInstance => {
                "An instance of a GPU (MIG); `hw_parent` is the GPU's UUID. The numbers are known while it has \
                 processes."
            }
            Entity::ContainerGpu => {
                "A GPU as the processes of a container use it, also as its pod's and virtual machine's by their labels; \
                 `hw_id` is its UUID."
            }
            Entity::ProcessGpu => "A GPU, or an instance of one, as a process uses it; `hw_id` is the GPU's UUID.",
            Entity::PassthroughGpu => {
                "A GPU that the kernel has handed over to virtual machines (vfio-pci), so that the node has no figures \
                 of it; with the virtual machine whose emulator's arguments name it."
            }
            Entity::Node => "The node: its kernel's own sums over everything that runs on it.",
            Entity::Agent => "The agent itself.",
            Entity::KubevirtProcess => {
                "Only with `--compat kubevirt`, on the address of its configuration: the tracked processes of one name \
                 in one pod, under the names and labels of kubevirt-metrics-collector."
            }
            Entity::KubevirtInfo => "Only with `--compat kubevirt`: what stands in for kubevirt-metrics-collector.",
        }
    }
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel's own per-task counters, read by the task iterator and at the last switch-out.
    Task,
    /// A kernel program of ours that traces what the kernel does not count.
    Traced,
    /// The books: closed tasks plus living ones, per executable and cgroup.
    Books,
    /// A process's address space, read by the task iterator.
    Memory,
    /// /proc of an exported process.
    Proc,
    /// The cgroup's own files; such a counter started with the cgroup, not with the agent.
    Cgroup,
    /// The kernel's files on the whole node or on a network namespace, such as /proc/stat; such a counter started with
    /// the kernel or the namespace, not with the agent.
    Kernel,
    /// The container runtime.
    Runtime,
    /// Objects of the Kubernetes API.
    Api,
    /// The kubelet's `/metrics/resource`, or metrics.k8s.io, which serves the same.
    MetricsServer,
    /// NVIDIA's management library, read by podscope-gpu; such a counter started with the driver, not with the agent.
    Nvml,
    /// The agent's own bookkeeping.
    Agent,
}

impl Instrument {
    /// Its name in the reference, as OpenTelemetry writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Instrument::Counter => "counter",
            Instrument::UpDownCounter => "updowncounter",
            Instrument::Gauge => "gauge",
            Instrument::Histogram => "histogram",
        }
    }
}

impl ValueType {
    /// Its name in the reference, as OpenTelemetry writes it.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::Int => "int",
            ValueType::Double => "double",
        }
    }
}

impl Source {
    /// Its name in the reference.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Task => "task counters",
            Source::Traced => "traced",
            Source::Books => "books",
            Source::Memory => "address space",
            Source::Proc => "/proc",
            Source::Cgroup => "cgroup files",
            Source::Kernel => "kernel files",
            Source::Runtime => "container runtime",
            Source::Api => "Kubernetes API",
            Source::MetricsServer => "kubelet or metrics.k8s.io",
            Source::Nvml => "NVML",
            Source::Agent => "agent",
        }
    }
}
