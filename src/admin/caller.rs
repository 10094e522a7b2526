//! Who calls: a bearer token and its role.

use std::marker::PhantomData;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{header, request::Parts};
use jiff::Timestamp;

use super::{AdminState, answer::Refusal, jwt::Holder, port::Peer};
use crate::{
    problem::{Code, Problem},
    registry::{
        model::{Role, State},
        now,
        secret::TOKEN_PREFIX,
    },
};

/// The least role that a handler takes.
pub trait Grade {
    const ROLE: Role;
}

pub struct Viewer;
pub struct Publisher;
pub struct Operator;
pub struct Admin;

impl Grade for Viewer {
    const ROLE: Role = Role::Viewer;
}

impl Grade for Publisher {
    const ROLE: Role = Role::Publisher;
}

impl Grade for Operator {
    const ROLE: Role = Role::Operator;
}

impl Grade for Admin {
    const ROLE: Role = Role::Admin;
}

/// The holder of a live token whose role is at least `G`. Must be a handler's first argument, so that nothing else of
/// the request is looked at before.
pub struct Caller<G> {
    /// The token's name; stands in the log.
    pub name: String,
    /// How long an answer that goes on and on may.
    pub lease: Lease,
    role: Role,
    grade: PhantomData<G>,
}

/// What a caller was let in by.
pub enum Lease {
    /// The token of the registry with this id.
    Token(String),
    /// A token of the identity provider, which is taken until then.
    Until(Timestamp),
}

impl Lease {
    /// Why its holder would not be let in any more.
    pub fn end(&self, state: &State, now: Timestamp) -> Option<&'static str> {
        let is_live = match self {
            Lease::Until(end) => now < *end,
            Lease::Token(id) => match state.tokens.get(id) {
                Some(token) => token.value.is_live(now),
                None => return Some("the token was deleted; ask an admin for another"),
            },
        };
        (!is_live).then_some("the token has expired; get another")
    }
}

impl<G> Caller<G> {
    /// Refuses with 403 where the role is below `role`; `what` needs it.
    pub fn require(&self, role: Role, what: &str) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::new(
            Code::RoleInsufficient,
            format!(
                "{what} needs a token of role {role:?}; this one is {:?}",
                self.role
            )
            .to_lowercase(),
        ))
    }
}

impl<G: Grade> FromRequestParts<AdminState> for Caller<G> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Caller<G>, Refusal> {
        if state.needs_certificate && !is_certified(parts) {
            return Err(Refusal(Problem::new(
                Code::CertificateMissing,
                "show a client certificate of an authority that server.admin_tls.client_ca names",
            )));
        }
        let token = bearer(parts)?;
        if let Some(jwt) = state.jwt.as_ref().filter(|_| !is_own(token)) {
            let Holder { name, role, expires } = jwt.check(token).await?;
            let caller = Caller {
                name,
                lease: Lease::Until(expires),
                role,
                grade: PhantomData,
            };
            caller.require(G::ROLE, "this")?;
            return Ok(caller);
        }
        let registry = state.registry.state();
        let known = registry.authenticate_token(token, now()).ok_or_else(|| {
            Problem::new(
                Code::TokenInvalid,
                "the token is unknown, deleted or expired; ask an admin for another",
            )
        })?;
        let caller = Caller {
            name: known.value.name.clone(),
            lease: Lease::Token(known.value.id.clone()),
            role: known.value.role,
            grade: PhantomData,
        };
        caller.require(G::ROLE, "this")?;
        Ok(caller)
    }
}

/// Where nothing is known of the connection, it has shown nothing.
fn is_certified(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<ConnectInfo<Peer>>();
    peer.is_some_and(|ConnectInfo(peer)| peer.is_certified)
}

/// `hwt_…`: no JSON Web Token begins so, since its first part is base64 of an object.
fn is_own(token: &str) -> bool {
    let rest = token.strip_prefix(TOKEN_PREFIX);
    rest.is_some_and(|rest| rest.starts_with('_'))
}

fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(
            Code::TokenMissing,
            "send the header \"Authorization: Bearer hwt_…\"",
        ));
    };
    let malformed = || {
        Problem::new(
            Code::TokenInvalid,
            "write one header \"Authorization: Bearer hwt_…\"",
        )
    };
    if values.next().is_some() {
        return Err(malformed());
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    Ok(token.trim())
}
