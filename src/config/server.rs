//! `[server]`: the ports, who is believed on them, and their certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::{
    ForwardedHeader, LineSettings, ProxySettings, ServerSettings, TlsSettings, admin,
    error::{ConfigError, Place},
    section::{Faults, Section, ValueFault, boolean, choice, shown, text},
    tree::{Node, Value},
};

const LISTEN: SocketAddr = loopback(8080);
const ADMIN_LISTEN: SocketAddr = loopback(8081);
const LINES_LISTEN: SocketAddr = loopback(8082);
/// Below the 30 s after which Kubernetes kills.
const SHUTDOWN_TIMEOUT_S: u32 = 25;
const FORWARDED_HEADERS: [(&str, ForwardedHeader); 2] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("forwarded", ForwardedHeader::Forwarded),
];

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

pub(super) fn server(mut section: Section<'_>, faults: &mut Faults) -> ServerSettings {
    let listen = section
        .read("listen", faults, |node| address(node, LISTEN))
        .unwrap_or(LISTEN);
    let admin_listen = section
        .read("admin_listen", faults, |node| address(node, ADMIN_LISTEN))
        .unwrap_or(ADMIN_LISTEN);
    if collide(listen, admin_listen) {
        let key = if section.has("admin_listen") {
            "admin_listen"
        } else {
            "listen"
        };
        faults.push(
            ConfigError::new(
                section.place_of(key).clone(),
                section.path(key),
                format!("events and the admin API cannot both listen on {admin_listen}"),
            )
            .suggesting("give one of them another port"),
        );
    }
    let shutdown_timeout_s = section.count("shutdown_timeout_s", SHUTDOWN_TIMEOUT_S, faults);
    let shutdown_delay_s = section.count("shutdown_delay_s", 0, faults);
    let tls = tls(&mut section, faults);
    let admin_tls = admin::tls(&mut section, faults);
    let admin_jwt = admin::jwt(&mut section, faults);
    let proxies = proxies(&mut section, faults);
    let lines = lines(&mut section, tls.is_some(), &[listen, admin_listen], faults);
    section.finish(faults);
    ServerSettings {
        listen,
        admin_listen,
        shutdown_timeout_s,
        shutdown_delay_s,
        tls,
        admin_tls,
        admin_jwt,
        proxies,
        lines,
    }
}

fn lines(
    server: &mut Section<'_>,
    has_tls: bool,
    taken: &[SocketAddr],
    faults: &mut Faults,
) -> Option<LineSettings> {
    let path = server.path("lines");
    let node = server.get("lines")?;
    let mut section = Section::of(node, path.clone(), path, faults)?;
    let listen = section.read("listen", faults, |node| address(node, LINES_LISTEN));
    section.require("listen", format!("write \"{LINES_LISTEN}\""), faults);
    let tls = section.read("tls", faults, boolean).unwrap_or(has_tls);
    let mut fault = |key: &str, message: &str, suggestion: &str| {
        let place = section.place_of(key).clone();
        faults.push(ConfigError::new(place, section.path(key), message).suggesting(suggestion));
    };
    if listen.is_some_and(|listen| taken.iter().any(|other| collide(listen, *other))) {
        let message = "is the address of another port of the gateway";
        fault("listen", message, "give one of them another port");
    }
    if tls && !has_tls {
        fault(
            "tls",
            "has no certificate",
            "set server.tls, whose certificate it uses",
        );
    }
    section.finish(faults);
    Some(LineSettings { listen: listen?, tls })
}

fn proxies(server: &mut Section<'_>, faults: &mut Faults) -> ProxySettings {
    let mut section = server.section("proxies", faults);
    let trusted = section.read("trusted", faults, networks);
    let header = section
        .read("header", faults, |node| choice(node, &FORWARDED_HEADERS))
        .unwrap_or_default();
    let proxy_protocol = section
        .read("proxy_protocol", faults, boolean)
        .unwrap_or_default();
    // A list that cannot be read has its own fault.
    let names_nobody = trusted.as_ref().map_or(!section.has("trusted"), Vec::is_empty);
    if proxy_protocol && names_nobody {
        let place = section.place_of("proxy_protocol").clone();
        let reason = if section.has("trusted") {
            "names nobody"
        } else {
            "is missing"
        };
        let error = ConfigError::new(
            place,
            section.path("proxy_protocol"),
            format!("is believed of nobody: trusted {reason}"),
        );
        faults.push(error.suggesting("name the proxies' networks, such as trusted = [\"10.0.0.0/8\"]"));
    }
    section.finish(faults);
    ProxySettings {
        trusted: trusted.unwrap_or_default(),
        header,
        proxy_protocol,
    }
}

/// Networks by CIDR; an address alone is its own network.
fn networks(node: &Node) -> Result<Vec<IpNet>, ValueFault> {
    let one = |text: &str| -> Result<IpNet, ValueFault> {
        let text = text.trim();
        let network = text.parse().ok();
        network
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .ok_or_else(|| {
                (
                    format!("{:?} is no network", shown(text)),
                    Some("write an address and a length, such as \"10.0.0.0/8\"".to_owned()),
                )
            })
    };
    match (&node.value, &node.place) {
        (Value::Array(nodes), _) => nodes.iter().map(|node| one(text(node)?)).collect(),
        (Value::Text(text), Place::Variable(_)) => text.split(',').map(one).collect(),
        (other, _) => Err((
            format!("is {}, and must be a list of networks", other.kind()),
            None,
        )),
    }
}

fn tls(server: &mut Section<'_>, faults: &mut Faults) -> Option<TlsSettings> {
    let path = server.path("tls");
    let node = server.get("tls")?;
    let mut section = Section::of(node, path.clone(), path, faults)?;
    let files = admin::files(&mut section, faults);
    section.finish(faults);
    files
}

fn collide(one: SocketAddr, two: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == two.port()
        && (one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified())
}

fn address(node: &Node, default: SocketAddr) -> Result<SocketAddr, ValueFault> {
    let port = default.port();
    if let (Value::Integer(number), Place::File { .. }) = (&node.value, &node.place) {
        let meant = u16::try_from(*number).unwrap_or(port);
        let suggestion = format!("did you mean \"127.0.0.1:{meant}\"?");
        return Err((
            "is an integer, and must be an address".to_owned(),
            Some(suggestion),
        ));
    }
    let text = text(node)?;
    text.parse().map_err(|_| {
        let meant = if let Some(rest) = text.strip_prefix("localhost:") {
            format!("127.0.0.1:{rest}")
        } else if text.starts_with(':') {
            format!("0.0.0.0{text}")
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("[{text}]:{port}")
        } else if text.parse::<u16>().is_ok() {
            format!("127.0.0.1:{text}")
        } else {
            format!("{text}:{port}")
        };
        let suggestion = match meant.parse::<SocketAddr>() {
            Ok(_) => format!("did you mean \"{meant}\"?"),
            Err(_) => format!("write an IP address and a port, such as \"{default}\""),
        };
        (format!("{:?} is no address", shown(text)), Some(suggestion))
    })
}
