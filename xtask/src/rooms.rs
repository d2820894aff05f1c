//! Unsafe code stands in two rooms, and where a test hands memory to KVM. The compiler forbids it elsewhere; this checks that nobody has told it otherwise.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{cmd, repository};

/// The rooms; that each unsafe block in them says why it is sound is checked by clippy.
const ROOMS: [&str; 3] = ["ebpf/probes/", "userspace/agent/src/kernel/", "userspace/agent/examples/tiny_guest.rs"];
/// Manifests that do not take the workspace's lints, because a room is in their crate.
const OWN_LINTS: [&str; 2] = ["ebpf/probes/Cargo.toml", "userspace/agent/Cargo.toml"];
/// Not looked at: this file, which names what it looks for, and the fuzz targets, whose macro makes a C function.
const LEFT_OUT: [&str; 2] = ["xtask/src/rooms.rs", "userspace/fuzz/Cargo.toml"];
/// What a manifest says that takes the workspace's lints.
const SHARED_LINTS: &str = "[lints]\nworkspace = true\n";
/// What the others, and the workspace, say on unsafe code.
const DOCUMENTED: &str = "undocumented_unsafe_blocks = \"deny\"";

/// Checks every file that git knows.
///
/// # Errors
/// When something is where it must not be; the message has all of it.
pub fn check() -> Result<()> {
    let mut git = cmd::command("git", ["ls-files", "*.rs", "*Cargo.toml"]);
    let listed = cmd::output(git.current_dir(repository()))?;
    let mut faults = Vec::new();
    let looked_at = |path: &&str| !LEFT_OUT.contains(path) && repository().join(path).exists();
    for path in listed.lines().filter(looked_at) {
        let text = fs::read_to_string(repository().join(path)).with_context(|| format!("cannot read {path}"))?;
        if path.ends_with(".rs") {
            faults.extend(source(path, &text));
        } else {
            faults.extend(manifest(path, &text));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

fn manifest(path: &str, text: &str) -> Option<String> {
    let is_root = text.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n");
    let wanted = if OWN_LINTS.contains(&path) || is_root { DOCUMENTED } else { SHARED_LINTS };
    (!text.contains(wanted)).then(|| format!("{path} does not have the lints of the workspace"))
}

fn source(path: &str, text: &str) -> Vec<String> {
    const SIGNS: [&str; 6] = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe(", "unsafe_code"];
    if ROOMS.iter().any(|room| path.starts_with(room)) {
        return Vec::new();
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = lines.filter(|(_, line)| SIGNS.iter().any(|sign| line.contains(sign)));
    found.map(|(number, _)| format!("{path}:{number}: unsafe code outside of {}", ROOMS.join(" and "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_found_outside_of_its_rooms() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(source("userspace/agent/src/run.rs", code).len(), 1);
        assert_eq!(source("userspace/agent/src/kernel/sys.rs", code), [""; 0]);
        assert_eq!(source("userspace/cli/src/lib.rs", "#![allow(unsafe_code, reason = \"…\")]\n").len(), 1);
        assert_eq!(source("userspace/cli/src/lib.rs", "// unsafe { in a comment }\n"), [""; 0]);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert_eq!(manifest("xtask/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"), None);
        assert!(manifest("xtask/Cargo.toml", "[package]\n").is_some());
        assert_eq!(
            manifest("userspace/agent/Cargo.toml", "[lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\n"),
            None
        );
        assert!(manifest("userspace/agent/Cargo.toml", "[lints.clippy]\n").is_some());
    }

    #[test]
    fn this_repository_passes() {
        check().unwrap();
    }
}
