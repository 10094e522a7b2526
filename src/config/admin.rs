//! `[server.admin_tls]` and `[server.admin_jwt]`: who gets at the admin port.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    AdminTlsSettings, JwksPlace, JwtSettings, TlsSettings,
    error::ConfigError,
    section::{Faults, Section, ValueFault, choice, join, shown, text},
    tree::{Node, Value},
};
use crate::registry::model::Role;

const ROLE_CLAIM: &str = "roles";
const ROLES: [(&str, Role); 4] = [
    ("viewer", Role::Viewer),
    ("publisher", Role::Publisher),
    ("operator", Role::Operator),
    ("admin", Role::Admin),
];
const CLIENT_CERTIFICATE: [(&str, bool); 2] = [("required", true), ("optional", false)];

pub(super) fn tls(server: &mut Section<'_>, faults: &mut Faults) -> Option<AdminTlsSettings> {
    let path = server.path("admin_tls");
    let node = server.get("admin_tls")?;
    let mut section = Section::of(node, path.clone(), path, faults)?;
    let files = files(&mut section, faults);
    let required = section.read("client_certificate", faults, |node| {
        choice(node, &CLIENT_CERTIFICATE)
    });
    if required.is_some() && !section.has("client_ca") {
        let place = section.place_of("client_certificate").clone();
        let error = ConfigError::new(
            place,
            section.path("client_certificate"),
            "nobody's certificate is believed: client_ca is missing",
        );
        faults.push(
            error.suggesting("name the file with the authorities that sign clients' certificates, in PEM"),
        );
    }
    section.finish(faults);
    Some(AdminTlsSettings {
        files: files?,
        is_certificate_required: required.unwrap_or(true),
    })
}

/// The files of a port's TLS.
pub(super) fn files(section: &mut Section<'_>, faults: &mut Faults) -> Option<TlsSettings> {
    let certificate = section.text("certificate", faults);
    let key = section.text("key", faults);
    let client_ca = section.text("client_ca", faults);
    section.require(
        "certificate",
        "name the file with the certificate and its chain, in PEM",
        faults,
    );
    section.require(
        "key",
        "name the file with the certificate's private key, in PEM",
        faults,
    );
    Some(TlsSettings {
        certificate: certificate?.into(),
        key: key?.into(),
        client_ca: client_ca.map(Into::into),
    })
}

pub(super) fn jwt(server: &mut Section<'_>, faults: &mut Faults) -> Option<JwtSettings> {
    let path = server.path("admin_jwt");
    let node = server.get("admin_jwt")?;
    let mut section = Section::of(node, path.clone(), path, faults)?;
    let issuer = section.text("issuer", faults);
    let audience = section.text("audience", faults);
    let jwks = section.read("jwks", faults, jwks);
    let role_claim = section.read("role_claim", faults, |node| {
        let claim = text(node)?;
        if claim.starts_with('/') && claim.contains("//") {
            return Err((format!("{:?} is no JSON Pointer", shown(claim)), None));
        }
        Ok(claim.to_owned())
    });
    let roles = roles(&mut section, faults);
    section.require("issuer", "write what the tokens have as \"iss\"", faults);
    section.require("audience", "write what the tokens have as \"aud\"", faults);
    section.require(
        "jwks",
        "write the URL or the file of the provider's JSON Web Key Set",
        faults,
    );
    section.finish(faults);
    Some(JwtSettings {
        issuer: issuer?,
        audience: audience?,
        jwks: jwks?,
        role_claim: role_claim.unwrap_or_else(|| ROLE_CLAIM.to_owned()),
        roles,
    })
}

fn jwks(node: &Node) -> Result<JwksPlace, ValueFault> {
    let place = text(node)?;
    match place.split_once("://") {
        None => Ok(JwksPlace::File(place.into())),
        Some(("http" | "https", host)) if !host.is_empty() && !host.starts_with('/') => {
            Ok(JwksPlace::Url(place.to_owned()))
        }
        Some(_) => Err((
            format!("{:?} is neither a file nor an HTTP URL", shown(place)),
            Some("write a URL such as \"https://login.example/keys\", or the path of a file".to_owned()),
        )),
    }
}

