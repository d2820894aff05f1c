use super::*;
use crate::snapshot::ResourceAttribute;
use podscope_catalog::{Entity, MetricId, id};
use std::process::{Command, Stdio};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

fn point(metric: MetricId, combination: u8, value: Value) -> Point {
    Point { metric, combination, value }
}

fn resource(entity: Entity, list: Vec<ResourceAttribute>, points: Vec<Point>) -> Resource {
    Resource {
        entity,
        attributes: Arc::new(Attributes::new(list)),
        start_ns: 1_700_000_000 * SECOND + 5,
        kernel_start_ns: 1_600_000_000 * SECOND,
        ended: false,
        points,
    }
}

fn process(pid: i64, name: &str, points: Vec<Point>) -> Resource {
    let label = ResourceAttribute::label;
    let mut list = vec![label("k8s.pod.name", "web-0"), label("process.executable.name", name)];
    list.push(ResourceAttribute::label_int("process.pid", pid));
    list.push(ResourceAttribute::text("process.command", "not a label"));
    resource(Entity::Process, list, points)
}

/// Two values at or below 2^-20 s, three in the first octave, one at the top of the last, one beyond it.
fn histogram() -> Histogram {
    let mut histogram = Histogram { zero: 2, over: 1, sum_ns: 65_123_456_789, ..Histogram::EMPTY };
    histogram.buckets[0] = 1;
    histogram.buckets[PER_OCTAVE - 1] = 2;
    histogram.buckets[BUCKETS - 1] = 1;
    histogram
}

/// Values at the edges of their types, names that try to break out of a label, a histogram and an own attribute.
fn snapshot() -> Snapshot {
    let (int, double) = (Value::Int, Value::Double);
    let container = vec![ResourceAttribute::label("container.id", "0123abc")];
    Snapshot {
        time_ns: 1_700_000_100 * SECOND,
        resources: vec![
            process(
                41,
                "a\"} 1\nprocess_thread_count{x=\"\\",
                vec![
                    point(id::PROCESS_CPU_TIME, 0, double(0.1 + 0.2)),
                    point(id::PROCESS_CPU_TIME, 1, double(1e-9)),
                    point(id::PROCESS_MEMORY_USAGE, 0, int(i64::MAX)),
                    point(id::PROCESS_THREAD_COUNT, 0, int(3)),
                ],
            ),
            resource(
                Entity::Container,
                container,
                vec![
                    point(id::CONTAINER_CPU_TIME, 0, double(12.0)),
                    point(id::CONTAINER_CPU_UNACCOUNTED, 0, double(-0.25)),
                    point(id::CONTAINER_PRESSURE_TIME, 5, double(f64::INFINITY)),
                    point(id::CONTAINER_RUN_QUEUE_WAIT, 0, Value::Histogram(Box::new(histogram()))),
                ],
            ),
            process(
                42,
                "日本\t\r\0",
                vec![
                    point(id::PROCESS_CPU_TIME, 0, double(9e15)),
                    point(id::PROCESS_MEMORY_USAGE, 0, int(9_007_199_254_740_993)),
                ],
            ),
            resource(Entity::Agent, vec![], vec![point(id::AGENT_COLLECTIONS, 0, int(7))]),
        ],
        ..Snapshot::default()
    }
}

fn page(snapshot: &Snapshot, format: Format, families: Families) -> String {
    let mut out = Vec::new();
    render(snapshot, format, families, &mut out);
    String::from_utf8(out).unwrap()
}

