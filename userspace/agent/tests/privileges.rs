//! Capabilities before and after the drop, on the running kernel. Needs root.
//!
//! This program runs itself once for each case, because what a thread has dropped it cannot get back, and without the
//! test harness, because the drop refuses to leave other threads behind.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use caps::{CapSet, Capability, CapsHashSet};
use podscope_agent::cgroup::Layout;
use podscope_agent::descriptors;
use podscope_agent::kernel::offsets::Wishes;
use podscope_agent::kernel::{Events, Kernel, LoadError, Options};
use podscope_agent::oom::Kmsg;
use podscope_agent::privileges::{DropError, Facts, check, drop_to_needed};
use podscope_agent::status::{Board, Kind, State};

type Case = fn() -> Result<(), Box<dyn Error>>;

const CASES: &[(&str, Case)] = &[
    ("what_was_opened_before_the_drop_goes_on", what_was_opened_before_the_drop_goes_on),
    ("old_kernels_keep_what_they_need", old_kernels_keep_what_they_need),
    ("a_second_thread_forbids_the_drop", a_second_thread_forbids_the_drop),
    ("two_capabilities_are_enough_to_load", two_capabilities_are_enough_to_load),
    ("what_is_missing_is_named", what_is_missing_is_named),
];

/// Names the case to run in this process.
const VARIABLE: &str = "PODSCOPE_TEST_CASE";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Ok(name) = std::env::var(VARIABLE) {
        let (_, case) = CASES.iter().find(|(case, _)| *case == name).ok_or("no such case")?;
        case()?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // What test runners ask of a test binary: a list, of which none is ignored, and one case by its name.
    if has("--list") {
        let listed = if has("--ignored") { &[][..] } else { CASES };
        listed.iter().for_each(|(name, _)| println!("{name}: test"));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|part| if has("--exact") { *part == name } else { name.contains(part.as_str()) })
    };
    let mut result = ExitCode::SUCCESS;
    for (name, _) in CASES.iter().filter(|(name, _)| is_wanted(name)) {
        let passed = Command::new(std::env::current_exe()?).env(VARIABLE, name).status()?.success();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            result = ExitCode::FAILURE;
        }
    }
    Ok(result)
}

fn proc() -> &'static Path {
    Path::new("/proc")
}

fn load(board: &Board) -> Result<(Kernel, Events), LoadError> {
    let layout = Layout::detect(proc(), Path::new("/sys/fs/cgroup")).expect("cgroups");
    let (controller, hierarchy) = (layout.accounting.controller, layout.accounting.hierarchy);
    Kernel::load(&Options {
        wishes: Wishes { controller, hierarchy, ..Wishes::default() },
        max_tasks: 4096,
        hash_state: false,
        max_cgroups: 64,
        max_books: 1024,
        without: Vec::new(),
        board: board.clone(),
    })
}

