//! The podscope hub: OTLP in, SQL with a lifetime, answers out. It needs no privilege and trusts no input.

pub mod access;
pub mod api;
pub mod config;
pub mod ingest;
mod listen;
pub mod serve;
pub mod store;
mod tls;
pub mod web;
