//! What a runtime may do wrong.
