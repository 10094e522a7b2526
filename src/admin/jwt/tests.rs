//! Real tokens, signed with keys made for the test, and a provider that speaks HTTP over a real socket.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA384, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::json;

use super::*;
use crate::{config::JwksPlace, limits::JWKS_BYTES, registry::now};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A key of an identity provider.
struct Signer {
    id: &'static str,
    pair: Pair,
}

fn random() -> SystemRandom {
    SystemRandom::new()
}

impl Signer {
    fn p256(id: &'static str) -> Signer {
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(how, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random()).unwrap();
        Signer {
            id,
            pair: Pair::P256(pair),
        }
    }

    fn p384(id: &'static str) -> Signer {
        let how = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(how, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random()).unwrap();
        Signer {
            id,
            pair: Pair::P384(pair),
        }
    }

    fn ed(id: &'static str) -> Signer {
        let document = Ed25519KeyPair::generate_pkcs8(&random()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Signer {
            id,
            pair: Pair::Ed(pair),
        }
    }

    /// ring makes no RSA keys.
    fn rsa(id: &'static str, folder: &Path) -> Signer {
        let path = folder.join(id);
        let made = Command::new("openssl")
            .args([
                "genpkey",
                "-quiet",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-outform",
                "DER",
            ])
            .arg("-out")
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let der = std::fs::read(&path).unwrap();
        // Which of the two it writes hangs on its version.
        let pair = RsaKeyPair::from_pkcs8(&der)
            .or_else(|_| RsaKeyPair::from_der(&der))
            .unwrap();
        Signer {
            id,
            pair: Pair::Rsa(Box::new(pair)),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// As the provider publishes it.
    fn published(&self) -> Value {
        let point = |pair: &EcdsaKeyPair, curve: &str, bytes: usize| {
            let point = pair.public_key().as_ref();
            json!({"kty": "EC", "crv": curve, "x": encoded(&point[1..=bytes]), "y": encoded(&point[bytes + 1..])})
        };
        let mut key = match &self.pair {
            Pair::P256(pair) => point(pair, "P-256", 32),
            Pair::P384(pair) => point(pair, "P-384", 48),
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())})
            }
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                // With a zero before it, as some providers write it.
                let (modulus, exponent) = ([vec![0], n].concat(), e);
                json!({"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent)})
            }
        };
        key["kid"] = self.id.into();
        key["use"] = "sig".into();
        key
    }

    fn token(&self, claims: &Value) -> String {
        self.token_as(
            &json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id}),
            claims,
        )
    }

    fn token_as(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let message = signed.as_bytes();
        let signature = match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random(), message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = match header["alg"].as_str() {
                    Some("RS512") => &RSA_PKCS1_SHA512,
                    Some("PS384") => &RSA_PSS_SHA384,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random(), message, &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", encoded(signature))
    }
}

fn claims() -> Value {
    let now_s = now().as_second();
    json!({"iss": "https://login.test", "aud": ["other", "headworks"], "sub": "ann", "exp": now_s + 300,
        "nbf": now_s - 5, "roles": ["nothing", "publisher", "viewer"]})
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

fn set(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.published()).collect();
    json!({"keys": keys}).to_string()
}

/// Reads anew only when it is asked for a key that it does not know.
fn pace(again: Duration) -> Pace {
    Pace {
        url: Duration::from_secs(3600),
        file: Duration::from_secs(3600),
        again,
        time: Duration::from_secs(1),
    }
}

fn start(jwks: JwksPlace, again: Duration, change: impl FnOnce(&mut JwtSettings)) -> Arc<Jwt> {
    let names = [
        ("viewer", Role::Viewer),
        ("publisher", Role::Publisher),
        ("admin", Role::Admin),
    ];
    let mut settings = JwtSettings {
        issuer: "https://login.test".to_owned(),
        audience: "headworks".to_owned(),
        jwks,
        role_claim: "roles".to_owned(),
        roles: names.map(|(name, role)| (name.to_owned(), role)).into(),
    };
    change(&mut settings);
    Jwt::start_at(settings, pace(again)).unwrap()
}

