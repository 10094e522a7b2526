//! Free loopback ports; benchmarks take this file in too.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// Below what the system gives to outgoing connections and to whoever asks for any port: nobody takes one of these between
/// now and the server's start.
const FIRST: u32 = 10_240;
const PORTS: u32 = 22_000;
/// How far the ports of two processes begin from each other, at least for some hundred of them.
const PROCESS_STRIDE: u32 = 97;

/// None is given twice by one process, until all were.
pub fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    [(); COUNT].map(|()| free_address())
}

fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(PROCESS_STRIDE) % PORTS;
    for _ in 0..PORTS {
        let place = (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST + place).expect("below 32,768");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port from {FIRST} on is free");
}
