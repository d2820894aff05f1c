//! What the server counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was refused or cut off: the values of the attribute `podscope.http.refusal.reason`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A connection: all were open and being answered.
    Full,
    /// An open connection made room for another one, or for a page.
    Displaced,
    /// A request's header, or the reading of an answer, took too long. A connection that was only kept open and ends
    /// is not counted.
    Slow,
    /// A request's header was too large or had too many lines.
    Header,
    /// A request had a body.
    Body,
    /// What came was no HTTP.
    Malformed,
    /// TLS could not be agreed on in time.
    Handshake,
}

impl Refusal {
    /// Every reason, in the order of the attribute's values.
    pub const ALL: [Self; 7] =
        [Self::Full, Self::Displaced, Self::Slow, Self::Header, Self::Body, Self::Malformed, Self::Handshake];

    /// What ended a connection, where it is the client's doing and more than that it went away.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        match error {
            error if error.is_timeout() => Some(Self::Slow),
            error if error.is_parse_too_large() => Some(Self::Header),
            error if error.is_parse() => Some(Self::Malformed),
            _ => None,
        }
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// Requests answered, errors included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What was refused or cut off, in the order of [`Refusal::ALL`].
    pub fn refused(&self) -> [u64; Refusal::ALL.len()] {
        self.refused.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_the_attributes_values() {
        let names = Refusal::ALL.map(|refusal| format!("{refusal:?}").to_lowercase());
        assert_eq!(names.each_ref().map(String::as_str), podscope_catalog::attribute::HTTP_REFUSAL.values);
        assert_eq!(Refusal::ALL.map(|refusal| refusal as usize), std::array::from_fn(|at| at));
    }
}