/// Keys in a file.
struct Published {
    folder: tempfile::TempDir,
}

impl Published {
    fn new(text: &str) -> Published {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys.json"), text).unwrap();
        Published { folder }
    }

    fn place(&self) -> JwksPlace {
        JwksPlace::File(self.folder.path().join("keys.json"))
    }
}

/// The code of the refusal; panics where there is none.
async fn refusal(jwt: &Jwt, token: &str) -> (Code, String) {
    match jwt.check(token).await {
        Ok(holder) => panic!("{} was let in", holder.name),
        Err(problem) => (problem.code, problem.detail),
    }
}

async fn role(jwt: &Jwt, token: &str) -> Role {
    jwt.check(token)
        .await
        .unwrap_or_else(|problem| panic!("{problem}"))
        .role
}

#[tokio::test]
async fn tokens_of_every_kind_of_key_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let signers = [
        Signer::p256("p256"),
        Signer::p384("p384"),
        Signer::ed("ed"),
        Signer::rsa("rsa", folder.path()),
    ];
    let published = Published::new(&set(&signers.iter().collect::<Vec<_>>()));
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    for signer in &signers {
        let holder = jwt.check(&signer.token(&claims())).await;
        let holder = holder.unwrap_or_else(|problem| panic!("{}: {problem}", signer.id));
        assert_eq!(
            (holder.name.as_str(), holder.role),
            ("jwt:ann", Role::Publisher),
            "{}",
            signer.id
        );
    }
    for algorithm in ["RS512", "PS384"] {
        let token = signers[3].token_as(&json!({"alg": algorithm, "kid": "rsa"}), &claims());
        assert_eq!(role(&jwt, &token).await, Role::Publisher, "{algorithm}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_not_this_providers_token_for_this_gateway_now_is_refused() {
    let (signer, other) = (Signer::p256("one"), Signer::p256("one"));
    let published = Published::new(&set(&[&signer]));
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    let now_s = now().as_second();
    let good = signer.token(&claims());
    assert_eq!(role(&jwt, &good).await, Role::Publisher);
    let mut changed: Vec<String> = good.split('.').map(str::to_owned).collect();
    changed[1] = encoded(with("roles", json!("admin")).to_string());
    let critical = json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false});
    let long = with("padding", "x".repeat(JWT_BYTES).into());
    for (what, token, said) in [
        (
            "expired",
            signer.token(&with("exp", json!(now_s - 31))),
            "expired",
        ),
        (
            "early",
            signer.token(&with("nbf", json!(now_s + 40))),
            "not valid yet",
        ),
        (
            "issuer",
            signer.token(&with("iss", json!("https://evil.test"))),
            "issuer",
        ),
        ("audience", signer.token(&with("aud", json!("other"))), "audience"),
        (
            "no expiry",
            signer.token(&without("exp")),
            "lacks a readable claim exp",
        ),
        (
            "a text as expiry",
            signer.token(&with("exp", json!("9999999999"))),
            "exp",
        ),
        ("a text as nbf", signer.token(&with("nbf", json!("soon"))), "nbf"),
        (
            "no audience",
            signer.token(&without("aud")),
            "lacks a readable claim aud",
        ),
        (
            "no issuer",
            signer.token(&without("iss")),
            "lacks a readable claim iss",
        ),
        (
            "no subject",
            signer.token(&without("sub")),
            "lacks a readable claim sub",
        ),
        (
            "an empty subject",
            signer.token(&with("sub", json!(" \u{7}"))),
            "names nobody",
        ),
        ("another's key", other.token(&claims()), "signature"),
        ("changed", changed.join("."), "signature"),
        ("cut", good[..good.len() - 4].to_owned(), "cannot be read"),
        ("critical", signer.token_as(&critical, &claims()), "crit"),
        ("too long", signer.token(&long), "longer"),
        ("nonsense", "a.b.c".to_owned(), "neither"),
        ("empty", String::new(), "neither"),
        (
            "a key of a partner",
            "hw_0011223344556677_x".to_owned(),
            "neither",
        ),
    ] {
        let (code, detail) = refusal(&jwt, &token).await;
        assert_eq!(code, Code::TokenInvalid, "{what}");
        assert!(detail.contains(said), "{what}: {detail}");
    }
    // Clocks may differ a little.
    assert_eq!(
        role(&jwt, &signer.token(&with("exp", json!(now_s - 20)))).await,
        Role::Publisher
    );
    assert_eq!(
        role(&jwt, &signer.token(&with("nbf", json!(now_s + 20)))).await,
        Role::Publisher
    );
}

