//! What the runtime has said so far. Sans-IO: takes answers and `now`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_cri::v1::{Container, ContainerState};

use super::cri::{Listing, Started};
use super::meta::{ContainerMeta, MAX_ID, PodMeta};
use super::{Containers, Stats};

/// All containers known, and those that were until lately.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    most: usize,
    keep_gone: Duration,
    changed: bool,
    /// Counted here: evictions, malformed answers, truncated labels.
    pub(super) counts: Stats,
}

#[derive(Debug)]
struct Entry {
    meta: Arc<ContainerMeta>,
    running: bool,
    gone_since: Option<Instant>,
}

impl Cache {
    /// At most `most` entries; those that the runtime lists no more are kept for `keep_gone`.
    pub(super) fn new(most: usize, keep_gone: Duration) -> Self {
        Self { entries: HashMap::new(), most, keep_gone, changed: false, counts: Stats::default() }
    }

    /// Whether it is known.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// The map for readers, if it has changed since the last call.
    pub(super) fn take_changed(&mut self) -> Option<Containers> {
        let map = || self.entries.values().map(|entry| (Arc::clone(&entry.meta.id), Arc::clone(&entry.meta)));
        std::mem::take(&mut self.changed).then(|| map().collect())
    }

    /// Takes a complete listing.
    pub(super) fn update(&mut self, listing: &Listing, now: Instant) {
        let ids = listing.sandboxes.iter().map(|sandbox| sandbox.id.as_str());
        let listed: HashSet<_> = ids.chain(listing.containers.iter().map(|container| container.id.as_str())).collect();
        self.retire(&listed, now);
        for sandbox in &listing.sandboxes {
            if self.is_id(&sandbox.id) {
                let pod = self.pod(PodMeta::from_sandbox(sandbox));
                self.insert(ContainerMeta::of_sandbox(pod), true);
            }
        }
        for container in &listing.containers {
            if let Some(pod) = self.pod_of(container) {
                let running = container.state() == ContainerState::ContainerRunning;
                self.insert(ContainerMeta::from_container(container, pod), running);
            }
        }
    }

    /// Takes what only the metadata store knew.
    pub(super) fn add(&mut self, mut meta: ContainerMeta) {
        let same_pod = |entry: &&Entry| entry.meta.is_sandbox && entry.meta.pod.uid == meta.pod.uid;
        if !meta.is_sandbox
            && let Some(sandbox) = self.entries.values().filter(same_pod).max_by_key(|entry| entry.meta.created_at_ns)
        {
            meta.pod = Arc::clone(&sandbox.meta.pod);
        }
        self.insert(meta, true);
    }

    /// Takes the main processes of all containers.
    pub(super) fn set_pids(&mut self, pids: &HashMap<String, u32>) {
        for (id, entry) in &mut self.entries {
            let pid = pids.get(&**id).copied();
            if entry.meta.pid != pid {
                Arc::make_mut(&mut entry.meta).pid = pid;
                self.changed = true;
            }
        }
    }

    /// Takes what a container's status says.
    pub(super) fn set_started(&mut self, id: &str, started: Started) {
        if let Some(entry) = self.entries.get_mut(id) {
            let meta = Arc::make_mut(&mut entry.meta);
            meta.started_at_ns = started.at_ns;
            meta.pid = started.pid.or(meta.pid);
            self.changed = true;
        }
    }

    /// Running containers whose start is not known yet.
    pub(super) fn unstarted(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_unstarted =
            |entry: &&Entry| entry.running && !entry.meta.is_sandbox && entry.meta.started_at_ns.is_none();
        self.entries.values().filter(is_unstarted).map(|entry| &entry.meta.id)
    }

    /// Marks what is listed no more, and forgets what has been so for long.
    fn retire(&mut self, listed: &HashSet<&str>, now: Instant) {
        let before = self.entries.len();
        self.entries.retain(|id, entry| {
            if listed.contains(&**id) {
                return true;
            }
            let since = *entry.gone_since.get_or_insert(now);
            entry.running = false;
            if entry.meta.pid.is_some() {
                Arc::make_mut(&mut entry.meta).pid = None;
                self.changed = true;
            }
            now.duration_since(since) < self.keep_gone
        });
        self.changed |= self.entries.len() != before;
    }

    /// The pod as it is shared already, if nothing about it is new.
    fn pod(&mut self, pod: PodMeta) -> Arc<PodMeta> {
        if let Some(known) = self.entries.get(&pod.sandbox_id)
            && *known.meta.pod == pod
        {
            return Arc::clone(&known.meta.pod);
        }
        self.counts.truncated_labels += u64::from(pod.labels_truncated);
        Arc::new(pod)
    }

    /// The pod of a listed container: its sandbox's, or as its own labels say where the sandbox is gone already.
    fn pod_of(&mut self, container: &Container) -> Option<Arc<PodMeta>> {
        if !self.is_id(&container.id) {
            return None;
        }
        if let Some(sandbox) = self.entries.get(container.pod_sandbox_id.as_str()) {
            return Some(Arc::clone(&sandbox.meta.pod));
        }
        let known = self.entries.get(container.id.as_str()).map(|entry| Arc::clone(&entry.meta.pod));
        let by_labels = PodMeta::from_labels(&container.labels, &container.pod_sandbox_id).map(Arc::new);
        let pod = known.or(by_labels);
        self.counts.malformed += u64::from(pod.is_none());
        pod
    }

