//! What the tests of manifests and documents share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it, and a panic is a failed test")]

pub(crate) mod api;
pub(crate) mod kustomize;
pub(crate) mod references;

use std::path::Path;
use std::process::{Command, Stdio};

/// The folder of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A program that `cargo xtask setup --tests` installs.
pub(crate) fn program(name: &str) -> Command {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{name} is not on the search path: run `cargo xtask setup --tests`");
    Command::new(name)
}

/// The text of a Markdown section, up to the next heading of its level or above.
pub(crate) fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let title = format!("\n## {heading}\n");
    let start = document.find(&title).unwrap_or_else(|| panic!("no section {heading}")) + title.len();
    let rest = &document[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// What stands between single backticks on a line.
pub(crate) fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The content of a document's code blocks of one language.
pub(crate) fn code_blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}
