//! Flags and variables. A wrong one is an error with exit code 2 that says what is accepted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::catalogue::Form;
use crate::cluster::KubeArgs;
use crate::compat::kubevirt::Tool;
use crate::confine::Confine;
use crate::detail;
use crate::export::otlp::OtlpArgs;
use crate::gpu;
use crate::http::TlsFiles;
use crate::kernel::programs::PROGRAMS;
use crate::runtime::SocketChoice;

/// Measures every process of every pod in the kernel and exports the figures over OTLP and Prometheus.
#[derive(Parser, Clone, Debug)]
#[command(name = "podscope-agent", version)]
pub struct Config {
    /// Print every metric as Prometheus text, filled from this process where that makes sense, and exit; needs no
    /// privilege.
    #[arg(short = 'M', long = "metrics")]
    pub metrics: bool,

    /// With -M: the form in which the metrics are printed.
    #[arg(long, value_enum, default_value_t = Form::Prometheus, requires = "metrics")]
    pub format: Form,

    /// Address of /metrics, /status, /top, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", env = "PODSCOPE_LISTEN", default_value = "127.0.0.1:9435")]
    pub listen: SocketAddr,

    /// Certificate chain for TLS on the listening address.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Authorities of client certificates; where given, a client must show one.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// Socket of the container runtime: `auto`, `none`, or a path such as unix:///run/containerd/containerd.sock.
    #[arg(long, value_name = "SOCKET", env = "PODSCOPE_CRI_SOCKET", default_value = "auto")]
    pub cri_socket: SocketChoice,

    /// Socket of podscope-gpu, which reads NVML: `auto`, /run/podscope/gpu.sock once it is there; `off`; or a path.
    #[arg(long, value_name = "SOCKET", env = "PODSCOPE_GPU_SOCKET", default_value = "auto")]
    pub gpu_socket: gpu::Choice,

    /// Where the host's root is mounted; sockets are looked for below it.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Where the host's cgroup hierarchies are mounted.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/cgroup")]
    pub cgroup_root: PathBuf,

    /// Time between collections, which fall on its multiples by the wall clock: seconds, 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", env = "PODSCOPE_INTERVAL", default_value = "5", value_parser = interval)]
    pub interval: Duration,

    /// Processes published per container by CPU time and by memory each; of virt-launcher pods all are.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub processes_per_container: u32,

    /// How long a series that has ended stays on /metrics: seconds, 0 to 86400.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = linger)]
    pub linger: Duration,

    /// Name of this node; the host's name unless given.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,

    /// Leave a kernel program out.
    #[arg(long, value_name = "NAME", value_parser = probe)]
    pub without_probe: Vec<String>,

    /// Whether every context switch is looked at; without it there are no histograms of run-queue wait and no blocked
    /// time.
    #[arg(long, value_enum, value_name = "CHOICE", env = "PODSCOPE_SCHEDULING_DETAIL", default_value = "on")]
    pub scheduling_detail: detail::Choice,

    /// Containers, pods and services that get a histogram of their own.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2..=65_536))]
    pub max_cgroups: u32,

    /// Pairs of cgroup and executable that are booked apart; a quarter of them is kept for the rests of cgroups.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub max_books: u32,

    /// Hold the agent to what it still does once its programs are attached: by a filter of system calls, and where the
    /// kernel has it by Landlock.
    #[arg(long, value_enum, default_value_t = Confine::Auto)]
    pub confine: Confine,

    /// What is logged: error, warn, info, debug, trace, or filters such as `info,podscope_agent::runtime=debug`.
    #[arg(long, value_name = "LEVEL", env = "PODSCOPE_LOG", default_value = "info")]
    pub log_level: String,

    /// Form of the log on standard error.
    #[arg(long, value_enum, env = "PODSCOPE_LOG_FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Stand in for another tool, with its flags, files and metrics: `podscope-agent --compat kubevirt --help`.
    #[arg(long, value_enum, value_name = "TOOL")]
    pub compat: Option<Tool>,

    /// The way to a collector.
    #[command(flatten)]
    pub otlp: OtlpArgs,

    /// The way to the cluster.
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// The TLS files, where TLS was asked for.
    pub fn tls(&self) -> Option<TlsFiles> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() })
    }

    /// This node's name.
    pub fn node(&self) -> String {
        match &self.node_name {
            Some(name) if !name.is_empty() => name.clone(),
            _ => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    seconds(text, 0.1, 3600.0)
}

fn linger(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0, 86_400.0)
}

/// For what is asked over the network.
pub(crate) fn long_interval(text: &str) -> Result<Duration, String> {
    seconds(text, 1.0, 3600.0)
}

fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected seconds between {least} and {most}")),
    }
}

fn probe(text: &str) -> Result<String, String> {
    if PROGRAMS.iter().any(|program| program.name == text) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
    Err(format!("the programs are {}", names.join(", ")))
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        let args = std::iter::once("podscope-agent").chain(args.iter().copied());
        let error = Config::try_parse_from(args).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn defaults_are_accepted() {
        let config = Config::try_parse_from(["podscope-agent"]).unwrap();
        assert_eq!(config.interval, Duration::from_secs(5));
        assert_eq!(config.listen.to_string(), "127.0.0.1:9435");
        assert!(!config.node().is_empty());
    }

    #[test]
    fn wrong_values_say_what_is_accepted() {
        for (args, text) in [
            (["--interval", "0"], "between 0.1 and 3600"),
            (["--interval", "soon"], "between 0.1 and 3600"),
            (["--interval", "NaN"], "between 0.1 and 3600"),
            (["--linger", "86401"], "--linger"),
            (["--without-probe", "nonsense"], "sched_switch"),
            (["--scheduling-detail", "some"], "[possible values: on, off]"),
            (["--listen", "nonsense"], "--listen"),
            (["--cri-socket", "tcp://nonsense"], "unix://"),
            (["--gpu-socket", "gpu.sock"], "auto and off"),
            (["--processes-per-container", "0"], "1..=10000"),
            (["--tls-cert", "cert.pem"], "--tls-key"),
            (["--format", "json"], "--metrics"),
            (["--confine", "on"], "auto, off"),
            (["--kube-metrics", "both"], "auto, kubelet, api, off"),
            (["--kube-metrics-interval", "0.5"], "between 1 and 3600"),
            (["--kube-api", "on"], "auto, off"),
        ] {
            let message = refused(&args);
            assert!(message.contains(text), "{args:?}: {message}");
        }
    }
}
