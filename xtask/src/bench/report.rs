//! Rows with their ratios and verdicts, as a table, as JSON and in the README.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// What a number counts; times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    /// Of one core.
    Percent,
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Percent => "% of a core",
            Self::Count => "1",
        }
    }

    /// The number as people write it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
            Self::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Bytes => format!("{} MB", digits(value / 1e6)),
            Self::Percent => format!("{} %", digits(value)),
            Self::Count => digits(value),
        }
    }
}

/// Three significant digits, whole numbers from 100 on.
fn digits(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What a row should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// A number in the row's unit.
    AtMost(f64),
    /// A multiple of what stands beside it under that name.
    Times(f64, &'static str),
}

/// One measured thing.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: Unit,
    /// podscope's figure, or why there is none.
    pub(super) value: Result<f64, String>,
    /// The same measured without podscope or of another program, in the same unit.
    pub(super) beside: Vec<(&'static str, f64)>,
    pub(super) targets: Vec<Target>,
    /// Why the figure is too uncertain to be judged, where it is.
    pub(super) doubt: Option<String>,
    /// What the figure is made of.
    pub(super) note: String,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        let (beside, targets, note) = (Vec::new(), Vec::new(), String::new());
        Self { what: what.into(), unit, value: Ok(value), beside, targets, doubt: None, note }
    }

    pub(super) fn not_run(what: impl Into<String>, reason: &anyhow::Error) -> Self {
        Self { value: Err(format!("{reason:#}")), ..Self::new(what, Unit::Count, 0.0) }
    }

    pub(super) fn beside(mut self, name: &'static str, value: f64) -> Self {
        self.beside.push((name, value));
        self
    }

    pub(super) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Leaves the row without a verdict.
    pub(super) fn doubt(mut self, doubt: Option<String>) -> Self {
        self.doubt = doubt;
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether all targets are reached, and else by how far not; `None` without targets or in doubt.
    fn verdict(&self) -> Option<Result<(), String>> {
        let value = *self.value.as_ref().ok()?;
        let misses: Vec<String> = self.targets.iter().filter_map(|target| self.miss(*target, value)).collect();
        if self.targets.is_empty() || self.doubt.is_some() {
            return None;
        }
        Some(if misses.is_empty() { Ok(()) } else { Err(misses.join(", ")) })
    }

    fn miss(&self, target: Target, value: f64) -> Option<String> {
        let (limit, of) = match target {
            Target::AtMost(limit) => (limit, String::new()),
            Target::Times(times, name) => match self.beside.iter().find(|(beside, _)| *beside == name) {
                Some((_, other)) => (times * other, format!(" ({} × {name})", digits(times))),
                None => return Some(format!("{name} was not measured")),
            },
        };
        (value > limit).then(|| format!("{} > {}{of}", self.unit.show(value), self.unit.show(limit)))
    }

    fn cells(&self) -> [String; 5] {
        let value = match &self.value {
            Ok(value) => self.unit.show(*value),
            Err(reason) => format!("not run: {reason}"),
        };
        let ratio = |(name, other): &(&str, f64)| {
            let times = self.value.as_ref().map_or(f64::NAN, |value| value / other);
            // Far below one, the inverse says more.
            let times = if times < 0.1 { format!("1/{}", digits(1.0 / times)) } else { format!("{times:.2}×") };
            format!("{times} of {name} ({})", self.unit.show(*other))
        };
        let targets = self.targets.iter().map(|target| match target {
            Target::AtMost(limit) => format!("≤ {}", self.unit.show(*limit)),
            Target::Times(times, name) if *times < 0.1 => format!("≤ 1/{} of {name}", digits(1.0 / times)),
            Target::Times(times, name) => format!("≤ {times}× {name}"),
        });
        let verdict = match self.verdict() {
            None => self.doubt.as_ref().map_or_else(String::new, |doubt| format!("undecided: {doubt}")),
            Some(Ok(())) => "met".to_owned(),
            Some(Err(misses)) => format!("missed: {misses}"),
        };
        [
            self.what.clone(),
            value,
            self.beside.iter().map(ratio).collect::<Vec<_>>().join(", "),
            targets.collect::<Vec<_>>().join(", "),
            verdict,
        ]
    }

    fn json(&self, family: &str) -> Value {
        let limit = |target: &Target| match target {
            Target::AtMost(limit) => json!({ "at_most": limit }),
            Target::Times(times, name) => json!({ "times": times, "of": name }),
        };
        json!({
            "family": family,
            "what": self.what,
            "unit": self.unit.name(),
            "value": self.value.as_ref().ok(),
            "not_run": self.value.as_ref().err(),
            "beside": self.beside.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
            "targets": self.targets.iter().map(limit).collect::<Vec<_>>(),
            "met": self.verdict().map(|verdict| verdict.is_ok()),
            "undecided": self.doubt,
            "note": self.note,
        })
    }
}

/// All rows of a run, with their family, and the machine they were measured on.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) rows: Vec<(&'static str, Row)>,
    facts: Value,
    /// Percent of all cores that were busy before each family was measured.
    pub(super) busy: Vec<f64>,
}

