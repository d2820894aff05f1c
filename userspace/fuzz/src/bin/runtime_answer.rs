//! Answers of container runtimes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::runtime_answer(data));
