//! The command line.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::client::AgentUrl;
use crate::view::tree::Sort;

/// Shows what the processes of a Kubernetes node's pods are doing, as its podscope agent measures it.
#[derive(Debug, Parser)]
#[command(name = "podscope", version, max_term_width = 100)]
pub struct Args {
    /// Where the agent answers; a path in front is kept, so `kubectl proxy` addresses work
    #[arg(long, global = true, env = "PODSCOPE_AGENT", value_name = "URL", default_value = "http://127.0.0.1:9435")]
    pub agent: AgentUrl,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A live table: pods, their containers, their processes
    Top(Top),
    /// What the agent measures, what it misses and why
    Status(Status),
}

/// `podscope top`.
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Print the table once and exit; so it is too when standard output is no terminal
    #[arg(long)]
    pub once: bool,
    /// Print the agent's answer as it is and exit
    #[arg(long, conflicts_with_all = ["sort", "filter"])]
    pub json: bool,
    /// Seconds between two questions to the agent, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true, value_parser = seconds)]
    pub interval: Duration,
    /// Processes shown per container; what the others use is one line
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub processes: u32,
    /// Sort by, largest first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = Sort::Cpu)]
    pub sort: Sort,
    /// Show only what has this text in its namespace, pod, container, executable or VM
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub filter: String,
}

impl Top {
    /// Whether to take over the terminal.
    pub fn is_live(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        !self.once && !self.json && !dumb && std::io::stdout().is_terminal()
    }
}

/// `podscope status`.
///
/// The exit status is 0 when the agent answered and has measured, else 1.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Print the agent's answer as it is
    #[arg(long)]
    pub json: bool,
    /// Exit with 3 if a probe or source is absent
    #[arg(long)]
    pub check: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds between 0.1 and 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn intervals_outside_the_range_are_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "nan", "inf", "1e300", "3601", "2s", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
