use super::*;

/// Made after NVML's documentation: see testdata/README.md.
fn raw() -> Raw {
    serde_json::from_str(include_str!("../../testdata/raw.json")).unwrap()
}

#[test]
fn a_device_has_what_it_supports() {
    let node = sift(raw());
    assert_eq!(node.driver.as_deref(), Some("550.54.15"));
    let [plain, divided] = &node.devices[..] else { panic!("{} devices", node.devices.len()) };
    assert_eq!((plain.index, plain.pci.as_deref()), (0, Some("0000:3b:00.0")));
    assert_eq!(plain.utilization, Some(Utilization { gpu: 87, memory: 41 }));
    assert_eq!((plain.power_mw, plain.energy_mj, plain.temperature_c), (Some(61_532), Some(987_654_321), Some(63)));
    assert_eq!((plain.mig, plain.faults.len()), (None, 0), "what is not supported is no fault");
    assert_eq!((divided.mig, divided.utilization, divided.energy_mj), (Some(true), None, None));
    assert_eq!(divided.faults, ["energy: an internal driver error occurred"]);
    assert_eq!(node.faults, ["GPU 2: device fell off the bus or has otherwise become inacessible"]);
}

#[test]
fn a_process_of_several_lists_is_one() {
    let process = |pid, compute, graphics, memory, gpu| Process {
        pid,
        compute,
        graphics,
        memory,
        utilization: Some(gpu).map(|(gpu, memory)| Utilization { gpu, memory }),
        ..Process::default()
    };
    let expected = [
        // Of its two samples the newer one.
        process(4001, true, false, Some(2 << 30), (80, 40)),
        process(4002, true, true, Some(2 << 20), (0, 0)),
        // Its sample says more than all of the time, which is nothing.
        process(4003, true, false, None, (0, 0)),
    ];
    assert_eq!(sift(raw()).devices[0].processes, expected);
}

#[test]
fn instances_have_their_numbers_and_processes_theirs() {
    let divided = &sift(raw()).devices[1];
    let numbers: Vec<_> = divided.instances.iter().map(|i| (i.gpu_instance, i.compute_instance)).collect();
    assert_eq!(numbers, [(Some(2), Some(0)), (Some(7), Some(1))], "by a process, by the older form of the UUID");
    assert_eq!(divided.instances[0].memory.map(|memory| memory.used), Some(1 << 30));
    assert_eq!(divided.instances[1].memory, None);
    let processes: Vec<_> =
        divided.processes.iter().map(|p| (p.pid, p.gpu_instance, p.memory, p.utilization)).collect();
    assert_eq!(processes, [(5001, Some(2), Some(1_000_000), None), (5001, Some(7), Some(3_000_000), None)]);
}

#[test]
fn an_instances_process_without_numbers_is_not_counted_again() {
    let mut raw = raw();
    let Ok(divided) = &mut raw.devices[1] else { panic!("no device") };
    if let Ok(list) = &mut divided.processes.compute {
        list.iter_mut().for_each(|process| process.gpu_instance = None);
        list.truncate(1);
    }
    let processes = &sift(raw).devices[1].processes;
    assert_eq!(processes.iter().map(|p| p.gpu_instance).collect::<Vec<_>>(), [Some(2)]);
}

#[test]
fn everything_has_a_bound_and_fits_into_a_document() {
    use crate::document::{Answer, Document, MOST_BYTES};

    let mut raw = raw();
    let Ok(device) = &raw.devices[0] else { panic!("no device") };
    let (mut device, process) = (device.clone(), device.processes.compute.as_ref().unwrap()[0]);
    let long = "\u{1}ä\"".repeat(500);
    device.uuid = Ok(long.clone());
    device.name = Ok(long.clone());
    device.processes.compute = Ok((1..1000).map(|pid| RawProcess { pid, memory: Some(u64::MAX), ..process }).collect());
    let fault = || Err(Fault::Failed(long.clone()));
    (device.power_mw, device.temperature_c, device.mig) = (fault().map(|(): ()| 0), fault().map(|(): ()| 0), Ok(true));
    let memory = Ok(RawMemory { total: u64::MAX, used: u64::MAX, free: u64::MAX });
    let nothing = RawProcesses { compute: Err(Fault::NotSupported), graphics: Err(Fault::NotSupported) };
    device.instances = vec![RawInstance { uuid: Ok(long.clone()), memory, processes: nothing }; 100];
    raw.devices = vec![Ok(device); 100];
    raw.devices.insert(0, Err(Fault::Failed(long)));

    let node = sift(raw);
    assert_eq!(node.devices.len(), MOST_DEVICES - 1);
    assert_eq!(node.devices[0].instances.len(), MOST_INSTANCES);
    let processes: usize = node.devices.iter().map(|device| device.processes.len()).sum();
    assert_eq!((processes, node.left_out), (MOST_PROCESSES, 63 * 1000 - MOST_PROCESSES as u64));
    assert!(node.devices.iter().all(|device| device.uuid.len() <= MOST_TEXT && device.faults.len() <= MOST_FAULTS));
    let bytes = Document::of(Answer::Node(node)).to_json().unwrap();
    assert!(bytes.len() < MOST_BYTES, "{} bytes", bytes.len());
}
