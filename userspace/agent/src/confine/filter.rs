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

/// Sets the filter for every thread of the process, and `no_new_privs`. `network`: whether other machines are talked to.
///
/// # Errors
/// When there is none afterwards.
pub(super) fn set(network: bool) -> Result<(), FilterError> {
    Ok(apply_filter_all_threads(&program(network)?)?)
}

fn program(network: bool) -> Result<BpfProgram, BackendError> {
    let mut all: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in GROUPS.iter().filter(|group| network || !group.network).flat_map(|group| group.calls) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::calls::Group;

    /// `struct seccomp_data` (include/uapi/linux/seccomp.h): what the kernel shows the filter.
    fn data(number: i64, arguments: [u64; 6]) -> Vec<u8> {
        let arch: u32 = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
        let words = [number as u32, arch, 0, 0];
        let words = words.into_iter().flat_map(u32::to_ne_bytes);
        words.chain(arguments.into_iter().flat_map(u64::to_ne_bytes)).collect()
    }

    /// Runs the filter as the kernel does (Documentation/networking/filter.rst); only what seccompiler writes.
    fn run(program: &[sock_filter], data: &[u8]) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let instruction = &program[at];
            let k = instruction.k;
            at += 1;
            let jump = |holds| usize::from(if holds { instruction.jt } else { instruction.jf });
            match instruction.code {
                0x20 => accumulator = u32::from_ne_bytes(data[k as usize..][..4].try_into().unwrap()),
                0x54 => accumulator &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(accumulator == k),
                0x25 => at += jump(accumulator > k),
                0x35 => at += jump(accumulator >= k),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const ALLOWED: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0000 | libc::EPERM as u32;
    const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

    fn answer(network: bool, number: i64, arguments: [u64; 6]) -> u32 {
        run(&program(network).unwrap(), &data(number, arguments))
    }

    fn groups(network: bool) -> impl Iterator<Item = &'static Group> {
        GROUPS.iter().filter(move |group| network || !group.network)
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_whatever_its_arguments() {
        for network in [false, true] {
            let known: Vec<i64> = groups(network).flat_map(|group| group.calls).map(|call| call.number).collect();
            for number in (0..600).filter(|number| !known.contains(number)) {
                let expected = if number < NEWER { EPERM } else { ENOSYS };
                for arguments in [[0; 6], [u64::MAX; 6]] {
                    assert_eq!(answer(network, number, arguments), expected, "{number}");
                }
            }
        }
    }

    #[test]
    fn calls_without_conditions_are_allowed() {
        let free = groups(true).flat_map(|group| group.calls).filter(|call| matches!(call.when, When::Always));
        for call in free {
            assert_eq!(answer(true, call.number, [u64::MAX; 6]), ALLOWED, "{}", call.name());
        }
    }

    #[test]
    fn a_call_has_conditions_everywhere_or_nowhere() {
        let all = || GROUPS.iter().flat_map(|group| group.calls);
        for call in all() {
            let same = all().filter(|other| other.number == call.number);
            let free = same.clone().filter(|other| matches!(other.when, When::Always)).count();
            assert!(free == 0 || same.count() == 1, "{} would be allowed with any arguments", call.name());
            assert!(call.number < NEWER, "{} is answered before the table is looked at", call.name());
        }
    }

    #[test]
    fn arguments_decide() {
        let pid = std::process::id();
        let (thread, process) = (0x3d_0f00, 0x0120_0011);
        for (number, arguments, expected) in [
            // Commands of bpf(2): BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_PROG_LOAD, BPF_OBJ_PIN, BPF_PROG_ATTACH,
            // BPF_RAW_TRACEPOINT_OPEN, BPF_LINK_CREATE, BPF_TOKEN_CREATE.
            (libc::SYS_bpf, [0, 0, 0], EPERM),
            (libc::SYS_bpf, [1, 0, 0], ALLOWED),
            (libc::SYS_bpf, [5, 0, 0], EPERM),
            (libc::SYS_bpf, [6, 0, 0], EPERM),
            (libc::SYS_bpf, [8, 0, 0], EPERM),
            (libc::SYS_bpf, [17, 0, 0], ALLOWED),
            (libc::SYS_bpf, [28, 0, 0], ALLOWED),
            (libc::SYS_bpf, [36, 0, 0], EPERM),
            (libc::SYS_openat, [0, 0, libc::O_CLOEXEC as u64 | libc::O_DIRECTORY as u64], ALLOWED),
            (libc::SYS_openat, [0, 0, libc::O_WRONLY as u64], EPERM),
            (libc::SYS_openat, [0, 0, libc::O_RDWR as u64], EPERM),
            (libc::SYS_openat, [0, 0, libc::O_CREAT as u64], EPERM),
            (libc::SYS_openat, [0, 0, libc::O_TMPFILE as u64], EPERM),
            (libc::SYS_mmap, [0, 0, 3], ALLOWED),
            (libc::SYS_mmap, [0, 0, 5], EPERM),
            (libc::SYS_mprotect, [0, 0, 7], EPERM),
            (libc::SYS_clone, [thread, 0, 0], ALLOWED),
            (libc::SYS_clone, [process, 0, 0], EPERM),
            (libc::SYS_socket, [libc::AF_UNIX as u64, 0, 0], ALLOWED),
            (libc::SYS_socket, [libc::AF_PACKET as u64, 0, 0], EPERM),
            (libc::SYS_tgkill, [pid.into(), 0, 0], ALLOWED),
            (libc::SYS_tgkill, [1, 0, 0], EPERM),
            (libc::SYS_prctl, [libc::PR_SET_SECCOMP as u64, 0, 0], EPERM),
            (libc::SYS_clone3, [0, 0, 0], ENOSYS),
            (libc::SYS_ptrace, [0, 0, 0], EPERM),
            (libc::SYS_mount, [0, 0, 0], EPERM),
            (libc::SYS_execve, [0, 0, 0], EPERM),
            (libc::SYS_open_by_handle_at, [0, 0, 0], EPERM),
            (libc::SYS_init_module, [0, 0, 0], EPERM),
            (libc::SYS_io_uring_setup, [0, 0, 0], EPERM),
        ] {
            let [a, b, c] = arguments;
            assert_eq!(answer(true, number, [a, b, c, 0, 0, 0]), expected, "{number} {arguments:?}");
        }
    }

    #[test]
    fn internet_sockets_are_for_who_talks_to_other_machines() {
        for family in [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            let arguments = [family as u64, 0, 0, 0, 0, 0];
            assert_eq!(answer(true, libc::SYS_socket, arguments), ALLOWED);
            assert_eq!(answer(false, libc::SYS_socket, arguments), EPERM);
        }
    }

    #[test]
    fn another_architecture_is_ended() {
        let mut data = data(libc::SYS_read, [0; 6]);
        // AUDIT_ARCH_I386, whose numbers mean other calls; SECCOMP_RET_KILL_PROCESS.
        data[4..8].copy_from_slice(&0x4000_0003u32.to_ne_bytes());
        assert_eq!(run(&program(true).unwrap(), &data), 0x8000_0000);
    }
}
