//! TLS for the server: files in PEM, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use tokio_rustls::TlsAcceptor;

/// The files of a TLS server, all PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub cert: PathBuf,
    /// Private key of the certificate (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Authorities; where given, a client must show a certificate signed by one of them.
    pub client_ca: Option<PathBuf>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read or is not what it should be.
    #[error("cannot read a {what} from {path}: {reason}")]
    Read {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The reason.
        reason: pem::Error,
    },
    /// A certificate that was made here cannot be used.
    #[error("cannot serve TLS with a certificate of the agent's own making: {0}")]
    Made(rustls::Error),
    /// A certificate and its key do not fit, or the library refuses them.
    #[error("cannot serve TLS with certificate {cert} and key {key}: {reason}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason.
        reason: rustls::Error,
    },
    /// The client authorities cannot be used.
    #[error("cannot verify clients by {path}: {reason}")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// TLS with the files as they were last read, or with a certificate that is in none.
#[derive(Debug)]
pub(super) struct Tls {
    files: Option<TlsFiles>,
    current: Mutex<(Stamps, Arc<ServerConfig>)>,
}

/// When each of the files was last changed.
type Stamps = [Option<SystemTime>; 3];

impl Tls {
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Mutex::new((files.stamps(), files.config()?));
        Ok(Self { files: Some(files), current })
    }

    pub(super) fn made(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        let config = builder().and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(TlsError::Made)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files: None, current: Mutex::new((Stamps::default(), Arc::new(config))) })
    }

    /// For the next connection: with the files of now, or while these cannot be used, with the last that could.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &self.files
            && files.stamps() != current.0
        {
            current.0 = files.stamps();
            match files.config() {
                Ok(config) => {
                    current.1 = config;
                    tracing::info!("read the TLS files again: {} has changed", files.cert.display());
                }
                Err(error) => tracing::warn!("keep the TLS files read before: {error}"),
            }
        }
        current.1.clone().into()
    }
}

impl TlsFiles {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn stamps(&self) -> Stamps {
        let stamp = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        [stamp(&self.cert), stamp(&self.key), self.client_ca.as_deref().and_then(stamp)]
    }

    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|reason| TlsError::Read {
            what: "private key",
            path: self.key.clone(),
            reason,
        })?;
        let refused = |reason| TlsError::Pair { cert: self.cert.clone(), key: self.key.clone(), reason };
        let builder = builder().map_err(refused)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let fault = |reason: String| TlsError::ClientCa { path: path.clone(), reason };
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| fault(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| fault(error.to_string()))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(refused)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Named, because a process-wide default may not have been installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |reason| TlsError::Read { what: "certificate", path: path.to_owned(), reason };
    let all: Vec<_> = CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if all.is_empty() { Err(read(pem::Error::NoItemsFound)) } else { Ok(all) }
}
