//! Certificates of the commands that speak to a gateway behind TLS.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Certificate, ClientBuilder, Identity};

use super::failure::Failure;
use crate::config::bounded_text;

/// A longer file holds no certificates that anybody would send.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Certificates for an admin API behind TLS; all files are PEM.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArguments {
    /// Authorities that the gateway's certificate may be signed by, besides the system's.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWORKS_CACERT")]
    pub cacert: Option<PathBuf>,
    /// A client certificate and those between it and its root.
    #[arg(long, global = true, value_name = "FILE", env = "HEADWORKS_CERT")]
    pub cert: Option<PathBuf>,
    /// The client certificate's private key, in PKCS #8.
    #[arg(long = "key", global = true, value_name = "FILE", env = "HEADWORKS_CERT_KEY")]
    pub cert_key: Option<PathBuf>,
}

/// The client, with what the arguments say.
pub fn with(mut client: ClientBuilder, arguments: &TlsArguments) -> Result<ClientBuilder, Failure> {
    if let Some(path) = &arguments.cacert {
        let found = Certificate::from_pem_bundle(read(path)?.as_bytes());
        let certificates = found.unwrap_or_default();
        if certificates.is_empty() {
            let shown = path.display();
            return Err(Failure::Usage(format!(
                "--cacert {shown} holds no certificate in PEM"
            )));
        }
        client = client.tls_certs_merge(certificates);
    }
    let (certificate, key) = match (&arguments.cert, &arguments.cert_key) {
        (None, None) => return Ok(client),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(lacks("--cert", "--key", "private key")),
        (None, Some(_)) => return Err(lacks("--key", "--cert", "certificate")),
    };
    let identity = Identity::from_pkcs8_pem(read(certificate)?.as_bytes(), read(key)?.as_bytes());
    let identity = identity.map_err(|_| {
        let (certificate, key) = (certificate.display(), key.display());
        Failure::Usage(format!(
            "--cert {certificate} and --key {key} are no certificate with its private key: both must be PEM, and the key \
             PKCS #8 without a password (openssl pkcs8 -topk8 -nocrypt -in {key} -out NEW)"
        ))
    })?;
    Ok(client.identity(identity))
}

fn lacks(given: &str, other: &str, what: &str) -> Failure {
    Failure::Usage(format!("{given} needs {other}: name the file of its {what} too"))
}

fn read(path: &Path) -> Result<String, Failure> {
    bounded_text(path, FILE_BYTES_MAX).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })
}
