//! The steps at which points are kept, and how a span of time is put together from them.

use std::time::Duration;

/// A step at which points are kept. Each level is made of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As they came, to the second.
    Raw,
    /// One row per minute.
    Minute,
    /// One row per hour.
    Hour,
    /// One row per day, by UTC.
    Day,
}

impl Level {
    /// All of them, finest first.
    pub const ALL: [Level; 4] = [Level::Raw, Level::Minute, Level::Hour, Level::Day];

    /// Its place in [`Level::ALL`], by which the database knows it.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Seconds between its slots.
    pub const fn step(self) -> i64 {
        match self {
            Level::Raw => 1,
            Level::Minute => 60,
            Level::Hour => 3_600,
            Level::Day => 86_400,
        }
    }

    /// Seconds that one table holds: the unit in which old points are dropped. A multiple of the coarser level's step.
    pub const fn period(self) -> i64 {
        match self {
            Level::Raw => 5 * 60,
            Level::Minute => 6 * 3_600,
            Level::Hour => 7 * 86_400,
            Level::Day => 182 * 86_400,
        }
    }

    /// Its name in `--retain`, table names and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Raw => "raw",
            Level::Minute => "1m",
            Level::Hour => "1h",
            Level::Day => "1d",
        }
    }

    /// The next coarser one.
    pub fn coarser(self) -> Option<Level> {
        Level::ALL.get(self.index() + 1).copied()
    }

    fn finer(self) -> Option<Level> {
        self.index().checked_sub(1).map(|index| Level::ALL[index])
    }

    /// The table for a slot, by the start of its period.
    pub fn table(self, start: i64) -> String {
        format!("points_{}_{start}", self.name())
    }

    /// The start of the period that a slot is in.
    pub fn period_of(self, slot: i64) -> i64 {
        floor(slot, self.period())
    }
}

/// How long each level is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention([Duration; 4]);

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self([30 * 60, 7 * DAY, 92 * DAY, 5 * 365 * DAY].map(Duration::from_secs))
    }
}

impl Retention {
    /// Of one level.
    pub fn of(&self, level: Level) -> Duration {
        self.0[level.index()]
    }

    /// The oldest slots that are kept at `now`, in s, by level.
    pub fn horizons(&self, now: i64) -> [i64; 4] {
        self.0.map(|kept| now.saturating_sub(i64::try_from(kept.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl std::str::FromStr for Retention {
    type Err = String;

    /// Reads `raw=30m,1m=7d`; levels that are not named stay as they are by default.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut retention = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, kept) = part.split_once('=').ok_or_else(|| format!("{part:?} is not LEVEL=TIME"))?;
            let level = Level::ALL.into_iter().find(|level| level.name() == name.trim());
            let level = level.ok_or_else(|| format!("{name:?} is no level; there are raw, 1m, 1h and 1d"))?;
            let kept = humantime::parse_duration(kept.trim()).map_err(|error| format!("{part:?}: {error}"))?;
            retention.0[level.index()] = kept;
        }
        for pair in Level::ALL.windows(2) {
            // What is rolled up must still be there, also after an hour in which the hub was down.
            let least = Duration::from_secs(2 * pair[1].step().unsigned_abs());
            if retention.of(pair[0]) < least {
                let (name, least) = (pair[0].name(), humantime::format_duration(least));
                return Err(format!(
                    "{name} must be kept for {least} at least, to be rolled up into {}",
                    pair[1].name()
                ));
            }
            if retention.of(pair[1]) < retention.of(pair[0]) {
                return Err(format!("{} must be kept for at least as long as {}", pair[1].name(), pair[0].name()));
            }
        }
        Ok(retention)
    }
}

impl std::fmt::Display for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for level in Level::ALL {
            let comma = if level == Level::Raw { "" } else { "," };
            write!(
                f,
                "{comma}{}={}",
                level.name(),
                humantime::format_duration(self.of(level)).to_string().replace(' ', "")
            )?;
        }
        Ok(())
    }
}

/// A part of a span: `[from, to)` in s, all of it from one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where its rows are.
    pub level: Level,
    /// First slot.
    pub from: i64,
    /// Behind the last slot.
    pub to: i64,
}

/// What [`cover`] has to know of the store.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Up to where each level is made of the finer one; of no meaning for raw.
    pub rolled: [i64; 4],
    /// The oldest slot that each level keeps.
    pub horizon: [i64; 4],
}

/// Puts `[from, to)` together from the coarsest rows that fit, at most as coarse as `most`, in order of time and without
/// overlap. Where rows that would fit have expired, coarser ones stand in, so the span grows to their edges.
pub fn cover(from: i64, to: i64, most: Level, extent: &Extent) -> Vec<Part> {
    let mut parts = Vec::new();
    part(from, to, most, extent, &mut parts);
    parts
}

