//! Entries for fuzzing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use containerd_client::services::v1::{GetContainerResponse, ListTasksResponse};
use containerd_client::types::Envelope;
use k8s_cri::v1::{ContainerStatusResponse, ListContainersResponse, ListPodSandboxResponse, VersionResponse};
use prost::Message;

use super::Shared;
use super::cache::Cache;
use super::containerd::{announce, main_processes};
use super::cri::{Listing, Started};
use super::meta::ContainerMeta;

/// Most entries of the cache.
const MOST: usize = 16;
/// Longest text that is kept of a pod.
const LONGEST: usize = 317;

/// Any bytes are answers of a container runtime, each after its kind in one byte and its length in two; what is kept
/// of them has its bounds.
pub fn runtime_answer(mut data: &[u8]) {
    let shared = Shared::default();
    let mut cache = Cache::new(MOST, Duration::from_secs(300));
    let mut listing = Listing::default();
    let now = Instant::now();
    while let Some(([kind, low, high], rest)) = data.split_first_chunk() {
        let (body, after) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        data = after;
        take(*kind, body, &mut listing, &mut cache, &shared);
        cache.update(&listing, now);
        check(&mut cache);
    }
}

/// Takes one answer as the worker does.
fn take(kind: u8, body: &[u8], listing: &mut Listing, cache: &mut Cache, shared: &Shared) {
    match kind % 7 {
        0 => listing.sandboxes = ListPodSandboxResponse::decode(body).unwrap_or_default().items,
        1 => listing.containers = ListContainersResponse::decode(body).unwrap_or_default().containers,
        2 => {
            let started = ContainerStatusResponse::decode(body).map(Started::of).unwrap_or_default();
            let known: Vec<Arc<str>> = cache.unstarted().cloned().collect();
            known.iter().for_each(|id| cache.set_started(id, started));
        }
        3 => {
            let answer = GetContainerResponse::decode(body).unwrap_or_default();
            answer
                .container
                .as_ref()
                .and_then(ContainerMeta::from_containerd)
                .into_iter()
                .for_each(|meta| cache.add(meta));
        }
        4 => cache.set_pids(&main_processes(ListTasksResponse::decode(body).unwrap_or_default().tasks)),
        5 => announce(&Envelope::decode(body).unwrap_or_default(), shared),
        _ => drop(VersionResponse::decode(body)),
    }
}

fn check(cache: &mut Cache) {
    let Some(containers) = cache.take_changed() else { return };
    assert!(containers.len() <= MOST);
    for meta in containers.values() {
        let pod = &meta.pod;
        let texts = [&meta.id, &meta.name, &meta.image, &pod.uid, &pod.name, &pod.namespace, &pod.sandbox_id];
        let labels = pod.labels.iter().flat_map(|(key, value)| [key, value]);
        assert!(texts.into_iter().chain(labels).all(|text| text.len() <= LONGEST), "{meta:?}");
        assert!(pod.labels.len() <= 64 && pod.labels.is_sorted(), "{meta:?}");
        pod.vm();
    }
}
