//! The podscope agent.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use podscope_agent::config::{Config, LogFormat};
use podscope_agent::export::otlp;
use podscope_agent::{catalogue, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = Config::parse();
    if config.metrics {
        // A reader that has seen enough (`head`) is no failure.
        let _closed_pipe = std::io::stdout().write_all(catalogue::print(config.format).as_bytes());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = start_log(&config) {
        eprintln!("podscope-agent: {error:#}");
        return ExitCode::from(2);
    }
    let otlp = match config.otlp.resolve(&otlp::environment) {
        Ok(otlp) => otlp,
        Err(error) => {
            eprintln!("podscope-agent: {error}");
            return ExitCode::from(2);
        }
    };
    match run::run(&config, otlp) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("podscope-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&config.log_level).map_err(|error| {
        anyhow::anyhow!("--log-level {:?}: {error}; give error, warn, info, debug, trace or filters", config.log_level)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
