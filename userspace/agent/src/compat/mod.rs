//! Stand-ins for older tools: their flags, files and metrics on top of the agent's own figures.

pub mod kubevirt;
