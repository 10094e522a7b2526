//! Where the API's connections come from, and who is at their other end.

use std::{io, net::SocketAddr};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// It proved to hold a client certificate that is believed.
    pub is_certified: bool,
}

/// Connections that are ready to be spoken on.
pub trait Connections: Send + 'static {
    type Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn address(&self) -> io::Result<SocketAddr>;
    /// The next one; what goes wrong with a single one is not told.
    fn accept(&mut self) -> impl Future<Output = (Self::Connection, Peer)> + Send;
}

/// Plain ones, whose clients have no certificate.
impl Connections for TcpListener {
    type Connection = TcpStream;

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn accept(&mut self) -> (TcpStream, Peer) {
        let (stream, address) = Listener::accept(self).await;
        let is_certified = false;
        (
            stream,
            Peer {
                address,
                is_certified,
            },
        )
    }
}

/// The same, as axum takes them.
pub(super) struct Port<C>(pub C);

impl<C: Connections> Listener for Port<C> {
    type Io = C::Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (C::Connection, Peer) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let address = self.0.address()?;
        let is_certified = false;
        Ok(Peer {
            address,
            is_certified,
        })
    }
}

impl<C: Connections> Connected<IncomingStream<'_, Port<C>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Port<C>>) -> Peer {
        *stream.remote_addr()
    }
}
