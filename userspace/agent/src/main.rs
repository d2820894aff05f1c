//! The podscope agent.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use podscope_agent::compat::kubevirt::{Flags, Settings, Start};
use podscope_agent::config::{Config, LogFormat};
use podscope_agent::export::otlp;
use podscope_agent::log::Log;
use podscope_agent::{catalogue, run};
use tracing_subscriber::EnvFilter;

/// What the last lines of the log may take.
const FLUSH: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if Flags::asked(std::env::args_os().skip(1)) {
        return stand_in();
    }
    let config = Config::parse();
    if config.metrics {
        // A reader that has seen enough (`head`) is no failure.
        let _closed_pipe = std::io::stdout().write_all(catalogue::print(config.format).as_bytes());
        return ExitCode::SUCCESS;
    }
    run(&config, None)
}

/// Does what an older tool's command line asks for.
fn stand_in() -> ExitCode {
    match Flags::parse().start() {
        Ok(Start::Say(text)) => {
            let _closed_pipe = std::io::stderr().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Start::Run { config, settings, warnings }) => run(&config, Some((settings, warnings))),
        Err(error) => complain(&error, ExitCode::FAILURE),
    }
}

/// Runs the agent, with an older tool's page where `older` asks for one.
fn run(config: &Config, older: Option<(Settings, Vec<String>)>) -> ExitCode {
    let log = match start_log(config) {
        Ok(log) => log,
        Err(error) => return complain(&error, ExitCode::from(2)),
    };
    let (older, warnings) = older.unzip();
    warnings.iter().flatten().for_each(|warning| tracing::warn!("{warning}"));
    let otlp = match config.otlp.resolve(&otlp::environment) {
        Ok(otlp) => otlp,
        Err(error) => return complain(&error.into(), ExitCode::from(2)),
    };
    let ended = run::run(config, older.as_ref(), otlp, &log);
    log.flush(FLUSH);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, ExitCode::FAILURE),
    }
}

/// Says why the agent ends, if standard error takes it.
fn complain(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    let _full = writeln!(std::io::stderr(), "podscope-agent: {error:#}");
    code
}

fn start_log(config: &Config) -> anyhow::Result<Log> {
    let filter = EnvFilter::builder().parse(&config.log_level).map_err(|error| {
        anyhow::anyhow!("--log-level {:?}: {error}; give error, warn, info, debug, trace or filters", config.log_level)
    })?;
    let log = Log::to_stderr();
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    match config.log_format {
        LogFormat::Text => format.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => format.json().with_file(true).with_line_number(true).init(),
    }
    Ok(log)
}
