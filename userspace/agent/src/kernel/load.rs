//! Loading and attaching. A program that the kernel refuses is a state with a reason; the rest runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use aya::maps::{Map, MapData, Queue};
use aya::programs::{BtfTracePoint, Iter, Program as AyaProgram, ProgramFd};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use bytemuck::Pod;
use podscope_abi::offsets::ABSENT;
use podscope_abi::{Book, BookKey, CGROUP_OVERFLOW, EXE_OTHER, Offsets, TaskRecord};

use super::btf::{Btf, BtfError, VMLINUX};
use super::events::Events;
use super::kvm::Late;
use super::offsets::{Wishes, resolve};
use super::programs::{Hook, PROGRAMS, Program};
use super::sys::Table;
use super::{Kernel, RunStats};
use crate::status::{Board, Kind, State};

static PROBES: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes"));
static PROBES_HASH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes-hash"));

/// What to load and how large.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// What the programs need to know.
    pub wishes: Wishes<'a>,
    /// Tasks that the hash of kernels before 5.12 can hold.
    pub max_tasks: u32,
    /// Cgroups that get a histogram of their own.
    pub max_cgroups: u32,
    /// (cgroup, executable) books.
    pub max_books: u32,
    /// Keep task state in a hash even where the kernel has task storage.
    pub hash_state: bool,
    /// Programs to leave out.
    pub without: Vec<String>,
    /// Where each program's state is written.
    pub board: Board,
}

/// Why nothing could be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A member is missing.
    #[error("{0}; podscope needs Linux 5.10 or later with BTF")]
    Members(String),
    /// Maps could not be made.
    #[error(
        "cannot create the kernel maps: {0:#}; this needs CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8)"
    )]
    Maps(String),
    /// A map is not what it should be.
    #[error("kernel map {0}: {1}")]
    Map(&'static str, String),
}

impl Kernel {
    /// Loads all programs and attaches them, and returns with them the stream of events.
    ///
    /// # Errors
    /// When no program can work: no BTF, no privilege, no maps. A single program's failure is only its state.
    pub fn load(options: &Options<'_>) -> Result<(Self, Events), LoadError> {
        let offsets = resolve(&Btf::read(VMLINUX.as_ref())?, options.wishes).map_err(LoadError::Members)?;
        options.board.set(Kind::Source, "btf", State::Up);
        let mut ebpf = load_maps(options, &offsets, VerifierLogLevel::default())?;
        let btf = aya::Btf::from_sys_fs().map_err(|e| LoadError::Members(e.to_string()))?;
        let mut loaded = Vec::new();
        for program in PROGRAMS {
            match state_before_attach(&mut ebpf, program, options, &offsets, &btf) {
                State::Up => loaded.push(program),
                state => options.board.set(Kind::Probe, program.name, state),
            }
        }
        drop(btf);

        let mut slots: Queue<MapData, u32> = typed(&mut ebpf, "SLOTS")?;
        for slot in 1..options.max_cgroups {
            slots.push(slot, 0).map_err(|e| LoadError::Map("SLOTS", e.to_string()))?;
        }
        let events = Events::new(ebpf.take_map("EVENTS")).map_err(|e| LoadError::Map("EVENTS", e))?;
        let logger = EbpfLogger::init(&mut ebpf)
            .inspect_err(|error| tracing::warn!("the kernel programs cannot log: {}", chain(error)))
            .ok();
        let kernel = Self {
            logger,
            books: table(&mut ebpf, "BOOKS")?,
            closed: table(&mut ebpf, "CLOSED")?,
            cgroups: table(&mut ebpf, "CGROUPS")?,
            vcpus: table(&mut ebpf, "VCPUS")?,
            blames: table(&mut ebpf, "BLAMES")?,
            waits: table(&mut ebpf, "WAITS")?,
            exes: table(&mut ebpf, "EXES")?,
            losses: table(&mut ebpf, "LOSSES")?,
            control: table(&mut ebpf, "CONTROL")?,
            kvm: table(&mut ebpf, "KVM")?,
            kvm_layout: table(&mut ebpf, "KVM_LAYOUT")?,
            kvm_reasons: table(&mut ebpf, "KVM_REASONS")?,
            late: Late::new(&loaded, &options.board),
            slots,
            ebpf,
            buffer: vec![0; size_of::<TaskRecord>() / 8 * 256],
            baseline_set: false,
            counts_waits: offsets.run_delay != ABSENT,
            moves_followed: 0,
        };
        let overflow = BookKey { cgroup: CGROUP_OVERFLOW, exe: EXE_OTHER };
        kernel.books.set(&overflow, &Book::default()).map_err(|e| LoadError::Map("BOOKS", e.to_string()))?;
        kernel.reserve_books(0).map_err(|e| LoadError::Map("CONTROL", e.to_string()))?;
        super::release_memory();
        Ok((kernel.attach(&loaded, &options.board), events))
    }

