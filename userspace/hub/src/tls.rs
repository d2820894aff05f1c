//! TLS: files in PEM, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::Entry;

/// The files of a TLS server.
#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// When each of the files was last changed.
type Stamps = [Option<SystemTime>; 3];

/// TLS with the files as they were last read.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    current: Mutex<(Stamps, Arc<ServerConfig>)>,
}

impl Tls {
    /// Where a certificate is given.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub(crate) fn load(entry: &Entry) -> Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&entry.tls_cert, &entry.tls_key) else { return Ok(None) };
        let files = Files { cert: cert.clone(), key: key.clone(), client_ca: entry.tls_client_ca.clone() };
        let current = Mutex::new((files.stamps(), files.config()?));
        Ok(Some(Self { files, current }))
    }

    /// For the next connection: with the files of now, or while these cannot be used, with the last that could.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps != current.0 {
            current.0 = stamps;
            match self.files.config() {
                Ok(config) => {
                    current.1 = config;
                    tracing::info!("read the TLS files again: {} has changed", self.files.cert.display());
                }
                Err(error) => tracing::warn!("keep the TLS files read before: {error:#}"),
            }
        }
        Arc::clone(&current.1).into()
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        let stamp = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        [stamp(&self.cert), stamp(&self.key), self.client_ca.as_deref().and_then(stamp)]
    }

    fn config(&self) -> Result<Arc<ServerConfig>> {
        // Named, because no process-wide default may have been installed.
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().context("cannot serve TLS")?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).with_context(|| format!("cannot verify clients by {}", path.display()))?;
                }
                // People come without a certificate; the guard asks them for a password.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = verifier.allow_unauthenticated().build();
                let verifier = verifier.with_context(|| format!("cannot verify clients by {}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (cert, key) = (self.cert.display(), self.key.display());
        let private = PrivateKeyDer::from_pem_file(&self.key);
        let private = private.with_context(|| format!("cannot read a private key from {key}"))?;
        let config = builder.with_single_cert(certificates(&self.cert)?, private);
        let mut config =
            config.with_context(|| format!("cannot serve TLS with certificate {cert} and private key {key}"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || format!("cannot read a certificate from {}", path.display());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(read)?.collect();
    match all.with_context(read)? {
        all if all.is_empty() => bail!("there is no certificate in {}", path.display()),
        all => Ok(all),
    }
}
