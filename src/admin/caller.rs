//! Who calls: a bearer token and its role.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::{header, request::Parts};

use super::{AdminState, answer::Refusal};
use crate::{
    problem::{Code, Problem},
    registry::{model::Role, now},
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
    role: Role,
    grade: PhantomData<G>,
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
        let token = bearer(parts)?;
        let registry = state.registry.state();
        let known = registry.authenticate_token(token, now()).ok_or_else(|| {
            Problem::new(
                Code::TokenInvalid,
                "the token is unknown, deleted or expired; ask an admin for another",
            )
        })?;
        let caller = Caller {
            name: known.value.name.clone(),
            role: known.value.role,
            grade: PhantomData,
        };
        caller.require(G::ROLE, "this")?;
        Ok(caller)
    }
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
