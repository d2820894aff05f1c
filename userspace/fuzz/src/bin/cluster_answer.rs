//! Answers of the Kubernetes API and the kubelet.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| podscope_agent::fuzzing::cluster_answer(data));
