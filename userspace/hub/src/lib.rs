//! The podscope hub: OTLP in, SQL with a lifetime, answers out. It needs no privilege and trusts no input.

pub mod api;
pub mod config;
pub mod ingest;
pub mod serve;
pub mod store;
pub mod web;
