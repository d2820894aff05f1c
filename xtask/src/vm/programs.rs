//! The programs that run in a guest: the agent and its tests, compiled statically, so that they need no libraries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cmd, repository, walls};

/// The test programs by name, in `userspace/agent/tests`.
const TESTS: &[&str] = &["kernel", "it"];

/// Where the compiled programs are. A guest has them in the same places, because tests know the agent's by heart.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) agent: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Compiles them; what is current is not compiled again.
    pub(crate) fn build() -> Result<Self> {
        let target = walls::host()?;
        let mut cargo = cmd::cargo(["test", "--no-run", "--package", "podscope-agent", "--message-format"]);
        cargo.args(["json-render-diagnostics", "--target", &target]);
        cargo.args(TESTS.iter().flat_map(|test| ["--test", test]));
        // With a target named, the flags do not reach build scripts and macros.
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.replace('-', "_").to_uppercase());
        cargo.env(variable, "-Ctarget-feature=+crt-static").stderr(std::process::Stdio::inherit());
        println!("compiling the agent and its tests for guests");
        let out = cargo.output().context("cannot start cargo")?;
        if !out.status.success() {
            bail!("`{}` failed ({})", cmd::show(&cargo), out.status);
        }
        Self::from_messages(&String::from_utf8_lossy(&out.stdout))
    }

    /// Reads cargo's messages, a JSON object on each line.
    fn from_messages(messages: &str) -> Result<Self> {
        let mut tests = Vec::new();
        let mut agent = None;
        for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(executable) = message["executable"].as_str().map(PathBuf::from) else { continue };
            match (message["target"]["name"].as_str(), message["profile"]["test"].as_bool()) {
                (Some("podscope-agent"), Some(false)) => agent = Some(executable),
                (Some(name), Some(true)) => tests.push((name.to_owned(), executable)),
                _ => {}
            }
        }
        Ok(Self { agent: agent.context("cargo did not say where the agent is")?, tests })
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
        let all = std::iter::once(&self.agent).chain(self.tests.iter().map(|(_, path)| path));
        all.map(|path| {
            let to = folder.join(path.file_name().unwrap_or_default());
            cmd::output(cmd::command("strip", ["-o"]).arg(&to).arg(path))?;
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
            "text".to_owned(),
        ];
        let programs = Programs::from_messages(&messages.join("\n")).unwrap();
        assert_eq!(programs.agent, Path::new("/t/podscope-agent"));
        assert_eq!(programs.test("kernel").unwrap(), Path::new("/t/deps/kernel-1"));
        assert!(programs.test("it").is_err());
        assert!(Programs::from_messages("").is_err());
    }
}
