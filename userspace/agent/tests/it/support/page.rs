//! A `/metrics` page, read back.

use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Name and labels as they stand there: the series.
    pub(crate) series: String,
    /// Metric.
    pub(crate) name: String,
    /// Label values by name.
    pub(crate) labels: BTreeMap<String, String>,
    /// Value.
    pub(crate) value: f64,
}

impl Sample {
    /// A label's value; empty where it is missing, as in Prometheus.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All lines of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) samples: Vec<Sample>,
}

/// Wanted values of labels; `""` means that the label is missing.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Reads the text form; panics on a line that is none of it.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self { samples: lines.map(sample).collect() }
    }

    /// The lines of a metric with these labels.
    pub(crate) fn select<'a>(&'a self, name: &'a str, labels: Labels<'a>) -> impl Iterator<Item = &'a Sample> {
        let wanted = move |sample: &&Sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == *value)
        };
        self.samples.iter().filter(wanted)
    }

    /// The sum of the lines of a metric with these labels; 0 where there are none.
    pub(crate) fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// The one line of a metric with these labels, where it is there.
    pub(crate) fn get(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let mut found = self.select(name, labels);
        let value = found.next()?.value;
        assert!(found.next().is_none(), "{name}{labels:?} stands there more than once");
        Some(value)
    }

    /// The one line of a metric with these labels; panics where it is missing.
    pub(crate) fn one(&self, name: &str, labels: Labels<'_>) -> f64 {
        let Some(value) = self.get(name, labels) else {
            let near: Vec<_> = self.samples.iter().filter(|s| s.name == name).map(|s| &s.series).collect();
            panic!("{name}{labels:?} is missing; there are {near:#?}")
        };
        value
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().unwrap_or_else(|_| panic!("no number in {line:?}")),
    };
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("no end of labels in {line:?}")));
    Sample { series: series.to_owned(), name: name.to_owned(), labels, value }
}

/// `a="b",c="d"`, with `\\`, `\"` and `\n` escaped in values.
fn labels(mut rest: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("no end of a value in {rest:?}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => panic!("no end of an escape in {rest:?}"),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = after[end + 1..].strip_prefix(',').unwrap_or("");
    }
    labels
}

#[test]
fn a_page_is_read_back() {
    let page = Page::parse("# HELP a b\na{x=\"1, \\\"\\\\\",y=\"}\"} 1.5\nb 2e3\nc_bucket{le=\"+Inf\"} +Inf\n");
    assert_eq!(page.one("a", &[("x", "1, \"\\"), ("y", "}"), ("z", "")]), 1.5);
    assert_eq!((page.one("b", &[]), page.one("c_bucket", &[("le", "+Inf")])), (2000.0, f64::INFINITY));
}
