//! The podscope agent.

fn main() {}
