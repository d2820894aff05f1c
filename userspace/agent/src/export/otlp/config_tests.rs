use std::collections::HashMap;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    otlp: OtlpArgs,
}

/// Resolves flags (split at blanks) with variables `NAME=value`.
fn resolve(flags: &str, variables: &[&str]) -> Result<Config, ConfigError> {
    let args = Cli::try_parse_from(std::iter::once("agent").chain(flags.split_whitespace())).unwrap();
    let env: HashMap<&str, &str> = variables.iter().map(|v| v.split_once('=').unwrap()).collect();
    args.otlp.resolve(&|name| env.get(name).map(|&v| v.to_owned()))
}

fn target(flags: &str, variables: &[&str]) -> Target {
    resolve(flags, variables).unwrap().target.unwrap()
}

#[test]
fn endpoints_follow_the_specification() {
    let (grpc, http) = ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf");
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT=";
    let metrics = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=";
    for (flags, variables, expected) in [
        ("", vec![format!("{all}http://c:4318")], "http://c:4318/v1/metrics"),
        ("", vec![format!("{all}http://c:4318/")], "http://c:4318/v1/metrics"),
        ("", vec![format!("{all}https://c/otlp/?key=1")], "https://c/otlp/v1/metrics?key=1"),
        ("", vec![format!("{metrics}http://c:4318")], "http://c:4318/"),
        ("", vec![format!("{metrics}http://c/own/path")], "http://c/own/path"),
        ("", vec![format!("{all}http://a"), format!("{metrics}http://b/m")], "http://b/m"),
        ("", vec![format!("{all}http://a"), format!("{metrics} ")], "http://a/v1/metrics"),
        ("--otlp-endpoint http://f/x", vec![format!("{metrics}http://b/m")], "http://f/x"),
        ("", vec![format!("{all}http://c:4317"), grpc.into()], "http://c:4317/"),
        ("", vec![format!("{all}http://[fd00::1]:4318"), http.into()], "http://[fd00::1]:4318/v1/metrics"),
        ("", vec![format!("{all}c:4317"), grpc.into()], "https://c:4317/"),
        ("", vec![format!("{all}c:4317"), grpc.into(), "OTEL_EXPORTER_OTLP_INSECURE=true".into()], "http://c:4317/"),
        (
            "--otlp-protocol grpc --otlp-endpoint https://c:1",
            vec!["OTEL_EXPORTER_OTLP_METRICS_INSECURE=true".into()],
            "https://c:1/",
        ),
    ] {
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        assert_eq!(target(flags, &variables).uri.to_string(), expected, "{flags} {variables:?}");
    }
}

#[test]
fn flags_win_over_metrics_variables_and_those_over_general_ones() {
    let general = [
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://c",
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
        "OTEL_EXPORTER_OTLP_TIMEOUT=7000",
        "OTEL_EXPORTER_OTLP_HEADERS=a=1, b=x%2Cy%3D ,",
    ];
    let t = target("", &general);
    assert_eq!((t.protocol, t.gzip, t.timeout), (Protocol::Grpc, true, Duration::from_secs(7)));
    assert_eq!((&t.headers["a"], &t.headers["b"]), (&"1".parse().unwrap(), &"x,y=".parse().unwrap()));

    let mut specific = general.to_vec();
    specific.extend([
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION=none",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=500",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS=c=3",
    ]);
    let t = target("", &specific);
    assert_eq!((t.protocol, t.gzip, t.timeout), (Protocol::Http, false, Duration::from_millis(500)));
    assert_eq!(t.headers.keys().collect::<Vec<_>>(), ["c"]);

    let flags = "--otlp-protocol grpc --otlp-compression gzip --otlp-timeout 1 --otlp-header d=4=5 --otlp-header e=";
    let t = target(flags, &specific);
    assert_eq!((t.protocol, t.gzip, t.timeout), (Protocol::Grpc, true, Duration::from_millis(1)));
    assert_eq!((t.headers["d"].as_bytes(), t.headers["e"].as_bytes(), t.headers.len()), (&b"4=5"[..], &b""[..], 2));
}

#[test]
fn defaults_are_those_of_the_specification() {
    let t = target("--otlp-endpoint http://c", &[]);
    assert_eq!((t.protocol, t.gzip, t.timeout), (Protocol::Http, false, Duration::from_secs(10)));
    assert!(t.headers.is_empty() && t.tls.ca.is_none() && t.tls.identity.is_none());
}

#[test]
fn without_an_endpoint_or_when_disabled_otlp_is_off() {
    let off = |variables: &[&str]| resolve("", variables).unwrap().target.unwrap_err();
    assert!(off(&[]).contains("--otlp-endpoint"));
    assert!(off(&["OTEL_EXPORTER_OTLP_ENDPOINT="]).contains("--otlp-endpoint"));
    assert!(off(&["OTEL_EXPORTER_OTLP_ENDPOINT=http://c", "OTEL_SDK_DISABLED=TRUE"]).contains("OTEL_SDK_DISABLED"));
}

