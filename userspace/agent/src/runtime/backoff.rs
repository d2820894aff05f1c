//! Growing pauses between attempts.

use std::time::Duration;

use rand::Rng;

/// Pauses that double from `first` to `most`, each shortened at random by up to a half, so that the agents of a
/// cluster do not knock at the same instant.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The pause before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_anew() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        for whole in [1, 2, 4, 5, 5] {
            let pause = backoff.next();
            assert!(seconds(whole) / 2 <= pause && pause <= seconds(whole), "{pause:?} is not about {whole} s");
        }
        backoff.reset();
        assert!(backoff.next() <= seconds(1));
    }
}
