//! `cargo xtask generate`: the files that derive from code and are committed.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::vm::records;
use crate::{bench, cmd, repository};

/// A generated file.
struct Generated {
    /// Its path in the repository.
    path: &'static str,
    /// Its whole content.
    content: fn() -> Result<String>,
}

const GENERATED: &[Generated] = &[
    Generated { path: "METRICS.md", content: || Ok(podscope_catalog::reference::markdown()) },
    Generated { path: "README.md", content: bench::readme },
    Generated { path: "docs/cost.md", content: bench::markdown },
    Generated { path: "docs/bench/cost.svg", content: bench::svg },
    Generated { path: "docs/openapi.json", content: openapi },
    Generated { path: records::PAGE, content: || Ok(records::page()) },
];

/// Writes every generated file, or with `check` only compares.
///
/// # Errors
/// When a file cannot be written, or with `check` when one differs.
pub fn generate(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for file in GENERATED {
        let path = repository().join(file.path);
        let content = (file.content)().with_context(|| format!("cannot make {}", file.path))?;
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            continue;
        }
        if check {
            stale.push(file.path);
        } else {
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            println!("written: {}", file.path);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("not current: {}; run `cargo xtask generate` and commit the result", stale.join(", "))
}

/// The hub's own description of its API, with a line's end behind it.
fn openapi() -> Result<String> {
    let mut hub = cmd::cargo(["run", "--quiet", "--package", "podscope-hub", "--", "openapi"]);
    Ok(cmd::output(&mut hub)?.trim_end().to_owned() + "\n")
}
