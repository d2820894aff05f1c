//! The programs that run in a guest: the agent and its tests, compiled statically, so that they need no libraries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::arch::Arch;
use crate::{cmd, repository};

/// The test programs by name, in `userspace/agent/tests`; the second needs programs of this machine in the guest.
const TESTS: &[&str] = &["kernel", "it"];

/// The guest that a test runs in the guest.
const EXAMPLE: &str = "tiny_guest";

/// Where the compiled programs are. A guest has them in the same places, because tests know the agent's by heart.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) agent: PathBuf,
    tests: Vec<(String, PathBuf)>,
    /// Programs that tests start.
    examples: Vec<PathBuf>,
    pub(crate) arch: Arch,
}

impl Programs {
    /// Compiles them; what is current is not compiled again.
    pub(crate) fn build(arch: Arch) -> Result<Self> {
        println!("compiling the agent and its tests for guests");
        let tests = if arch.is_host() { TESTS } else { &TESTS[..1] };
        let tests = [&["test", "--no-run"][..], &tests.iter().flat_map(|test| ["--test", test]).collect::<Vec<_>>()];
        let mut messages = Self::cargo(arch, &tests.concat())?;
        if arch.is_host() {
            messages += &Self::cargo(arch, &["build", "--example", EXAMPLE])?;
        }
        Self::from_messages(&messages, arch)
    }

    /// Has cargo build something of the agent, and returns what it says of it.
    fn cargo(arch: Arch, args: &[&str]) -> Result<String> {
        let target = arch.target();
        let mut cargo = cmd::cargo(args);
        cargo.args(["--package", "podscope-agent", "--message-format", "json-render-diagnostics", "--target", target]);
        // With a target named, the flags do not reach build scripts and macros.
        let variable = format!("CARGO_TARGET_{}", target.replace('-', "_").to_uppercase());
        cargo.env(format!("{variable}_RUSTFLAGS"), "-Ctarget-feature=+crt-static");
        if !arch.is_host() {
            cmd::output(&mut cmd::command("rustup", ["target", "add", target]))
                .with_context(|| format!("cannot add the standard library of {target}"))?;
            cargo.env(format!("{variable}_LINKER"), arch.tool("gcc"));
        }
        cargo.stderr(std::process::Stdio::inherit());
        let out = cargo.output().context("cannot start cargo")?;
        if !out.status.success() {
            bail!("`{}` failed ({})", cmd::show(&cargo), out.status);
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Reads cargo's messages, a JSON object on each line.
    fn from_messages(messages: &str, arch: Arch) -> Result<Self> {
        let (mut tests, mut examples) = (Vec::new(), Vec::new());
        let mut agent = None;
        for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(executable) = message["executable"].as_str().map(PathBuf::from) else { continue };
            match (message["target"]["name"].as_str(), message["profile"]["test"].as_bool()) {
                (Some("podscope-agent"), Some(false)) => agent = Some(executable),
                (Some(EXAMPLE), Some(false)) => examples.push(executable),
                (Some(name), Some(true)) => tests.push((name.to_owned(), executable)),
                _ => {}
            }
        }
        Ok(Self { agent: agent.context("cargo did not say where the agent is")?, tests, examples, arch })
    }

    /// A test program.
    pub(crate) fn test(&self, name: &str) -> Result<&Path> {
        let found = self.tests.iter().find(|(own, _)| own == name);
        Ok(&found.with_context(|| format!("cargo did not say where the test {name} is"))?.1)
    }

    /// All of them without symbols, which a guest has no use for: where each is to stand, and its content.
    pub(crate) fn stripped(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let folder = repository().join("target/vm");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let all = std::iter::once(&self.agent).chain(self.tests.iter().map(|(_, path)| path)).chain(&self.examples);
        all.map(|path| {
            let to = folder.join(path.file_name().unwrap_or_default());
            cmd::output(cmd::command(self.arch.tool("strip"), ["-o"]).arg(&to).arg(path))?;
            Ok((path.clone(), to))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_cargo_has_made() {
        let message = |name: &str, test: bool, path: &str| {
            format!(r#"{{"target":{{"name":"{name}"}},"profile":{{"test":{test}}},"executable":{path}}}"#)
        };
        let messages = [
            message("podscope_agent", false, "null"),
            message("podscope-agent", false, "\"/t/podscope-agent\""),
            message("kernel", true, "\"/t/deps/kernel-1\""),
            message("tiny_guest", false, "\"/t/examples/tiny_guest\""),
            "text".to_owned(),
        ];
        let programs = Programs::from_messages(&messages.join("\n"), Arch::X86_64).unwrap();
        assert_eq!(programs.agent, Path::new("/t/podscope-agent"));
        assert_eq!(programs.test("kernel").unwrap(), Path::new("/t/deps/kernel-1"));
        assert_eq!(programs.examples, [Path::new("/t/examples/tiny_guest")]);
        assert!(programs.test("it").is_err());
        assert!(Programs::from_messages("", Arch::X86_64).is_err());
    }
}