    fn attach(mut self, loaded: &[&Program], board: &Board) -> Self {
        for program in loaded.iter().filter(|program| program.hook != Hook::Kvm) {
            let state = match self.ebpf.program_mut(program.name) {
                Some(AyaProgram::BtfTracePoint(p)) => match p.attach() {
                    Ok(_link_lives_with_the_program) => State::Up,
                    Err(error) => State::Absent { reason: format!("cannot attach: {}", chain(&error)) },
                },
                _ => State::Up,
            };
            board.set(Kind::Probe, program.name, state);
        }
        self.follow_kvm(super::monotonic_ns());
        self
    }
}

/// Creates the maps, with task storage where the kernel has it for tracing programs (5.12).
pub(super) fn load_maps(
    options: &Options<'_>,
    offsets: &Offsets,
    verifier_log: VerifierLogLevel,
) -> Result<Ebpf, LoadError> {
    let bytes: &[u8] = bytemuck::bytes_of(offsets);
    // The verifier removes what is not logged.
    let log_level: u8 = if tracing::enabled!(tracing::Level::DEBUG) { aya_log::Level::Debug as u8 } else { 0 };
    let load = |object, hash| {
        let mut loader = EbpfLoader::new();
        loader
            .override_global("OFFSETS", bytes, true)
            .override_global(aya_log::LEVEL, &log_level, true)
            .map_max_entries("BOOKS", options.max_books)
            .map_max_entries("WAITS", options.max_cgroups)
            .map_max_entries("SLOTS", options.max_cgroups)
            .map_max_entries("KVM", options.max_cgroups)
            .map_max_entries("CGROUPS", options.max_cgroups * 2)
            .verifier_log_level(verifier_log)
            .allow_unsupported_maps();
        if hash {
            loader.map_max_entries("TASKS", options.max_tasks);
        }
        loader.load(object)
    };
    if options.hash_state {
        return load(PROBES_HASH, true).map_err(|error| LoadError::Maps(chain(&error)));
    }
    match load(PROBES, false) {
        Ok(ebpf) => Ok(ebpf),
        Err(storage) => load(PROBES_HASH, true)
            .inspect(|_| tracing::info!("no task storage ({}): task state is kept in a hash", chain(&storage)))
            .map_err(|_| LoadError::Maps(chain(&storage))),
    }
}

fn state_before_attach(
    ebpf: &mut Ebpf,
    program: &Program,
    options: &Options<'_>,
    offsets: &Offsets,
    btf: &aya::Btf,
) -> State {
    if options.without.iter().any(|name| name == program.name) {
        return State::Off { reason: "left out by --without-probe".to_owned() };
    }
    if program.hook == Hook::TracedWait && offsets.trace_wait == 0 {
        let reason = if offsets.closing_only == 1 {
            "scheduling detail is switched off"
        } else {
            "the kernel itself counts run-queue waits"
        };
        return State::Off { reason: reason.to_owned() };
    }
    if program.hook == Hook::Kvm && offsets.closing_only == 1 {
        return State::Off { reason: "scheduling detail is switched off".to_owned() };
    }
    let loaded = match ebpf.program_mut(program.name) {
        Some(AyaProgram::BtfTracePoint(p)) => load_tracepoint(p, program.name, btf),
        Some(AyaProgram::Iter(p)) => load_iterator(p, btf),
        Some(AyaProgram::RawTracePoint(p)) => p.load().map_err(|error| format!("cannot load: {}", chain(&error))),
        _ => Err("it is not part of the programs".to_owned()),
    };
    match loaded {
        Ok(()) => State::Up,
        Err(reason) => State::Absent { reason },
    }
}

fn load_tracepoint(program: &mut BtfTracePoint, name: &str, btf: &aya::Btf) -> Result<(), String> {
    program.load(name, btf).map_err(|e| format!("cannot load: {}", chain(&e)))
}

fn load_iterator(program: &mut Iter, btf: &aya::Btf) -> Result<(), String> {
    program.load("task", btf).map_err(|e| format!("cannot load: {}", chain(&e)))
}

fn table<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<Table<K, V>, LoadError> {
    let data = match ebpf.take_map(name) {
        Some(Map::HashMap(data) | Map::LruHashMap(data) | Map::Array(data)) => data,
        _ => return Err(LoadError::Map(name, "is missing".to_owned())),
    };
    Table::new(data).map_err(|e| LoadError::Map(name, e.to_string()))
}

fn typed<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    ebpf.take_map(name).and_then(|map| map.try_into().ok()).ok_or_else(|| LoadError::Map(name, "is missing".to_owned()))
}

/// Reads a program's cost from its descriptor's `fdinfo` (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
pub(super) fn run_stats(fd: &ProgramFd) -> io::Result<RunStats> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0);
    Ok(RunStats { time: Duration::from_nanos(value("run_time_ns:")), runs: value("run_cnt:") })
}

/// An error with all its causes, on one line; of a verifier log only the end, where the refusal stands.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().rev().nth(600) {
        Some((from, _)) => format!("…{}", &line[from..]),
        None => line,
    }
}
