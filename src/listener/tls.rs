//! TLS 1.2 and 1.3 of the ports. The certificate is read anew when its files change; a change that cannot be used
//! leaves the last good one in force.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, in this order.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// What a port speaks inside TLS, and what becomes of a client that shows no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPort {
    /// Both versions of HTTP. A sender without a certificate is served: each partner says whether it needs one.
    Events,
    /// HTTP/1.1. With a `client_ca`, the handshake fails without a certificate where one is `required`.
    Admin { required: bool },
}

/// Why the files cannot be used: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}")]
pub struct TlsError {
    file: String,
    fault: String,
}

/// The configuration in force.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    port: TlsPort,
    current: ArcSwap<ServerConfig>,
}

/// Size and time of each file: what tells that it changed.
type Stamp = Vec<Option<(u64, SystemTime)>>;

fn failed(path: &Path) -> impl Fn(String) -> TlsError {
    let file = path.display().to_string();
    move |fault| TlsError {
        file: file.clone(),
        fault,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = failed(path);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

fn load(files: &TlsFiles, port: TlsPort) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key)(error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(&files.certificate)(error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let failed = failed(path);
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| failed(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match port {
                TlsPort::Admin { required: true } => verifier,
                TlsPort::Admin { required: false } | TlsPort::Events => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| failed(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| failed(&files.certificate)(error.to_string()))?;
    config.alpn_protocols = match port {
        TlsPort::Events => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        TlsPort::Admin { .. } => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

fn stamp(files: &TlsFiles) -> Stamp {
    [
        Some(&files.certificate),
        Some(&files.key),
        files.client_ca.as_ref(),
    ]
    .into_iter()
    .flatten()
    .map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
    .collect()
}

impl Tls {
    /// # Errors
    ///
    /// Where a file cannot be read, holds nothing of its kind, or key and certificate do not belong together.
    pub fn load(files: TlsFiles, port: TlsPort) -> Result<Arc<Tls>, TlsError> {
        let config = load(&files, port)?;
        Ok(Arc::new(Tls {
            files,
            port,
            current: ArcSwap::from_pointee(config),
        }))
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }

    /// Looks at the files for ever.
    pub(super) async fn follow(self: Arc<Tls>) {
        let mut known = self.stamp().await;
        let mut settling = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.stamp().await;
            if now == known {
                settling = None;
                continue;
            }
            // A change that is still going on is not read: certificate and key are two files.
            if settling.as_ref() != Some(&now) {
                settling = Some(now);
                continue;
            }
            known = now;
            settling = None;
            let (files, port) = (self.files.clone(), self.port);
            match tokio::task::spawn_blocking(move || load(&files, port)).await {
                Ok(Ok(config)) => {
                    self.current.store(Arc::new(config));
                    tracing::info!("the TLS certificate was read anew");
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the changed TLS files cannot be used; the last good ones stay in force");
                }
                Err(error) => tracing::error!(%error, "reading the TLS files failed"),
            }
        }
    }

    async fn stamp(&self) -> Stamp {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || stamp(&files))
            .await
            .unwrap_or_default()
    }
}