/// The attacker knows everything that is published and signs with it as if it were a secret.
#[tokio::test]
async fn algorithms_cannot_be_confused() {
    let folder = tempfile::tempdir().unwrap();
    let (ec, rsa) = (Signer::p256("ec"), Signer::rsa("rsa", folder.path()));
    let secret = json!({"kty": "oct", "k": encoded("a shared secret"), "kid": "shared"});
    let text = json!({"keys": [ec.published(), rsa.published(), secret]}).to_string();
    let published = Published::new(&text);
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    let by_hmac = |id: &str, key: &[u8]| {
        let header = encoded(json!({"alg": "HS256", "kid": id}).to_string());
        let signed = format!("{header}.{}", encoded(with("roles", json!("admin")).to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        format!("{signed}.{}", encoded(hmac::sign(&key, signed.as_bytes())))
    };
    let point = match &ec.pair {
        Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
        _ => unreachable!("it is one"),
    };
    let modulus = URL_SAFE_NO_PAD
        .decode(rsa.published()["n"].as_str().unwrap())
        .unwrap();
    let unsigned = |algorithm: &str| {
        let header = encoded(json!({"alg": algorithm, "kid": "ec"}).to_string());
        format!("{header}.{}.", encoded(with("roles", json!("admin")).to_string()))
    };
    for (what, token) in [
        ("HS256 with the point", by_hmac("ec", &point)),
        ("HS256 with the modulus", by_hmac("rsa", &modulus)),
        ("HS256 with the published text", by_hmac("ec", text.as_bytes())),
        (
            "HS256 with a published secret",
            by_hmac("shared", b"a shared secret"),
        ),
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no signature", unsigned("ES256")),
        (
            "ES256 as RS256",
            ec.token_as(&json!({"alg": "RS256", "kid": "ec"}), &claims()),
        ),
        (
            "ES256 as ES384",
            ec.token_as(&json!({"alg": "ES384", "kid": "ec"}), &claims()),
        ),
        (
            "RS256 as EdDSA",
            rsa.token_as(&json!({"alg": "EdDSA", "kid": "rsa"}), &claims()),
        ),
        (
            "RS256 by the other's name",
            rsa.token_as(&json!({"alg": "RS256", "kid": "ec"}), &claims()),
        ),
    ] {
        let (code, detail) = refusal(&jwt, &token).await;
        assert_eq!(code, Code::TokenInvalid, "{what}: {detail}");
    }
    // What a key is published for holds.
    let mut declared = rsa.published();
    declared["alg"] = "PS384".into();
    let published = Published::new(&json!({"keys": [declared]}).to_string());
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    assert_eq!(refusal(&jwt, &rsa.token(&claims())).await.0, Code::TokenInvalid);
    let token = rsa.token_as(&json!({"alg": "PS384", "kid": "rsa"}), &claims());
    assert_eq!(role(&jwt, &token).await, Role::Publisher);
}

#[tokio::test]
async fn keys_are_found_by_their_name_and_only_where_they_are_certain() {
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let nameless = json!({"alg": "ES256"});
    let published = Published::new(&set(&[&one]));
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    assert_eq!(
        role(&jwt, &one.token_as(&nameless, &claims())).await,
        Role::Publisher
    );
    let published = Published::new(&set(&[&one, &two]));
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    assert_eq!(
        refusal(&jwt, &one.token_as(&nameless, &claims())).await.0,
        Code::TokenInvalid
    );
    assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher);
    // Keys for other purposes, and of kinds that nobody knows here, are passed over.
    let mut encryption = two.published();
    encryption["use"] = "enc".into();
    let strange = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"});
    let broken = json!({"kty": "EC", "crv": "P-256", "x": 1});
    let keys = json!({"keys": [strange, broken, 7, encryption, one.published()]});
    let published = Published::new(&keys.to_string());
    let jwt = start(published.place(), Duration::ZERO, |_| ());
    assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher);
    assert_eq!(refusal(&jwt, &two.token(&claims())).await.0, Code::TokenInvalid);
}

