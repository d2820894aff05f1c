//! Whose process it is.
