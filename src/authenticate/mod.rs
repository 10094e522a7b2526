//! From the key that a request carries, or that signed it, to the partner who sends it.
//!
//! A key is `hw_<key id>_<secret>`. Nothing here, neither error nor `Debug`, shows a key that was presented.

mod places;
mod signature;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use http::{header, request::Parts};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use places::Presented;
pub use places::{Places, key_id};
use signature::{Claim, Secret};

use crate::{
    event::{EventType, PartnerName},
    problem::{Code, Problem},
    registry::model::{Digest, Key, KeyKind, SigningSecret, State, envelope::Signature},
};

const PREFIX: &str = "hw_";
const SIGNING_PREFIX: &str = "whsec_";
/// No key is longer; what is longer need not be hashed.
const KEY_BYTES: usize = 256;
const PLACES: &str = "send it as \"Authorization: Bearer hw_…\" or \"X-API-Key: hw_…\"";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub partner: PartnerName,
    pub key_id: Arc<str>,
    pub kind: KeyKind,
    scope: Arc<[String]>,
    /// `webhook-id` of a request that was signed with Standard Webhooks.
    pub webhook_id: Option<String>,
}

impl Identity {
    /// Whether the key may send events of any type.
    pub fn may_send_all(&self) -> bool {
        self.scope.is_empty()
    }

    pub fn may_send(&self, event_type: &EventType) -> bool {
        self.may_send_all()
            || self.scope.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => event_type.as_str().starts_with(prefix),
                None => pattern == event_type.as_str(),
            })
    }
}

/// What a request tells of its sender besides the key.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    origin: Option<Vec<u8>>,
    certificate: Option<[u8; 32]>,
}

impl Caller {
    pub fn new(head: &Parts, certificate: Option<[u8; 32]>) -> Caller {
        Caller {
            origin: head
                .headers
                .get(header::ORIGIN)
                .map(|origin| origin.as_bytes().to_vec()),
            certificate,
        }
    }
}

/// All live keys of one registry snapshot.
#[derive(Debug, Default)]
pub struct Keys {
    /// Ids are the gateway's own, so that the hash needs no guard.
    by_id: HashMap<Arc<str>, Arc<Entry>, foldhash::fast::FixedState>,
    /// Origins that some publishable key allows, in lower case.
    origins: HashSet<String>,
    /// Some publishable key allows all.
    any_origin: bool,
    /// Whose clients bring a certificate; none where several partners list it.
    by_certificate: HashMap<[u8; 32], Option<PartnerName>>,
}

#[derive(Debug)]
struct Entry {
    id: Arc<str>,
    partner: PartnerName,
    kind: KeyKind,
    sha256: [u8; 32],
    /// Of a publishable key: the origins it may be used from, shared by all keys of the partner; empty: any.
    origins: Arc<[String]>,
    /// Which client certificates it must come with, shared likewise; empty: none is needed.
    certificates: Arc<[Digest]>,
    scope: Arc<[String]>,
    expires: Option<Timestamp>,
    signing: Option<Secret>,
    /// Seconds since 1970 of its last use on this node; 0: none. Goes on from one snapshot to the next.
    used_s: Arc<AtomicI64>,
}

/// A signed request whose body is not there yet.
#[derive(Debug)]
pub struct Signed {
    claim: Claim,
    /// None where no live signing key has this id: the work is done all the same.
    entry: Option<Arc<Entry>>,
    caller: Caller,
}

/// What all keys of a partner share: its origins, and the certificates that its clients bring.
type Shared = (Arc<[String]>, Arc<[Digest]>);

