//! The kernel programs themselves, in each of their forms, against the cgroup's own counter and /proc.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "kernel/hooks.rs"]
mod hooks;
#[path = "kernel/verifier.rs"]
mod verifier;

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use podscope_abi::{Counters, TaskFlags};
use podscope_agent::cgroup::{Layout, Reader};
use podscope_agent::kernel::offsets::Wishes;
use podscope_agent::kernel::{Event, Events, Kernel, Options};
use podscope_agent::status::{Board, Kind};
use xtask::setup::{self, Cache};

/// The promise: how far our sum of CPU time may be off the kernel's.
const TOLERANCE: f64 = 0.001;

/// A cgroup of the accounting hierarchy; removed when dropped.
struct Group {
    dir: PathBuf,
    path: String,
    id: u64,
}

impl Group {
    fn new(layout: &Layout, name: &str) -> Self {
        let path = format!("/podscope-{name}-{}", std::process::id());
        let dir = layout.accounting.mount.directory(&path).unwrap();
        std::fs::create_dir(&dir).unwrap();
        let id = std::fs::metadata(&dir).unwrap().ino();
        Self { dir, path, id }
    }

    /// A group within this one.
    fn below(&self, name: &str) -> Self {
        let (dir, path) = (self.dir.join(name), format!("{}/{name}", self.path));
        std::fs::create_dir(&dir).unwrap();
        let id = std::fs::metadata(&dir).unwrap().ino();
        Self { dir, path, id }
    }

    /// Runs a shell script inside.
    ///
    /// The shell is moved there while it sleeps: of one that runs, up to a tick is counted for either group.
    fn run(&self, script: &str) {
        let script = format!("read go; {script}");
        let mut shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let stat = format!("/proc/{}/stat", shell.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
            sleep(Duration::from_millis(1));
        }
        std::fs::write(self.dir.join("cgroup.procs"), shell.id().to_string()).unwrap();
        shell.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(shell.wait().unwrap().success(), "{script}");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _left_to_the_operator = std::fs::remove_dir(&self.dir);
    }
}

/// Killed when dropped.
struct Spinner(std::process::Child);

