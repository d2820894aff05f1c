//! What NVML said, call by call, as plain data.

use serde::{Deserialize, Serialize};

/// What stands between the helper and NVML; a recorded answer can take its place.
pub trait Source: Send {
    /// Asks for everything once. It may take long: a driver in trouble answers late or never.
    ///
    /// # Errors
    /// Why there is no answer at all: no library, no driver, no right.
    fn read(&mut self) -> Result<Raw, String>;
}

/// What a call said.
pub type Said<T> = Result<T, Fault>;

/// What a call said instead of a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The device, its mode or the library does not have this.
    NotSupported,
    /// Anything else.
    Failed(String),
}

/// Everything at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    /// `nvmlSystemGetDriverVersion`.
    pub driver: Said<String>,
    /// By index.
    pub devices: Vec<Said<RawDevice>>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDevice {
    /// `nvmlDeviceGetUUID`.
    pub uuid: Said<String>,
    /// `nvmlDeviceGetName`.
    pub name: Said<String>,
    /// `nvmlPciInfo_t.busId`.
    pub bus_id: Said<String>,
    /// `nvmlDeviceGetUtilizationRates`: GPU and memory, percent.
    pub utilization: Said<(u32, u32)>,
    /// `nvmlDeviceGetMemoryInfo_v2`.
    pub memory: Said<RawMemory>,
    /// `nvmlDeviceGetPowerUsage`, mW.
    pub power_mw: Said<u32>,
    /// `nvmlDeviceGetTotalEnergyConsumption`, mJ since the driver was loaded.
    pub energy_mj: Said<u64>,
    /// `nvmlDeviceGetTemperature`, °C.
    pub temperature_c: Said<u32>,
    /// `nvmlDeviceGetMigMode`, the current one.
    pub mig: Said<bool>,
    /// `nvmlDeviceGetMigDeviceHandleByIndex`, those that exist.
    pub instances: Vec<RawInstance>,
    /// Its processes.
    pub processes: RawProcesses,
    /// `nvmlDeviceGetProcessUtilization` of the last seconds; empty where no process has used the device in them.
    pub samples: Said<Vec<RawSample>>,
}

/// An instance of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawInstance {
    /// `nvmlDeviceGetUUID`.
    pub uuid: Said<String>,
    /// `nvmlDeviceGetMemoryInfo_v2`.
    pub memory: Said<RawMemory>,
    /// Those of this instance.
    pub processes: RawProcesses,
}

/// Processes of a device or instance; one with both kinds of context stands in both lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawProcesses {
    /// `nvmlDeviceGetComputeRunningProcesses_v3`.
    pub compute: Said<Vec<RawProcess>>,
    /// `nvmlDeviceGetGraphicsRunningProcesses_v3`.
    pub graphics: Said<Vec<RawProcess>>,
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawMemory {
    /// All of it.
    pub total: u64,
    /// Allocated, without the reserved.
    pub used: u64,
    /// Not allocated.
    pub free: u64,
}

/// `nvmlProcessInfo_t`; what NVML marks as not available is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawProcess {
    /// Process id.
    pub pid: u32,
    /// `usedGpuMemory`, bytes.
    pub memory: Option<u64>,
    /// `gpuInstanceId`.
    pub gpu_instance: Option<u32>,
    /// `computeInstanceId`.
    pub compute_instance: Option<u32>,
}

/// `nvmlProcessUtilizationSample_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawSample {
    /// Process id.
    pub pid: u32,
    /// When it was taken, µs.
    pub time_us: u64,
    /// `smUtil`, percent.
    pub sm: u32,
    /// `memUtil`, percent.
    pub memory: u32,
}
