//! `podscope top` in a real terminal (tmux), against a fake agent.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::StatusCode;
use support::{FakeAgent, HOSTILE, STATUS, TOP};

/// How long a screen may take to show what it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tmux server of its own with one window; ends when dropped.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Runs a shell command in it.
    fn run(columns: u16, lines: u16, command: &str) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let size = [columns.to_string(), lines.to_string()];
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], command]);
        terminal
    }

    /// Runs `podscope top` and afterwards says how it ended and how the terminal was left.
    fn top(columns: u16, lines: u16, args: &str) -> Self {
        let binary = env!("CARGO_BIN_EXE_podscope");
        let after = "echo \"ended with $?\"; stty -a | grep -o ' icanon\\| echo\\>'; exec sleep 600";
        Self::run(columns, lines, &format!("unset NO_COLOR PODSCOPE_AGENT; '{binary}' top {args}; {after}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-S"]).arg(self.socket()).args(args).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        let output = tmux.stdin(Stdio::null()).output().unwrap_or_else(|error| {
            panic!("cannot run tmux ({error}); this test needs it: apt-get install tmux");
        });
        assert!(output.status.success(), "tmux {args:?}: {}", support::text(&output.stderr));
        support::text(&output.stdout)
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it should be and gives it.
    fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if condition(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "no {what} on this screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for the end and checks that the terminal is as it was.
    fn ended(&self, code: i32) {
        let screen = self.wait("terminal", |screen| screen.contains(" echo\n"));
        assert!(screen.contains(&format!("ended with {code}")) && screen.contains(" icanon"), "{screen}");
        assert!(!screen.contains("PROCESS"), "the table is still there:\n{screen}");
        assert_eq!(self.tmux(&["display-message", "-p", "#{alternate_on}#{cursor_flag}"]).trim(), "01");
    }

    fn pid_of_top(&self) -> i32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(self.socket()).arg("kill-server").stderr(Stdio::null()).status();
    }
}

fn line_of<'a>(screen: &'a str, text: &str) -> &'a str {
    screen.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in\n{screen}"))
}

#[test]
fn sort_fold_filter_and_quit() {
    let agent = FakeAgent::new(TOP, STATUS);
    let terminal = Terminal::top(80, 24, &format!("--agent {} --interval 0.2", agent.url));
    let screen = terminal.wait_for("qemu-system-x86_64");
    assert!(screen.lines().nth(3).unwrap().contains("default/web-5d9f7c6b8-abcde"), "{screen}");
    assert!(line_of(&screen, "virt-launcher-testvm").contains("VM default/"), "{screen}");
    assert!(line_of(&screen, "qemu-system").ends_with("2382   538m   120m   59Mi      208"), "{screen}");

    terminal.keys(&["w"]);
    let screen = terminal.wait_for("▼WAIT");
    assert!(screen.lines().nth(3).unwrap().contains("batch/fork-storm"), "{screen}");
    terminal.keys(&["E"]);
    let screen = terminal.wait("closed tree", |screen| !screen.contains("busybox"));
    assert!(screen.contains("▸ kube-system/coredns-7db6d8ff4d-x2x4m"), "{screen}");
    terminal.keys(&["Right", "Down", "Enter"]);
    terminal.wait_for("busybox");

    terminal.keys(&["e", "/", "testvm"]);
    terminal.wait("filtered tree", |screen| screen.contains("/testvm") && !screen.contains("nginx"));
    terminal.keys(&["Enter", "?"]);
    terminal.wait_for("podscope top: keys");
    terminal.keys(&["x"]);
    terminal.wait("table", |screen| !screen.contains("top: keys") && screen.contains("(Esc clears)"));
    terminal.keys(&["Escape"]);
    terminal.wait_for("nginx");
    terminal.keys(&["q"]);
    terminal.ended(0);
}

