//! A rustc that can compile `core` for the kernel: a compiler and the library source of the same version.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Cache, Did, packages, report, smoke_test};
use crate::cmd;

/// The oldest compiler that the workspace accepts, as `major.minor`.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");
/// The distribution's compilers and their sources, the newest line first.
const DEBIAN: [(&str, &str); 2] = [("rustc-web", "rust-web-src"), ("rustc", "rust-src")];
/// A mirror that does not answer must not hold up the way that works.
const COMPONENT_LIMIT: Duration = Duration::from_secs(120);

/// Where the compiler may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// A toolchain of this machine with its source, else Debian's packages.
    #[default]
    Auto,
    /// Only a toolchain of this machine, with rustup's component `rust-src` or a package of the same purpose.
    Rustup,
    /// Only Debian's packages, unpacked into the cache.
    Debian,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        })
    }
}

impl Source {
    /// Whether a toolchain of this origin (a displayed `Source`) will do.
    #[must_use]
    pub fn accepts(self, origin: &str) -> bool {
        self == Self::Auto || self.to_string() == origin
    }
}

/// The version of the compiler in the cache, when it runs and its source is where it looks for it.
#[must_use]
pub fn current(cache: &Cache) -> Option<String> {
    let sysroot = sysroot(&mut Command::new(cache.rustc()))?;
    has_source(&sysroot).then_some(())?;
    cmd::output(cmd::command(cache.rustc(), ["--version"]).env_remove("RUSTUP_TOOLCHAIN")).ok()
}

/// Puts a compiler into the cache, compiles a kernel program with it, and returns where it came from.
///
/// # Errors
/// When no way leads to a working pair of compiler and source; the message has the reason of each.
pub fn make(cache: &Cache, source: Source) -> Result<Source> {
    let mut reasons = Vec::new();
    if source != Source::Debian {
        match from_rustup(cache) {
            Ok(()) => return Ok(Source::Rustup),
            Err(error) => reasons.push(format!("toolchains of this machine: {error:#}")),
        }
    }
    if source != Source::Rustup {
        match from_debian(cache) {
            Ok(()) => return Ok(Source::Debian),
            Err(error) => reasons.push(format!("Debian packages: {error:#}")),
        }
    }
    bail!(
        "no compiler for the kernel programs; install one with its source (`rustup component add rust-src`) \
         and run `cargo xtask setup` again\n  {}",
        reasons.join("\n  ")
    )
}

/// A toolchain that is on the machine, with its source or with a component that can be added.
fn from_rustup(cache: &Cache) -> Result<()> {
    let active = sysroot(&mut Command::new("rustc")).context("no rustc runs")?;
    let mut did = Did::Found;
    let chosen = if let Some(ready) = std::iter::once(active.clone()).chain(rustup_sysroots()).find(|dir| usable(dir)) {
        ready
    } else {
        cmd::run_within(&mut cmd::command("rustup", ["component", "add", "rust-src"]), COMPONENT_LIMIT)?;
        if !usable(&active) {
            bail!("{} has no library source or is older than {OLDEST}", active.display());
        }
        did = Did::Made;
        active
    };
    let rustc = chosen.join("bin/rustc");
    write_wrapper(cache, &format!("exec '{}' \"$@\"", rustc.display()))?;
    report(did, "eBPF toolchain", format_args!("{} with its source", rustc.display()));
    smoke_test(&cache.rustc(), &cache.linker())
}

fn usable(sysroot: &Path) -> bool {
    has_source(sysroot) && version(&sysroot.join("bin/rustc")).is_some_and(|found| at_least(&found, OLDEST))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    cmd::output(rustc.args(["--print", "sysroot"])).ok().map(PathBuf::from)
}

/// The folders of rustup's toolchains.
fn rustup_sysroots() -> Vec<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")));
    let entries = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// `1.96.0` of `rustc 1.96.0 (…)`.
fn version(rustc: &Path) -> Option<String> {
    let said = cmd::output(&mut cmd::command(rustc, ["--version"])).ok()?;
    said.split_whitespace().nth(1).map(str::to_owned)
}

fn at_least(found: &str, oldest: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        let plain = text.split(['-', '+', '~']).next().unwrap_or_default();
        plain.split('.').map_while(|part| part.parse().ok()).collect()
    };
    numbers(found) >= numbers(oldest)
}

