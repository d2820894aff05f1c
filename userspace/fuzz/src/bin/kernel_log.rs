//! The kernel's log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::kernel_log(data));
