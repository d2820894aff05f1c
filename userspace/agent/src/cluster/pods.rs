//! Keeps the pods of this node.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use podscope_cluster::pods::{Change, list_and_watch};
use podscope_cluster::{Error, Pod, jittered};

use super::session::Session;
use super::{PodFacts, Pods};

/// Pods of one node that are kept; a kubelet takes 110 unless it is told otherwise.
const MOST: usize = 2048;
/// How long a watch lasts, about.
const WATCH: Duration = Duration::from_secs(480);

pub(super) async fn keep(mut session: Session, node: String) {
    loop {
        let Err(error) = watch(&mut session, &node).await;
        session.fails(&error).await;
    }
}

async fn watch(session: &mut Session, node: &str) -> Result<Infallible, Error> {
    let client = session.connect()?;
    let (listed, mut watch) = list_and_watch(&client, node, jittered(WATCH)).await?;
    let mut pods = Pods::with_capacity(listed.len());
    for pod in &listed {
        apply(session, &mut pods, pod, node);
    }
    drop(listed);
    session.shared.set_pods(pods.clone());
    session.works();
    session.compare_clocks(&client);
    loop {
        let changed = match watch.next().await? {
            Change::Applied(pod) => apply(session, &mut pods, &pod, node),
            Change::Gone(uid) => pods.remove(uid.as_str()).is_some(),
        };
        // Most changes are of conditions and counters that are not kept.
        if changed {
            session.shared.set_pods(pods.clone());
        }
    }
}

/// Whether anything is different now.
fn apply(session: &Session, pods: &mut Pods, pod: &Pod, node: &str) -> bool {
    let uid = pod.uid();
    let facts = PodFacts::of(pod, node);
    match pods.get(uid) {
        Some(known) if **known == facts => false,
        None if uid.is_empty() || pods.len() >= MOST => {
            session.shared.pods_dropped.fetch_add(1, Ordering::Relaxed);
            false
        }
        _ => {
            pods.insert(Arc::from(uid), Arc::new(facts));
            true
        }
    }
}
