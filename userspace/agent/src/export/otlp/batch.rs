//! What is sent together: a snapshot, and the last words of ended series that an earlier one could not deliver.

use std::sync::Arc;

use crate::snapshot::{Resource, Snapshot};

/// A resource and the time of its points.
#[derive(Clone, Debug)]
pub(super) struct LastWord {
    /// Time of the collection, ns since the Unix epoch.
    pub(super) time_ns: u64,
    /// The ended resource.
    pub(super) resource: Resource,
}

/// Resources to be sent, addressed by index: first the last words, then those of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Batch {
    last_words: Vec<LastWord>,
    snapshot: Arc<Snapshot>,
    /// Indices into the snapshot's resources.
    chosen: Vec<usize>,
}

impl Batch {
    /// The resources of `snapshot` that `choose` wants, ended ones first.
    pub(super) fn new(snapshot: Arc<Snapshot>, mut choose: impl FnMut(&Resource) -> bool) -> Self {
        let mut chosen: Vec<usize> =
            (0..snapshot.resources.len()).filter(|&i| choose(&snapshot.resources[i])).collect();
        chosen.sort_by_key(|&i| !snapshot.resources[i].ended);
        Self { last_words: Vec::new(), snapshot, chosen }
    }

    /// Adds last words of earlier snapshots.
    pub(super) fn with(mut self, last_words: Vec<LastWord>) -> Self {
        self.last_words = last_words;
        self
    }

    /// Resource `index` and the time of its points in ns since the Unix epoch; `None` past the end.
    pub(super) fn get(&self, index: usize) -> Option<(u64, &Resource)> {
        if let Some(word) = self.last_words.get(index) {
            return Some((word.time_ns, &word.resource));
        }
        let chosen = self.chosen.get(index - self.last_words.len())?;
        Some((self.snapshot.time_ns, self.snapshot.resources.get(*chosen)?))
    }

    /// Resources from `index` on.
    pub(super) fn from(&self, index: usize) -> impl Iterator<Item = (u64, &Resource)> {
        (index..).map_while(|i| self.get(i))
    }

    /// The last words among the resources from `index` on, to be carried into a later batch.
    pub(super) fn last_words(&self, index: usize) -> impl Iterator<Item = LastWord> {
        self.from(index)
            .filter(|(_, resource)| resource.ended)
            .map(|(time_ns, resource)| LastWord { time_ns, resource: resource.clone() })
    }

    /// Points of the resources from `index` on, without the last words.
    pub(super) fn living_points(&self, index: usize) -> u64 {
        self.from(index).filter(|(_, r)| !r.ended).map(|(_, r)| r.points.len() as u64).sum()
    }

    /// All points.
    pub(super) fn points(&self) -> u64 {
        self.from(0).map(|(_, r)| r.points.len() as u64).sum()
    }
}
