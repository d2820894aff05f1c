//! The state of every part that can be missing: shown in `/status`, exported as a metric, logged once per change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::text::line;

/// Characters of a reason that are kept.
const LONGEST: usize = 1000;

/// What a part is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Works.
    Up,
    /// Was switched off, or has nothing to do.
    Off {
        /// Why.
        reason: String,
    },
    /// Does not work; the rest goes on without it.
    Absent {
        /// Why, and what to do about it where that is known.
        reason: String,
    },
}

impl State {
    /// Whether it works.
    pub fn is_up(&self) -> bool {
        *self == State::Up
    }
}

/// The kinds of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A kernel program; named as in the catalogue's attribute `podscope.bpf.program`.
    Probe,
    /// Something read or written, or what confines the agent; named as in the catalogue's attribute `podscope.source`.
    Source,
}

/// The board on which every part writes its state. Cheap to clone; all clones are one board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<(Kind, String), State>>>);

impl Board {
    /// Writes a state; a change is logged once. What a reason quotes may be anybody's words: it becomes one line.
    pub fn set(&self, kind: Kind, name: &str, state: State) {
        let state = match state {
            State::Up => State::Up,
            State::Off { reason } => State::Off { reason: line(&reason, LONGEST) },
            State::Absent { reason } => State::Absent { reason: line(&reason, LONGEST) },
        };
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, name.to_owned());
        if board.get(&key) == Some(&state) {
            return;
        }
        match &state {
            State::Up => tracing::info!(part = name, "{name} is up"),
            State::Off { reason } => tracing::info!(part = name, "{name} is off: {reason}"),
            State::Absent { reason } => tracing::warn!(part = name, "{name} is absent: {reason}"),
        }
        board.insert(key, state);
    }

    /// Reads a state; `None` before the first.
    pub fn get(&self, kind: Kind, name: &str) -> Option<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, name.to_owned())).cloned()
    }

    /// Reads all states.
    pub fn all(&self) -> BTreeMap<(Kind, String), State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
