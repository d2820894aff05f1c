//! What a guest said against what was expected of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expected::PROBES;
use super::guest::{Done, Transcript};

/// The promise: how far books and living tasks may be off what the cgroup has counted, in per cent.
const TOLERANCE: f64 = 0.1;
/// Of a failed step's output, so many lines are shown.
const TAIL: usize = 40;

/// One line of the table for one guest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    /// What the line is about.
    pub(crate) row: String,
    /// What is shown.
    pub(crate) shown: String,
    /// What is wrong, with the evidence.
    pub(crate) fault: Option<String>,
}

impl Cell {
    fn new(row: &str, shown: impl Into<String>, fault: Option<String>) -> Self {
        Self { row: row.to_owned(), shown: shown.into(), fault }
    }
}

/// Judges all that a guest was to do; `kernel` is its place among the kernels.
pub(crate) fn judge(kernel: usize, transcript: &Transcript, steps: &[&str]) -> Vec<Cell> {
    let release = transcript.release.clone();
    let fault =
        (!transcript.complete).then(|| format!("it did not get to its end; {}", tail(&transcript.rest.join("\n"))));
    let mut cells = vec![Cell::new("release", release, fault)];
    for name in steps {
        let Some(step) = transcript.step(name) else {
            cells.push(Cell::new(name, "not run", Some("it was not run".to_owned())));
            continue;
        };
        match *name {
            "status" => cells.extend(status(kernel, step)),
            "complaints" => cells.push(complaints(step)),
            _ => cells.extend(tests(step)),
        }
    }
    cells
}

/// The agent's own account, `/status`: every probe, and what was lost.
fn status(kernel: usize, step: &Done) -> Vec<Cell> {
    let Ok(status) = serde_json::from_str::<Value>(&step.text) else {
        return vec![Cell::new("status", "none", Some(format!("the agent gave no status: {}", tail(&step.text))))];
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = status["probes"].as_array().into_iter().flatten();
    let said: Vec<_> = said.map(|p| (text(&p["name"]), text(&p["state"]), text(&p["reason"]))).collect();
    let mut cells: Vec<_> = PROBES
        .iter()
        .map(|(name, expected)| {
            let found = said.iter().find(|(own, ..)| own == name);
            let (state, reason) = found.map_or(("missing", ""), |(_, state, reason)| (state, reason));
            let met = expected[kernel].is_met(state, reason);
            Cell::new(name, state, (!met).then(|| format!("{state} ({reason}), expected: {:?}", expected[kernel])))
        })
        .collect();
    for (name, state, _) in said.iter().filter(|(name, ..)| !PROBES.iter().any(|(known, _)| known == name)) {
        cells.push(Cell::new(name, state, Some("it is not in the table of expectations".to_owned())));
    }
    let losses = status["losses"].as_object().into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
    let losses: Vec<_> = losses.map(|(reason, count)| format!("{reason} {count}")).collect();
    let fault = (!losses.is_empty()).then(|| losses.join(", "));
    cells.push(Cell::new("losses", if losses.is_empty() { "none" } else { "some" }, fault));
    cells.push(Cell::new("the agent's end", code(step), (step.code != Some(0)).then(|| tail(&step.text))));
    cells
}

/// Test programs: their own verdict, and the figures that they print of conservation, of each kind the worst.
fn tests(step: &Done) -> Vec<Cell> {
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    for (of, off) in step.text.lines().filter_map(conservation) {
        let entry = worst.entry(of).or_insert(off);
        if off.is_nan() || off.abs() > entry.abs() {
            *entry = off;
        }
    }
    let mut cells: Vec<_> = worst
        .into_iter()
        .map(|(of, off)| {
            let fault =
                (off.is_nan() || off.abs() > TOLERANCE).then(|| format!("{off} % off, allowed are {TOLERANCE} %"));
            Cell::new(&format!("conservation, {of}"), format!("{off:+.4} %"), fault)
        })
        .collect();
    let passed: Option<u32> = step.text.lines().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split_once(" passed; 0 failed; 0 ignored")?.0.parse().ok()
    });
    let whole = step.code == Some(0) && passed.is_some_and(|count| count > 0);
    let shown = passed.filter(|_| whole).map_or("FAILED".to_owned(), |count| format!("{count} passed"));
    let fault = (!whole).then(|| format!("exit {}:\n{}", code(step), tail(&step.text)));
    cells.push(Cell::new(&format!("tests, {}", step.name), shown, fault));
    cells
}

