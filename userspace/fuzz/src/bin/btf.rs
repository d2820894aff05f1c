//! The kernel's type information.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::btf(data));
