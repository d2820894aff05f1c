//! Kills and lines in every order, on paths of real shapes.

use proptest::prelude::*;

use super::*;

const POD: &str = "/kubepods/burstable/pod1f0b2c3d-0001-4a00-8000-0000000000a1";
const OTHER_POD: &str = "/kubepods/burstable/pod1f0b2c3d-0001-4a00-8000-0000000000a2";
const ID: &str = "a562c1fedc668f8411f857d3ebabd03b49c2916c87b8b7a5423818686499e6ca";
const SECOND: u64 = 1_000_000_000;

fn container() -> String {
    format!("{POD}/{ID}")
}

fn chosen(pid: u32, constraint: Constraint, limit: &str) -> OomLine {
    let oom_memcg = (constraint == Constraint::Memcg).then(|| limit.to_owned());
    OomLine { pid, constraint, oom_memcg, task_memcg: Some(container()), with_group: false }
}

fn victim(pid: u32) -> Oom {
    Oom { pid, tgid: pid, leader_start: u64::from(pid) + 7, cgroup: 1, ..Oom::default() }
}

fn in_container(cgroup: u64) -> Option<Arc<str>> {
    (cgroup == 1).then(|| container().into())
}

fn scopes(resolved: &[(Oom, Scope)]) -> Vec<(u32, Scope)> {
    resolved.iter().map(|(oom, scope)| (oom.pid, *scope)).collect()
}

#[test]
fn scopes_are_the_attributes_values() {
    let names: Vec<_> = Scope::ALL.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect();
    assert_eq!(names, podscope_catalog::attribute::OOM_SCOPE.values);
    for (at, scope) in Scope::ALL.into_iter().enumerate() {
        assert_eq!(scope.combination(), at);
    }
}

#[test]
fn the_limit_says_the_scope() {
    let within = format!("{}/init.scope", container());
    let systemd = "/kubepods.slice/kubepods-burstable.slice/\
                   kubepods-burstable-pod1f0b2c3d_0001_4a00_8000_0000000000a1.slice";
    for (limit, want) in [
        (container().as_str(), Scope::Container),
        (&within, Scope::Container),
        (&format!("/docker/node{}", container()), Scope::Container),
        (&format!("{systemd}/cri-containerd-{ID}.scope"), Scope::Container),
        (POD, Scope::Pod),
        (systemd, Scope::Pod),
        ("/kubepods/burstable", Scope::Other),
        ("/kubepods", Scope::Other),
        ("/", Scope::Other),
        ("/system.slice/x.service", Scope::Other),
        (OTHER_POD, Scope::Other),
        (&format!("{OTHER_POD}/{}", ID.replace('a', "b")), Scope::Other),
    ] {
        let line = chosen(1, Constraint::Memcg, limit);
        assert_eq!(scope(Some(&line), Some(&container())), want, "{limit}");
        assert_eq!(scope(Some(&line), Some(&within)), want, "{limit}, victim in a nested group");
        assert_eq!(scope(Some(&line), None), want, "{limit}, victim's group by the log");
    }
}

#[test]
fn the_constraint_goes_before_the_path() {
    let of = |constraint| scope(Some(&chosen(1, constraint, "")), Some(&container()));
    assert_eq!(of(Constraint::None), Scope::Node);
    assert_eq!(of(Constraint::Cpuset), Scope::Other);
    assert_eq!(of(Constraint::MemoryPolicy), Scope::Other);
    assert_eq!(scope(None, Some(&container())), Scope::Unknown);
    let nameless = OomLine { oom_memcg: None, ..chosen(1, Constraint::Memcg, "") };
    assert_eq!(scope(Some(&nameless), Some(&container())), Scope::Unknown);
}

#[test]
fn a_kill_waits_for_its_line() {
    let mut tracker = OomTracker::default();
    tracker.take(victim(5), SECOND);
    assert!(tracker.resolve(SECOND, in_container).is_empty());
    tracker.line(Line::Chosen(chosen(5, Constraint::Memcg, POD)), 2 * SECOND);
    assert_eq!(scopes(&tracker.resolve(2 * SECOND, in_container)), [(5, Scope::Pod)]);
    assert!(tracker.resolve(9 * SECOND, in_container).is_empty(), "given once");
}

#[test]
fn a_kill_without_a_line_is_unknown_after_two_seconds() {
    let mut tracker = OomTracker::default();
    tracker.take(victim(5), SECOND);
    assert!(tracker.resolve(3 * SECOND - 1, in_container).is_empty());
    assert_eq!(scopes(&tracker.resolve(3 * SECOND, in_container)), [(5, Scope::Unknown)]);
    // A collection that comes later than that still prefers a line that is there.
    tracker.take(victim(6), SECOND);
    tracker.line(Line::Chosen(chosen(6, Constraint::None, "")), 60 * SECOND);
    assert_eq!(scopes(&tracker.resolve(60 * SECOND, in_container)), [(6, Scope::Node)]);
}

#[test]
fn threads_of_a_process_are_one_kill() {
    let mut tracker = OomTracker::default();
    tracker.line(Line::Chosen(chosen(5, Constraint::None, "")), 0);
    for pid in [50, 5, 51] {
        tracker.take(Oom { pid, ..victim(5) }, 0);
    }
    assert_eq!(scopes(&tracker.resolve(0, in_container)), [(50, Scope::Node)], "found by the process's id");
    tracker.take(Oom { pid: 52, ..victim(5) }, SECOND);
    assert!(tracker.resolve(9 * SECOND, in_container).is_empty());
    tracker.take(Oom { pid: 5, tgid: 5, leader_start: 99, ..Oom::default() }, 9 * SECOND);
    assert_eq!(tracker.resolve(20 * SECOND, in_container).len(), 1, "the id of the dead process, used again");
}

