//! Flags and variables of the cluster.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use podscope_cluster::{Access, Endpoint, Trust};

use super::not_configured;

/// The kubelet's usual port.
const KUBELET_PORT: u16 = 10_250;

/// The flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubeArgs {
    /// Whether the Kubernetes API is asked for this node's pods and its object; `auto` does where there is a way in.
    #[arg(long, value_enum, value_name = "CHOICE", env = "PODSCOPE_KUBE_API", default_value = "auto")]
    pub kube_api: ApiChoice,

    /// The way to the API; without it the files of KUBECONFIG, else the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig instead of its current one.
    #[arg(long, value_name = "NAME", env = "KUBE_CONTEXT")]
    pub context: Option<String>,

    /// Where metrics-server's figures are taken from: `kubelet`, what metrics-server itself reads; `api`, metrics.k8s.io;
    /// `auto`, the second where the first does not answer.
    #[arg(long, value_enum, value_name = "CHOICE", env = "PODSCOPE_KUBE_METRICS", default_value = "auto")]
    pub kube_metrics: MetricsChoice,

    /// Time between two questions to the kubelet; metrics.k8s.io is asked at a quarter of that rate: seconds, 1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = crate::config::long_interval)]
    pub kube_metrics_interval: Duration,

    /// With metrics.k8s.io: a node with more pods than these asks for those of virtual machines alone.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub kube_metrics_pods: u32,

    /// The kubelet, unless it is at HOST_IP and port 10250.
    #[arg(long, value_name = "ADDRESS:PORT", env = "PODSCOPE_KUBELET")]
    pub kubelet: Option<String>,

    /// Authority of the kubelet's certificate, unless it is the cluster's.
    #[arg(long, value_name = "FILE")]
    pub kubelet_ca: Option<PathBuf>,

    /// Send the kubelet the token whatever its certificate is: who takes its place learns the token.
    #[arg(long, conflicts_with = "kubelet_ca")]
    pub kubelet_insecure_tls: bool,
}

/// Whether the API is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiChoice {
    /// Where there is a way in.
    Auto,
    /// Never.
    Off,
}

/// Where metrics-server's figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsChoice {
    /// The kubelet, else metrics.k8s.io.
    Auto,
    /// The kubelet alone.
    Kubelet,
    /// metrics.k8s.io alone.
    Api,
    /// Nowhere.
    Off,
}

/// All that the tasks need to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The way in, or why there is none.
    pub access: Result<Access, String>,
    /// This node's name.
    pub node: String,
    /// Where metrics-server's figures come from.
    pub metrics: MetricsChoice,
    /// Address and port of the kubelet, where known.
    pub kubelet: Option<String>,
    /// What makes its certificate trusted.
    pub trust: Trust,
    /// Between two questions to the kubelet.
    pub interval: Duration,
    /// Most pods of a node that are asked for one by one.
    pub single_pods: usize,
}

impl KubeArgs {
    /// `node`: this node's name; `variable`: looks variables up.
    pub fn resolve(&self, node: &str, variable: impl Fn(&str) -> Option<String>) -> Config {
        let access = match self.kube_api {
            ApiChoice::Off => Err("--kube-api off".to_owned()),
            ApiChoice::Auto => Access::find(self.kubeconfig.as_deref(), self.context.as_deref(), &variable)
                .map_err(|error| not_configured(&error)),
        };
        let host = || variable("HOST_IP").filter(|address| !address.is_empty());
        let given = self.kubelet.clone().filter(|address| !address.is_empty());
        let trust = match &self.kubelet_ca {
            _ if self.kubelet_insecure_tls => Trust::Anyone,
            Some(file) => Trust::Authority(file.clone()),
            None => Trust::Cluster,
        };
        Config {
            access,
            node: node.to_owned(),
            metrics: self.kube_metrics,
            kubelet: given.or_else(host).map(with_port),
            trust,
            interval: self.kube_metrics_interval,
            single_pods: self.kube_metrics_pods as usize,
        }
    }
}

/// An address with its port, if it has none with the usual one.
fn with_port(address: String) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{KUBELET_PORT}"),
        _ if address.contains(':') => address,
        _ => format!("{address}:{KUBELET_PORT}"),
    }
}

impl Config {
    /// The ports that are connected to, for who has to ask for permission; none where the configuration cannot be read.
    pub fn ports(&self) -> Vec<u16> {
        let Some(endpoint) = self.access.as_ref().ok().and_then(|access| access.load().ok()) else { return Vec::new() };
        let kubelet = self.kubelet.as_ref().and_then(|address| endpoint.kubelet(address, &Trust::Anyone).ok());
        [Some(endpoint), kubelet].iter().flatten().map(Endpoint::port).collect()
    }

    /// The files that are read, for who has to ask for permission.
    pub fn files(&self) -> Vec<PathBuf> {
        let Ok(access) = &self.access else { return Vec::new() };
        let authority = match &self.trust {
            Trust::Authority(file) => Some(file.clone()),
            _ => None,
        };
        access.files().into_iter().chain(authority).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        kube: KubeArgs,
    }

    fn resolve(flags: &[&str], host: &str) -> Config {
        let flags = Flags::try_parse_from(std::iter::once(&"podscope-agent").chain(flags)).unwrap();
        flags.kube.resolve("node1", |name| (name == "HOST_IP").then(|| host.to_owned()))
    }

    #[test]
    fn the_kubelet_is_on_this_host_unless_told_otherwise() {
        for (flags, host, expected) in [
            (&[][..], "192.0.2.7", Some("192.0.2.7:10250")),
            (&[], "2001:db8::7", Some("[2001:db8::7]:10250")),
            (&[], "", None),
            (&["--kubelet", "node.example"], "192.0.2.7", Some("node.example:10250")),
            (&["--kubelet", "[2001:db8::7]:20250"], "192.0.2.7", Some("[2001:db8::7]:20250")),
            (&["--kubelet", ""], "192.0.2.7", Some("192.0.2.7:10250")),
        ] {
            assert_eq!(resolve(flags, host).kubelet.as_deref(), expected, "{flags:?} {host}");
        }
    }

    #[test]
    fn nothing_is_reached_for_where_nothing_is_asked() {
        for flags in [&["--kube-api", "off", "--kubeconfig", "/nowhere/config"][..], &[]] {
            let config = resolve(flags, "192.0.2.7");
            assert!(config.access.is_err() && config.ports().is_empty() && config.files().is_empty(), "{flags:?}");
        }
        let config = resolve(&["--kubeconfig", "/nowhere/config", "--kubelet-ca", "/nowhere/ca.pem"], "");
        assert_eq!(config.files(), [PathBuf::from("/nowhere/config"), PathBuf::from("/nowhere/ca.pem")]);
        assert_eq!(config.trust, Trust::Authority("/nowhere/ca.pem".into()));
    }
}
