//! The document that podscope-gpu answers and the agent reads: what NVML says now, or why it says nothing.

use std::io;

use serde::{Deserialize, Serialize};

/// The version of the document's form. A field that is added keeps it; one that changes its meaning raises it.
pub const VERSION: u32 = 1;
/// Bytes of a document at most.
pub const MOST_BYTES: usize = 1 << 20;
/// Devices in a document at most.
pub const MOST_DEVICES: usize = 64;
/// Instances of a device at most; NVML knows seven.
pub const MOST_INSTANCES: usize = 16;
/// Processes of all devices at most.
pub const MOST_PROCESSES: usize = 2048;
/// Bytes of a text at most.
pub const MOST_TEXT: usize = 120;
/// Faults that are named of a device, or of all devices that cannot be opened.
pub const MOST_FAULTS: usize = 8;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// What there is to say.
    pub answer: Answer,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// NVML answers.
    Node(Node),
    /// NVML does not answer.
    Unavailable(String),
}

/// The GPUs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Version of the driver (`nvmlSystemGetDriverVersion`).
    pub driver: Option<String>,
    /// In the order of their indices.
    pub devices: Vec<Device>,
    /// Processes that did not fit.
    pub left_out: u64,
    /// Devices that cannot be asked, and why.
    pub faults: Vec<String>,
}

/// A GPU. A figure that it does not support is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// NVML's number of it, which may change when the node is started again.
    pub index: u32,
    /// `GPU-…`, which stays.
    pub uuid: String,
    /// Product name.
    pub name: Option<String>,
    /// PCI address as in /sys/bus/pci/devices, `0000:3b:00.0`.
    pub pci: Option<String>,
    /// Of time, over NVML's last sample of up to a second.
    pub utilization: Option<Utilization>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Power drawn, mW.
    pub power_mw: Option<u64>,
    /// Energy used since the driver was loaded, mJ.
    pub energy_mj: Option<u64>,
    /// Temperature of the chip, °C.
    pub temperature_c: Option<u32>,
    /// Whether it is divided into instances (MIG); absent where it cannot be.
    pub mig: Option<bool>,
    /// The instances it is divided into.
    pub instances: Vec<Instance>,
    /// Processes with a context on it.
    pub processes: Vec<Process>,
    /// Figures that it supports and that could not be read, and why.
    pub faults: Vec<String>,
}

/// A part of a GPU (multi-instance GPU).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// `MIG-…`.
    pub uuid: String,
    /// Number of its GPU instance; known where it has processes, or from the older form of its UUID.
    pub gpu_instance: Option<u32>,
    /// Number of its compute instance; likewise.
    pub compute_instance: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
}

/// A process on a GPU, or on one of its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id in the helper's pid namespace, which has to be the host's.
    pub pid: u32,
    /// It has a compute context.
    pub compute: bool,
    /// It has a graphics context.
    pub graphics: bool,
    /// Memory of the GPU that it holds, bytes.
    pub memory: Option<u64>,
    /// Its use of multiprocessors and memory, percent of time.
    pub utilization: Option<Utilization>,
    /// Number of the GPU instance it runs on.
    pub gpu_instance: Option<u32>,
    /// Number of the compute instance it runs on.
    pub compute_instance: Option<u32>,
}

/// Percent of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utilization {
    /// In which a program ran on the GPU; of a process, its use of the multiprocessors.
    pub gpu: u32,
    /// In which memory was read or written.
    pub memory: u32,
}

/// Memory of a GPU, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Allocated; without what the driver keeps for itself, where it tells that apart.
    pub used: u64,
    /// Not allocated.
    pub free: u64,
}

/// Why bytes are no document.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Of another version.
    #[error("version {0} of the document, and {VERSION} is understood: take both programs from one release")]
    Version(u32),
    /// No JSON, or of another form.
    #[error("no document of podscope-gpu: {0}")]
    Json(#[from] serde_json::Error),
}

impl Document {
    /// Of what NVML said.
    pub const fn of(answer: Answer) -> Self {
        Self { version: VERSION, answer }
    }

    /// As it is sent.
    ///
    /// # Errors
    /// Never in practice: there is nothing in it that JSON cannot say.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// As it was received; lists may be longer than they should.
    ///
    /// # Errors
    /// When it is something else, or of another version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Malformed> {
        /// What all versions have.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version == VERSION { Ok(serde_json::from_slice(bytes)?) } else { Err(Malformed::Version(version)) }
    }
}

/// A PCI address as the kernel's file system writes it, `0000:3b:00.0`; from NVML's `00000000:3B:00.0` or QEMU's
/// `3b:00.0`.
pub fn pci_address(text: &str) -> Option<String> {
    let (slot, function) = text.rsplit_once('.')?;
    let mut parts = slot.rsplitn(3, ':');
    let (device, bus) = (parts.next()?, parts.next()?);
    let domain = parts.next().unwrap_or("0");
    let number = |text: &str, most: u32| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(text, 16).ok().filter(|&number| digits && number <= most)
    };
    // Domains of more than 16 bits are those of devices behind a VMD.
    let (domain, bus) = (number(domain, u32::MAX)?, number(bus, 0xff)?);
    let (device, function) = (number(device, 0x1f)?, number(function, 7)?);
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_written_in_one_way() {
        for (text, address) in [
            ("00000000:3B:00.0", Some("0000:3b:00.0")),
            ("0000:3b:00.0", Some("0000:3b:00.0")),
            ("3b:1f.7", Some("0000:3b:1f.7")),
            ("10000:e1:00.0", Some("10000:e1:00.0")),
            ("3b:20.0", None),
            ("3b:00.8", None),
            ("3b:00", None),
            ("3b00.0", None),
            ("1:0000:3b:00.0", None),
            ("+0:00.0", None),
            (":00.0", None),
            ("", None),
        ] {
            assert_eq!(pci_address(text).as_deref(), address, "{text:?}");
        }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let memory = Some(Memory { total: 3, used: 1, free: 2 });
        let process = Process { pid: 7, compute: true, memory: Some(5), ..Process::default() };
        let instance = Instance { uuid: "MIG-1".to_owned(), gpu_instance: Some(1), memory, ..Instance::default() };
        let device = Device {
            uuid: "GPU-1".to_owned(),
            memory,
            instances: vec![instance],
            processes: vec![process],
            ..Device::default()
        };
        for answer in
            [Answer::Unavailable("why".to_owned()), Answer::Node(Node { devices: vec![device], ..Node::default() })]
        {
            let document = Document::of(answer);
            assert_eq!(Document::from_json(&document.to_json().unwrap()).unwrap(), document);
        }
    }

    #[test]
    fn another_version_is_named_and_further_fields_are_passed_over() {
        let read = |text: &str| Document::from_json(text.as_bytes()).map_err(|error| error.to_string());
        assert!(read(r#"{"version":2,"all":"different"}"#).unwrap_err().contains("version 2"));
        assert!(read("[]").unwrap_err().contains("no document"));
        let newer = r#"{"version":1,"mood":"good","answer":{"node":{"devices":[{"uuid":"GPU-1","fans":3}]}}}"#;
        let Answer::Node(node) = read(newer).unwrap().answer else { panic!("no node") };
        assert_eq!(node.devices[0], Device { uuid: "GPU-1".to_owned(), ..Device::default() });
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, text in "[0-9a-f:.]{0,16}") {
            let _ = Document::from_json(&bytes);
            if let Some(address) = pci_address(&text) {
                prop_assert_eq!(pci_address(&address), Some(address.clone()));
            }
        }
    }
}
