//! Entries for fuzzing.

use clap::Parser;

use super::Config;

/// What must not be shown where it stands in a header.
const SECRET: &str = "s3cr3t";

/// Any bytes are a command line with an argument in each line, and after an empty line variables as `NAME=value`; an
/// error says what it is about, and no secret. Files that are named are not read.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (flags, variables) = text.split_once("\n\n").unwrap_or((&text, ""));
    let args = std::iter::once("podscope-agent").chain(flags.lines());
    let mut config = match Config::try_parse_from(args) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(config.interval.as_millis() >= 100 && config.linger.as_secs() <= 86_400, "{config:?}");
    let otlp = &mut config.otlp;
    (otlp.otlp_ca, otlp.otlp_cert, otlp.otlp_key) = (None, None, None);
    let variable = |name: &str| {
        let mut lines = variables.lines().filter_map(|line| line.split_once('='));
        let (_, value) =
            lines.find(|(key, _)| *key == name && !key.ends_with("CERTIFICATE") && !key.ends_with("KEY"))?;
        Some(value.to_owned())
    };
    let shown = match config.otlp.resolve(&variable) {
        Ok(otlp) => format!("{:?}", otlp.target),
        Err(error) => error.to_string(),
    };
    let is_header = |line: &str| line.starts_with("OTEL_EXPORTER_OTLP_HEADERS=");
    let only_in_headers = text.lines().filter(|line| line.contains(SECRET)).all(is_header);
    assert!(!only_in_headers || !shown.contains(SECRET), "{shown}");
    config.node();
    config.tls();
}
