//! The pods of one node: listed once, then watched.

use std::time::Duration;

use crate::client::Watch;
use crate::client::watch::Event;
use crate::object::{List, Meta, Pod};
use crate::{Client, Error, segment};

/// Pods asked for at once. A server that answers from its memory, as it is asked to, sends all of them.
const PAGE: usize = 100;

/// What has changed.
#[derive(Debug)]
pub enum Change {
    /// A pod is there, or is another one than before.
    Applied(Box<Pod>),
    /// The pod with this uid ([`Pod::uid`]) has gone.
    Gone(String),
}

/// A watch of the pods of a node.
#[derive(Debug)]
pub struct PodWatch {
    client: Client,
    node: String,
    version: String,
    watch: Watch,
    lasts: Duration,
}

fn path(node: &str) -> String {
    format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", segment(node))
}

/// Lists the pods of a node, page by page, and begins to watch them from there. `lasts`: after how long the server is
/// asked to end each watch, so that agents spread over its replicas.
///
/// # Errors
/// Whatever is in [`Error`].
pub async fn list_and_watch(client: &Client, node: &str, lasts: Duration) -> Result<(Vec<Pod>, PodWatch), Error> {
    let mut pods = Vec::new();
    let mut query = "&resourceVersion=0".to_owned();
    let version = loop {
        // From the server's memory: a listing from its store reads the pods of all nodes.
        let page: List<Pod> = client.json(&format!("{}&limit={PAGE}{query}", path(node))).await?;
        pods.extend(page.items);
        if page.metadata.more.is_empty() {
            break page.metadata.resource_version;
        }
        query = format!("&continue={}", segment(&page.metadata.more));
    };
    let watch = watch(client, node, &version, lasts).await?;
    Ok((pods, PodWatch { client: client.clone(), node: node.to_owned(), version, watch, lasts }))
}

async fn watch(client: &Client, node: &str, version: &str, lasts: Duration) -> Result<Watch, Error> {
    let query = format!("&watch=true&allowWatchBookmarks=true&resourceVersion={}", segment(version));
    client.watch(&(path(node) + &query), lasts).await
}

impl PodWatch {
    /// Waits for the next change. A watch that the server has ended in good order goes on by itself.
    ///
    /// # Errors
    /// Whatever is in [`Error`]; all has to be listed again then.
    pub async fn next(&mut self) -> Result<Change, Error> {
        loop {
            let change = match self.watch.next::<Pod>().await? {
                None => {
                    self.watch = watch(&self.client, &self.node, &self.version, self.lasts).await?;
                    continue;
                }
                Some(Event::Error(status)) => return Err(self.watch.failed(&status)),
                Some(Event::Bookmark(pod)) => {
                    self.note(&pod.metadata);
                    continue;
                }
                Some(Event::Added(pod) | Event::Modified(pod)) => {
                    self.note(&pod.metadata);
                    Change::Applied(Box::new(pod))
                }
                Some(Event::Deleted(pod)) => {
                    self.note(&pod.metadata);
                    Change::Gone(pod.uid().to_owned())
                }
            };
            return Ok(change);
        }
    }

    fn note(&mut self, meta: &Meta) {
        if !meta.resource_version.is_empty() {
            self.version.clone_from(&meta.resource_version);
        }
    }
}
