//! What the fuzz targets call, with the feature `fuzzing`: each takes any bytes, and panics where a promise does not
//! hold.

pub use crate::cgroup::fuzz::{cgroup_path, kernel_file};
pub use crate::cluster::fuzz::cluster_answer;
pub use crate::config::fuzz::configuration;
pub use crate::gpu::fuzz::gpu_answer;
pub use crate::http::fuzz::http_request;
pub use crate::kernel::fuzz::{btf, ring_record};
pub use crate::oom::fuzz::kernel_log;
pub use crate::runtime::fuzz::runtime_answer;
