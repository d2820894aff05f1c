//! What the tasks have in common: connecting, showing their state, pausing.

use std::sync::Arc;
use std::time::Duration;

use podscope_cluster::{Access, Backoff, Client, Endpoint, Error};
use tokio::time::sleep;

use super::{CLOCK, METRICS_SERVER, NODE, Shared};
use crate::status::{Board, Kind, State};

/// First and longest pause after a fault.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Clocks that are further apart are a state of their own: certificates and tokens may not be valid by one of them.
const CLOCKS_APART: i64 = 30;

/// A task's way to a server.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) source: &'static str,
    access: Access,
    board: Board,
    pub(super) shared: Arc<Shared>,
    backoff: Backoff,
}

impl Session {
    pub(super) fn new(source: &'static str, access: Access, board: Board, shared: Arc<Shared>) -> Self {
        Self { source, access, board, shared, backoff: Backoff::new(PAUSES.0, PAUSES.1) }
    }

    /// Shows a fault and pauses.
    pub(super) async fn fails(&mut self, error: &Error) {
        let advice = match error {
            Error::NotFound { .. } if self.source == METRICS_SERVER => {
                "; is metrics-server installed, and has it seen this node for a minute?"
            }
            Error::NotFound { .. } if self.source == NODE => {
                "; is that this node's name in the cluster? --node-name or NODE_NAME says it"
            }
            _ => "",
        };
        self.set(State::Absent { reason: format!("{error}{advice}") });
        sleep(self.backoff.pause(error.retry_after())).await;
    }

    /// Shows that all is well.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
        self.set(State::Up);
    }

    pub(super) fn set(&self, state: State) {
        self.board.set(Kind::Source, self.source, state);
    }

    /// Reads the configuration anew, since what it names is renewed, and makes a client of it.
    pub(super) fn connect(&self) -> Result<Client, Error> {
        self.client(&self.access.load()?)
    }

    /// The same for a server that is derived from the API's.
    pub(super) fn connect_to(&self, other: impl FnOnce(&Endpoint) -> Result<Endpoint, Error>) -> Result<Client, Error> {
        self.client(&other(&self.access.load()?)?)
    }

    fn client(&self, endpoint: &Endpoint) -> Result<Client, Error> {
        Ok(endpoint.client()?.counting(Arc::clone(&self.shared.requests)))
    }

    /// Compares the API's clock with this node's.
    pub(super) fn compare_clocks(&self, client: &Client) {
        let Some(offset) = client.clock_offset() else { return };
        let state = if offset.abs() <= CLOCKS_APART {
            State::Up
        } else {
            let way = if offset > 0 { "behind" } else { "ahead of" };
            // In steps, so that a drift is no change of the state.
            let apart = offset.unsigned_abs().div_ceil(60);
            let reason = format!(
                "this node's clock is up to {apart} min {way} that of {}: certificates and tokens may be refused",
                client.url()
            );
            State::Absent { reason }
        };
        self.board.set(Kind::Source, CLOCK, state);
    }
}
