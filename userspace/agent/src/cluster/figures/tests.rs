use podscope_cluster::kubelet::parse;
use podscope_cluster::object::List;

use super::*;

const RECORDED: &str = include_str!("../../../../cluster/testdata/kubelet-metrics-resource.txt");
const MS: u64 = 1_000_000;

fn app() -> Whose {
    let [namespace, pod, container] = ["default", "web-5d9f7c6b8-abcde", "app"].map(str::to_owned);
    Whose::Container { namespace, pod, container }
}

/// The recorded page with other figures of the container `app`.
fn page(cpu: &str, at_ms: u64) -> Resource {
    parse(&RECORDED.replace("0.014247752 1795169582018", &format!("{cpu} {at_ms}")))
}

#[test]
fn two_readings_make_a_rate_as_metrics_server_does() {
    let first = Figures::of_kubelet(page("0.014247752", 1_795_169_582_018), &Figures::default(), 0);
    assert_eq!(first.all.len(), 6);
    assert_eq!(first.all[&app()].cpu, None, "one reading is no rate");
    assert_eq!(first.all[&app()].working_set, Some((241_664, 1_795_169_582_018 * MS)));

    let second = Figures::of_kubelet(page("7.514247752", 1_795_169_597_018), &first, 0);
    let rate = second.all[&app()].cpu.unwrap();
    assert!((rate.cores - 0.5).abs() < 1e-9, "{rate:?}");
    assert_eq!((rate.begin_ns, rate.end_ns), (1_795_169_582_018 * MS, 1_795_169_597_018 * MS));

    // The kubelet has not looked again: what is known stays, and the next rate is taken from there.
    let third = Figures::of_kubelet(page("7.514247752", 1_795_169_597_018), &second, 0);
    assert_eq!(third.all[&app()].cpu, Some(rate));
    let fourth = Figures::of_kubelet(page("8.514247752", 1_795_169_607_018), &third, 0);
    assert!((fourth.all[&app()].cpu.unwrap().cores - 0.1).abs() < 1e-9);
}

#[test]
fn an_impossible_time_is_as_good_as_none() {
    for impossible in [0, i64::MAX as u64] {
        let figures = Figures::of_kubelet(page("1.0", impossible), &Figures::default(), 7 * MS);
        assert_eq!(figures.readings[&app()].cpu.map(|(seconds, _)| seconds), Some(1.0));
        let later = Figures::of_kubelet(page("2.0", 17), &figures, 27 * MS);
        assert_eq!(later.all.len(), figures.all.len());
    }
    let line = "node_memory_working_set_bytes 5 9223372036854775807\n";
    let figures = Figures::of_kubelet(parse(line), &Figures::default(), 7 * MS);
    assert_eq!(figures.all[&Whose::Node].working_set, Some((5, 7 * MS)));
}

#[test]
fn a_counter_that_begins_again_makes_no_rate() {
    let first = Figures::of_kubelet(page("9.0", 1_795_169_582_018), &Figures::default(), 0);
    let second = Figures::of_kubelet(page("1.0", 1_795_169_597_018), &first, 0);
    assert_eq!(second.all[&app()].cpu, None);
    let third = Figures::of_kubelet(page("2.0", 1_795_169_607_018), &second, 0);
    assert!((third.all[&app()].cpu.unwrap().cores - 0.1).abs() < 1e-9);
    // A clock that was set back.
    let fourth = Figures::of_kubelet(page("3.0", 1_795_169_600_000), &third, 0);
    assert_eq!(fourth.all[&app()].cpu, None);
}

#[test]
fn recorded_answers_of_metrics_server() {
    let nodes: List<NodeMetrics> =
        serde_json::from_str(include_str!("../../../../cluster/testdata/metrics_nodes.json")).unwrap();
    let pods: List<PodMetrics> =
        serde_json::from_str(include_str!("../../../../cluster/testdata/metrics_pods.json")).unwrap();
    let all = Figures::of_api(&nodes.items[0], &pods.items).all;
    // Node, two pods, three containers.
    assert_eq!(all.len(), 6);
    let rate = all[&Whose::Node].cpu.unwrap();
    assert_eq!((rate.cores, rate.end_ns - rate.begin_ns), (1.997_794_906, 29_607 * MS));
    assert_eq!(all[&Whose::Node].working_set.unwrap().0, 5_353_160 * 1024);
    let pod = Whose::Pod { namespace: "default".to_owned(), pod: "web-5d9f7c6b8-abcde".to_owned() };
    assert_eq!(all[&pod].working_set.unwrap().0, (216 + 332) * 1024, "what its containers hold together");
    assert_eq!(all[&app()].working_set.unwrap(), (332 * 1024, 1_795_171_382_000 * MS));
}
