//! The figures of a real control group, against its raw files and the kernel's books of the process in it.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podscope_agent::cgroup::{self, Layout, Reader, Version, scan};

/// A control group of its own in every hierarchy that has figures; removed at the end.
struct Group {
    path: String,
    directories: Vec<PathBuf>,
}

impl Group {
    fn new(layout: &Layout, name: &str) -> Self {
        let mut group = Self { path: format!("/podscope-test-{}-{name}", std::process::id()), directories: Vec::new() };
        for mount in [&layout.cpuacct, &layout.cpu, &layout.memory].into_iter().flatten() {
            let directory = mount.directory(&group.path).unwrap();
            if !group.directories.contains(&directory) {
                fs::create_dir(&directory).unwrap_or_else(|e| panic!("needs root to make {directory:?}: {e}"));
                group.directories.push(directory);
            }
        }
        group
    }

    fn take(&self, child: &Child) {
        for directory in &self.directories {
            fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
    }

    fn raw(&self, file: &str) -> String {
        let found = self.directories.iter().find_map(|directory| fs::read_to_string(directory.join(file)).ok());
        found.unwrap_or_else(|| panic!("no {file} in {:?}", self.directories))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in self.directories.iter().rev() {
            // A group is busy for a moment after its last process has been waited for.
            for _ in 0..50 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A shell that waits for a line, computes for some tenths of a second, and ends; killed if the test fails.
struct Spinner(Child);

impl Spinner {
    fn new() -> Self {
        // The string grows to two megabytes, so that memory is charged as well.
        let script = "read go; x=aaaaaaaa; n=0; while [ $n -lt 18 ]; do x=$x$x; n=$((n+1)); done; \
             i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        Self(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// Run time, ns.
    fn run_time_ns(&self) -> u64 {
        self.proc("schedstat").split(' ').next().unwrap().parse().unwrap()
    }

    /// State, and user + system time in ns, which the kernel counts in ticks.
    fn state_and_ticks(&self) -> (String, u64) {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        (fields[0].to_owned(), ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
    }

    fn wait_for(&self, state: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.state_and_ticks().0 != state {
            assert!(Instant::now() < deadline, "process {} never reached state {state}", self.0.id());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn layout() -> Layout {
    Layout::detect(Path::new("/proc"), Path::new("/sys/fs/cgroup")).unwrap()
}

#[test]
fn figures_agree_with_the_kernel_about_a_real_group() {
    let layout = layout();
    let group = Group::new(&layout, "figures");
    let mut reader = Reader::new(&layout);
    assert_eq!(reader.cpu_usage_ns(&group.path), Some(0));

    let mut spinner = Spinner::new();
    spinner.wait_for("S");
    let before = spinner.run_time_ns();
    group.take(&spinner.0);
    spinner.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    spinner.wait_for("Z");
    let burned = spinner.run_time_ns() - before;
    let (_, ticks) = spinner.state_and_ticks();
    let mut files = cgroup::Group::new(group.path.as_str(), true);
    let figures = reader.read(&mut files);

    let usage = figures.cpu.usage_ns.unwrap();
    assert!(burned > 50_000_000, "the spinner burned only {burned} ns");
    assert!(usage.abs_diff(burned) < burned / 1000, "group {usage} ns, process {burned} ns");
    assert_eq!(reader.cpu_usage_ns(&group.path), Some(usage), "nobody runs in it any more");
    let split = figures.cpu.user_ns.unwrap() + figures.cpu.system_ns.unwrap();
    assert!(split.abs_diff(ticks) <= 40_000_000, "group {split} ns, process {ticks} ns, in ticks");
    assert_eq!((figures.limits.cpu, figures.limits.memory), (None, None), "a new group has no limits");

    if layout.accounting.mount.version == Version::V1 {
        assert_eq!(group.raw("cpuacct.usage"), format!("{usage}\n"));
        let peak = reader.memory(&mut files).peak.unwrap();
        assert_eq!(group.raw("memory.max_usage_in_bytes"), format!("{peak}\n"));
        assert!(peak > 0 && peak >= figures.memory.usage.unwrap(), "{:?}", figures.memory);
    } else {
        let line = format!("usage_usec {}", usage / 1000);
        assert!(group.raw("cpu.stat").lines().any(|l| l == line), "no {line:?}");
    }
}

#[test]
fn scan_sees_groups_as_the_kernel_numbers_them() {
    let layout = layout();
    let group = Group::new(&layout, "scan");
    let nested = format!("{}/nested", group.path);
    let directory = layout.accounting.mount.directory(&nested).unwrap();
    fs::create_dir(&directory).unwrap();
    let id = fs::metadata(&directory).unwrap().ino();
    let scan = scan(&layout, 100_000);
    let located = layout.locate(id, &format!("/outer{nested}")).map(str::to_owned);
    fs::remove_dir(&directory).unwrap();

    let scan = scan.unwrap();
    let found: Vec<_> = scan.groups.iter().filter(|(_, path)| **path == nested).collect();
    assert_eq!(found, [&(id, nested.as_str().into())]);
    assert_eq!(located, Some(nested), "by its number, from the path of a hierarchy further out");
    assert_eq!((&*scan.groups[0].1, scan.beyond, scan.unreadable), ("/", 0, 0));
}

#[test]
fn a_group_made_anew_under_the_same_name_is_read_anew() {
    let layout = layout();
    let (mut reader, mut spinner) = (Reader::new(&layout), Spinner::new());
    spinner.wait_for("S");
    let group = Group::new(&layout, "anew");
    group.take(&spinner.0);
    spinner.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    spinner.wait_for("Z");
    let mut files = cgroup::Group::new(group.path.as_str(), true);
    assert!(reader.cpu(&mut files).usage_ns > Some(0));
    spinner.0.wait().unwrap();
    drop(group);
    assert_eq!(reader.cpu(&mut files), cgroup::Cpu::default(), "it is gone");
    let _group = Group::new(&layout, "anew");
    assert_eq!(reader.cpu(&mut files).usage_ns, Some(0));
}