/// The committed page is the expected one; `UPDATE_GOLDEN=1 cargo test` writes it anew.
#[track_caller]
fn assert_golden(name: &str, got: &str) {
    let path = format!("{}/testdata/prometheus/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(got == want, "the page differs from {path}; it is now:\n{got}");
}

/// However small the pieces are, and wherever they end.
#[test]
fn a_page_in_pieces_is_the_page() {
    let snapshot = snapshot();
    let families = [Families::WithPoints, Families::Every];
    for (format, families) in [Format::Text004, Format::OpenMetrics].into_iter().zip(families) {
        let whole = page(&snapshot, format, families);
        for enough in (1..400).chain([1000, 10_000]) {
            let (mut pages, mut text) = (Page::new(&snapshot, format, families), Vec::new());
            loop {
                let mut piece = Vec::new();
                let more = pages.write(&mut piece, enough);
                text.extend_from_slice(&piece);
                if !more {
                    break;
                }
                assert!(piece.len() >= enough);
            }
            assert_eq!(String::from_utf8(text).unwrap(), whole, "pieces of {enough} bytes");
        }
    }
}

#[test]
fn the_text_page_is_as_committed() {
    assert_golden("page.txt", &page(&snapshot(), Format::Text004, Families::WithPoints));
}

#[test]
fn the_openmetrics_page_is_as_committed() {
    assert_golden("page.openmetrics.txt", &page(&snapshot(), Format::OpenMetrics, Families::WithPoints));
}

/// Runs a program with the text on its standard input; its exit code and all it said.
fn ask(program: &str, args: &[&str], package: &str, input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; this test needs it: apt-get install {package}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), said.concat())
}

/// Prometheus's own reader and linter. Names that end in `_count` come from the semantic conventions; it wants them
/// for histograms alone. Every other finding fails.
#[track_caller]
pub(crate) fn assert_promtool_accepts(page: &str) {
    let (code, said) = ask("promtool", &["check", "metrics"], "prometheus", page);
    let other: Vec<_> = said.lines().filter(|line| !line.ends_with("should not have \"_count\" suffix")).collect();
    assert!(other.is_empty() && matches!(code, Some(0 | 3)), "promtool (exit code {code:?}): {other:#?}");
}

#[test]
fn promtool_accepts_the_text_page() {
    assert_promtool_accepts(&page(&snapshot(), Format::Text004, Families::WithPoints));
    assert_promtool_accepts(&page(&snapshot(), Format::Text004, Families::Every));
}

/// What Python's OpenMetrics reader gets out of a page: one `name TAB label=value;… TAB value` a sample.
fn samples_by_python(format: Format, page: &str) -> Vec<String> {
    let parser = match format {
        Format::Text004 => "prometheus_client.parser",
        Format::OpenMetrics => "prometheus_client.openmetrics.parser",
    };
    let script = format!(
        "import io, sys\n\
         from {parser} import text_fd_to_metric_families as read\n\
         page = io.StringIO(sys.stdin.buffer.read().decode(), newline='\\n')\n\
         for family in read(page):\n\
         \x20 for s in family.samples:\n\
         \x20   labels = ';'.join(k + '=' + repr(v) for k, v in sorted(s.labels.items()))\n\
         \x20   sys.stdout.buffer.write(f'{{s.name}}\\t{{labels}}\\t{{float(s.value)!r}}\\n'.encode())\n"
    );
    let (code, said) = ask("/usr/bin/python3", &["-c", &script], "python3-prometheus-client", page);
    assert!(
        code == Some(0),
        "this test needs /usr/bin/python3 with prometheus_client (apt-get install python3-prometheus-client), \
         and the page must be valid: {said}"
    );
    said.lines().map(str::to_owned).collect()
}

