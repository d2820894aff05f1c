//! What the kernel's verifier says of each program: how much work it was, and how much stack it takes.

use std::io;

use aya::programs::{Program as AyaProgram, ProgramError};
use aya::{Ebpf, VerifierLogLevel};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::btf::{Btf, VMLINUX};
use super::load::{LoadError, Options, load_maps};
use super::offsets::resolve;
use super::programs::{Hook, PROGRAMS, Program};

/// The verifier's account of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Program.
    pub name: &'static str,
    /// Instructions that were looked at, each as often as there is a way to it; a million at most.
    pub instructions: u32,
    /// Bytes of stack of the program and of each function that it calls; 512 at most along any way.
    pub stack: Vec<u32>,
}

/// Why there is no account of a program.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// Nothing could be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The limit of descriptors could not be changed.
    #[error("cannot change the limit of descriptors: {0}")]
    Limit(#[from] io::Error),
    /// The verifier refused it.
    #[error("{name} is refused: {reason}")]
    Refused {
        /// Program.
        name: &'static str,
        /// The end of what the verifier wrote.
        reason: String,
    },
    /// The log has not the lines that were looked for.
    #[error("the verifier's statistics of {name} have another form: {log}")]
    Form {
        /// Program.
        name: &'static str,
        /// What there is.
        log: String,
    },
}

/// Has every program verified that would be loaded with these options; none is loaded.
///
/// Changes the limit of descriptors of the whole process for a moment: other threads cannot open a file meanwhile.
///
/// # Errors
/// When a program is refused, or nothing can be verified at all.
pub fn views(options: &Options<'_>) -> Result<Vec<View>, VerifierError> {
    let offsets =
        resolve(&Btf::read(VMLINUX.as_ref()).map_err(LoadError::from)?, options.wishes).map_err(LoadError::Members)?;
    let mut ebpf = load_maps(options, &offsets, VerifierLogLevel::STATS)?;
    let btf = aya::Btf::from_sys_fs().map_err(|error| LoadError::Members(error.to_string()))?;
    let loaded = PROGRAMS.iter().filter(|program| program.hook != Hook::TracedWait || offsets.trace_wait == 1);
    loaded.map(|program| view(&mut ebpf, program, &btf)).collect()
}

/// The library keeps the verifier's log only where a load fails. The last that the kernel does for a program, once
/// it is verified, is to make its descriptor: without room for one, it fails there, and the log is complete.
fn view(ebpf: &mut Ebpf, program: &Program, btf: &aya::Btf) -> Result<View, VerifierError> {
    let name = program.name;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: before.maximum }).map_err(io::Error::from)?;
    let result = match ebpf.program_mut(name) {
        Some(AyaProgram::BtfTracePoint(p)) => p.load(name, btf),
        Some(AyaProgram::Iter(p)) => p.load(name, btf),
        Some(AyaProgram::RawTracePoint(p)) => p.load(),
        _ => Ok(()),
    };
    setrlimit(Resource::Nofile, before).map_err(io::Error::from)?;
    match result {
        Err(ProgramError::LoadError { io_error, verifier_log }) => {
            let log = verifier_log.to_string();
            if io_error.raw_os_error() != Some(libc::EMFILE) {
                return Err(VerifierError::Refused { name, reason: format!("{io_error}: {}", end(&log)) });
            }
            parse(name, &log).ok_or(VerifierError::Form { name, log })
        }
        Err(error) => Err(VerifierError::Refused { name, reason: error.to_string() }),
        Ok(()) => Err(VerifierError::Form { name, log: "none".to_owned() }),
    }
}

/// Reads the lines `stack depth 160+48` and `processed 1234 insns …` (kernel/bpf/verifier.c,
/// `print_verification_stats`).
fn parse(name: &'static str, log: &str) -> Option<View> {
    let after = |key: &str| log.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
    let instructions = after("processed ")?.parse().ok()?;
    let stack = after("stack depth ")?.split('+').map(|bytes| bytes.parse().ok()).collect::<Option<_>>()?;
    Some(View { name, instructions, stack })
}

fn end(log: &str) -> &str {
    let from = log.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
    &log[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_statistics() {
        let log = "verification time 812 usec\nstack depth 160+0+48\n\
                   processed 1234 insns (limit 1000000) max_states_per_insn 4 total_states 50 peak_states 50 mark_read 5\n";
        let view = View { name: "task", instructions: 1234, stack: vec![160, 0, 48] };
        assert_eq!(parse("task", log), Some(view));
        assert_eq!(parse("task", "processed 12 insns\n"), None);
        assert_eq!(parse("task", ""), None);
    }
}
