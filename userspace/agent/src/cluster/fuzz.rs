//! Entries for fuzzing.

use podscope_cluster::metrics::{NodeMetrics, PodMetrics};
use podscope_cluster::object::List;
use podscope_cluster::{Node, Pod, Quantity, duration, kubelet};

use super::facts::Workload;
use super::figures::Figures;
use super::{NodeFacts, PodFacts};

/// Any bytes are an answer of the Kubernetes API or of a kubelet; the first one says of which kind.
pub fn cluster_answer(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(body);
    match kind % 6 {
        0 => {
            let first = Figures::of_kubelet(kubelet::parse(&text), &Figures::default(), 1);
            let second = Figures::of_kubelet(kubelet::parse(&text), &first, 2);
            assert_eq!(first.all.len(), second.all.len(), "the same page has the same subjects");
        }
        1 => {
            let pods = serde_json::from_slice::<List<Pod>>(body).map_or_else(|_| Vec::new(), |list| list.items);
            pods.iter().map(|pod| PodFacts::of(pod, "node1")).for_each(|facts| {
                let Workload { kind, name, qos } = &facts.workload;
                assert!([kind, name, qos].iter().all(|text| !text.contains(char::is_control)), "{facts:?}");
            });
        }
        2 => drop(serde_json::from_slice::<Node>(body).map(|node| NodeFacts::of(&node))),
        3 => {
            let pods = serde_json::from_slice::<List<PodMetrics>>(body).map_or_else(|_| Vec::new(), |list| list.items);
            if let Ok(node) = serde_json::from_slice::<NodeMetrics>(body) {
                Figures::of_api(&node, &pods);
            }
        }
        4 => drop(text.parse::<Quantity>().map(|quantity| (quantity.as_f64(), quantity.whole()))),
        _ => drop(duration::parse(&text)),
    }
}
