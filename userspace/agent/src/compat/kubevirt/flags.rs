//! The older tool's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::file::{self, File};
use super::{Certificate, Service, Settings, Targets};
use crate::config::{Config, LogFormat};
use crate::http::TlsFiles;
use crate::runtime::SocketChoice;

/// Where Kubernetes puts what a pod needs to talk to it.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A runtime that is gone: nothing listens on such a socket any more.
const DOCKERSHIM: &str = "dockershim.sock";

/// The tools that the agent can stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// kubevirt-metrics-collector: its configuration file, flags and metrics.
    Kubevirt,
}

/// Stands in for kubevirt-metrics-collector: tracks the processes that its configuration names, under the metrics and
/// labels of old. Flags of podscope itself follow after `--`.
#[derive(Parser, Clone, Debug)]
#[command(name = "podscope-agent --compat kubevirt", version)]
pub struct Flags {
    #[arg(long, value_enum, hide = true)]
    compat: Tool,

    /// The configuration: JSON with targets, listenaddress, criendpoint, interval, hostname and debugmode.
    #[arg(value_name = "CONFIG")]
    file: Option<PathBuf>,

    /// Print every metric to standard error, filled from this process, and exit.
    #[arg(short = 'M', long)]
    dump_metrics: bool,

    /// Print the configuration as it was understood to standard error, and exit.
    #[arg(short = 'C', long)]
    check_config: bool,

    /// Log which process was found in which pod.
    #[arg(short = 'D', long)]
    debug: bool,

    /// Time between collections, such as 5s or 1m30s; a scrape waits for figures that are no older than a second.
    #[arg(short = 'I', long, value_parser = file::duration)]
    interval: Option<Duration>,

    /// Accepted for the sake of older manifests: without a runtime the agent always goes on, and reports process
    /// numbers instead of domains.
    #[arg(short = 'F', long)]
    fake: bool,

    /// Certificate chain for TLS.
    #[arg(short = 'c', long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,

    /// Private key of the certificate.
    #[arg(short = 'k', long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,

    /// What is logged: 0 errors, 1 warnings, 2 what happens, 3 each process, 4 all.
    #[arg(short = 'v', default_value_t = 2)]
    verbosity: u8,

    /// Flags of podscope itself.
    #[arg(last = true, value_name = "PODSCOPE-FLAGS")]
    rest: Vec<OsString>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Start {
    /// To say something, and that is all.
    Say(String),
    /// To run.
    Run {
        /// The agent.
        config: Box<Config>,
        /// The older tool's page.
        settings: Settings,
        /// What in the configuration is not as it should be, for the log.
        warnings: Vec<String>,
    },
}

impl Flags {
    /// Whether a command line asks for a stand-in.
    pub fn asked(args: impl IntoIterator<Item = OsString>) -> bool {
        let flags = args.into_iter().take_while(|arg| arg != "--");
        flags.into_iter().any(|arg| arg == "--compat" || arg.to_string_lossy().starts_with("--compat="))
    }

    /// What to do.
    ///
    /// # Errors
    /// When the configuration is not given, cannot be used, or flags after `--` are wrong.
    pub fn start(self) -> anyhow::Result<Start> {
        if self.dump_metrics {
            return Ok(Start::Say(super::dump(Path::new("/proc"))));
        }
        let usage = "no configuration: podscope-agent --compat kubevirt /path/to/config.json";
        let (mut file, unknown) = File::read(self.file.as_deref().ok_or_else(|| anyhow::anyhow!(usage))?)?;
        let mut warnings: Vec<String> =
            unknown.iter().map(|key| format!("the configuration's key {key:?} means nothing")).collect();
        file.debugmode |= self.debug;
        let agent = self.agent(&file, &mut warnings)?;
        file.hostname = host(&file, &agent);
        file.interval = humantime::format_duration(agent.interval).to_string();
        let settings = Settings {
            targets: Targets::new(&file.targets)?,
            host: file.hostname.as_str().into(),
            listen: file.listenaddress.clone(),
            certificate: self.certificate(),
        };
        if self.check_config {
            return Ok(Start::Say(format!("{}\n", serde_json::to_string_pretty(&file)?)));
        }
        Ok(Start::Run { config: Box::new(agent), settings, warnings })
    }

    /// The agent's own configuration: its flags after `--` and its variables, then what the older tool's say.
    fn agent(&self, file: &File, warnings: &mut Vec<String>) -> anyhow::Result<Config> {
        let given = [OsString::from("podscope-agent")].into_iter().chain(self.rest.iter().cloned());
        let mut config = Config::try_parse_from(given)?;
        config.cri_socket = socket(&file.criendpoint, warnings)?;
        let wanted = match (self.interval, file.interval.as_str()) {
            (Some(interval), _) => Some(interval),
            (None, "") => None,
            (None, text) => Some(file::duration(text).map_err(|error| anyhow::anyhow!("interval: {error}"))?),
        };
        if let Some(interval) = wanted {
            config.interval = crate::config::interval(&interval.as_secs_f64().to_string())
                .map_err(|error| anyhow::anyhow!("interval: {error}"))?;
        }
        config.log_format = LogFormat::Json;
        config.log_level = match (file.debugmode, self.verbosity) {
            (true, 0..=2) => "info,podscope_agent::compat=debug",
            (_, 0) => "error",
            (_, 1) => "warn",
            (_, 2) => "info",
            (_, 3) => "info,podscope_agent::compat=debug",
            (_, 4..) => "debug",
        }
        .to_owned();
        Ok(config)
    }

    /// Files that were given, else within a cluster one of its own.
    fn certificate(&self) -> Certificate {
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            return Certificate::Files(TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: None });
        }
        let account = Path::new(ACCOUNT);
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && account.join("token").is_file();
        if !in_cluster {
            return Certificate::None;
        }
        let namespace = std::fs::read_to_string(account.join("namespace")).unwrap_or_default();
        let namespace = Some(namespace.trim()).filter(|text| !text.is_empty()).unwrap_or("default");
        Certificate::Own(Service { namespace: namespace.to_owned() })
    }
}

/// The runtime's socket. Configurations still name that of the dockershim, which no kubelet has had since 1.24.
fn socket(endpoint: &str, warnings: &mut Vec<String>) -> anyhow::Result<SocketChoice> {
    if endpoint.ends_with(DOCKERSHIM) && !Path::new(endpoint.trim_start_matches("unix://")).exists() {
        warnings.push(format!("criendpoint {endpoint}: there is no dockershim any more; the usual sockets are tried"));
        return Ok(SocketChoice::Auto);
    }
    if endpoint.starts_with('/') {
        warnings.push(format!("criendpoint {endpoint} is taken for unix://{endpoint}"));
    }
    endpoint.parse().map_err(|error| anyhow::anyhow!("criendpoint: {error}"))
}

/// The label `host`.
fn host(file: &File, agent: &Config) -> String {
    let given = [Some(file.hostname.clone()), std::env::var("KUBE_NODE_NAME").ok()];
    given.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_else(|| agent.node())
}
