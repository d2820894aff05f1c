//! Figures of GPUs as points.

use podscope_catalog::id;
use podscope_gpu_document::{Device, Instance, Process};

use crate::accounting::points::Points;
use crate::snapshot::Point;

/// A GPU's.
pub(crate) fn device(device: &Device) -> Vec<Point> {
    let mut points = Points::default();
    if let Some(utilization) = device.utilization {
        points.double(id::GPU_UTILIZATION, ratio(utilization.gpu));
        points.double(id::GPU_MEMORY_BUSY, ratio(utilization.memory));
    }
    let memory = device.memory.as_ref();
    points
        .known(id::GPU_MEMORY_USAGE, 0, memory.map(|memory| memory.used))
        .known(id::GPU_MEMORY_LIMIT, 0, memory.map(|memory| memory.total))
        .known(id::GPU_MEMORY_FREE, 0, memory.map(|memory| memory.free));
    if let Some(power) = device.power_mw {
        points.double(id::GPU_POWER, power as f64 / 1e3);
    }
    if let Some(energy) = device.energy_mj {
        points.double(id::GPU_ENERGY, energy as f64 / 1e3);
    }
    if let Some(temperature) = device.temperature_c {
        points.double(id::GPU_TEMPERATURE, f64::from(temperature));
    }
    points.known(id::GPU_MIG, 0, device.mig.map(u64::from));
    let mut contexts = [0; 3];
    device.processes.iter().for_each(|process| contexts[context(process)] += 1);
    for (context, count) in contexts.into_iter().enumerate() {
        points.int(id::GPU_PROCESS_COUNT, context, count);
    }
    points.finish()
}

/// An instance's.
pub(crate) fn instance(instance: &Instance) -> Vec<Point> {
    let mut points = Points::default();
    points.known(id::GPU_INSTANCE_MEMORY_USAGE, 0, instance.memory.map(|memory| memory.used)).known(
        id::GPU_INSTANCE_MEMORY_LIMIT,
        0,
        instance.memory.map(|memory| memory.total),
    );
    points.finish()
}

/// A process's.
pub(crate) fn process(process: &Process) -> Vec<Point> {
    let mut points = Points::default();
    points.known(id::PROCESS_GPU_MEMORY_USAGE, context(process), process.memory);
    if let Some(utilization) = process.utilization {
        points.double(id::PROCESS_GPU_UTILIZATION, ratio(utilization.gpu));
        points.double(id::PROCESS_GPU_MEMORY_BUSY, ratio(utilization.memory));
    }
    points.finish()
}

/// What the processes of a container use of a GPU, all together. What none of them tells is absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    processes: u64,
    memory: Option<u64>,
    percent: Option<u32>,
}

impl Sum {
    /// Adds a process.
    pub(crate) fn add(&mut self, process: &Process) {
        self.processes += 1;
        if let Some(memory) = process.memory {
            self.memory = Some(self.memory.unwrap_or(0).saturating_add(memory));
        }
        if let Some(utilization) = process.utilization {
            self.percent = Some(self.percent.unwrap_or(0).saturating_add(utilization.gpu));
        }
    }

    /// A container's.
    pub(crate) fn points(self) -> Vec<Point> {
        let mut points = Points::default();
        points.known(id::CONTAINER_GPU_MEMORY_USAGE, 0, self.memory);
        if let Some(percent) = self.percent {
            points.double(id::CONTAINER_GPU_UTILIZATION, ratio(percent));
        }
        points.int(id::CONTAINER_GPU_PROCESS_COUNT, 0, self.processes);
        points.finish()
    }
}

/// In the order of the attribute `podscope.gpu.context`.
fn context(process: &Process) -> usize {
    match (process.compute, process.graphics) {
        (_, false) => 0,
        (false, true) => 1,
        (true, true) => 2,
    }
}

fn ratio(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}
