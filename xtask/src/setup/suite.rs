//! Packages of another Debian suite or architecture than this machine's, downloaded and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Cache, Did, packages, report};
use crate::cmd;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org";

/// What apt needs for any suite.
pub const NEEDS: &[packages::Need] = &[packages::apt(KEYRING, "debian-archive-keyring")];

/// A suite of Debian with apt lists of its own: the machine's own configuration and lists are neither read nor changed.
pub struct Suite {
    home: PathBuf,
    label: String,
}

impl Suite {
    /// Prepares the lists' place; `arch` is Debian's name of an architecture, such as `amd64`.
    ///
    /// # Errors
    /// When this is not Debian or the folder in the cache cannot be made.
    pub fn open(cache: &Cache, name: &str, arch: &str) -> Result<Self> {
        if cmd::find("apt-get").is_none() || cmd::find("dpkg").is_none() {
            bail!("packages of Debian {name} are fetched with apt-get and dpkg, which are not on this machine");
        }
        let home = cache.path("suites").join(format!("{name}-{arch}"));
        for below in ["lists/partial", "archives/partial", "empty"] {
            fs::create_dir_all(home.join(below)).with_context(|| format!("cannot make {}", home.display()))?;
        }
        let security = format!("deb [signed-by={KEYRING}] {MIRROR}/debian-security {name}-security main\n");
        let sources = format!("deb [signed-by={KEYRING}] {MIRROR}/debian {name} main\n");
        // The unstable suite gets its corrections directly.
        let sources = if name == "sid" { sources } else { sources + &security };
        let write = |file: &str, text: &str| {
            fs::write(home.join(file), text).with_context(|| format!("cannot write {file} in {}", home.display()))
        };
        write("sources.list", &sources)?;
        write("status", "")?;
        write("apt.conf", &configuration(&home, arch))?;
        Ok(Self { home, label: format!("Debian {name}, {arch}") })
    }

    /// Fetches the suite's lists.
    ///
    /// # Errors
    /// When apt-get fails.
    pub fn update(&self) -> Result<()> {
        cmd::output(&mut self.apt("apt-get", &["-q", "update"]))
            .with_context(|| format!("cannot fetch the package lists of {}", self.label))?;
        Ok(())
    }

    /// The packages that `package` depends on, directly or not, itself included; alternatives are all named.
    ///
    /// # Errors
    /// When apt-cache fails or does not know the package.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        const ONLY: [&str; 6] = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
        let mut apt = self.apt("apt-cache", &["depends", "--recurse"]);
        apt.args(ONLY.map(|kind| format!("--no-{kind}"))).arg(package);
        let said = cmd::output(&mut apt).with_context(|| format!("{} has no package {package}", self.label))?;
        Ok(said.lines().filter(|line| !line.starts_with([' ', '<'])).map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them into `to`, which appears only when it is whole.
    ///
    /// # Errors
    /// When a package cannot be downloaded or unpacked.
    pub fn unpack(&self, names: &[String], to: &Path) -> Result<()> {
        let scratch = tempfile::tempdir_in(&self.home).context("cannot make a folder in the cache")?;
        let mut download = self.apt("apt-get", &["-q", "download"]);
        cmd::output(download.args(names).current_dir(scratch.path()))
            .with_context(|| format!("cannot download from {}", self.label))?;
        packages::unpack(scratch.path(), &scratch.path().join("root"))?;
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
        }
        fs::rename(scratch.path().join("root"), to).with_context(|| format!("cannot make {}", to.display()))?;
        report(Did::Made, "packages", format_args!("{} ({}, in {})", names.join(" "), self.label, to.display()));
        Ok(())
    }

    fn apt(&self, program: &str, args: &[&str]) -> Command {
        let mut apt = cmd::command(program, args);
        apt.env("APT_CONFIG", self.home.join("apt.conf")).env("LC_ALL", "C");
        apt
    }
}

fn configuration(home: &Path, arch: &str) -> String {
    let home = home.display();
    format!(
        r#"APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "{home}/sources.list";
Dir::Etc::sourceparts "{home}/empty";
Dir::Etc::preferences "{home}/empty/none";
Dir::Etc::preferencesparts "{home}/empty";
Dir::State "{home}";
Dir::State::lists "{home}/lists";
Dir::State::status "{home}/status";
Dir::Cache "{home}";
"#
    )
}
