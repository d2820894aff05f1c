//! Addresses that the monitor before had: `/web/stats/<group>/<name>[/<namespace>]` leads to the page that has the same.

/// What Heapster's metrics are called here; `docs/names.md` says more. The first part ends where the metric's begins.
const NAMES: &[(&str, &str)] = &[
    ("cpu/limit", "podscope.container.cpu.limit"),
    ("cpu/node_allocatable", "k8s.node.cpu.allocatable"),
    ("cpu/node_capacity", "system.cpu.logical.count"),
    ("cpu/node_utilization", "k8s.node.cpu.usage"),
    ("cpu/request", "k8s.container.cpu.request.desired"),
    ("cpu/usage", "container.cpu.time"),
    ("cpu/usage_rate", "container.cpu.usage"),
    ("filesystem/available", "k8s.node.filesystem.available"),
    ("filesystem/inodes", "k8s.node.filesystem.inode.count"),
    ("filesystem/inodes_free", "k8s.node.filesystem.inode.free"),
    ("filesystem/limit", "k8s.node.filesystem.capacity"),
    ("filesystem/usage", "k8s.node.filesystem.usage"),
    ("gpu/usage", "podscope.container.gpu.memory.usage"),
    ("memory/cache", "podscope.container.memory.cache"),
    ("memory/limit", "podscope.container.memory.limit"),
    ("memory/major_page_faults", "container.paging.faults"),
    ("memory/major_page_faults_rate", "container.paging.faults"),
    ("memory/node_allocatable", "k8s.node.memory.allocatable"),
    ("memory/node_capacity", "system.memory.limit"),
    ("memory/node_utilization", "k8s.node.memory.working_set"),
    ("memory/page_faults", "container.paging.faults"),
    ("memory/page_faults_rate", "container.paging.faults"),
    ("memory/request", "k8s.container.memory.request.desired"),
    ("memory/rss", "container.memory.rss"),
    ("memory/usage", "container.memory.usage"),
    ("memory/working_set", "container.memory.working_set"),
    ("network/rx", "k8s.pod.network.io"),
    ("network/rx_errors", "k8s.pod.network.errors"),
    ("network/rx_errors_rate", "k8s.pod.network.errors"),
    ("network/rx_rate", "k8s.pod.network.io"),
    ("network/tx", "k8s.pod.network.io"),
    ("network/tx_errors", "k8s.pod.network.errors"),
    ("network/tx_errors_rate", "k8s.pod.network.errors"),
    ("network/tx_rate", "k8s.pod.network.io"),
    ("uptime", "container.uptime"),
];

/// The page in the place of `/web/stats/<of>`.
pub(super) fn page(of: &str) -> String {
    let parts: Vec<&str> = of.split('/').filter(|part| !part.is_empty()).collect();
    let (name, namespace) = match parts.as_slice() {
        ["uptime"] => ("uptime".to_owned(), None),
        ["uptime", namespace] => ("uptime".to_owned(), Some(*namespace)),
        [group, name] => (format!("{group}/{name}"), None),
        [group, name, namespace] => (format!("{group}/{name}"), Some(*namespace)),
        _ => return "/web".to_owned(),
    };
    let metric = NAMES.iter().find(|(older, _)| *older == name);
    // Of a name that is not known the page says so itself.
    let metric = metric.map_or_else(|| name.replace('/', "."), |(_, metric)| (*metric).to_owned());
    let mut page = format!("/web/explore?metric={}&by=namespace%2Cpod%2Ccontainer%2Cnode", encoded(&metric));
    if let Some(namespace) = namespace {
        page.push_str("&namespace=");
        page.push_str(&encoded(namespace));
    }
    page
}

/// As the value of a query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut to, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => to.push(char::from(byte)),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
        to
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages' table, against that of the documentation: what has a metric there leads to one of them.
    #[test]
    fn every_older_name_leads_to_its_metric() {
        let text = include_str!("../../../../docs/names.md");
        let table = text.split("## ").find(|part| part.starts_with("Heapster")).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let mut looked_at = 0;
        for (older, rest) in rows.filter(|(_, rest)| rest.starts_with('`')) {
            let metrics = rest.split('|').next().unwrap();
            let here = NAMES.iter().find(|(name, _)| *name == older).unwrap_or_else(|| panic!("{older} is missing")).1;
            assert!(metrics.contains(&format!("`{here}`")), "{older}: {here} is not among {metrics}");
            looked_at += 1;
        }
        assert!(looked_at > 25, "{looked_at}");
        for (older, metric) in NAMES {
            assert!(podscope_catalog::METRICS.iter().any(|row| row.name == *metric), "{older}: there is no {metric}");
        }
    }

    #[test]
    fn namespaces_go_along_and_nothing_leaves_the_query() {
        assert_eq!(
            page("cpu/usage_rate"),
            "/web/explore?metric=container.cpu.usage&by=namespace%2Cpod%2Ccontainer%2Cnode"
        );
        assert!(
            page("uptime/shop")
                .ends_with("metric=container.uptime&by=namespace%2Cpod%2Ccontainer%2Cnode&namespace=shop")
        );
        assert!(page("memory/usage/a&by=b#c").ends_with("&namespace=a%26by%3Db%23c"));
        assert!(page("own/metric").contains("metric=own.metric&"));
        for index in ["", "index", "cpu", "a/b/c/d"] {
            assert_eq!(page(index), "/web", "{index}");
        }
    }
}
