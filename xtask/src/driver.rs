//! Who makes the cgroups of pods and containers, which decides how they are called.

/// The cgroup driver of the kubelet and its container runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// The container runtime itself: `/kubepods/burstable/pod<uid>/<id>`.
    #[default]
    Cgroupfs,
    /// systemd, at the runtime's wish: `/kubepods.slice/…/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`.
    Systemd,
}

impl Driver {
    /// The variable by which tests are told which driver their rigs use.
    pub const VARIABLE: &str = "PODSCOPE_RIG_DRIVER";

    /// The name, as flags and the variable have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    /// The driver that the variable names; where it is not set, the runtime itself.
    ///
    /// # Errors
    /// The variable's text, where no driver is called so.
    pub fn from_environment() -> Result<Self, String> {
        match std::env::var(Self::VARIABLE) {
            Ok(name) => clap::ValueEnum::from_str(&name, false).map_err(|_| name),
            Err(_) => Ok(Self::default()),
        }
    }

    /// The cgroup of a pod; `class` is its class of service, empty for guaranteed pods.
    #[must_use]
    pub fn pod(self, class: &str, uid: &str) -> String {
        match (self, class) {
            (Self::Cgroupfs, "") => format!("/kubepods/pod{uid}"),
            (Self::Cgroupfs, class) => format!("/kubepods/{class}/pod{uid}"),
            (Self::Systemd, class) => {
                let uid = uid.replace('-', "_");
                if class.is_empty() {
                    return format!("/kubepods.slice/kubepods-pod{uid}.slice");
                }
                format!("/kubepods.slice/kubepods-{class}.slice/kubepods-{class}-pod{uid}.slice")
            }
        }
    }

    /// The cgroup of a container in a pod's.
    #[must_use]
    pub fn container(self, pod: &str, id: &str) -> String {
        match self {
            Self::Cgroupfs => format!("{pod}/{id}"),
            Self::Systemd => format!("{pod}/cri-containerd-{id}.scope"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded on nodes with either driver.
    #[test]
    fn cgroups_are_called_as_on_nodes() {
        let uid = "7d3b2a10-0001-4a00-8000-00000000c0de";
        let (plain, slices) = (Driver::Cgroupfs, Driver::Systemd);
        assert_eq!(plain.pod("", uid), format!("/kubepods/pod{uid}"));
        assert_eq!(plain.container(&plain.pod("burstable", uid), "1f"), format!("/kubepods/burstable/pod{uid}/1f"));
        let pod = slices.pod("besteffort", uid);
        let name = "kubepods-besteffort-pod7d3b2a10_0001_4a00_8000_00000000c0de.slice";
        assert_eq!(pod, format!("/kubepods.slice/kubepods-besteffort.slice/{name}"));
        assert_eq!(slices.container(&pod, "1f"), format!("{pod}/cri-containerd-1f.scope"));
        assert_eq!(slices.pod("", "a-b"), "/kubepods.slice/kubepods-poda_b.slice");
    }
}
