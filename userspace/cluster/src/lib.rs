//! What podscope needs of the Kubernetes API: the way in, quantities, pods and nodes as far as they are used,
//! metrics.k8s.io, and what a kubelet says of itself.
//!
//! | module | what it does |
//! |---|---|
//! | `access` | kubeconfig or service account; which files it reads |
//! | `client` | one server: calls and watches with bounds of time and size |
//! | `error` | what can go wrong, as a closed set of states |
//! | `backoff` | pauses with jitter |
//! | `quantity`, `duration` | `1.5Gi`, `15.002s` |
//! | `object`, `pods` | pods and nodes, trimmed; the pods of one node, watched |
//! | `metrics` | metrics.k8s.io |
//! | `kubelet` | `/metrics/resource` |
//!
//! Configuration, credentials and TLS are kube's. Its client is not used: it reads answers of any size, and nothing of
//! their headers.

mod access;
mod backoff;
mod client;
pub mod duration;
mod error;
pub mod kubelet;
pub mod metrics;
pub mod object;
pub mod pods;
mod quantity;

pub use access::{Access, Endpoint, NotConfigured, Trust};
pub use backoff::{Backoff, jittered};
pub use client::{Client, Offset, Watch};
pub use error::{Counters, Error, Outcome};
pub use object::{Amounts, Node, Pod, Resources, Workload};
pub use quantity::{NoQuantity, Quantity};

/// What may stand in a segment of a path or a value of a query as it is.
const PLAIN: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn segment(text: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(text, PLAIN)
}

/// One node object: one GET.
///
/// # Errors
/// Whatever is in [`Error`].
pub async fn node(client: &Client, name: &str) -> Result<Node, Error> {
    client.json(&format!("/api/v1/nodes/{}", segment(name))).await
}
