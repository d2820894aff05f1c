//! Writes an initial file system for a kernel: a cpio archive in the `newc` form, not compressed
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;
const END: &str = "TRAILER!!!";

/// An archive being written. All belongs to root; folders come by themselves; what is there already stays.
pub(crate) struct Archive<W> {
    out: W,
    names: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, names: BTreeSet::new() }
    }

    /// Whether `path` is in the archive.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.names.contains(path.trim_start_matches('/'))
    }

    pub(crate) fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER, b"")
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, LINK, target.as_bytes())
    }

    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.entry(path, FILE | permissions, content)
    }

    /// A copy of a file of this machine; links are followed.
    pub(crate) fn copy(&mut self, from: &Path, path: &str) -> Result<()> {
        let failed = || format!("cannot read {}", from.display());
        let content = fs::read(from).with_context(failed)?;
        let permissions = from.metadata().with_context(failed)?.permissions().mode() & 0o7777;
        self.file(path, permissions, &content)
    }

    /// Writes the end.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write(END, 0, b"").and_then(|()| self.out.flush()).context("cannot write an archive")
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let name = path.trim_matches('/').to_owned();
        if let Some((above, _)) = name.rsplit_once('/')
            && !self.has(above)
        {
            self.folder(above)?;
        }
        if self.names.insert(name.clone()) {
            self.write(&name, mode, content).with_context(|| format!("cannot write {name} into an archive"))?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let number = self.names.len();
        // inode, mode, user, group, links, time, size, four device numbers, length of the name, checksum
        let fields = [number, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        let mut head = String::from("070701");
        fields.iter().for_each(|field| head += &format!("{field:08x}"));
        head += name;
        head.push('\0');
        self.padded(head.as_bytes())?;
        self.padded(content)
    }

    /// Every part begins at a multiple of four.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..bytes.len().wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd;

    /// busybox reads what was written.
    #[test]
    fn another_program_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let mut archive = Archive::new(fs::File::create(&path).unwrap());
        archive.folder("/empty").unwrap();
        archive.file("/a/b/five", 0o640, b"12345").unwrap();
        archive.file("/a/b/five", 0o777, b"is there already").unwrap();
        archive.link("/a/link", "b/five").unwrap();
        archive.finish().unwrap();
        let unpack = format!("cd {} && busybox cpio -idm < archive", dir.path().display());
        cmd::output(&mut cmd::command("sh", ["-c", &unpack])).expect("busybox-static is installed by `cargo xtask vm`");
        let made = dir.path().join("a/link");
        assert_eq!(fs::read(&made).unwrap(), b"12345");
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(dir.path().join("empty").is_dir());
    }
}
