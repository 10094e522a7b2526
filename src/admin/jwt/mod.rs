//! Bearer tokens of an identity provider: JSON Web Tokens, by the keys that it publishes. What is not certain is refused.

mod keys;
mod provider;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, Validation, decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde_json::Value;

use self::keys::{Keys, Pace};
use crate::{
    config::JwtSettings,
    limits::{JWT_BYTES, JWT_LEEWAY_S, JWT_SUBJECT_CHARACTERS},
    problem::{Code, Problem},
    registry::model::Role,
};

/// Signed with keys that the provider alone has: what is signed with a shared secret could be made by whoever checks it.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Stands before the subject in the log of changes; no token of the gateway's own may be named so.
pub(super) const SUBJECT_PREFIX: &str = "jwt:";

/// Checks tokens.
pub struct Jwt {
    settings: JwtSettings,
    keys: Arc<Keys>,
}

/// Whom a token stands for.
pub(super) struct Holder {
    pub name: String,
    pub role: Role,
    /// From then on the token is refused.
    pub expires: Timestamp,
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Code::TokenInvalid, detail)
}

impl Jwt {
    /// Inside a tokio runtime: reads the provider's keys from now on.
    ///
    /// # Errors
    ///
    /// Where no HTTP client can be set up.
    pub fn start(settings: JwtSettings) -> Result<Arc<Jwt>, String> {
        Jwt::start_at(settings, Pace::default())
    }

    fn start_at(settings: JwtSettings, pace: Pace) -> Result<Arc<Jwt>, String> {
        provider::install();
        let keys = Keys::start(settings.jwks.clone(), pace)?;
        Ok(Arc::new(Jwt { settings, keys }))
    }

    /// # Errors
    ///
    /// 401 where the token is not one of this provider for this gateway, now; 403 where it gives no role; 503 where the
    /// provider's keys were never read.
    pub(super) async fn check(&self, token: &str) -> Result<Holder, Problem> {
        if token.len() > JWT_BYTES {
            return Err(refused("the token is longer than any that is taken here"));
        }
        let header = decode_header(token).map_err(|_| {
            refused("the token is neither one of this gateway (hwt_…) nor a signed JSON Web Token")
        })?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused(
                "the token is signed with an algorithm that is not taken here; take RS256, ES256, EdDSA or their like",
            ));
        }
        if header.crit.is_some() {
            return Err(refused(
                "the token's header has \"crit\", of which nothing is understood here",
            ));
        }
        let key = self.keys.find(&header).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = JWT_LEEWAY_S;
        let claims = decode::<Value>(token, &key, &validation)
            .map_err(|error| refused(said(&error)))?
            .claims;
        let name = subject(&claims).ok_or_else(|| refused("the token names nobody (sub)"))?;
        let role = self.role(&claims).ok_or_else(|| {
            let names: Vec<&str> = self.settings.roles.keys().map(String::as_str).collect();
            Problem::new(
                Code::RoleInsufficient,
                format!(
                    "the token's claim {} gives no role here; it must name one of: {}",
                    self.settings.role_claim,
                    names.join(", ")
                ),
            )
        })?;
        let expires = expires(&claims);
        Ok(Holder { name, role, expires })
    }

    /// The highest that the claim names: a text, words in a text, or a list of texts.
    fn role(&self, claims: &Value) -> Option<Role> {
        let claim = &self.settings.role_claim;
        let found = if claim.starts_with('/') {
            claims.pointer(claim)?
        } else {
            claims.get(claim)?
        };
        let whole = |text: &str| self.settings.roles.get(text).copied();
        match found {
            Value::Array(values) => values.iter().filter_map(|value| whole(value.as_str()?)).max(),
            Value::String(text) => std::iter::once(text.as_str())
                .chain(text.split_whitespace())
                .filter_map(whole)
                .max(),
            _ => None,
        }
    }
}

/// The first moment at which a token with these claims, which were checked, is refused.
fn expires(claims: &Value) -> Timestamp {
    let second = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    // What is beyond all times does not expire; `as` takes the nearest there is.
    let last = (second.round() as i64).saturating_add_unsigned(JWT_LEEWAY_S);
    Timestamp::from_second(last.saturating_add(1)).unwrap_or(Timestamp::MAX)
}

/// As it stands in the log of changes.
fn subject(claims: &Value) -> Option<String> {
    let subject = claims.get("sub")?.as_str()?;
    let shown: String = subject
        .chars()
        .filter(|character| !character.is_control())
        .take(JWT_SUBJECT_CHARACTERS)
        .collect();
    (!shown.trim().is_empty()).then(|| format!("{SUBJECT_PREFIX}{shown}"))
}

/// Nothing of the claims is told before the signature is known to be good: `decode` looks at it first.
fn said(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired; get a new one".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf); check the clocks".to_owned(),
        ErrorKind::InvalidIssuer => {
            "the token is of another issuer (iss) than server.admin_jwt.issuer".to_owned()
        }
        ErrorKind::InvalidAudience => {
            "the token is for others: its audience (aud) is not server.admin_jwt.audience".to_owned()
        }
        ErrorKind::MissingRequiredClaim(name) => format!("the token lacks a readable claim {name}"),
        ErrorKind::InvalidClaimFormat(name) => format!("the token's claim {name} cannot be read"),
        ErrorKind::InvalidSignature => "the token's signature is not the provider's".to_owned(),
        _ => "the token cannot be read".to_owned(),
    }
}
