//! What of a request's sender is added to its events, where the partner asks for it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::{HeaderValue, header, request::Parts};

use super::Tables;
use crate::{
    event::{Attributes, PartnerName},
    limits::ATTRIBUTE_BYTES,
    listener::Peer,
    registry::model::{Enrichment, Partner},
};

/// The headers of a record that hold it.
const CLIENT_IP: &str = "hw_client_ip";
const USER_AGENT: &str = "hw_user_agent";
/// And the one that holds the lookup tables that it was made with.
const TABLES: &str = "hw_tables";
/// What no plugin may write: these, and what they are called in CloudEvents JSON.
const TAKEN: [&str; 6] = [
    CLIENT_IP,
    USER_AGENT,
    TABLES,
    "hwclientip",
    "hwuseragent",
    "hwtables",
];
/// What is left of an address that is truncated.
const IPV4_BITS: u32 = 24;
const IPV6_BITS: u32 = 48;

/// What a partner asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    client_ip: bool,
    is_truncated: bool,
    user_agent: bool,
}

impl Wanted {
    pub(super) fn of(partner: &Partner) -> Wanted {
        Wanted {
            client_ip: partner.enrich.contains(&Enrichment::ClientIp),
            is_truncated: partner.truncate_ip,
            user_agent: partner.enrich.contains(&Enrichment::UserAgent),
        }
    }

    pub(super) fn is_any(self) -> bool {
        self.client_ip || self.user_agent
    }
}

/// What a request's head says of who sent it.
#[derive(Debug)]
pub(super) struct SentFrom {
    address: IpAddr,
    user_agent: Option<HeaderValue>,
}

/// What is added.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub client_ip: Option<Arc<str>>,
    pub user_agent: Option<Arc<str>>,
}

impl SentFrom {
    /// None where nobody will ask for it; `None` as partner where the body is needed to know it.
    pub(super) fn read(
        head: &Parts,
        peer: &Peer,
        tables: &Tables,
        partner: Option<&PartnerName>,
    ) -> Option<SentFrom> {
        let is_wanted = tables.some_enrich && partner.is_none_or(|partner| tables.enrich(partner).is_any());
        is_wanted.then(|| SentFrom {
            address: peer.client(&head.headers),
            user_agent: head.headers.get(header::USER_AGENT).cloned(),
        })
    }

    pub(super) fn added(&self, wanted: Wanted) -> Added {
        let address = if wanted.is_truncated {
            truncated(self.address)
        } else {
            self.address
        };
        let user_agent = self.user_agent.as_ref().filter(|_| wanted.user_agent);
        Added {
            client_ip: wanted.client_ip.then(|| address.to_string().into()),
            user_agent: user_agent.and_then(user_agent_text),
        }
    }
}

fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let kept = u32::MAX << (u32::BITS - IPV4_BITS);
            Ipv4Addr::from_bits(address.to_bits() & kept).into()
        }
        IpAddr::V6(address) => {
            let kept = u128::MAX << (u128::BITS - IPV6_BITS);
            Ipv6Addr::from_bits(address.to_bits() & kept).into()
        }
    }
}

fn user_agent_text(value: &HeaderValue) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut kept: String = text.chars().filter(|character| !character.is_control()).collect();
    kept.truncate(kept.floor_char_boundary(ATTRIBUTE_BYTES));
    (!kept.is_empty()).then(|| kept.into())
}

/// A record's headers: the plugin's own, what was added to the event, and the tables that were looked into.
pub(super) fn headers(
    mut own: Vec<(String, String)>,
    attributes: &Attributes,
    tables: Option<&str>,
) -> Arc<[(String, String)]> {
    own.retain(|(name, _)| !TAKEN.contains(&name.as_str()));
    let added = [
        (CLIENT_IP, attributes.client_ip.as_deref()),
        (USER_AGENT, attributes.user_agent.as_deref()),
        (TABLES, tables),
    ];
    for (name, value) in added {
        if let Some(value) = value {
            own.push((name.to_owned(), value.to_owned()));
        }
    }
    own.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_addresses_name_a_network_alone() {
        let cut = |text: &str| truncated(text.parse().expect("an address")).to_string();
        assert_eq!(cut("203.0.113.77"), "203.0.113.0");
        assert_eq!(cut("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
    }

    #[test]
    fn no_plugin_writes_what_is_added() {
        let attributes = |client_ip: Option<&str>| Attributes {
            id: "e-1".into(),
            source: "/app".to_owned(),
            event_type: "app.opened".parse().expect("a type"),
            time: "2026-01-01T00:00:00Z".to_owned(),
            subject: None,
            app_version: None,
            client_ip: client_ip.map(Arc::from),
            user_agent: None,
        };
        let own = || {
            ["hw_client_ip", "hwclientip", "hw_tables", "hwtables", "mine"]
                .map(|name| (name.to_owned(), "x".to_owned()))
        };
        let mine = ("mine".to_owned(), "x".to_owned());
        assert_eq!(
            &*headers(own().into(), &attributes(None), None),
            std::slice::from_ref(&mine)
        );
        let added = (CLIENT_IP.to_owned(), "203.0.113.7".to_owned());
        let tables = (TABLES.to_owned(), "shops@3".to_owned());
        let headers = headers(own().into(), &attributes(Some("203.0.113.7")), Some("shops@3"));
        assert_eq!(*headers, [mine, added, tables]);
    }

    #[test]
    fn a_user_agent_is_text_within_its_bound() {
        let text = |bytes: &[u8]| user_agent_text(&HeaderValue::from_bytes(bytes).expect("a value"));
        assert_eq!(text(b"curl/8\t\xff").as_deref(), Some("curl/8\u{fffd}"));
        assert_eq!(text(b""), None);
        let long = "\u{e9}".repeat(2000);
        assert_eq!(
            text(long.as_bytes()).map(|kept| kept.len()),
            Some(ATTRIBUTE_BYTES)
        );
    }
}
