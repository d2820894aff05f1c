//! Which processes are tracked: command lines by patterns.
//!
//! As in the older tool a target has one pattern per argument, by the rules of Go's `path/filepath.Match`, and matches
//! when each argument that has a pattern fits it; the first target that matches wins.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::file;

/// A pattern that means nothing.
#[derive(Debug, thiserror::Error)]
#[error("target {target:?}: the pattern {pattern:?} means nothing: {reason}")]
pub struct WrongPattern {
    target: String,
    pattern: String,
    reason: globset::Error,
}

/// The targets of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Targets(Vec<(Arc<str>, Vec<GlobMatcher>)>);

impl Targets {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// When one means nothing.
    pub fn new(targets: &[file::Target]) -> Result<Self, WrongPattern> {
        let compiled = targets.iter().map(|target| {
            let patterns = target.argv.iter().map(|pattern| {
                compile(pattern).map_err(|reason| WrongPattern {
                    target: target.name.clone(),
                    pattern: pattern.clone(),
                    reason,
                })
            });
            Ok((target.name.as_str().into(), patterns.collect::<Result<_, _>>()?))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The name of the first target that a command line fits; `cmdline` is the text of /proc/PID/cmdline.
    pub fn find(&self, cmdline: &[u8]) -> Option<&Arc<str>> {
        let argv: Vec<&[u8]> = cmdline.split(|&byte| byte == 0).filter(|argument| !argument.is_empty()).collect();
        if argv.is_empty() {
            return None;
        }
        let fits = |patterns: &[GlobMatcher]| {
            let mut pairs = argv.iter().zip(patterns);
            !patterns.is_empty() && pairs.all(|(argument, glob)| glob.is_match(Path::new(OsStr::from_bytes(argument))))
        };
        self.0.iter().find(|(_, patterns)| fits(patterns)).map(|(name, _)| name)
    }
}

/// `*` and `?` stay within a folder; braces and a double star mean nothing special.
fn compile(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let mut plain = pattern.replace('{', "[{]").replace('}', "[}]");
    while plain.contains("**") {
        plain = plain.replace("**", "*");
    }
    let glob = GlobBuilder::new(&plain).literal_separator(true).backslash_escape(true).build()?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(argv: &[&str], cmdline: &[u8]) -> bool {
        let target = file::Target { name: "one".to_owned(), argv: argv.iter().map(|&text| text.to_owned()).collect() };
        Targets::new(&[target]).unwrap().find(cmdline).is_some()
    }

    #[test]
    fn patterns_are_those_of_a_shell_within_folders() {
        for (pattern, program, fits) in [
            ("/usr/*/qemu*", "/usr/bin/qemu-system-x86_64", true),
            ("/usr/*/qemu*", "/usr/libexec/qemu-kvm", true),
            ("/usr/*/qemu*", "/libexec/qemu-kvm", false),
            ("/usr/*/qemu*", "/usr/libexec/fake-qemu", false),
            ("/usr/*/qemu*", "/usr/local/bin/qemu-kvm", false),
            ("/usr/**/qemu*", "/usr/local/bin/qemu-kvm", false),
            ("/usr/sbin/libvirtd*", "/usr/sbin/libvirtd", true),
            ("/usr/sbin/libvirt?", "/usr/sbin/libvirtd", true),
            ("/usr/sbin?libvirtd", "/usr/sbin/libvirtd", false),
            ("/opt/[a-c]x", "/opt/bx", true),
            ("/opt/[^a-c]x", "/opt/bx", false),
            ("/opt/[^a-c]x", "/opt/dx", true),
            ("/opt/\\*", "/opt/*", true),
            ("/opt/\\*", "/opt/x", false),
            ("/opt/{a,b}", "/opt/a", false),
            ("/opt/{a,b}", "/opt/{a,b}", true),
        ] {
            assert_eq!(found(&[pattern], program.as_bytes()), fits, "{pattern} and {program}");
        }
    }

    #[test]
    fn only_arguments_that_have_a_pattern_count() {
        assert!(found(&["/bin/a"], b"/bin/a\0--flag\0"));
        assert!(found(&["/bin/a", "--flag*"], b"/bin/a\0--flag=1\0x\0"));
        assert!(!found(&["/bin/a", "--flag*"], b"/bin/a\0--other\0"));
        assert!(found(&["/bin/a", "--flag*"], b"/bin/a\0"), "a shorter command line fits by what it has");
        assert!(found(&["/bin/a", "b"], b"/bin/a\0\0b\0"), "empty arguments are left out");
        assert!(!found(&["/bin/a"], b"") && !found(&["/bin/a"], b"\0\0"), "kernel threads have no arguments");
        assert!(found(&["/bin/*"], b"/bin/\xff\xfe"), "an argument may be no text");
    }

    #[test]
    fn the_first_target_wins_and_a_broken_pattern_is_named() {
        let target = |name: &str, pattern: &str| file::Target { name: name.into(), argv: vec![pattern.into()] };
        let targets = Targets::new(&[target("first", "/bin/*"), target("second", "/bin/a")]).unwrap();
        assert_eq!(targets.find(b"/bin/a").map(|name| &**name), Some("first"));
        let error = Targets::new(&[target("broken", "/bin/[")]).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains("/bin/["), "{error}");
    }
}
