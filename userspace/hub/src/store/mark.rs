//! From cumulative values to increases: what a new point adds to what was known of its series.

/// The last point of a series. Times in ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// When its counting began; 0 where the sender does not say.
    pub started: i64,
    /// When it was measured.
    pub time: i64,
    /// Its value.
    pub value: f64,
}

/// How a metric's values are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A monotonic sum since its start.
    Counter,
    /// A sum of what was added since the point before.
    Delta,
    /// A value that is not summed, or a sum that may fall.
    Gauge,
}

/// What a point is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A row: the increase, or for gauges the value, and the time in ms that it stands for.
    Row {
        /// Increase or value.
        value: f64,
        /// For how long: since the point before.
        span: i64,
    },
    /// A counter that was there before anybody looked: nothing is known to have been added.
    Baseline,
    /// The same point once more.
    Duplicate,
    /// Older than what is known; what it says of a counter is in the later point already.
    Late,
}

/// A gauge's value is believed for so long, in ms.
const BELIEVED: i64 = 5 * 60 * 1_000;

/// What `point` adds, given the last one. `watched` is since when its sender is known (ms): a counter that began later
/// began at zero under our eyes.
pub fn advance(kind: Kind, last: Option<&Mark>, point: &Mark, watched: i64) -> Step {
    match (kind, last) {
        (_, Some(last)) if point.time == last.time && point.started <= last.started => Step::Duplicate,
        (Kind::Gauge, Some(last)) => {
            Step::Row { value: point.value, span: (point.time - last.time).clamp(0, BELIEVED) }
        }
        (Kind::Gauge, None) => Step::Row { value: point.value, span: 0 },
        (_, Some(last)) if point.time < last.time || point.started < last.started => Step::Late,
        (Kind::Delta, _) => {
            let since = last.map_or(point.started, |last| last.time.max(point.started));
            Step::Row { value: point.value, span: (point.time - since).max(0) }
        }
        (Kind::Counter, Some(last)) if point.started == last.started && point.value >= last.value => {
            Step::Row { value: point.value - last.value, span: point.time - last.time }
        }
        // Begun anew: by its start, or by its value where the sender does not say.
        (Kind::Counter, Some(last)) => {
            Step::Row { value: point.value, span: point.time - last.time.max(point.started) }
        }
        (Kind::Counter, None) if point.started > 0 && point.started >= watched => {
            Step::Row { value: point.value, span: point.time - point.started }
        }
        (Kind::Counter, None) => Step::Baseline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(started: i64, time: i64, value: f64) -> Mark {
        Mark { started, time, value }
    }

    fn counter(last: Option<Mark>, point: Mark) -> Step {
        advance(Kind::Counter, last.as_ref(), &point, 1_000)
    }

    #[test]
    fn a_counter_is_worth_what_it_grew_by() {
        assert_eq!(counter(Some(at(5, 10, 2.0)), at(5, 30, 9.0)), Step::Row { value: 7.0, span: 20 });
    }

    #[test]
    fn one_that_began_under_our_eyes_counts_from_zero_and_an_older_one_does_not() {
        assert_eq!(counter(None, at(1_500, 2_000, 9.0)), Step::Row { value: 9.0, span: 500 });
        assert_eq!(counter(None, at(999, 2_000, 9.0)), Step::Baseline);
        assert_eq!(counter(None, at(0, 2_000, 9.0)), Step::Baseline);
    }

    #[test]
    fn one_that_began_again_counts_from_zero() {
        assert_eq!(counter(Some(at(5, 10, 2.0)), at(20, 30, 9.0)), Step::Row { value: 9.0, span: 10 });
        assert_eq!(counter(Some(at(0, 10, 20.0)), at(0, 30, 9.0)), Step::Row { value: 9.0, span: 20 });
    }

    #[test]
    fn what_came_twice_or_late_adds_nothing() {
        assert_eq!(counter(Some(at(5, 10, 2.0)), at(5, 10, 2.0)), Step::Duplicate);
        assert_eq!(counter(Some(at(5, 10, 2.0)), at(5, 9, 1.0)), Step::Late);
        assert_eq!(counter(Some(at(5, 10, 2.0)), at(4, 12, 1.0)), Step::Late);
    }

    #[test]
    fn deltas_are_taken_as_they_are() {
        let last = at(0, 10, 1.0);
        assert_eq!(advance(Kind::Delta, Some(&last), &at(10, 20, 3.0), 0), Step::Row { value: 3.0, span: 10 });
        assert_eq!(advance(Kind::Delta, Some(&last), &at(0, 10, 1.0), 0), Step::Duplicate);
    }

    #[test]
    fn a_gauge_is_not_believed_for_ever() {
        let last = at(0, 10, 1.0);
        assert_eq!(
            advance(Kind::Gauge, Some(&last), &at(0, 10_000_000, 3.0), 0),
            Step::Row { value: 3.0, span: BELIEVED }
        );
    }

    proptest::proptest! {
        /// However points are lost, doubled and swapped, the increases add up to what the counter had at the last point.
        #[test]
        fn increases_add_up(values in proptest::collection::vec((0u32..1000, proptest::bool::ANY, 0usize..4), 1..50)) {
            let (mut total, mut time, mut started) = (0.0, 10_000, 10_000);
            let mut points = Vec::new();
            let mut truth = 0.0;
            let mut before = 0.0;
            for (grown, restart, repeat) in values {
                time += 1_000;
                if restart {
                    truth += before;
                    total = 0.0;
                    started = time - 500;
                }
                total += f64::from(grown);
                before = total;
                points.push(at(started, time, total));
                // Some arrive twice, some again after a later one.
                for _ in 0..repeat {
                    let again = points[points.len().saturating_sub(repeat)];
                    points.push(again);
                }
            }
            truth += before;
            let mut last: Option<Mark> = None;
            let mut sum = 0.0;
            for point in points {
                match advance(Kind::Counter, last.as_ref(), &point, 10_000) {
                    Step::Row { value, .. } => { sum += value; last = Some(point); }
                    Step::Baseline => last = Some(point),
                    Step::Duplicate | Step::Late => {}
                }
            }
            proptest::prop_assert_eq!(sum, truth);
        }
    }
}
