//! What a process of a launcher pod is there for.

/// In the order of the attribute `podscope.vm.role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// virt-launcher-monitor, the first process and parent of the emulator.
    Monitor,
    /// virt-launcher, KubeVirt's own control of one VM.
    Launcher,
    /// Libvirt's daemon.
    Libvirt,
    /// Libvirt's log daemon.
    Log,
    /// QEMU: the guest.
    Emulator,
    /// The software TPM.
    Swtpm,
    /// The user-mode network.
    Passt,
    /// The file system daemon.
    Virtiofsd,
    /// Anything else in the pod.
    Other,
}

impl Role {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// Every role.
    pub const ALL: [Role; Self::COUNT] = [
        Role::Monitor,
        Role::Launcher,
        Role::Libvirt,
        Role::Log,
        Role::Emulator,
        Role::Swtpm,
        Role::Passt,
        Role::Virtiofsd,
        Role::Other,
    ];

    /// The role of a program by the base name of its file, where that says it.
    pub fn of_program(name: &str) -> Option<Self> {
        Some(match name {
            "virt-launcher-monitor" => Self::Monitor,
            "virt-launcher" => Self::Launcher,
            "virtqemud" | "libvirtd" => Self::Libvirt,
            "virtlogd" => Self::Log,
            "qemu-kvm" | "kvm" => Self::Emulator,
            "swtpm" | "swtpm_setup" => Self::Swtpm,
            "passt" | "passt.avx2" | "pasta" | "pasta.avx2" | "passt-repair" => Self::Passt,
            "virtiofsd" => Self::Virtiofsd,
            name if name.starts_with("qemu-system-") => Self::Emulator,
            _ => return None,
        })
    }

    /// Whether where such a program runs there may be a VM.
    pub fn tells_of_vm(self) -> bool {
        matches!(self, Self::Monitor | Self::Launcher | Self::Emulator)
    }

    /// Its attribute value.
    pub fn name(self) -> &'static str {
        podscope_catalog::attribute::VM_ROLE.values[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_roles() {
        let values = podscope_catalog::attribute::VM_ROLE.values;
        assert_eq!(values.len(), Role::COUNT);
        for (role, value) in Role::ALL.into_iter().zip(values) {
            assert_eq!((role.name(), format!("{role:?}").to_lowercase().as_str()), (*value, *value));
        }
    }

    /// Every process of a recorded launcher pod.
    #[test]
    fn the_programs_of_a_launcher_pod() {
        let tree = include_str!("../../testdata/virt-launcher/programs.txt");
        let roles: Vec<_> = tree.lines().map(|path| Role::of_program(path.rsplit('/').next().unwrap())).collect();
        let expected = [Role::Monitor, Role::Launcher, Role::Emulator, Role::Libvirt, Role::Log].map(Some);
        assert_eq!(roles, expected);
        assert_eq!(Role::of_program("bash"), None);
    }
}
