//! Takes the connections of a port, one after the other.

use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use tokio::net::{TcpListener, TcpStream};

/// Out of file descriptors: the next attempt fails as well until a connection has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// Begins each connection that comes, until `shutdown` resolves.
pub(super) async fn connections(
    socket: &TcpListener,
    shutdown: impl Future<Output = ()>,
    begin: impl Fn(TcpStream, SocketAddr),
) {
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
