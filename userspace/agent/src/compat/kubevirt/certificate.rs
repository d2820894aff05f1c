//! A certificate of the agent's own making.
//!
//! In a cluster the older tool serves HTTPS by such a one unless it is given files, and its scrapers do not verify it:
//! this keeps them going, and is no proof of who answers.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name of the older tool's service.
const NAME: &str = "kubevirt-metrics-collector";

/// The service that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Of the agent's pod.
    pub namespace: String,
}

impl Service {
    /// The names it answers to.
    fn names(&self) -> Vec<String> {
        let namespace = &self.namespace;
        vec![
            NAME.to_owned(),
            format!("{NAME}.{namespace}"),
            format!("{NAME}.{namespace}.svc"),
            format!("{NAME}.{namespace}.svc.cluster.local"),
        ]
    }

    /// A chain, the server's own certificate first, and its key.
    ///
    /// # Errors
    /// When the library refuses a name, or there is no randomness.
    pub fn certificate(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let what = || format!("cannot make a certificate for {NAME} in the namespace {:?}", self.namespace);
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "kubevirt.io");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority =
            KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(authority, key)).with_context(what)?;
        let mut server = CertificateParams::new(self.names()).with_context(what)?;
        let common = format!("{NAME}.{}.pod.cluster.local", self.namespace);
        server.distinguished_name.push(DnType::CommonName, common);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().with_context(what)?;
        let signed = server.signed_by(&key, &authority).with_context(what)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok((vec![signed.der().clone(), authority.der().clone()], private))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// openssl reads it.
    #[test]
    fn it_stands_for_the_four_names_of_the_service() {
        let (chain, _) = Service { namespace: "kubevirt".into() }.certificate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [server, authority] = ["server", "authority"].map(|name| dir.path().join(name));
        for (file, certificate) in [(&server, &chain[0]), (&authority, &chain[1])] {
            std::fs::write(file, certificate).unwrap();
        }
        let openssl = |args: &[&str]| {
            let said = std::process::Command::new("openssl").args(args).output();
            let said = said.expect("this test needs openssl: apt-get install openssl");
            (said.status.success(), String::from_utf8_lossy(&said.stdout).into_owned())
        };
        let (_, text) = openssl(&["x509", "-inform", "der", "-noout", "-text", "-in", server.to_str().unwrap()]);
        for name in ["", ".kubevirt", ".kubevirt.svc", ".kubevirt.svc.cluster.local"] {
            assert!(text.contains(&format!("DNS:{NAME}{name}")), "{name}: {text}");
        }
        assert!(text.contains("Issuer: CN = kubevirt.io") && text.contains("TLS Web Server Authentication"), "{text}");
        let trusted = dir.path().join("trusted.pem");
        openssl(&["x509", "-inform", "der", "-in", authority.to_str().unwrap(), "-out", trusted.to_str().unwrap()]);
        let leaf = dir.path().join("server.pem");
        openssl(&["x509", "-inform", "der", "-in", server.to_str().unwrap(), "-out", leaf.to_str().unwrap()]);
        assert!(openssl(&["verify", "-CAfile", trusted.to_str().unwrap(), leaf.to_str().unwrap()]).0);
    }
}
