//! Entries for fuzzing.

use clap::Parser;

use super::Config;

/// Any bytes are a command line with an argument in each line, and after an empty line variables as `NAME=value`; an
/// error says what it is about. Files that are named are not read.
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
    match config.otlp.resolve(&variable) {
        Ok(otlp) => {
            let shown = format!("{otlp:?}");
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    config.node();
    config.tls();
}
