//! Figures from the agent's page.

use std::collections::HashMap;

/// The sum of a metric's samples that have all these labels; 0 where there are none.
pub(super) fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    samples(page, name).filter(|(set, _)| has(set, labels)).map(|(_, value)| value).sum()
}

/// A metric's samples: labels as they stand there, and value.
pub(super) fn samples<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        // Another metric's name may begin with this one's.
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}

/// The sums of a metric's samples by the value of a label, in one pass: pages may have a million lines.
pub(super) fn by<'a>(page: &'a str, name: &'a str, label: &str) -> HashMap<&'a str, f64> {
    let mut sums = HashMap::new();
    for (set, value) in samples(page, name) {
        *sums.entry(value_of(set, label).unwrap_or_default()).or_default() += value;
    }
    sums
}

/// A label's value, as it stands there.
fn value_of<'a>(set: &'a str, label: &str) -> Option<&'a str> {
    let key = format!("{label}=\"");
    let (at, _) = set.match_indices(&key).find(|(at, _)| set[..*at].ends_with(['{', ',']))?;
    set[at + key.len()..].split('"').next()
}

fn has(set: &str, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(label, value)| value_of(set, label) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_apart_by_name_and_labels() {
        let page = "# HELP a x\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{xx=\"1\"} 5\nab 7\nc 1e3\n";
        assert_eq!(sum(page, "a", &[("x", "1")]), 7.0);
        assert_eq!(sum(page, "a", &[("x", "1"), ("y", "3")]), 4.0);
        assert_eq!((sum(page, "a", &[]), sum(page, "c", &[]), sum(page, "b", &[])), (12.0, 1000.0, 0.0));
        assert_eq!(by(page, "a", "y"), HashMap::from([("2", 3.0), ("3", 4.0), ("", 5.0)]));
    }
}
