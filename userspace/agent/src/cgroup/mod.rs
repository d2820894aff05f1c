//! Control groups: which hierarchy accounts, what a path says, what the files say.

mod figures;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod layout;
mod parse;
mod path;
mod reader;
mod tree;
mod v1;
mod v2;

pub use figures::{Cpu, DeviceIo, Disk, Figures, Limits, Memory, Pressure, Stall};
pub use layout::{Accounting, Layout, LayoutError, Mount, Version};
pub use path::{Owner, owner};
pub use reader::{Group, Reader};
pub use tree::{Scan, Tree, scan};
pub(crate) use v2::pressure;
