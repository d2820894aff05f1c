//! One measured thing: its figure, what stands beside it, what it should reach, and whether it does.

use serde::{Deserialize, Serialize};

/// What a number counts; times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "B")]
    Bytes,
    /// Of one core.
    #[serde(rename = "% of a core")]
    Percent,
    #[serde(rename = "1")]
    Count,
}

impl Unit {
    /// The number as people write it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
            Self::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Bytes if value < 1e6 => format!("{} kB", digits(value / 1e3)),
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Target {
    /// A number in the row's unit.
    AtMost {
        /// The number.
        at_most: f64,
    },
    /// A multiple of what stands beside it under that name.
    Times {
        /// The factor.
        times: f64,
        /// The name.
        of: String,
    },
    /// More than what stands beside it under that name, by a number in the row's unit.
    Over {
        /// The number.
        over: f64,
        /// The name.
        of: String,
    },
}

impl Target {
    pub(crate) fn at_most(at_most: f64) -> Self {
        Self::AtMost { at_most }
    }

    pub(crate) fn times(times: f64, of: &str) -> Self {
        Self::Times { times, of: of.to_owned() }
    }

    pub(crate) fn over(over: f64, of: &str) -> Self {
        Self::Over { over, of: of.to_owned() }
    }
}

/// A figure measured without podscope or of another program, in the unit of the row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// One measured thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// podscope's figure; without one there is a reason in `not_run`.
    pub(crate) value: Option<f64>,
    pub(crate) not_run: Option<String>,
    pub(crate) beside: Vec<Beside>,
    pub(crate) targets: Vec<Target>,
    /// Why the figure is too uncertain to be judged, where it is.
    pub(crate) undecided: Option<String>,
    /// What the figure is made of.
    pub(crate) note: String,
    /// Where it lies on a curve, where it is one of its points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<At>,
}

/// A place on a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct At {
    /// What grows along it.
    pub(crate) axis: String,
    /// How much there is of that.
    pub(crate) x: f64,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            value: Some(value),
            not_run: None,
            beside: Vec::new(),
            targets: Vec::new(),
            undecided: None,
            note: String::new(),
            at: None,
        }
    }

    /// Makes it a point of a curve.
    pub(crate) fn at(mut self, axis: &str, x: usize) -> Self {
        self.at = Some(At { axis: axis.to_owned(), x: x as f64 });
        self
    }

    pub(crate) fn not_run(what: impl Into<String>, reason: &anyhow::Error) -> Self {
        Self { value: None, not_run: Some(format!("{reason:#}")), ..Self::new(what, Unit::Count, 0.0) }
    }

    pub(crate) fn beside(mut self, name: &str, value: f64) -> Self {
        self.beside.push(Beside { name: name.to_owned(), value });
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Leaves the row without a verdict.
    pub(crate) fn doubt(mut self, doubt: Option<String>) -> Self {
        self.undecided = doubt;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether all targets are reached, and else by how far not; `None` without targets or in doubt.
    fn verdict(&self) -> Option<Result<(), String>> {
        let value = self.value?;
        if self.targets.is_empty() || self.undecided.is_some() {
            return None;
        }
        let misses: Vec<String> = self.targets.iter().filter_map(|target| self.miss(target, value)).collect();
        Some(if misses.is_empty() { Ok(()) } else { Err(misses.join(", ")) })
    }

    fn miss(&self, target: &Target, value: f64) -> Option<String> {
        let other = |name: &String| self.beside.iter().find(|beside| beside.name == *name).map(|beside| beside.value);
        let (limit, of) = match target {
            Target::AtMost { at_most } => (Some(*at_most), String::new()),
            Target::Times { times, of } => (other(of).map(|it| times * it), format!(" ({} × {of})", digits(*times))),
            Target::Over { over, of } => {
                (other(of).map(|it| over + it), format!(" ({of} + {})", self.unit.show(*over)))
            }
        };
        match limit {
            Some(limit) if value <= limit => None,
            // Also where the figure is no number.
            Some(limit) => Some(format!("{} > {}{of}", self.unit.show(value), self.unit.show(limit))),
            None => Some(format!("what{of} is of was not measured")),
        }
    }

    /// What stands in a table: the thing, the figure, what is beside it, the target, the verdict.
    pub(crate) fn cells(&self) -> [String; 5] {
        let value = match (self.value, &self.not_run) {
            (Some(value), _) => self.unit.show(value),
            (None, reason) => format!("not run: {}", reason.as_deref().unwrap_or("no reason given")),
        };
        let ratio = |beside: &Beside| {
            let times = self.value.map_or(f64::NAN, |value| value / beside.value);
            // Far below one, the inverse says more.
            let times = if times < 0.1 { format!("1/{}", digits(1.0 / times)) } else { format!("{times:.2}×") };
            format!("{times} of {} ({})", beside.name, self.unit.show(beside.value))
        };
        let target = |target: &Target| match target {
            Target::AtMost { at_most } => format!("≤ {}", self.unit.show(*at_most)),
            Target::Times { times, of } if *times < 0.1 => format!("≤ 1/{} of {of}", digits(1.0 / times)),
            Target::Times { times, of } => format!("≤ {times}× {of}"),
            Target::Over { over, of } => format!("≤ {of} + {}", self.unit.show(*over)),
        };
        let verdict = match self.verdict() {
            None => self.undecided.as_ref().map_or_else(String::new, |doubt| format!("undecided: {doubt}")),
            Some(Ok(())) => "met".to_owned(),
            Some(Err(misses)) => format!("missed: {misses}"),
        };
        [
            self.what.clone(),
            value,
            self.beside.iter().map(ratio).collect::<Vec<_>>().join(", "),
            self.targets.iter().map(target).collect::<Vec<_>>().join(", "),
            verdict,
        ]
    }
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
            (Unit::Bytes, 1056.0, "1.06 kB"),
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
                .target(Target::at_most(100e-9))
                .target(Target::times(1.5, "empty"))
                .target(Target::over(60e-9, "empty"))
        };
        assert_eq!(row(70e-9).verdict(), Some(Ok(())));
        assert_eq!(row(90e-9).verdict(), Some(Err("90 ns > 75 ns (1.5 × empty)".to_owned())));
        let all = "120 ns > 100 ns, 120 ns > 75 ns (1.5 × empty), 120 ns > 110 ns (empty + 60 ns)";
        assert_eq!(row(120e-9).verdict(), Some(Err(all.to_owned())));
        assert!(row(f64::NAN).verdict().unwrap().is_err());
        let alone = Row::new("switch", Unit::Seconds, 1e-9).target(Target::times(2.0, "empty"));
        assert_eq!(alone.verdict(), Some(Err("what (2 × empty) is of was not measured".to_owned())));
        let doubtful = row(70e-9).doubt(Some("noise".to_owned()));
        assert_eq!((doubtful.verdict(), &*doubtful.cells()[4]), (None, "undecided: noise"));
        assert_eq!(Row::new("plain", Unit::Count, 1.0).verdict(), None);
    }

    #[test]
    fn a_row_is_read_back_as_it_was_written() {
        let row = Row::new("switch", Unit::Seconds, 90e-9)
            .beside("empty", 50e-9)
            .target(Target::at_most(100e-9))
            .target(Target::times(2.0, "empty"))
            .target(Target::over(25e-9, "empty"));
        for row in [row, Row::not_run("wall", &anyhow::anyhow!("no perf"))] {
            let text = serde_json::to_string(&row).unwrap();
            let back: Row = serde_json::from_str(&text).unwrap();
            assert_eq!(back.cells(), row.cells(), "{text}");
        }
    }
}
