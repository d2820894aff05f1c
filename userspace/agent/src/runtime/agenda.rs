//! When to ask the runtime next: which ids are waited for, and how patiently. Sans-IO.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::meta::MAX_ID;

/// Pauses between the attempts to learn an id: its cgroup appears before the runtime lists it.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// An id that nobody asked for in this time is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// Most ids waited for; others have to wait for the regular refresh.
const MAX_WAITING: usize = 1024;

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    waiting: HashMap<Arc<str>, Waiting>,
    poked: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    asked: Instant,
    tries: usize,
    /// `None`: only the regular refresh may still find it.
    due: Option<Instant>,
}

impl Agenda {
    /// Waits for an id. Asking again changes nothing but that it is remembered. `false`: there was no room.
    pub(super) fn ask(&mut self, id: &str, now: Instant) -> bool {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.asked = now;
            return true;
        }
        if self.waiting.len() >= MAX_WAITING || id.len() > MAX_ID || id.is_empty() {
            return false;
        }
        self.waiting.insert(Arc::from(id), Waiting { asked: now, tries: 0, due: Some(now) });
        true
    }

    /// Asks for a refresh, without an id.
    pub(super) fn poke(&mut self, now: Instant) {
        self.poked = Some(now);
    }

    /// When the next refresh is wanted; `None`: not before the regular one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|waiting| waiting.due).chain(self.poked).min()
    }

    /// The ids waited for.
    pub(super) fn ids(&self) -> Vec<Arc<str>> {
        self.waiting.keys().cloned().collect()
    }

    /// After a refresh that began at `began`: ids that are known now are done with, the others wait longer. What was
    /// asked since then stays due.
    pub(super) fn refreshed(&mut self, began: Instant, now: Instant, is_known: impl Fn(&str) -> bool) {
        self.poked = self.poked.filter(|at| *at > began);
        self.waiting.retain(|id, waiting| !is_known(id) && now.duration_since(waiting.asked) < FORGET);
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.due.is_some_and(|due| due <= began)) {
            waiting.due = RETRIES.get(waiting.tries).map(|pause| now + *pause);
            waiting.tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_is_tried_ever_more_rarely_and_asking_again_does_not_hurry() {
        let mut agenda = Agenda::default();
        let start = Instant::now();
        assert_eq!(agenda.due(), None);
        assert!(agenda.ask("x", start));
        let mut tried = Vec::new();
        while let Some(due) = agenda.due() {
            tried.push(due - start);
            assert!(agenda.ask("x", due));
            agenda.refreshed(due, due, |_| false);
        }
        assert_eq!(tried, [0, 200, 700, 1700, 3700, 8700].map(Duration::from_millis));
        assert_eq!(agenda.ids(), [Arc::from("x")]);
        agenda.refreshed(start, start + Duration::from_secs(9) + FORGET, |_| false);
        assert_eq!(agenda.ids(), []);
    }

    #[test]
    fn what_is_asked_during_a_refresh_stays_due() {
        let mut agenda = Agenda::default();
        let began = Instant::now();
        let during = began + Duration::from_millis(5);
        agenda.ask("early", began);
        agenda.ask("late", during);
        agenda.poke(during);
        agenda.refreshed(began, began + Duration::from_millis(10), |id| id == "early");
        assert_eq!(agenda.due(), Some(during));
        assert_eq!(agenda.ids(), [Arc::from("late")]);
    }

    #[test]
    fn there_is_a_bound() {
        let mut agenda = Agenda::default();
        let now = Instant::now();
        for i in 0..MAX_WAITING {
            assert!(agenda.ask(&i.to_string(), now));
        }
        assert!(!agenda.ask("one more", now));
        assert!(agenda.ask("7", now), "known ids are still accepted");
        let mut agenda = Agenda::default();
        assert!(!agenda.ask(&"x".repeat(MAX_ID + 1), now));
        assert!(!agenda.ask("", now));
    }
}
