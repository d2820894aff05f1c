//! `cargo xtask setup`: what a build needs and a Rust toolchain does not bring.
//!
//! Everything that is made lies in one cache folder, shared by all clones; nothing is installed into the Rust
//! toolchains except the component `rust-src`.

pub mod image;
pub mod linker;
pub mod load;
pub mod packages;
pub mod pages;
pub mod suite;
pub mod toolchain;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cmd;

/// Raised when what setup makes changes in a way that the version numbers do not show.
const FORMAT: u32 = 1;

/// The folder that holds what setup made.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$PODSCOPE_CACHE`, else `$XDG_CACHE_HOME/podscope`, else `~/.cache/podscope`; made when missing.
    ///
    /// # Errors
    /// When none of these variables is set, or the folder cannot be made.
    pub fn locate() -> Result<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("PODSCOPE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("podscope")))
            .or_else(|| set("HOME").map(|dir| dir.join(".cache/podscope")))
            .context("no place for the cache: set PODSCOPE_CACHE, XDG_CACHE_HOME or HOME")?;
        let root = std::path::absolute(root).context("cannot make the cache folder's path absolute")?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make the cache folder {}", root.display()))?;
        Ok(Self { root })
    }

    /// A path inside the cache.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The compiler for the kernel programs: a rustc with its source.
    #[must_use]
    pub fn rustc(&self) -> PathBuf {
        self.path("ebpf/bin/rustc")
    }

    /// The linker for the kernel programs.
    #[must_use]
    pub fn linker(&self) -> PathBuf {
        self.path("ebpf/bin/bpf-linker")
    }

    /// Holds off every other setup that uses this cache until the returned file is dropped.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

/// What setup did about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// It was on the machine before.
    Found,
    /// It was made or installed now.
    Made,
    /// An earlier setup had made it.
    Reused,
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Found => "found",
            Self::Made => "made",
            Self::Reused => "reused",
        })
    }
}

/// Prints one line of setup's account.
pub fn report(did: Did, what: &str, place: impl fmt::Display) {
    // The formatter pads only what is a string already.
    println!("{:<8}{what:<17}{place}", did.to_string());
}

/// Makes everything a build needs, says what it did, and returns the cache.
///
/// # Errors
/// When a part can neither be found nor made; the message says what to do.
pub fn setup(source: toolchain::Source) -> Result<Cache> {
    let cache = Cache::locate()?;
    let _lock = cache.lock()?;
    packages::ensure(&cache, packages::BUILD)?;
    let stamp = cache.path("ebpf/stamp");
    let pins = format!("format {FORMAT}, bpf-linker {}, toolchain ", linker::VERSION);
    let made = fs::read_to_string(&stamp).unwrap_or_default();
    if made.strip_prefix(&pins).is_some_and(|origin| source.accepts(origin.trim()))
        && linker::is_current(&cache)
        && let Some(version) = toolchain::current(&cache)
    {
        report(Did::Reused, "eBPF toolchain", format_args!("{} ({version})", cache.rustc().display()));
        report(Did::Reused, "bpf-linker", format_args!("{} ({})", cache.linker().display(), linker::VERSION));
        return Ok(cache);
    }
    fs::create_dir_all(cache.path("ebpf/bin")).context("cannot make the folder of the eBPF toolchain")?;
    linker::ensure(&cache)?;
    let origin = toolchain::make(&cache, source)?;
    fs::write(&stamp, format!("{pins}{origin}\n")).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(cache)
}

/// Makes what private container runtimes need on top: packages and the image for their pods.
///
/// # Errors
/// When a package cannot be installed or the image cannot be made.
pub fn setup_rig(cache: &Cache) -> Result<()> {
    packages::ensure(cache, packages::RIG)?;
    image::archive(cache).map(|_| ())
}

/// Makes what the tests need on top.
///
/// # Errors
/// When a package cannot be installed or the image cannot be made.
pub fn setup_tests(cache: &Cache) -> Result<()> {
    setup_rig(cache)?;
    packages::ensure(cache, packages::TEST)?;
    pages::ensure(cache)
}

/// Compiles and links a kernel program of a few lines, with core from source: the whole chain works together.
pub(crate) fn smoke_test(rustc: &Path, linker: &Path) -> Result<()> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let start = Instant::now();
    compile_kernel_program(rustc, linker, include_str!("smoke.rs.in"), &dir.path().join("smoke"))
        .context("the test compile of a kernel program failed")?;
    report(Did::Made, "test compile", format_args!("a kernel program, {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Compiles a kernel program that is one file without dependencies.
pub(crate) fn compile_kernel_program(rustc: &Path, linker: &Path, source: &str, to: &Path) -> Result<()> {
    const MANIFEST: &str = "[package]\nname = \"program\"\nedition = \"2024\"\n[[bin]]\nname = \"program\"\npath = \"program.rs\"\n[workspace]\n";
    const LIMIT: Duration = Duration::from_secs(600);

    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    fs::write(dir.path().join("Cargo.toml"), MANIFEST).context("cannot write a kernel program's manifest")?;
    fs::write(dir.path().join("program.rs"), source).context("cannot write a kernel program's source")?;
    let flags = format!("-Clinker={}\x1f-Cdebuginfo=2\x1f-Clink-arg=--btf", linker.display());
    let mut cargo = cmd::cargo(["build", "--release", "-Z", "build-std=core"]);
    cargo.args(["--target", "bpfel-unknown-none"]).current_dir(dir.path());
    // A cargo that runs this program has set variables for itself that do not hold for this other compiler.
    for (name, _) in std::env::vars_os().filter(|(name, _)| inherited_from_cargo(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags);
    cmd::run_within(&mut cargo, LIMIT)?;
    let made = dir.path().join("target/bpfel-unknown-none/release/program");
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::copy(&made, to).with_context(|| format!("compiling a kernel program left no {}", made.display()))?;
    Ok(())
}

fn inherited_from_cargo(name: &str) -> bool {
    const KEEP: [&str; 4] = ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "RUSTUP_HOME"];
    !KEEP.contains(&name)
        && !name.starts_with("CARGO_REGISTR")
        && !name.starts_with("CARGO_SOURCE")
        && !name.starts_with("CARGO_HTTP")
        && (name.starts_with("CARGO") || name.starts_with("RUSTC") || name == "RUSTFLAGS" || name == "RUSTUP_TOOLCHAIN")
}
