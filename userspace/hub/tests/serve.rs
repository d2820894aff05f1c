//! A hub that serves: OTLP in, answers out, on a real database.

mod support;

use serde_json::Value;
use support::{Hub, gauge, sum};

/// Counters are what they grew by, whatever comes twice, and gauges what they stood at.
#[tokio::test]
async fn what_was_sent_is_answered() {
    let hub = Hub::start().await;
    let start = hub.now - 600;
    for step in 0..10 {
        let time = start + step * 10;
        let cpu = sum("container.cpu.time", start - 100, time, 2.0 * step as f64, "shop", "web");
        let memory = gauge("container.memory.working_set", time, 1e6 * (step + 1) as f64, "shop", "web");
        let request = support::request(vec![cpu, memory]);
        assert_eq!(hub.send(&request).await, (200, Value::Object(Default::default())));
        // Once more, as after a lost answer.
        assert_eq!(hub.send(&request).await.0, 200);
    }
    // The last step with a point in it is over, wherever steps begin.
    let (from, to) = (start - 60, start + 180);
    let used = hub.get(&format!("/api/v1/accounting?from={from}&to={to}&by=namespace,pod")).await;
    let row = &used["rows"][0];
    assert_eq!(row["labels"]["namespace"], "shop");
    assert_eq!(row["labels"]["pod"], "web");
    // The first value is a baseline: nobody had looked before.
    assert_eq!(row["used"]["cpu_core_seconds"], 18.0);
    // 10 s each at 2, 3, … 10 MB.
    assert_eq!(row["used"]["memory_byte_seconds"], 540e6);

    let series = hub
        .get(&format!("/api/v1/series?metric=container.cpu.time&from={from}&to={to}&step=60&by=pod&value=increase"))
        .await;
    let values: Vec<f64> = series["series"][0]["values"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let sum: f64 = values.iter().sum();
    assert_eq!(sum, 18.0, "{series}");
    assert_eq!(series["series"][0]["labels"]["pod"], "web");

    let top = hub.get(&format!("/api/v1/top?metric=container.cpu.time&from={from}&to={to}&by=namespace")).await;
    assert_eq!(top["top"][0]["value"], 18.0);
    assert_eq!(top["top"][0]["seconds"], 90.0);
    let by = "podscope.none,k8s.pod.uid";
    let top = hub.get(&format!("/api/v1/top?metric=container.cpu.time&from={from}&to={to}&by={by}")).await;
    assert_eq!(top["top"][0]["labels"], serde_json::json!({ "k8s.pod.uid": "0001", "podscope.none": "" }));
    let status = hub.get("/api/v1/status").await;
    assert_eq!(status["points"]["kept"], 40);
    assert_eq!(status["points"]["duplicate"], 20);
}

/// A steady rate is that rate, whatever the step, also in the step that is not over yet.
#[tokio::test]
async fn a_rate_does_not_depend_on_the_step() {
    let hub = Hub::start().await;
    let start = hub.now / 60 * 60 - 300;
    for time in (start..=start + 200).step_by(10) {
        let cpu = sum("container.cpu.time", start - 100, time, 0.5 * (time - start) as f64, "shop", "web");
        assert_eq!(hub.send(&support::request(vec![cpu])).await.0, 200);
    }
    for step in [5, 10, 60] {
        let (from, to) = (start + 60, start + 201);
        let question = format!("/api/v1/series?metric=container.cpu.time&from={from}&to={to}&step={step}&by=pod");
        let series = hub.get(&question).await;
        let values: Vec<f64> =
            series["series"][0]["values"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert!(values.len() >= 3 && values.iter().all(|rate| (rate - 0.5).abs() < 1e-9), "{step}: {series}");
    }
}

/// The same question has the same answer before and after points are rolled up, and after a restart.
#[tokio::test]
async fn rolling_up_and_starting_again_change_no_sum() {
    let mut hub = Hub::start().await;
    let start = hub.now - 500;
    for step in 0..40 {
        let cpu = sum("container.cpu.time", start - 100, start + step * 10, 0.1 * step as f64, "shop", "web");
        assert_eq!(hub.send(&support::request(vec![cpu])).await.0, 200);
        if step == 20 {
            hub.restart().await;
        }
    }
    let question = format!("/api/v1/accounting?from={}&to={}", start - 60, hub.now);
    let before = hub.get(&question).await["rows"][0]["used"]["cpu_core_seconds"].as_f64().unwrap();
    assert!((before - 3.9).abs() < 1e-9, "{before}");
    hub.roll(hub.now + 7_200).await;
    let after = hub.get(&question).await["rows"][0]["used"]["cpu_core_seconds"].as_f64().unwrap();
    assert!((after - 3.9).abs() < 1e-9, "{after}");
}

/// What cannot be kept is refused in the words of the specification, and counted.
#[tokio::test]
async fn what_is_refused_is_answered_and_counted() {
    let hub = Hub::start().await;
    let late = gauge("container.memory.working_set", hub.now + 3_600, 1.0, "shop", "web");
    let nan = gauge("container.memory.working_set", hub.now, f64::NAN, "shop", "web");
    let (status, answer) = hub.send(&support::request(vec![late, nan])).await;
    assert_eq!(status, 200);
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], 2);
    let status = hub.get("/api/v1/status").await;
    assert_eq!((&status["points"]["malformed"], &status["points"]["out_of_time"]), (&1.into(), &1.into()));
    assert_eq!(hub.post("/v1/metrics", "application/json", "{").await.0, 400);
    assert_eq!(hub.post("/v1/metrics", "text/plain", "x").await.0, 415);
    assert_eq!(hub.get("/api/v1/series").await["status"], 400);
    assert_eq!(hub.get("/api/v1/series?metric=x&from=yesterday").await["status"], 400);
}

/// What has expired goes: points by table, then the series and entities that nothing is left of; and comes back whole
/// when it is heard of again.
#[tokio::test]
async fn what_has_expired_is_forgotten_and_may_come_back() {
    let hub = Hub::start().await;
    let day = 86_400;
    let gone = gauge("container.memory.working_set", hub.now - 300, 1e6, "shop", "gone");
    assert_eq!(hub.send(&support::request(vec![gone.clone()])).await.0, 200);
    assert_eq!(hub.get("/api/v1/entities?kind=container").await["entities"].as_array().unwrap().len(), 1);
    hub.expire(hub.now + 6 * 365 * day).await;
    assert_eq!(hub.get("/api/v1/entities?kind=container").await["entities"].as_array().unwrap().len(), 0);
    let question = format!("/api/v1/series?metric=container.memory.working_set&step=60&from={}", hub.now - 600);
    assert_eq!(hub.get(&question).await["series"].as_array().unwrap().len(), 0);
    assert_eq!(hub.send(&support::request(vec![gone])).await.0, 200);
    assert_eq!(hub.get(&question).await["series"].as_array().unwrap().len(), 1);
}
