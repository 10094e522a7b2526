//! The port for lines: connections, and who they are from. What is read and answered on them is the session's.

mod session;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{
    Ingest, Peer, Settings, addresses::Addresses, addresses::Place, bind, proxy, serve::ABORT_TIME,
    stream::Stream,
};
use crate::limits::{LINE_CONNECTIONS, LINE_IDLE_S};
use session::{Patience, Session};

/// A bound port for lines.
pub struct Lines {
    socket: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

/// A request of a connection that is known by its certificate, in the place of a key.
#[derive(Clone, Copy, Debug)]
pub struct ByCertificate;

struct Server<I> {
    ingest: Arc<I>,
    settings: Settings,
    addresses: Addresses,
    stopping: watch::Receiver<bool>,
}

impl Lines {
    /// Binds the port, inside a tokio runtime.
    pub fn bind(address: SocketAddr, settings: Settings) -> io::Result<Lines> {
        let socket = bind(address)?;
        Ok(Lines {
            address: socket.local_addr()?,
            socket,
            settings,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves; then takes no new connection, answers the lines that are being worked on, and
    /// closes. The certificate is followed by whoever serves HTTP with the same [`super::Tls`].
    pub async fn serve<I: Ingest>(self, ingest: Arc<I>, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let most = LINE_CONNECTIONS.min(self.settings.limits.connections);
        let shutdown_timeout = self.settings.shutdown_timeout;
        let server = Arc::new(Server {
            ingest,
            addresses: Addresses::new(self.settings.limits.connections_per_address),
            settings: self.settings,
            stopping,
        });
        let slots = Arc::new(Semaphore::new(most as usize));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Past the cap a connection is closed: it sees that at once, and comes again.
                    if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                        tokio::spawn(connection(Arc::clone(&server), stream, peer, slot));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for lines could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.socket);
        let _ = stop.send(true);
        let ended = timeout(shutdown_timeout + ABORT_TIME, slots.acquire_many(most)).await;
        if ended.is_err() {
            tracing::warn!("connections for lines outlived shutdown");
        }
    }
}

async fn connection<I: Ingest>(
    server: Arc<Server<I>>,
    stream: TcpStream,
    address: SocketAddr,
    _slot: OwnedSemaphorePermit,
) {
    let limits = &server.settings.limits;
    let header_time = Duration::from_secs(limits.header_time_s.into());
    let opening = timeout(header_time, open(&server, stream, address));
    let (stream, address, _place) = match opening.await {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection for lines could not be opened");
            return;
        }
        Err(_) => return,
    };
    let peer = Peer {
        address,
        certificate: stream.certificate(),
        proxies: server.settings.proxies.clone(),
    };
    let patience = Patience {
        greeting: header_time,
        idle: Duration::from_secs(LINE_IDLE_S),
        stalled: Duration::from_secs(limits.body_idle_s.into()),
        bytes_per_s: limits.body_min_bytes_per_s,
        writing: server.settings.keep_alive,
    };
    let session = Session::new(
        &*server.ingest,
        limits,
        patience,
        stream,
        peer,
        server.stopping.clone(),
    );
    if let Err(error) = session.run().await {
        tracing::debug!(%error, "a connection for lines ended early");
    }
}

/// The connection's bytes, and whose they are; none where its address has too many.
async fn open<I>(
    server: &Server<I>,
    mut stream: TcpStream,
    mut address: SocketAddr,
) -> io::Result<Option<(Stream, SocketAddr, Place)>> {
    if server.settings.proxies.introduces(address.ip())
        && let Some(client) = proxy::introduction(&mut stream).await?
    {
        address = client;
    }
    let Some(place) = server.addresses.take(address.ip()) else {
        return Ok(None);
    };
    stream.set_nodelay(true)?;
    let stream = match &server.settings.tls {
        None => Stream::Plain(stream),
        Some(tls) => Stream::Tls(Box::new(tls.accept(stream).await?)),
    };
    Ok(Some((stream, address, place)))
}
