//! What clients send to the agent's endpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::http_request(data));