/// Linux 5.10's hook passes the thread's id alone.
#[test]
fn a_victim_known_by_its_id_alone() {
    let mut tracker = OomTracker::default();
    tracker.line(Line::Chosen(chosen(0, Constraint::None, "")), 0);
    tracker.line(Line::Chosen(chosen(5, Constraint::Memcg, &container())), 0);
    tracker.take(Oom { pid: 5, ..Oom::default() }, 0);
    assert_eq!(scopes(&tracker.resolve(0, |_| None)), [(5, Scope::Container)]);
}

#[test]
fn a_group_dies_on_its_victims_account() {
    let mut tracker = OomTracker::default();
    tracker.line(Line::Chosen(chosen(5, Constraint::Memcg, POD)), 0);
    tracker.line(Line::Killed { pid: 5 }, 0);
    tracker.line(Line::Group { path: container() }, 0);
    for pid in [6, 7] {
        tracker.line(Line::Killed { pid }, 0);
    }
    for pid in 5..8 {
        tracker.take(victim(pid), 0);
    }
    let want = [(5, Scope::Pod), (6, Scope::Pod), (7, Scope::Pod)];
    assert_eq!(scopes(&tracker.resolve(0, in_container)), want);
}

/// Recorded on Linux 6.1: the first and the last of ten groups killed, each with its line, and the eleventh without.
#[test]
fn recorded_kills_of_groups() {
    let log = include_str!("../../testdata/oom/linux-6.1-group.kmsg");
    let (mut tracker, mut joiner) = (OomTracker::default(), line::Joiner::default());
    for record in log.lines().map(|record| line::Record::parse(record.as_bytes()).unwrap()) {
        if let Some(line) = joiner.take(&record) {
            tracker.line(line, 0);
        }
    }
    let pids = [85, 86, 87, 121, 122, 123, 125, 126, 127];
    pids.iter().for_each(|&pid| tracker.take(victim(pid), 0));
    let resolved = tracker.resolve(PATIENCE_NS, |_| Some("/group/in".into()));
    let want = pids.map(|pid| (pid, if pid < 125 { Scope::Other } else { Scope::Unknown }));
    assert_eq!(scopes(&resolved), want);
    assert!(tracker.lines.is_empty(), "{:?}", tracker.lines);
}

/// After ten kills in five seconds the kernel names victims without saying why.
#[test]
fn a_kill_whose_line_was_left_out_takes_no_others() {
    let mut tracker = OomTracker::default();
    tracker.line(Line::Chosen(chosen(5, Constraint::Memcg, POD)), 0);
    tracker.line(Line::Killed { pid: 5 }, 0);
    tracker.line(Line::Killed { pid: 6 }, 0);
    tracker.line(Line::Group { path: container() }, 0);
    tracker.line(Line::Killed { pid: 7 }, 0);
    for pid in 6..8 {
        tracker.take(victim(pid), 0);
    }
    let want = [(6, Scope::Unknown), (7, Scope::Unknown)];
    assert_eq!(scopes(&tracker.resolve(2 * SECOND, in_container)), want);
    // The same right after a group's kill: only the victim's path tells.
    tracker.line(Line::Chosen(chosen(8, Constraint::Memcg, OTHER_POD)), 0);
    tracker.line(Line::Group { path: OTHER_POD.to_owned() }, 0);
    tracker.line(Line::Killed { pid: 9 }, 0);
    tracker.take(victim(9), 0);
    assert_eq!(scopes(&tracker.resolve(0, in_container)), [(9, Scope::Unknown)]);
}

#[test]
fn bounds_hold_and_what_is_dropped_is_counted() {
    let mut tracker = OomTracker::default();
    for pid in 0..5000 {
        tracker.line(Line::Chosen(chosen(pid, Constraint::None, "")), 0);
        tracker.take(victim(pid), 0);
    }
    assert_eq!((tracker.lines.len(), tracker.pending.len(), tracker.taken.len()), (KEPT, KEPT, KEPT));
    assert_eq!(tracker.dropped(), 5000 - KEPT as u64);
    tracker.line(Line::Chosen(chosen(1, Constraint::None, "")), LINE_LIFE_NS + 1);
    assert_eq!(tracker.lines.len(), 1, "lines that no kill asked for go");
}

proptest! {
    /// Whatever comes in whatever order: every kill comes out exactly once.
    #[test]
    fn every_kill_comes_out_once(steps in prop::collection::vec((0u32..40, 0u8..4), 1..300)) {
        let mut tracker = OomTracker::default();
        let mut out = Vec::new();
        let mut taken = std::collections::BTreeSet::new();
        for (at, (pid, what)) in steps.into_iter().enumerate() {
            let now = at as u64 * SECOND / 3;
            match what {
                0 => tracker.line(Line::Chosen(chosen(pid, Constraint::Memcg, POD)), now),
                1 => tracker.line(Line::Killed { pid }, now),
                2 => tracker.line(Line::Group { path: container() }, now),
                _ => {
                    taken.insert(pid);
                    tracker.take(victim(pid), now);
                }
            }
            out.extend(tracker.resolve(now, in_container));
        }
        out.extend(tracker.resolve(u64::MAX, in_container));
        let mut pids: Vec<_> = out.iter().map(|(oom, _)| oom.pid).collect();
        pids.sort_unstable();
        prop_assert_eq!(pids, taken.into_iter().collect::<Vec<_>>());
    }
}
