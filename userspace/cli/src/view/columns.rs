//! The figures of a row: what each column says and how wide it is.

use super::tree::{Node, Row, Sort};
use crate::model::Totals;
use crate::text;

/// A column of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Process id.
    Pid,
    /// Threads.
    Threads,
    /// CPU, in cores.
    Cpu,
    /// Run-queue wait, in cores.
    Wait,
    /// Uninterruptible sleep, in cores.
    Blocked,
    /// Resident memory.
    Memory,
    /// Largest resident memory.
    Peak,
    /// Page faults per second.
    Faults,
    /// Context switches per second.
    Switches,
    /// CPU time so far.
    CpuTime,
    /// Run-queue wait so far.
    WaitTime,
    /// Time since the start.
    Uptime,
}

impl Column {
    /// All, from left to right.
    pub const ALL: [Self; 12] = [
        Self::Pid,
        Self::Threads,
        Self::Cpu,
        Self::Wait,
        Self::Blocked,
        Self::Memory,
        Self::Peak,
        Self::Faults,
        Self::Switches,
        Self::CpuTime,
        Self::WaitTime,
        Self::Uptime,
    ];

    /// All, those first that a narrow terminal keeps longest.
    const BY_WORTH: [Self; 12] = [
        Self::Cpu,
        Self::Memory,
        Self::Wait,
        Self::Pid,
        Self::Faults,
        Self::Switches,
        Self::Threads,
        Self::Uptime,
        Self::CpuTime,
        Self::Peak,
        Self::Blocked,
        Self::WaitTime,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Threads => "THR",
            Self::Cpu => "CPU",
            Self::Wait => "WAIT",
            Self::Blocked => "BLOCKED",
            Self::Memory => "MEM",
            Self::Peak => "PEAK",
            Self::Faults => "FAULTS/s",
            Self::Switches => "SWITCH/s",
            Self::CpuTime => "CPU TIME",
            Self::WaitTime => "WAIT TIME",
            Self::Uptime => "UPTIME",
        }
    }

    /// How wide it is on a screen.
    pub fn width(self) -> u16 {
        match self {
            Self::Threads => 4,
            Self::Cpu | Self::Wait | Self::Memory | Self::Peak => 6,
            Self::Pid => 7,
            Self::Blocked | Self::Switches | Self::CpuTime | Self::Uptime => 8,
            Self::Faults | Self::WaitTime => 9,
        }
    }

    /// What the tree is sorted by when it is sorted by this column.
    pub fn sort(self) -> Option<Sort> {
        match self {
            Self::Cpu => Some(Sort::Cpu),
            Self::Wait => Some(Sort::Wait),
            Self::Memory => Some(Sort::Memory),
            Self::Faults => Some(Sort::Faults),
            _ => None,
        }
    }

    /// What it says of a row; nothing where it has no meaning.
    pub fn text(self, row: &Row<'_>) -> String {
        match (self, row.node) {
            (Self::Pid, Node::Process(process)) => process.pid.to_string(),
            (Self::Threads, Node::Process(process)) => text::count(process.threads as f64),
            (Self::Uptime, Node::Process(process)) => text::span(process.uptime_s),
            (Self::Pid | Self::Threads | Self::Uptime, _) => String::new(),
            _ => self.figure(&row.totals).unwrap_or_default(),
        }
    }

    fn figure(self, totals: &Totals) -> Option<String> {
        Some(match self {
            Self::Cpu => text::cores(totals.cpu_cores),
            Self::Wait => text::cores(totals.wait_cores),
            Self::Blocked => text::cores(totals.blocked_cores?),
            Self::Memory => text::bytes(totals.memory_bytes),
            Self::Peak => text::bytes(totals.peak_bytes?),
            Self::Faults => text::count(totals.faults_per_s),
            Self::Switches => text::count(totals.switches_per_s),
            Self::CpuTime => text::span(totals.cpu_s),
            Self::WaitTime => text::span(totals.wait_s),
            Self::Pid | Self::Threads | Self::Uptime => return None,
        })
    }
}

/// Narrower than this the name gives no more columns to figures.
const NAME_LEAST: u16 = 36;
/// Wider than this the name does not get; the rest goes to the detail.
const NAME_MOST: u16 = 56;
/// A narrower detail would say nothing.
const DETAIL_LEAST: u16 = 20;

/// How the width of a screen is shared out.
#[derive(Debug, PartialEq, Eq)]
pub struct Widths {
    /// Columns for the name.
    pub name: u16,
    /// The figures that fit, from left to right.
    pub figures: Vec<Column>,
    /// Columns for the detail, or 0.
    pub detail: u16,
}

/// Shares out `width`: the column that is sorted by is always there.
pub fn widths(width: u16, sort: Sort) -> Widths {
    let mut kept: Vec<Column> = Column::ALL.into_iter().filter(|column| column.sort() == Some(sort)).collect();
    let taken = |kept: &[Column]| kept.iter().map(|column| column.width() + 1).sum::<u16>();
    for column in Column::BY_WORTH {
        if kept.contains(&column) {
            continue;
        }
        if taken(&kept) + column.width() + 1 + NAME_LEAST > width {
            break;
        }
        kept.push(column);
    }
    let room = width.saturating_sub(taken(&kept));
    let name = if room > NAME_MOST + DETAIL_LEAST { NAME_MOST } else { room };
    let detail = (room - name).saturating_sub(1);
    let figures = Column::ALL.into_iter().filter(|column| kept.contains(column)).collect();
    Widths { name, figures, detail }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn eighty_columns_show_what_matters() {
        use Column::{Cpu, Faults, Memory, Pid, Wait};
        assert_eq!(
            widths(80, Sort::Cpu),
            Widths { name: 41, figures: vec![Pid, Cpu, Wait, Memory, Faults], detail: 0 }
        );
        assert_eq!(widths(48, Sort::Faults).figures, [Faults]);
    }

    #[test]
    fn two_hundred_columns_show_everything() {
        let widths = widths(200, Sort::Cpu);
        assert_eq!(widths.figures, Column::ALL);
        assert!(widths.detail >= DETAIL_LEAST);
    }

    proptest! {
        #[test]
        fn no_width_is_overdrawn(width in 0_u16..400, sort in prop::sample::select(vec![Sort::Cpu, Sort::Wait, Sort::Faults])) {
            let w = widths(width, sort);
            let figures: u16 = w.figures.iter().map(|column| column.width() + 1).sum();
            prop_assert!(w.figures.iter().any(|column| column.sort() == Some(sort)));
            let detail = if w.detail > 0 { w.detail + 1 } else { 0 };
            prop_assert!(w.name + figures + detail <= width.max(figures));
        }
    }
}