/// Returns up to where the parts now reach: `to`, or further where coarse rows stand in. Steps are multiples of each
/// other, so whatever that is, coarser rows can go on from there.
fn part(from: i64, to: i64, level: Level, extent: &Extent, parts: &mut Vec<Part>) -> i64 {
    if from >= to {
        return from;
    }
    let at = level.index();
    let expired = extent.horizon[at].clamp(from, to);
    if let Some(coarser) = level.coarser().filter(|_| expired > from) {
        let (start, end) = (floor(from, coarser.step()), ceil(expired, coarser.step()));
        if end <= extent.rolled[coarser.index()] {
            let end = part(start, end, coarser, &Extent { horizon: beyond(extent, coarser), ..*extent }, parts);
            return part(end, to, level, extent, parts);
        }
    }
    let Some(finer) = level.finer() else {
        parts.push(Part { level, from, to });
        return to;
    };
    let (a, b) = (ceil(from, level.step()), floor(to.min(extent.rolled[at]), level.step()));
    if a >= b {
        return part(from, to, finer, extent, parts);
    }
    let a = part(from, a, finer, extent, parts).max(a);
    if a < b {
        parts.push(Part { level, from: a, to: b });
    }
    part(b.max(a), to, finer, extent, parts)
}

/// What has expired at finer levels is not asked for again below `level`.
fn beyond(extent: &Extent, level: Level) -> [i64; 4] {
    let mut horizon = extent.horizon;
    horizon[..level.index()].fill(i64::MIN);
    horizon
}

/// The multiple of `step` at or before `time`.
pub fn floor(time: i64, step: i64) -> i64 {
    time.div_euclid(step) * step
}

/// The multiple of `step` at or behind `time`.
pub fn ceil(time: i64, step: i64) -> i64 {
    floor(time.saturating_add(step - 1), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn all(rolled: i64) -> Extent {
        Extent { rolled: [i64::MAX, floor(rolled, 60), floor(rolled, 3_600), floor(rolled, DAY)], horizon: [0; 4] }
    }

    #[test]
    fn the_middle_is_taken_from_coarse_rows_and_the_edges_from_fine_ones() {
        let parts = cover(DAY - 61, 3 * DAY + 3_600 + 1, Level::Day, &all(10 * DAY));
        let is = |level, from, to| Part { level, from, to };
        assert_eq!(
            parts,
            [
                is(Level::Raw, DAY - 61, DAY - 60),
                is(Level::Minute, DAY - 60, DAY),
                is(Level::Day, DAY, 3 * DAY),
                is(Level::Hour, 3 * DAY, 3 * DAY + 3_600),
                is(Level::Raw, 3 * DAY + 3_600, 3 * DAY + 3_601),
            ]
        );
    }

    #[test]
    fn what_is_not_yet_rolled_up_is_taken_from_finer_rows() {
        let now = 5 * DAY + 7_261;
        let parts = cover(4 * DAY, now, Level::Day, &all(now - 30));
        let levels: Vec<_> = parts.iter().map(|part| part.level).collect();
        assert_eq!(levels, [Level::Day, Level::Hour, Level::Raw]);
        assert_eq!(parts.last().map(|part| part.to), Some(now));
    }

    #[test]
    fn where_fine_rows_have_expired_coarse_ones_stand_in() {
        let extent = Extent { horizon: [9 * DAY, 9 * DAY, 0, 0], ..all(10 * DAY) };
        let parts = cover(DAY + 90, DAY + 120, Level::Raw, &extent);
        assert_eq!(parts, [Part { level: Level::Hour, from: DAY, to: DAY + 3_600 }]);
    }

    proptest::proptest! {
        #[test]
        fn parts_follow_each_other_without_gap_or_overlap(
            from in 0i64..20 * DAY, length in 1i64..15 * DAY, now in 0i64..30 * DAY, most in 0usize..4,
            kept in proptest::array::uniform3(60i64..20 * DAY),
        ) {
            let horizon = [now - kept[0], now - kept[0] - kept[1], now - kept[0] - kept[1] - kept[2], i64::MIN];
            let to = from + length;
            let parts = cover(from, to, Level::ALL[most], &Extent { horizon, ..all(now) });
            proptest::prop_assert!(parts.first().is_some_and(|part| part.from <= from));
            proptest::prop_assert!(parts.last().is_some_and(|part| part.to >= to));
            for pair in parts.windows(2) {
                proptest::prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for part in &parts {
                proptest::prop_assert!(part.from < part.to);
                proptest::prop_assert_eq!(part.from % part.level.step(), 0);
                proptest::prop_assert_eq!(part.to % part.level.step(), 0);
            }
        }
    }

    #[test]
    fn retention_is_read_and_written() {
        let text = "raw=1h,1m=2d,1h=30d,1d=365d";
        let retention: Retention = text.parse().unwrap();
        assert_eq!(retention.of(Level::Minute), Duration::from_secs(2 * 86_400));
        assert_eq!(retention.to_string().parse(), Ok(retention));
        assert_eq!("".parse(), Ok(Retention::default()));
    }

    #[test]
    fn retention_that_loses_figures_is_refused() {
        for (text, word) in
            [("raw=1m", "rolled up"), ("1h=1h", "as long as"), ("2m=1d", "no level"), ("raw", "LEVEL=TIME")]
        {
            let error = text.parse::<Retention>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
