//! The verifier's account of every program, in the form that the kernel at hand takes.

use podscope_agent::cgroup::Layout;
use podscope_agent::kernel::verifier;
use podscope_agent::status::Board;

/// What the kernel allows a program and the functions that it calls (`MAX_BPF_STACK`).
const STACK: u32 = 512;
/// A program that needs so many is on its way to the kernel's limit of a million.
const INSTRUCTIONS: u32 = 100_000;

#[test]
fn every_program_is_verified_with_room_to_spare() {
    let layout = Layout::detect("/proc".as_ref(), "/sys/fs/cgroup".as_ref()).unwrap();
    let views = |trace_wait| {
        let mut options = super::options(&layout, &Board::default());
        options.wishes.trace_wait = trace_wait;
        verifier::views(&options).unwrap()
    };
    let mut all = views(false);
    // Those too that only serve kernels which do not count waits.
    let traced = views(true).into_iter().filter(|view| !all.iter().any(|other| other.name == view.name));
    all.extend(traced.collect::<Vec<_>>());
    for view in all {
        let stack: Vec<String> = view.stack.iter().map(ToString::to_string).collect();
        println!("fact: verified {} {} {}", view.name, view.instructions, stack.join("+"));
        assert!((2..INSTRUCTIONS).contains(&view.instructions), "{view:?}");
        // No way through the functions can need more than all of them together.
        assert!(view.stack.iter().sum::<u32>() <= STACK, "{view:?}");
    }
}
