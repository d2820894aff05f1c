//! Builds the kernel programs, once with task storage and once with a hash, for the agent to embed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    println!("cargo::rerun-if-env-changed=PODSCOPE_CACHE");
    println!("cargo::rerun-if-changed={}", root.join("ebpf").display());
    println!("cargo::rerun-if-changed={}", root.join("Cargo.lock").display());

    let tools = cache()?.join("ebpf/bin");
    let rustc = tools.join("rustc");
    println!("cargo::rerun-if-changed={}", rustc.display());
    if !rustc.exists() || !tools.join("bpf-linker").exists() {
        return Err(
            format!("the eBPF toolchain is missing in {}: run `cargo xtask setup` once", tools.display()).into()
        );
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Shared by all profiles: target/<profile>/build/<package>/out lies five levels below the target folder.
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not inside a target folder")?.join("ebpf");
    build(&root, &tools, &target, &[], &out.join("probes"))?;
    build(&root, &tools, &target, &["--features", "hash-state"], &out.join("probes-hash"))
}

/// Where `cargo xtask setup` keeps what outlives a clone.
fn cache() -> Result<PathBuf, Error> {
    if let Some(dir) = env::var_os("PODSCOPE_CACHE") {
        return Ok(dir.into());
    }
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME").ok_or("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("podscope"))
}

fn build(root: &Path, tools: &Path, target: &Path, features: &[&str], to: &Path) -> Result<(), Error> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    // Where its own sources are.
    let sysroot = Command::new(tools.join("rustc")).args(["--print", "sysroot"]).output()?.stdout;
    let sysroot = String::from_utf8(sysroot)?;
    let cargo_home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| home + "/.cargo"))?;
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Later instructions only; the oldest supported kernel has them.
        "-Ctarget-cpu=v3",
        // The same bytes from every clone, and for every user.
        &format!("--remap-path-prefix={}=.", root.display()),
        &format!("--remap-path-prefix={cargo_home}=cargo"),
        &format!("--remap-path-prefix={}=rust", sysroot.trim()),
    ]
    .join("\x1f");
    let path = env::join_paths(
        std::iter::once(tools.to_path_buf()).chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut command = Command::new(env::var("CARGO")?);
    // What cargo sets for this script would reach the other compiler.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_") && name_text != "CARGO_HOME" || name_text.starts_with("RUST") {
            command.env_remove(&name);
        }
    }
    for keep in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = env::var_os(keep) {
            command.env(keep, value);
        }
    }
    let status = command
        .current_dir(root.join("ebpf/probes"))
        .env("PATH", path)
        .env("RUSTC", tools.join("rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .args(["build", "--release", "--bin", "podscope-probes", "-Z", "build-std=core"])
        .args(["--target", "bpfel-unknown-none", "--target-dir"])
        .arg(target)
        .args(features)
        .status()?;
    if !status.success() {
        return Err("building the kernel programs failed; the compiler's messages stand above".into());
    }
    std::fs::copy(target.join("bpfel-unknown-none/release/podscope-probes"), to)?;
    Ok(())
}
