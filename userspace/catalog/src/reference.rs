//! The table in forms for people, machines and the reference page.

use std::fmt::Write as _;

use crate::prometheus::{family_name, label_name};
use crate::{Entity, METRICS, Metric};

/// For people: one line per metric, columns aligned, the longest column last.
pub fn table() -> String {
    let mut rows = vec![["NAME", "UNIT", "INSTRUMENT", "ENTITY", "ATTRIBUTES", "DESCRIPTION"].map(str::to_owned)];
    rows.extend(METRICS.iter().map(|metric| {
        let attributes: Vec<_> = metric.attributes.iter().map(|a| a.key).collect();
        let attributes = if attributes.is_empty() { "-".to_owned() } else { attributes.join(",") };
        [metric.name, metric.unit, metric.instrument.name(), metric.entity.name(), &attributes, metric.description]
            .map(str::to_owned)
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            push(&mut out, format_args!("{cell:width$}  "));
        }
        push(&mut out, format_args!("{}\n", row[5]));
    }
    out
}

/// For machines: an array with one object per metric, each on its own line.
///
/// Keys: `name`, `prometheus`, `unit`, `instrument`, `value_type`, `entity`, `labels` (resource attributes that are
/// Prometheus labels), `attributes` (objects of `key`, `label`, `values`), `source`, `description`.
pub fn json() -> String {
    let objects: Vec<_> = METRICS.iter().map(json_object).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn json_object(metric: &Metric) -> String {
    let attributes = metric.attributes.iter().map(|attribute| {
        let values = json_array(attribute.values.iter().map(|value| json_string(value)));
        let (key, label) = (json_string(attribute.key), json_string(&label_name(attribute.key)));
        format!("{{\"key\":{key},\"label\":{label},\"values\":{values}}}")
    });
    let fields = [
        ("name", json_string(metric.name)),
        ("prometheus", json_string(&family_name(metric))),
        ("unit", json_string(metric.unit)),
        ("instrument", json_string(metric.instrument.name())),
        ("value_type", json_string(metric.value.name())),
        ("entity", json_string(metric.entity.name())),
        ("labels", json_array(metric.entity.labels().iter().map(|key| json_string(&label_name(key))))),
        ("attributes", json_array(attributes)),
        ("source", json_string(metric.source.name())),
        ("description", json_string(metric.description)),
    ];
    format!("{{{}}}", fields.map(|(key, value)| format!("\"{key}\":{value}")).join(","))
}

fn json_array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A JSON string literal (RFC 8259, section 7).
fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => push(&mut out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// METRICS.md, the reference page.
pub fn markdown() -> String {
    let mut out = String::from(
        "<!-- Generated from userspace/catalog/src/table by `cargo xtask generate`. Do not edit. -->\n\
         \n\
         # Metrics\n\
         \n\
         Every metric that the agent exports, by what it belongs to. Over OTLP an entity is a resource and a metric has \
         its first name; in Prometheus text the resource's identifying attributes are labels and the metric has its \
         second name. A label that does not apply to a series is absent from it. Counters are cumulative.\n",
    );
    for entity in Entity::ALL {
        let labels: Vec<_> = entity.labels().iter().map(|key| format!("`{}`", label_name(key))).collect();
        push(
            &mut out,
            format_args!(
                "\n## {}\n\n{}\n\nLabels: {}.\n\n\
                 | metric | Prometheus | type | unit | own labels | description | source |\n\
                 |---|---|---|---|---|---|---|\n",
                heading(entity),
                entity.description(),
                labels.join(", ")
            ),
        );
        for metric in METRICS.iter().filter(|m| m.entity == entity) {
            out.push_str(&markdown_row(metric));
        }
    }
    out
}

fn markdown_row(metric: &Metric) -> String {
    let own: Vec<_> = metric
        .attributes
        .iter()
        .map(|a| format!("`{}`: {}", label_name(a.key), a.values.join(", ").replace('_', "\\_")))
        .collect();
    format!(
        "| `{}` | `{}` | {} | `{}` | {} | {} | {} |\n",
        metric.name,
        family_name(metric),
        metric.instrument.name(),
        metric.unit,
        own.join("; "),
        metric.description.replace('_', "\\_"),
        metric.source.name()
    )
}

fn heading(entity: Entity) -> String {
    let name = entity.name();
    format!("{}{}", name[..1].to_ascii_uppercase(), &name[1..])
}

/// Appends; writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn the_committed_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../METRICS.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "METRICS.md does not match the table: run `cargo xtask generate`");
    }

    /// Python's own JSON reader gets back what stands in the table.
    #[test]
    fn the_json_form_is_read_by_another_parser() {
        let script = "import json, sys\nfor m in json.load(sys.stdin):\n  print(m['name'], m['unit'], \
                      m['instrument'], m['value_type'], len(m['attributes']), m['description'], sep='\\t')";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs python3 (apt-get install python3)");
        python.stdin.take().unwrap().write_all(json().as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        let want: String = METRICS
            .iter()
            .map(|m| {
                let (instrument, value) = (m.instrument.name(), m.value.name());
                let (name, unit, count, text) = (m.name, m.unit, m.attributes.len(), m.description);
                format!("{name}\t{unit}\t{instrument}\t{value}\t{count}\t{text}\n")
            })
            .collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), want);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("a\"b\\c\nd\u{1}é"), r#""a\"b\\c\u000ad\u0001é""#);
    }

    #[test]
    fn the_table_is_aligned() {
        let text = table();
        let mut lines = text.lines();
        let header = lines.next().unwrap();
        let (entity, description) = (header.find("ENTITY").unwrap(), header.find("DESCRIPTION").unwrap());
        for (line, metric) in lines.by_ref().zip(METRICS) {
            assert!(line.starts_with(metric.name), "{line}");
            assert!(line[entity..].starts_with(metric.entity.name()), "{line}");
            assert_eq!(&line[description..], metric.description);
        }
        assert_eq!(text.lines().count(), METRICS.len() + 1);
    }
}
