//! What a guest's file system holds: a static busybox, programs of this machine with their libraries, what was compiled
//! for it, and what it is to do.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::arch::Arch;
use super::archive::Archive;
use super::kernels::Unpacked;
use super::programs::Programs;
use crate::setup::suite::Suite;
use crate::setup::{Cache, image, load};
use crate::{cmd, repository};

const BUSYBOX: &str = "/bin/busybox";
const BUSYBOX_SUITE: &str = "bookworm";
const SYSTEMD: &str = "/lib/systemd/systemd";
/// What busybox has not or has in another form.
const TOOLS: &[&str] = &["dash", "taskset"];
/// What a container runtime and the rig around it run.
const RUNTIME: &[&str] =
    &["containerd", "containerd-shim-runc-v2", "ctr", "runc", "nsenter", "unshare", "mount", "umount", "find", "rm"];
/// Folders of a usual system; those without `usr` are links into it.
const FOLDERS: &[&str] = &["proc", "sys", "dev", "tmp", "run", "mnt", "root", "var/lib", "etc", "vm/modules", "vm/kvm"];
const LINKS: &[&str] = &["bin", "sbin", "lib", "lib64"];
const SCRIPTS: &[(&str, &str)] = &[
    ("init", include_str!("guest/init.sh")),
    ("vm/start", include_str!("guest/start.sh")),
    ("vm/steps", include_str!("guest/steps.sh")),
    ("vm/status", include_str!("guest/status.sh")),
];

const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/resolv.conf", ""),
    ("etc/systemd/system/podscope-vm.service", include_str!("guest/podscope-vm.service")),
];

/// One thing that a guest does.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// A word.
    pub(crate) name: &'static str,
    /// For the guest's shell, on one line.
    pub(crate) command: String,
}

/// Writes what all guests have in common, and returns where.
pub(crate) fn base(cache: &Cache, programs: &Programs) -> Result<PathBuf> {
    let path = repository().join(format!("target/vm/base-{}.cpio", programs.arch.debian()));
    let stripped = programs.stripped()?;
    let mut archive = create(&path)?;
    FOLDERS.iter().try_for_each(|folder| archive.folder(folder))?;
    LINKS.iter().try_for_each(|link| archive.link(link, &format!("usr/{link}")))?;
    SCRIPTS.iter().try_for_each(|(path, text)| archive.file(path, 0o755, text.as_bytes()))?;
    FILES.iter().try_for_each(|(path, text)| archive.file(path, 0o644, text.as_bytes()))?;
    for (place, content) in stripped {
        archive.copy(&content, &place.display().to_string())?;
    }
    archive.copy(&busybox(cache, programs.arch)?, "usr/bin/busybox")?;
    if programs.arch.is_host() {
        host_programs(&mut archive, cache)?;
    }
    archive.finish()?;
    Ok(path)
}

/// A static busybox for guests.
fn busybox(cache: &Cache, arch: Arch) -> Result<PathBuf> {
    if arch.is_host() {
        return Ok(PathBuf::from(BUSYBOX));
    }
    let home = cache.path(&format!("unpacked/busybox-static-{}", arch.debian()));
    if !home.is_dir() {
        let suite = Suite::open(cache, BUSYBOX_SUITE, arch.debian())?;
        suite.update()?;
        suite.unpack(&["busybox-static".to_owned()], &home)?;
    }
    Ok(home.join(BUSYBOX.trim_start_matches('/')))
}

/// Programs of this machine with their libraries, and what the rig has made.
fn host_programs<W: Write>(archive: &mut Archive<W>, cache: &Cache) -> Result<()> {
    for name in TOOLS.iter().chain(RUNTIME) {
        let path = cmd::find(name).with_context(|| format!("{name} is not on the search path"))?;
        with_libraries(archive, &path)?;
    }
    with_libraries(archive, Path::new(SYSTEMD))?;
    // busybox's own shell takes busybox's programs before those on the search path.
    archive.link("usr/bin/sh", "dash")?;
    // What the rig looks for before it installs anything.
    archive.folder("usr/share/doc/busybox-static")?;
    for made in [image::archive(cache)?, load::program(cache)?] {
        let below = made.strip_prefix(cache.path("")).context("the rig's file is not in the cache")?;
        archive.copy(&made, &format!("cache/{}", below.display()))?;
    }
    Ok(())
}

/// Writes the file system of one guest: what all have, its kernel's modules, and its steps.
pub(crate) fn whole(base: &Path, label: &str, kernel: &Unpacked, environment: &str, steps: &[Step]) -> Result<PathBuf> {
    let path = repository().join(format!("target/vm/{label}.cpio"));
    let mut archive = create(&path)?;
    for (name, content) in &kernel.modules {
        archive.file(&format!("vm/modules/{name}.ko"), 0o644, content)?;
    }
    for (name, content) in &kernel.kvm {
        archive.file(&format!("vm/kvm/{name}.ko"), 0o644, content)?;
    }
    let list: String = steps.iter().map(|step| format!("{} {}\n", step.name, step.command)).collect();
    archive.file("vm/list", 0o644, list.as_bytes())?;
    archive.file("vm/environment", 0o644, environment.as_bytes())?;
    archive.finish()?;
    // The kernel reads one archive after the other.
    let failed = || format!("cannot write {}", path.display());
    let mut whole = File::options().append(true).open(&path).with_context(failed)?;
    let mut base = File::open(base).with_context(|| format!("cannot read {}", base.display()))?;
    std::io::copy(&mut base, &mut whole).with_context(failed)?;
    Ok(path)
}

fn create(path: &Path) -> Result<Archive<BufWriter<File>>> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(Archive::new(BufWriter::new(file)))
}

/// Copies a program of this machine and the libraries that it is linked with.
fn with_libraries<W: Write>(archive: &mut Archive<W>, program: &Path) -> Result<()> {
    archive.copy(program, &in_usr(program))?;
    // A static program is none of its business.
    let Ok(said) = cmd::output(&mut cmd::command("ldd", [program])) else { return Ok(()) };
    let paths = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(Path::new).try_for_each(|library| archive.copy(library, &in_usr(library)))
}

/// Where a path stands once /bin, /lib and so on are links.
fn in_usr(path: &Path) -> String {
    let text = path.display().to_string();
    if text.starts_with("/usr/") { text } else { format!("/usr{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_come_with_their_libraries() {
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        with_libraries(&mut archive, Path::new("/bin/sh")).unwrap();
        assert!(archive.has("usr/bin/sh"));
        archive.finish().unwrap();
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("libc.so") || text.contains("ld-musl"), "no libc");
    }
}
