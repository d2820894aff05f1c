//! A consumer of `/metrics` that adds up increments, as `increase()` does over a window that knows every sample.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use super::agent::{Agent, page};
use super::page::{Labels, Page, Sample};

/// More often than the agent collects.
const EVERY: Duration = Duration::from_millis(150);

/// The increments of every series since the first page.
#[derive(Default)]
pub(crate) struct Increments {
    last: HashMap<String, f64>,
    grown: HashMap<String, (Sample, f64)>,
}

impl Increments {
    fn take(&mut self, page: &Page, first: bool) {
        for sample in &page.samples {
            let before = self.last.insert(sample.series.clone(), sample.value);
            let grown = match before {
                _ if first => 0.0,
                // A series that comes starts at zero, and one that falls has begun again at zero.
                Some(before) if sample.value >= before => sample.value - before,
                _ => sample.value,
            };
            let entry = self.grown.entry(sample.series.clone()).or_insert_with(|| (sample.clone(), 0.0));
            entry.1 += grown;
        }
    }

    /// How much the series of a metric with these labels have grown, all together.
    pub(crate) fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        let wanted = |sample: &Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        let of_name = self.grown.values().filter(|(sample, _)| sample.name == name);
        of_name.filter(|(sample, _)| wanted(sample)).map(|(_, grown)| grown).sum()
    }
}

/// A thread that reads every page of an agent.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Increments>,
}

impl Watch {
    /// Begins with the page that is there now.
    pub(crate) fn start(agent: &Agent) -> Self {
        let address = agent.address;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut increments = Increments::default();
        increments.take(&page(address), true);
        let thread = std::thread::spawn(move || {
            loop {
                let last = stopped.load(Ordering::Relaxed);
                increments.take(&page(address), false);
                if last {
                    return increments;
                }
                sleep(EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Ends with the page that is there now.
    pub(crate) fn finish(self) -> Increments {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