#[test]
fn a_pause_holds_the_figures() {
    let agent = FakeAgent::new(TOP, STATUS);
    let terminal = Terminal::top(200, 50, &format!("--agent {} --interval 0.1", agent.url));
    terminal.wait_for("quay.io/kubevirt/virt-launcher:v1.9.0");
    terminal.keys(&["p"]);
    terminal.wait_for("paused");
    agent.answer("/top", StatusCode::OK, &TOP.replace("\"qemu-system-x86_64\"", "\"qemu-kvm\""));
    std::thread::sleep(Duration::from_millis(500));
    assert!(!terminal.screen().contains("qemu-kvm"));
    terminal.keys(&["Space"]);
    terminal.wait_for("qemu-kvm");
}

#[test]
fn a_dead_agent_is_told_and_taken_up_again() {
    let agent = FakeAgent::new(TOP, STATUS);
    let address = agent.url.replace("http://", "");
    let terminal = Terminal::top(80, 24, &format!("--agent {} --interval 0.2", agent.url));
    terminal.wait_for("qemu-system-x86_64");
    drop(agent);
    let screen = terminal.wait_for("no answer since 2 s: Connection refused");
    assert!(screen.contains("qemu-system-x86_64"), "the last figures stay:\n{screen}");
    let agent = FakeAgent::at(&address);
    agent.answer("/top", StatusCode::OK, TOP);
    // Status has no page here: the table does without it.
    terminal.wait("live table", |screen| screen.contains("live, every") && !screen.contains("agent took"));
}

#[test]
fn hostile_names_cannot_touch_the_screen() {
    let agent = FakeAgent::new(HOSTILE, STATUS);
    let terminal = Terminal::top(80, 24, &format!("--agent {}", agent.url));
    let screen = terminal.wait_for("same-pid-twice");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with("podscope") && lines[2].starts_with("POD, CONTAINER"), "{screen}");
    assert!(lines[23].contains("q quit"), "{screen}");
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{alternate_on}"]).trim(), "1");
    let title = terminal.tmux(&["display-message", "-p", "#{pane_title}"]);
    assert!(!title.contains("owned"), "{title}");
}

#[test]
fn signals_give_the_terminal_back() {
    let agent = FakeAgent::new(TOP, STATUS);
    for signal in ["TERM", "INT"] {
        let terminal = Terminal::top(80, 24, &format!("--agent {}", agent.url));
        terminal.wait_for("qemu-system-x86_64");
        let pid = terminal.pid_of_top().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        terminal.ended(0);
    }
}

#[test]
fn a_terminal_that_goes_takes_it_along() {
    let agent = FakeAgent::new(TOP, STATUS);
    let terminal = Terminal::top(80, 24, &format!("--agent {}", agent.url));
    terminal.wait_for("qemu-system-x86_64");
    let process = PathBuf::from(format!("/proc/{}/exe", terminal.pid_of_top()));
    assert!(process.exists());
    drop(terminal);
    let start = Instant::now();
    // The link of a process that has ended, reaped or not, leads nowhere.
    while process.exists() {
        assert!(start.elapsed() < PATIENCE, "{} still runs", process.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let agent = FakeAgent::new(TOP, STATUS);
    let terminal = Terminal::top(80, 24, &format!("--agent {}", agent.url));
    terminal.wait_for("qemu-system-x86_64");
    terminal.tmux(&["resize-window", "-x", "200", "-y", "50"]);
    terminal.wait_for("WAIT TIME");
    terminal.tmux(&["resize-window", "-x", "30", "-y", "6"]);
    terminal.wait("narrow table", |screen| screen.contains("▼CPU") && !screen.contains("MEM"));
    terminal.keys(&["C-c"]);
    terminal.ended(0);
}

#[test]
fn colours_are_left_out_on_request() {
    let agent = FakeAgent::new(TOP, STATUS);
    let binary = env!("CARGO_BIN_EXE_podscope");
    for (variable, coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let command = format!("{variable} '{binary}' top --agent {}; sleep 600", agent.url);
        let terminal = Terminal::run(80, 24, &command);
        terminal.wait_for("qemu-system-x86_64");
        let screen = terminal.tmux(&["capture-pane", "-p", "-e"]);
        assert_eq!(screen.contains("\x1b[38;5;6mVM"), coloured, "{screen:?}");
    }
}
