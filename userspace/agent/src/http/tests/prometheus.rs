//! A real Prometheus scrapes the server.

use super::*;
use std::fs;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Ends the program when the test does.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It negotiates OpenMetrics and gzip on its own and stores exactly what the snapshot says.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_stores_what_the_snapshot_says() {
    let agent = start(Fixed::ready(2), LIMITS, None).await;
    let folder = TempDir::new().unwrap();
    let config = format!(
        "{{global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}, \
          scrape_configs: [{{job_name: agent, static_configs: [{{targets: ['{}']}}]}}]}}",
        agent.address
    );
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    // Its port must be known beforehand; one that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Killed(child.expect("this test needs prometheus: apt-get install prometheus"));

    let expected = "process_cpu_time_seconds_total\u{7b}process_pid=\"2\"\u{7d}";
    let query = format!("GET /api/v1/query?query={}", expected.replace('"', "%22"));
    let mut said = String::new();
    for _ in 0..150 {
        sleep(Duration::from_millis(200)).await;
        if std::net::TcpStream::connect(address).is_err() {
            continue;
        }
        said = String::from_utf8_lossy(&request(address, &query, "").await.1).into_owned();
        if said.contains("3.25") {
            break;
        }
    }
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let series = &answer["data"]["result"];
    assert_eq!(series.as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(series[0]["value"][1], "3.25");
    assert_eq!(series[0]["metric"]["process_executable_name"], "we\"ird\\\n");
    assert_eq!(series[0]["metric"]["cpu_mode"], "user");

    let targets = String::from_utf8_lossy(&request(address, "GET /api/v1/targets", "").await.1).into_owned();
    assert!(targets.contains("\"health\":\"up\"") && targets.contains("\"lastError\":\"\""), "{targets}");
}
