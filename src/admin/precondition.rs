//! `If-Match` and `If-None-Match` against the resource as it is when the change is decided.

use std::{convert::Infallible, sync::Arc};

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};

use super::answer::not_found;
use crate::{
    problem::{Code, Problem},
    registry::model::{Change, Versioned},
};

/// What a change is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// Entity tags as sent; absent: no `If-Match`.
    matches: Option<Vec<String>>,
    none_match: Option<Vec<String>>,
}

impl Precondition {
    pub fn of(headers: &HeaderMap) -> Precondition {
        Precondition {
            matches: tags(headers, &header::IF_MATCH),
            none_match: tags(headers, &header::IF_NONE_MATCH),
        }
    }

    /// Refuses with 412 where the resource, last changed by entry `current` (none: it is not there), is not what the
    /// sender expects.
    pub fn check(&self, current: Option<u64>) -> Result<(), Problem> {
        let met = |tags: &[String]| {
            current.is_some_and(|sequence| {
                let tag = format!("\"{sequence}\"");
                tags.iter().any(|sent| sent == "*" || *sent == tag)
            })
        };
        if self.matches.as_deref().is_some_and(|tags| !met(tags)) {
            return Err(Problem::new(
                Code::PreconditionFailed,
                match current {
                    Some(sequence) => format!("its ETag is \"{sequence}\" now; read it again"),
                    None => "it does not exist".to_owned(),
                },
            ));
        }
        if self.none_match.as_deref().is_some_and(met) {
            return Err(Problem::new(Code::PreconditionFailed, "it exists already"));
        }
        Ok(())
    }

    /// The resource that a change is about: 404 where it is not there, 412 where it is not what the sender expects.
    pub fn check_known<'s, V>(
        &self,
        known: Option<&'s Arc<Versioned<V>>>,
        what: &str,
        name: &str,
    ) -> Result<&'s Arc<Versioned<V>>, Problem> {
        let known = known.ok_or_else(|| not_found(what, name))?;
        self.check(Some(known.sequence))?;
        Ok(known)
    }
}

/// What a PUT comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    pub created: bool,
    /// The entry that last changed the resource, where it is already as wanted.
    pub unchanged: Option<u64>,
}

impl Put {
    /// The entry that last changed the resource, given the newest entry.
    pub fn sequence(self, newest: u64) -> u64 {
        self.unchanged.unwrap_or(newest)
    }
}

/// Decides on a PUT of `wanted` in the place of `known`: what is as wanted already gives no change.
pub fn decide_put<V: PartialEq>(
    known: Option<&Arc<Versioned<V>>>,
    precondition: &Precondition,
    wanted: &V,
    change: impl FnOnce() -> Change,
) -> Result<(Option<Change>, Put), Problem> {
    precondition.check(known.map(|known| known.sequence))?;
    let unchanged = known
        .filter(|known| known.value == *wanted)
        .map(|known| known.sequence);
    let put = Put {
        created: known.is_none(),
        unchanged,
    };
    Ok((unchanged.is_none().then(change), put))
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let values = headers.get_all(name);
    values.iter().next()?;
    Some(
        values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect(),
    )
}

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Precondition, Infallible> {
        Ok(Precondition::of(&parts.headers))
    }
}
