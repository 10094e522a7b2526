//! Free loopback ports; benchmarks take this file in too.

use std::net::{SocketAddr, TcpListener};

/// All are held until all are known, so that they differ.
pub fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let sockets = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    sockets.map(|socket| socket.local_addr().expect("the socket has an address"))
}
