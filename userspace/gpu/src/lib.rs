//! GPUs by NVML, as a document on a unix socket.
//!
//! NVML is a closed library that only a dynamic program can load. It has no business in the agent's process, which is
//! static and has privileges, so a helper of its own without any loads it: the program `podscope-gpu`. Each connection
//! to its socket gets one document (`podscope-gpu-document`) and is closed; nothing is read from it.
//!
//! | file | what it does |
//! |---|---|
//! | `raw` | what NVML said, call by call; recorded in tests, where it stands in for NVML |
//! | `sift` | one becomes the other: what is not supported is left out, texts and lists have bounds |
//! | `keeper` | a thread that asks NVML when somebody wants to know, and how long that may take |
//! | `server` | the socket |

pub mod keeper;
pub mod raw;
pub mod server;
mod sift;

pub use podscope_gpu_document as document;
pub use sift::sift;
