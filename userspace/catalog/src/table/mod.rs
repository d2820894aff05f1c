//! The rows, a file for each concern. A row's doc comment is its description.

/// Declares the rows of a file and a constant for each. Their places in the whole table begin with `$first`.
macro_rules! metrics {
    ($first:expr; $($(#[doc = $doc:literal])+ $id:ident = $name:literal, $unit:literal, $instrument:ident $value:ident,
        $entity:ident, $source:ident $(, [$($attribute:ident),+])?;)*) => {
        #[allow(unused_imports, reason = "not every file has rows with attributes")]
        use crate::attribute::*;
        use crate::{Entity, Instrument, Metric, Source, ValueType};

        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "variants carry the constants' names")]
        #[repr(u16)]
        enum Row { $($id,)* }

        /// One constant per metric.
        #[expect(unreachable_pub, reason = "re-exported as `id`")]
        pub mod ids {
            use super::{FIRST, Row};
            use crate::MetricId;
            $(#[doc = concat!("`", $name, "`")] pub const $id: MetricId = MetricId(FIRST + Row::$id as u16);)*
        }

        /// The place of the first row.
        pub(super) const FIRST: u16 = $first;
        /// The place after the last one.
        pub(super) const NEXT: u16 = FIRST + ROWS.len() as u16;
        /// In the order in which they are listed and exported.
        pub(super) const ROWS: &[Metric] = &[$(Metric {
            name: $name,
            unit: $unit,
            instrument: Instrument::$instrument,
            value: ValueType::$value,
            entity: Entity::$entity,
            attributes: &[$($(&$attribute),+)?],
            source: Source::$source,
            description: concat!($($doc),+).trim_ascii(),
        }),*];
    };
}
use metrics;

mod agent;
mod cluster;
mod compat;
mod container;
mod gpu;
mod node;
mod process;
mod vm;

use crate::{Metric, MetricId};

/// One constant per metric.
#[expect(unreachable_pub, reason = "re-exported as `id`")]
pub mod ids {
    pub use super::agent::ids::*;
    pub use super::cluster::ids::*;
    pub use super::compat::ids::*;
    pub use super::container::ids::*;
    pub use super::gpu::ids::*;
    pub use super::node::ids::*;
    pub use super::process::ids::*;
    pub use super::vm::ids::*;
}

/// The files, one after the other.
const FILES: [&[Metric]; 8] =
    [process::ROWS, container::ROWS, vm::ROWS, cluster::ROWS, node::ROWS, gpu::ROWS, agent::ROWS, compat::ROWS];
/// All rows.
static TABLE: [Metric; compat::NEXT as usize] = joined();

/// Every metric, in the order in which it is listed and exported.
pub static METRICS: &[Metric] = &TABLE;

const fn joined<const N: usize>() -> [Metric; N] {
    let mut all = [FILES[0][0]; N];
    let (mut file, mut place) = (0, 0);
    while file < FILES.len() {
        let mut row = 0;
        while row < FILES[file].len() {
            all[place] = FILES[file][row];
            (row, place) = (row + 1, place + 1);
        }
        file += 1;
    }
    all
}

impl MetricId {
    /// Every id, in table order.
    pub fn all() -> impl Iterator<Item = MetricId> {
        (0..METRICS.len() as u16).map(MetricId)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Entity;
    use crate::attribute::ATTRIBUTES;

    #[test]
    fn a_constant_is_the_place_of_its_row() {
        for (id, name) in [
            (ids::PROCESS_CPU_TIME, "process.cpu.time"),
            (ids::CONTAINER_CPU_TIME, "container.cpu.time"),
            (ids::GPU_POWER, "hw.power"),
            (ids::KUBEVIRT_INFO, "kubevirt.info"),
        ] {
            assert_eq!(id.metric().name, name);
        }
        assert_eq!(FILES.iter().map(|rows| rows.len()).sum::<usize>(), METRICS.len());
    }

    #[test]
    fn names_are_unique_and_in_the_charset() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert!(
                metric.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_'),
                "{} has another character",
                metric.name
            );
        }
    }

    #[test]
    fn descriptions_are_one_sentence() {
        // This one's words are another tool's.
        for metric in METRICS.iter().filter(|metric| metric.entity != Entity::KubevirtInfo) {
            let text = metric.description;
            assert!(text.ends_with('.') && !text.contains(". "), "{}: {text}", metric.name);
            assert!(text.len() <= 140, "{}: {} characters", metric.name, text.len());
            // Then no form of the table has to escape it.
            assert!(!text.contains(['\\', '"', '|', '\n']), "{}: {text}", metric.name);
        }
    }

    #[test]
    fn every_attribute_is_used() {
        for attribute in ATTRIBUTES {
            assert!(
                METRICS.iter().any(|m| m.attributes.iter().any(|a| a.key == attribute.key)),
                "{} is used by no metric",
                attribute.key
            );
        }
    }

    #[test]
    fn combinations_are_in_mixed_radix_order() {
        let metric = ids::CONTAINER_PRESSURE_TIME.metric();
        assert_eq!(metric.combinations(), 6);
        let at = |i| metric.combination(i).map(|(_, v)| v).collect::<Vec<_>>();
        assert_eq!(at(0), ["cpu", "some"]);
        assert_eq!(at(1), ["cpu", "full"]);
        assert_eq!(at(5), ["io", "full"]);
    }
}