#[test]
fn interval_and_resource_come_from_their_variables() {
    let c = resolve(
        "",
        &[
            "OTEL_METRIC_EXPORT_INTERVAL=60000",
            "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=a%20b,service.name=x,team=1,team=2",
            "OTEL_SERVICE_NAME=podscope-a",
        ],
    )
    .unwrap();
    assert_eq!(c.interval, Some(Duration::from_secs(60)));
    let pairs: Vec<_> = c.resource.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("deployment.environment.name", "a b"), ("team", "2"), ("service.name", "podscope-a")]);
}

#[test]
fn unusable_values_are_refused_with_origin_value_and_what_is_accepted() {
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://c";
    for (flags, variable, message) in [
        ("--otlp-protocol http/json", "", "--otlp-protocol: \"http/json\" is not grpc or http/protobuf"),
        ("", "OTEL_EXPORTER_OTLP_PROTOCOL=GRPC", "OTEL_EXPORTER_OTLP_PROTOCOL: \"GRPC\" is not grpc or http/protobuf"),
        ("--otlp-compression zstd", "", "--otlp-compression: \"zstd\" is not gzip or none"),
        ("--otlp-timeout 10s", "", "--otlp-timeout: \"10s\" is not a whole number of milliseconds above 0"),
        ("", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=0", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: \"0\" is not a whole number"),
        ("", "OTEL_METRIC_EXPORT_INTERVAL=-5", "OTEL_METRIC_EXPORT_INTERVAL: \"-5\" is not a whole number"),
        ("", "OTEL_SDK_DISABLED=yes", "OTEL_SDK_DISABLED: \"yes\" is not true or false"),
        ("", "OTEL_EXPORTER_OTLP_INSECURE=1", "OTEL_EXPORTER_OTLP_INSECURE: \"1\" is not true or false"),
        ("", "OTEL_RESOURCE_ATTRIBUTES=a=1,b", "OTEL_RESOURCE_ATTRIBUTES: \"a=1,b\" is not a list key=value"),
        ("", "OTEL_RESOURCE_ATTRIBUTES=a=%ff", "OTEL_RESOURCE_ATTRIBUTES: \"a=%ff\" is not a list key=value"),
        ("--otlp-endpoint collector:4318", "", "--otlp-endpoint: \"collector:4318\" is not a URL"),
        ("--otlp-endpoint ftp://c", "", "--otlp-endpoint: \"ftp://c\" is not a URL"),
        ("--otlp-endpoint http://c:99999", "", "--otlp-endpoint: \"http://c:99999\" is not a URL"),
        ("--otlp-endpoint http://c:", "", "--otlp-endpoint: \"http://c:\" is not a URL"),
        ("--otlp-endpoint http://:80", "", "--otlp-endpoint: \"http://:80\" is not a URL"),
        ("--otlp-endpoint http://fd00::1:4318", "", "--otlp-endpoint: \"http://fd00::1:4318\" is not a URL"),
        ("--otlp-endpoint /v1?key=hush", "", "--otlp-endpoint: \"/v1\" is not a URL"),
        ("--otlp-cert c.pem", "", "--otlp-cert needs --otlp-key as well"),
        ("", "OTEL_EXPORTER_OTLP_CLIENT_KEY=k.pem", "OTEL_EXPORTER_OTLP_CLIENT_KEY needs --otlp-cert as well"),
        (
            "--otlp-endpoint https://c --otlp-ca /nonexistent/ca.pem",
            "",
            "cannot read CA certificate /nonexistent/ca.pem: No such file",
        ),
        ("--otlp-endpoint https://c --otlp-ca Cargo.toml", "", "Cargo.toml holds no usable CA certificate in PEM form"),
    ] {
        let mut variables = vec![endpoint];
        variables.extend((!variable.is_empty()).then_some(variable));
        match resolve(flags, &variables) {
            Ok(config) => panic!("{flags} {variable} was accepted: {config:?}"),
            Err(error) => assert!(error.to_string().starts_with(message), "{flags} {variable}: {error}"),
        }
    }
}

#[test]
fn secrets_are_never_shown() {
    let endpoint = "--otlp-endpoint http://c:1?key=hush";
    let shown = [
        format!("{:?}", Cli::try_parse_from(["agent", "--otlp-header", "authorization=hush"]).unwrap().otlp),
        format!("{:?}", target("--otlp-endpoint http://c --otlp-header authorization=hush", &[])),
        format!("{:?}", target(endpoint, &[])),
        target(endpoint, &[]).to_string(),
        resolve("--otlp-header hush", &[]).unwrap_err().to_string(),
        resolve("--otlp-header a=hush\u{7f}", &[]).unwrap_err().to_string(),
        resolve("", &["OTEL_EXPORTER_OTLP_HEADERS=a=1,hush"]).unwrap_err().to_string(),
        resolve("--otlp-endpoint http://user:hush@c", &[]).unwrap_err().to_string(),
        format!("{:?}", resolve("--otlp-endpoint http://user:hush@c", &[]).unwrap_err()),
    ];
    for text in &shown {
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(shown[6].contains("OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not a header"), "{}", shown[6]);
}
