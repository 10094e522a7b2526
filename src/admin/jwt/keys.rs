//! The keys that an identity provider publishes, kept in memory and read again and again. Where they cannot be read the
//! last ones stay in force.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::refused;
use crate::{
    config::{JwksPlace, bounded_text},
    limits::{ByteSize, JWKS_AGAIN_S, JWKS_BYTES, JWKS_FETCH_S, JWKS_FILE_S, JWKS_URL_S},
    problem::{Code, Problem},
};

/// How often keys are read.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub url: Duration,
    pub file: Duration,
    /// At most so often, whoever asks.
    pub again: Duration,
    /// For one reading.
    pub time: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            url: Duration::from_secs(JWKS_URL_S),
            file: Duration::from_secs(JWKS_FILE_S),
            again: Duration::from_secs(JWKS_AGAIN_S),
            time: Duration::from_secs(JWKS_FETCH_S),
        }
    }
}

pub(super) struct Keys {
    place: JwksPlace,
    pace: Pace,
    http: reqwest::Client,
    known: ArcSwapOption<KeySet>,
    /// When they were last read, or tried to be.
    tried: Mutex<Option<Instant>>,
}

struct KeySet(Vec<Key>);

struct Key {
    jwk: Jwk,
    decoding: DecodingKey,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Keys of kinds that are not known are left out: a provider may publish more than this gateway takes.
    fn read(text: &[u8]) -> Result<KeySet, String> {
        let published: Published =
            serde_json::from_slice(text).map_err(|error| format!("they are no JSON Web Key Set: {error}"))?;
        let keys = published.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            let is_secret = matches!(
                jwk.algorithm,
                AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)
            );
            let decoding = DecodingKey::from_jwk(&jwk).ok()?;
            (!is_secret && is_for_signatures(&jwk)).then_some(Key { jwk, decoding })
        });
        let keys: Vec<Key> = keys.collect();
        if keys.is_empty() {
            return Err("none of them can check a signature".to_owned());
        }
        Ok(KeySet(keys))
    }

    /// The only one that this token can be signed with. A token that names no key is good only where there is one.
    fn find(&self, header: &Header) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| {
            let id = key.jwk.common.key_id.as_deref();
            fits(&key.jwk, header.alg) && header.kid.as_deref().is_none_or(|wanted| id == Some(wanted))
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(&first.decoding)
    }
}

fn is_for_signatures(jwk: &Jwk) -> bool {
    let common = &jwk.common;
    let by_use = common.public_key_use.as_ref();
    let by_operations = common.key_operations.as_ref();
    by_use.is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && by_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// Kind and curve of a key say what it signs; what the token says of itself must be that.
fn fits(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let is_declared = jwk
        .common
        .key_algorithm
        .is_none_or(|declared| declared == KeyAlgorithm::from(algorithm));
    is_declared
        && match (&jwk.algorithm, algorithm) {
            (
                AlgorithmParameters::RSA(_),
                Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512,
            ) => true,
            (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
            (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
            (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
            _ => false,
        }
}

impl Keys {
    pub fn start(place: JwksPlace, pace: Pace) -> Result<Arc<Keys>, String> {
        let http = reqwest::Client::builder()
            .timeout(pace.time)
            // Whose keys are believed is the operator's to say, not the provider's.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let keys = Arc::new(Keys {
            place,
            pace,
            http,
            known: ArcSwapOption::empty(),
            tried: Mutex::new(None),
        });
        let weak = Arc::downgrade(&keys);
        let interval = match &keys.place {
            JwksPlace::File(_) => pace.file,
            JwksPlace::Url(_) => pace.url,
        };
        tokio::spawn(async move {
            while let Some(keys) = weak.upgrade() {
                keys.read_again().await;
                drop(keys);
                tokio::time::sleep(interval).await;
            }
        });
        Ok(keys)
    }

    /// The key that this token is signed with; an unknown one has them read again.
    pub async fn find(&self, header: &Header) -> Result<DecodingKey, Problem> {
        let known = || {
            let keys = self.known.load();
            keys.as_ref()?.find(header).cloned()
        };
        if let Some(key) = known() {
            return Ok(key);
        }
        self.read_again().await;
        if self.known.load().is_none() {
            return Err(Problem::new(
                Code::IdentityProviderUnavailable,
                "the identity provider's keys could not be read yet; send again later, or use a token hwt_…",
            ));
        }
        known().ok_or_else(|| {
            refused("the token is signed with a key that the provider does not publish for its algorithm")
        })
    }

    async fn read_again(&self) {
        let mut tried = self.tried.lock().await;
        if tried.is_some_and(|tried| tried.elapsed() < self.pace.again) {
            return;
        }
        match self.fetch().await.and_then(|text| KeySet::read(&text)) {
            Ok(keys) => {
                self.known.store(Some(Arc::new(keys)));
            }
            Err(error) => {
                let is_without = self.known.load().is_none();
                tracing::warn!(
                    error,
                    is_without,
                    "the identity provider's keys cannot be read; the last ones stay"
                );
            }
        }
        // What failed is not tried at once again either.
        *tried = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        match &self.place {
            JwksPlace::File(path) => {
                let path = path.clone();
                let text = tokio::task::spawn_blocking(move || bounded_text(&path, JWKS_BYTES)).await;
                let text = text.map_err(|error| error.to_string())?;
                Ok(text.map_err(|error| error.to_string())?.into_bytes())
            }
            JwksPlace::Url(url) => self.download(url).await,
        }
    }

    async fn download(&self, url: &str) -> Result<Vec<u8>, String> {
        let said = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.http.get(url).send().await.map_err(said)?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(said)? {
            if (text.len() + chunk.len()) as u64 > JWKS_BYTES {
                return Err(format!("they are larger than {}", ByteSize(JWKS_BYTES)));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }
}
