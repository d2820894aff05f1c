//! `podscope top --once` and `podscope status`, run against a fake agent.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::io::Read as _;
use std::process::Stdio;

use http::StatusCode;
use support::{FakeAgent, HOSTILE, STATUS, TOP, podscope, text};

#[test]
fn a_pipe_gets_one_table() {
    let agent = FakeAgent::new(TOP, STATUS);
    let output = agent.podscope(&["top", "--processes", "3"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(agent.asked(), ["/top?processes=3"]);
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn sorted_and_filtered() {
    let agent = FakeAgent::new(TOP, STATUS);
    let output = agent.podscope(&["top", "--once", "--sort", "memory", "--filter", "TestVM"]);
    let page = text(&output.stdout);
    let executables: Vec<&str> = page.lines().map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    let expected = [
        "EXECUTABLE",
        "(all)",
        "virt-launcher",
        "qemu-system-x86_64",
        "(vcpu-0)",
        "(vcpu-1)",
        "virtqemud",
        "virtlogd",
        "virt-launcher-monitor",
    ];
    assert_eq!(executables, expected);
}

#[test]
fn json_is_the_answer_itself() {
    let agent = FakeAgent::new(TOP, STATUS);
    assert_eq!(text(&agent.podscope(&["top", "--json"]).stdout), TOP);
    assert_eq!(text(&agent.podscope(&["status", "--json"]).stdout), STATUS);
    let hostile = FakeAgent::new(&HOSTILE.replace("\\u009b", "\u{9b}"), STATUS);
    let page = text(&hostile.podscope(&["top", "--json"]).stdout);
    assert!(page.contains("\\u009b31m") && !page.contains('\u{9b}'));
    let same = |a: &str| serde_json::from_str::<serde_json::Value>(a).unwrap();
    assert_eq!(same(&page), same(HOSTILE));
}

#[test]
fn hostile_names_stay_on_their_line() {
    let agent = FakeAgent::new(HOSTILE, STATUS);
    let page = text(&agent.podscope(&["top", "--once"]).stdout);
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    assert_eq!(page.lines().count(), 1 + 6 + 6, "heading, containers, processes");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let one = r#"{"container":"x","container_id":"ID","processes":[]},"#;
    let containers: String = (0..20_000).map(|i| one.replace("ID", &i.to_string())).collect();
    let agent = FakeAgent::new(&format!(r#"{{"containers":[{containers}{{}}]}}"#), STATUS);
    let mut command = podscope();
    command.args(["top", "--once", "--agent", &agent.url]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut start = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((&start, output.status.code(), text(&output.stderr)), (b"NAMESPACE ", Some(0), String::new()));
}

#[test]
fn status_says_what_is_missing() {
    let agent = FakeAgent::new(TOP, STATUS);
    let output = agent.podscope(&["status"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout));
    assert_eq!(agent.podscope(&["status", "--check"]).status.code(), Some(3));
}

#[test]
fn status_check_passes_when_all_is_up() {
    let agent = FakeAgent::new(TOP, &STATUS.replace("absent", "off"));
    assert_eq!(agent.podscope(&["status", "--check"]).status.code(), Some(0));
}

#[test]
fn an_agent_that_measured_nothing_yet_is_not_ready() {
    let agent = FakeAgent::new(TOP, "{}");
    let output = agent.podscope(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("nothing yet"), "{}", text(&output.stdout));
}

#[test]
fn an_agent_that_cannot_be_reached() {
    let url = FakeAgent::at("127.0.0.1:0").url.clone();
    for args in [vec!["status"], vec!["top", "--once"], vec!["top", "--json"]] {
        let output = podscope().args(&args).args(["--agent", &url]).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
        assert!(message.contains(&url) && message.contains("Connection refused"), "{message}");
        assert!(message.contains("--agent URL or PODSCOPE_AGENT"), "{message}");
    }
}

#[test]
fn an_agent_that_refuses() {
    let agent = FakeAgent::at("127.0.0.1:0");
    agent.answer("/top", StatusCode::SERVICE_UNAVAILABLE, "no collection yet");
    let output = agent.podscope(&["top", "--once"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("503 Service Unavailable: no collection yet"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["bottom"], "unrecognized subcommand"),
        (&["top", "--interval", "0"], "between 0.1 and 3600"),
        (&["top", "--sort", "name"], "possible values"),
        (&["top", "--processes", "-1"], "--processes"),
        (&["top", "--json", "--filter", "x"], "cannot be used with"),
        (&["status", "--agent", "127.0.0.1:9435"], "http:// in front"),
        (&["status", "--agent", "https://x"], "https is not spoken yet"),
    ];
    for (args, expected) in cases {
        let output = podscope().args(args).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let output = podscope().env("PODSCOPE_AGENT", "nonsense").arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
