//! Since when the kernel has counted for each of the things that come and go: devices and interfaces.

use std::hash::Hash;

use foldhash::HashMap;

/// Starts of sums by name.
#[derive(Debug)]
pub(crate) struct Births<K> {
    known: HashMap<K, Birth>,
    pass: u64,
    /// The reading before, ns since the Unix epoch.
    read_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Birth {
    start_ns: u64,
    total: u64,
    pass: u64,
}

impl<K> Default for Births<K> {
    fn default() -> Self {
        Self { known: HashMap::default(), pass: 0, read_ns: None }
    }
}

impl<K: Hash + Eq> Births<K> {
    /// When the sums of `key` began, ns since the Unix epoch. `total`: one that only grows; where it has fallen, another
    /// thing has taken the name. `oldest_ns`: the earliest it can have begun.
    pub(crate) fn start_ns(&mut self, key: K, total: u64, oldest_ns: u64) -> u64 {
        let (pass, read_ns) = (self.pass, self.read_ns);
        let since = read_ns.unwrap_or(oldest_ns).max(oldest_ns);
        let birth = self.known.entry(key).or_insert(Birth { start_ns: since, total, pass });
        if total < birth.total {
            birth.start_ns = since;
        }
        (birth.total, birth.pass) = (total, pass);
        birth.start_ns
    }

    /// Ends a reading at `now_ns`, ns since the Unix epoch: what it has not asked for is forgotten.
    pub(crate) fn end(&mut self, now_ns: u64) {
        let pass = self.pass;
        self.known.retain(|_, birth| birth.pass == pass);
        self.pass += 1;
        self.read_ns = Some(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_begin_at_boot_or_when_their_thing_came_or_came_again() {
        let mut births = Births::default();
        assert_eq!(births.start_ns("a", 10, 5), 5, "it was there before us");
        births.end(100);
        assert_eq!(births.start_ns("a", 11, 5), 5);
        assert_eq!(births.start_ns("b", 1, 5), 100, "it came after the last reading");
        births.end(200);
        assert_eq!(births.start_ns("a", 2, 5), 200, "another one has its name");
        births.end(300);
        births.end(400);
        assert_eq!(births.start_ns("a", 3, 5), 400, "it was gone for a while");
        assert_eq!(births.start_ns("c", 3, 450), 450, "it cannot be older than that");
    }
}
