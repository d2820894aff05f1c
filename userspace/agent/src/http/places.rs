//! Who holds a connection, and who has to go when there is no room.
//!
//! Clients that open connections and do nothing with them must not keep out one that asks and reads: of the address
//! that holds most, whoever has waited longest without a request makes room. Owns no clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// An answer that has been under way for less is not cut off for another connection from an address that holds as many.
const FAIR: Duration = Duration::from_secs(5);

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    open: Mutex<Vec<Weak<Place>>>,
}

/// One connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: IpAddr,
    state: Mutex<State>,
    leave: Notify,
}

#[derive(Debug)]
struct State {
    /// Answers under way; those of a pipeline may overlap.
    answers: usize,
    /// Since when it is being answered, or waits for a request.
    since: Instant,
    /// Whether a request was ever answered.
    used: bool,
}

/// An answer under way; ends when this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Place>);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// A place for a new connection from an address. `None` where no other address holds more, and all that could
    /// make room are being answered and have not been for long.
    pub(super) fn take(&self, of: IpAddr, now: Instant) -> Option<Arc<Place>> {
        let mut open = self.open();
        open.retain(|place| place.strong_count() > 0);
        if open.len() >= self.most {
            let mut held: HashMap<IpAddr, usize> = HashMap::new();
            open.iter().filter_map(Weak::upgrade).for_each(|place| *held.entry(place.of).or_default() += 1);
            let most = held.values().copied().max()?;
            let is_heavy = |place: &Place| held.get(&place.of) == Some(&most);
            let may_cut = |(since, _): &(Instant, usize)| held.get(&of) < Some(&most) || now - *since > FAIR;
            let waiting = longest(&open, |place, answering| is_heavy(place) && !answering);
            let answering = || longest(&open, |place, answering| is_heavy(place) && answering).filter(may_cut);
            let (_, at) = waiting.or_else(answering)?;
            dismiss(&mut open, at);
        }
        let state = State { answers: 0, since: now, used: false };
        let place = Arc::new(Place { of, state: Mutex::new(state), leave: Notify::new() });
        open.push(Arc::downgrade(&place));
        Some(place)
    }

    /// Cuts off the answer that has been under way longest, for the memory that it holds; not that of `own`.
    pub(super) fn shed(&self, own: &Arc<Place>) {
        let mut open = self.open();
        let others: Vec<_> = open.iter().filter(|place| place.as_ptr() != Arc::as_ptr(own)).cloned().collect();
        if let Some((_, at)) = longest(&others, |_, answering| answering) {
            let gone = others[at].as_ptr();
            if let Some(at) = open.iter().position(|place| place.as_ptr() == gone) {
                dismiss(&mut open, at);
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Place>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the places that are wanted, given whether each is being answered, the one that has been so longest: since when,
/// and its index.
fn longest(open: &[Weak<Place>], wanted: impl Fn(&Place, bool) -> bool) -> Option<(Instant, usize)> {
    let places = open.iter().enumerate().filter_map(|(at, place)| Some((at, place.upgrade()?)));
    let wanted = places.filter_map(|(at, place)| {
        let since = place.state().since;
        wanted(&place, place.is_answering()).then_some((since, at))
    });
    wanted.min()
}

fn dismiss(open: &mut Vec<Weak<Place>>, at: usize) {
    if let Some(place) = open.swap_remove(at).upgrade() {
        place.leave.notify_one();
    }
}

impl Place {
    /// Begins an answer.
    pub(super) fn answer(self: &Arc<Self>, now: Instant) -> Answering {
        let mut state = self.state();
        if state.answers == 0 {
            state.since = now;
        }
        state.answers += 1;
        state.used = true;
        drop(state);
        Answering(Arc::clone(self))
    }

    /// Returns when the connection has to go.
    pub(super) async fn dismissed(&self) {
        self.leave.notified().await;
    }

    /// Whether a request was answered and none is being answered now: such a connection may end without a fault.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.used && state.answers == 0
    }

    fn is_answering(&self) -> bool {
        self.state().answers > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answering {
    /// Whose it is.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.answers -= 1;
        if state.answers == 0 {
            state.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn is_dismissed(place: &Place) -> bool {
        let waker = std::task::Waker::noop();
        let mut dismissed = std::pin::pin!(place.dismissed());
        dismissed.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn who_waits_longest_makes_room_and_who_is_answered_does_not() {
        let places = Places::new(3);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let [answered, oldest, younger] = [0, 1, 2].map(|n| places.take(HOME, at(n)).unwrap());
        let _answer = answered.answer(at(2));
        let newest = places.take(HOME, at(3)).unwrap();
        assert_eq!(
            [&answered, &oldest, &younger, &newest].map(|place| is_dismissed(place)),
            [false, true, false, false]
        );
    }

    #[test]
    fn answers_under_way_keep_their_place_for_a_while() {
        let places = Places::new(2);
        let start = Instant::now();
        let [first, second] = [(); 2].map(|()| places.take(HOME, start).unwrap());
        let _answers = [first.answer(start), second.answer(start + Duration::from_millis(1))];
        assert!(places.take(HOME, start + FAIR).is_none());
        assert!(places.take(HOME, start + FAIR * 2).is_some());
        assert_eq!([&first, &second].map(|place| is_dismissed(place)), [true, false]);
    }

    #[test]
    fn the_address_that_holds_most_gives_way_to_another() {
        let places = Places::new(3);
        let start = Instant::now();
        let other = IpAddr::from([10, 0, 0, 1]);
        let quiet = places.take(other, start).unwrap();
        let [first, second] = [1, 2].map(|n| places.take(HOME, start + Duration::from_secs(n)).unwrap());
        let _answers = [&first, &second].map(|place| place.answer(start + Duration::from_secs(3)));
        assert!(places.take(HOME, start + Duration::from_secs(4)).is_none(), "its own connections are being answered");
        assert!(places.take(other, start + Duration::from_secs(4)).is_some());
        assert_eq!([&quiet, &first, &second].map(|place| is_dismissed(place)), [false, true, false]);
    }

    #[test]
    fn a_place_is_free_when_its_connection_has_ended() {
        let places = Places::new(1);
        let start = Instant::now();
        for _ in 0..3 {
            let place = places.take(HOME, start).unwrap();
            assert!(!is_dismissed(&place));
            drop(place.answer(start));
            assert!(place.is_idle());
        }
    }

    #[test]
    fn memory_is_asked_back_from_the_oldest_answer_of_another() {
        let places = Places::new(3);
        let start = Instant::now();
        let [own, waiting, reading] = [(); 3].map(|()| places.take(HOME, start).unwrap());
        let _answers = [own.answer(start), reading.answer(start + Duration::from_secs(1))];
        places.shed(&own);
        assert_eq!([&own, &waiting, &reading].map(|place| is_dismissed(place)), [false, false, true]);
        places.shed(&own);
        assert!(!is_dismissed(&own) && !is_dismissed(&waiting), "nobody else is being answered");
    }
}
