//! Programs that come from the distribution or from PyPI: how to see whether they are there, how to get them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Cache, Did, report};
use crate::cmd;

/// Where a program comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// A Debian package.
    Apt,
    /// A Python package, in a virtual environment of its own in the cache.
    Pip,
}

/// One thing that must be on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What shows that it is there: a program on the search path, an absolute path, or a Python module.
    pub shown_by: &'static str,
    /// The package that brings it.
    pub package: &'static str,
    /// Where the package comes from.
    pub origin: Origin,
}

pub(crate) const fn apt(shown_by: &'static str, package: &'static str) -> Need {
    Need { shown_by, package, origin: Origin::Apt }
}

const fn pip(shown_by: &'static str, package: &'static str) -> Need {
    Need { shown_by, package, origin: Origin::Pip }
}

/// What a build runs: CRI's stubs are made by protoc.
pub const BUILD: &[Need] = &[apt("cc", "gcc"), apt("protoc", "protobuf-compiler")];

/// What a private container runtime needs.
pub const RIG: &[Need] = &[
    apt("containerd", "containerd"),
    apt("runc", "runc"),
    // The program alone does not tell: a busybox that is not static has the same name.
    apt("/usr/share/doc/busybox-static", "busybox-static"),
    apt("unshare", "util-linux"),
];

/// What the tests hold podscope's output against.
pub const TEST: &[Need] = &[
    apt("promtool", "prometheus"),
    apt("strace", "strace"),
    apt("curl", "curl"),
    apt("openssl", "openssl"),
    apt("qemu-system-x86_64", "qemu-system-x86"),
    apt("/usr/sbin/libvirtd", "libvirt-daemon"),
    apt("/usr/share/doc/libvirt-daemon-driver-qemu", "libvirt-daemon-driver-qemu"),
    apt("virsh", "libvirt-clients"),
    apt("chromium", "chromium"),
    apt("node", "nodejs"),
    apt("npm", "npm"),
    apt("sqlite3", "sqlite3"),
    // The server without its service.
    apt("/usr/sbin/mariadbd", "mariadb-server-core"),
    apt("mariadb", "mariadb-client-core"),
    pip("rotel-agent", "rotel"),
    pip("prometheus_client", "prometheus-client"),
];

/// What counts instructions.
pub const GUARD: &[Need] = &[apt("valgrind", "valgrind")];

/// What measurements run on the host.
pub const BENCH: &[Need] = &[apt("perf", "linux-perf"), apt("bpftool", "bpftool"), apt("taskset", "util-linux")];

/// The folder of a Debian package that was downloaded and unpacked into the cache: its services are not started, as
/// an installation would.
///
/// # Errors
/// When the package cannot be downloaded.
pub fn unpacked(cache: &Cache, package: &str) -> Result<PathBuf> {
    let home = cache.path("unpacked").join(package);
    if home.is_dir() {
        return Ok(home);
    }
    fs::create_dir_all(cache.path("unpacked")).context("cannot make a folder in the cache")?;
    let scratch = tempfile::tempdir_in(cache.path("unpacked")).context("cannot make a folder in the cache")?;
    let download = || download(&[package], scratch.path());
    download().or_else(|_| update_lists().and_then(|()| download()))?;
    unpack(scratch.path(), &scratch.path().join("root"))?;
    fs::rename(scratch.path().join("root"), &home).with_context(|| format!("cannot make {}", home.display()))?;
    report(Did::Made, "packages", format_args!("{package} (apt, unpacked in {})", home.display()));
    Ok(home)
}

/// Downloads packages into a folder.
pub(super) fn download<S: AsRef<std::ffi::OsStr>>(packages: &[S], to: &Path) -> Result<()> {
    // root would otherwise hand the download to a user who may not write here
    let mut download = cmd::command("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download"]);
    cmd::output(download.args(packages).current_dir(to)).map(|_| ())
}

