//! Files of /proc and of cgroups.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::kernel_file(data));
