//! Keys and tokens: `hw_<id>_<secret>` and `hwt_<id>_<secret>`. The id is hexadecimal, so the text splits in one way
//! only; the secret has 192 random bits; only the SHA-256 of the whole text is kept.

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use super::model::{Digest, SigningSecret, State, Token, Versioned};
use crate::problem::{Code, Problem};

pub const KEY_PREFIX: &str = "hw";
pub const TOKEN_PREFIX: &str = "hwt";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 24;

/// A secret that was just made; shown once, never kept.
pub struct NewSecret {
    pub id: String,
    pub text: String,
    pub sha256: Digest,
}

impl NewSecret {
    /// A new `<prefix>_<id>_<secret>`.
    pub fn generate(prefix: &str) -> Result<NewSecret, Problem> {
        let id = hex::encode(random::<ID_BYTES>()?);
        let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?);
        let text = format!("{prefix}_{id}_{secret}");
        let sha256 = Digest::of(text.as_bytes());
        Ok(NewSecret { id, text, sha256 })
    }

    /// A new secret of Standard Webhooks, `whsec_` and base64, with an id beside it; or the one that `given` says.
    pub fn generate_signing(given: Option<String>) -> Result<(NewSecret, SigningSecret), Problem> {
        let id = hex::encode(random::<ID_BYTES>()?);
        let text = match given {
            Some(text) => text,
            None => format!("whsec_{}", STANDARD.encode(random::<SECRET_BYTES>()?)),
        };
        let sha256 = Digest::of(text.as_bytes());
        let signing = SigningSecret::new(text.clone());
        Ok((NewSecret { id, text, sha256 }, signing))
    }
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        Problem::new(Code::Internal, "no secret could be made; try again")
    })?;
    Ok(bytes)
}

/// The id in `<prefix>_<id>_<secret>`; none where the text has not that form.
pub fn id_of<'a>(prefix: &str, text: &'a str) -> Option<&'a str> {
    let (id, secret) = text.strip_prefix(prefix)?.strip_prefix('_')?.split_once('_')?;
    let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !secret.is_empty()).then_some(id)
}

impl Token {
    /// It has not expired at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl State {
    /// The token whose text this is, where it is live at `now`. The work is the same whether the id is known or not.
    pub fn authenticate_token(&self, text: &str, now: Timestamp) -> Option<Arc<Versioned<Token>>> {
        let presented = Digest::of(text.as_bytes());
        let known = id_of(TOKEN_PREFIX, text).and_then(|id| self.tokens.get(id));
        // All ones is no digest of any text that anybody knows.
        let expected = known.map_or(Digest([0xff; 32]), |token| token.value.sha256);
        let same = bool::from(presented.0.ct_eq(&expected.0));
        known.filter(|token| same && token.value.is_live(now)).cloned()
    }
}