#[tokio::test]
async fn roles_are_what_the_operator_says_they_are() {
    let signer = Signer::ed("one");
    let published = Published::new(&set(&[&signer]));
    let jwt = start(published.place(), Duration::ZERO, |settings| {
        settings.role_claim = "/realm/groups".to_owned();
        let roles = [
            ("Gateway Admins", Role::Admin),
            ("hw:read", Role::Viewer),
            ("hw:write", Role::Operator),
        ];
        settings.roles = roles
            .map(|(name, role)| (name.to_owned(), role))
            .into_iter()
            .collect::<BTreeMap<_, _>>();
    });
    let token = |groups: Value| signer.token(&with("realm", json!({"groups": groups})));
    for (groups, expected) in [
        (json!(["x", "hw:read"]), Role::Viewer),
        (json!("openid hw:read hw:write"), Role::Operator),
        (json!("Gateway Admins"), Role::Admin),
        (json!(["hw:read", "Gateway Admins", 7]), Role::Admin),
    ] {
        assert_eq!(role(&jwt, &token(groups.clone())).await, expected, "{groups}");
    }
    // A role's own name is nothing where the operator has named others.
    for groups in [
        json!([]),
        json!("admin"),
        json!(["admin"]),
        json!({"hw:read": true}),
        json!(null),
        json!(true),
    ] {
        let (code, detail) = refusal(&jwt, &token(groups.clone())).await;
        assert_eq!(code, Code::RoleInsufficient, "{groups}");
        assert!(detail.contains("Gateway Admins"), "{detail}");
    }
    assert_eq!(
        refusal(&jwt, &signer.token(&claims())).await.0,
        Code::RoleInsufficient
    );
}

/// What the provider answers with, and how often it was asked.
#[derive(Default)]
struct Provider {
    answer: Mutex<(u16, String)>,
    asked: AtomicUsize,
}

impl Provider {
    async fn serve(text: String) -> (Arc<Provider>, JwksPlace, tokio::task::JoinHandle<()>) {
        let provider = Arc::new(Provider {
            answer: Mutex::new((200, text)),
            asked: AtomicUsize::new(0),
        });
        let answer = async |State(provider): State<Arc<Provider>>| {
            provider.asked.fetch_add(1, Ordering::Relaxed);
            let (status, text) = provider.answer.lock().clone();
            if status == 0 {
                std::future::pending::<()>().await;
            }
            (
                StatusCode::from_u16(status).unwrap(),
                [("location", "/other")],
                text,
            )
        };
        let router = Router::new()
            .route("/keys", get(answer))
            .with_state(Arc::clone(&provider));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", socket.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
        (provider, JwksPlace::Url(url), serving)
    }

