//! Asks NVML when somebody wants to know, on a thread of its own, and keeps what it said.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::document::{Answer, Document};
use crate::raw::Source;
use crate::sift;

/// How NVML is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// An answer that is younger is given again: however many ask, NVML is not asked more often.
    pub fresh: Duration,
    /// How long somebody waits for an answer before being told that there is none.
    pub patience: Duration,
    /// First and longest pause after NVML could not be had at all.
    pub pauses: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            fresh: Duration::from_millis(500),
            patience: Duration::from_millis(1500),
            pauses: (Duration::from_secs(1), Duration::from_secs(60)),
        }
    }
}

/// The answers. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Keeper {
    shared: Arc<(Mutex<State>, Condvar)>,
    pace: Pace,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody waits for an answer.
    wanted: bool,
    /// The last answer and when it was had.
    last: Option<(Instant, Arc<[u8]>)>,
}

impl Keeper {
    /// Starts the thread. `report`: is told when NVML begins or ceases to answer, and why.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        source: Box<dyn Source>,
        pace: Pace,
        report: impl FnMut(Option<&str>) + Send + 'static,
    ) -> io::Result<Self> {
        let keeper = Self { shared: Arc::default(), pace };
        let of_thread = keeper.clone();
        thread::Builder::new().name("nvml".to_owned()).spawn(move || of_thread.ask(source, report))?;
        Ok(keeper)
    }

    /// What NVML says now, as it is sent; after a while, that it says nothing.
    pub fn document(&self) -> Arc<[u8]> {
        let (_, changed) = &*self.shared;
        let mut state = self.lock();
        if let Some(fresh) = state.younger_than(self.pace.fresh) {
            return fresh;
        }
        let began = Instant::now();
        state.wanted = true;
        changed.notify_all();
        loop {
            let left = self.pace.patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                let patience = self.pace.patience;
                return written(&Document::of(Answer::Unavailable(format!("NVML has not answered for {patience:?}"))));
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if let Some((_, answer)) = state.last.as_ref().filter(|(had, _)| *had >= began) {
                return Arc::clone(answer);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: asks whenever an answer is wanted.
    fn ask(&self, mut source: Box<dyn Source>, mut report: impl FnMut(Option<&str>)) {
        let (_, changed) = &*self.shared;
        let mut attempts = Attempts::new(self.pace.pauses);
        let mut reported: Option<Option<String>> = None;
        loop {
            let mut state = self.lock();
            while !state.wanted {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            let answer = attempts.ask(source.as_mut());
            let reason = match &answer {
                Answer::Node(_) => None,
                Answer::Unavailable(reason) => Some(reason.clone()),
            };
            let bytes = written(&Document::of(answer));
            let mut state = self.lock();
            (state.wanted, state.last) = (false, Some((Instant::now(), bytes)));
            drop(state);
            changed.notify_all();
            if reported.as_ref() != Some(&reason) {
                report(reason.as_deref());
                reported = Some(reason);
            }
        }
    }
}

impl State {
    fn younger_than(&self, age: Duration) -> Option<Arc<[u8]>> {
        self.last.as_ref().filter(|(had, _)| had.elapsed() < age).map(|(_, answer)| Arc::clone(answer))
    }
}

/// Asks; where NVML cannot be had, not again before a pause that doubles each time.
struct Attempts {
    first: Duration,
    longest: Duration,
    next: Duration,
    /// Why it failed, and until when it is not tried again.
    failed: Option<(String, Instant)>,
}

impl Attempts {
    const fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first, failed: None }
    }

    fn ask(&mut self, source: &mut dyn Source) -> Answer {
        if let Some((reason, _)) = self.failed.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Answer::Unavailable(reason.clone());
        }
        match source.read() {
            Ok(raw) => {
                (self.failed, self.next) = (None, self.first);
                Answer::Node(sift(raw))
            }
            Err(reason) => {
                self.failed = Some((reason.clone(), Instant::now() + self.next));
                self.next = (self.next * 2).min(self.longest);
                Answer::Unavailable(reason)
            }
        }
    }
}

fn written(document: &Document) -> Arc<[u8]> {
    document.to_json().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::raw::Raw;

    const PACE: Pace = Pace {
        fresh: Duration::from_millis(100),
        patience: Duration::from_millis(300),
        pauses: (Duration::from_millis(50), Duration::from_millis(200)),
    };

    /// Answers as the closure says, and counts how often it is asked.
    struct Told<F>(F, Arc<AtomicUsize>);

    impl<F: FnMut(usize) -> Result<Raw, String> + Send> Source for Told<F> {
        fn read(&mut self) -> Result<Raw, String> {
            (self.0)(self.1.fetch_add(1, Ordering::Relaxed))
        }
    }

    fn keeper(
        says: impl FnMut(usize) -> Result<Raw, String> + Send + 'static,
        to: Sender<Option<String>>,
    ) -> (Keeper, Arc<AtomicUsize>) {
        let asked = Arc::default();
        let source = Box::new(Told(says, Arc::clone(&asked)));
        let report = move |reason: Option<&str>| drop(to.send(reason.map(str::to_owned)));
        (Keeper::start(source, PACE, report).unwrap(), asked)
    }

    fn answer(keeper: &Keeper) -> Answer {
        Document::from_json(&keeper.document()).unwrap().answer
    }

    fn raw() -> Result<Raw, String> {
        Ok(Raw { driver: Ok("1".to_owned()), devices: Vec::new() })
    }

    #[test]
    fn however_many_ask_nvml_is_asked_once_in_a_while() {
        let (keeper, asked) = keeper(|_| raw(), channel().0);
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert!(matches!(answer(&keeper), Answer::Node(_))));
            }
        });
        let most = 1 + started.elapsed().as_millis() / PACE.fresh.as_millis();
        assert!(asked.load(Ordering::Relaxed) as u128 <= 1 + most);
        thread::sleep(PACE.fresh);
        let before = asked.load(Ordering::Relaxed);
        answer(&keeper);
        assert_eq!(asked.load(Ordering::Relaxed), before + 1, "an old answer is not given again");
    }

    #[test]
    fn nvml_that_fails_is_tried_again_after_pauses_and_told_of_once() {
        let (to, told) = channel();
        let (keeper, asked) = keeper(|count| if count < 3 { Err("no driver".to_owned()) } else { raw() }, to);
        let started = Instant::now();
        while !matches!(answer(&keeper), Answer::Node(_)) {
            assert!(started.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(10));
        }
        // 50, 100 and 200 ms.
        assert!(started.elapsed() >= Duration::from_millis(350), "{:?}", started.elapsed());
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        drop(keeper);
        let told: Vec<_> = [told.recv().unwrap(), told.recv().unwrap()].into();
        assert_eq!(told, [Some("no driver".to_owned()), None]);
    }

    #[test]
    fn nvml_that_hangs_is_an_answer_and_comes_back() {
        let (go, wait) = channel();
        let slow = move |_| {
            wait.recv().unwrap();
            raw()
        };
        let (keeper, _) = keeper(slow, channel().0);
        let started = Instant::now();
        let Answer::Unavailable(reason) = answer(&keeper) else { panic!("it answers") };
        assert!(reason.contains("has not answered for 300ms"), "{reason}");
        assert!(started.elapsed() >= PACE.patience);
        (0..10).for_each(|_| go.send(()).unwrap());
        assert!(matches!(answer(&keeper), Answer::Node(_)));
    }
}
