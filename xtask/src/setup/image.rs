//! The one image of a rig's pods: a static busybox, `podscope-load`, and a pause program, as an OCI archive.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Cache, Did, load, report};
use crate::cmd;

/// The name of the image.
pub const IMAGE: &str = "podscope.test/rig:1";

const BUSYBOX: &str = "/bin/busybox";
/// Raised when the image changes in a way that its inputs do not show.
const FORMAT: u32 = 1;

/// The archive of the image, made on first use and when one of its inputs has changed.
///
/// # Errors
/// When busybox is missing or the work program cannot be compiled.
pub fn archive(cache: &Cache) -> Result<PathBuf> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("cannot read {BUSYBOX}"))?;
    let mut hasher = DefaultHasher::new();
    (FORMAT, load::SOURCE, &busybox).hash(&mut hasher);
    let archive = cache.path(&format!("rig/image-{:016x}.tar", hasher.finish()));
    let program = load::program(cache)?;
    let _lock = cache.lock()?;
    if archive.is_file() {
        return Ok(archive);
    }
    fs::create_dir_all(cache.path("rig")).context("cannot make the folder of the rig's image")?;
    let scratch = tempfile::tempdir_in(cache.path("rig")).context("cannot make a folder in the cache")?;
    let root = scratch.path().join("rootfs");
    fill_root(&root, &program).context("cannot make the files of the rig's image")?;
    let layout = scratch.path().join("layout");
    write_layout(&root, &layout).context("cannot make the layout of the rig's image")?;
    let fresh = scratch.path().join("image.tar");
    tar(&layout, &fresh)?;
    fs::rename(&fresh, &archive).with_context(|| format!("cannot put {} in place", archive.display()))?;
    report(Did::Made, "image for pods", archive.display());
    Ok(archive)
}

fn fill_root(root: &Path, program: &Path) -> Result<()> {
    let bin = root.join("bin");
    for dir in [&bin, &root.join("etc"), &root.join("tmp"), &root.join("proc"), &root.join("sys"), &root.join("dev")] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).context("cannot open /tmp to all")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").context("cannot write /etc/passwd")?;
    fs::copy(BUSYBOX, bin.join("busybox")).context("cannot copy busybox")?;
    for applet in cmd::output(&mut cmd::command(BUSYBOX, ["--list"]))?.lines().filter(|name| *name != "busybox") {
        symlink("busybox", bin.join(applet)).with_context(|| format!("cannot link {applet}"))?;
    }
    let load = bin.join("podscope-load");
    fs::copy(program, &load).context("cannot copy podscope-load")?;
    fs::hard_link(&load, root.join("pause")).context("cannot link the pause program")
}

/// Writes an OCI image layout with one layer.
fn write_layout(root: &Path, layout: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).context("cannot make the folder of blobs")?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let layer = layout.join("layer");
    tar(root, &layer)?;
    let layer = store(&blobs, &layer, "application/vnd.oci.image.layer.v1.tar")?;
    let config = json!({
        "architecture": arch,
        "os": "linux",
        "config": { "Entrypoint": ["/pause"], "Env": ["PATH=/bin"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = store_json(layout, &blobs, &config, "application/vnd.oci.image.config.v1+json")?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let mut manifest = store_json(layout, &blobs, &manifest, "application/vnd.oci.image.manifest.v1+json")?;
    manifest["annotations"] = json!({ "io.containerd.image.name": IMAGE });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string()).context("cannot write index.json")?;
    fs::write(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())
        .context("cannot write oci-layout")
}

fn store_json(layout: &Path, blobs: &Path, value: &Value, media_type: &str) -> Result<Value> {
    let file = layout.join("blob");
    fs::write(&file, value.to_string()).context("cannot write a blob")?;
    store(blobs, &file, media_type)
}

/// Moves a file among the blobs and returns its descriptor.
fn store(blobs: &Path, file: &Path, media_type: &str) -> Result<Value> {
    let line = cmd::output(cmd::command("sha256sum", ["--"]).arg(file))?;
    let digest = line.split_whitespace().next().context("sha256sum printed nothing")?;
    let size = file.metadata().context("cannot read a blob's size")?.len();
    fs::rename(file, blobs.join(digest)).context("cannot move a blob")?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
}

fn tar(dir: &Path, archive: &Path) -> Result<()> {
    let mut tar = cmd::command("tar", ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-cf"]);
    cmd::output(tar.arg(archive).arg("-C").arg(dir).arg("."))?;
    Ok(())
}
