//! The unprivileged command `podscope`: it asks an agent over HTTP and shows the answer.

pub mod args;
pub mod client;
pub mod model;
pub mod once;
pub mod status;
pub mod text;
pub mod view;