/// Debian's compiler and source, unpacked into the cache: installing them would conflict with rustup.
fn from_debian(cache: &Cache) -> Result<()> {
    if cmd::find("apt-get").is_none() || cmd::find("dpkg").is_none() {
        bail!("this is not Debian (no apt-get)");
    }
    let names = match debian_packages() {
        Ok(names) => names,
        Err(_) => {
            packages::update_lists()?;
            debian_packages()?
        }
    };
    let scratch = tempfile::tempdir_in(cache.path("ebpf")).context("cannot make a folder in the cache")?;
    packages::download(&names, scratch.path())?;
    let unpacked = scratch.path().join("toolchain");
    packages::unpack(scratch.path(), &unpacked)?;
    trim(&unpacked)?;
    let home = cache.path("ebpf/toolchain");
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    fs::rename(&unpacked, &home).with_context(|| format!("cannot move the toolchain to {}", home.display()))?;
    let usr = home.join("usr");
    let libraries = library_dirs(&usr)?;
    let exec = format!("LD_LIBRARY_PATH='{libraries}' exec '{}/bin/rustc' \"$@\"", usr.display());
    write_wrapper(cache, &exec)?;
    report(Did::Made, "eBPF toolchain", format_args!("{} of {}", home.display(), names.join(" ")));
    smoke_test(&cache.rustc(), &cache.linker())
}

/// The newest line of compiler that is new enough, with the packages it needs of its own kind.
fn debian_packages() -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for (compiler, source) in DEBIAN {
        let Some(found) = field(compiler, "Version")? else { continue };
        if at_least(&found, OLDEST) {
            let mut names = BTreeSet::from([compiler.to_owned(), source.to_owned()]);
            add_libraries(compiler, &mut names)?;
            return Ok(names.into_iter().collect());
        }
        seen.push(format!("{compiler} {found}"));
    }
    bail!("no package of rustc {OLDEST} or newer (there are: {})", seen.join(", "))
}

/// Adds the standard library and LLVM that a package depends on, directly or through one of them.
fn add_libraries(package: &str, names: &mut BTreeSet<String>) -> Result<()> {
    let depends = field(package, "Depends")?.unwrap_or_default();
    for name in depends.split(',').filter_map(|entry| entry.split_whitespace().next()) {
        if (name.starts_with("libstd-rust") || name.starts_with("libllvm")) && names.insert(name.to_owned()) {
            add_libraries(name, names)?;
        }
    }
    Ok(())
}

/// One field of a package's newest version; `None` where there is no such package.
fn field(package: &str, name: &str) -> Result<Option<String>> {
    let shown = cmd::command("apt-cache", ["show", "--no-all-versions", package]).output();
    let shown = shown.context("cannot start apt-cache")?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(value.map(str::to_owned))
}

/// Removes what a build does not read: documentation, tools, and the compiler's own source (two thirds of it all).
fn trim(root: &Path) -> Result<()> {
    let usr = root.join("usr");
    let remove = |path: PathBuf| {
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.with_context(|| format!("cannot remove {}", path.display()))
    };
    for below in ["share", "libexec", "bin/rustdoc"].map(|name| usr.join(name)) {
        if below.exists() {
            remove(below)?;
        }
    }
    for source in fs::read_dir(usr.join("src")).context("the source package has no usr/src")?.flatten() {
        for entry in fs::read_dir(source.path()).context("cannot read the unpacked source")?.flatten() {
            if entry.file_name() != "library" {
                remove(entry.path())?;
            }
        }
        link_source(&usr, &source.path())?;
    }
    Ok(())
}

/// Makes `lib/rustlib/src/rust`, where cargo looks for the source, unless the packages brought it.
fn link_source(usr: &Path, source: &Path) -> Result<()> {
    let link = usr.join("lib/rustlib/src/rust");
    if link.exists() {
        return Ok(());
    }
    let name = source.file_name().context("the unpacked source has no name")?;
    fs::create_dir_all(usr.join("lib/rustlib/src")).context("cannot make the folder of the source's link")?;
    std::os::unix::fs::symlink(Path::new("../../../src").join(name), &link)
        .with_context(|| format!("cannot link {}", link.display()))
}

/// The folders below `usr/lib` that hold shared libraries, as a loader path.
fn library_dirs(usr: &Path) -> Result<String> {
    let lib = usr.join("lib");
    let entries = fs::read_dir(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
    let multiarch = entries.flatten().map(|entry| entry.path()).filter(|dir| dir.is_dir() && !dir.ends_with("rustlib"));
    let dirs: Vec<_> = multiarch.chain([lib.clone()]).map(|dir| dir.display().to_string()).collect();
    Ok(dirs.join(":"))
}

fn write_wrapper(cache: &Cache, exec: &str) -> Result<()> {
    let path = cache.rustc();
    let fresh = path.with_extension("new");
    fs::write(&fresh, format!("#!/bin/sh\n{exec}\n")).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("cannot put {} in place", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_ignore_the_packaging() {
        assert!(at_least("1.96.0+dfsg1-1~deb12u2", "1.95"));
        assert!(at_least("1.95.0", "1.95"));
        assert!(at_least("1.100.0", "1.95"));
        assert!(!at_least("1.85.0+dfsg3-1~deb12u3", "1.95"));
        assert!(at_least("1.97.0-nightly", "1.95"));
        assert!(!at_least("unknown", "1.95"));
    }
}
