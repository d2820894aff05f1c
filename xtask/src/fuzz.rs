//! `cargo xtask fuzz`: hostile input for everything that reads what others wrote.
//!
//! libFuzzer with the stable compiler's coverage instrumentation, and the address sanitizer where the toolchain has its
//! runtime. Inputs that have been found useful stay in `target/fuzz/corpus`, so that the next run goes on from there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup::{self, toolchain::Source};
use crate::{cmd, repository, run, walls};

/// The package with a program for each target.
pub(crate) const MANIFEST: &str = "userspace/fuzz/Cargo.toml";
const TARGETS: &str = "userspace/fuzz/src/bin";
/// What makes the compiler instrument code for libFuzzer.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Finds reads and writes outside of what they should touch, in dependencies too.
const ADDRESSES: &str = "-Zsanitizer=address";
/// Longest input, bytes.
const LONGEST: u32 = 16_384;
/// An input that takes longer is a find, seconds.
const SLOWEST: u32 = 10;
/// An input that needs more memory is a find, megabytes.
const LARGEST: u32 = 2048;

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For each target.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// A target, may be repeated; all where none is given.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
}

/// Builds the targets, writes their seeds and runs one after the other.
///
/// # Errors
/// When something cannot be built, a target is unknown, or an input was found; the message says where it lies.
pub fn fuzz(args: &Args) -> Result<()> {
    let targets = chosen(&all()?, &args.target)?;
    setup::setup(Source::Auto)?;
    let folder = run::target().join("fuzz");
    let seeds = folder.join("seeds");
    let mut example = cmd::cargo(["run", "--quiet", "--package", "podscope-agent", "--example", "seeds", "--"]);
    cmd::run(example.arg(&seeds))?;
    let programs = build(&folder)?;
    let mut found = Vec::new();
    for target in &targets {
        match attack(target, &programs, &folder, args.minutes) {
            Ok(said) => println!("ok      {target:<16} {said}"),
            Err(error) => {
                println!("FOUND   {target:<16} {error:#}");
                found.push(target.as_str());
            }
        }
    }
    if found.is_empty() { Ok(()) } else { bail!("inputs were found for {}", found.join(", ")) }
}

/// Every target: a file each.
fn all() -> Result<Vec<String>> {
    let folder = repository().join(TARGETS);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

fn chosen(all: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("no target {unknown}; there are {}", all.join(", "));
    }
    Ok(if wanted.is_empty() { all.to_vec() } else { wanted.to_vec() })
}

/// Builds all targets, and returns the folder of their programs.
fn build(folder: &Path) -> Result<PathBuf> {
    let host = walls::host()?;
    let mut flags = COVERAGE.to_vec();
    if has_address_sanitizer(&host)? {
        flags.push(ADDRESSES);
    } else {
        println!("the toolchain has no runtime of the address sanitizer: fuzzing goes without");
    }
    // By custom: a dependency may then leave out what only makes finds hard to repeat.
    flags.extend(["--cfg", "fuzzing"]);
    // With a target given, build scripts and macros are left as they are.
    let mut cargo = cmd::cargo(["build", "--release", "--target", &host]);
    cargo.arg("--manifest-path").arg(repository().join(MANIFEST));
    cargo.arg("--target-dir").arg(folder);
    // The sanitizer's flag is for developers of the compiler; the code that it makes is the same.
    cmd::run(cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))?;
    Ok(folder.join(host).join("release"))
}

fn has_address_sanitizer(host: &str) -> Result<bool> {
    let sysroot = cmd::output(&mut cmd::command("rustc", ["--print", "sysroot"]))?;
    let libraries = Path::new(&sysroot).join("lib/rustlib").join(host).join("lib");
    let entries = fs::read_dir(&libraries).with_context(|| format!("cannot list {}", libraries.display()))?;
    Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a")))
}

/// Runs one target, and returns what it says of its work.
fn attack(target: &str, programs: &Path, folder: &Path, minutes: u32) -> Result<String> {
    let [corpus, finds] = ["corpus", "found"].map(|name| folder.join(name).join(target));
    for made in [&corpus, &finds] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log = folder.join(format!("{target}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(programs.join(target));
    command.arg(&corpus).arg(folder.join("seeds").join(target));
    command.arg(format!("-max_total_time={}", minutes * 60)).arg(format!("-max_len={LONGEST}"));
    command.arg(format!("-timeout={SLOWEST}")).arg(format!("-rss_limit_mb={LARGEST}"));
    // The folder's name alone would be the beginning of a file's.
    command.arg(format!("-artifact_prefix={}/", finds.display())).arg("-print_final_stats=1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let status = command.status().with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
    let said = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        bail!("{status}; the input lies in {}, what happened in {}", finds.display(), log.display());
    }
    Ok(summary(&said))
}

/// Executions and coverage, from libFuzzer's last words.
fn summary(said: &str) -> String {
    let value = |key: &str| {
        let line = said.lines().rev().find_map(|line| line.split_once(key));
        line.and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?")
    };
    format!(
        "{} executions, {} places, {} MB",
        value("number_of_executed_units:"),
        value(" cov: "),
        value("peak_rss_mb:")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_known_and_no_other() {
        let all = all().unwrap();
        assert!(all.len() >= 8 && all.contains(&"btf".to_owned()), "{all:?}");
        assert_eq!(chosen(&all, &[]).unwrap(), all);
        let error = chosen(&all, &["nonsense".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("nonsense") && error.contains("btf"), "{error}");
    }

    #[test]
    fn last_words_are_summed_up() {
        let said = "#2 INITED cov: 10 ft: 11\n#900 DONE   cov: 123 ft: 456 corp: 7/8b\nstat::number_of_executed_units: 900\n\
                    stat::peak_rss_mb:              45\n";
        assert_eq!(summary(said), "900 executions, 123 places, 45 MB");
        assert_eq!(summary(""), "? executions, ? places, ? MB");
    }
}
