//! TLS for both ends and the listeners: PEM files in, a connected stream or what makes one out.
//!
//! Files are read at every connect, so that renewed certificates are taken up without a restart; a listener sees to
//! that by itself. It must never offer a way to skip verification.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem, pem::PemObject},
    },
};

use crate::settings::{ServerFiles, TlsFiles};

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it is named for.
    #[error("{path} holds no usable {what}: {reason}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// No trusted authority was found.
    #[error("the system has no trusted certificates ({0}); name a `ca` file")]
    NoRoots(String),
    /// A certificate without its key, or the reverse.
    #[error("`certificate` and `key` go together")]
    HalfIdentity,
    /// Certificate and key cannot be used together.
    #[error("certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    /// The name to verify is none.
    #[error("{name:?} is no name that a certificate can hold")]
    ServerName {
        /// What was given.
        name: String,
        /// Why not.
        source: InvalidDnsNameError,
    },
    /// The handshake failed; the certificate may be the reason.
    #[error("TLS handshake: {0}")]
    Handshake(#[from] io::Error),
}

/// The client side's configuration, from files: trusted authorities and, where given, our own certificate.
///
/// Reads files, so that a caller within a runtime prefers [`connect`].
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?
        .with_root_certificates(roots(files)?);
    let config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(TlsError::Identity)?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    Ok(Arc::new(config))
}

/// The server side's configuration, from files; clients need no certificate.
///
/// Reads files, as [`client_config`] does.
pub fn server_config(files: &ServerFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?
        .with_no_client_auth()
        .with_single_cert(certificates(&files.certificate)?, private_key(&files.key)?)
        .map_err(TlsError::Identity)?;
    Ok(Arc::new(config))
}

/// Shakes hands over a TCP connection; `host` is verified unless the files say another name.
pub async fn connect(stream: TcpStream, host: &str, files: &TlsFiles) -> Result<TlsStream<TcpStream>, TlsError> {
    let name = files.server_name.as_deref().unwrap_or(host);
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|source| TlsError::ServerName { name: name.to_owned(), source })?;
    let files = files.clone();
    let config = tokio::task::spawn_blocking(move || client_config(&files)).await.map_err(io::Error::other)??;
    Ok(TlsConnector::from(config).connect(server_name, stream).await?)
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| pem_error(path, "trusted certificate", &error))?;
        }
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let reasons: Vec<String> = native.errors.iter().map(ToString::to_string).collect();
            return Err(TlsError::NoRoots(reasons.join("; ")));
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(pem_error(path, "certificate", &pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(error) => Err(pem_error(path, "certificate", &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| pem_error(path, "private key", &error))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn pem_error(path: &Path, what: &'static str, reason: &impl ToString) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_files_name_the_file_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "no certificate in here").unwrap();
        let say = |files: TlsFiles| client_config(&files).unwrap_err().to_string();

        let text = say(TlsFiles { ca: Some(missing.clone()), ..TlsFiles::default() });
        assert!(text.starts_with("cannot read") && text.contains("missing.pem"), "{text}");
        let text = say(TlsFiles { ca: Some(empty), ..TlsFiles::default() });
        assert!(text.contains("empty.pem holds no usable certificate"), "{text}");
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let files = TlsFiles { certificate: Some("c.pem".into()), ..TlsFiles::default() };
        let error = client_config(&files).err();
        assert!(matches!(error, Some(TlsError::HalfIdentity | TlsError::NoRoots(_))), "{error:?}");
    }
}
