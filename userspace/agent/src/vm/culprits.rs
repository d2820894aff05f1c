//! Who ran while a machine's virtual CPUs waited.

use foldhash::HashMap;

use crate::accounting::ContainerKey;

/// Culprits of a machine with a series of their own; the others are one.
const MOST: usize = 8;
/// Collections without a share after which a culprit makes room for another one.
const PATIENCE: u32 = 60;

/// The blame for a machine's waits, ns. What is published and the rest add up to all of it.
#[derive(Debug, Default)]
pub struct Culprits {
    all: u64,
    /// What the published ones have grown by, all together.
    exported: u64,
    /// Waits for which there is nobody to blame.
    nobody: u64,
    of: HashMap<ContainerKey, Culprit>,
}

#[derive(Debug, Default)]
struct Culprit {
    /// Of the running collection.
    growth: u64,
    /// Collections without any.
    quiet: u32,
    known: bool,
    series: Option<Series>,
}

/// Who is blamed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Blamed {
    /// A container.
    Container(ContainerKey),
    /// All containers without a series of their own.
    Others,
    /// Nobody ran, or nobody knows who did.
    Unknown,
}

/// A published culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Nanoseconds for which it ran before a virtual CPU that waited.
    pub waited_ns: u64,
    /// Zero of the sum, ns since the Unix epoch.
    pub start_ns: u64,
}

impl Culprits {
    /// Takes what has come to the blame of a container.
    pub(super) fn take(&mut self, culprit: &ContainerKey, growth: u64) {
        self.all += growth;
        self.of.entry(culprit.clone()).or_default().growth += growth;
    }

    /// Takes waits in which nobody ran, or nobody knows who did.
    pub(super) fn take_unknown(&mut self, growth: u64) {
        self.nobody += growth;
    }

    /// A container is published under another name from now on, at zero.
    pub(super) fn restart(&mut self, culprit: &ContainerKey) {
        self.of.remove(culprit);
    }

    /// Ends a collection. `now` and `before`: this one and the one before it, ns since the Unix epoch.
    pub(super) fn settle(&mut self, now: u64, before: u64) {
        for culprit in self.of.values_mut() {
            culprit.quiet = if culprit.growth > 0 { 0 } else { culprit.quiet.saturating_add(1) };
            if let Some(series) = &mut culprit.series {
                series.waited_ns += culprit.growth;
                self.exported += culprit.growth;
            }
        }
        // One that has been forgotten and comes back begins anew, like every series that ends.
        self.of.retain(|_, culprit| culprit.quiet <= PATIENCE);
        let mut room = MOST.saturating_sub(self.of.values().filter(|culprit| culprit.series.is_some()).count());
        let mut candidates: Vec<_> =
            self.of.values_mut().filter(|culprit| culprit.series.is_none() && culprit.growth > 0).collect();
        candidates.sort_unstable_by_key(|culprit| std::cmp::Reverse(culprit.growth));
        for culprit in candidates {
            if room > 0 {
                room -= 1;
                // From its first share on it has all of it; one that is chosen later begins at zero now.
                let (waited_ns, start_ns) = if culprit.known { (0, now) } else { (culprit.growth, before) };
                self.exported += waited_ns;
                culprit.series = Some(Series { waited_ns, start_ns });
            }
            culprit.known = true;
        }
        self.of.values_mut().for_each(|culprit| culprit.growth = 0);
    }

    /// What is published, with the machine's own zero for what is no container's.
    pub fn published(&self, start_ns: u64) -> impl Iterator<Item = (Blamed, Series)> {
        let sum = |waited_ns| Series { waited_ns, start_ns };
        let others = (self.all > 0).then(|| (Blamed::Others, sum(self.all - self.exported)));
        let nobody = (self.nobody > 0).then(|| (Blamed::Unknown, sum(self.nobody)));
        let known = self.of.iter().filter_map(|(key, culprit)| Some((Blamed::Container(key.clone()), culprit.series?)));
        known.chain(others).chain(nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: usize) -> ContainerKey {
        ContainerKey::Container(number.to_string().into())
    }

    fn of_containers(culprits: &Culprits) -> Vec<(Blamed, Series)> {
        culprits.published(1).filter(|(blamed, _)| *blamed != Blamed::Others).collect()
    }

    fn others(culprits: &Culprits) -> u64 {
        let found = culprits.published(1).find(|(blamed, _)| *blamed == Blamed::Others);
        found.map_or(0, |(_, series)| series.waited_ns)
    }

    #[test]
    fn one_that_comes_late_begins_at_zero() {
        let mut culprits = Culprits::default();
        for number in 0..=MOST {
            culprits.take(&key(number), 100 - number as u64);
        }
        culprits.settle(20, 10);
        assert_eq!(of_containers(&culprits).len(), MOST);
        assert_eq!(others(&culprits), 100 - MOST as u64);
        assert!(of_containers(&culprits).iter().all(|(_, series)| series.start_ns == 10 && series.waited_ns > 0));
        for pass in 3..=PATIENCE as u64 + 3 {
            culprits.take(&key(MOST), 1);
            culprits.settle(pass * 10, pass * 10 - 10);
        }
        let late = (Blamed::Container(key(MOST)), Series { waited_ns: 0, start_ns: 10 * (u64::from(PATIENCE) + 3) });
        assert_eq!(of_containers(&culprits), [late], "those without a share have made room");
    }

    #[test]
    fn waits_without_a_culprit_are_a_series_of_their_own() {
        let mut culprits = Culprits::default();
        culprits.take_unknown(7);
        culprits.settle(20, 10);
        assert_eq!(
            culprits.published(5).collect::<Vec<_>>(),
            [(Blamed::Unknown, Series { waited_ns: 7, start_ns: 5 })]
        );
    }

    #[test]
    fn one_with_another_name_begins_anew() {
        let mut culprits = Culprits::default();
        culprits.take(&key(1), 7);
        culprits.settle(20, 10);
        culprits.restart(&key(1));
        culprits.take(&key(1), 3);
        culprits.settle(30, 20);
        assert_eq!(of_containers(&culprits), [(Blamed::Container(key(1)), Series { waited_ns: 3, start_ns: 20 })]);
        assert_eq!(others(&culprits), 0);
    }

    proptest! {
        /// Increments of the series and of the rest add up to what was taken; neither falls.
        #[test]
        fn nothing_is_lost_or_counted_twice(passes in prop::collection::vec(prop::collection::vec((0usize..20, 0u64..1000), 0..20), 1..200)) {
            let (mut culprits, mut taken, mut seen) = (Culprits::default(), 0, 0);
            let mut before: HashMap<Blamed, Series> = HashMap::default();
            let mut rest = 0;
            for (pass, shares) in passes.into_iter().enumerate() {
                for (number, growth) in shares {
                    culprits.take(&key(number), growth);
                    taken += growth;
                }
                culprits.settle(pass as u64 + 1, pass as u64);
                for (blamed, series) in of_containers(&culprits) {
                    let last = before.get(&blamed).filter(|last| last.start_ns == series.start_ns).map_or(0, |last| last.waited_ns);
                    prop_assert!(series.waited_ns >= last);
                    seen += series.waited_ns - last;
                }
                let now = others(&culprits);
                prop_assert!(now >= rest);
                seen += now - rest;
                rest = now;
                before = of_containers(&culprits).into_iter().collect();
                prop_assert_eq!(seen, taken);
                prop_assert!(before.len() <= MOST);
            }
        }
    }
}
