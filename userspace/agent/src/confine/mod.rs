//! Confinement: once its programs are attached, the agent is held to what it still does.
//!
//! | file | what it does |
//! |---|---|
//! | `calls` | the table of system calls that go on being allowed |
//! | `filter` | the table as a seccomp filter |
//! | `places` | files, sockets and ports within reach, as Landlock rules |
//!
//! Capabilities are dropped before, in [`crate::privileges`].

pub mod calls;
mod filter;
mod places;

pub use places::{May, PLACES, Place, SINCE, Wants};

use crate::status::{Board, Kind, State};

/// The value of `--confine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Confine {
    /// As far as the kernel can.
    Auto,
    /// Not at all.
    Off,
}

/// Confines the calling thread and every one it starts from now on; the filter holds threads that run already as well.
/// What the kernel cannot do is a state on the board. Returns the version of Landlock's interface whose rules are in
/// force ([`SINCE`] says what that means).
///
/// To be called when everything is open that cannot be opened later, and before the first thread is started.
pub fn confine(choice: Confine, wants: &Wants, board: &Board) -> Option<u32> {
    let state = |name, state| board.set(Kind::Source, name, state);
    if choice == Confine::Off {
        for name in ["landlock", "seccomp"] {
            state(name, State::Off { reason: "--confine off".to_owned() });
        }
        return None;
    }
    // The filter refuses the calls that set the rules, so it comes last.
    let interface = match places::restrict(wants) {
        Ok(interface) => {
            for (_, release, what) in SINCE.iter().filter(|(since, ..)| *since > interface) {
                tracing::info!("Landlock leaves open before Linux {release}: {what}");
            }
            state("landlock", State::Up);
            Some(interface)
        }
        Err(error) => {
            state("landlock", State::Absent { reason: error.to_string() });
            None
        }
    };
    match filter::set(!wants.ports.is_empty()) {
        Ok(()) => state("seccomp", State::Up),
        Err(error) => state("seccomp", State::Absent { reason: error.to_string() }),
    }
    interface
}
