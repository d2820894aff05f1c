//! Entry for fuzzing.

use podscope_gpu_document::{MOST_DEVICES, MOST_PROCESSES};

use super::{clean, client, points};

/// Any bytes are an answer of podscope-gpu.
pub fn gpu_answer(data: &[u8]) {
    let Ok(answer) = client::read(data) else { return };
    let (node, _) = clean::node(answer);
    let processes: usize = node.devices.iter().map(|device| device.processes.len()).sum();
    assert!(node.devices.len() <= MOST_DEVICES && processes <= MOST_PROCESSES);
    for device in &node.devices {
        let texts = [Some(&device.uuid), device.name.as_ref(), device.pci.as_ref()];
        assert!(texts.into_iter().flatten().all(|text| !text.contains(char::is_control)), "{device:?}");
        points::device(device);
        device.processes.iter().for_each(|process| drop(points::process(process)));
    }
}
