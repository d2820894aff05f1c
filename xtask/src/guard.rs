//! `cargo xtask guard`: instructions of collection, attribution and encoding, counted by callgrind and compared with
//! the committed counts. Time depends on the machine and on who shares it; instructions hardly do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::setup::{self, packages, toolchain::Source};
use crate::{cmd, generate, repository, run};

/// The committed counts.
const FILE: &str = "docs/bench/instructions.json";
/// What `userspace/agent/examples/guard.rs` knows.
const PARTS: [&str; 4] = ["collection", "attribution", "prometheus", "otlp"];
/// More than this above the committed count is an error: maps are seeded at random, and C libraries differ.
const TOLERANCE: f64 = 0.1;

/// Instructions by part.
pub(crate) type Counts = BTreeMap<String, u64>;

/// What to do with the counts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take today's counts as the expected ones.
    #[arg(long)]
    update: bool,
}

/// Counts, prints count, expected count and change, and writes the counts where that was asked for.
///
/// # Errors
/// When the guard cannot be built or run, or a part needs over 10 % more instructions than expected.
pub fn guard(args: &Args) -> Result<()> {
    let counted = count()?;
    let path = repository().join(FILE);
    if args.update {
        let rustc = cmd::output(&mut cmd::command("rustc", ["--version"]))?;
        let text = format!("{:#}\n", json!({ "rustc": rustc, "instructions": counted }));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        return generate::generate(false);
    }
    let (expected, rustc) = read(&path)?;
    print!("{}", table(&counted, &expected));
    println!("Expected counts: {FILE}, by {rustc}.");
    let grown = grown(&counted, &expected);
    if grown.is_empty() {
        return Ok(());
    }
    bail!(
        "over {:.0} % more instructions: {}. Where that is meant, `cargo xtask guard --update` and commit the result",
        TOLERANCE * 100.0,
        grown.join(", ")
    )
}

/// Builds the guard and counts each part.
fn count() -> Result<Counts> {
    let cache = setup::setup(Source::Auto)?;
    packages::ensure(&cache, packages::GUARD)?;
    cmd::run(&mut cmd::cargo(["build", "--profile", "guard", "--package", "podscope-agent", "--example", "guard"]))?;
    let program = run::target().join("guard/examples/guard");
    // Each in its own process: nothing is warm from another part, and two cores do the work of two.
    let children = PARTS.map(|part| {
        (
            part,
            std::thread::spawn({
                let program = program.clone();
                move || instructions(&program, part)
            }),
        )
    });
    children
        .into_iter()
        .map(|(part, child)| match child.join() {
            Ok(count) => Ok((part.to_owned(), count?)),
            Err(_) => bail!("counting {part} failed"),
        })
        .collect()
}

/// What callgrind counts inside of the guard's function `measured`.
fn instructions(program: &PathBuf, part: &str) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=guard::measured*"]);
    let out =
        command.arg(program).arg(part).output().with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        bail!("`{}` failed ({}): {}", cmd::show(&command), out.status, said.trim());
    }
    collected(&said).with_context(|| format!("`{}` counted nothing: {}", cmd::show(&command), said.trim()))
}

/// The number in callgrind's last words: `==42== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let (_, count) = said.lines().rev().find_map(|line| line.split_once("Collected : "))?;
    count.trim().parse().ok().filter(|count| *count > 0)
}

/// The committed counts, and the compiler that they are of.
fn read(path: &Path) -> Result<(Counts, String)> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; `cargo xtask guard --update` writes it", path.display()))?;
    let file: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let counts = file["instructions"].as_object().with_context(|| format!("no counts in {}", path.display()))?;
    let counts = counts.iter().filter_map(|(part, count)| Some((part.clone(), count.as_u64()?))).collect();
    Ok((counts, file["rustc"].as_str().unwrap_or("an unknown compiler").to_owned()))
}

/// The committed counts.
pub(crate) fn expected() -> Result<Counts> {
    read(&repository().join(FILE)).map(|(counts, _)| counts)
}

/// How much larger a count is than expected, percent.
fn change(count: u64, expected: u64) -> f64 {
    (count as f64 / expected as f64 - 1.0) * 100.0
}

fn table(counted: &Counts, expected: &Counts) -> String {
    let mut text = format!("{:<12} {:>13} {:>13} {:>8}\n", "part", "instructions", "expected", "change");
    for (part, &count) in counted {
        let (expected, change) = match expected.get(part) {
            Some(&expected) => (expected.to_string(), format!("{:+.1} %", change(count, expected))),
            None => ("none".to_owned(), String::new()),
        };
        text.push_str(&format!("{part:<12} {count:>13} {expected:>13} {change:>8}\n"));
    }
    text
}

/// The parts that need too many more than expected, or that nothing is expected of.
fn grown(counted: &Counts, expected: &Counts) -> Vec<String> {
    let grown = |part: &str, count: u64| match expected.get(part) {
        Some(&expected) if count as f64 <= expected as f64 * (1.0 + TOLERANCE) => None,
        Some(&expected) => Some(format!("{part} {:+.1} %", change(count, expected))),
        None => Some(format!("{part} has no expected count")),
    };
    counted.iter().filter_map(|(part, &count)| grown(part, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_stands_in_callgrinds_last_words() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n==7== I   refs:      123,456\n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== Collected : 0\n"), None);
        assert_eq!(collected("valgrind: no such file"), None);
    }

    #[test]
    fn ten_percent_more_pass_and_eleven_do_not() {
        let counts = |counts: &[(&str, u64)]| counts.iter().map(|&(part, count)| (part.to_owned(), count)).collect();
        let expected: Counts = counts(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        assert!(grown(&counts(&[("a", 1100), ("b", 1000), ("c", 10)]), &expected).is_empty());
        assert_eq!(grown(&counts(&[("a", 1110), ("d", 1)]), &expected), ["a +11.0 %", "d has no expected count"]);
    }
}