#[test]
fn another_reader_gets_the_same_samples_from_both_formats() {
    let [text, mut openmetrics] = [Format::Text004, Format::OpenMetrics]
        .map(|format| samples_by_python(format, &page(&snapshot(), format, Families::WithPoints)));
    openmetrics.retain(|line| !line.contains("_created\t"));
    assert_eq!(text, openmetrics);
    let pod = r"k8s_pod_name='web-0'";
    for line in [
        format!(
            "process_cpu_time_seconds_total\tcpu_mode='user';{pod};process_executable_name='a\"}} 1\\n\
             process_thread_count{{x=\"\\\\';process_pid='41'\t0.30000000000000004"
        ),
        format!(
            "process_cpu_time_seconds_total\tcpu_mode='user';{pod};process_executable_name='日本\\t\\r\u{fffd}';\
             process_pid='42'\t9000000000000000.0"
        ),
        "podscope_agent_collections_total\t\t7.0".to_owned(),
        "podscope_container_run_queue_wait_seconds_bucket\tcontainer_id='0123abc';le='1.9073486328125e-6'\t5.0"
            .to_owned(),
        "podscope_container_run_queue_wait_seconds_sum\tcontainer_id='0123abc'\t65.123456789".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is missing in {text:#?}");
    }
    assert_eq!(text.len(), 4 + 2 + 3 + (28 + 2) + 1, "{text:#?}");
}

/// Buckets read back against the definition: a value counts in every `le` that is at least its bucket's upper bound.
#[test]
fn histogram_buckets_are_cumulative_at_the_octaves() {
    let text = page(&snapshot(), Format::Text004, Families::WithPoints);
    let bucket = |le: &str| {
        let start =
            format!("podscope_container_run_queue_wait_seconds_bucket{{container_id=\"0123abc\",le=\"{le}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no bucket {le} in {text}")).parse::<u64>().unwrap()
    };
    assert_eq!(bucket("9.5367431640625e-7"), 2, "zero alone");
    assert_eq!(bucket("1.9073486328125e-6"), 5, "with the first octave");
    assert_eq!(bucket("0.5"), 5);
    assert_eq!(bucket("1.0"), 5);
    assert_eq!(bucket("32.0"), 5);
    assert_eq!(bucket("64.0"), 6, "with the last octave");
    assert_eq!(bucket("+Inf"), 7, "with over");
    assert!(text.contains("podscope_container_run_queue_wait_seconds_count{container_id=\"0123abc\"} 7\n"));
}

#[test]
fn integers_are_exact() {
    let text = page(&snapshot(), Format::Text004, Families::WithPoints);
    assert!(text.contains("} 9223372036854775807\n") && text.contains("} 9007199254740993\n"), "{text}");
}

#[test]
fn a_pid_used_again_does_not_double_a_series() {
    let points = |value| vec![point(id::PROCESS_THREAD_COUNT, 0, Value::Int(value))];
    let ended = |value, start_ns| Resource { ended: true, start_ns, ..process(7, "sh", points(value)) };
    let lines = |resources| {
        let text = page(&Snapshot { resources, ..Snapshot::default() }, Format::Text004, Families::WithPoints);
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(vec![ended(1, 10), process(7, "sh", points(2)), ended(3, 30)]), ["2"]);
    assert_eq!(lines(vec![ended(1, 10), ended(3, 30), process(8, "sh", points(4))]), ["3", "4"]);
}

#[test]
fn families_without_points_appear_only_on_request() {
    let empty = Snapshot::default();
    assert_eq!(page(&empty, Format::Text004, Families::WithPoints), "");
    assert_eq!(page(&empty, Format::OpenMetrics, Families::WithPoints), "# EOF\n");
    let every = page(&empty, Format::Text004, Families::Every);
    assert_eq!(every.lines().filter(|line| line.starts_with("# TYPE ")).count(), METRICS.len());
}

/// A point that the table has no row or no label for is left out; nothing panics.
#[test]
fn points_outside_the_table_are_left_out() {
    let points = vec![point(id::PROCESS_CPU_TIME, 200, Value::Int(1)), point(MetricId(60_000), 0, Value::Int(1))];
    let text = page(
        &Snapshot { resources: vec![process(1, "x", points)], ..Snapshot::default() },
        Format::Text004,
        Families::WithPoints,
    );
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Undoes the escaping of a label value; `None` where it is not closed in itself.
    fn unescaped(text: &str) -> Option<String> {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            out.push(match c {
                '"' | '\n' => return None,
                '\\' => match chars.next()? {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                },
                c => c,
            });
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn doubles_read_back_exactly(value: f64) {
            let mut out = Vec::new();
            put_double(&mut out, value);
            let back: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
        #[test]
        fn no_text_breaks_out_of_its_label(text in "[\\x00-\\x7f]{0,40}|.{0,40}") {
            prop_assert_eq!(unescaped(&escaped(&text)), Some(text.replace('\0', "\u{fffd}")));
        }
    }
}
