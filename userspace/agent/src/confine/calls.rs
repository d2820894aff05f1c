//! The system calls that go on being allowed, and why. All others are refused.
//!
//! What glibc, the standard library, tokio, rustix and the resolver call was found by watching the agent through its
//! tests (`tests/confine.rs`, `the_running_agent_is_never_refused`).

use libc::{c_int, c_long};

/// A group of calls that are allowed for one reason.
#[derive(Debug)]
pub struct Group {
    /// What the agent does with them.
    pub why: &'static str,
    /// Whether it does that only where it talks to other machines: over OTLP or with a cluster.
    pub network: bool,
    /// Which.
    pub calls: &'static [Call],
}

/// A system call, and the arguments with which it is allowed.
#[derive(Debug)]
pub struct Call {
    symbol: &'static str,
    /// Its number on this architecture.
    pub number: c_long,
    /// With what arguments.
    pub when: When,
}

/// A value of an argument and its name in C.
pub type Named = (&'static str, u64);

/// Arguments with which a call is allowed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Any.
    Always,
    /// The argument (from 0) is one of these.
    OneOf(u8, &'static [Named]),
    /// The argument has all of these bits.
    With(u8, &'static [Named]),
    /// The argument has none of these bits.
    Without(u8, &'static [Named]),
    /// The argument is the agent's own process id.
    OwnPid(u8),
}

impl Call {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.symbol.trim_start_matches("SYS_")
    }
}

macro_rules! named {
    ($($constant:ident),* $(,)?) => { &[$((stringify!($constant), libc::$constant as u64)),*] };
}

macro_rules! calls {
    ($($symbol:ident $(($when:expr))?),* $(,)?) => {
        &[$(Call { symbol: stringify!($symbol), number: libc::$symbol, when: when!($($when)?) }),*]
    };
}

macro_rules! when {
    () => {
        When::Always
    };
    ($when:expr) => {
        $when
    };
}

const NOT_EXECUTABLE: When = When::Without(2, named![PROT_EXEC]);
/// Flags of open(2) that write or create. `O_TMPFILE` has a bit of `O_DIRECTORY`, so its own is named.
const WRITING: &[Named] = &[
    ("O_WRONLY", libc::O_WRONLY as u64),
    ("O_RDWR", libc::O_RDWR as u64),
    ("O_CREAT", libc::O_CREAT as u64),
    ("O_TRUNC", libc::O_TRUNC as u64),
    ("O_TMPFILE", (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64),
];
/// Options of prctl(2): rustix looks the page size up in the auxiliary vector.
const PRCTL: &[Named] = &[("PR_SET_NAME", libc::PR_SET_NAME as u64), ("PR_GET_AUXV", 0x4155_5856)];
/// `SYSLOG_ACTION_READ_ALL` (include/linux/syslog.h).
const READ_ALL: Named = ("SYSLOG_ACTION_READ_ALL", 3);

/// Commands of bpf(2) (include/uapi/linux/bpf.h): none of them loads a program or makes a map.
const BPF: &[Named] = &[
    ("BPF_MAP_LOOKUP_ELEM", 1),
    ("BPF_MAP_UPDATE_ELEM", 2),
    ("BPF_MAP_DELETE_ELEM", 3),
    ("BPF_OBJ_GET_INFO_BY_FD", 15),
    ("BPF_RAW_TRACEPOINT_OPEN", 17),
    ("BPF_MAP_LOOKUP_AND_DELETE_ELEM", 21),
    ("BPF_MAP_LOOKUP_BATCH", 24),
    ("BPF_LINK_CREATE", 28),
    ("BPF_ITER_CREATE", 33),
];

/// Every call that is allowed. A call that stands in several groups is allowed with the arguments of any of them.
pub static GROUPS: &[Group] = &[
    Group {
        why: "read maps, free their entries, run the iterator, attach loaded programs",
        network: false,
        calls: calls![SYS_bpf(When::OneOf(0, BPF))],
    },
    Group {
        why: "read files, list folders, ask for sizes of file systems, raise the number of files that may be open",
        network: false,
        calls: calls![
            SYS_openat(When::Without(2, WRITING)),
            SYS_read,
            SYS_readv,
            SYS_pread64,
            SYS_lseek,
            SYS_close,
            SYS_newfstatat,
            SYS_fstat,
            SYS_statx,
            SYS_statfs,
            SYS_getdents64,
            SYS_readlinkat,
            SYS_faccessat,
            SYS_prlimit64(When::OneOf(0, &[("of itself", 0)])),
        ],
    },
    Group {
        why: "read the kernel's log where its file is refused",
        network: false,
        calls: calls![SYS_syslog(When::OneOf(0, &[READ_ALL]))],
    },
    Group {
        why: "answer on the listening socket, log to standard error",
        network: false,
        calls: calls![
            SYS_accept4,
            SYS_write,
            SYS_writev,
            SYS_recvfrom,
            SYS_recvmsg,
            SYS_sendto,
            SYS_sendmsg,
            SYS_shutdown,
            SYS_getsockname,
            SYS_getpeername,
            SYS_getsockopt,
            SYS_setsockopt,
            SYS_fcntl,
            SYS_ioctl(When::OneOf(1, named![FIONBIO, FIONREAD])),
        ],
    },
    Group {
        why: "connect to the container runtime, wait for signals",
        network: false,
        calls: calls![
            SYS_socket(When::OneOf(0, named![AF_UNIX])),
            SYS_socketpair(When::OneOf(0, named![AF_UNIX])),
            SYS_connect
        ],
    },
    Group {
        why: "connect to the OTLP endpoint, the Kubernetes API and the kubelet, and look their names up",
        network: true,
        calls: calls![
            SYS_socket(When::OneOf(0, named![AF_INET, AF_INET6, AF_NETLINK])),
            SYS_bind,
            SYS_sendmmsg,
            SYS_recvmmsg,
        ],
    },
    Group {
        why: "wait",
        network: false,
        calls: calls![
            SYS_epoll_create1,
            SYS_epoll_ctl,
            SYS_epoll_pwait,
            SYS_eventfd2,
            SYS_ppoll,
            SYS_futex,
            SYS_clock_nanosleep,
            SYS_nanosleep,
            SYS_restart_syscall,
            SYS_sched_yield,
        ],
    },
    Group {
        why: "start and end threads",
        network: false,
        calls: calls![
            SYS_clone(When::With(0, named![CLONE_VM, CLONE_THREAD])),
            SYS_set_robust_list,
            SYS_rseq,
            SYS_sigaltstack,
            SYS_rt_sigprocmask,
            SYS_rt_sigaction,
            SYS_rt_sigreturn,
            SYS_prctl(When::OneOf(0, PRCTL)),
            SYS_sched_getaffinity,
            SYS_gettid,
            SYS_getpid,
            SYS_tgkill(When::OwnPid(0)),
            SYS_exit,
            SYS_exit_group,
        ],
    },
    Group {
        why: "memory",
        network: false,
        calls: calls![
            SYS_brk,
            SYS_mmap(NOT_EXECUTABLE),
            SYS_mprotect(NOT_EXECUTABLE),
            SYS_mremap,
            SYS_munmap,
            SYS_madvise,
        ],
    },
    Group {
        why: "clocks, random numbers, the host's name",
        network: false,
        calls: calls![SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom, SYS_uname],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        why: "older forms of these, which x86-64 alone has",
        network: false,
        calls: calls![
            SYS_open(When::Without(1, WRITING)),
            SYS_stat,
            SYS_lstat,
            SYS_access,
            SYS_readlink,
            SYS_epoll_wait,
            SYS_poll,
        ],
    },
];

/// This call and all that are newer than it are answered as by a kernel that lacks them, so that who has an older call
/// to fall back on does. Its flags, which would tell a thread from a process, cannot be seen by a filter.
pub const NEWER: c_long = libc::SYS_clone3;
/// The answer to them.
pub const LACKING: c_int = libc::ENOSYS;
/// The answer to the other calls that are refused.
pub const REFUSED: c_int = libc::EPERM;