    fn set(&self, status: u16, text: impl Into<String>) {
        *self.answer.lock() = (status, text.into());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_unknown_key_has_them_read_again_and_not_for_every_request() {
    let (one, two, three) = (Signer::p256("one"), Signer::p256("two"), Signer::p256("three"));
    let (provider, place, _serving) = Provider::serve(set(&[&one])).await;
    let again = Duration::from_millis(300);
    let jwt = start(place, again, |_| ());
    for _ in 0..20 {
        assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher);
    }
    assert_eq!(provider.asked(), 1, "keys are kept in memory");
    for _ in 0..20 {
        assert_eq!(refusal(&jwt, &two.token(&claims())).await.0, Code::TokenInvalid);
    }
    assert!(provider.asked() <= 2, "{} times", provider.asked());
    provider.set(200, set(&[&two]));
    tokio::time::sleep(again).await;
    assert_eq!(role(&jwt, &two.token(&claims())).await, Role::Publisher);
    // What was withdrawn is gone.
    assert_eq!(refusal(&jwt, &one.token(&claims())).await.0, Code::TokenInvalid);
    // Many at once ask once.
    tokio::time::sleep(again).await;
    let before = provider.asked();
    let token = three.token(&claims());
    let all = futures::future::join_all((0..50).map(|_| refusal(&jwt, &token))).await;
    assert!(all.iter().all(|(code, _)| *code == Code::TokenInvalid));
    assert_eq!(provider.asked() - before, 1);
}

#[tokio::test]
async fn a_provider_that_is_away_lets_nobody_in_and_locks_nobody_out() {
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let (provider, place, serving) = Provider::serve(set(&[&one])).await;
    let jwt = start(place, Duration::ZERO, |_| ());
    assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher);
    let large = format!(
        "{}{}",
        set(&[&two]),
        " ".repeat(usize::try_from(JWKS_BYTES).unwrap())
    );
    for (status, text) in [
        (500, set(&[&two])),
        (404, set(&[&two])),
        (302, set(&[&two])),
        (200, "<html>".to_owned()),
        (200, "{}".to_owned()),
        (200, json!({"keys": []}).to_string()),
        (
            200,
            json!({"keys": [{"kty": "oct", "k": "AA", "kid": "two"}]}).to_string(),
        ),
        (200, large),
        // It never answers.
        (0, String::new()),
    ] {
        let what = format!("{status} {}", text.chars().take(20).collect::<String>());
        provider.set(status, text);
        assert_eq!(
            refusal(&jwt, &two.token(&claims())).await.0,
            Code::TokenInvalid,
            "{what}"
        );
        assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher, "{what}");
    }
    serving.abort();
    assert_eq!(refusal(&jwt, &two.token(&claims())).await.0, Code::TokenInvalid);
    assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Publisher);
}

#[tokio::test]
async fn without_any_keys_everybody_is_told_to_come_again() {
    let signer = Signer::p256("one");
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let jwt = start(
        JwksPlace::Url(format!("http://{address}/keys")),
        Duration::ZERO,
        |_| (),
    );
    let (code, _) = refusal(&jwt, &signer.token(&claims())).await;
    assert_eq!(code, Code::IdentityProviderUnavailable);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let jwt = start(JwksPlace::File(path.clone()), Duration::ZERO, |_| ());
    assert_eq!(
        refusal(&jwt, &signer.token(&claims())).await.0,
        Code::IdentityProviderUnavailable
    );
    std::fs::write(path, set(&[&signer])).unwrap();
    assert_eq!(role(&jwt, &signer.token(&claims())).await, Role::Publisher);
}

#[tokio::test]
async fn keys_are_read_again_by_themselves() {
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let published = Published::new(&set(&[&one, &two]));
    let settings = JwtSettings {
        issuer: "https://login.test".to_owned(),
        audience: "headworks".to_owned(),
        jwks: published.place(),
        role_claim: "roles".to_owned(),
        roles: BTreeMap::from([("viewer".to_owned(), Role::Viewer)]),
    };
    let pace = Pace {
        file: Duration::from_millis(50),
        ..pace(Duration::ZERO)
    };
    let jwt = Jwt::start_at(settings, pace).unwrap();
    assert_eq!(role(&jwt, &one.token(&claims())).await, Role::Viewer);
    std::fs::write(published.folder.path().join("keys.json"), set(&[&two])).unwrap();
    // The token itself asks for nothing, since its key is known.
    for attempt in 0.. {
        if jwt.check(&one.token(&claims())).await.is_err() {
            break;
        }
        assert!(attempt < 200, "a withdrawn key goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(role(&jwt, &two.token(&claims())).await, Role::Viewer);
}
