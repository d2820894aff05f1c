//! Test cases that each have a process of their own: this program runs itself once for each, because what a thread has
//! given up it cannot get back, and without the test harness, which starts threads.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

use podscope_agent::cgroup::Layout;
use podscope_agent::kernel::offsets::Wishes;
use podscope_agent::kernel::{Events, Kernel, LoadError, Options};
use podscope_agent::status::Board;

/// A case's end.
pub(crate) type End = Result<(), Box<dyn Error>>;

/// A case: its name, and what it does in a process of its own.
pub(crate) type Case = (&'static str, fn() -> End);

/// Cases by the names of their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case)),*] };
}
pub(crate) use cases;

/// Names the case to run in this process.
const VARIABLE: &str = "PODSCOPE_TEST_CASE";

/// Answers test runners: a list of the cases, all of them, or those that are named.
pub(crate) fn main(cases: &[Case]) -> Result<ExitCode, Box<dyn Error>> {
    if let Ok(name) = std::env::var(VARIABLE) {
        let (_, case) = cases.iter().find(|(case, _)| *case == name).ok_or("no such case")?;
        case()?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // What test runners ask of a test binary: a list, of which none is ignored, and one case by its name.
    if has("--list") {
        let listed = if has("--ignored") { &[][..] } else { cases };
        listed.iter().for_each(|(name, _)| println!("{name}: test"));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|part| if has("--exact") { *part == name } else { name.contains(part.as_str()) })
    };
    let mut result = ExitCode::SUCCESS;
    for (name, _) in cases.iter().filter(|(name, _)| is_wanted(name)) {
        let passed = Command::new(std::env::current_exe()?).env(VARIABLE, name).status()?.success();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            result = ExitCode::FAILURE;
        }
    }
    Ok(result)
}

/// Where procfs is mounted.
pub(crate) fn proc() -> &'static Path {
    Path::new("/proc")
}

/// The kernel programs, all of them.
pub(crate) fn load(board: &Board) -> Result<(Kernel, Events), LoadError> {
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

/// A runtime as the agent's, with its threads started.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    runtime
}