/// Unpacks the packages of a folder.
pub(super) fn unpack(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).context("cannot read the folder of downloaded packages")?.flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "deb") {
            cmd::run(cmd::command("dpkg", ["-x"]).arg(entry.path()).arg(to))?;
        }
    }
    Ok(())
}

/// The program of that name, among those that setup installed from PyPI or on the search path.
///
/// # Errors
/// When it is in neither; the message has the command that installs it.
pub fn tool(name: &str) -> Result<PathBuf> {
    let installed = python_file(&Cache::locate()?, name).filter(|path| path.is_file());
    let found = installed.or_else(|| cmd::find(name));
    found.with_context(|| format!("{name} is not installed: run `cargo xtask setup --tests`"))
}

/// Installs what is missing of `needs`.
///
/// # Errors
/// When something is missing and cannot be installed; the message has the command that would.
pub fn ensure(cache: &Cache, needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_there(cache, need)).collect();
    let of = |wanted: fn(&Origin) -> bool| -> Vec<&str> {
        missing.iter().filter(|need| wanted(&need.origin)).map(|need| need.package).collect()
    };
    install_apt(&of(|origin| matches!(origin, Origin::Apt)))?;
    install_pip(cache, &of(|origin| matches!(origin, Origin::Pip)))?;
    match missing.iter().find(|need| !is_there(cache, need)) {
        Some(need) => bail!("{} was installed, but {} is still not there", need.package, need.shown_by),
        None => Ok(()),
    }
}

/// Fetches the distribution's package lists.
///
/// # Errors
/// When apt-get fails or this is not root and there is no sudo.
pub fn update_lists() -> Result<()> {
    cmd::output(&mut cmd::as_root("apt-get", ["-q", "update"])?).context("cannot fetch the package lists")?;
    Ok(())
}

fn is_there(cache: &Cache, need: &Need) -> bool {
    match need.origin {
        Origin::Apt if need.shown_by.starts_with('/') => Path::new(need.shown_by).exists(),
        Origin::Apt => cmd::find(need.shown_by).is_some(),
        Origin::Pip => python_file(cache, need.shown_by).is_some(),
    }
}

/// A program or module of the Python environment. Some packages keep their program inside their module.
fn python_file(cache: &Cache, name: &str) -> Option<PathBuf> {
    let home = cache.path("python");
    let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let site = entries(home.join("lib")).map(|version| version.join("site-packages")).next();
    let modules = site.iter().flat_map(|site| entries(site.clone()));
    [home.join("bin")]
        .into_iter()
        .chain(site.clone())
        .chain(modules)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
}

fn install_apt(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if cmd::find("apt-get").is_none() {
        bail!("missing: {names} (names of the Debian packages), and this is not Debian: install them by hand");
    }
    let install = || -> Result<String> {
        // Set by env, since sudo drops variables.
        let args = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--no-install-recommends", "install"];
        cmd::output(&mut cmd::as_root("env", args.iter().chain(packages))?)
    };
    // Lists that are old or not there at all are the usual reason for a failure.
    install()
        .or_else(|_| update_lists().and_then(|()| install()))
        .with_context(|| format!("cannot install {names}"))?;
    report(Did::Made, "packages", format_args!("{names} (apt)"));
    Ok(())
}

fn install_pip(cache: &Cache, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let home = cache.path("python");
    let make = || cmd::output(cmd::command("python3", ["-m", "venv"]).arg(&home));
    if !home.join("bin/pip").exists() && make().is_err() {
        install_apt(&["python3", "python3-venv"])?;
        make().context("cannot make a Python environment")?;
    }
    // Of rotel only preliminary versions are published.
    let mut pip = cmd::command(home.join("bin/pip"), ["install", "--quiet", "--pre"]);
    cmd::output(pip.args(packages)).with_context(|| format!("cannot install {}", packages.join(" ")))?;
    report(Did::Made, "packages", format_args!("{} (pip, in {})", packages.join(" "), home.display()));
    Ok(())
}
