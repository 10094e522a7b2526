//! TLS over real sockets, with certificates made for the test.

use std::{path::Path, sync::Arc, time::Duration};

use http::Request;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Bytes, Gateway, settings};
use crate::listener::{Settings, Tls, TlsFiles, TlsPort};

/// An authority that issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority {
        issuer: Issuer::new(params, key),
        pem,
    }
}

impl Authority {
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn install(&self, folder: &Path) -> TlsFiles {
        let (certificate, key) = self.issue("gateway.test");
        std::fs::write(folder.join("key.pem"), key).unwrap();
        std::fs::write(folder.join("certificate.pem"), certificate).unwrap();
        TlsFiles {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            client_ca: None,
        }
    }

    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &[u8],
        own: Option<(String, String)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }
}

fn with_tls(files: TlsFiles) -> Settings {
    let mut settings = settings();
    settings.tls = Some(Tls::load(files, TlsPort::Events).unwrap());
    settings
}

async fn connect(gateway: &Gateway, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from("gateway.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn request() -> Request<Full<Bytes>> {
    Request::post("https://gateway.test/one")
        .header("host", "gateway.test")
        .body(Full::from("accepted"))
        .unwrap()
}

async fn post_http1(stream: TlsStream<TcpStream>) -> u16 {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn both_versions_of_tls_carry_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let gateway = Gateway::start(with_tls(authority.install(folder.path())));
    for version in [&TLS12, &TLS13] {
        let stream = connect(&gateway, authority.client(&[version], b"http/1.1", None))
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(post_http1(stream).await, 202);

        let stream = connect(&gateway, authority.client(&[version], b"h2", None))
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request()).await.unwrap();
        assert_eq!(response.status().as_u16(), 202);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = authority();
    let gateway = Gateway::start(with_tls(old.install(folder.path())));
    let trusts = async |authority: &Authority| {
        connect(&gateway, authority.client(&[&TLS13], b"http/1.1", None))
            .await
            .is_ok()
    };
    assert!(trusts(&old).await);
    std::fs::write(folder.path().join("certificate.pem"), "no certificate").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(trusts(&old).await, "the last good one stays in force");
    let new = authority();
    new.install(folder.path());
    for attempt in 0.. {
        if trusts(&new).await {
            break;
        }
        assert!(attempt < 100, "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!trusts(&old).await);
}

#[tokio::test]
async fn a_senders_certificate_is_taken_where_its_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let [authority, stranger] = [authority(), authority()];
    let mut files = authority.install(folder.path());
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    files.client_ca = Some(ca);
    let gateway = Gateway::start(with_tls(files));
    for own in [None, Some(authority.issue("partner.test"))] {
        let stream = connect(&gateway, authority.client(&[&TLS13], b"http/1.1", own))
            .await
            .unwrap();
        assert_eq!(post_http1(stream).await, 202);
    }
    // With TLS 1.2 the refusal is part of the handshake; with 1.3 it comes after it.
    let unknown = authority.client(&[&TLS12], b"http/1.1", Some(stranger.issue("partner.test")));
    assert!(connect(&gateway, unknown).await.is_err());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let files = authority.install(folder.path());
    let missing = TlsFiles {
        key: folder.path().join("none.pem"),
        ..files.clone()
    };
    assert!(
        Tls::load(missing, TlsPort::Events)
            .unwrap_err()
            .to_string()
            .contains("none.pem")
    );
    let (other, _) = authority.issue("gateway.test");
    std::fs::write(folder.path().join("other.pem"), other).unwrap();
    let mixed = TlsFiles {
        certificate: folder.path().join("other.pem"),
        ..files
    };
    assert!(
        Tls::load(mixed, TlsPort::Events).is_err(),
        "key and certificate do not belong together"
    );
}

#[tokio::test]
async fn plain_text_on_the_tls_port_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(with_tls(authority().install(folder.path())));
    let mut client = gateway.connect().await;
    client.try_write(super::post("/one", "accepted")).await;
    while client.fill().await {}
    assert!(!client.read.starts_with(b"HTTP"));
    assert_eq!(gateway.requests(), 0);
}

#[tokio::test]
async fn connections_past_the_cap_of_a_tls_port_are_closed_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let mut settings = with_tls(authority.install(folder.path()));
    settings.limits.connections_per_address = 1;
    let gateway = Gateway::start(settings);
    let client = || authority.client(&[&TLS13], b"http/1.1", None);
    let first = connect(&gateway, client()).await.unwrap();
    assert!(connect(&gateway, client()).await.is_err(), "no handshake");
    let mut plain = gateway.connect().await;
    plain.try_write(super::post("/one", "accepted")).await;
    assert!(plain.is_closed().await, "{:?}", plain.read);
    assert_eq!(post_http1(first).await, 202);
}
