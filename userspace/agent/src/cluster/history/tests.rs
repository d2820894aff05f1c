use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_795_000_000 * SECOND;

/// A history of collections every `step` seconds, of a subject that uses `cores` and grows by a byte a second.
fn history(step: u64, count: u64, cores: f64) -> History {
    let mut history = History::default();
    for at in (0..count).map(|number| number * step) {
        history.begin(START + at * SECOND, at * SECOND);
        history.note("a", Some(at as f64 * cores), Some(1000 + at));
        history.end();
    }
    history
}

fn window(begin: f64, end: f64) -> Rate {
    let at = |seconds: f64| START.saturating_add_signed((seconds * SECOND as f64) as i64);
    Rate { cores: 0.0, begin_ns: at(begin), end_ns: at(end) }
}

#[test]
fn a_window_between_collections_is_found() {
    let history = history(5, 20, 1.5);
    for (begin, end) in [(10.0, 25.0), (12.3, 27.3), (0.0, 95.0), (11.0, 12.0)] {
        let cores = history.cores("a", &window(begin, end)).unwrap();
        assert!((cores - 1.5).abs() < 1e-9, "{begin} to {end}: {cores}");
    }
    assert_eq!(history.working_set("a", START + 12 * SECOND + SECOND / 2), Some(1012.5));
    assert_eq!(history.working_set("a", START + 95 * SECOND), Some(1095.0));
}

#[test]
fn what_is_not_wholly_known_is_not_said() {
    let history = history(5, 20, 1.0);
    for (begin, end) in [(-1.0, 10.0), (90.0, 96.0), (20.0, 20.0), (30.0, 20.0)] {
        assert_eq!(history.cores("a", &window(begin, end)), None, "{begin} to {end}");
    }
    assert_eq!(history.cores("b", &window(10.0, 20.0)), None);

    let mut history = History::default();
    for (at, cpu) in [(0, Some(1.0)), (5, None), (10, Some(2.0))] {
        history.begin(START + at * SECOND, at * SECOND);
        history.note("a", cpu, None);
    }
    assert_eq!(history.cores("a", &window(0.0, 5.0)), None);
    assert_eq!(history.cores("a", &window(0.0, 10.0)), Some(0.1));
    assert_eq!(history.working_set("a", START), None);
}

#[test]
fn a_clock_that_was_set_begins_anew() {
    let mut history = history(5, 20, 1.0);
    history.begin(START + 3600 * SECOND, 100 * SECOND);
    history.note("a", Some(100.0), None);
    assert_eq!(history.cores("a", &window(10.0, 25.0)), None);
    history.begin(START + 3605 * SECOND, 105 * SECOND);
    history.note("a", Some(105.0), None);
    assert_eq!(history.cores("a", &window(3600.0, 3605.0)), Some(1.0));
}

#[test]
fn it_stays_small_and_forgets_who_has_gone() {
    let mut history = History::default();
    for at in 0..10_000 {
        let now = at * SECOND / 10;
        history.begin(START + now, now);
        history.note("a", Some(now as f64 / 1e9), Some(1));
        if at < 9_000 {
            history.note("gone", Some(0.0), Some(1));
        }
        history.end();
    }
    assert_eq!(history.samples.len(), 1);
    let kept = history.samples["a"].len() as u64;
    assert!(kept <= REACH_NS / STEP_NS + 2, "{kept}");
    let cores = history.cores("a", &window(800.05, 999.85)).unwrap();
    assert!((cores - 1.0).abs() < 1e-9, "{cores}");
}
