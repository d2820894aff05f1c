//! What the arguments of a QEMU process say of its guest.
//!
//! Source: qemu(1), "Standard options". Libvirt writes `-name guest=<namespace>_<name>,debug-threads=on` in KubeVirt's
//! pods, and sizes with a suffix; options may have one dash or two. Any bytes are accepted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use podscope_gpu_document::pci_address;

use crate::text::visible;

/// More than any command line that libvirt writes; what is beyond is left out.
const MOST: u64 = 256 << 10;
/// Bytes that are kept of one argument; names of guests are short, and what is beyond them is of no use here.
const ARGUMENT: usize = 1024;
/// Devices of the node that are kept of one guest.
const DEVICES: usize = 64;

/// A guest, as its emulator was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emulator {
    /// `-name guest=…`; `<namespace>_<name>` in KubeVirt's pods.
    pub guest: String,
    /// `-uuid`.
    pub uuid: Option<String>,
    /// `-m`, bytes.
    pub memory: Option<u64>,
    /// `-smp`.
    pub vcpus: Option<u64>,
    /// `-device vfio-pci,host=…`: PCI addresses of the devices of the node that the guest has.
    pub devices: Vec<String>,
}

impl Emulator {
    /// Reads the arguments of a process; none where it is gone or no emulator. `proc`: where procfs is mounted.
    pub fn read(proc: &Path, pid: u32) -> Option<Self> {
        let mut arguments = Vec::new();
        File::open(proc.join(pid.to_string()).join("cmdline")).ok()?.take(MOST).read_to_end(&mut arguments).ok()?;
        Self::from_arguments(&arguments)
    }

    /// From NUL-terminated arguments; `None` where they name no guest.
    pub fn from_arguments(arguments: &[u8]) -> Option<Self> {
        let arguments: Vec<_> = arguments.split(|&byte| byte == 0).map(shown).collect();
        let mut found = Self::default();
        for pair in arguments.windows(2) {
            let Some(option) = pair[0].strip_prefix('-') else { continue };
            let value = pair[1].as_str();
            match option.strip_prefix('-').unwrap_or(option) {
                "name" => found.guest = named(value, "guest").unwrap_or_default().to_owned(),
                "uuid" => found.uuid = Some(value.to_owned()),
                "m" => found.memory = first_or_named(value, "size").and_then(bytes),
                "device" if found.devices.len() < DEVICES => found.devices.extend(passed_through(value)),
                "smp" => found.vcpus = first_or_named(value, "cpus").and_then(|count| count.parse().ok()),
                _ => {}
            }
        }
        (!found.guest.is_empty()).then_some(found)
    }

    /// Namespace and name of a KubeVirt VM; a name has no underscore in Kubernetes.
    pub fn vm(&self) -> Option<(&str, &str)> {
        self.guest.split_once('_').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
    }
}

/// The PCI address of a device of the node that is passed through, from both forms of `-device`.
fn passed_through(value: &str) -> Option<String> {
    /// The properties that matter.
    #[derive(serde::Deserialize)]
    struct Properties {
        driver: String,
        host: Option<String>,
        sysfsdev: Option<String>,
    }
    let Properties { driver, host, sysfsdev } = if value.starts_with('{') {
        serde_json::from_str(value).ok()?
    } else {
        let property = |key| named(value, key).map(str::to_owned);
        let driver = first_or_named(value, "driver")?.to_owned();
        Properties { driver, host: property("host"), sysfsdev: property("sysfsdev") }
    };
    let address = host.or_else(|| Some(sysfsdev?.rsplit('/').next()?.to_owned()))?;
    if driver.starts_with("vfio-pci") { pci_address(&address) } else { None }
}

/// The beginning of an argument, with what cannot be shown written out: whoever runs the process has chosen it.
fn shown(argument: &[u8]) -> String {
    visible(&argument[..argument.len().min(ARGUMENT)])
}

/// A property of a list `key=value,…`.
fn named<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.split(',').find_map(|property| property.strip_prefix(key)?.strip_prefix('='))
}

/// The same where the first property may stand without its key.
fn first_or_named<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.split(',').next().filter(|first| !first.contains('=')).or_else(|| named(list, key))
}

/// A size as QEMU reads it: MiB without a suffix.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &size[digits.len()..] {
        "b" | "B" => 0,
        "k" | "K" => 10,
        "" | "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn emulator(command: &str) -> Option<Emulator> {
        Emulator::from_arguments(command.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn a_recorded_launchers_emulator() {
        let command = include_str!("../../testdata/virt-launcher/qemu.txt");
        let expected = Emulator {
            guest: "default_testvm".into(),
            uuid: Some("5d307ca9-b3ef-428c-8861-06e72d69f223".into()),
            memory: Some(128 << 20),
            vcpus: Some(2),
            devices: Vec::new(),
        };
        assert_eq!(emulator(command.trim_end()), Some(expected.clone()));
        assert_eq!(expected.vm(), Some(("default", "testvm")));
    }

    #[test]
    fn other_ways_to_write_it() {
        let written = emulator("/opt/emu --name debug-threads=on,guest=a_b -m 512 -smp cpus=4,maxcpus=8").unwrap();
        assert_eq!((written.guest.as_str(), written.memory, written.vcpus), ("a_b", Some(512 << 20), Some(4)));
        assert_eq!(emulator("qemu -name guest=plain -m 2G").unwrap().memory, Some(2 << 30));
        assert_eq!(emulator("qemu -name guest=plain").unwrap().vm(), None);
        assert_eq!(emulator("qemu -m 2G"), None, "no guest is named");
        assert_eq!(emulator("/usr/bin/virt-launcher --name testvm --namespace default"), None);
        assert_eq!(emulator("qemu -name"), None);
        assert_eq!(emulator("qemu -name guest=g -m 99999999999999999T").unwrap().memory, None);
    }

    #[test]
    fn devices_of_the_node_are_named_by_their_address() {
        let command = "qemu -name guest=g -device vfio-pci,host=0000:3b:00.0,id=hostdev0 -device \
            {\"driver\":\"vfio-pci\",\"host\":\"0000:AF:00.1\",\"id\":\"ua-gpu\",\"bus\":\"pci.7\"} -device virtio-net-pci,host=1:2.3 \
            -device driver=vfio-pci-nohotplug,sysfsdev=/sys/bus/pci/devices/0000:5e:00.0 -device {\"driver\":7} \
            -device vfio-pci,host=nonsense -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/1f0b2c3d -device vfio-pci \
            -device vfio-pci,host=81:00.0";
        let words: Vec<&str> = command.split_whitespace().collect();
        let guest = Emulator::from_arguments(words.join("\0").as_bytes()).unwrap();
        assert_eq!(guest.devices, ["0000:3b:00.0", "0000:af:00.1", "0000:5e:00.0", "0000:81:00.0"]);
        let many = format!("qemu\0-name\0guest=g{}", "\0-device\0vfio-pci,host=3b:00.0".repeat(1000));
        assert_eq!(Emulator::from_arguments(many.as_bytes()).unwrap().devices.len(), DEVICES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(arguments in prop::collection::vec(any::<u8>(), 0..300), values in "(-(name|m|smp|uuid|device)\0[a-z0-9=,_{:.]{0,12}\0){0,6}") {
            Emulator::from_arguments(&arguments);
            Emulator::from_arguments(values.as_bytes());
        }
    }
}