impl Report {
    pub(super) fn new(facts: Value) -> Self {
        Self { rows: Vec::new(), facts, busy: Vec::new() }
    }

    /// A Markdown table that is aligned for people as well, what its figures are made of, and the machine.
    pub(super) fn text(&self) -> String {
        let head = ["what", "podscope", "beside", "target", "verdict"].map(str::to_owned);
        let rule = [(); 5].map(|()| "-".to_owned());
        let rows: Vec<[String; 5]> =
            [head, rule].into_iter().chain(self.rows.iter().map(|(_, row)| row.cells())).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (index, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                let fill = if index == 1 { "-" } else { " " };
                let padding = fill.repeat(width.saturating_sub(cell.chars().count()));
                let _infallible = write!(text, "| {cell}{padding} ");
            }
            text.push_str("|\n");
        }
        text.push('\n');
        for (_, row) in self.rows.iter().filter(|(_, row)| !row.note.is_empty()) {
            let _infallible = writeln!(text, "- {}: {}", row.what, row.note);
        }
        let fact = |name: &str| self.facts[name].as_str().unwrap_or_default().to_owned();
        let _infallible = writeln!(
            text,
            "\nMeasured on {} ({} cores), Linux {}, cgroup {}; before each family, other work took {} % of the cores.",
            fact("cpu"),
            self.facts["cores"],
            fact("kernel"),
            fact("cgroup"),
            self.busy.iter().map(|percent| format!("{percent:.0}")).collect::<Vec<_>>().join(", "),
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|(family, row)| row.json(family)).collect();
        json!({ "machine": self.facts, "busy_percent": self.busy, "rows": rows })
    }

    /// Writes the table between the marks of a document; one without marks stays as it is.
    pub(super) fn write_into(&self, path: &Path) -> Result<()> {
        let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        match between(&old, &self.text()) {
            Some(new) => fs::write(path, new).with_context(|| format!("cannot write {}", path.display())),
            None => {
                println!("{} has no marks {BEGIN} and {END}: left as it is", path.display());
                Ok(())
            }
        }
    }
}

fn between(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_fitting_unit() {
        for (unit, value, text) in [
            (Unit::Seconds, 96.4e-9, "96.4 ns"),
            (Unit::Seconds, 100e-9, "100 ns"),
            (Unit::Seconds, 2.756e-6, "2.76 µs"),
            (Unit::Seconds, 0.010, "10 ms"),
            (Unit::Seconds, 1.05, "1.05 s"),
            (Unit::Bytes, 30e6, "30 MB"),
            (Unit::Percent, 1.5, "1.5 %"),
            (Unit::Count, 100_000.0, "100000"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn a_row_is_judged_by_every_target() {
        let row = |value| {
            Row::new("switch", Unit::Seconds, value)
                .beside("empty", 50e-9)
                .target(Target::AtMost(100e-9))
                .target(Target::Times(1.5, "empty"))
        };
        assert_eq!(row(70e-9).verdict(), Some(Ok(())));
        assert_eq!(row(90e-9).verdict(), Some(Err("90 ns > 75 ns (1.5 × empty)".to_owned())));
        assert_eq!(row(110e-9).verdict(), Some(Err("110 ns > 100 ns, 110 ns > 75 ns (1.5 × empty)".to_owned())));
        let alone = Row::new("switch", Unit::Seconds, 1e-9).target(Target::Times(2.0, "empty"));
        assert_eq!(alone.verdict(), Some(Err("empty was not measured".to_owned())));
        let doubtful = row(70e-9).doubt(Some("noise".to_owned()));
        assert_eq!((doubtful.verdict(), &*doubtful.cells()[4]), (None, "undecided: noise"));
        assert_eq!(Row::new("plain", Unit::Count, 1.0).verdict(), None);
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(between(&old, "| t |\n"), Some(format!("a\n{BEGIN}\n\n| t |\n\n{END}\nb\n")));
        assert_eq!(between("no marks", "t"), None);
    }
}
