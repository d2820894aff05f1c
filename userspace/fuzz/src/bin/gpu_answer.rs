//! Answers of podscope-gpu.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::gpu_answer(data));
