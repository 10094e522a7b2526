//! Sockets, HTTP and its limits; a request's head and bounded body in, an answer out. It knows nothing of events but
//! how their outcomes read as a response.

mod accept;
mod addresses;
mod body;
mod exchange;
mod frames;
mod guard;
mod lent;
mod lines;
mod options;
mod pressure;
mod protocol;
mod proxy;
mod respond;
mod secured;
mod serve;
mod socket;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket};

pub use lines::ByCertificate;
pub use proxy::Proxies;
pub use secured::{Secured, SecuredConnection, SecuredStream};
pub use tls::{Tls, TlsError, TlsFiles, TlsPort};

use crate::{
    event::{Answer, PartnerName},
    limits::{Limits, QUEUE_TIME_MS},
    problem::Problem,
    telemetry::HttpNumbers,
};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// SHA-256 of the certificate that it proved to hold.
    pub certificate: Option<[u8; 32]>,
    proxies: Proxies,
}

impl Peer {
    /// Whose request this is: what trusted proxies say of it, else the peer itself.
    pub fn client(&self, headers: &http::HeaderMap) -> IpAddr {
        self.proxies.client(self.address.ip(), headers)
    }
}

/// Whether a webhook sender may deliver here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    None,
    AnyRate,
    PerMinute(u64),
}

/// A request that was let in by its head.
pub trait Admitted: Send + 'static {
    /// Before so many more bytes of its body are held.
    fn hold(&mut self, bytes: u64) -> Result<(), Problem>;
}

/// What stands behind the listener.
pub trait Ingest: Send + Sync + 'static {
    type Admission: Admitted;
    /// Before the body is read: refuses what is already certain. A [`Problem`] with `allow` answers `OPTIONS` with 204.
    fn admit(&self, head: &http::request::Parts, peer: &Peer) -> Result<Self::Admission, Problem>;
    /// The whole request; the body as sent, still compressed, within `limits.body_bytes`.
    fn ingest(
        &self,
        admission: Self::Admission,
        body: Bytes,
    ) -> impl Future<Output = Result<Answer, Problem>> + Send;
    /// Whose a connection for lines is, before it sends anything. A [`ByCertificate`] among the head's extensions says
    /// that the certificate stands for a key.
    fn sender(&self, head: &http::request::Parts, peer: &Peer) -> Result<PartnerName, Problem>;
    /// Whether some live key may be used by pages of this origin: they may read their answers.
    fn allows_origin(&self, origin: &str) -> bool;
    /// What a webhook sender's question by `OPTIONS` is answered.
    fn consent(&self, head: &http::request::Parts, peer: &Peer) -> Consent;
}

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;

/// How the listener serves.
#[derive(Clone)]
pub struct Settings {
    pub limits: Limits,
    /// How long a connection may rest between two requests, or stand still while a response is written.
    pub keep_alive: Duration,
    /// After so long between two requests a connection of HTTP/1 gives its buffers back.
    pub rest_after: Duration,
    /// How often a client of HTTP/2 is asked for a sign of life.
    pub http2_ping: Duration,
    /// `limits.body_min_bytes_per_s` holds over any span of this length.
    pub rate_window: Duration,
    /// How long requests may go on after shutdown has begun.
    pub shutdown_timeout: Duration,
    /// How long connections that are silent are kept after shutdown has begun.
    pub linger: Duration,
    /// The socket belongs to whoever handed it over, and outlives this process with all that waits in it.
    pub is_handed_over: bool,
    /// Requests are refused while work waits longer than this for a worker.
    pub queue_time: Duration,
    /// Between two summaries, in the log, of what was refused.
    pub summary_interval: Duration,
    /// Absent: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    pub proxies: Proxies,
    pub numbers: Arc<HttpNumbers>,
}

impl Settings {
    pub fn new(limits: Limits, shutdown_timeout: Duration, numbers: Arc<HttpNumbers>) -> Settings {
        Settings {
            limits,
            keep_alive: Duration::from_mins(1),
            rest_after: Duration::from_secs(2),
            http2_ping: Duration::from_secs(20),
            rate_window: Duration::from_secs(10),
            shutdown_timeout,
            linger: Duration::from_secs(1),
            is_handed_over: false,
            queue_time: Duration::from_millis(QUEUE_TIME_MS),
            summary_interval: Duration::from_mins(1),
            tls: None,
            proxies: Proxies::default(),
            numbers,
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A bound port for events, by HTTP or as lines.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

impl Listener {
    /// Binds the port, inside a tokio runtime; connections wait in the backlog until [`Listener::serve`] or
    /// [`Listener::serve_lines`].
    pub fn bind(address: SocketAddr, settings: Settings) -> io::Result<Listener> {
        let socket = bind(address)?;
        Ok(Listener {
            address: socket.local_addr()?,
            socket,
            settings,
        })
    }

    /// A socket that listens already, handed over by whoever started this process.
    pub fn take_over(socket: std::net::TcpListener, mut settings: Settings) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        settings.is_handed_over = true;
        Ok(Listener {
            address: socket.local_addr()?,
            socket,
            settings,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves; then takes no new connection, answers what still comes on those that there are
    /// as their last request, closes silent ones after `linger` and all others after `shutdown_timeout`.
    pub async fn serve<I: Ingest>(self, ingest: Arc<I>, shutdown: impl Future<Output = ()>) {
        serve::run(self.socket, self.settings, ingest, shutdown).await;
    }

    /// Serves events as lines until `shutdown` resolves; then takes no new connection, answers the lines that are being
    /// worked on, and closes.
    pub async fn serve_lines<I: Ingest>(self, ingest: Arc<I>, shutdown: impl Future<Output = ()>) {
        lines::run(self.socket, self.settings, ingest, shutdown).await;
    }
}
