//! NVML itself, loaded at run time.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::{MemoryInfo, ProcessInfo};
use podscope_gpu::document::{MOST_DEVICES, MOST_INSTANCES};
use podscope_gpu::raw::{
    Fault, Raw, RawDevice, RawInstance, RawMemory, RawProcess, RawProcesses, RawSample, Said, Source,
};

/// A process that has not used the device for so long is idle. NVML takes a sample up to every second.
const SAMPLES: Duration = Duration::from_secs(5);

/// The library, loaded when it is first asked, and again after it has failed.
pub(crate) struct Library {
    path: PathBuf,
    loaded: Option<Nvml>,
}

impl Library {
    /// `path`: a path, or a name as the loader looks for it.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), loaded: None }
    }
}

impl Source for Library {
    fn read(&mut self) -> Result<Raw, String> {
        let nvml = match self.loaded.take() {
            Some(nvml) => nvml,
            None => Nvml::builder()
                .lib_path(self.path.as_os_str())
                .init()
                .map_err(|error| format!("loading {}: {error}; is the driver installed here?", self.path.display()))?,
        };
        // Where this fails, so would everything else until the library is loaded anew.
        let count = nvml.device_count().map_err(|error| format!("counting devices: {error}"))?;
        let devices =
            (0..count).take(MOST_DEVICES).map(|index| Ok(device(&nvml.device_by_index(index).map_err(fault)?)));
        let raw = Raw { driver: nvml.sys_driver_version().map_err(fault), devices: devices.collect() };
        self.loaded = Some(nvml);
        Ok(raw)
    }
}

fn device(device: &nvml_wrapper::Device<'_>) -> RawDevice {
    let mig = device.mig_mode().map(|mode| mode.current != 0).map_err(fault);
    let most = if mig == Ok(true) { device.mig_device_count().unwrap_or(0) } else { 0 };
    // Numbers that no instance has are among them.
    let handles = (0..most).filter_map(|index| device.mig_device_by_index(index).ok());
    RawDevice {
        uuid: device.uuid().map_err(fault),
        name: device.name().map_err(fault),
        bus_id: device.pci_info().map(|pci| pci.bus_id).map_err(fault),
        utilization: device.utilization_rates().map(|rates| (rates.gpu, rates.memory)).map_err(fault),
        memory: device.memory_info().map(memory).map_err(fault),
        power_mw: device.power_usage().map_err(fault),
        energy_mj: device.total_energy_consumption().map_err(fault),
        temperature_c: device.temperature(TemperatureSensor::Gpu).map_err(fault),
        instances: handles.take(MOST_INSTANCES).map(|handle| instance(&handle)).collect(),
        mig,
        processes: processes(device),
        samples: samples(device),
    }
}

fn instance(device: &nvml_wrapper::Device<'_>) -> RawInstance {
    RawInstance {
        uuid: device.uuid().map_err(fault),
        memory: device.memory_info().map(memory).map_err(fault),
        processes: processes(device),
    }
}

fn processes(device: &nvml_wrapper::Device<'_>) -> RawProcesses {
    let list = |said: Result<Vec<ProcessInfo>, NvmlError>| {
        said.map(|list| list.into_iter().map(process).collect()).map_err(fault)
    };
    RawProcesses {
        compute: list(device.running_compute_processes()),
        graphics: list(device.running_graphics_processes()),
    }
}

fn process(info: ProcessInfo) -> RawProcess {
    let memory = match info.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    let ProcessInfo { pid, gpu_instance_id, compute_instance_id, .. } = info;
    RawProcess { pid, memory, gpu_instance: gpu_instance_id, compute_instance: compute_instance_id }
}

fn samples(device: &nvml_wrapper::Device<'_>) -> Said<Vec<RawSample>> {
    // NVML's clock of samples is that of the day.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = now.saturating_sub(SAMPLES).as_micros() as u64;
    match device.process_utilization_stats(since) {
        Ok(samples) => Ok(samples
            .into_iter()
            .map(|sample| RawSample {
                pid: sample.pid,
                time_us: sample.timestamp,
                sm: sample.sm_util,
                memory: sample.mem_util,
            })
            .collect()),
        Err(NvmlError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(fault(error)),
    }
}

fn memory(info: MemoryInfo) -> RawMemory {
    RawMemory { total: info.total, used: info.used, free: info.free }
}

/// An older library that lacks a function supports as little as a device that cannot do it.
fn fault(error: NvmlError) -> Fault {
    match error {
        NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_) => Fault::NotSupported,
        error => Fault::Failed(error.to_string()),
    }
}