impl Drop for Spinner {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

fn options<'a>(layout: &Layout, board: &Board) -> Options<'a> {
    let accounting = &layout.accounting;
    Options {
        wishes: Wishes { controller: accounting.controller, hierarchy: accounting.hierarchy, ..Wishes::default() },
        max_tasks: 16_384,
        max_cgroups: 256,
        max_books: 4096,
        hash_state: false,
        without: Vec::new(),
        board: board.clone(),
    }
}

fn load(layout: &Layout, change: impl FnOnce(&mut Options<'_>)) -> (Kernel, Events, Board) {
    let board = Board::default();
    let mut options = options(layout, &board);
    change(&mut options);
    let (mut kernel, events) = Kernel::load(&options).expect("the programs load; this needs root");
    for ((kind, name), state) in board.all() {
        assert!(
            kind != Kind::Probe || !matches!(state, podscope_agent::status::State::Absent { .. }),
            "{name}: {state:?}"
        );
    }
    kernel.tasks(|_| {}).unwrap();
    (kernel, events, board)
}

/// Closed books of a cgroup and what its living tasks add.
fn sums(kernel: &mut Kernel, group: &Group) -> Counters {
    let mut all = Counters::ZERO;
    kernel
        .books
        .for_each(|key, book| {
            if key.cgroup == group.id {
                all.add(&book.sums);
            }
        })
        .unwrap();
    kernel
        .tasks(|task| {
            if task.cgroup == group.id {
                all.add(&task.since);
            }
        })
        .unwrap();
    all
}

/// CPU time of a group whose processes have ended, nanoseconds: ours and the kernel's.
///
/// A thread is in no list any more and yet on its CPU for the very last steps of its life, and then missing from ours:
/// figures are late by that, but never stay away.
///
/// `near`: whether two figures are the same, as exactly as the test can tell.
fn settled(kernel: &mut Kernel, layout: &Layout, group: &Group, near: impl Fn(u64, u64) -> bool) -> (u64, u64) {
    const LIMIT: Duration = Duration::from_secs(10);
    let start = Instant::now();
    loop {
        let own = Reader::new(layout).cpu_usage_ns(&group.path).unwrap();
        let ours = sums(kernel, group).run_ns;
        if near(ours, own) || start.elapsed() > LIMIT {
            return (ours, own);
        }
        sleep(Duration::from_millis(50));
    }
}

fn conserves(name: &str, change: impl FnOnce(&mut Options<'_>)) {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, change);
    let group = Group::new(&layout, name);
    group.run("for i in $(seq 500); do /bin/true; done; (sleep 0.05 & wait); :");
    let near = |ours: u64, own: u64| (ours as f64 / own as f64 - 1.0).abs() < TOLERANCE;
    let (ours, own) = settled(&mut kernel, &layout, &group, near);
    let off = ours as f64 / own as f64 - 1.0;
    println!("conservation: of={name} books={ours}ns cgroup={own}ns off={:+.4}%", off * 100.0);
    assert!(off.abs() < TOLERANCE, "{ours} and {own}");
    assert!(kernel.losses().iter().all(|&lost| lost == 0), "{:?}", kernel.losses());
}

#[test]
fn closes_every_short_process_with_task_storage() {
    conserves("storage", |_| {});
}

#[test]
fn closes_every_short_process_with_a_hash() {
    conserves("hash", |options| options.hash_state = true);
}

#[test]
fn closes_every_short_process_without_scheduling_detail() {
    conserves("closing", |options| options.wishes.closing_only = true);
}

#[test]
fn a_traced_wait_is_the_kernels_own() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, board) = load(&layout, |options| options.wishes.trace_wait = true);
    assert!(board.all()[&(Kind::Probe, "sched_wakeup".to_owned())].is_up());
    let group = Group::new(&layout, "traced");
    // Two spinners on one CPU: each waits half of the time.
    let enter =
        format!("echo $$ > {}/cgroup.procs && exec taskset -c 0 sh -c 'while :; do :; done'", group.dir.display());
    let spinners = [0, 1].map(|_| Spinner(Command::new("sh").args(["-c", &enter]).spawn().unwrap()));
    let counted = |spinner: &Spinner| -> u64 {
        let schedstat = std::fs::read_to_string(format!("/proc/{}/schedstat", spinner.0.id())).unwrap();
        schedstat.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let start = Instant::now();
    while spinners.iter().any(|spinner| counted(spinner) < 500_000_000) {
        assert!(start.elapsed() < Duration::from_secs(60), "the spinners did not meet");
        sleep(Duration::from_millis(50));
    }
    let mut traced = HashMap::new();
    kernel
        .tasks(|task| {
            traced.insert(task.pid, task.raw.wait_ns);
        })
        .unwrap();
    for spinner in &spinners {
        let pid = spinner.0.id();
        let counted = counted(spinner);
        println!("{pid}: traced {} ns, counted by the kernel {counted} ns", traced[&pid]);
        // Between both readings one of them may have waited for a turn of the other.
        assert!(traced[&pid].abs_diff(counted) < 60_000_000 + counted / 50, "{} and {counted}", traced[&pid]);
    }
    drop(spinners);
}

#[test]
fn reports_cgroups_and_moves_between_them() {
    reports_moves(|_| {});
}

#[test]
fn reports_cgroups_and_moves_without_scheduling_detail() {
    reports_moves(|options| options.wishes.closing_only = true);
}

fn reports_moves(change: impl FnOnce(&mut Options<'_>)) {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, mut events, _board) = load(&layout, change);
    let (first, second) = (Group::new(&layout, "first"), Group::new(&layout, "second"));
    let spin = |n: u32| format!("i=0; while [ $i -lt {n} ]; do i=$((i+1)); done");
    first.run(&format!("{}; echo $$ > {}/cgroup.procs; {}", spin(300_000), second.dir.display(), spin(150_000)));
    // A move while running is exact to the last update of the task's run time, a tick at most.
    let near = |ours: u64, own: u64| ours.abs_diff(own) < 11_000_000;
    for group in [&first, &second] {
        let (ours, own) = settled(&mut kernel, &layout, group, near);
        println!("{}: books {ours} ns, cgroup {own} ns", group.path);
        assert!(near(ours, own), "{}: {ours} and {own}", group.path);
    }
    let mut lives = HashMap::new();
    kernel
        .books
        .for_each(|key, book| {
            let entry: &mut (u64, u64) = lives.entry(key.cgroup).or_default();
            entry.0 += book.lives.started_moved;
            entry.1 += book.lives.ended_moved;
        })
        .unwrap();
    assert_eq!(lives[&first.id], (1, 1));
    assert_eq!(lives[&second.id], (1, 0));
    drop(first);
    let mut seen = Vec::new();
    while let Some(event) = events.next_event() {
        seen.push(event);
    }
    let named = Event::CgroupNamed { id: second.id, path: second.path.clone() };
    assert!(seen.contains(&named), "{seen:?}");
    assert!(seen.iter().any(|event| matches!(event, Event::CgroupRemoved { .. })), "{seen:?}");
}

/// A process with so many threads that burn CPU time is moved to and fro: of a group only the leader's move is
/// reported, and no collection looks in between.
fn moves_to_and_fro(threads: usize) -> Kernel {
    const PROGRAM: &str = r#"
import hashlib, os, sys, threading, time
stop = False
def burn(span):
    end = time.monotonic() + span
    while not stop and time.monotonic() < end: hashlib.pbkdf2_hmac("sha256", b"p", b"s", 2000)
threads = [threading.Thread(target=burn, args=(60,)) for _ in range(int(sys.argv[1]) - 1)]
[t.start() for t in threads]
for to in (sys.argv[3], sys.argv[2], sys.argv[3], sys.argv[2]):
    burn(0.3)
    open(to + "/cgroup.procs", "w").write(str(os.getpid()))
stop = True
[t.join() for t in threads]
"#;
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, |options| options.wishes.closing_only = true);
    let (first, second) = (Group::new(&layout, "fro"), Group::new(&layout, "to"));
    let dirs = format!("{} {}", first.dir.display(), second.dir.display());
    first.run(&format!("exec python3 -c '{PROGRAM}' {threads} {dirs}"));
    assert!(threads == 1 || kernel.moves_are_open());
    let mut reader = Reader::new(&layout);
    let (mut all_own, mut all_ours) = (0.0, 0.0);
    for group in [&first, &second] {
        let own = reader.cpu_usage_ns(&group.path).unwrap() as f64;
        let ours = sums(&mut kernel, group).run_ns as f64;
        println!("{}: books {ours} ns, cgroup {own} ns", group.path);
        assert!(own > 150e6, "{} has hardly worked: {own} ns", group.path);
        // A thread is found moved when it next leaves its CPU: at each move some milliseconds of each thread.
        assert!((ours - own).abs() < 25e6 * threads as f64, "{}: {ours} and {own}", group.path);
        all_own += own;
        all_ours += ours;
    }
    assert!((all_ours / all_own - 1.0_f64).abs() < 0.001, "{all_ours} and {all_own}");
    kernel
}

#[test]
fn a_process_moved_again_and_again_leaves_its_time_where_it_burned_it_without_scheduling_detail() {
    moves_to_and_fro(1);
}

#[test]
fn threads_moved_again_and_again_leave_their_time_where_they_burned_it_without_scheduling_detail() {
    let mut kernel = moves_to_and_fro(4);
    let settled = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        kernel.tasks(|_| {}).unwrap();
        !kernel.moves_are_open()
    });
    assert!(settled, "moves are looked for though every moved thread is known");
}

