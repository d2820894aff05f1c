//! GPUs that the kernel has handed over to virtual machines: devices bound to a driver of VFIO.

use std::fs;
use std::path::{Path, PathBuf};

use podscope_gpu_document::pci_address;

/// Drivers that hand a device over; the second is for the GPUs of NVIDIA's Grace systems.
const DRIVERS: [&str; 2] = ["vfio-pci", "nvgrace-gpu-vfio-pci"];
/// Devices are bound and released rarely.
const PERIOD_NS: u64 = 30_000_000_000;
/// Devices at most.
const MOST: usize = 64;

/// VGA and 3D controllers.
const DISPLAYS: [u32; 2] = [0x0300, 0x0302];
const NVIDIA: u32 = 0x10de;
/// Multimedia and serial buses: a graphics card's sound and USB.
const OF_CARDS: [u32; 2] = [0x04, 0x0c];

/// Those devices, as they were read last.
#[derive(Debug)]
pub struct Passthrough {
    drivers: PathBuf,
    read_ns: Option<u64>,
    /// By address.
    pub devices: Vec<PciDevice>,
    /// Devices that did not fit.
    pub dropped: u64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// `0000:3b:00.0`.
    pub address: String,
    /// Vendor and device, `10de:27b8`.
    pub id: String,
}

impl Passthrough {
    /// `sys`: where sysfs is mounted.
    pub fn new(sys: &Path) -> Self {
        Self { drivers: sys.join("bus/pci/drivers"), read_ns: None, devices: Vec::new(), dropped: 0 }
    }

    /// Reads them again where that is due. `now`: monotonic, ns.
    pub fn refresh(&mut self, now: u64) {
        if self.read_ns.is_some_and(|read| now.saturating_sub(read) < PERIOD_NS) {
            return;
        }
        self.read_ns = Some(now);
        // Without the driver there are no such devices.
        let bound = DRIVERS.iter().filter_map(|driver| fs::read_dir(self.drivers.join(driver)).ok());
        let mut devices: Vec<PciDevice> = bound.flatten().flatten().filter_map(|entry| device(&entry.path())).collect();
        devices.sort_by(|a, b| a.address.cmp(&b.address));
        self.dropped += devices.len().saturating_sub(MOST) as u64;
        devices.truncate(MOST);
        self.devices = devices;
    }
}

/// The device of a folder, if it is a GPU or a part of NVIDIA's systems.
fn device(dir: &Path) -> Option<PciDevice> {
    let address = pci_address(dir.file_name()?.to_str()?)?;
    let number = |name: &str| {
        let text = fs::read_to_string(dir.join(name)).ok()?;
        u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    };
    let (vendor, class) = (number("vendor")?, number("class")? >> 8);
    let wanted = DISPLAYS.contains(&class) || (vendor == NVIDIA && !OF_CARDS.contains(&(class >> 8)));
    wanted.then_some(PciDevice { address, id: format!("{vendor:04x}:{:04x}", number("device")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(sys: &Path, address: &str, driver: &str, [vendor, device, class]: [&str; 3]) {
        let dir = sys.join("bus/pci/drivers").join(driver).join(address);
        fs::create_dir_all(&dir).unwrap();
        for (name, value) in [("vendor", vendor), ("device", device), ("class", class)] {
            fs::write(dir.join(name), format!("{value}\n")).unwrap();
        }
    }

    #[test]
    fn gpus_that_are_bound_to_vfio_are_found() {
        let sys = tempfile::tempdir().unwrap();
        let mut found = Passthrough::new(sys.path());
        found.refresh(0);
        assert_eq!(found.devices, [], "there is no such driver");

        let sys = sys.path();
        bind(sys, "0000:3b:00.0", "vfio-pci", ["0x10de", "0x27b8", "0x030200"]);
        bind(sys, "0000:3b:00.1", "vfio-pci", ["0x10de", "0x22bc", "0x040300"]);
        bind(sys, "0000:0a:00.0", "vfio-pci", ["0x1002", "0x73bf", "0x030000"]);
        bind(sys, "0000:5e:00.0", "vfio-pci", ["0x10de", "0x22a3", "0x068000"]);
        bind(sys, "0000:81:00.0", "vfio-pci", ["0x15b3", "0x101e", "0x020000"]);
        bind(sys, "0009:01:00.0", "nvgrace-gpu-vfio-pci", ["0x10de", "0x2342", "0x030200"]);
        bind(sys, "0000:af:00.0", "nvidia", ["0x10de", "0x27b8", "0x030200"]);
        bind(sys, "module", "vfio-pci", ["0x10de", "0x27b8", "0x030200"]);
        bind(sys, "0000:af:00.1", "vfio-pci", ["", "0x27b8", "0x030200"]);
        found.refresh(PERIOD_NS - 1);
        assert_eq!(found.devices, [], "not so soon");
        found.refresh(PERIOD_NS);
        let listed: Vec<_> = found.devices.iter().map(|device| (device.address.as_str(), device.id.as_str())).collect();
        let expected = [
            ("0000:0a:00.0", "1002:73bf"),
            ("0000:3b:00.0", "10de:27b8"),
            ("0000:5e:00.0", "10de:22a3"),
            ("0009:01:00.0", "10de:2342"),
        ];
        assert_eq!(listed, expected);
    }
}
