//! `cargo xtask dist`: what is released.

mod sbom;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{self, toolchain::Source};
use crate::{cmd, repository, walls};

/// The released programs.
const PROGRAMS: [Program; 3] = [
    Program { package: "podscope-agent", name: "podscope-agent", linked: Linked::Static },
    Program { package: "podscope-cli", name: "podscope", linked: Linked::Static },
    Program { package: "podscope-gpu", name: "podscope-gpu", linked: Linked::Dynamic },
];

/// A released program.
struct Program {
    package: &'static str,
    name: &'static str,
    linked: Linked,
}

/// How a program is linked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linked {
    /// Runs anywhere.
    Static,
    /// Can load a library at run time, such as NVML.
    Dynamic,
}

/// What `dist` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Build a second time in another folder, and compare the bytes.
    #[arg(long)]
    verify: bool,
}

/// Builds the programs into `target/dist`, each with its bill of materials.
///
/// # Errors
/// When they cannot be built, are not linked as they should be, or with `verify` when a second build has other bytes.
pub fn dist(args: &Args) -> Result<()> {
    setup::setup(Source::Auto)?;
    let target = walls::host()?;
    let folder = repository().join("target/dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = build(repository(), &target)?;
    for (Program { package, name, linked }, from) in PROGRAMS.iter().zip(&built) {
        let to = folder.join(name);
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        check_linkage(&to, *linked)?;
        let bill = folder.join(format!("{name}.cdx.json"));
        fs::write(&bill, sbom::of(package, &target)?).with_context(|| format!("cannot write {}", bill.display()))?;
        println!("{}  {} bytes, with {}", to.display(), fs::metadata(&to)?.len(), bill.display());
    }
    if args.verify { verify(&target, &folder) } else { Ok(()) }
}

/// Builds in a folder, and returns where the programs are.
fn build(root: &Path, target: &str) -> Result<Vec<PathBuf>> {
    let fixed = build_linked(root, target, Linked::Static)?;
    let loading = build_linked(root, target, Linked::Dynamic)?;
    let place = |program: &Program| match program.linked {
        Linked::Static => fixed.join(program.name),
        Linked::Dynamic => loading.join(program.name),
    };
    Ok(PROGRAMS.iter().map(place).collect())
}

/// Builds those that are linked so, and returns their folder. Each way has one of its own, since the flags differ.
fn build_linked(root: &Path, target: &str, linked: Linked) -> Result<PathBuf> {
    let into = root.join(if linked == Linked::Static { "target/dist-build" } else { "target/dist-build-dynamic" });
    let mut cargo = cmd::cargo(["build", "--locked", "--release", "--target", target, "--target-dir"]);
    cargo.arg(&into).current_dir(root);
    for program in PROGRAMS.iter().filter(|program| program.linked == linked) {
        cargo.args(["--package", program.package]);
    }
    let home = cargo_home()?;
    // What is compiled from C names its sources as well. A folder's name may have spaces in it.
    let mapped = |path: &Path, name: &str| format!("'-ffile-prefix-map={}={name}'", path.display());
    cargo
        .env("CFLAGS", [mapped(root, "podscope"), mapped(&home, "cargo")].join(" "))
        .env("CC_SHELL_ESCAPED_FLAGS", "1");
    // With a target named, the flags are the programs' alone and do not reach build scripts and macros.
    let flags = flags(root, &home, &standard_library()?, linked);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("RUSTFLAGS");
    cmd::run(&mut cargo)?;
    Ok(into.join(target).join("release"))
}

/// Linked so, and without a word of where it was built.
fn flags(root: &Path, cargo_home: &Path, (library, name): &(PathBuf, String), linked: Linked) -> [String; 4] {
    let mapped = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let sign = if linked == Linked::Static { '+' } else { '-' };
    let fixed = format!("-Ctarget-feature={sign}crt-static");
    [fixed, mapped(root, "podscope"), mapped(cargo_home, "cargo"), mapped(library, name)]
}

/// Where the standard library's source is, if it is installed, and what rustc calls that place if it is not.
fn standard_library() -> Result<(PathBuf, String)> {
    let sysroot = cmd::output(&mut cmd::command("rustc", ["--print", "sysroot"]))?;
    let version = cmd::output(&mut cmd::command("rustc", ["--version", "--verbose"]))?;
    let hash = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let hash = hash.context("rustc does not say its commit")?;
    Ok((Path::new(&sysroot).join("lib/rustlib/src/rust"), format!("/rustc/{hash}")))
}

fn cargo_home() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo"))).context("set CARGO_HOME or HOME")
}

/// A program that asks for an interpreter is not static.
fn check_linkage(program: &Path, linked: Linked) -> Result<()> {
    let mut readelf = cmd::command("readelf", ["--program-headers", "--wide"]);
    let headers = cmd::output(readelf.arg(program))?;
    match (headers.contains("INTERP"), linked) {
        (true, Linked::Static) => bail!("{} is not static: it asks for an interpreter", program.display()),
        (false, Linked::Dynamic) => bail!("{} is static: it could load no library", program.display()),
        _ => Ok(()),
    }
}

/// Builds a copy of the sources in another folder; nothing of the first build is used.
fn verify(target: &str, first: &Path) -> Result<()> {
    let copy = tempfile::tempdir().context("cannot make a temporary folder")?;
    let root = copy.path().join("a folder of another length");
    copy_sources(&root)?;
    for (Program { name, .. }, second) in PROGRAMS.iter().zip(build(&root, target)?) {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let (first, second) = (read(&first.join(name))?, read(&second)?);
        if let Some(at) = first.iter().zip(&second).position(|(a, b)| a != b) {
            bail!("{name} differs from byte {at} on when it is built in {}", root.display());
        }
        ensure!(first.len() == second.len(), "{name} has {} bytes, then {}", first.len(), second.len());
        println!("same     {name}: {} bytes twice", first.len());
    }
    Ok(())
}

/// Copies every file that git knows, as it is now.
fn copy_sources(to: &Path) -> Result<()> {
    let listed = cmd::output(cmd::command("git", ["ls-files"]).current_dir(repository()))?;
    for path in listed.lines() {
        let target = to.join(path);
        let folder = target.parent().unwrap_or(to);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(repository().join(path), &target).with_context(|| format!("cannot copy {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_every_folder_that_is_not_the_same_everywhere() {
        let library = (PathBuf::from("/home/me/rust/lib"), "/rustc/0123".to_owned());
        let flags = flags(Path::new("/home/me/podscope"), Path::new("/home/me/.cargo"), &library, Linked::Static);
        assert_eq!(
            flags,
            [
                "-Ctarget-feature=+crt-static",
                "--remap-path-prefix=/home/me/podscope=podscope",
                "--remap-path-prefix=/home/me/.cargo=cargo",
                "--remap-path-prefix=/home/me/rust/lib=/rustc/0123",
            ]
        );
    }
}
