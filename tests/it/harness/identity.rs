//! An identity provider: its key, the tokens that it signs, and an endpoint that gives them to a client.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::{
    kafka::{AUDIENCE, ISSUER},
    served::Served,
};

/// An identity provider's key.
pub struct Provider {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

impl Provider {
    pub fn new(kid: &'static str) -> Provider {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).expect("a key");
        Provider { pair, kid }
    }

    /// A JSON Web Key Set.
    pub fn published(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y}]}).to_string()
    }

    /// A JWT that says so.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Who may ask the endpoint, and its secret.
pub const CLIENT: (&str, &str) = ("events-gateway", "tell & nobody: 100 %");

struct Shared {
    provider: Provider,
    lifetime_s: i64,
    refuses: AtomicBool,
    /// When each token that was given ends, in seconds since the Unix epoch.
    given: Mutex<Vec<i64>>,
}

/// Gives tokens by client credentials, while it is not told to refuse.
pub struct TokenEndpoint {
    shared: Arc<Shared>,
    served: Served,
}

impl TokenEndpoint {
    /// Its tokens live for so long.
    pub async fn start(provider: Provider, lifetime_s: i64) -> TokenEndpoint {
        let shared = Arc::new(Shared {
            provider,
            lifetime_s,
            refuses: AtomicBool::new(false),
            given: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let served = Served::start(router).await;
        TokenEndpoint { shared, served }
    }

    pub fn url(&self) -> String {
        format!("http://{}/token", self.served.address)
    }

    /// From now on.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Tokens that were given, ever.
    pub fn given(&self) -> usize {
        self.shared.given.lock().expect("no panic").len()
    }

    /// None of the tokens is good any more.
    pub fn have_all_expired(&self) -> bool {
        let now = Timestamp::now().as_second();
        self.shared
            .given
            .lock()
            .expect("no panic")
            .iter()
            .all(|end| *end < now)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, form: String) -> Response {
    let (client, secret) = CLIENT;
    let known = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
    let shown = headers.get("authorization").map(|value| value.as_bytes());
    if shared.refuses.load(Ordering::SeqCst) || shown != Some(known.as_bytes()) {
        let problem = json!({"error": "invalid_client", "error_description": secret});
        return (StatusCode::UNAUTHORIZED, Json(problem)).into_response();
    }
    let kind = headers.get("content-type").map(|value| value.as_bytes());
    let is_form = kind == Some(b"application/x-www-form-urlencoded".as_slice());
    if !is_form || form != "grant_type=client_credentials&scope=events%20write" {
        let problem = json!({"error": "invalid_request"});
        return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
    }
    let now = Timestamp::now().as_second();
    let end = now + shared.lifetime_s;
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": client, "iat": now, "exp": end,
        "scope": "events write"});
    let token = shared.provider.sign(&claims);
    shared.given.lock().expect("no panic").push(end);
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": shared.lifetime_s}))
        .into_response()
}
