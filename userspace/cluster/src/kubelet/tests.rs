//! A recorded page, and pages that nobody should write.

use proptest::prelude::*;

use super::*;

const RECORDED: &str = include_str!("../../testdata/kubelet-metrics-resource.txt");

fn container(pod: &str, container: &str) -> Whose {
    Whose::Container { namespace: "default".to_owned(), pod: pod.to_owned(), container: container.to_owned() }
}

#[test]
fn a_recorded_page_is_read() {
    let read = parse(RECORDED);
    assert_eq!((read.readings.len(), read.malformed, read.incomplete), (6, 0, false));
    let node = read.readings[&Whose::Node];
    assert_eq!(node.cpu, Some((3_104.948_582_132, 1_795_169_567_585)));
    assert_eq!(node.working_set, Some((5_670_940_672, 1_795_169_567_585)));
    let app = read.readings[&container("web-5d9f7c6b8-abcde", "app")];
    assert_eq!(
        app,
        Reading { cpu: Some((0.014_247_752, 1_795_169_582_018)), working_set: Some((241_664, 1_795_169_582_018)) }
    );
    let pod = Whose::Pod { namespace: "default".to_owned(), pod: "virt-launcher-testvm-8dzl7".to_owned() };
    assert_eq!(read.readings[&pod].working_set, Some((462_848, 1_795_169_576_693)));
}

#[test]
fn labels_may_hold_anything() {
    let line =
        "container_memory_working_set_bytes{namespace=\"default\", pod=\"a\\\"},{\\\\\\n\",container=\"b\",} 7 5";
    let read = parse(line);
    assert_eq!(read.readings[&container("a\"},{\\\n", "b")].working_set, Some((7, 5)));
}

#[test]
fn what_is_no_sample_is_counted_and_the_rest_read() {
    let text = format!(
        "{RECORDED}node_cpu_usage_seconds_total\nnode_cpu_usage_seconds_total x\npod_cpu_usage_seconds_total{{pod=\"a\"}} 1\n\
         pod_cpu_usage_seconds_total{{pod=\"a 1\nnode_cpu_usage_seconds_total NaN\nnode_cpu_usage_seconds_total -1\n\
         node_cpu_usage_seconds_total 1 2 3\nother{{a=\"b\"}} 1\nresource_scrape_error 1\n"
    );
    let read = parse(&text);
    assert_eq!((read.readings.len(), read.malformed, read.incomplete), (6, 7, true));
    assert_eq!(read.readings, parse(RECORDED).readings);
}

proptest! {
    #[test]
    fn no_page_panics(text in "[a-z_{}=\"\\\\, 0-9.eE+-]{0,80}\n?.{0,40}") {
        parse(&text);
    }

    #[test]
    fn half_a_page_gives_no_more_than_a_whole_one(end in 0..RECORDED.len()) {
        let read = parse(&RECORDED[..end]);
        prop_assert!(read.readings.len() <= 6 && read.malformed <= 1);
    }
}