/// The lines of a thread's status that begin with a key.
fn status(task: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(task.join("status")).expect("status");
    text.lines().filter_map(|line| line.split_once(":\t")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Every thread of this process has these capabilities and no others, and cannot get any.
fn assert_every_thread_has(kept: &[Capability]) {
    let mask = format!("{:016x}", kept.iter().map(Capability::bitmask).sum::<u64>());
    let none = format!("{:016x}", 0);
    let tasks: Vec<_> = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(tasks.len() >= 4, "{tasks:?}");
    for task in tasks {
        let status = status(&task);
        let of = |key: &str| status[key].as_str();
        assert_eq!([of("CapEff"), of("CapPrm"), of("CapBnd")], [&mask; 3], "{}", task.display());
        assert_eq!([of("CapInh"), of("CapAmb"), of("NoNewPrivs")], [&none, &none, "1"], "{}", task.display());
    }
}

/// A runtime as the agent's, with its threads started.
fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    runtime
}

/// Another user's process, which ends with this one.
struct Other(Child);

impl Other {
    fn start() -> Self {
        let mut cat = Command::new("cat");
        Self(cat.stdin(Stdio::piped()).uid(65_534).gid(65_534).spawn().expect("this test needs root"))
    }

    fn read_descriptors(&self) -> Option<u64> {
        Some(fs::read_dir(format!("/proc/{}/fd", self.0.id())).ok()?.count() as u64)
    }
}

fn what_was_opened_before_the_drop_goes_on() -> Result<(), Box<dyn Error>> {
    let board = Board::default();
    let other = Other::start();
    let descriptors = other.read_descriptors();
    let (mut kernel, _events) = load(&board)?;
    let mut kmsg = Kmsg::open(Path::new("/dev/kmsg"), &board);
    check()?;

    let facts = Facts::read(proc());
    let kept = drop_to_needed(&facts)?;
    assert_eq!(kept, facts.kept().map(|need| need.capability).collect::<Vec<_>>());
    let runtime = runtime();
    assert_every_thread_has(&kept);
    assert!(check().is_err());

    let mut own = 0;
    kernel.tasks(|record| own += u32::from(record.tgid == std::process::id()))?;
    assert!(own >= 4, "{own} of this process's threads");
    assert!(kernel.books.for_each(|_, _| ())? > 0);
    kernel.closed.for_each(|_, _| ())?;
    assert!(kernel.capacities().iter().all(|(_, capacity)| *capacity > 0));
    assert!(kernel.run_stats().contains_key("sched_switch"));

    fs::write("/dev/kmsg", "podscope: a test of reading the kernel's log\n")?;
    assert!(kmsg.poll(|_| ()) > 0, "{:?}", board.all());
    assert!(descriptors.is_some_and(|count| count >= 3));
    assert_eq!(descriptors::count(proc(), other.0.id()), descriptors);

    let again = runtime.block_on(async { load(&Board::default()).err().map(|error| error.to_string()) });
    assert!(again.as_ref().is_some_and(|error| error.contains("CAP_BPF")), "loading again: {again:?}");
    Ok(())
}

/// As on Linux 5.10; what counting descriptors needs there is tried by the call that is made there.
fn old_kernels_keep_what_they_need() -> Result<(), Box<dyn Error>> {
    let other = Other::start();
    let facts =
        Facts { release: (5, 10), unprivileged_bpf_disabled: 2, descriptors_are_told: false, log_by_call: false };
    let kept = drop_to_needed(&facts)?;
    assert_eq!(kept, [Capability::CAP_DAC_READ_SEARCH, Capability::CAP_BPF]);
    let _runtime = runtime();
    assert_every_thread_has(&kept);
    assert!(other.read_descriptors().is_some_and(|count| count >= 3));
    caps::clear(None, CapSet::Effective)?;
    assert_eq!(other.read_descriptors(), None, "it needs no capability");
    Ok(())
}

fn a_second_thread_forbids_the_drop() -> Result<(), Box<dyn Error>> {
    let before = caps::read(None, CapSet::Permitted)?;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv().is_ok());
    assert!(matches!(drop_to_needed(&Facts::read(proc())), Err(DropError::Threads(2))));
    assert_eq!(caps::read(None, CapSet::Permitted)?, before);
    assert_eq!(status(Path::new("/proc/self"))["NoNewPrivs"], "0");
    stop.send(())?;
    thread.join().map_err(|_| "the thread")?;
    Ok(())
}

/// Leaves the calling thread these capabilities.
fn leave(capabilities: &[Capability]) -> Result<(), Box<dyn Error>> {
    let left: CapsHashSet = capabilities.iter().copied().collect();
    caps::set(None, CapSet::Effective, &left)?;
    Ok(())
}

fn two_capabilities_are_enough_to_load() -> Result<(), Box<dyn Error>> {
    let states =
        |board: &Board| -> Vec<_> { board.all().into_iter().filter(|((kind, _), _)| *kind == Kind::Probe).collect() };
    let with_all = Board::default();
    drop(load(&with_all)?);
    leave(&[Capability::CAP_BPF, Capability::CAP_PERFMON])?;
    check()?;
    let with_two = Board::default();
    let (mut kernel, _events) = load(&with_two)?;
    assert_eq!(states(&with_two), states(&with_all));
    assert!(states(&with_two).iter().any(|((_, name), state)| name == "sched_switch" && *state == State::Up));
    assert!(kernel.tasks(|_| ())? > 1);
    Ok(())
}

fn what_is_missing_is_named() -> Result<(), Box<dyn Error>> {
    let message = || check().err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(message(), "");
    leave(&[Capability::CAP_SYS_ADMIN])?;
    assert_eq!(message(), "");
    leave(&[Capability::CAP_BPF])?;
    assert!(message().contains("CAP_PERFMON") && !message().contains("CAP_BPF"), "{}", message());
    leave(&[])?;
    let message = message();
    assert!(["CAP_BPF", "CAP_PERFMON", "podscope-agent -M"].iter().all(|part| message.contains(part)), "{message}");
    Ok(())
}
