//! /proc/stat: what the CPUs did, and sums over all tasks.

use podscope_catalog::id;

use super::file::{lines, number, numbers, words};
use crate::accounting::points::Points;

/// What the CPUs do, in the order of the attribute `cpu.mode` of the node, which is not quite the file's.
const MODES: usize = 8;

/// The file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Time of all CPUs by mode, ns. Guests are part of user and nice.
    pub(crate) modes: [u64; MODES],
    /// Time in which guests ran: ordinary ones, and niced ones, ns.
    pub(crate) guests: [u64; 2],
    /// CPUs that are online.
    pub(crate) cpus: u64,
    /// Interrupts serviced.
    pub(crate) interrupts: Option<u64>,
    /// Softirqs serviced.
    pub(crate) softirqs: Option<u64>,
    /// Context switches.
    pub(crate) switches: Option<u64>,
    /// Tasks made, threads too.
    pub(crate) forks: Option<u64>,
    /// Tasks that run or wait for a CPU.
    pub(crate) runnable: Option<u64>,
    /// Tasks that wait for I/O.
    pub(crate) blocked: Option<u64>,
}

impl Stat {
    /// Reads the text; none without the CPUs' line. `tick_ns`: length of a tick.
    pub(crate) fn parse(text: &[u8], tick_ns: u64) -> Option<Self> {
        let mut stat = Self::default();
        let mut has_cpus = false;
        for line in lines(text) {
            let mut words = words(line);
            let Some(key) = words.next() else { continue };
            match key {
                b"cpu" => {
                    let ticks: [u64; 10] = numbers(words)?;
                    let ns = ticks.map(|ticks| ticks.saturating_mul(tick_ns));
                    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = ns;
                    stat.modes = [user, nice, system, idle, iowait, irq, softirq, steal];
                    stat.guests = [guest, guest_nice];
                    has_cpus = true;
                }
                b"intr" => stat.interrupts = words.next().and_then(number),
                b"softirq" => stat.softirqs = words.next().and_then(number),
                b"ctxt" => stat.switches = words.next().and_then(number),
                b"processes" => stat.forks = words.next().and_then(number),
                b"procs_running" => stat.runnable = words.next().and_then(number),
                b"procs_blocked" => stat.blocked = words.next().and_then(number),
                key if key.starts_with(b"cpu") => stat.cpus += 1,
                _ => {}
            }
        }
        has_cpus.then_some(stat)
    }

    /// Time in which CPUs worked for the node itself, ns: neither idle nor taken by a hypervisor.
    pub(crate) fn busy_ns(&self) -> u64 {
        let [user, nice, system, _, _, interrupt, softirq, _] = self.modes;
        [user, nice, system, interrupt, softirq].into_iter().fold(0, u64::saturating_add)
    }

    pub(crate) fn add_to(&self, points: &mut Points) {
        for (mode, ns) in self.modes.into_iter().enumerate() {
            points.seconds(id::SYSTEM_CPU_TIME, mode, ns);
        }
        for (priority, ns) in self.guests.into_iter().enumerate() {
            points.seconds(id::NODE_CPU_GUEST_TIME, priority, ns);
        }
        points
            .seconds(id::NODE_CPU_TIME, 0, self.busy_ns())
            .int(id::SYSTEM_CPU_COUNT, 0, self.cpus)
            .known(id::NODE_INTERRUPTS, 0, self.interrupts)
            .known(id::NODE_INTERRUPTS, 1, self.softirqs)
            .known(id::NODE_CONTEXT_SWITCHES, 0, self.switches)
            .known(id::SYSTEM_PROCESS_CREATED, 0, self.forks)
            .known(id::NODE_TASKS, 0, self.runnable)
            .known(id::NODE_TASKS, 1, self.blocked);
    }

    /// Keeps what the kernel sets back: its idle and I/O waiting times now and then lose some ticks.
    pub(crate) fn not_before(&mut self, before: &Self) {
        let times = self.modes.iter_mut().chain(&mut self.guests);
        for (now, before) in times.zip(before.modes.into_iter().chain(before.guests)) {
            *now = before.max(*now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 10_000_000;
    const TEXT: &str = "cpu  10 2 30 400 5 6 7 8 3 1\ncpu0 5 1 15 200 2 3 3 4 1 0\ncpu1 5 1 15 200 3 3 4 4 2 1\n\
                        intr 900 1 2 3\nctxt 1000\nbtime 1795000000\nprocesses 50\nprocs_running 2\nprocs_blocked 1\n\
                        softirq 700 1 2\n";

    #[test]
    fn ticks_become_nanoseconds_by_mode() {
        let stat = Stat::parse(TEXT.as_bytes(), TICK).unwrap();
        assert_eq!(stat.modes, [10, 2, 30, 400, 5, 6, 7, 8].map(|ticks| ticks * TICK));
        assert_eq!((stat.guests, stat.cpus), ([3 * TICK, TICK], 2));
        assert_eq!(stat.busy_ns(), (10 + 2 + 30 + 6 + 7) * TICK);
        let counts = [stat.interrupts, stat.softirqs, stat.switches, stat.forks, stat.runnable, stat.blocked];
        assert_eq!(counts, [900, 700, 1000, 50, 2, 1].map(Some));
    }

    #[test]
    fn times_that_the_kernel_sets_back_stay() {
        let before = Stat::parse(TEXT.as_bytes(), TICK).unwrap();
        let mut after = Stat { modes: before.modes.map(|ns| ns + TICK), ..before };
        after.modes[3] = before.modes[3] - TICK;
        after.not_before(&before);
        assert_eq!((after.modes[3], after.modes[4]), (before.modes[3], before.modes[4] + TICK));
    }

    #[test]
    fn a_cut_file_gives_what_is_whole() {
        assert_eq!(Stat::parse(b"", TICK), None);
        assert_eq!(Stat::parse(b"cpu  10 2 30 400", TICK), None);
        assert_eq!(Stat::parse(b"cpu  10 2 x 400\n", TICK), None);
        let old = Stat::parse(b"cpu  10 2 30 400\nctxt 1", TICK).unwrap();
        assert_eq!((old.modes[3], old.modes[7], old.switches), (400 * TICK, 0, None));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(text in any::<Vec<u8>>(), near in "(cpu |cpu0|intr |ctxt |[0-9]{0,25}| |\n){0,30}") {
            for text in [&text[..], near.as_bytes()] {
                if let Some(stat) = Stat::parse(text, TICK) {
                    stat.busy_ns();
                }
            }
        }
    }
}
