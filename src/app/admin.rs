//! The admin port: plain or out of TLS, and whose tokens it takes.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle};

use super::{AppError, failed, tls_files};
use crate::{
    admin::{AdminServer, AdminState, Connections, Jwt, Peer},
    config::ServerSettings,
    listener::{Secured, SecuredStream, Tls, TlsPort},
};

pub(super) fn tls(settings: &ServerSettings) -> Result<Option<Arc<Tls>>, AppError> {
    let Some(tls) = settings.admin_tls.clone() else {
        return Ok(None);
    };
    let required = tls.is_certificate_required;
    Tls::load(tls_files(tls.files), TlsPort::Admin { required })
        .map(Some)
        .map_err(|error| failed("server.admin_tls")(error.to_string()))
}

/// Whether what needs a token needs a certificate too.
pub(super) fn needs_certificate(settings: &ServerSettings) -> bool {
    let tls = settings.admin_tls.as_ref();
    tls.is_some_and(|tls| tls.files.client_ca.is_some())
}

pub(super) fn jwt(settings: &ServerSettings) -> Result<Option<Arc<Jwt>>, AppError> {
    let jwt = settings.admin_jwt.clone().map(Jwt::start);
    jwt.transpose().map_err(failed("server.admin_jwt"))
}

pub(super) fn serve(
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    state: AdminState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<io::Result<()>>, AppError> {
    Ok(match tls {
        None => tokio::spawn(AdminServer::serve(socket, state, shutdown)),
        Some(tls) => {
            let secured = Secured::new(socket, tls).map_err(|error| AppError(error.to_string()))?;
            tokio::spawn(AdminServer::serve(OutOfTls(secured), state, shutdown))
        }
    })
}

struct OutOfTls(Secured);

impl Connections for OutOfTls {
    type Connection = SecuredStream;

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }

    async fn accept(&mut self) -> (Self::Connection, Peer) {
        let connection = self.0.accept().await;
        let peer = Peer {
            address: connection.address,
            is_certified: connection.is_certified,
        };
        (connection.stream, peer)
    }
}
