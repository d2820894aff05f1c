//! What the tests of the exporter share: snapshots, settings, and a receiver that misbehaves on demand.

#![allow(dead_code, unreachable_pub, reason = "several tests include it, and each uses a part")]

pub(crate) mod receiver;
pub(crate) mod rotel;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use podscope_agent::export::otlp::{Exporter, Handle, OtlpArgs};
use podscope_agent::snapshot::{Attributes, Point, Resource, ResourceAttribute, Snapshot, Value};
use podscope_agent::status::{Board, Kind, State};
use podscope_catalog::{Entity, id};

/// A resource named `name` with `points` points, all of value `value`.
pub(crate) fn resource(name: &str, points: usize, value: i64, ended: bool) -> Resource {
    let metrics = [id::PROCESS_MEMORY_USAGE, id::PROCESS_MEMORY_VIRTUAL, id::PROCESS_THREAD_COUNT];
    let point = |at: usize| Point { metric: metrics[at % metrics.len()], combination: 0, value: Value::Int(value) };
    let mut points: Vec<Point> = (0..points).map(point).collect();
    points.sort_by_key(|p| p.metric);
    Resource {
        entity: Entity::Process,
        attributes: Arc::new(Attributes::new(vec![ResourceAttribute::label("name", name)])),
        start_ns: 1,
        kernel_start_ns: 1,
        ended,
        points,
    }
}

/// A snapshot whose points all have the value `n`: three of a living process and two of one that ended then.
pub(crate) fn snapshot(n: i64) -> Arc<Snapshot> {
    let resources = vec![resource("living", 3, n, false), resource(&format!("ended-{n}"), 2, n, true)];
    Arc::new(Snapshot { time_ns: n as u64, resources, ..Snapshot::default() })
}

/// Points of one such snapshot.
pub(crate) const POINTS: u64 = 5;

/// (name of the resource, value) of every point, in order.
pub(crate) fn points(request: &ExportMetricsServiceRequest) -> Vec<(String, i64)> {
    let mut all = Vec::new();
    for of in &request.resource_metrics {
        let name = match of.resource.as_ref().unwrap().attributes[0].value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(name) => name,
            other => panic!("{other:?} is no name"),
        };
        for metric in of.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{} is a sum", metric.name) };
            for point in &sum.data_points {
                let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("no integer") };
                all.push((name.clone(), value));
            }
        }
    }
    all
}

/// Starts an exporter with flags, and gives its board.
pub(crate) fn exporter(args: OtlpArgs) -> (Handle, Board) {
    let board = Board::default();
    let config = args.resolve(&|_| None).unwrap();
    (Exporter::spawn(&config, board.clone()), board)
}

/// The exporter's state on the board.
pub(crate) fn state(board: &Board) -> Option<State> {
    board.all().remove(&(Kind::Source, "otlp".to_owned()))
}

/// Waits until `probe` gives something; panics with `what` after 20 s.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = probe() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 20 s")
}

/// Waits until the exporter is absent, and gives the reason.
pub(crate) async fn absent(board: &Board) -> String {
    let probe = || match state(board) {
        Some(State::Absent { reason }) => Some(reason),
        _ => None,
    };
    eventually("a failure on the board", probe).await
}

/// Waits until the exporter is up.
pub(crate) async fn up(board: &Board) {
    eventually("a success on the board", || state(board).filter(State::is_up)).await;
}
