//! One guest: boots a kernel in QEMU and reads what the steps said on its console.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Accelerator;
use super::arch::Arch;
use crate::{cmd, repository};

/// The memory of a guest, in megabytes; its file system is in it.
const MEMORY: &str = "3072";

/// A guest that says nothing for so long has stopped; the longest step without a line takes a third of it.
const SILENCE: Duration = Duration::from_secs(240);

/// Off: on a busy host a guest's processors stand still for seconds, which the kernel takes for its own fault.
const IMPATIENCE: &str = "nowatchdog rcupdate.rcu_cpu_stall_suppress=1";

/// What a guest said and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// As `uname -r` says; empty where the kernel did not come up.
    pub(crate) release: String,
    /// In their order.
    pub(crate) steps: Vec<Done>,
    /// Whether all steps were run.
    pub(crate) complete: bool,
    /// The last lines outside of any step, for a kernel that dies.
    pub(crate) rest: Vec<String>,
}

/// A step that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) name: String,
    /// All that it wrote.
    pub(crate) text: String,
    /// None where it did not end.
    pub(crate) code: Option<i32>,
}

impl Transcript {
    /// A step's output, if it ended with 0.
    pub(crate) fn step(&self, name: &str) -> Option<&Done> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Takes one line of the console.
    fn take(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        let open = self.steps.last_mut().filter(|step| step.code.is_none());
        match (line.strip_prefix("@@ ").and_then(|said| said.split_once(' ').or(Some((said, "")))), open) {
            (Some(("kernel", release)), None) => release.clone_into(&mut self.release),
            (Some(("begin", name)), None) => self.steps.push(Done { name: name.to_owned(), ..Done::default() }),
            (Some(("end", code)), Some(step)) => step.code = Some(code.parse().unwrap_or(-1)),
            (Some(("done", _)), None) => self.complete = true,
            (_, Some(step)) => {
                step.text.push_str(line);
                step.text.push('\n');
            }
            (_, None) => self.rest.push(line.to_owned()),
        }
    }
}

/// How to boot.
pub(crate) struct Boot<'a> {
    pub(crate) label: &'a str,
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// What is added to the kernel's command line.
    pub(crate) words: String,
    pub(crate) arch: Arch,
    pub(crate) accelerator: Accelerator,
    pub(crate) limit: Duration,
}

impl Boot<'_> {
    /// Runs the guest to its end; the console is kept in `target/vm/<label>.log`.
    ///
    /// Where every CPU of the guest is a thread of QEMU's translator, one of them may keep an old translation of code
    /// that the kernel patches from another one, and trap on the same instruction for ever (QEMU 7.2: on a breakpoint
    /// that memory no longer had). A guest that stood still is booted once more, with one thread for all its CPUs.
    ///
    /// # Errors
    /// When QEMU cannot be started, or the guest falls silent or takes longer than its limit.
    pub(crate) fn run(&self) -> Result<Transcript> {
        match self.once(self.accelerator) {
            Err(error) if self.accelerator == Accelerator::Tcg => {
                println!("again   {}, with one thread: {error:#}", self.label);
                self.once(Accelerator::TcgSingle)
            }
            ended => ended,
        }
    }

    fn once(&self, accelerator: Accelerator) -> Result<Transcript> {
        let path = repository().join(format!("target/vm/{}.log", self.label));
        let mut log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut command = self.command(accelerator);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start `{}`", cmd::show(&command)))?;
        let console = child.stdout.take().context("QEMU has no console")?;
        let mut transcript = Transcript::default();
        let read = self.read(console, |line| {
            transcript.take(line);
            writeln!(log, "{}", line.trim_end()).with_context(|| format!("cannot write {}", path.display()))
        });
        if read.is_err() {
            child.kill().ok();
        }
        let status = child.wait().context("cannot wait for QEMU")?;
        transcript.rest.push(format!("QEMU: {status}"));
        read.with_context(|| {
            let step = transcript.steps.last().map_or("no step", |step| &step.name);
            format!("the guest {} stood at {step}; its console is in {}", self.label, path.display())
        })?;
        // What all guests have is kept, what only this one had is large.
        fs::remove_file(self.initramfs).ok();
        Ok(transcript)
    }

    /// Passes on every line until the guest ends.
    fn read(&self, console: ChildStdout, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let (lines, inbox) = channel();
        std::thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut line = Vec::new();
            while console.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let start = Instant::now();
        loop {
            let left = self.limit.saturating_sub(start.elapsed());
            match inbox.recv_timeout(left.min(SILENCE)) {
                Ok(line) => each(&line)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if left > SILENCE => {
                    bail!("it has said nothing for {} s", SILENCE.as_secs());
                }
                Err(RecvTimeoutError::Timeout) => bail!("it took longer than {} s", self.limit.as_secs()),
            }
        }
    }

    fn command(&self, accelerator: Accelerator) -> Command {
        let accelerator = match accelerator {
            Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
            Accelerator::TcgSingle => ["-accel", "tcg,thread=single", "-cpu", "max"],
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
        };
        let mut command = self.arch.qemu();
        command.args(accelerator).args([
            "-smp",
            "2",
            "-m",
            MEMORY,
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        command.arg("-kernel").arg(self.image).arg("-initrd").arg(self.initramfs);
        let words = format!("console={} quiet panic=-1 {IMPATIENCE} {}", self.arch.console(), self.words);
        command.arg("-append").arg(words);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(console: &str) -> Transcript {
        let mut transcript = Transcript::default();
        console.lines().for_each(|line| transcript.take(line));
        transcript
    }

    #[test]
    fn a_console_is_divided_into_steps() {
        let console = "SeaBIOS\r\n@@ kernel 5.10.0-46\r\n@@ begin one\r\n@@ strange\r\nx @@ end 0\r\n@@ end 0\r\n\
                       @@ begin two\r\nfailed\r\n@@ end 101\r\n@@ done\r\n[ 9.9] reboot: Power down\r\n";
        let transcript = read(console);
        assert_eq!((transcript.release.as_str(), transcript.complete), ("5.10.0-46", true));
        let one = Done { name: "one".to_owned(), text: "@@ strange\nx @@ end 0\n".to_owned(), code: Some(0) };
        assert_eq!(transcript.step("one"), Some(&one));
        assert_eq!(transcript.step("two").map(|step| step.code), Some(Some(101)));
        assert_eq!(transcript.rest, ["SeaBIOS", "[ 9.9] reboot: Power down"]);
    }

    #[test]
    fn a_guest_that_dies_has_an_open_step() {
        let transcript = read("@@ begin one\nhalf a li");
        assert_eq!(transcript.step("one").and_then(|step| step.code), None);
        assert!(!transcript.complete);
        assert_eq!(transcript.step("two"), None);
    }
}