impl Keys {
    /// The keys of all partners there are; a key whose partner is gone is none. `open` gives signing keys their secrets.
    pub fn build(state: &State, previous: &Keys, open: impl Fn(&Key) -> Option<SigningSecret>) -> Keys {
        let mut shared: HashMap<&PartnerName, Shared> = HashMap::new();
        let mut keys = Keys {
            by_id: HashMap::with_capacity_and_hasher(state.keys.len(), Default::default()),
            ..Keys::default()
        };
        for (name, partner) in &state.partners {
            for certificate in &partner.value.client_certificates {
                let known = keys.by_certificate.entry(certificate.0);
                known
                    .and_modify(|owner| {
                        if owner.as_ref() != Some(name) {
                            *owner = None;
                        }
                    })
                    .or_insert_with(|| Some(name.clone()));
            }
        }
        for key in state.keys.values().map(|key| &key.value) {
            let Some(owner) = state.partners.get(&key.partner) else {
                continue;
            };
            let (origins, certificates) = shared.entry(&key.partner).or_insert_with(|| {
                let partner = &owner.value;
                (
                    partner.origins.as_slice().into(),
                    partner.client_certificates.as_slice().into(),
                )
            });
            if key.kind == KeyKind::Publishable {
                keys.any_origin |= origins.is_empty();
                keys.origins
                    .extend(origins.iter().map(|origin| origin.to_ascii_lowercase()));
            }
            let known = previous.by_id.get(key.id.as_str());
            let id: Arc<str> = known.map_or_else(|| key.id.as_str().into(), |known| Arc::clone(&known.id));
            let signing = match (key.kind, known.and_then(|known| known.signing.clone())) {
                (KeyKind::Signing, None) => open(key).as_ref().map(Secret::new),
                (_, known) => known,
            };
            let entry = Entry {
                id: Arc::clone(&id),
                partner: key.partner.clone(),
                kind: key.kind,
                sha256: key.sha256.0,
                origins: Arc::clone(origins),
                certificates: Arc::clone(certificates),
                scope: key.types.as_slice().into(),
                expires: key.expires,
                signing,
                used_s: known.map_or_else(Arc::default, |known| Arc::clone(&known.used_s)),
            };
            keys.by_id.insert(id, Arc::new(entry));
        }
        keys
    }

    /// Whether pages of this origin may send with some publishable key.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.any_origin || self.origins.contains(&origin.to_ascii_lowercase())
    }

    /// When a key was last used on this node.
    pub fn last_used(&self, id: &str) -> Option<Timestamp> {
        let seconds = self.by_id.get(id)?.used_s.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_second(seconds).ok())?
    }

    /// Whose request this is, by the key in its head. 401: no valid key; 403: the key is valid and may not be used like
    /// this.
    pub fn identify(&self, head: &Parts, caller: &Caller, places: &Places<'_>) -> Result<Identity, Problem> {
        let presented = places.presented(head)?;
        self.identify_presented(&presented, caller)
    }

    /// [`Keys::identify`] for a key that stood in the body.
    pub fn identify_text(&self, text: &str, caller: &Caller) -> Result<Identity, Problem> {
        let presented = Presented {
            text: text.into(),
            is_in_url: false,
        };
        self.identify_presented(&presented, caller)
    }

    /// Whose the certificate is that the caller proved to hold, where it stands for a key.
    pub fn identify_certificate(&self, caller: &Caller) -> Result<Identity, Problem> {
        let owner = caller
            .certificate
            .and_then(|certificate| self.by_certificate.get(&certificate));
        match owner {
            Some(Some(partner)) => Ok(Identity {
                partner: partner.clone(),
                key_id: "certificate".into(),
                kind: KeyKind::Secret,
                scope: Arc::from([]),
                webhook_id: None,
            }),
            Some(None) => Err(Problem::new(
                Code::KeyForbidden,
                "several partners list this client certificate; begin with a line \"AUTH hw_…\"",
            )),
            None => Err(Problem::new(
                Code::KeyInvalid,
                "no partner lists this client certificate; begin with a line \"AUTH hw_…\"",
            )),
        }
    }

    fn identify_presented(&self, presented: &Presented<'_>, caller: &Caller) -> Result<Identity, Problem> {
        let now = Timestamp::now();
        let entry = self.verify(&presented.text, now)?;
        match entry.kind {
            KeyKind::Signing => return Err(signing_secret_sent()),
            KeyKind::Secret if presented.is_in_url => {
                return Err(Problem::new(
                    Code::KeyForbidden,
                    format!(
                        "a secret key must not stand in a URL, where logs keep it: revoke it, and {PLACES}; only a \
                         publishable key may be sent in a URL"
                    ),
                ));
            }
            KeyKind::Publishable => check_origin(caller, &entry.origins)?,
            KeyKind::Secret => {}
        }
        entry.admit(caller, now, None)
    }

    fn verify(&self, text: &str, now: Timestamp) -> Result<&Entry, Problem> {
        if text.starts_with(SIGNING_PREFIX) {
            return Err(signing_secret_sent());
        }
        let known = text
            .strip_prefix(PREFIX)
            .filter(|_| text.len() <= KEY_BYTES)
            .and_then(|rest| rest.split_once('_'))
            .and_then(|(id, _)| self.by_id.get(id));
        // An unknown id costs the same as a wrong secret, so that time tells nothing of which ids there are.
        let digest: [u8; 32] = Sha256::digest(&text.as_bytes()[..text.len().min(KEY_BYTES)]).into();
        let expected = known.map_or([0; 32], |entry| entry.sha256);
        let is_equal = is_same(&digest, &expected);
        known
            .filter(|entry| is_equal && entry.is_live(now))
            .map(|entry| &**entry)
            .ok_or_else(|| {
                Problem::new(
                    Code::KeyInvalid,
                    "the key is unknown, revoked, expired or mistyped; use a live key of the partner",
                )
            })
    }

    /// The partner of a live signing key; anybody may know its id.
    pub fn signer(&self, key_id: &str) -> Option<&PartnerName> {
        let entry = self.by_id.get(key_id)?;
        (entry.kind == KeyKind::Signing && entry.is_live(Timestamp::now())).then_some(&entry.partner)
    }

    /// A request that the key `key_id` has signed, as its head claims.
    ///
    /// # Errors
    ///
    /// 401 where the headers say already that the signature cannot be valid.
    pub fn signed(
        &self,
        head: &Parts,
        caller: Caller,
        key_id: &str,
        signature: &Signature,
    ) -> Result<Signed, Problem> {
        let now = Timestamp::now();
        let claim = Claim::read(&head.headers, signature, now)?;
        let entry = self.by_id.get(key_id);
        let entry = entry.filter(|entry| entry.kind == KeyKind::Signing && entry.is_live(now));
        Ok(Signed {
            claim,
            entry: entry.cloned(),
            caller,
        })
    }
}

