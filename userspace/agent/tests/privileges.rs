//! Capabilities before and after the drop, on the running kernel. Needs root.
#![expect(clippy::unwrap_used, reason = "a test")]

mod alone;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use alone::{Case, End, cases, load, proc, runtime};
use caps::{CapSet, Capability, CapsHashSet};
use podscope_agent::descriptors;
use podscope_agent::kernel::{Kernel, KernelLog};
use podscope_agent::oom::Kmsg;
use podscope_agent::privileges::{DropError, Facts, NEEDS, check, drop_to_needed};
use podscope_agent::status::{Board, Kind};

const CASES: &[Case] = cases![
    what_was_opened_before_the_drop_goes_on,
    old_kernels_keep_what_they_need,
    a_second_thread_forbids_the_drop,
    each_capability_is_needed_and_no_other,
    each_capability_that_is_kept_is_needed,
    what_is_missing_is_named,
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    alone::main(CASES)
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

fn what_was_opened_before_the_drop_goes_on() -> End {
    let board = Board::default();
    let other = Other::start();
    let descriptors = other.read_descriptors();
    let (mut kernel, _events) = load(&board)?;
    let mut kmsg = Kmsg::open(Path::new("/dev/kmsg"), &board);
    check()?;

    let facts = Facts::read(proc());
    let kept = drop_to_needed(&facts)?;
    let mut wanted: Vec<_> = facts.kept().map(|need| need.capability).collect();
    wanted.sort_unstable_by_key(Capability::index);
    assert_eq!(kept, wanted);
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
fn old_kernels_keep_what_they_need() -> End {
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

fn a_second_thread_forbids_the_drop() -> End {
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
fn leave(capabilities: &[Capability]) -> End {
    let left: CapsHashSet = capabilities.iter().copied().collect();
    caps::set(None, CapSet::Effective, &left)?;
    Ok(())
}

/// A setting of the kernel; has its old value again, and this thread its capabilities, when this value goes.
struct Setting(PathBuf, String);

impl Setting {
    fn set(name: &str, value: &str) -> Self {
        let path = proc().join("sys/kernel").join(name);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, value).unwrap_or_else(|error| panic!("this test needs to set {}: {error}", path.display()));
        Self(path, before)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let permitted = caps::read(None, CapSet::Permitted).unwrap();
        caps::set(None, CapSet::Effective, &permitted).unwrap();
        fs::write(&self.0, &self.1).unwrap();
    }
}

/// What of the agent's start works with the effective capabilities of now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    /// Programs that are attached.
    programs: Vec<String>,
    kernel_log: bool,
    descriptors: bool,
    bounding_set: bool,
}

impl Start {
    fn now(other: &Other) -> Self {
        let board = Board::default();
        let _refused = load(&board).map(drop);
        let up = |((kind, name), state): ((Kind, String), podscope_agent::status::State)| {
            (kind == Kind::Probe && state.is_up()).then_some(name)
        };
        Self {
            programs: board.all().into_iter().filter_map(up).collect(),
            kernel_log: fs::File::open("/dev/kmsg").is_ok() && KernelLog::open().is_ok(),
            descriptors: descriptors::count(proc(), other.0.id()).is_some(),
            bounding_set: caps::drop(None, CapSet::Bounding, Capability::CAP_WAKE_ALARM).is_ok(),
        }
    }
}

fn each_capability_is_needed_and_no_other() -> End {
    let other = Other::start();
    let _restricted = Setting::set("dmesg_restrict", "1");
    let all = Start::now(&other);
    assert!(all.programs.iter().any(|name| name == "sched_switch") && all.programs.len() >= 10, "{all:?}");
    assert!(all.kernel_log && all.descriptors && all.bounding_set, "{all:?}");

    let needs: Vec<Capability> = NEEDS.iter().map(|need| need.capability).collect();
    leave(&needs)?;
    assert_eq!(Start::now(&other), all, "with the capabilities of the table alone");
    for need in NEEDS {
        let without: Vec<Capability> = needs.iter().copied().filter(|other| *other != need.capability).collect();
        leave(&without)?;
        let lacking = match need.capability {
            Capability::CAP_BPF | Capability::CAP_PERFMON => Start { programs: Vec::new(), ..all.clone() },
            Capability::CAP_SYSLOG => Start { kernel_log: false, ..all.clone() },
            Capability::CAP_DAC_READ_SEARCH => Start { descriptors: descriptors::are_told(proc()), ..all.clone() },
            Capability::CAP_SETPCAP => Start { bounding_set: false, ..all.clone() },
            other => panic!("the table has {other}, and this test does not say what for"),
        };
        assert_eq!(Start::now(&other), lacking, "without {}", need.capability);
        assert_eq!(check().is_err(), need.required, "without {}", need.capability);
        leave(&[need.capability])?;
        assert_eq!(Start::now(&other).programs, Vec::<String>::new(), "with {} alone", need.capability);
    }
    leave(&[Capability::CAP_BPF, Capability::CAP_PERFMON])?;
    assert_eq!(Start::now(&other).programs, all.programs, "with the required ones alone");
    Ok(())
}

fn each_capability_that_is_kept_is_needed() -> End {
    let other = Other::start();
    let (mut kernel, _events) = load(&Board::default())?;
    let facts = Facts { log_by_call: true, ..Facts::read(proc()) };
    let restricted = fs::read_to_string(proc().join("sys/kernel/dmesg_restrict"))?.trim() != "0";
    let kept = drop_to_needed(&facts)?;
    println!("kept: {kept:?}");
    let mut works = |need: Capability| match need {
        Capability::CAP_BPF => goes_on(&mut kernel),
        Capability::CAP_SYSLOG => KernelLog::open().is_ok(),
        Capability::CAP_DAC_READ_SEARCH => descriptors::count(proc(), other.0.id()).is_some(),
        other => panic!("{other} is kept, and this test does not say what for"),
    };
    for need in [Capability::CAP_BPF, Capability::CAP_SYSLOG, Capability::CAP_DAC_READ_SEARCH] {
        assert!(works(need), "{need}: with {kept:?}");
    }
    for &need in &kept {
        let without: Vec<Capability> = kept.iter().copied().filter(|other| *other != need).collect();
        leave(&without)?;
        let idle = need == Capability::CAP_SYSLOG && !restricted;
        assert_eq!(works(need), idle, "without {need}");
    }
    Ok(())
}

/// Maps are read and changed, the iterator runs.
fn goes_on(kernel: &mut Kernel) -> bool {
    kernel.tasks(|_| ()).is_ok() && kernel.books.for_each(|_, _| ()).is_ok() && kernel.waits(0).is_some()
}

fn what_is_missing_is_named() -> End {
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
