//! What podscope-gpu answers, within the bounds that it should have kept, and with harmless texts: it has them from
//! NVML, and the socket may be somebody else's.

use foldhash::{HashSet, HashSetExt};
use podscope_gpu_document::{
    Device, MOST_DEVICES, MOST_FAULTS, MOST_INSTANCES, MOST_PROCESSES, MOST_TEXT, Node, Utilization, pci_address,
};

use crate::text::visible;

/// The same, and how many devices, instances and processes were left out.
pub(super) fn node(node: Node) -> (Node, u64) {
    let mut left_out = node.left_out;
    // A series stands once, whoever names it twice.
    let mut uuids = HashSet::new();
    let mut devices = within(node.devices, MOST_DEVICES, &mut left_out, |device| uuids.insert(device.uuid.clone()));
    let mut room = MOST_PROCESSES;
    for device in &mut devices {
        clean(device, &mut room, &mut left_out);
    }
    (Node { driver: node.driver.map(text), devices, left_out: 0, faults: faults(node.faults) }, left_out)
}

fn clean(device: &mut Device, room: &mut usize, left_out: &mut u64) {
    let Device { uuid, name, pci, utilization, instances, processes, faults: said, .. } = device;
    *uuid = text(std::mem::take(uuid));
    *name = name.take().map(text);
    *pci = pci.as_deref().and_then(pci_address);
    *utilization = utilization.filter(is_percent);
    let mut uuids = HashSet::new();
    *instances = within(std::mem::take(instances), MOST_INSTANCES, left_out, |one| uuids.insert(one.uuid.clone()));
    for instance in instances {
        instance.uuid = text(std::mem::take(&mut instance.uuid));
    }
    let mut known = HashSet::new();
    *processes = within(std::mem::take(processes), *room, left_out, |process| {
        known.insert((process.pid, process.gpu_instance, process.compute_instance))
    });
    *room -= processes.len();
    for process in processes {
        process.utilization = process.utilization.filter(is_percent);
    }
    *said = faults(std::mem::take(said));
}

/// The first of those that are wanted.
fn within<T>(list: Vec<T>, most: usize, left_out: &mut u64, wanted: impl FnMut(&T) -> bool) -> Vec<T> {
    let before = list.len();
    let kept: Vec<T> = list.into_iter().filter(wanted).take(most).collect();
    *left_out += (before - kept.len()) as u64;
    kept
}

fn faults(list: Vec<String>) -> Vec<String> {
    list.into_iter().take(MOST_FAULTS).map(text).collect()
}

/// The beginning of a text, with what cannot be shown written out.
fn text(text: String) -> String {
    visible(&text.as_bytes()[..text.floor_char_boundary(MOST_TEXT)])
}

const fn is_percent(utilization: &Utilization) -> bool {
    utilization.gpu <= 100 && utilization.memory <= 100
}

#[cfg(test)]
mod tests {
    use podscope_gpu_document::{Instance, Process};

    use super::*;

    #[test]
    fn nobody_can_forge_a_series_or_fill_the_memory() {
        let instance = |uuid: &str| Instance { uuid: uuid.to_owned(), ..Instance::default() };
        let process = |pid| Process {
            pid,
            utilization: Some(Utilization { gpu: 4_294_967_295, memory: 0 }),
            ..Process::default()
        };
        let device = Device {
            uuid: "GPU\n-1\u{202e}".to_owned(),
            name: Some("x".repeat(1000)),
            pci: Some("\"} 1".to_owned()),
            instances: vec![instance("MIG-1"), instance("MIG-1"), instance("MIG-2")],
            processes: vec![process(1), process(1), process(2)],
            faults: vec!["\x1b[2J".to_owned(); 100],
            ..Device::default()
        };
        let other = Device { uuid: "GPU-2".to_owned(), processes: (0..5000).map(process).collect(), ..device.clone() };
        let (node, left_out) =
            node(Node { devices: vec![device.clone(), device, other], left_out: 7, ..Node::default() });
        let [first, second] = &node.devices[..] else { panic!("{} devices", node.devices.len()) };
        assert_eq!(first.uuid, r"GPU\x0a-1\u{202e}");
        assert_eq!((first.name.as_ref().map(String::len), first.pci.as_ref()), (Some(MOST_TEXT), None));
        assert_eq!((first.instances.len(), first.processes.len()), (2, 2));
        assert_eq!(first.processes[0].utilization, None);
        assert_eq!((first.faults.len(), first.faults[0].as_str()), (MOST_FAULTS, r"\x1b[2J"));
        assert_eq!(second.processes.len(), MOST_PROCESSES - 2);
        // A device, an instance and a process of the first, an instance of the second and its processes.
        assert_eq!(left_out, 7 + 1 + 1 + 1 + 1 + 5000 - (MOST_PROCESSES as u64 - 2));
    }
}