    fn is_id(&mut self, id: &str) -> bool {
        let good = !id.is_empty() && id.len() <= MAX_ID;
        self.counts.malformed += u64::from(!good);
        good
    }

    /// Adds an entry or replaces it, keeping what a listing does not say.
    fn insert(&mut self, mut meta: ContainerMeta, running: bool) {
        if let Some(entry) = self.entries.get_mut(&meta.id) {
            meta.started_at_ns = entry.meta.started_at_ns;
            meta.pid = entry.meta.pid.filter(|_| running);
            entry.running = running;
            entry.gone_since = None;
            if *entry.meta != meta {
                entry.meta = Arc::new(meta);
                self.changed = true;
            }
            return;
        }
        if self.entries.len() >= self.most {
            self.counts.evictions += 1;
            if !self.evict_gone() {
                return;
            }
        }
        let entry = Entry { meta: Arc::new(meta), running, gone_since: None };
        self.entries.insert(Arc::clone(&entry.meta.id), entry);
        self.changed = true;
    }

    /// Forgets the entry that has been gone for longest. `false`: all are still there.
    fn evict_gone(&mut self) -> bool {
        let gone = self.entries.iter().filter_map(|(id, entry)| Some((entry.gone_since?, id)));
        let oldest = gone.min().map(|(_, id)| Arc::clone(id));
        oldest.is_some_and(|id| self.entries.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use k8s_cri::v1::PodSandbox;

    use super::*;

    const KEEP: Duration = Duration::from_secs(300);

    fn listing(sandboxes: &[&str], containers: &[(&str, &str)]) -> Listing {
        let sandbox = |id: &&str| PodSandbox { id: (*id).to_owned(), ..Default::default() };
        let container = |(id, sandbox): &(&str, &str)| Container {
            id: (*id).to_owned(),
            pod_sandbox_id: (*sandbox).to_owned(),
            state: ContainerState::ContainerRunning.into(),
            ..Default::default()
        };
        Listing {
            sandboxes: sandboxes.iter().map(sandbox).collect(),
            containers: containers.iter().map(container).collect(),
        }
    }

    #[test]
    fn nothing_changes_when_nothing_is_new() {
        let mut cache = Cache::new(10, KEEP);
        let now = Instant::now();
        let same = listing(&["s"], &[("c", "s")]);
        cache.update(&same, now);
        cache.set_pids(&HashMap::from([("c".to_owned(), 7)]));
        cache.set_started("c", Started { at_ns: Some(5), pid: None });
        let before = cache.take_changed().unwrap();
        assert_eq!((before["c"].pid, before["c"].started_at_ns), (Some(7), Some(5)));
        assert!(Arc::ptr_eq(&before["c"].pod, &before["s"].pod));
        cache.update(&same, now);
        cache.set_pids(&HashMap::from([("c".to_owned(), 7)]));
        assert_eq!(cache.take_changed(), None);
        assert_eq!(cache.unstarted().count(), 0);
    }

    #[test]
    fn what_has_gone_stays_known_for_a_while_without_its_process() {
        let mut cache = Cache::new(10, KEEP);
        let start = Instant::now();
        cache.update(&listing(&["s"], &[("c", "s")]), start);
        cache.set_pids(&HashMap::from([("c".to_owned(), 7)]));
        cache.update(&listing(&[], &[]), start);
        assert_eq!(cache.take_changed().unwrap()["c"].pid, None);
        cache.update(&listing(&[], &[]), start + KEEP - Duration::from_secs(1));
        assert!(cache.contains("c"));
        cache.update(&listing(&[], &[]), start + KEEP);
        assert!(!cache.contains("c"));
        assert_eq!(cache.counts.evictions, 0);
    }

    #[test]
    fn a_container_whose_sandbox_is_gone_keeps_its_pod_and_one_without_any_is_counted() {
        let mut cache = Cache::new(10, Duration::ZERO);
        let now = Instant::now();
        cache.update(&listing(&["s"], &[("c", "s")]), now);
        cache.update(&listing(&[], &[("c", "s"), ("stray", "unknown")]), now);
        let map = cache.take_changed().unwrap();
        assert_eq!(&*map["c"].pod.sandbox_id, "s");
        assert!(!map.contains_key("stray") && !map.contains_key("s"));
        assert_eq!(cache.counts.malformed, 1);
    }

    #[test]
    fn when_it_is_full_the_longest_gone_makes_room_and_the_living_stay() {
        let mut cache = Cache::new(3, KEEP);
        let start = Instant::now();
        cache.update(&listing(&["a", "b", "c"], &[]), start);
        cache.update(&listing(&["a", "c"], &[]), start);
        cache.update(&listing(&["c"], &[]), start + Duration::from_secs(1));
        cache.update(&listing(&["c", "d"], &[]), start + Duration::from_secs(2));
        assert!(!cache.contains("b") && ["a", "c", "d"].iter().all(|id| cache.contains(id)));
        cache.update(&listing(&["c", "d", "e", "f"], &[]), start + Duration::from_secs(3));
        assert!(["c", "d", "e"].iter().all(|id| cache.contains(id)) && !cache.contains("f"));
        assert_eq!(cache.counts.evictions, 3);
    }
}
