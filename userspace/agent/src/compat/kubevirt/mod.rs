//! `--compat kubevirt`: kubevirt-metrics-collector's command line, configuration file and metrics.
//!
//! The agent runs as ever, its own endpoint and exports included; the older tool's page stands on the address that the
//! configuration names. docs/compat-kubevirt.md says what differs.

mod certificate;
mod file;
mod flags;
mod target;
mod track;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use podscope_catalog::{Entity, id};

use crate::accounting::points::Points;
use crate::catalogue;
use crate::export::prometheus::{Families, Format, render};
use crate::http::{Server, Source, TlsFiles};
use crate::snapshot::{Attributes, Resource, ResourceAttribute, Snapshot};

pub use certificate::Service;
pub use file::{File, FileError, Target};
pub use flags::{Flags, Start, Tool};
pub use target::{Targets, WrongPattern};
pub use track::{Reading, Tracker};

/// What the older tool's address serves, and of which processes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which processes are tracked.
    pub targets: Targets,
    /// The label `host`.
    pub host: Arc<str>,
    /// `host:port`, where the host may be empty: every address.
    pub listen: String,
    /// The certificate to serve with.
    pub certificate: Certificate,
}

/// Where the certificate of the older tool's address comes from.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// There is none: plain HTTP.
    None,
    /// Files.
    Files(TlsFiles),
    /// Signed by its own authority when the agent starts, for a service of this namespace.
    Own(Service),
}

impl Settings {
    /// The files of the certificate, where it comes from files.
    pub fn files(&self) -> Option<TlsFiles> {
        match &self.certificate {
            Certificate::Files(files) => Some(files.clone()),
            Certificate::None | Certificate::Own(_) => None,
        }
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// When the address means nothing or cannot be had, or the certificate cannot be used.
    pub fn bind(&self) -> anyhow::Result<Server> {
        let mut last = None;
        for address in addresses(&self.listen)? {
            match Server::bind(address, self.files()) {
                Ok(server) => {
                    return match &self.certificate {
                        Certificate::Own(service) => Ok(server.with_certificate(service.certificate()?)?),
                        _ => Ok(server),
                    };
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("{:?} names no address", self.listen), Into::into))
    }
}

/// The addresses that `host:port` can mean, the best first. Without a host they are those of every interface.
fn addresses(listen: &str) -> anyhow::Result<Vec<SocketAddr>> {
    use anyhow::Context;
    if let Some(port) = listen.strip_prefix(':') {
        let port: u16 = port.parse().with_context(|| format!("listenaddress {listen:?}: {port:?} is no port"))?;
        return Ok(vec![
            (std::net::Ipv6Addr::UNSPECIFIED, port).into(),
            (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
        ]);
    }
    let found = listen
        .to_socket_addrs()
        .with_context(|| format!("listenaddress {listen:?} is no address: give host:port, such as \":9091\""))?;
    Ok(found.collect())
}

/// The older tool's page: what was tracked, its version, and the agent's own figures.
pub fn page(snapshot: &Snapshot) -> Snapshot {
    let own = snapshot.resources.iter().filter(|resource| resource.entity == Entity::Agent).cloned();
    let resources = snapshot.tracked.iter().cloned().chain([info()]).chain(own).collect();
    Snapshot { time_ns: snapshot.time_ns, resources, ..Snapshot::default() }
}

/// What `-M` prints: every metric, filled from this very process where that makes sense.
pub fn dump(proc: &Path) -> String {
    let own = catalogue::own(proc);
    let reading = Reading::of(proc, std::process::id()).into_iter();
    let tracked = track::resources("", reading.map(|reading| (("self".to_owned(), catalogue::executable()), reading)));
    let shown = page(&Snapshot { tracked, ..own });
    let mut page = Vec::new();
    render(&shown, Format::Text004, Families::WithPoints, &mut page);
    String::from_utf8_lossy(&page).into_owned()
}

/// The labels are those of the older tool; a Rust program has no Go version, and it is built without KubeVirt.
fn info() -> Resource {
    let none = |key| ResourceAttribute::label(key, "none");
    let mut points = Points::default();
    points.int(id::KUBEVIRT_INFO, 0, 1);
    Resource {
        entity: Entity::KubevirtInfo,
        attributes: Arc::new(Attributes::new(vec![
            none("branch"),
            none("goversion"),
            none("kubeversion"),
            ResourceAttribute::label("revision", concat!("podscope-", env!("CARGO_PKG_VERSION"))),
            ResourceAttribute::label("version", "1"),
        ])),
        start_ns: 0,
        kernel_start_ns: 0,
        ended: false,
        points: points.finish(),
    }
}

/// The source behind the older tool's address: the agent's own, seen through [`page`].
#[derive(Debug)]
pub struct Site<S>(pub Arc<S>);

impl<S: Source> Source for Site<S> {
    async fn fresh(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::new(page(&*self.0.fresh().await?)))
    }

    fn ready(&self) -> bool {
        self.0.ready()
    }

    fn only_metrics(&self) -> bool {
        true
    }

    fn status_json(&self) -> Vec<u8> {
        self.0.status_json()
    }

    fn top_json(&self, processes: usize) -> Vec<u8> {
        self.0.top_json(processes)
    }
}

#[cfg(test)]
mod tests;
