//! docs/acceptance.md and docs/names.md: no row is missing, tests that are named exist, names are the catalogue's.

mod support;

use std::collections::BTreeSet;
use std::fs;

use podscope_catalog::METRICS;
use support::{code_spans, repository, section};

/// A row that has no figure or no test yet, or never will, says so first.
const WITHOUT: [&str; 2] = ["not yet", "left out"];

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of a document's table rows, without heads and rules.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = document.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|---");
    let body = |at: &usize| {
        let is_head = lines.get(at + 1).is_some_and(is_rule);
        lines[*at].starts_with('|') && !is_rule(&lines[*at]) && !is_head
    };
    (0..lines.len()).filter(body).map(|at| lines[at].trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn no_feature_is_missing_and_every_test_named_exists() {
    let document = read("docs/acceptance.md");
    let rows = rows(&document);
    let numbers = |of: &str, range: std::ops::RangeInclusive<u32>| range.map(move |n| format!("{of}.{n}")).collect();
    let wanted: Vec<Vec<String>> = vec![
        numbers("S1", 14..=20),
        numbers("S1", 28..=28),
        numbers("S2", 1..=42),
        numbers("S3", 18..=34),
        numbers("S3", 43..=43),
        numbers("S4", 17..=31),
    ];
    let wanted = wanted.concat();
    assert_eq!(rows.iter().map(|row| row[0].to_owned()).collect::<Vec<_>>(), wanted);
    for row in &rows {
        let [number, feature, place, proof] = row[..] else { panic!("{row:?} has not four cells") };
        assert!(!feature.is_empty() && !place.is_empty(), "{number}: an empty cell");
        let tests: Vec<&str> = code_spans(proof).collect();
        assert_eq!(tests.is_empty(), WITHOUT.iter().any(|word| proof.starts_with(word)), "{number}: {proof}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{number}: {test} is no path::name"));
            assert!(read(file).contains(&format!("fn {name}(")), "{number}: there is no {name} in {file}");
        }
    }
}

/// Points of the standard's level 1 are proved by a test, hold by design, or are left out for a reason.
#[test]
fn points_of_security_are_proved() {
    let document = read("docs/security.md");
    let rows = rows(section(&document, "Checklist"));
    assert!(rows.len() > 50, "{} rows", rows.len());
    let numbers: Vec<Vec<u32>> =
        rows.iter().map(|row| row[0].split('.').map(|part| part.parse().unwrap_or_default()).collect()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "the numbers do not rise");
    for row in &rows {
        let [number, point, proof] = row[..] else { panic!("{row:?} has not three cells") };
        assert!(!point.is_empty(), "{number}: an empty cell");
        let tests: Vec<&str> = code_spans(proof).filter(|span| span.contains("::")).collect();
        let reason = ["by design: ", "left out: "].iter().any(|word| proof.starts_with(word));
        assert_eq!(tests.is_empty(), reason, "{number}: {proof}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let path = format!("userspace/hub/{file}");
            assert!(read(&path).contains(&format!("fn {name}(")), "{number}: there is no {name} in {path}");
        }
    }
}

#[test]
fn older_names_lead_to_metrics_that_exist() {
    let document = read("docs/names.md");
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let mut mapped = BTreeSet::new();
    let tables = [
        "Heapster's catalogue",
        "kubemon: the operating system",
        "kubemon: a process",
        "kubemon: a container of Docker",
    ];
    for table in tables {
        for row in rows(section(&document, table)) {
            let [old, here, unit] = row[..] else { panic!("{row:?} has not three cells") };
            assert!(!unit.is_empty(), "{old} says nothing of its unit");
            let names: Vec<&str> = code_spans(here).collect();
            assert_eq!(names.is_empty(), WITHOUT.contains(&here), "{old}: {here}");
            for name in names {
                assert!(known.contains(name), "{old}: there is no metric {name}");
                mapped.insert(name);
            }
        }
    }
    assert_eq!(rows(section(&document, tables[0])).len(), 37);
    assert!(mapped.len() > 60, "{} metrics", mapped.len());
    for word in code_spans(&document).filter(|word| word.starts_with("podscope.") && !word.contains(['*', '…'])) {
        assert!(known.contains(word), "there is no metric {word}");
    }
}
