use podscope_catalog::{Entity, id};
use proptest::prelude::*;

use super::*;
use crate::snapshot::{Point, Resource, Value};

fn resource(attributes: &Arc<Attributes>, points: usize, ended: bool) -> Resource {
    let point = Point { metric: id::POD_MEMORY_RSS, combination: 0, value: Value::Int(1) };
    Resource {
        entity: Entity::Process,
        attributes: Arc::clone(attributes),
        start_ns: 1,
        kernel_start_ns: 1,
        ended,
        points: vec![point; points],
    }
}

/// A snapshot with one living resource of `living` points and one ended resource per entry of `ended`.
fn snapshot(time_ns: u64, living: usize, ended: &[usize]) -> Arc<Snapshot> {
    let mut resources = vec![resource(&Arc::default(), living, false)];
    resources.extend(ended.iter().map(|&points| resource(&Arc::default(), points, true)));
    Arc::new(Snapshot { time_ns, resources, ..Snapshot::default() })
}

/// Times and points of a batch, in sending order.
fn content(batch: &Batch) -> Vec<(u64, usize)> {
    (0..batch.len()).map(|i| batch.get(i).map(|(time, r)| (time, r.points.len())).unwrap()).collect()
}

const START: Cursor = Cursor { resource: 0, point: 0 };

#[test]
fn names_of_results_are_those_of_the_catalogue() {
    let order = Tally { sent: 0, rejected: 1, failed: 2, dropped: 3 };
    assert_eq!(podscope_catalog::attribute::EXPORT_RESULT.values, ["sent", "rejected", "failed", "dropped"]);
    assert_eq!(order.by_result(), [0, 1, 2, 3]);
}

#[test]
fn in_good_times_snapshots_are_sent_in_order() {
    let mut queue = Queue::new(None);
    (1..=3).for_each(|time| queue.offer(snapshot(time, 10, &[])));
    let times: Vec<u64> = std::iter::from_fn(|| queue.take(false)).map(|b| content(&b)[0].0).collect();
    assert_eq!(times, [1, 2, 3]);
    assert_eq!(queue.stats, Stats::default());
}

#[test]
fn a_full_queue_drops_the_oldest_but_keeps_its_last_words() {
    let mut queue = Queue::new(None);
    (1..=5).for_each(|time| queue.offer(snapshot(time, 10, &[3])));
    assert_eq!((queue.stats.points.dropped, queue.stats.requests.dropped), (10, 1));
    // The last words of the dropped one come first, then the oldest that is left, ended resources first.
    assert_eq!(content(&queue.take(false).unwrap()), [(1, 3), (2, 3), (2, 10)]);
}

#[test]
fn a_queue_too_large_in_bytes_drops_the_oldest() {
    let mut queue = Queue::new(None);
    let points = (BYTES_MAX / POINT_BYTES) as usize;
    queue.offer(snapshot(1, points, &[]));
    assert_eq!(queue.stats.points.dropped, 0, "one alone is always kept");
    queue.offer(snapshot(2, 1, &[]));
    assert_eq!(queue.stats.points.dropped, points as u64);
    assert_eq!(content(&queue.take(false).unwrap()), [(2, 1)]);
}

#[test]
fn after_a_failure_only_the_newest_and_all_last_words_are_sent() {
    let mut queue = Queue::new(None);
    queue.offer(snapshot(1, 10, &[3]));
    let first = queue.take(false).unwrap();
    queue.offer(snapshot(2, 10, &[4]));
    queue.offer(snapshot(3, 10, &[5]));
    assert!(queue.has_newer());
    queue.give_up(&first, START, Cursor { resource: 1, point: 0 });
    // The request that failed held only the last words, which are not lost; the rest was not tried.
    assert_eq!((queue.stats.points.failed, queue.stats.points.dropped), (0, 10));
    assert_eq!(content(&queue.take(true).unwrap()), [(1, 3), (2, 4), (3, 5), (3, 10)]);
    assert_eq!((queue.stats.points.dropped, queue.stats.requests.dropped), (20, 1));
}

#[test]
fn last_words_are_sent_once_though_snapshots_repeat_them() {
    let mut queue = Queue::new(None);
    let (gone, living) = (Arc::<Attributes>::default(), Arc::<Attributes>::default());
    let lingering = |time_ns| {
        Arc::new(Snapshot {
            time_ns,
            resources: vec![resource(&living, 1, false), resource(&gone, 2, true)],
            ..Snapshot::default()
        })
    };
    let mut sent = Vec::new();
    for time in 1..=3 {
        queue.offer(lingering(time));
        sent.extend(content(&queue.take(false).unwrap()));
    }
    assert_eq!(sent, [(1, 2), (1, 1), (2, 1), (3, 1)]);
    // The series begins anew with the same attributes, and ends again.
    let again = Resource { start_ns: 9, ..resource(&gone, 2, true) };
    queue.offer(Arc::new(Snapshot { time_ns: 4, resources: vec![again], ..Snapshot::default() }));
    assert_eq!(content(&queue.take(false).unwrap()), [(4, 2)]);
}

