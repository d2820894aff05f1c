use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/compat/kubevirt.txt");

fn rendered(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    render(&page(snapshot), Format::Text004, Families::WithPoints, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_page_is_as_committed() {
    let proc = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/compat/proc"));
    let found = [("moon", "qemu-kvm", 4711), ("moon", "virtqemud", 4712), ("sun", "qemu-kvm", 4713)];
    let found = found.map(|(domain, process, pid)| {
        ((domain.to_owned(), process.to_owned()), Reading::of(proc, pid).expect("a recorded process"))
    });
    let tracked = track::resources("node-1", found.into_iter());
    let page = rendered(&Snapshot { tracked, ..Snapshot::default() });
    let page = page.replace(env!("CARGO_PKG_VERSION"), "X.Y.Z");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &page).unwrap();
    }
    let want = std::fs::read_to_string(GOLDEN).unwrap_or_else(|error| panic!("{GOLDEN}: {error}"));
    assert!(page == want, "the page differs from {GOLDEN}; it is now:\n{page}");
    crate::export::prometheus::tests::assert_promtool_accepts(&page);
}

/// Names, labels and help of the older tool's page; the types are corrected.
#[test]
fn the_dump_has_the_metrics_of_old() {
    let page = dump(Path::new("/proc"));
    for line in [
        "# HELP kubevirt_info Version information",
        "# TYPE kubevirt_info gauge",
        "# HELP kubevirt_pod_infra_cpu_seconds_total CPU time spent, seconds.",
        "# TYPE kubevirt_pod_infra_cpu_seconds_total counter",
        "# HELP kubevirt_pod_infra_memory_amount_bytes Memory amount, bytes.",
        "# TYPE kubevirt_pod_infra_memory_amount_bytes gauge",
        "kubevirt_pod_infra_memory_amount_bytes{domain=\"self\",host=\"\",process=",
    ] {
        assert!(page.contains(line), "{line} is missing from\n{page}");
    }
    assert!(page.contains("podscope_agent_memory_usage_bytes "), "its own figures too:\n{page}");
}

#[test]
fn an_address_without_a_host_is_every_address() {
    let every = addresses(":9091").unwrap();
    assert_eq!(every.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[::]:9091", "0.0.0.0:9091"]);
    assert_eq!(addresses("127.0.0.1:1").unwrap()[0].to_string(), "127.0.0.1:1");
    for wrong in ["9091", ":web", "nowhere.invalid:1", ""] {
        let error = format!("{:#}", addresses(wrong).unwrap_err());
        assert!(error.contains("listenaddress"), "{wrong}: {error}");
    }
}
