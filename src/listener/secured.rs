//! Connections, out of TLS, of a port whose HTTP is somebody else's. Handshakes run beside each other: a slow one holds
//! up nobody.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{Tls, accept};
use crate::limits::{ADMIN_HANDSHAKE_S, ADMIN_HANDSHAKES};

pub type SecuredStream = TlsStream<TcpStream>;

/// One connection, after its handshake.
pub struct SecuredConnection {
    pub stream: SecuredStream,
    pub address: SocketAddr,
    /// The client proved to hold a certificate that an authority of `client_ca` has signed.
    pub is_certified: bool,
}

/// A port that speaks TLS.
pub struct Secured {
    opened: mpsc::Receiver<SecuredConnection>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Secured {
    /// Inside a tokio runtime; follows the files of the certificate as long as it lives.
    pub fn new(socket: TcpListener, tls: Arc<Tls>) -> io::Result<Secured> {
        let address = socket.local_addr()?;
        let (open, opened) = mpsc::channel(ADMIN_HANDSHAKES);
        let following = tokio::spawn(Arc::clone(&tls).follow());
        let slots = Arc::new(Semaphore::new(ADMIN_HANDSHAKES));
        let accepting = tokio::spawn(async move {
            accept::connections(&socket, std::future::pending(), |stream, address| {
                // Closed at once: who has to wait for a slot would wait for those who hold them on purpose.
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    return;
                };
                let (tls, open) = (Arc::clone(&tls), open.clone());
                tokio::spawn(async move {
                    if let Some(connection) = handshake(&tls, stream, address).await {
                        // Where nobody takes it any more, it is closed.
                        let _ = open.send(connection).await;
                    }
                    drop(slot);
                });
            })
            .await;
        });
        Ok(Secured {
            opened,
            address,
            tasks: [accepting, following],
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub async fn accept(&mut self) -> SecuredConnection {
        match self.opened.recv().await {
            Some(connection) => connection,
            // The accepting task holds a sender, and never ends by itself.
            None => std::future::pending().await,
        }
    }
}

async fn handshake(tls: &Tls, stream: TcpStream, address: SocketAddr) -> Option<SecuredConnection> {
    match timeout(Duration::from_secs(ADMIN_HANDSHAKE_S), tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            Some(SecuredConnection {
                is_certified: certificates.is_some_and(|chain| !chain.is_empty()),
                stream,
                address,
            })
        }
        Ok(Err(error)) => {
            tracing::info!(%address, %error, "a TLS handshake with the admin port failed");
            None
        }
        Err(_) => {
            tracing::info!(%address, "a TLS handshake with the admin port took too long");
            None
        }
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
