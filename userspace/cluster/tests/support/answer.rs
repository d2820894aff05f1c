//! What the server answers: the recorded objects, found as the real ones are.

use serde_json::{Value, json};

/// The recorded answers.
pub(crate) struct Recorded;

impl Recorded {
    pub(crate) const NODES: &str = include_str!("../../testdata/api_v1_nodes.json");
    pub(crate) const PODS: &str = include_str!("../../testdata/api_v1_pods.json");
    pub(crate) const METRICS_NODES: &str = include_str!("../../testdata/metrics_nodes.json");
    pub(crate) const METRICS_PODS: &str = include_str!("../../testdata/metrics_pods.json");
    pub(crate) const KUBELET: &str = include_str!("../../testdata/kubelet-metrics-resource.txt");

    /// The items of a recorded list.
    pub(crate) fn items(list: &str) -> Vec<Value> {
        let list: Value = serde_json::from_str(list).unwrap();
        list["items"].as_array().unwrap().clone()
    }
}

/// Objects of a cluster.
pub(crate) struct Answers {
    pub(crate) nodes: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) node_metrics: Vec<Value>,
    pub(crate) pod_metrics: Vec<Value>,
    /// The kubelet's page; made anew for each question.
    pub(crate) kubelet: Box<dyn Fn() -> String + Send>,
    /// Most pods of a page that lists them.
    pub(crate) page: usize,
    /// Whether metrics-server is there.
    pub(crate) metrics_server: bool,
}

impl Answers {
    pub(crate) fn recorded() -> Self {
        Self {
            nodes: Recorded::items(Recorded::NODES),
            pods: Recorded::items(Recorded::PODS),
            node_metrics: Recorded::items(Recorded::METRICS_NODES),
            pod_metrics: Recorded::items(Recorded::METRICS_PODS),
            kubelet: Box::new(|| Recorded::KUBELET.to_owned()),
            page: usize::MAX,
            metrics_server: true,
        }
    }

    /// Status and body.
    pub(crate) fn to(&self, question: &str) -> (u16, String) {
        let (path, query) = question.split_once('?').unwrap_or((question, ""));
        let query = query.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let parameter = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).next()
        };
        let missing = (404, status(404, "the server could not find the requested resource"));
        let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match *steps.as_slice() {
            ["metrics", "resource"] => (200, (self.kubelet)()),
            ["api", "v1", "pods"] => self.pods(parameter("fieldSelector"), parameter("continue")),
            ["api", "v1", "nodes", name] => found(&self.nodes, |meta| meta["name"] == name),
            _ if !self.metrics_server => missing,
            ["apis", "metrics.k8s.io", "v1beta1", "nodes"] => list("NodeMetricsList", self.node_metrics.clone()),
            ["apis", "metrics.k8s.io", "v1beta1", "nodes", name] => {
                found(&self.node_metrics, |meta| meta["name"] == name)
            }
            ["apis", "metrics.k8s.io", "v1beta1", "pods"] => {
                let wanted = parameter("labelSelector").unwrap_or_default();
                let wanted: Vec<_> = wanted.split(',').filter_map(|pair| pair.split_once('=')).collect();
                let fits = |pod: &&Value| wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
                list("PodMetricsList", self.pod_metrics.iter().filter(fits).cloned().collect())
            }
            ["apis", "metrics.k8s.io", "v1beta1", "namespaces", namespace, "pods", name] => {
                found(&self.pod_metrics, |meta| meta["name"] == name && meta["namespace"] == namespace)
            }
            _ => missing,
        }
    }

    fn pods(&self, fields: Option<String>, from: Option<String>) -> (u16, String) {
        // A watch or list of all pods is what must not happen.
        let Some(node) = fields.as_deref().and_then(|fields| fields.strip_prefix("spec.nodeName=")) else {
            return (403, status(403, "pods is forbidden: this account may not list the pods of all nodes"));
        };
        let of_node = self.pods.iter().filter(|pod| pod["spec"]["nodeName"] == node);
        let from = from.map_or(0, |from| from.parse().unwrap());
        let rest: Vec<Value> = of_node.skip(from).cloned().collect();
        let mut meta = json!({ "resourceVersion": "325" });
        if rest.len() > self.page {
            meta["continue"] = (from + self.page).to_string().into();
        }
        let items: Vec<Value> = rest.into_iter().take(self.page).collect();
        (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items }).to_string())
    }
}

fn list(kind: &str, items: Vec<Value>) -> (u16, String) {
    let list = json!({ "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items });
    (200, list.to_string())
}

fn found(items: &[Value], wanted: impl Fn(&Value) -> bool) -> (u16, String) {
    match items.iter().find(|item| wanted(&item["metadata"])) {
        Some(item) => (200, item.to_string()),
        None => (404, status(404, "not found")),
    }
}

/// A `metav1.Status`.
pub(crate) fn status(code: u16, message: &str) -> String {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    status.to_string()
}
