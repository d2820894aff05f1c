//! What is sent together: a snapshot, and the last words of ended series that an earlier one could not deliver.

use std::sync::Arc;

use crate::snapshot::{Resource, Snapshot};

/// A place in a batch: a resource, and a point of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    /// Index into the batch.
    pub(super) resource: usize,
    /// Index into the resource's points; above 0 only where one resource alone is too large for a request.
    pub(super) point: usize,
}

/// An ended resource that is still to be sent, and the time of its points.
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
    /// Indices into the snapshot's resources, ended ones first.
    chosen: Vec<usize>,
}

impl Batch {
    /// The resources of `snapshot` that `choose` wants.
    pub(super) fn new(snapshot: Arc<Snapshot>, mut choose: impl FnMut(&Resource) -> bool) -> Self {
        let all = snapshot.resources.iter().enumerate();
        let mut chosen: Vec<usize> = all.filter(|(_, resource)| choose(resource)).map(|(at, _)| at).collect();
        chosen.sort_by_key(|&at| !snapshot.resources[at].ended);
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

    /// Resources.
    pub(super) fn len(&self) -> usize {
        self.last_words.len() + self.chosen.len()
    }

    /// The ended resources from `from` on, to be carried into a later batch.
    pub(super) fn last_words(&self, from: Cursor) -> Vec<LastWord> {
        let ended = self.rest(from).filter(|(.., resource)| resource.ended);
        ended
            .map(|(skip, time_ns, resource)| {
                let mut resource = resource.clone();
                resource.points.drain(..skip);
                LastWord { time_ns, resource }
            })
            .collect()
    }

    /// Points from `from` on.
    pub(super) fn points(&self, from: Cursor) -> u64 {
        self.rest(from).map(|(skip, _, resource)| (resource.points.len() - skip) as u64).sum()
    }

    /// Points of resources from `from` on that have not ended.
    pub(super) fn living_points(&self, from: Cursor) -> u64 {
        let living = self.rest(from).filter(|(.., resource)| !resource.ended);
        living.map(|(skip, _, resource)| (resource.points.len() - skip) as u64).sum()
    }

    /// Resources from `from` on, each with the number of its points that are already done, and their time.
    fn rest(&self, from: Cursor) -> impl Iterator<Item = (usize, u64, &Resource)> {
        (from.resource..self.len()).filter_map(move |at| {
            let (time_ns, resource) = self.get(at)?;
            let skip = if at == from.resource { from.point.min(resource.points.len()) } else { 0 };
            Some((skip, time_ns, resource))
        })
    }
}
