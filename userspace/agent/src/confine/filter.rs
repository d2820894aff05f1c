//! The table of calls as a seccomp filter.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};

use super::calls::{Call, GROUPS, LACKING, NEWER, Named, REFUSED, When};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// The table has no form as a filter, or the architecture is unknown.
    #[error("cannot make the filter: {0}")]
    Make(#[from] BackendError),
    /// The kernel has no seccomp, or refuses the filter.
    #[error("cannot set the filter: {0}; the kernel needs CONFIG_SECCOMP_FILTER")]
    Set(#[from] seccompiler::Error),
}

/// Sets the filter for every thread of the process, and `no_new_privs`. `otlp`: whether metrics are exported over OTLP.
///
/// # Errors
/// When there is none afterwards.
pub(super) fn set(otlp: bool) -> Result<(), FilterError> {
    Ok(apply_filter_all_threads(&program(otlp)?)?)
}

fn program(otlp: bool) -> Result<BpfProgram, BackendError> {
    let mut all: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in GROUPS.iter().filter(|group| otlp || !group.otlp).flat_map(|group| group.calls) {
        all.entry(call.number).or_default().append(&mut rules(call)?);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(all, SeccompAction::Errno(REFUSED as u32), SeccompAction::Allow, arch)?;
    let mut program = newer_calls().to_vec();
    program.append(&mut BpfProgram::try_from(filter)?);
    Ok(program)
}

/// What a call's arguments must be: one of the rules holds. None means that any arguments will do.
fn rules(call: &Call) -> Result<Vec<SeccompRule>, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let union = |values: &[Named]| values.iter().fold(0, |bits, (_, bit)| bits | bit);
    let rule = |argument, op, value| {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?])
    };
    match call.when {
        When::Always => Ok(Vec::new()),
        When::OneOf(argument, values) => values.iter().map(|(_, value)| rule(argument, Eq, *value)).collect(),
        When::With(argument, bits) => Ok(vec![rule(argument, MaskedEq(union(bits)), union(bits))?]),
        When::Without(argument, bits) => Ok(vec![rule(argument, MaskedEq(union(bits)), 0)?]),
        When::OwnPid(argument) => Ok(vec![rule(argument, Eq, std::process::id().into())?]),
    }
}

/// Instructions that come before the rest: the number is loaded, and if it is that of a newer call, the answer given.
fn newer_calls() -> [sock_filter; 3] {
    /// `BPF_LD | BPF_W | BPF_ABS`; the number stands at offset 0 of `seccomp_data`.
    const LOAD: u16 = 0x20;
    /// `BPF_JMP | BPF_JGE | BPF_K`.
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    /// `BPF_RET | BPF_K`.
    const RETURN: u16 = 0x06;
    let instruction = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    let answer = u32::from(SeccompAction::Errno(LACKING as u32));
    [instruction(LOAD, 0, 0), instruction(JUMP_IF_AT_LEAST, 1, NEWER as u32), instruction(RETURN, 0, answer)]
}