/// Whether what is said to the URL's host stays on this machine. What cannot be read does not.
pub(super) fn is_local(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let Some(host) = uri.host() else {
        return false;
    };
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = literal.unwrap_or(host).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What the provider calls a role → the role. Without the table the roles go by their own names.
fn roles(section: &mut Section<'_>, faults: &mut Faults) -> BTreeMap<String, Role> {
    let path = section.path("roles");
    let Some(node) = section.get("roles") else {
        return ROLES
            .iter()
            .map(|(name, role)| ((*name).to_owned(), *role))
            .collect();
    };
    let Value::Table(members) = &node.value else {
        let message = format!("is {}, and must be a table", node.value.kind());
        let error = ConfigError::new(node.place.clone(), path, message);
        faults.push(error.suggesting("write roles = { \"the provider's name\" = \"operator\" }"));
        return BTreeMap::new();
    };
    let mut roles = BTreeMap::new();
    for member in members {
        match choice(&member.node, &ROLES) {
            Ok(role) => drop(roles.insert(member.key.clone(), role)),
            Err((message, suggestion)) => {
                let path = join(&path, &format!("{:?}", member.key));
                let mut error = ConfigError::new(member.node.place.clone(), path, message);
                error.suggestion = suggestion;
                faults.push(error);
            }
        }
    }
    if members.is_empty() {
        let error = ConfigError::new(node.place.clone(), path, "gives nobody a role");
        faults.push(error.suggesting("name at least one, or leave the table out"));
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, read::settings};

    fn read(text: &str) -> Result<Settings, String> {
        settings("headworks.toml", text, &BTreeMap::new()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_identity_provider_has_a_place_and_roles() {
        let text = "[server.admin_jwt]\nissuer = \"i\"\naudience = \"a\"\njwks = \"keys.json\"\n";
        let jwt = read(text).unwrap().server.admin_jwt.unwrap();
        assert_eq!(jwt.jwks, JwksPlace::File("keys.json".into()));
        assert_eq!(jwt.role_claim, "roles");
        assert_eq!(jwt.roles["operator"], Role::Operator);
        let text = "[server.admin_jwt]\nissuer = \"i\"\naudience = \"a\"\njwks = \"http://login.example/keys\"\n\
                    role_claim = \"/realm_access/roles\"\nroles = { \"Gateway Admins\" = \"admin\" }\n";
        let settings = read(text).unwrap();
        assert!(
            settings.warnings()[0].contains("without TLS"),
            "{:?}",
            settings.warnings()
        );
        let jwt = settings.server.admin_jwt.unwrap();
        assert_eq!(
            jwt.roles,
            BTreeMap::from([("Gateway Admins".to_owned(), Role::Admin)])
        );
        let warned = |place: &str| {
            let text = text.replace("http://login.example", place);
            !read(&text).unwrap().warnings().is_empty()
        };
        for local in [
            "http://127.0.0.1:8080",
            "http://127.3.2.1",
            "http://LocalHost:1",
            "http://[::1]:8080",
            "https://login.example",
        ] {
            assert!(!warned(local), "{local}");
        }
        for far in [
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://localhost:a@evil.example",
            "http://[2001:db8::1]",
        ] {
            assert!(warned(far), "{far}");
        }
    }

    #[test]
    fn what_an_identity_provider_lacks_is_said() {
        let said = read(
            "[server.admin_jwt]\naudience = \"\"\njwks = \"ftp://login.example\"\nroles = { a = \"amdin\" }\n\
             role_claim = \"//\"\n",
        )
        .unwrap_err();
        for line in [
            "headworks.toml:1:1: server.admin_jwt.issuer: is missing (write what the tokens have as \"iss\")",
            "headworks.toml:2:12: server.admin_jwt.audience: is empty",
            "headworks.toml:3:8: server.admin_jwt.jwks: \"ftp://login.example\" is neither a file nor an HTTP URL (write a \
             URL such as \"https://login.example/keys\", or the path of a file)",
            "headworks.toml:4:15: server.admin_jwt.roles.\"a\": \"amdin\" is not known here (did you mean \"admin\"?)",
            "headworks.toml:5:14: server.admin_jwt.role_claim: \"//\" is no JSON Pointer",
        ] {
            assert!(said.contains(line), "{line}\nis not in\n{said}");
        }
    }

    #[test]
    fn certificates_are_asked_for_only_where_somebody_signs_them() {
        let text = "[server.admin_tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\n";
        let tls = read(text).unwrap().server.admin_tls.unwrap();
        assert!(tls.is_certificate_required);
        let tls = read(&format!("{text}client_certificate = \"optional\"\n")).unwrap();
        assert!(!tls.server.admin_tls.unwrap().is_certificate_required);
        let said =
            read("[server.admin_tls]\ncertificate = \"c\"\nclient_certificate = \"required\"\n").unwrap_err();
        assert!(
            said.contains("nobody's certificate is believed: client_ca is missing"),
            "{said}"
        );
        assert!(said.contains("server.admin_tls.key: is missing"), "{said}");
    }

    #[test]
    fn proxies_that_are_nobody_are_a_fault() {
        for (trusted, reason) in [("", "is missing"), ("trusted = []\n", "names nobody")] {
            let said = read(&format!("[server.proxies]\n{trusted}proxy_protocol = true\n")).unwrap_err();
            assert!(
                said.contains(&format!(
                    "server.proxies.proxy_protocol: is believed of nobody: trusted {reason} (name the proxies' networks, \
                     such as trusted = [\"10.0.0.0/8\"])"
                )),
                "{said}"
            );
        }
        let said = read("[server.proxies]\ntrusted = [\"all\"]\nproxy_protocol = true\n").unwrap_err();
        assert!(
            !said.contains("believed of nobody"),
            "one fault has one error: {said}"
        );
        assert!(read("[server.proxies]\nproxy_protocol = false\n").is_ok());
    }
}
