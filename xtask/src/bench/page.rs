//! docs/cost.md: the committed results and instruction counts as a page.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use super::report::{Report, notes, table};
use super::{RESULTS, picture};
use crate::{guard, repository};

const HEAD: &str = "\
# What podscope costs

<!-- Written by `cargo xtask generate` from docs/bench; do not edit. -->

`cargo xtask bench --save` measures all of this on the machine it runs on, writes [bench/results.json](bench/results.json) and from it this page and the picture; `cargo xtask bench FAMILY --compare` prints what has changed since. What other programs do beside podscope is measured in the same run. A row whose scatter hides the answer says that it is undecided.
";

const GUARD: &str = "
## Instructions

`cargo xtask guard` counts the instructions of four parts of the agent on a made-up node of 2,000 processes in 50 containers (three collections, three encodings, ten look-ups of 2,000 cgroups), which neither the machine nor its other work changes by much. It fails where one needs over 10 % more than this; `--update` takes today's counts.

| part | instructions |
|---|---|
";

/// README.md with its table between the two marks: the rows that have a target.
pub(crate) fn readme() -> Result<String> {
    let path = repository().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let report = Report::read(&repository().join(RESULTS))?;
    report.written_into(&text).with_context(|| format!("{} has no marks for the table of bench", path.display()))
}

/// The page.
pub(crate) fn markdown() -> Result<String> {
    let report = Report::read(&repository().join(RESULTS))?;
    let mut page = HEAD.to_owned();
    let _infallible =
        write!(page, "\n![Cost of a context switch, and of a collection as it grows]({})\n", picture::NAME);
    for (family, measured) in &report.families {
        let title = family.help();
        let _infallible = write!(
            page,
            "\n## {title}\n\n`cargo xtask bench {}`, on {}; other work took {:.0} % of the cores before.\n\n{}{}",
            family.name(),
            measured.machine,
            measured.busy_percent,
            table(measured.rows.iter()),
            notes(measured.rows.iter()),
        );
    }
    page.push_str(GUARD);
    for (part, count) in guard::expected()? {
        let _infallible = writeln!(page, "| {part} | {count} |");
    }
    Ok(page)
}
