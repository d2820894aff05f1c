//! Dividing exact run time into user and system time.

/// User and system time whose sum is exactly the run time, neither ever running backwards.
///
/// The kernel's own division is sampled at ticks while run time is exact. Each increment of run time is divided
/// by the increments of the sampled counters; where those did not move, by the last ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSplit {
    /// User time, ns.
    pub user_ns: u64,
    /// System time, ns.
    pub system_ns: u64,
    sampled_user: u64,
    sampled_system: u64,
    ratio: (u64, u64),
}

impl CpuSplit {
    /// Takes the run time and the sampled counters up to now; a `run_ns` that has not grown changes nothing.
    pub fn update(&mut self, run_ns: u64, sampled_user: u64, sampled_system: u64) {
        let increment = run_ns.saturating_sub(self.user_ns + self.system_ns);
        let user = sampled_user.saturating_sub(self.sampled_user);
        let system = sampled_system.saturating_sub(self.sampled_system);
        if user + system > 0 {
            self.ratio = (user, system);
        }
        self.sampled_user = self.sampled_user.max(sampled_user);
        self.sampled_system = self.sampled_system.max(sampled_system);
        let (user, system) = self.ratio;
        let parts = u128::from(user) + u128::from(system);
        let of_user =
            (u128::from(increment) * u128::from(user)).checked_div(parts).map_or(increment, |part| part as u64);
        self.user_ns += of_user;
        self.system_ns += increment - of_user;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn adds_up_and_never_runs_backwards(steps in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 0u64..1 << 40), 1..50)) {
            let mut split = CpuSplit::default();
            let (mut run, mut user, mut system) = (0, 0, 0);
            for (r, u, s) in steps {
                let before = split;
                (run, user, system) = (run + r, user + u, system + s);
                split.update(run, user, system);
                prop_assert_eq!(split.user_ns + split.system_ns, run);
                prop_assert!(split.user_ns >= before.user_ns && split.system_ns >= before.system_ns);
            }
        }

        #[test]
        fn a_counter_that_falls_does_no_harm(steps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..50)) {
            let mut split = CpuSplit::default();
            let mut most = 0;
            for (r, u, s) in steps {
                split.update(r.into(), u.into(), s.into());
                most = most.max(u64::from(r));
                prop_assert_eq!(split.user_ns + split.system_ns, most);
            }
        }
    }

    #[test]
    fn follows_the_ticks_and_keeps_the_last_ratio_without_one() {
        let mut split = CpuSplit::default();
        split.update(100, 30, 10);
        assert_eq!((split.user_ns, split.system_ns), (75, 25));
        split.update(200, 30, 10);
        assert_eq!((split.user_ns, split.system_ns), (150, 50));
        split.update(300, 30, 50);
        assert_eq!((split.user_ns, split.system_ns), (150, 150));
    }
}
