//! Where the cluster is, and who we are to it: a kubeconfig, or the account of the pod that we run in.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::{Client, Error};

/// Where the kubelet puts a service account's files.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How the cluster is reached; nothing has been read so far.
#[derive(Clone, Debug)]
pub struct Access {
    source: Source,
    context: Option<String>,
    programs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Kubeconfigs, of which the first to say something is right.
    Files(Vec<PathBuf>),
    /// The pod's service account.
    Account,
}

/// Why there is no way into a cluster. Not a fault where none is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not configured: {0}")]
pub struct NotConfigured(&'static str);

impl Access {
    /// Takes the first of: `kubeconfig`, the files of the variable `KUBECONFIG`, the service account of the pod.
    ///
    /// `context`: the kubeconfig's context; its current one unless given. `variable`: looks variables up. Empty texts
    /// count as not given.
    ///
    /// # Errors
    /// When none of them is there.
    pub fn find(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NotConfigured> {
        let of_variable = || -> Vec<PathBuf> {
            let listed = variable("KUBECONFIG").unwrap_or_default();
            std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect()
        };
        let given = kubeconfig.filter(|path| !path.as_os_str().is_empty());
        let files = given.map_or_else(of_variable, |path| vec![path.to_owned()]);
        let in_pod = || variable("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty());
        let source = if !files.is_empty() {
            Source::Files(files)
        } else if !in_pod() {
            return Err(NotConfigured("no kubeconfig, and not in a pod"));
        } else if !Path::new(ACCOUNT).join("token").exists() {
            return Err(NotConfigured("no kubeconfig, and the pod has no service account's token"));
        } else {
            Source::Account
        };
        let context = context.filter(|context| !context.is_empty()).map(str::to_owned);
        Ok(Self { source, context, programs: false })
    }

    /// Lets the programs start that a kubeconfig names for credentials, such as `aws eks get-token`.
    ///
    /// Without this call they are refused, even where another crate of the same build has the feature switched on.
    #[cfg(feature = "exec")]
    #[must_use]
    pub fn with_programs(self) -> Self {
        Self { programs: true, ..self }
    }

    /// The files that may be read from now on, for who has to ask for permission: those named and those that they name.
    pub fn files(&self) -> Vec<PathBuf> {
        let Source::Files(files) = &self.source else {
            return ["token", "ca.crt", "namespace"].map(|file| Path::new(ACCOUNT).join(file)).into();
        };
        let mut all = files.clone();
        for config in files.iter().filter_map(|file| Kubeconfig::read_from(file).ok()) {
            let of_clusters = config.clusters.into_iter().filter_map(|named| named.cluster?.certificate_authority);
            let of_users = config.auth_infos.into_iter().filter_map(|named| named.auth_info);
            let of_users = of_users.flat_map(|user| [user.client_certificate, user.client_key, user.token_file]);
            all.extend(of_clusters.chain(of_users.flatten()).map(PathBuf::from));
        }
        all
    }

    /// Reads the configuration and the certificates that it names.
    ///
    /// # Errors
    /// [`Error::Config`], which names the file and what is wrong with it.
    pub fn load(&self) -> Result<Endpoint, Error> {
        let config = match &self.source {
            Source::Account => Config::incluster().map_err(|error| {
                Error::Config(format!("the pod's service account in {ACCOUNT} cannot be used: {error}"))
            })?,
            Source::Files(files) => self.of_files(files)?,
        };
        if !self.programs {
            refuse_programs(&config)?;
        }
        Ok(Endpoint { config })
    }

    fn of_files(&self, files: &[PathBuf]) -> Result<Config, Error> {
        let names = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            Error::Config(format!("the kubeconfig {names} cannot be used: {}", crate::client::chain(error)))
        };
        let mut merged = Kubeconfig::default();
        // As kubectl does it, a file of the list that does not exist is passed over.
        for file in files.iter().filter(|file| files.len() == 1 || file.exists()) {
            let read = Kubeconfig::read_from(file).and_then(|config| merged.clone().merge(config));
            merged = read.map_err(|error| unusable(&error))?;
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let loading = pin!(Config::from_custom_kubeconfig(merged, &options));
        // An async function that waits for nothing.
        match loading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(config) => config.map_err(|error| unusable(&error)),
            Poll::Pending => Err(Error::Config(format!("the kubeconfig {names} was not read at once"))),
        }
    }
}

fn refuse_programs(config: &Config) -> Result<(), Error> {
    let user = &config.auth_info;
    let program = match (&user.exec, &user.auth_provider) {
        (Some(exec), _) => exec.command.as_deref().unwrap_or("a program"),
        (None, Some(provider)) => provider.name.as_str(),
        (None, None) => return Ok(()),
    };
    Err(Error::Config(format!(
        "the kubeconfig takes its credentials from {program:?}, and no other program is started here: give a user with a \
         token, a token file or a certificate, such as a service account's"
    )))
}

/// A server and the credentials for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    config: Config,
}

/// What makes a kubelet's certificate trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The cluster's authority: where the kubelets' certificates are signed by it (`serverTLSBootstrap`).
    #[default]
    Cluster,
    /// An authority in this file.
    Authority(PathBuf),
    /// Nothing: who pretends to be the kubelet learns the token.
    Anyone,
}

impl Endpoint {
    /// Scheme, host and port.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        let url = &self.config.cluster_url;
        url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 })
    }

    /// The kubelet at an address, such as `192.0.2.7:10250`, with the same credentials.
    ///
    /// # Errors
    /// [`Error::Config`] when the address is none.
    pub fn kubelet(&self, address: &str, trust: &Trust) -> Result<Self, Error> {
        let url = format!("https://{address}/");
        let url = url.parse().map_err(|error| Error::Config(format!("{url} is no address of a kubelet: {error}")))?;
        let mut config = self.config.clone();
        (config.cluster_url, config.tls_server_name, config.proxy_url) = (url, None, None);
        config.accept_invalid_certs = *trust == Trust::Anyone;
        match trust {
            Trust::Cluster => {}
            Trust::Authority(file) => config.root_cert_file = Some(file.clone()),
            Trust::Anyone => config.root_cert_file = None,
        }
        Ok(Self { config })
    }

    /// A client; nothing is sent so far.
    ///
    /// # Errors
    /// [`Error::Config`] when a token, certificate or key cannot be used.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(self.config.clone())
    }
}

#[cfg(test)]
mod tests;
