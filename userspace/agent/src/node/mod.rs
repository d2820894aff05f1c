//! The node as a whole: what the kernel's own files say of it, beside all containers.

mod file;
mod stat;

use std::path::Path;

use podscope_catalog::id;

use self::file::Kept;
use self::stat::Stat;
use crate::accounting::Moment;
use crate::accounting::points::Points;
use crate::snapshot::Point;
use crate::status::{Board, Kind, State};

/// The files are read again after so long: a collection that a scraper asked for in between has the last figures.
const PERIOD_NS: u64 = 900_000_000;

/// Reads the files of the node. Keeps them open and what they said.
#[derive(Debug)]
pub struct Node {
    board: Board,
    tick_ns: u64,
    buffer: Vec<u8>,
    stat: Kept,
    read_ns: Option<u64>,
    /// When the kernel was started, ns since the Unix epoch; as first reckoned, so that no sum begins anew when the
    /// clock is set.
    booted_ns: u64,
    last: Reading,
}

/// What the files said; a part is absent where its file could not be read or understood.
#[derive(Clone, Debug, Default)]
struct Reading {
    stat: Option<Stat>,
}

impl Node {
    /// `proc`: where the host's procfs is mounted; `board`: where it says whether its files can be read.
    pub fn new(proc: &Path, board: Board) -> Self {
        Self {
            board,
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
            buffer: Vec::new(),
            stat: Kept::new(proc.join("stat")),
            read_ns: None,
            booted_ns: 0,
            last: Reading::default(),
        }
    }

    /// Reads all files again where that is due.
    pub fn refresh(&mut self, now: &Moment) {
        match self.read_ns {
            Some(read_ns) if now.monotonic_ns.saturating_sub(read_ns) < PERIOD_NS => return,
            Some(_) => {}
            None => self.booted_ns = now.unix_of_boot(0),
        }
        self.read_ns = Some(now.monotonic_ns);
        let mut stat = self.stat.read(&mut self.buffer).ok().and_then(|text| Stat::parse(text, self.tick_ns));
        if let (Some(stat), Some(before)) = (&mut stat, &self.last.stat) {
            stat.not_before(before);
        }
        let state = match &stat {
            Some(_) => State::Up,
            None => State::Absent { reason: "cannot read /proc/stat; is the host's /proc mounted?".to_owned() },
        };
        self.board.set(Kind::Source, "node", state);
        self.last = Reading { stat };
    }

    /// When the kernel was started, ns since the Unix epoch.
    pub fn booted_ns(&self) -> u64 {
        self.booted_ns
    }

    /// The node's own points.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Points::default();
        if let Some(stat) = &self.last.stat {
            for (mode, ns) in stat.modes.into_iter().enumerate() {
                points.seconds(id::SYSTEM_CPU_TIME, mode, ns);
            }
        }
        points.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the other file that counts idle time, which is as exact.
    #[test]
    fn idle_time_is_that_of_uptime() {
        let idle = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
        };
        let mut node = Node::new("/proc".as_ref(), Board::default());
        let before = idle();
        node.refresh(&Moment::default());
        let after = idle();
        let said = node.last.stat.unwrap().modes[3] as f64 / 1e9;
        // Each CPU's share is cut to a tick.
        let cut = node.last.stat.unwrap().cpus as f64 * 0.02;
        assert!((before - cut..=after + cut).contains(&said), "{before} to {after}: {said}");
    }
}
