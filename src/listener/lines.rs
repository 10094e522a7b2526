//! The port for lines: connections, and who they are from. What is read and answered on them is the session's.

mod greeting;
mod session;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{
    Ingest, Peer, Settings, accept,
    addresses::{Addresses, Place},
    body::Pace,
    proxy,
    serve::ABORT_TIME,
    stream::Stream,
};
use crate::limits::{LINE_CONNECTIONS, LINE_IDLE_S};
use session::{Patience, Session};

/// A request of a connection that is known by its certificate, in the place of a key.
#[derive(Clone, Copy, Debug)]
pub struct ByCertificate;

struct Server<I> {
    ingest: Arc<I>,
    settings: Settings,
    addresses: Addresses,
    stopping: watch::Receiver<bool>,
}

/// The certificate is followed by whoever serves HTTP with the same [`super::Tls`].
pub(super) async fn run<I: Ingest>(
    socket: TcpListener,
    settings: Settings,
    ingest: Arc<I>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let most = LINE_CONNECTIONS.min(settings.limits.connections);
    let shutdown_timeout = settings.shutdown_timeout;
    let server = Arc::new(Server {
        ingest,
        addresses: Addresses::new(settings.limits.connections_per_address),
        settings,
        stopping,
    });
    let slots = Arc::new(Semaphore::new(most as usize));
    accept::connections(&socket, shutdown, |stream, peer| {
        // Past the cap a connection is closed: it sees that at once, and comes again.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            tokio::spawn(connection(Arc::clone(&server), stream, peer, slot));
        }
    })
    .await;
    drop(socket);
    let _ = stop.send(true);
    let ended = timeout(shutdown_timeout + ABORT_TIME, slots.acquire_many(most)).await;
    if ended.is_err() {
        tracing::warn!("connections for lines outlived shutdown");
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
        pace: Pace::of(&server.settings),
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