/// A line `conservation: of=WHAT … off=PERCENT%`: what, and by how much.
fn conservation(line: &str) -> Option<(&str, f64)> {
    // A test's name and what it prints stand on one line.
    let (_, said) = line.split_once("conservation: ")?;
    let field = |name: &str| said.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Some((field("of")?, field("off")?.strip_suffix('%')?.parse().ok()?))
}

/// What the kernel's log has of its own faults.
fn complaints(step: &Done) -> Cell {
    let said = step.text.trim();
    let shown = if said.is_empty() { "none" } else { "some" };
    Cell::new("the kernel's complaints", shown, (!said.is_empty()).then(|| said.to_owned()))
}

fn code(step: &Done) -> String {
    step.code.map_or("never".to_owned(), |code| code.to_string())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(name: &str, text: &str, code: i32) -> Done {
        Done { name: name.to_owned(), text: text.to_owned(), code: Some(code) }
    }

    fn fault<'a>(cells: &'a [Cell], row: &str) -> Option<&'a str> {
        cells.iter().find(|cell| cell.row == row).unwrap_or_else(|| panic!("no {row}")).fault.as_deref()
    }

    #[test]
    fn tests_must_have_run_and_passed() {
        let ok = "test a ... conservation: of=storage books=1 cgroup=1 off=-0.0166%\nok\n\
                  test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured\n";
        let cells = tests(&done("kernel", ok, 0));
        assert_eq!(cells[0], Cell::new("conservation, storage", "-0.0166 %", None));
        assert_eq!(cells[1], Cell::new("tests, kernel", "7 passed", None));
        let failed = |text: &str, code| fault(&tests(&done("kernel", text, code)), "tests, kernel").is_some();
        assert!(failed(ok, 101));
        assert!(
            failed("test result: ok. 0 passed; 0 failed; 0 ignored; 7 filtered out\n", 0),
            "a filter that fits nothing"
        );
        assert!(failed("", 0));
    }

    #[test]
    fn the_worst_figure_is_held_to_the_promise() {
        let fault = |figures: &[&str]| {
            let line = |off: &&str| format!("conservation: of=a off={off}%\n");
            let text: String = figures.iter().map(line).collect();
            fault(&tests(&done("kernel", &text, 0)), "conservation, a").map(str::to_owned)
        };
        assert_eq!(fault(&["+0.0999", "-0.0100"]), None);
        assert_eq!(fault(&["+0.0100", "-0.1001", "+0.0200"]).as_deref(), Some("-0.1001 % off, allowed are 0.1 %"));
        assert!(fault(&["0.0", "NaN"]).is_some());
        assert_eq!(conservation("conservation is a word"), None);
    }

    #[test]
    fn every_probe_is_held_against_the_table() {
        let probe = |(name, expected): &(&str, [super::super::expected::Expected; 4])| {
            if expected[0].is_met("up", "") {
                serde_json::json!({ "name": name, "state": "up" })
            } else {
                let reason = "the kernel itself counts run-queue waits; kvm is not loaded";
                serde_json::json!({ "name": name, "state": "off", "reason": reason })
            }
        };
        let mut status_json = serde_json::json!({
            "probes": PROBES.iter().map(probe).collect::<Vec<_>>(), "losses": { "books": 0 },
        });
        let judged = |json: &Value| status(0, &done("status", &json.to_string(), 0));
        assert!(judged(&status_json).iter().all(|cell| cell.fault.is_none()));
        status_json["probes"][0]["state"] = "absent".into();
        status_json["losses"]["books"] = 3.into();
        let cells = judged(&status_json);
        assert!(fault(&cells, PROBES[0].0).is_some_and(|fault| fault.contains("absent")));
        assert_eq!(fault(&cells, "losses"), Some("books 3"));
        status_json["probes"].as_array_mut().unwrap().remove(0);
        assert!(fault(&judged(&status_json), PROBES[0].0).is_some_and(|fault| fault.contains("missing")));
        assert!(fault(&status(0, &done("status", "no JSON", 1)), "status").is_some());
    }

    #[test]
    fn a_guest_that_dies_is_a_fault() {
        let cells = judge(0, &Transcript::default(), &["status"]);
        assert!(fault(&cells, "release").is_some() && fault(&cells, "status").is_some());
    }
}