#[test]
fn last_words_are_bounded_and_what_goes_is_counted() {
    let mut queue = Queue::new(None);
    let half = LAST_WORDS_MAX as usize / 2;
    for time in 1..=3 {
        queue.offer(snapshot(time, 1, &[half]));
        let batch = queue.take(true).unwrap();
        queue.give_up(&batch, START, START);
    }
    assert_eq!(queue.stats.points.dropped, half as u64 + 3);
    queue.offer(snapshot(4, 1, &[]));
    assert_eq!(content(&queue.take(true).unwrap()), [(2, half), (3, half), (4, 1)]);
}

#[test]
fn with_an_interval_the_first_of_each_is_sent_and_no_last_word_is_lost() {
    let second = 1_000_000_000;
    let mut queue = Queue::new(Some(Duration::from_secs(60)));
    let mut sent = Vec::new();
    for at in (1195..1330).step_by(5) {
        let ended: &[usize] = if at == 1210 { &[7] } else { &[] };
        queue.offer(snapshot(at * second, 1, ended));
        sent.extend(queue.take(false).map(|b| content(&b)));
    }
    let expected: [&[(u64, usize)]; 4] = [
        &[(1195 * second, 1)],
        &[(1200 * second, 1)],
        &[(1210 * second, 7), (1260 * second, 1)],
        &[(1320 * second, 1)],
    ];
    assert_eq!(sent, expected);
    assert_eq!(queue.stats, Stats::default(), "what is not due is no loss");

    queue.offer(snapshot(100 * second, 2, &[]));
    assert_eq!(content(&queue.take(false).unwrap()), [(100 * second, 2)], "the clock was set back");
    queue.offer(snapshot(105 * second, 3, &[]));
    assert!(queue.take(false).is_none());
    queue.hasten();
    assert_eq!(content(&queue.take(true).unwrap()), [(105 * second, 3)], "the last one before the end is sent");
}

#[test]
fn a_closed_queue_counts_what_was_left_and_what_still_comes() {
    let mut queue = Queue::new(None);
    queue.offer(snapshot(1, 10, &[1]));
    let batch = queue.take(false).unwrap();
    queue.give_up(&batch, START, START);
    queue.offer(snapshot(2, 20, &[2]));
    assert_eq!(queue.close(), 23);
    queue.offer(snapshot(3, 30, &[3]));
    assert!(queue.take(true).is_none());
    assert_eq!(queue.stats.points, Tally { dropped: 10 + 23 + 33, ..Tally::default() });
}

#[derive(Clone, Debug)]
enum Step {
    Offer(usize, Vec<usize>),
    Send { newest: bool },
    Fail { newest: bool, at: usize, tried: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..50usize, prop::collection::vec(1..20usize, 0..3)).prop_map(|(living, ended)| Step::Offer(living, ended)),
        any::<bool>().prop_map(|newest| Step::Send { newest }),
        (any::<bool>(), 0..4usize, 0..4usize).prop_map(|(newest, at, tried)| Step::Fail { newest, at, tried }),
    ]
}

proptest! {
    #[test]
    fn every_point_ends_in_exactly_one_result(steps in prop::collection::vec(step(), 0..60)) {
        let mut queue = Queue::new(None);
        let (mut offered, mut last_words_sent, mut last_words_offered) = (0u64, 0u64, 0u64);
        for (time, step) in steps.into_iter().enumerate() {
            match step {
                Step::Offer(living, ended) => {
                    let words = ended.iter().sum::<usize>() as u64;
                    offered += living as u64 + words;
                    last_words_offered += words;
                    queue.offer(snapshot(time as u64 + 1, living, &ended));
                }
                Step::Send { newest } => {
                    if let Some(batch) = queue.take(newest) {
                        queue.stats.points.sent += batch.points(START);
                        last_words_sent += batch.points(START) - batch.living_points(START);
                    }
                }
                Step::Fail { newest, at, tried } => {
                    if let Some(batch) = queue.take(newest) {
                        let at = Cursor { resource: at.min(batch.len()), point: 0 };
                        let tried = Cursor { resource: (at.resource + tried).min(batch.len()), point: 0 };
                        queue.stats.points.sent += batch.points(START) - batch.points(at);
                        let words = |from| batch.points(from) - batch.living_points(from);
                        last_words_sent += words(START) - words(at);
                        queue.give_up(&batch, at, tried);
                    }
                }
            }
        }
        queue.hasten();
        while let Some(batch) = queue.take(true) {
            queue.stats.points.sent += batch.points(START);
            last_words_sent += batch.points(START) - batch.living_points(START);
        }
        prop_assert_eq!(queue.close(), 0);
        prop_assert_eq!(queue.stats.points.by_result().iter().sum::<u64>(), offered);
        prop_assert_eq!(last_words_sent, last_words_offered);
    }
}
