//! The program as a user meets it: wrong flags, a taken address, too few rights, `-M`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use podscope_catalog::METRICS;

use crate::support::agent::command;
use crate::support::page::Page;
use crate::support::turn;

/// The kernel's number of the user who has no rights.
const NOBODY: u32 = 65534;

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A copy of the program where every user can run it.
fn copy(folder: &Path) -> std::path::PathBuf {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("podscope-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_podscope-agent"), &program).unwrap();
    program
}

#[test]
fn a_wrong_flag_or_variable_is_exit_code_2_and_says_what_is_accepted() {
    for (args, variable, message) in [
        (&["--interval", "0"][..], ("", ""), "between 0.1 and 3600"),
        (&["--nonsense"], ("", ""), "--nonsense"),
        (&["--without-probe", "nonsense"], ("", ""), "sched_switch"),
        (&["--scheduling-detail", "some"], ("", ""), "on, off"),
        (&["--cri-socket", "tcp://127.0.0.1:1"], ("", ""), "unix://"),
        (&["--log-level", "podscope=nonsense"], ("", ""), "--log-level"),
        (&["--otlp-endpoint", "nonsense"], ("", ""), "nonsense"),
        (&["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-protocol", "json"], ("", ""), "grpc"),
        (&[], ("PODSCOPE_INTERVAL", "soon"), "between 0.1 and 3600"),
        (&[], ("PODSCOPE_SCHEDULING_DETAIL", "2"), "--scheduling-detail"),
        (&[], ("PODSCOPE_LISTEN", "nonsense"), "--listen"),
        (&[], ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ] {
        let mut command = command();
        command.args(args);
        if !variable.0.is_empty() {
            command.env(variable.0, variable.1);
        }
        let (code, said) = run(&mut command);
        assert_eq!(code, Some(2), "{args:?} {variable:?}: {said}");
        assert!(said.contains(message), "{args:?} {variable:?}: {said}");
    }
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let _turn = turn().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = run(command().args(["--listen", &address, "--cri-socket", "none"]));
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&address) && last.contains("--listen"), "{said}");
}

#[test]
fn without_rights_the_message_names_the_missing_capability() {
    let folder = tempfile::tempdir().unwrap();
    let program = copy(folder.path());
    let (code, said) = run(Command::new(program).args(["--listen", "127.0.0.1:0"]).uid(NOBODY).gid(NOBODY));
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("CAP_BPF") && last.contains("-M"), "{said}");
}

#[test]
fn an_ordinary_user_gets_every_metric_printed() {
    let folder = tempfile::tempdir().unwrap();
    let program = copy(folder.path());
    let output = Command::new(program).arg("-M").uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    let text = String::from_utf8(output.stdout).unwrap();
    let helped: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(helped.len(), METRICS.len());
    for name in helped {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} has no type");
    }
    // Some are filled, from the process that printed them.
    let page = Page::parse(&text);
    let memory = page.one("process_memory_usage_bytes", &[("process_executable_name", "podscope-agent")]);
    assert!(memory > 1e6, "{memory} bytes");
}

#[test]
fn a_reader_of_one_line_is_no_failure() {
    let mut child = command().arg("-M").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("# HELP "), "{line}");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
}
