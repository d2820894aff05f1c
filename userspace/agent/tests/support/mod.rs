//! Runtimes for the tests: recorded, faulty and real.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod containerd;
pub(crate) mod fake;
pub(crate) mod recorded;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use podscope_agent::status::{Board, Kind, State};

/// Waits until `check` gives a value; fails with `what` after ten seconds.
pub(crate) async fn eventually<T>(what: &str, check: impl Fn() -> Option<T>) -> T {
    within(Duration::from_secs(10), what, check).await
}

/// Waits until `check` gives a value; fails with `what` after `limit`.
pub(crate) async fn within<T>(limit: Duration, what: &str, check: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The state of a source.
pub(crate) fn state(board: &Board, source: &str) -> Option<State> {
    let all: BTreeMap<_, _> = board.all();
    all.get(&(Kind::Source, source.to_owned())).cloned()
}

/// The reason of a source that is absent.
pub(crate) fn absent(board: &Board, source: &str) -> Option<String> {
    match state(board, source)? {
        State::Absent { reason } => Some(reason),
        State::Up | State::Off { .. } => None,
    }
}
