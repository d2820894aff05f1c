//! The kernels of the matrix: Debian's cloud kernels, from the distribution's own packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::arch::Arch;
use crate::cmd;
use crate::setup::suite::Suite;
use crate::setup::{Cache, Did, report};

/// A kernel line and the suite that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The line, as in `uname -r` up to the second dot.
    pub line: &'static str,
    /// Debian's suite.
    pub suite: &'static str,
}

/// The oldest first.
pub const KERNELS: &[Kernel] = &[
    Kernel { line: "5.10", suite: "bullseye" },
    Kernel { line: "6.1", suite: "bookworm" },
    Kernel { line: "6.12", suite: "trixie" },
    Kernel { line: "7.2", suite: "sid" },
];

/// Modules that a container runtime needs and these kernels do not have built in.
const MODULES: &[&str] = &["overlay"];

/// KVM's modules in the order in which they are loaded; AMD's, because that is what QEMU emulates in software. A test
/// loads them, once the agent runs.
const KVM: &[&str] = &["irqbypass", "kvm", "kvm-amd"];

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// As `uname -r` says.
    pub(crate) release: String,
    /// The bootable file.
    pub(crate) image: PathBuf,
    /// Modules to load at boot, uncompressed: name and content.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
    /// Those of KVM, in the order in which they are loaded; none where they are built in.
    pub(crate) kvm: Vec<(String, Vec<u8>)>,
}

impl Kernel {
    /// Fetches the kernel into the cache unless it is there, or always with `anew`.
    ///
    /// # Errors
    /// When the packages cannot be fetched or lack what a guest needs.
    pub(crate) fn fetch(&self, cache: &Cache, arch: Arch, anew: bool) -> Result<Unpacked> {
        let arch = arch.debian();
        let home = cache.path("kernels").join(format!("{}-{arch}", self.suite));
        if anew && home.exists() {
            fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
        }
        if !home.is_dir() {
            println!("fetching the kernel of Debian {}", self.suite);
            let suite = Suite::open(cache, self.suite, arch)?;
            suite.update()?;
            suite.unpack(&packages(&suite, arch)?, &home)?;
        }
        let kernel = find(&home).with_context(|| format!("in {}", home.display()))?;
        report(Did::Found, "kernel", format_args!("{} (Debian {})", kernel.release, self.suite));
        if !kernel.release.starts_with(&format!("{}.", self.line)) {
            println!("warning: Debian {} has moved on from {} to {}", self.suite, self.line, kernel.release);
        }
        Ok(kernel)
    }
}

/// The packages that hold the kernel itself and its modules; newer suites divide them.
fn packages(suite: &Suite, arch: &str) -> Result<Vec<String>> {
    let all = suite.dependencies(&format!("linux-image-cloud-{arch}"))?;
    let has_files = |name: &&String| {
        ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|kind| {
            name.strip_prefix(kind).is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        })
    };
    Ok(all.iter().filter(has_files).cloned().collect())
}

/// Finds the parts of an unpacked kernel.
fn find(home: &Path) -> Result<Unpacked> {
    let files = cmd::output(cmd::command("find", [home]).args(["-type", "f"]))?;
    let image = files.lines().find(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("vmlinuz")));
    let image = PathBuf::from(image.context("the packages have no vmlinuz")?);
    let file = |name: &str| files.lines().find(|path| path.contains(name));
    let module = file("/modules/").context("the packages have no modules")?;
    let release = module.split("/modules/").nth(1).and_then(|rest| rest.split('/').next());
    let found = |names: &[&str]| {
        let all = names.iter().map(|name| {
            let path = file(&format!("/{name}.ko")).with_context(|| format!("the packages have no module {name}"))?;
            Ok(((*name).to_owned(), content(path)?))
        });
        all.collect::<Result<_>>()
    };
    let kvm = if file("/kvm-amd.ko").is_some() { found(KVM)? } else { Vec::new() };
    Ok(Unpacked { release: release.unwrap_or_default().to_owned(), image, modules: found(MODULES)?, kvm })
}

/// A module's content; newer kernels have them compressed.
fn content(path: &str) -> Result<Vec<u8>> {
    if !path.ends_with(".xz") {
        return fs::read(path).with_context(|| format!("cannot read {path}"));
    }
    let out = cmd::command("xz", ["--decompress", "--stdout", path]).output().context("cannot start xz")?;
    anyhow::ensure!(out.status.success(), "xz cannot read {path}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}
