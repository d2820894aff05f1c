//! Pauses between attempts: longer from one to the next, and never the same on two nodes.

use std::time::Duration;

/// Doubles from the first pause to the longest.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Between these two.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause: between half and all of the time that is its turn, so that many clients that failed together do
    /// not come back together. At least as long as the server asks for, and then up to a quarter more; but a server
    /// that asks for more than ten times the longest pause gets that.
    pub fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let turn = self.next;
        self.next = (turn * 2).min(self.longest);
        let own = turn.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        let asked = retry_after.unwrap_or_default().min(self.longest * 10);
        own.max(asked.mul_f64(1.0 + rand::random::<f64>() / 4.0))
    }

    /// All is well again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// `base` and up to a tenth more or less.
pub fn jittered(base: Duration) -> Duration {
    base.mul_f64(0.9 + rand::random::<f64>() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn doubles_up_to_the_longest_and_begins_again() {
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        for whole in [1, 2, 4, 5, 5] {
            let pause = backoff.pause(None);
            assert!(seconds(whole) / 2 <= pause && pause <= seconds(whole), "{pause:?} is not about {whole} s");
        }
        backoff.reset();
        assert!(backoff.pause(None) <= seconds(1));
    }

    #[test]
    fn waits_as_long_as_the_server_asks_within_reason() {
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        let asked = backoff.pause(Some(seconds(30)));
        assert!(seconds(30) <= asked && asked <= seconds(38), "{asked:?}");
        let absurd = backoff.pause(Some(seconds(1_000_000)));
        assert!(absurd <= seconds(63), "{absurd:?}");
        let short = backoff.pause(Some(Duration::from_millis(1)));
        assert!(short >= seconds(2), "its own turn is longer: {short:?}");
    }

    #[test]
    fn two_clients_do_not_come_back_together() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| jittered(seconds(60))).collect();
        assert!(pauses.len() > 90);
        assert!(pauses.iter().all(|pause| seconds(54) <= *pause && *pause <= seconds(66)));
    }
}