impl Signed {
    /// Whose request this is, now that its body is there as it was sent.
    pub fn verify(self, body: &[u8]) -> Result<Identity, Problem> {
        let secret = self.entry.as_ref().and_then(|entry| entry.signing.as_ref());
        let is_valid = match secret {
            Some(secret) => self.claim.is_by(secret, body),
            None => {
                let nobody = Secret::new(&SigningSecret::new(String::new()));
                // What it finds is of no concern: that key is nobody's.
                std::hint::black_box(self.claim.is_by(&nobody, body));
                false
            }
        };
        match self.entry {
            Some(entry) if is_valid => entry.admit(&self.caller, Timestamp::now(), self.claim.id),
            _ => Err(Problem::new(
                Code::SignatureInvalid,
                "the signature is not one of this key over the bytes of the body as they came; sign what is sent, \
                 compressed where it is, with the secret of the key that key_id names",
            )),
        }
    }
}

impl Entry {
    fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// The last step, after the key itself was found to be good.
    fn admit(
        &self,
        caller: &Caller,
        now: Timestamp,
        webhook_id: Option<String>,
    ) -> Result<Identity, Problem> {
        let is_known = |certificate: &[u8; 32]| self.certificates.iter().any(|known| known.0 == *certificate);
        if !self.certificates.is_empty() && !caller.certificate.as_ref().is_some_and(is_known) {
            return Err(Problem::new(
                Code::KeyForbidden,
                "this partner's requests must come over TLS with one of its client certificates",
            ));
        }
        let now_s = now.as_second();
        // Most requests come within the same second: then the line is only read, and no core takes it from another.
        if self.used_s.load(Ordering::Relaxed) != now_s {
            self.used_s.store(now_s, Ordering::Relaxed);
        }
        Ok(Identity {
            partner: self.partner.clone(),
            key_id: Arc::clone(&self.id),
            kind: self.kind,
            scope: Arc::clone(&self.scope),
            webhook_id,
        })
    }
}

/// In constant time; by words, of which there are fewer than bytes.
fn is_same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let words = |digest: &[u8; 32]| -> [u64; 4] {
        std::array::from_fn(|word| u64::from_ne_bytes(std::array::from_fn(|byte| digest[8 * word + byte])))
    };
    words(left).as_slice().ct_eq(words(right).as_slice()).into()
}

fn signing_secret_sent() -> Problem {
    Problem::new(
        Code::KeyForbidden,
        "a signing key only signs requests and is never sent itself; use a secret or publishable key here",
    )
}

fn check_origin(caller: &Caller, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = &caller.origin else {
        return Ok(());
    };
    let is_allowed = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin);
    if allowed.is_empty() || allowed.iter().any(is_allowed) {
        return Ok(());
    }
    Err(Problem::new(
        Code::KeyForbidden,
        "this publishable key may not be used from this Origin; add the origin to the partner's origins",
    ))
}
