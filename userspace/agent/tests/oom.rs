//! Real OOM kills: what the kernel logs of them, and whose limit that makes it.
//!
//! Needs root, a memory cgroup hierarchy and /dev/kmsg.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use podscope_agent::cgroup::{Layout, Version};
use podscope_agent::kernel::{Oom, monotonic_ns};
use podscope_agent::oom::{Constraint, Kmsg, Line, OomLine, OomTracker, Scope};
use podscope_agent::status::Board;

const POD: &str = "pod1f0b2c3d-0001-4a00-8000-0000000000a1";
const ID: &str = "a562c1fedc668f8411f857d3ebabd03b49c2916c87b8b7a5423818686499e6ca";

/// Nested memory cgroups, removed at the end: a class, a pod in it, a container in that.
struct Groups {
    version: Version,
    root: PathBuf,
    /// The class's directory.
    class: PathBuf,
}

impl Groups {
    fn make() -> Self {
        let layout = Layout::detect(Path::new("/proc"), Path::new("/sys/fs/cgroup")).expect("cgroups");
        let memory = layout.memory.expect("this test needs a mounted memory cgroup hierarchy");
        let class = memory.point.join(format!("podscope-oom-{}", std::process::id()));
        let groups = Self { version: memory.version, root: memory.point, class };
        let mut directory = groups.class.clone();
        for name in ["", POD, ID] {
            directory = directory.join(name);
            fs::create_dir(&directory).unwrap_or_else(|e| panic!("cannot make {}: {e}", directory.display()));
            if memory.version == Version::V2 && name != ID {
                fs::write(directory.join("cgroup.subtree_control"), "+memory").expect("no memory controller");
            }
        }
        groups
    }

    fn container(&self) -> PathBuf {
        self.class.join(POD).join(ID)
    }

    /// The path by which the kernel knows a group.
    fn path(&self, directory: &Path) -> String {
        format!("/{}", directory.strip_prefix(&self.root).unwrap().display())
    }

    /// Limits one group and nothing else.
    fn limit(&self, limited: &Path) {
        let (file, none) = match self.version {
            Version::V1 => ("memory.limit_in_bytes", "-1"),
            Version::V2 => ("memory.max", "max"),
        };
        for directory in [&self.class, &self.class.join(POD), &self.container()] {
            let limit = if directory == limited { "20971520" } else { none };
            fs::write(directory.join(file), limit).unwrap();
        }
    }

    /// Runs a program in the container that wants all memory there is, and returns its pid when it has been killed.
    fn kill_one(&self) -> u32 {
        let script = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", self.container().display());
        let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let pid = child.id();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        pid
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for directory in [self.container(), self.class.join(POD), self.class.clone()] {
            let _removed_by_hand = fs::remove_dir(directory);
        }
    }
}

/// The lines about a process, as soon as it is said to be killed.
fn lines_of(kmsg: &mut Kmsg, pid: u32) -> Vec<Line> {
    let started = Instant::now();
    let mut lines = Vec::new();
    while started.elapsed() < Duration::from_secs(5) {
        kmsg.poll(|line| {
            let of = match &line {
                Line::Chosen(line) => line.pid,
                Line::Killed { pid } => *pid,
                Line::Group { .. } => 0,
            };
            if of == pid {
                lines.push(line);
            }
        });
        if lines.contains(&Line::Killed { pid }) {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the kernel's log says nothing of the victim {pid}: {lines:?}")
}

#[test]
fn the_log_tells_whose_limit_killed_a_process() {
    let board = Board::default();
    let mut kmsg = Kmsg::open(Path::new("/dev/kmsg"), &board);
    let groups = Groups::make();
    let container = groups.container();
    for (limited, want) in [
        (container.clone(), Scope::Container),
        (groups.class.join(POD), Scope::Pod),
        (groups.class.clone(), Scope::Other),
    ] {
        groups.limit(&limited);
        let pid = groups.kill_one();
        let lines = lines_of(&mut kmsg, pid);
        let chosen = OomLine {
            pid,
            constraint: Constraint::Memcg,
            oom_memcg: Some(groups.path(&limited)),
            task_memcg: Some(groups.path(&container)),
            with_group: false,
        };
        assert_eq!(lines, [Line::Chosen(chosen), Line::Killed { pid }], "state: {:?}", board.all());

        let (mut tracker, now) = (OomTracker::default(), monotonic_ns());
        let oom = Oom { pid, tgid: pid, cgroup: 1, ..Oom::default() };
        tracker.take(oom.clone(), now);
        lines.into_iter().for_each(|line| tracker.line(line, now));
        let resolved = tracker.resolve(now, |_| Some(groups.path(&container).into()));
        assert_eq!(resolved, [(oom, want)]);
    }
    assert_eq!(kmsg.lost(), 0);
}
