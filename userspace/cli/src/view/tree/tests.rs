use proptest::prelude::*;

use super::*;
use crate::text::Text;

fn sample() -> Top {
    serde_json::from_str(include_str!("../../../testdata/top.json")).unwrap()
}

fn hostile() -> Top {
    serde_json::from_str(include_str!("../../../testdata/hostile.json")).unwrap()
}

fn label(row: &Row<'_>) -> String {
    let name = match row.node {
        Node::Pod(container) => container.pod_name().unwrap(),
        Node::Container(container) => container.name().to_owned(),
        Node::Process(process) => process.name().to_owned(),
        Node::Vcpu(vcpu) => format!("vCPU {}", vcpu.id),
        Node::Other => "(others)".into(),
    };
    format!("{}{name}", " ".repeat(row.depth.into()))
}

fn labels(top: &Top, sort: Sort, filter: &str, expansion: &Expansion) -> Vec<String> {
    rows(top, sort, filter, expansion).iter().map(label).collect()
}

fn roots(sort: Sort) -> Vec<String> {
    labels(&sample(), sort, "", &Expansion::all(false))
}

#[test]
fn virtual_cpus_stand_under_their_emulator() {
    let rows = labels(&sample(), Sort::Cpu, "testvm", &Expansion::all(true));
    let at = rows.iter().position(|row| row == "  qemu-system-x86_64").unwrap();
    assert_eq!(rows[at + 1..at + 3], ["   vCPU 0", "   vCPU 1"]);
}

#[test]
fn each_level_is_sorted_and_others_come_last() {
    let rows = labels(&sample(), Sort::Cpu, "", &Expansion::all(true));
    let web = ["default/web-5d9f7c6b8-abcde", " app", "  nginx", "  nginx", "  nginx", "  (others)", " istio-proxy"];
    assert_eq!(rows[..7], web);
}

#[test]
fn roots_are_sorted_by_each_column() {
    assert_eq!(roots(Sort::Cpu)[..2], ["default/web-5d9f7c6b8-abcde", "batch/fork-storm-28911-q9zzw"]);
    assert_eq!(roots(Sort::Wait)[..2], ["batch/fork-storm-28911-q9zzw", "default/virt-launcher-testvm-8dzl7"]);
    assert_eq!(roots(Sort::Memory)[..2], ["host", "default/web-5d9f7c6b8-abcde"]);
    assert_eq!(roots(Sort::Faults)[..2], ["batch/fork-storm-28911-q9zzw", "default/web-5d9f7c6b8-abcde"]);
}

#[test]
fn a_pod_uses_what_its_containers_use() {
    let top = sample();
    let rows = rows(&top, Sort::Cpu, "", &Expansion::all(false));
    assert!((rows[0].totals.cpu_cores - (1.2534 + 0.084)).abs() < 1e-12);
    assert_eq!(rows[0].totals.memory_bytes, (256 + 61) << 20);
    assert_eq!(pod_count(&top), 5);
}

#[test]
fn a_filter_leads_to_what_has_it() {
    let closed = Expansion::all(false);
    let by_executable = labels(&sample(), Sort::Cpu, "QEMU-S", &closed);
    assert_eq!(by_executable[..3], ["default/virt-launcher-testvm-8dzl7", " compute", "  qemu-system-x86_64"]);
    let by_container = labels(&sample(), Sort::Cpu, "istio", &closed);
    assert_eq!(by_container, ["default/web-5d9f7c6b8-abcde", " istio-proxy"]);
    assert_eq!(labels(&sample(), Sort::Cpu, "default/testvm", &closed), ["default/virt-launcher-testvm-8dzl7"]);
    assert_eq!(labels(&sample(), Sort::Cpu, "kube-system", &Expansion::all(true)).len(), 3);
    assert_eq!(labels(&sample(), Sort::Cpu, "kubelet", &closed), ["host", " kubelet"]);
    assert!(labels(&sample(), Sort::Cpu, "no such thing", &closed).is_empty());
}

