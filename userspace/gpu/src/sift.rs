//! What NVML said becomes the document.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{
    Device, Instance, MOST_DEVICES, MOST_FAULTS, MOST_INSTANCES, MOST_PROCESSES, MOST_TEXT, Memory, Node, Process,
    Utilization, pci_address,
};
use crate::raw::{Fault, Raw, RawDevice, RawInstance, RawMemory, RawProcess, RawProcesses, RawSample};

/// Percent of time cannot be more; where NVML says so, it has said nothing.
const WHOLE: u32 = 100;

/// A process on a device: id, GPU instance, compute instance.
type Key = (u32, Option<u32>, Option<u32>);

/// Takes what can be said.
pub fn sift(raw: Raw) -> Node {
    let mut node = Node { driver: raw.driver.ok().map(text), ..Node::default() };
    let mut room = MOST_PROCESSES;
    for (index, said) in (0..).zip(raw.devices).take(MOST_DEVICES) {
        match said.and_then(|raw| Ok((raw.uuid.clone()?, raw))) {
            Ok((uuid, raw)) => {
                let mut device = device(index, text(uuid), raw);
                node.left_out += device.processes.len().saturating_sub(room) as u64;
                device.processes.truncate(room);
                room -= device.processes.len();
                node.devices.push(device);
            }
            Err(fault) if node.faults.len() < MOST_FAULTS => {
                node.faults.push(text(format!("GPU {index}: {}", words(&fault))));
            }
            Err(_) => {}
        }
    }
    node
}

fn device(index: u32, uuid: String, raw: RawDevice) -> Device {
    let mut faults = Faults::default();
    let sampled = faults.take("process utilization", raw.samples.clone());
    let mut processes = BTreeMap::new();
    let mut instances = Vec::new();
    for raw in raw.instances.into_iter().take(MOST_INSTANCES) {
        take_processes(&mut processes, &raw.processes, &mut faults);
        instances.extend(instance(raw, &mut faults));
    }
    take_processes(&mut processes, &raw.processes, &mut faults);
    let newest = sampled.as_deref().map(newest);
    for (&(pid, ..), process) in &mut processes {
        process.utilization = newest.as_ref().map(|newest| newest.get(&pid).copied().unwrap_or_default());
    }
    Device {
        index,
        uuid,
        name: faults.take("name", raw.name).map(text),
        pci: faults.take("PCI address", raw.bus_id).and_then(|bus_id| pci_address(&bus_id)),
        utilization: faults.take("utilization", raw.utilization).and_then(percent),
        memory: faults.take("memory", raw.memory).map(memory),
        power_mw: faults.take("power", raw.power_mw).map(u64::from),
        energy_mj: faults.take("energy", raw.energy_mj),
        temperature_c: faults.take("temperature", raw.temperature_c),
        mig: faults.take("MIG mode", raw.mig),
        instances,
        processes: processes.into_values().collect(),
        faults: faults.0.into_iter().take(MOST_FAULTS).collect(),
    }
}

fn instance(raw: RawInstance, faults: &mut Faults) -> Option<Instance> {
    let uuid = text(faults.take("UUID of an instance", raw.uuid)?);
    let mut lists = [&raw.processes.compute, &raw.processes.graphics].into_iter().flatten().flatten();
    let of_process = lists.find_map(|process| process.gpu_instance.zip(process.compute_instance));
    let numbers = of_process.or_else(|| numbers(&uuid)).unzip();
    let memory = faults.take("memory of an instance", raw.memory).map(memory);
    Some(Instance { gpu_instance: numbers.0, compute_instance: numbers.1, memory, uuid })
}

/// The numbers in the form that UUIDs of instances had before driver 470: `MIG-GPU-<uuid>/<GPU instance>/<compute
/// instance>`.
fn numbers(uuid: &str) -> Option<(u32, u32)> {
    let mut parts = uuid.strip_prefix("MIG-GPU-")?.rsplit('/');
    let compute = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, compute))
}

/// A process that is named in several lists is one, with the most that is said of its memory.
fn take_processes(to: &mut BTreeMap<Key, Process>, raw: &RawProcesses, faults: &mut Faults) {
    let lists = [("compute processes", &raw.compute, false), ("graphics processes", &raw.graphics, true)];
    for (what, list, graphics) in lists {
        for raw in faults.take(what, list.as_ref()).into_iter().flatten() {
            let RawProcess { pid, memory, gpu_instance, compute_instance } = *raw;
            let own = (pid, gpu_instance, compute_instance);
            // A list that names no instance means the one that is known.
            let known = to.range((pid, None, None)..).next().map(|(key, _)| *key).filter(|key| key.0 == pid);
            let key = if gpu_instance.is_none() { known.unwrap_or(own) } else { own };
            let process =
                to.entry(key).or_insert_with(|| Process { pid, gpu_instance, compute_instance, ..Process::default() });
            process.compute |= !graphics;
            process.graphics |= graphics;
            process.memory = process.memory.max(memory);
        }
    }
}

/// The newest sample of each process.
fn newest(samples: &[RawSample]) -> BTreeMap<u32, Utilization> {
    let mut newest: BTreeMap<u32, (u64, Utilization)> = BTreeMap::new();
    for sample in samples {
        let Some(utilization) = percent((sample.sm, sample.memory)) else { continue };
        let known = newest.entry(sample.pid).or_insert((sample.time_us, utilization));
        if known.0 <= sample.time_us {
            *known = (sample.time_us, utilization);
        }
    }
    newest.into_iter().map(|(pid, (_, utilization))| (pid, utilization)).collect()
}

fn percent((gpu, memory): (u32, u32)) -> Option<Utilization> {
    (gpu <= WHOLE && memory <= WHOLE).then_some(Utilization { gpu, memory })
}

const fn memory(raw: RawMemory) -> Memory {
    Memory { total: raw.total, used: raw.used, free: raw.free }
}

/// What could not be read although it is supported.
#[derive(Default)]
struct Faults(BTreeSet<String>);

impl Faults {
    /// The figure; what is not supported is nothing to speak of.
    fn take<T, E: std::borrow::Borrow<Fault>>(&mut self, what: &str, said: Result<T, E>) -> Option<T> {
        said.map_err(|fault| {
            if *fault.borrow() != Fault::NotSupported {
                self.0.insert(text(format!("{what}: {}", words(fault.borrow()))));
            }
        })
        .ok()
    }
}

fn words(fault: &Fault) -> &str {
    match fault {
        Fault::NotSupported => "not supported",
        Fault::Failed(reason) => reason,
    }
}

/// The beginning of a text, without control characters, which are six bytes each in JSON.
fn text(text: String) -> String {
    let text = text.replace(char::is_control, " ");
    text[..text.floor_char_boundary(MOST_TEXT)].to_owned()
}

#[cfg(test)]
mod tests;
