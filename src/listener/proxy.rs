//! Who is at the other end where proxies stand between: only what a trusted one says is believed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderMap;
use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::config::ForwardedHeader;

/// Signature, version, family and length of the PROXY protocol's second version.
const PREFIX_BYTES: usize = 16;
/// What follows them; addresses are 216 bytes at most, the rest is said by the proxy of itself.
const REST_BYTES_MAX: u16 = 2048;
/// Proxies that one request may name.
const HOPS_MAX: usize = 32;

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    trusted: Arc<[IpNet]>,
    header: ForwardedHeader,
    /// They begin each connection with who opened it.
    proxy_protocol: bool,
}

impl Proxies {
    pub fn new(trusted: &[IpNet], header: ForwardedHeader, proxy_protocol: bool) -> Proxies {
        Proxies {
            trusted: trusted.into(),
            header,
            proxy_protocol,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Whether a connection from here begins with the PROXY protocol.
    pub(super) fn introduces(&self, address: IpAddr) -> bool {
        self.proxy_protocol && self.trusts(address)
    }

    /// Whose request this is that came from `peer`: behind trusted proxies the last address that none of them has.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let values = headers.get_all(name).iter().rev();
        let hops = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            let node = match self.header {
                ForwardedHeader::XForwardedFor => Some(hop),
                ForwardedHeader::Forwarded => hop.split(';').find_map(of),
            };
            // What is no address was written by somebody who must not be believed further.
            let Some(address) = node.and_then(address) else {
                break;
            };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// `for=…` of an element of `Forwarded`.
fn of(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=')?;
    name.trim().eq_ignore_ascii_case("for").then_some(value)
}

/// An address as proxies write it: bare, in quotation marks, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare: Option<IpAddr> = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<IpAddr>().ok()
    };
    bare.or_else(with_port)
        .or_else(in_brackets)
        .map(|address| address.to_canonical())
}

/// Reads the PROXY protocol's header, and not one byte more: who opened the connection, or none where the proxy itself
/// did.
///
/// # Errors
///
/// Where something else comes: who it is from is not known then.
pub(super) async fn introduction(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let refused = |fault: String| io::Error::new(io::ErrorKind::InvalidData, fault);
    let mut header = vec![0; PREFIX_BYTES];
    stream.read_exact(&mut header).await?;
    let (_, length) = header.split_at(PREFIX_BYTES - 2);
    let length = length.try_into().map_or(0, u16::from_be_bytes);
    let is_second_version = header.starts_with(ppp::v2::PROTOCOL_PREFIX);
    if !is_second_version || length > REST_BYTES_MAX {
        return Err(refused("no PROXY protocol, version 2".to_owned()));
    }
    header.resize(PREFIX_BYTES + usize::from(length), 0);
    let rest = header.get_mut(PREFIX_BYTES..).unwrap_or_default();
    stream.read_exact(rest).await?;
    let header = Header::try_from(header.as_slice()).map_err(|error| refused(error.to_string()))?;
    if header.command == Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        Addresses::IPv4(found) => Some((found.source_address, found.source_port).into()),
        Addresses::IPv6(found) => Some((found.source_address, found.source_port).into()),
        Addresses::Unspecified | Addresses::Unix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, peer: &str, values: &[(&'static str, &str)]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"]
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().expect("a value"));
        }
        let proxies = Proxies::new(&trusted, header, false);
        let peer = peer.parse().expect("an address");
        proxies.client(peer, &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_go() {
        let told = |peer, value| {
            client(
                ForwardedHeader::XForwardedFor,
                peer,
                &[("x-forwarded-for", value)],
            )
        };
        assert_eq!(
            told("203.0.113.9", "198.51.100.1"),
            "203.0.113.9",
            "a stranger says nothing"
        );
        assert_eq!(told("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(told("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
        // What the client itself wrote stands before what the proxy added.
        assert_eq!(
            told("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.2.3.4"),
            "198.51.100.1"
        );
        assert_eq!(told("10.0.0.1", "10.9.9.9,10.2.3.4"), "10.9.9.9");
        assert_eq!(told("10.0.0.1", "1.1.1.1, nonsense, 10.2.3.4"), "10.2.3.4");
        assert_eq!(told("10.0.0.1", "198.51.100.1:4711"), "198.51.100.1");
        assert_eq!(told("10.0.0.1", "[2a00::1]:4711, [2001:db8::5]"), "2a00::1");
        assert_eq!(told("10.0.0.1", ""), "10.0.0.1");
        let two = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "198.51.100.1"),
        ];
        assert_eq!(
            client(ForwardedHeader::XForwardedFor, "10.0.0.1", &two),
            "198.51.100.1"
        );
    }

    #[test]
    fn forwarded_is_read_where_it_is_the_one_that_proxies_write() {
        let both = [
            ("x-forwarded-for", "1.1.1.1"),
            (
                "forwarded",
                "for=192.0.2.60;proto=http, For=\"[2a00::2]:80\";by=x",
            ),
        ];
        assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both), "2a00::2");
        assert_eq!(
            client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both),
            "1.1.1.1"
        );
        let hidden = [("forwarded", "for=_hidden")];
        assert_eq!(
            client(ForwardedHeader::Forwarded, "10.0.0.1", &hidden),
            "10.0.0.1"
        );
    }
}
