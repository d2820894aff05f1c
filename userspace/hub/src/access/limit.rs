//! How often passwords may be tried: each failure beyond a few doubles the time until the next try.

use std::collections::HashMap;
use std::net::IpAddr;

/// Whose tries are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Tries of one user name, known or not.
    Name(String),
    /// Tries from one IPv4 address, or one IPv6 network of 64 bits.
    Address(IpAddr),
}

impl Key {
    pub(super) fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Key::Address(IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into())),
            v4 @ IpAddr::V4(_) => Key::Address(v4),
        }
    }

    /// Tries without a delay, and the longest delay in ms. A name's is short: whoever knows it could else lock its
    /// owner out.
    const fn bounds(&self) -> (u32, i64) {
        match self {
            Key::Name(_) => (5, 60_000),
            Key::Address(_) => (20, 15 * 60_000),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    count: u32,
    /// The next try may come then, in ms.
    next: i64,
    last: i64,
}

/// Tries in mind.
const MOST: usize = 10_000;
/// After this long without a try all is forgiven, in ms.
const FORGIVEN: i64 = 60 * 60_000;

/// Counts tries.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    tries: HashMap<Key, Tries>,
    /// Keys that were forgotten because there were too many.
    pub(super) dropped: u64,
}

impl Limiter {
    /// A try of all `keys` at `now` (ms): it counts before it is known to fail, so that many at once gain nothing.
    ///
    /// # Errors
    /// For how long to wait, in ms; such a try does not count.
    pub(super) fn attempt(&mut self, keys: &[Key], now: i64) -> Result<(), i64> {
        let wait = keys.iter().filter_map(|key| self.tries.get(key)).map(|tries| tries.next - now).max();
        if let Some(wait @ 1..) = wait {
            return Err(wait);
        }
        for key in keys {
            self.make_room(key, now);
            let (free, longest) = key.bounds();
            let tries = self.tries.entry(key.clone()).or_default();
            if now - tries.last > FORGIVEN {
                *tries = Tries::default();
            }
            tries.count = tries.count.saturating_add(1);
            tries.last = now;
            let over = tries.count.saturating_sub(free);
            let delay = if over == 0 { 0 } else { 1_000_i64.saturating_mul(1 << (over - 1).min(20)) };
            tries.next = now + delay.min(longest);
        }
        Ok(())
    }

    /// The try was right: its name starts anew, its address has one try less.
    pub(super) fn succeeded(&mut self, keys: &[Key]) {
        for key in keys {
            match key {
                Key::Name(_) => drop(self.tries.remove(key)),
                Key::Address(_) => {
                    if let Some(tries) = self.tries.get_mut(key) {
                        tries.count = tries.count.saturating_sub(1);
                        tries.next = 0;
                    }
                }
            }
        }
    }

    fn make_room(&mut self, key: &Key, now: i64) {
        if self.tries.len() < MOST || self.tries.contains_key(key) {
            return;
        }
        self.tries.retain(|_, tries| now - tries.last <= FORGIVEN);
        if self.tries.len() < MOST {
            return;
        }
        let mut last: Vec<i64> = self.tries.values().map(|tries| tries.last).collect();
        last.sort_unstable();
        let oldest = last[last.len() / 10];
        let before = self.tries.len();
        self.tries.retain(|_, tries| tries.last > oldest);
        self.dropped += (before - self.tries.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_a_right_try_ends_them() {
        let mut limiter = Limiter::default();
        let name = [Key::Name("ada".to_owned())];
        for _ in 0..5 {
            limiter.attempt(&name, 0).unwrap();
        }
        limiter.attempt(&name, 0).unwrap();
        assert_eq!(limiter.attempt(&name, 0), Err(1_000));
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            now += limiter.attempt(&name, now).unwrap_err();
            limiter.attempt(&name, now).unwrap();
            waits.push(limiter.attempt(&name, now).unwrap_err());
        }
        assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        limiter.succeeded(&name);
        limiter.attempt(&name, now).unwrap();
        assert_eq!(limiter.attempt(&name, now), Ok(()));
    }

    #[test]
    fn an_address_has_its_own_count_whatever_the_names() {
        let mut limiter = Limiter::default();
        let keys = |at: u32, address: &str| [Key::Name(format!("user{at}")), Key::address(address.parse().unwrap())];
        for at in 0..21 {
            limiter.attempt(&keys(at, &format!("2001:db8::{at}")), 0).unwrap();
        }
        assert!(limiter.attempt(&keys(21, "2001:db8::ffff"), 0).is_err());
        limiter.attempt(&keys(21, "2001:db8:0:1::1"), 0).unwrap();
        assert_eq!(Key::address("::ffff:192.0.2.1".parse().unwrap()), Key::address("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn there_is_a_bound_to_what_is_in_mind() {
        let mut limiter = Limiter::default();
        for at in 0..3 * MOST {
            limiter.attempt(&[Key::Name(at.to_string())], at as i64).unwrap();
        }
        assert!(limiter.tries.len() <= MOST && limiter.dropped > 0, "{}", limiter.tries.len());
    }
}
