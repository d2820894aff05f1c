//! Attaches the `sched_switch` program of an object file and holds it until standard input ends: a program of any
//! kind can be measured on the agent's own hook, by the agent's own loader.

use std::io::{Read, Write};

use anyhow::Context;
use aya::programs::BtfTracePoint;

fn main() -> anyhow::Result<()> {
    let object = std::env::args().nth(1).context("usage: attach OBJECT")?;
    let mut ebpf = aya::Ebpf::load_file(&object).with_context(|| format!("cannot load {object}"))?;
    let program = ebpf.program_mut("sched_switch").context("the object has no program sched_switch")?;
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load("sched_switch", &aya::Btf::from_sys_fs()?).context("the kernel refuses the program")?;
    program.attach().context("cannot attach the program")?;
    println!("attached");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
