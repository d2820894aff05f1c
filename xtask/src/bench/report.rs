//! All rows of a run: the table, the committed results, what has changed since them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Family;
use super::row::Row;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// What the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) cgroup: String,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, cpu, cores, memory, cgroup } = self;
        write!(f, "{cpu} ({cores} cores, {memory}), Linux {kernel}, cgroup {cgroup}")
    }
}

/// The rows of one family, and what they were measured on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: Machine,
    /// Percent of all cores that other work took before.
    pub(crate) busy_percent: f64,
    pub(crate) rows: Vec<Row>,
}

/// What was measured, by family.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Report {
    pub(crate) families: BTreeMap<Family, Measured>,
}

impl Report {
    /// Reads committed results; nothing where there are none.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} has no results of a bench", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("results cannot be written as JSON")? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Replaces the families that were measured anew.
    pub(crate) fn take(&mut self, newer: Self) {
        self.families.extend(newer.families);
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.families.values().flat_map(|measured| &measured.rows)
    }

    /// The table, what its figures are made of, and the machine.
    pub(crate) fn text(&self) -> String {
        let mut text = table(self.rows()) + &notes(self.rows());
        let machine = self.families.values().next().map(|measured| measured.machine.to_string());
        let busy: Vec<String> =
            self.families.values().map(|measured| format!("{:.0}", measured.busy_percent)).collect();
        let _infallible = writeln!(
            text,
            "\nMeasured on {}; before each family, other work took {} % of the cores.",
            machine.unwrap_or_default(),
            busy.join(", "),
        );
        text
    }

    /// Each figure beside the one of earlier results.
    pub(crate) fn compared(&self, earlier: &Self) -> String {
        let mut rows = vec![["what", "before", "now", "change"].map(str::to_owned), [(); 4].map(|()| "-".to_owned())];
        for now in self.rows() {
            let before = earlier.rows().find(|before| before.what == now.what);
            let change = before.and_then(|before| Some(now.value? / before.value? - 1.0));
            rows.push([
                now.what.clone(),
                before.map_or_else(|| "none".to_owned(), |before| before.cells()[1].clone()),
                now.cells()[1].clone(),
                change.map_or_else(String::new, |change| format!("{:+.1} %", change * 100.0)),
            ]);
        }
        aligned(&rows)
    }

    /// A document with the rows that have a target between its marks.
    pub(crate) fn written_into(&self, document: &str) -> Option<String> {
        let machine = self.families.values().next().map(|measured| measured.machine.to_string()).unwrap_or_default();
        let rows = table(self.rows().filter(|row| !row.targets.is_empty()));
        between(document, &format!("{rows}\nMeasured on {machine}.\n"))
    }
}

/// A Markdown table of rows.
pub(crate) fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let head = ["what", "podscope", "beside", "target", "verdict"].map(str::to_owned);
    let rule = [(); 5].map(|()| "-".to_owned());
    aligned(&[head, rule].into_iter().chain(rows.map(Row::cells)).collect::<Vec<_>>())
}

/// What the figures of rows are made of, as a list.
pub(crate) fn notes<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let notes: String =
        rows.filter(|row| !row.note.is_empty()).map(|row| format!("- {}: {}\n", row.what, row.note)).collect();
    if notes.is_empty() { notes } else { format!("\n{notes}") }
}

/// A Markdown table that is aligned for people as well; the second row is the rule.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let fill = if index == 1 { "-" } else { " " };
            let padding = fill.repeat(width(column).saturating_sub(cell.chars().count()));
            let _infallible = write!(text, "| {cell}{padding} ");
        }
        text.push_str("|\n");
    }
    text
}

fn between(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Unit;

    fn report(value: f64) -> Report {
        let machine = Machine {
            kernel: "6.1".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory: "8 GB".to_owned(),
            cgroup: "v2".to_owned(),
        };
        let rows = vec![Row::new("switch", Unit::Seconds, value)];
        Report { families: BTreeMap::from([(Family::Switch, Measured { machine, busy_percent: 1.0, rows })]) }
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(between(&old, "| t |\n"), Some(format!("a\n{BEGIN}\n\n| t |\n\n{END}\nb\n")));
        assert_eq!(between("no marks", "t"), None);
    }

    #[test]
    fn results_are_kept_and_compared() {
        let file = tempfile::NamedTempFile::new().unwrap();
        report(100e-9).write(file.path()).unwrap();
        let mut kept = Report::read(file.path()).unwrap();
        let compared = report(110e-9).compared(&kept);
        assert!(compared.contains("| switch | 100 ns | 110 ns | +10.0 % |"), "{compared}");
        let mut other = report(1.0);
        other.families = BTreeMap::from([(Family::Wall, other.families.remove(&Family::Switch).unwrap())]);
        kept.take(other);
        kept.take(report(90e-9));
        let values: Vec<Option<f64>> = kept.rows().map(|row| row.value).collect();
        assert_eq!(values, [Some(90e-9), Some(1.0)]);
        assert!(Report::read(Path::new("/nonexistent/results.json")).unwrap().families.is_empty());
        fs::write(file.path(), "{}}").unwrap();
        assert!(Report::read(file.path()).is_err());
    }
}
