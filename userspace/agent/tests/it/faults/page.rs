//! FAULTS.md: the rows with the times measured when it was last written.
//!
//! `PODSCOPE_FAULTS` names the folder in which tests leave what they have measured; without it nothing is kept.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::table::{ROWS, Row};

const HEAD: &str = "# Faults

What the agent does when something that it depends on fails. Each row is a test: it makes the fault happen to a running \
agent, checks what `/status` shows and what is lost, mends it, and waits until all is well again. That nothing is lost \
is checked against the kernel's own counter of a cgroup whose processes work, and end, before, during and after the \
fault, with what the receiver holds in the end.

Written by `cargo xtask faults`, which takes some minutes; `cargo xtask test` runs the quick rows, and checks that \
this page has every row. *Resolution only* means that the points in between are missing, while sums and the last values \
of series that ended meanwhile arrive. The times are those of one run, with two collections a second; retries wait 0.5 to 10 s \
(container runtime), 1 to 30 s (OTLP) or 0.5 to 120 s (Kubernetes), longer after a longer outage.

| dependency | what happens | `/status` shows | seen after | what is lost | well again after |
|---|---|---|---|---|---|
";

/// What a row's test has measured, seconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    seen: Option<f64>,
    back: Option<f64>,
}

fn folder() -> Option<PathBuf> {
    std::env::var_os("PODSCOPE_FAULTS").map(PathBuf::from)
}

impl Measured {
    pub(crate) fn of(seen: Option<Duration>, back: Option<Duration>) -> Self {
        Self { seen: seen.map(|time| time.as_secs_f64()), back: back.map(|time| time.as_secs_f64()) }
    }

    pub(crate) fn keep(&self, id: &str) {
        let show = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s"));
        println!("fault: {id} seen={} back={}", show(self.seen), show(self.back));
        if let Some(folder) = folder() {
            fs::write(folder.join(id), serde_json::to_vec(self).unwrap()).unwrap();
        }
    }

    fn of_row(folder: &Path, id: &str) -> Self {
        let text = fs::read(folder.join(id)).unwrap_or_else(|error| panic!("the row {id} was not measured: {error}"));
        serde_json::from_slice(&text).unwrap()
    }
}

/// A row's line up to the time after which it was seen, and from there up to the other time.
fn line(row: &Row) -> [String; 2] {
    let parts = row.shown.iter().map(|(source, state, reason)| match *reason {
        "" => format!("`{source}` {state}"),
        reason => format!("`{source}` {state}: {reason}"),
    });
    let shown: Vec<String> = parts.collect();
    let shown = if shown.is_empty() { "its restart".to_owned() } else { shown.join("; ") };
    [format!("| {} | {} | {shown} | ", row.dependency, row.fault), format!(" | {} | ", row.lost)]
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../FAULTS.md")
}

#[test]
fn the_page_has_every_row() {
    let page = fs::read_to_string(path()).expect("FAULTS.md is written by `cargo xtask faults`");
    assert!(page.starts_with(HEAD), "FAULTS.md begins otherwise: run `cargo xtask faults`");
    let mut lines = page[HEAD.len()..].lines();
    for row in ROWS {
        let written = lines.next().unwrap_or_default();
        let [begin, rest] = line(row);
        let fits = written.strip_prefix(&begin).is_some_and(|times| times.contains(&rest));
        assert!(fits, "FAULTS.md is not current: run `cargo xtask faults`\n{written}\n{begin}…{rest}…");
    }
    assert_eq!(lines.next(), None, "FAULTS.md has a row too many: run `cargo xtask faults`");
}

#[test]
#[ignore = "writes FAULTS.md from what all rows have measured; run by `cargo xtask faults`"]
fn write() {
    let folder = folder().expect("PODSCOPE_FAULTS names the folder with the measurements");
    let mut page = HEAD.to_owned();
    for row in ROWS {
        let Measured { seen, back } = Measured::of_row(&folder, row.id);
        let time = |time: Option<f64>| time.map_or_else(|| "—".to_owned(), |time| format!("{time:.1} s"));
        let [begin, rest] = line(row);
        writeln!(page, "{begin}{}{rest}{} |", time(seen), time(back)).unwrap();
    }
    fs::write(path(), page).unwrap();
}
