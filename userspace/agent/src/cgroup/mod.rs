//! Control groups: which hierarchy accounts, what a path says, what the files say.

mod path;

pub use path::{Owner, owner};
