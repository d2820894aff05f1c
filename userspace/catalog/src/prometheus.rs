//! Prometheus names, by the OpenTelemetry-to-Prometheus rules.
//!
//! Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", OTLP metric points to
//! Prometheus. Where it leaves a choice, the choice is that of Prometheus's own OTLP receiver, so that a series
//! has one name whichever way it came:
//!
//! - every character outside `[a-zA-Z0-9_]` becomes `_`, runs of `_` become one;
//! - the unit is spelled out and appended (`s` → `_seconds`, `By` → `_bytes`), unless the name ends in it already;
//! - unit `1` becomes `_ratio` for gauges and nothing for sums;
//! - units in braces count things and are dropped;
//! - counters end in `_total`.

use crate::{Instrument, Metric};

/// The `# TYPE` of a metric: `counter`, `gauge` or `histogram`.
pub const fn type_name(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::Counter => "counter",
        Instrument::UpDownCounter | Instrument::Gauge => "gauge",
        Instrument::Histogram => "histogram",
    }
}

/// The unit that a metric's name carries; `None` where it counts things.
pub fn unit_name(metric: &Metric) -> Option<&'static str> {
    match metric.unit {
        "s" => Some("seconds"),
        "By" => Some("bytes"),
        "W" => Some("watts"),
        "J" => Some("joules"),
        "Cel" => Some("celsius"),
        "1" if metric.instrument == Instrument::Gauge => Some("ratio"),
        _ => None,
    }
}

/// The name of a metric without `_total`: what OpenMetrics calls the family of a counter.
pub fn base_name(metric: &Metric) -> String {
    let mut name = label_name(metric.name);
    if let Some(unit) = unit_name(metric)
        && name.rsplit('_').next() != Some(unit)
    {
        name.push('_');
        name.push_str(unit);
    }
    name
}

/// The name of a metric in the text format; a histogram's samples append `_bucket`, `_sum` and `_count`.
pub fn family_name(metric: &Metric) -> String {
    let mut name = base_name(metric);
    if metric.instrument == Instrument::Counter && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

/// The label that stands for an OpenTelemetry attribute key: `k8s.pod.name` → `k8s_pod_name`.
pub fn label_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 1);
    for c in key.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if name.is_empty() && c.is_ascii_digit() {
            name.push('_');
        }
        if c != '_' || !name.ends_with('_') {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entity, METRICS, Source, ValueType, id};
    use std::collections::HashMap;

    const fn made(name: &'static str, unit: &'static str, instrument: Instrument) -> Metric {
        let (value, entity, source) = (ValueType::Double, Entity::Agent, Source::Agent);
        Metric { name, unit, instrument, value, entity, attributes: &[], source, description: "" }
    }

    /// The examples of the specification and of the receiver's documentation, then rows of ours.
    #[test]
    fn names_follow_the_specification() {
        for (metric, family) in [
            (made("system.filesystem.usage", "By", Instrument::UpDownCounter), "system_filesystem_usage_bytes"),
            (made("system.network.dropped", "{packets}", Instrument::Counter), "system_network_dropped_total"),
            (made("system.memory.utilization", "1", Instrument::Gauge), "system_memory_utilization_ratio"),
            (made("hw.status", "1", Instrument::UpDownCounter), "hw_status"),
            (made("a__b..c", "s", Instrument::Histogram), "a_b_c_seconds"),
            (made("time.in.seconds", "s", Instrument::Counter), "time_in_seconds_total"),
            (made("time.in.milliseconds", "s", Instrument::Gauge), "time_in_milliseconds_seconds"),
            (*id::PROCESS_CPU_TIME.metric(), "process_cpu_time_seconds_total"),
            (*id::EXECUTABLE_CPU_TIME.metric(), "podscope_executable_cpu_time_seconds_total"),
            (*id::PROCESS_MEMORY_USAGE.metric(), "process_memory_usage_bytes"),
            (*id::PROCESS_CONTEXT_SWITCHES.metric(), "process_context_switches_total"),
            (*id::CONTAINER_RUN_QUEUE_WAIT.metric(), "podscope_container_run_queue_wait_seconds"),
            (*id::GPU_ENERGY.metric(), "hw_energy_joules_total"),
            (*id::GPU_POWER.metric(), "hw_power_watts"),
            (*id::GPU_TEMPERATURE.metric(), "hw_temperature_celsius"),
            (*id::GPU_UTILIZATION.metric(), "hw_gpu_utilization_ratio"),
            (*id::AGENT_PROBE_UP.metric(), "podscope_agent_probe_up"),
        ] {
            assert_eq!(family_name(&metric), family);
        }
    }

    #[test]
    fn labels_follow_the_specification() {
        assert_eq!(label_name("k8s.pod.name"), "k8s_pod_name");
        assert_eq!(label_name("cpu.mode"), "cpu_mode");
        assert_eq!(label_name("0day"), "_0day");
        assert_eq!(label_name("a.-b"), "a_b");
    }

    /// Every sample name that the table can produce, so that a histogram's `_count` cannot meet another's either.
    #[test]
    fn no_two_metrics_share_a_sample_name() {
        let mut seen = HashMap::new();
        for metric in METRICS {
            let base = base_name(metric);
            let mut names = vec![family_name(metric)];
            match metric.instrument {
                Instrument::Counter => names.push(format!("{base}_created")),
                Instrument::Histogram => {
                    names.extend(["bucket", "sum", "count", "created"].map(|s| format!("{base}_{s}")));
                }
                Instrument::UpDownCounter | Instrument::Gauge => {}
            }
            for name in names {
                if let Some(other) = seen.insert(name.clone(), metric.name) {
                    panic!("{} and {other} both become {name}", metric.name);
                }
            }
        }
    }

    /// A name that carried no unit although its row has one would be a unit that this module does not know.
    #[test]
    fn every_unit_of_the_table_is_known() {
        for metric in METRICS {
            assert!(
                unit_name(metric).is_some() || metric.unit.starts_with('{'),
                "{} has the unit {:?}, which has no Prometheus name",
                metric.name,
                metric.unit
            );
        }
    }

    /// `le` and `quantile` have a meaning of their own.
    #[test]
    fn attributes_have_usable_labels() {
        for attribute in crate::attribute::ATTRIBUTES {
            let name = label_name(attribute.key);
            assert!(!["le", "quantile", "job", "instance"].contains(&name.as_str()), "{name} is reserved");
            for value in attribute.values {
                assert!(value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}={value} needs escaping");
            }
        }
    }
}
