//! What is read of each container and pod in a collection, besides the books.

use std::sync::Arc;

use foldhash::HashMap;

use super::{Collector, Last};
use crate::accounting::points::LayerFigures;
use crate::accounting::{Accounting, ContainerKey};
use crate::attribution::{Attribution, Identity};
use crate::kernel::monotonic_ns;
use crate::publish::Readings;
use crate::runtime::Layer;

impl Collector {
    /// Reads the cgroups of all containers and pods, and what the kernel side keeps of them.
    pub(super) fn read_groups(
        &mut self,
        accounting: &Accounting,
        attribution: &Attribution,
        last: &mut Last,
    ) -> Readings {
        let mut readings = Readings::default();
        let published =
            accounting.containers.keys().filter(|key| !matches!(attribution.identity(key), Identity::Waiting));
        let pods: Vec<ContainerKey> =
            attribution.runtime().pods().iter().map(|pod| ContainerKey::Pod(Arc::clone(&pod.uid))).collect();
        for key in published.chain(&pods) {
            if let Some(path) = attribution.group(key)
                && !readings.figures.contains_key(key)
            {
                let figures = self.figures.read(&mut self.reader, key, path, accounting.now.monotonic_ns);
                if let Some(cpus) = self.figures.cpus(key) {
                    readings.cpus.insert(key.clone(), cpus);
                }
                for number in figures.disk.devices.iter().map(|device| device.number) {
                    if let Some(name) = self.node.device_name(number) {
                        readings.devices.entry(number).or_insert_with(|| Arc::clone(name));
                    }
                }
                readings.figures.insert(key.clone(), figures);
            }
        }
        self.figures.forget_unread(accounting.now.monotonic_ns);
        readings.layers = self.layers(attribution);
        match self.waits.read(&mut self.kernel, |cgroup| accounting.owner(cgroup), monotonic_ns()) {
            Ok(read) => {
                last.entries[2] = read.cgroups;
                (readings.waits, readings.vcpus) = (read.by_container, read.by_vcpu);
            }
            Err(error) => tracing::warn!("cannot list the cgroups: {error}"),
        }
        readings
    }

    /// What containers have written over their images, and the file systems that hold it.
    fn layers(&self, attribution: &Attribution) -> HashMap<Arc<str>, LayerFigures> {
        let sizes = self.node.sizes();
        let figures = |layer: &Layer| LayerFigures {
            used: layer.used_bytes,
            inodes: layer.inodes,
            size: sizes.of_path(&layer.mountpoint).copied(),
        };
        attribution.runtime().layers().iter().map(|(id, layer)| (Arc::clone(id), figures(layer))).collect()
    }
}
