//! TLS towards the receiver, with ring as the provider.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// PEM files; read anew for each connection, because they are rotated.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsFiles {
    /// Authorities to trust instead of the system's.
    pub(super) ca: Option<PathBuf>,
    /// Certificate chain and private key of the client.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no usable {what} in PEM form: {reason}", path.display())]
    Content {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together.
    #[error("client certificate {} and key {} cannot be used together: {source}", cert.display(), key.display())]
    Identity {
        /// Certificate file.
        cert: PathBuf,
        /// Key file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The system has no certificate authorities.
    #[error("the system has no certificate authorities{0}; install ca-certificates or give --otlp-ca")]
    NoSystemRoots(String),
    /// The provider refuses the protocol versions.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    fn pem(what: &'static str, path: &Path, error: pem::Error) -> Self {
        let path = path.to_owned();
        match error {
            pem::Error::Io(source) => Self::Read { what, path, source },
            other => Self::Content { what, path, reason: other.to_string() },
        }
    }
}

/// Reads the files that are given, to find out whether they can be used.
pub(super) fn check(files: &TlsFiles) -> Result<(), TlsError> {
    let roots = files.ca.as_deref().map_or_else(|| Ok(RootCertStore::empty()), roots)?;
    configured(roots, files).map(drop)
}

/// A client's configuration that offers `protocol` by ALPN.
pub(super) fn client_config(files: &TlsFiles, protocol: &[u8]) -> Result<ClientConfig, TlsError> {
    let roots = files.ca.as_deref().map_or_else(system_roots, roots)?;
    let mut config = configured(roots, files)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn configured(roots: RootCertStore, files: &TlsFiles) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots);
    match &files.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates("client certificate", cert)?, private_key(key)?)
            .map_err(|source| TlsError::Identity { cert: cert.clone(), key: key.clone(), source }),
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(list) if list.is_empty() => Err(TlsError::pem(what, path, pem::Error::NoItemsFound)),
        other => other.map_err(|error| TlsError::pem(what, path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::pem("private key", path, error))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    const WHAT: &str = "CA certificate";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        roots.add(certificate).map_err(|error| TlsError::Content {
            what: WHAT,
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoSystemRoots(reason));
    }
    Ok(roots)
}