#[test]
fn rows_open_one_by_one_and_forget_what_is_gone() {
    let mut top = sample();
    let mut expansion = Expansion::all(false);
    let id = rows(&top, Sort::Cpu, "", &expansion)[0].id.clone();
    expansion.set(&id, true);
    assert_eq!(labels(&top, Sort::Cpu, "", &expansion)[1..3], [" app", " istio-proxy"]);
    top.containers.retain(|container| container.container != Text::new("app"));
    expansion.retain(&top);
    assert!(expansion.is_open(&id));
    top.containers.clear();
    expansion.retain(&top);
    assert!(!expansion.is_open(&id));
}

#[test]
fn a_pod_without_a_name_is_told_by_its_uid() {
    let rows = labels(&sample(), Sort::Cpu, "pod 7c3e11d2", &Expansion::all(true));
    assert_eq!(rows, ["pod 7c3e11d2-6a55-4b1b-9a3c-000000000009", " eeee5555eeee", "  pause"]);
}

fn any_totals() -> impl Strategy<Value = Totals> {
    (prop::num::f64::ANY, any::<u64>(), 0.0..9.0_f64).prop_map(|(cpu_cores, memory_bytes, wait_cores)| Totals {
        cpu_cores,
        memory_bytes,
        wait_cores,
        ..Totals::default()
    })
}

fn any_container() -> impl Strategy<Value = Container> {
    let name = || prop::option::of("[abc]{0,2}".prop_map(|text| Text::new(&text)));
    let process = ("[xyz]{1,2}", 0..4_i64, any_totals()).prop_map(|(executable, pid, totals)| Process {
        pid,
        executable: Text::new(&executable),
        totals,
        ..Process::default()
    });
    let processes = prop::collection::vec(process, 0..4);
    (name(), name(), name(), name(), any_totals(), processes, prop::option::of(any_totals())).prop_map(
        |(namespace, pod, container, container_id, totals, processes, other)| Container {
            namespace,
            pod,
            container: container.unwrap_or_default(),
            container_id,
            totals,
            processes,
            other,
            ..Container::default()
        },
    )
}

proptest! {
    #[test]
    fn every_row_has_its_own_id_and_nothing_is_lost(containers in prop::collection::vec(any_container(), 0..8)) {
        let top = Top { containers, ..Top::default() };
        let rows = rows(&top, Sort::Cpu, "", &Expansion::all(true));
        let ids: HashSet<&Id> = rows.iter().map(|row| &row.id).collect();
        prop_assert_eq!(ids.len(), rows.len());
        let leaves: usize = top.containers.iter().map(|c| 1 + c.processes.len() + usize::from(c.other.is_some())).sum();
        prop_assert_eq!(rows.len(), leaves + pod_count(&top));
    }

    #[test]
    fn a_filter_only_takes_away(
        containers in prop::collection::vec(any_container(), 0..8),
        filter in "[abcxyz]{1,2}",
        open in any::<bool>(),
    ) {
        let top = Top { containers, ..Top::default() };
        let all = labels(&top, Sort::Cpu, "", &Expansion::all(true));
        let some = labels(&top, Sort::Cpu, &filter, &Expansion::all(open));
        let mut rest = all.iter();
        prop_assert!(some.iter().all(|row| rest.any(|other| other == row)), "{:?} is no part of {:?}", some, all);
        let deepest = some.iter().any(|row| row.contains(&filter) || row.contains('/'));
        prop_assert!(some.is_empty() || deepest, "{:?} has nothing with {}", some, filter);
    }
}

#[test]
fn twins_are_told_apart() {
    let top = hostile();
    let rows = rows(&top, Sort::Cpu, "", &Expansion::all(true));
    let ids: HashSet<&Id> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(ids.len(), rows.len());
}