#[test]
fn a_thread_that_moves_takes_nothing_along() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, |_| {});
    // Version 2 moves single threads within a subtree alone, whose groups say so.
    let outer = Group::new(&layout, "moving");
    let groups = ["one", "two"].map(|name| outer.below(name));
    let v2 = !outer.dir.join("tasks").exists();
    groups.iter().filter(|_| v2).for_each(|group| std::fs::write(group.dir.join("cgroup.type"), "threaded").unwrap());
    let threads = if v2 { "cgroup.threads" } else { "tasks" };
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", if v2 { &outer } else { &groups[0] }.dir.display());
    let program = setup::load::program(&Cache::locate().unwrap()).unwrap();
    let mut command = Command::new("sh");
    let process =
        Spinner(command.args(["-c", &enter, "sh"]).arg(program).args(["threads", "2", "1200", "1"]).spawn().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(200));
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.0.id())).unwrap().flatten();
    let mut tasks: Vec<u32> = tasks.map(|entry| entry.file_name().to_string_lossy().parse().unwrap()).collect();
    tasks.sort_unstable();
    let [_main, stays, moves] = tasks[..] else { panic!("{tasks:?}") };
    let put = |task: u32, group: &Group| std::fs::write(group.dir.join(threads), task.to_string()).unwrap();
    put(stays, &groups[0]);
    for _ in 0..3 {
        for group in [&groups[1], &groups[0]] {
            put(moves, group);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    let mut process = process;
    assert!(process.0.wait().unwrap().success());
    // A thread may be waited for before it has left its CPU for good.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut reader = Reader::new(&layout);
    for group in &groups {
        let own = reader.cpu_usage_ns(&group.path).unwrap() as f64;
        let ours = sums(&mut kernel, group).run_ns as f64;
        println!("{}: books {ours} ns, cgroup {own} ns", group.path);
        // As above, for each of six moves and the entry.
        assert!(own > 10e6 && (ours - own).abs() < 7.0 * 4e6, "{}: {ours} and {own}", group.path);
    }
}

#[test]
fn takes_threads_that_end_together_and_counts_the_exit_once() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, |_| {});
    let group = Group::new(&layout, "threads");
    let program = setup::load::program(&Cache::locate().unwrap()).unwrap();
    group.run(&format!("for i in $(seq 100); do {} together 8 1; done", program.display()));
    let near = |ours: u64, own: u64| (ours as f64 / own as f64 - 1.0).abs() < TOLERANCE;
    let (ours, own) = settled(&mut kernel, &layout, &group, near);
    assert!(kernel.losses().iter().all(|&lost| lost == 0), "{:?}", kernel.losses());
    assert!((ours as f64 / own as f64 - 1.0).abs() < TOLERANCE, "{ours} and {own}");
    let (mut started, mut ended) = (0, 0);
    kernel
        .books
        .for_each(|key, book| {
            if key.cgroup == group.id {
                started += book.lives.started_fork + book.lives.started_moved;
                ended += book.lives.ended_exit;
            }
        })
        .unwrap();
    assert_eq!(started, ended);
    assert!(started >= 101, "{started}");
}

#[test]
fn reads_what_proc_says() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, |_| {});
    let own = std::process::id();
    let mut seen = None;
    let count = kernel
        .tasks(|task| {
            if task.pid == own {
                seen = Some(*task);
            }
        })
        .unwrap();
    let task = seen.unwrap();
    assert_eq!(task.tgid, own);
    assert!(task.flags & TaskFlags::LEADER != 0 && task.flags & TaskFlags::MEMORY != 0);
    assert!(kernel.exe_name(task.exe).unwrap().starts_with("kernel-"), "{:?}", kernel.exe_name(task.exe));
    let tasks = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let threads: usize =
        tasks.map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)).sum();
    assert!(count.abs_diff(threads) < threads / 4 + 16, "{count} records, {threads} threads");
}

#[test]
fn the_idle_task_is_no_process() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let (mut kernel, _events, _board) = load(&layout, |_| {});
    sleep(Duration::from_millis(100));
    let mut idle = 0;
    kernel.tasks(|task| idle += u32::from(task.pid == 0)).unwrap();
    kernel.closed.for_each(|key, _| idle += u32::from(key.tgid == 0)).unwrap();
    assert_eq!(idle, 0);
}
