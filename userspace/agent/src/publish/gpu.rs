//! Resources of GPUs, of the processes and containers that use them, and of those that are left to virtual machines.

use std::sync::Arc;

use foldhash::HashMap;
use podscope_catalog::{Entity, id};

use super::identity::{exe_name, identify, identify_launcher};
use super::{Names, Publisher, Subject};
use crate::accounting::points::Points;
use crate::accounting::{Accounting, ContainerKey, Moment};
use crate::attribution::{Attribution, Identity};
use crate::gpu::points::{self, Sum};
use crate::gpu::{Device, Gpus, Instance, PciDevice, Use, View};
use crate::node::Part;
use crate::snapshot::{Attributes, Point, Resource, ResourceAttribute};
use crate::vm::{Machine, Machines};

impl Publisher {
    /// To be called before [`Publisher::resources`], which forgets the attributes of what is no longer published.
    pub fn gpus(
        &mut self,
        gpus: &mut Gpus,
        accounting: &Accounting,
        attribution: &Attribution,
        names: &Names,
        machines: &Machines,
        now: &Moment,
    ) -> Vec<Resource> {
        let (view, since_ns) = (gpus.view(), gpus.since_ns());
        let mut resources = Vec::new();
        for (device, start_ns) in view.node.devices.iter().zip(gpus.starts(now)) {
            resources.push(self.gpu(&view, device, start_ns, now));
            for instance in &device.instances {
                resources.push(self.gpu_instance(device, instance, since_ns, now));
            }
        }
        let mut sums: HashMap<(&ContainerKey, &str), Sum> = HashMap::default();
        let uses = gpus.uses(&view, accounting);
        for found in uses.iter().filter(|found| !matches!(attribution.identity(found.container), Identity::Waiting)) {
            sums.entry((found.container, &found.device.uuid)).or_default().add(found.process);
            resources.push(self.process_gpu(found, attribution, names, machines, since_ns, now));
        }
        for ((container, uuid), sum) in sums {
            resources.push(self.container_gpu(container, uuid, sum, attribution, since_ns, now));
        }
        for device in &gpus.passthrough.devices {
            resources.push(self.passthrough(device, machines, since_ns, now));
        }
        resources
    }

    fn gpu(&mut self, view: &View, device: &Device, start_ns: u64, now: &Moment) -> Resource {
        let Device { uuid, index, name, pci, .. } = device;
        let name = format!("{uuid}/{index}/{name:?}/{pci:?}/{:?}", view.node.driver).into();
        let part = Part { name, start_ns, points: points::device(device) };
        self.part(Entity::Gpu, part, now, |list| {
            list.push(ResourceAttribute::label("hw.id", device.uuid.as_str()));
            for (key, value) in [
                ("hw.model", &device.name),
                ("hw.driver_version", &view.node.driver),
                ("podscope.pci.address", &device.pci),
            ] {
                list.extend(value.as_deref().map(|value| ResourceAttribute::label(key, value)));
            }
            list.push(ResourceAttribute::label_int("podscope.gpu.index", i64::from(device.index)));
        })
    }

    fn gpu_instance(&mut self, device: &Device, instance: &Instance, since_ns: u64, now: &Moment) -> Resource {
        let numbers = [instance.gpu_instance, instance.compute_instance];
        let name = format!("{}/{}/{numbers:?}", device.uuid, instance.uuid).into();
        let part = Part { name, start_ns: since_ns, points: points::instance(instance) };
        self.part(Entity::GpuInstance, part, now, |list| {
            list.push(ResourceAttribute::label("hw.id", instance.uuid.as_str()));
            list.push(ResourceAttribute::label("hw.parent", device.uuid.as_str()));
            list.extend(numbered(numbers));
        })
    }

    fn process_gpu(
        &mut self,
        found: &Use<'_>,
        attribution: &Attribution,
        names: &Names,
        machines: &Machines,
        since_ns: u64,
        now: &Moment,
    ) -> Resource {
        let Use { key, exe, container, device, process } = *found;
        let numbers = [process.gpu_instance, process.compute_instance];
        let of = format!("{}/{numbers:?}", device.uuid).into();
        let attributes = self.attributes_of(Subject::ProcessGpu(key, container.clone(), exe, of), now, |list| {
            identify(attribution.identity(container), list);
            if let Some(role) = machines.role(container, exe) {
                list.push(ResourceAttribute::label("podscope.vm.role", role.name()));
            }
            list.push(ResourceAttribute::label("process.executable.name", exe_name(names, exe)));
            list.push(ResourceAttribute::label_int("process.pid", i64::from(key.tgid)));
            list.push(ResourceAttribute::label("hw.id", device.uuid.as_str()));
            list.extend(numbered(numbers));
        });
        resource(Entity::ProcessGpu, attributes, since_ns, points::process(process))
    }

    fn container_gpu(
        &mut self,
        container: &ContainerKey,
        uuid: &str,
        sum: Sum,
        attribution: &Attribution,
        since_ns: u64,
        now: &Moment,
    ) -> Resource {
        let attributes = self.attributes_of(Subject::ContainerGpu(container.clone(), uuid.into()), now, |list| {
            identify(attribution.identity(container), list);
            list.push(ResourceAttribute::label("hw.id", uuid));
        });
        resource(Entity::ContainerGpu, attributes, since_ns, sum.points())
    }

    fn passthrough(&mut self, device: &PciDevice, machines: &Machines, since_ns: u64, now: &Moment) -> Resource {
        let machine = machines.all().find(|(_, machine)| uses(machine, &device.address));
        let of_machine = machine.map(|(key, machine)| format!("{key}/{}", machine.vm.name));
        let name = format!("{}/{}", device.address, of_machine.unwrap_or_default()).into();
        let mut points = Points::default();
        points.int(id::GPU_PASSTHROUGH, 0, 1);
        let part = Part { name, start_ns: since_ns, points: points.finish() };
        self.part(Entity::PassthroughGpu, part, now, |list| {
            if let Some((key, machine)) = machine {
                identify_launcher(key, machine, list);
            }
            list.push(ResourceAttribute::label("podscope.pci.address", device.address.as_str()));
            list.push(ResourceAttribute::label("podscope.pci.id", device.id.as_str()));
        })
    }
}

fn uses(machine: &Machine, address: &str) -> bool {
    machine.emulator.as_ref().is_some_and(|guest| guest.devices.iter().any(|device| device == address))
}

/// The numbers of an instance and of the compute instance in it.
fn numbered(numbers: [Option<u32>; 2]) -> impl Iterator<Item = ResourceAttribute> {
    let keys = ["podscope.gpu.instance.id", "podscope.gpu.compute_instance.id"];
    let label = |(key, number): (_, Option<u32>)| Some(ResourceAttribute::label_int(key, i64::from(number?)));
    keys.into_iter().zip(numbers).filter_map(label)
}

fn resource(entity: Entity, attributes: Arc<Attributes>, start_ns: u64, points: Vec<Point>) -> Resource {
    Resource { entity, attributes, start_ns, kernel_start_ns: start_ns, ended: false, points }
}
