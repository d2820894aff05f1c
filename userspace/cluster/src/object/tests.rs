//! Recorded pods and nodes, and what is derived from them.

use super::*;

fn recorded() -> Vec<Pod> {
    serde_json::from_str::<List<Pod>>(include_str!("../../testdata/api_v1_pods.json")).unwrap().items
}

#[test]
fn requests_limits_and_quality_of_service_are_read() {
    let pods = recorded();
    let web = &pods[1];
    assert_eq!((web.status.qos_class.as_str(), web.status.phase.as_str()), ("Burstable", "Running"));
    let all: Vec<_> = web.resources().collect();
    assert_eq!(all.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["app", "sidecar"]);
    let (_, wanted, current) = &all[0];
    assert_eq!(wanted.requests.cpu.map(Quantity::nanos), Some(100_000_000));
    assert_eq!(wanted.limits.memory.and_then(Quantity::whole), Some(64 << 20));
    assert_eq!(current.as_ref(), Some(wanted), "nothing was resized");
    assert_eq!((all[1].1, all[1].2), (Resources::default(), Some(Resources::default())));
}

#[test]
fn a_quantity_that_is_none_spoils_nothing_else() {
    let amounts: Amounts =
        serde_json::from_str(r#"{"cpu":"many","memory":"1Gi","pods":110,"example.com/gpu":"1"}"#).unwrap();
    assert_eq!((amounts.cpu, amounts.memory.and_then(Quantity::whole)), (None, Some(1 << 30)));
    assert_eq!(amounts.pods.and_then(Quantity::whole), Some(110));
}

fn owned(owners: &[(&str, &str, bool)], hash: Option<&str>) -> Pod {
    let mut pod = recorded().remove(1);
    let owner = |&(kind, name, controller): &(&str, &str, bool)| OwnerReference {
        kind: kind.to_owned(),
        name: name.to_owned(),
        controller,
    };
    pod.metadata.owner_references = owners.iter().map(owner).collect();
    pod.metadata.labels.extend(hash.map(|hash| ("pod-template-hash".to_owned(), hash.to_owned())));
    pod
}

#[test]
fn a_pod_belongs_to_what_manages_it() {
    assert_eq!(recorded()[0].workload(), None);
    // Minutes since 1970 of 2026-11-20T10:42, a minute before the recorded pod was made.
    let due = "nightly-29919522";
    for (owners, hash, kind, name) in [
        (&[("ReplicaSet", "web-5d9f7c6b8", true)][..], Some("5d9f7c6b8"), "Deployment", "web"),
        (&[("ReplicaSet", "by-hand", true)], None, "ReplicaSet", "by-hand"),
        (&[("ReplicaSet", "by-hand", true)], Some("5d9f7c6b8"), "ReplicaSet", "by-hand"),
        (&[("StatefulSet", "db", true)], None, "StatefulSet", "db"),
        (&[("DaemonSet", "agent", true)], None, "DaemonSet", "agent"),
        (&[("Job", due, true)], None, "CronJob", "nightly"),
        (&[("Job", "import-20240101", true)], None, "Job", "import-20240101"),
        (&[("Job", "once", true)], None, "Job", "once"),
        (&[("Node", "node1", false), ("VirtualMachineInstance", "vm", true)], None, "VirtualMachineInstance", "vm"),
        (&[("Node", "node1", false)], None, "Node", "node1"),
    ] {
        let found = owned(owners, hash).workload().unwrap();
        assert_eq!((found.kind.as_str(), found.name.as_str()), (kind, name), "{owners:?}");
    }
}

#[test]
fn a_static_pod_has_the_uid_that_its_node_knows() {
    let mut pod = serde_json::from_str::<serde_json::Value>(include_str!("../../testdata/api_v1_pods.json")).unwrap();
    let mut pod = pod["items"][1].take();
    let read = |pod: &serde_json::Value| serde_json::from_value::<Pod>(pod.clone()).unwrap();
    assert_eq!(read(&pod).uid(), "3893177f-0030-40fc-a726-fc1554e787b4");
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".into();
    assert_eq!(read(&pod).uid(), "0f1e2d3c4b5a69788796a5b4c3d2e1f0");
}
