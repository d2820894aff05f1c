//! The documents: links lead somewhere, queries are understood by Prometheus and ask for metrics that exist, tests that
//! are named as proof are there.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use podscope_catalog::{Instrument, METRICS, prometheus};
use support::{code_blocks, code_spans, program, repository, section};

fn documents() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A heading's anchor, as Git hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, at) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let name = document.display();
            assert!(repository().join(file).exists(), "{name} links to {target}, which is not there");
            if at.is_empty() {
                continue;
            }
            let linked = if file.is_empty() { text.clone() } else { read(file) };
            let headings = linked.lines().filter_map(|line| line.strip_prefix('#'));
            let found = headings.map(|line| anchor(line.trim_start_matches('#'))).any(|anchor| anchor == at);
            assert!(found, "{name} links to {target}, where there is no such heading");
        }
    }
}

#[test]
fn prometheus_understands_the_queries() {
    let readme = read("README.md");
    let queries = code_blocks(&readme, "promql");
    assert!(queries.len() >= 5, "only {} queries", queries.len());
    let rules: Vec<_> =
        (0..).zip(&queries).map(|(i, query)| serde_json::json!({ "record": format!("q{i}"), "expr": query })).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    fs::write(file.path(), serde_json::json!({ "groups": [{ "name": "readme", "rules": rules }] }).to_string())
        .unwrap();
    let checked = program("promtool").args(["check", "rules"]).arg(file.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn queries_ask_for_metrics_and_labels_that_exist() {
    /// Of the language itself.
    const WORDS: [&str; 2] = ["histogram_quantile", "group_left"];
    let mut known: BTreeSet<String> = ["le"].map(str::to_owned).into();
    for metric in METRICS {
        let name = prometheus::family_name(metric);
        if metric.instrument == Instrument::Histogram {
            known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        } else {
            known.insert(name);
        }
        known.extend(metric.entity.labels().iter().map(|label| prometheus::label_name(label)));
        known.extend(metric.attributes.iter().map(|attribute| prometheus::label_name(attribute.key)));
    }
    for query in code_blocks(&read("README.md"), "promql") {
        let words = query.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|word| word.contains('_') && !WORDS.contains(word)) {
            assert!(known.contains(word), "no metric or label {word}: {query}");
        }
    }
}

#[test]
fn tests_that_are_named_as_proof_exist() {
    let mut sources = String::new();
    collect(&repository().join("userspace"), &mut sources);
    collect(&repository().join("ebpf"), &mut sources);
    let architecture = read("ARCHITECTURE.md");
    let rows: Vec<&str> = section(&architecture, "Accounting").lines().filter(|line| line.starts_with("| R")).collect();
    assert_eq!(rows.len(), 23);
    for row in rows {
        let proof = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for test in code_spans(proof) {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}: {row}");
        }
    }
}

fn collect(dir: &Path, sources: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
