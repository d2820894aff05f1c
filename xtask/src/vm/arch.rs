//! What differs between the architectures of guests.

use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cmd;
use crate::setup::packages::{self, Need};

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// Intel's and AMD's.
    #[value(name = "x86_64")]
    X86_64,
    /// ARM's with 64 bits.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// This machine's.
    ///
    /// # Errors
    /// When there are no guests of it.
    pub(crate) fn host() -> Result<Self> {
        let name = std::env::consts::ARCH;
        let found = Self::from_str(name, false).ok();
        found.with_context(|| format!("no guests run on {name}; there are x86_64 and aarch64"))
    }

    /// Whether it is this machine's, whose own programs then run in the guest.
    pub(crate) fn is_host(self) -> bool {
        Self::host().is_ok_and(|host| host == self)
    }

    /// Debian's name.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The compiler's name of the target.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The name of a tool of the C toolchain for this architecture.
    pub(crate) fn tool(self, name: &str) -> String {
        match self {
            _ if self.is_host() => name.to_owned(),
            Self::X86_64 => format!("x86_64-linux-gnu-{name}"),
            Self::Aarch64 => format!("aarch64-linux-gnu-{name}"),
        }
    }

    /// What emulates and compiles for it.
    pub(crate) fn needs(self) -> Vec<Need> {
        let mut needs = match self {
            Self::X86_64 => vec![packages::apt("qemu-system-x86_64", "qemu-system-x86")],
            Self::Aarch64 => vec![packages::apt("qemu-system-aarch64", "qemu-system-arm")],
        };
        if !self.is_host() {
            needs.push(match self {
                Self::X86_64 => packages::apt("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
                Self::Aarch64 => packages::apt("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            });
            needs.push(match self {
                Self::X86_64 => packages::apt("/usr/x86_64-linux-gnu/lib/libc.a", "libc6-dev-amd64-cross"),
                Self::Aarch64 => packages::apt("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
            });
        }
        needs
    }

    /// QEMU for it, with the kind of machine.
    pub(crate) fn qemu(self) -> Command {
        match self {
            Self::X86_64 => cmd::command("qemu-system-x86_64", [] as [&str; 0]),
            Self::Aarch64 => cmd::command("qemu-system-aarch64", ["-machine", "virt"]),
        }
    }

    /// The kernel's name of the first serial line.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }
}
