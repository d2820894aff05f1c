//! Resources of virtual machines, their virtual CPUs, and who ran while those waited.

use std::sync::Arc;

use podscope_catalog::Entity;

use super::identity::{identify_culprit, identify_launcher};
use super::{OTHER, Publisher, Readings, Subject};
use crate::accounting::{Moment, points};
use crate::attribution::Attribution;
use crate::snapshot::{Resource, ResourceAttribute};
use crate::vm::{Blamed, Machine, Machines, Run};

impl Publisher {
    pub(super) fn machines(
        &mut self,
        machines: &Machines,
        attribution: &Attribution,
        readings: &mut Readings,
        now: &Moment,
        to: &mut Vec<Resource>,
    ) {
        for (key, machine) in machines.all() {
            let subject = Subject::Vm(Arc::clone(key), Arc::clone(&machine.vm.name));
            let attributes = self.attributes_of(subject, now, |list| identify_launcher(key, machine, list));
            let run = exits(key, machine, readings);
            to.push(Resource {
                entity: Entity::Vm,
                attributes,
                start_ns: machine.sums.start_ns,
                kernel_start_ns: machine.sums.start_ns,
                ended: false,
                points: machine.sums.points(machine.emulator.as_ref(), &machine.threads, run, self.page),
            });
            self.vcpus(key, machine, readings, now, to);
            self.culprits(key, machine, attribution, now, to);
        }
    }

    fn vcpus(
        &mut self,
        key: &Arc<str>,
        machine: &Machine,
        readings: &mut Readings,
        now: &Moment,
        to: &mut Vec<Resource>,
    ) {
        for (number, used) in machine.threads.vcpus() {
            let points = points::vcpu(used, readings.vcpus.remove(&(Arc::clone(key), number)));
            let subject = Subject::Vcpu(Arc::clone(key), Arc::clone(&machine.vm.name), number);
            let attributes = self.attributes_of(subject, now, |list| {
                identify_launcher(key, machine, list);
                list.push(ResourceAttribute::label_int("podscope.vm.vcpu.id", i64::from(number)));
            });
            to.push(Resource {
                entity: Entity::Vcpu,
                attributes,
                start_ns: machine.sums.start_ns,
                kernel_start_ns: machine.sums.start_ns,
                ended: false,
                points,
            });
        }
    }

    /// Who ran while virtual CPUs waited.
    fn culprits(
        &mut self,
        key: &Arc<str>,
        machine: &Machine,
        attribution: &Attribution,
        now: &Moment,
        to: &mut Vec<Resource>,
    ) {
        for (blamed, series) in machine.culprits.published(machine.sums.start_ns) {
            let attributes = self.attributes_of(Subject::Culprit(Arc::clone(key), blamed.clone()), now, |list| {
                identify_launcher(key, machine, list);
                match &blamed {
                    Blamed::Container(culprit) => identify_culprit(attribution.identity(culprit), list),
                    Blamed::Others => list.push(ResourceAttribute::label("podscope.culprit.container", OTHER)),
                    Blamed::Unknown => list.push(ResourceAttribute::label("podscope.culprit.container", "_unknown")),
                }
            });
            to.push(Resource {
                entity: Entity::Culprit,
                attributes,
                start_ns: series.start_ns,
                kernel_start_ns: series.start_ns,
                ended: false,
                points: points::culprit(series.waited_ns),
            });
        }
    }
}

/// Exits of all virtual CPUs of a machine; none where KVM runs none of them.
fn exits(key: &Arc<str>, machine: &Machine, readings: &Readings) -> Option<Run> {
    let figures = machine.threads.vcpus().filter_map(|(number, _)| readings.vcpus.get(&(Arc::clone(key), number)));
    figures.filter_map(|figures| figures.kvm).reduce(|mut sum, run| {
        sum.add(&run);
        sum
    })
}
