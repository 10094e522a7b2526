//! Tokens for SASL OAUTHBEARER, from the operator's identity provider: OAuth 2.0, client credentials (RFC 6749, 4.4).
//! The options are librdkafka's own for its OIDC, which it can do only with libcurl. A token is asked for before the last
//! one ends, so that librdkafka, which asks on the thread that reports deliveries, waits for nobody.

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rdkafka::client::OAuthToken;
use reqwest::{
    Certificate, Client, Url,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Map, Value};

use crate::{
    config::{Secret, TOKEN_ENDPOINT_OPTION as ENDPOINT, bounded_text},
    event::DestinationName,
    limits::ByteSize,
};

const METHOD: &str = "sasl.oauthbearer.method";
/// The second is another name of the first.
const CLIENT_ID: [&str; 2] = [
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.credentials.client.id",
];
const CLIENT_SECRET: [&str; 2] = [
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
];
const SCOPE: &str = "sasl.oauthbearer.scope";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
const GRANT_TYPE: &str = "sasl.oauthbearer.grant.type";
const METADATA: &str = "sasl.oauthbearer.metadata.authentication.type";
const ASSERTION: &str = "sasl.oauthbearer.assertion.";
const CA_FILE: &str = "https.ca.location";
const CA_TEXT: &str = "https.ca.pem";

const CA_BYTES_MAX: u64 = 1 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// For one answer of the endpoint.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long librdkafka waits for the first token; less than a record may wait before the destination spools.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// Before librdkafka asks, which is after eight tenths.
const REFRESH_AFTER_TENTHS: i64 = 7;
const REFRESH_PAUSE_MIN_MS: i64 = 1_000;
const REFRESH_PAUSE_MAX_MS: i64 = 24 * 3600 * 1000;
const RETRY_PAUSE_MS: i64 = 5_000;
/// The clock of a token goes on while the machine sleeps, and a timer's does not.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// What is said to last longer counts as lasting so long: librdkafka calculates in microseconds.
const LIFETIME_MAX_MS: i64 = 10 * 365 * 24 * 3600 * 1000;
/// An endpoint's word for what is wrong (RFC 6749, 5.2); anything longer is none.
const ERROR_CODE_BYTES_MAX: usize = 64;

/// librdkafka sends a scope as it stands, so operators may have written it encoded: `%` is left alone.
const SCOPE_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'%')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether an option is for the gateway rather than for librdkafka, which refuses it for want of libcurl.
pub(super) fn is_ours(option: &str) -> bool {
    [
        METHOD, ENDPOINT, SCOPE, EXTENSIONS, GRANT_TYPE, METADATA, CA_FILE, CA_TEXT,
    ]
    .contains(&option)
        || CLIENT_ID.contains(&option)
        || CLIENT_SECRET.contains(&option)
        || option.starts_with(ASSERTION)
}

/// One of our options by itself. The error is for the operator and never shows the value of a secret.
pub(super) fn check(option: &str, value: &Secret) -> Result<(), String> {
    let value = value.reveal();
    let only = |allowed: &str| {
        if value.eq_ignore_ascii_case(allowed) {
            return Ok(());
        }
        Err(format!(
            "option {option:?} must be {allowed:?}: tokens come by client credentials (RFC 6749, 4.4) or not at all"
        ))
    };
    match option {
        METHOD if value.eq_ignore_ascii_case("oidc") => Ok(()),
        METHOD => Err(only_oidc()),
        GRANT_TYPE => only("client_credentials"),
        METADATA => only("none"),
        EXTENSIONS => Err(format!(
            "option {option:?} cannot be set: this build sends no extensions"
        )),
        ENDPOINT => endpoint(value).map(drop),
        CA_FILE => authorities_in(value).map(drop),
        CA_TEXT => authorities(option, value).map(drop),
        option if option.starts_with(ASSERTION) => Err(format!(
            "option {option:?} cannot be set: tokens come by client credentials (\"{}\", \"{}\"), not by assertions",
            CLIENT_ID[0], CLIENT_SECRET[0],
        )),
        _ => Ok(()),
    }
}

fn only_oidc() -> String {
    format!(
        "option \"{METHOD}\" must be \"oidc\" for OAUTHBEARER, with \"{ENDPOINT}\", \"{}\" and \"{}\"; librdkafka's own \
         unsecured tokens are not supported",
        CLIENT_ID[0], CLIENT_SECRET[0],
    )
}

fn endpoint(value: &str) -> Result<Url, String> {
    let fault = |what: &str| format!("option \"{ENDPOINT}\" {what}: write https://HOST/PATH");
    let url = Url::parse(value).map_err(|_| fault("is no URL"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(fault("is no HTTP URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("names a user, who stands in options of their own"));
    }
    Ok(url)
}

/// `probe` is librdkafka's word for what the system trusts.
fn authorities_in(path: &str) -> Result<Option<Vec<Certificate>>, String> {
    if path.is_empty() || path == "probe" {
        return Ok(None);
    }
    let text = bounded_text(Path::new(path), CA_BYTES_MAX)
        .map_err(|error| format!("option \"{CA_FILE}\": {path} cannot be read as a file: {error}"))?;
    authorities(CA_FILE, &text).map(Some)
}

fn authorities(option: &str, text: &str) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(text.as_bytes()).unwrap_or_default();
    if found.is_empty() {
        return Err(format!("option {option:?} holds no certificate in PEM"));
    }
    Ok(found)
}

/// The last token, and who is asked for the next.
pub(super) struct Tokens {
    endpoint: Endpoint,
    known: Mutex<Known>,
    /// Notified when something became known.
    told: Condvar,
}

#[derive(Default)]
struct Known {
    token: Option<Token>,
    /// Why no other came, since the last that did.
    failure: Option<String>,
}

/// An identity provider, and who the gateway is to it.
struct Endpoint {
    http: Client,
    url: Url,
    client_id: String,
    client_secret: Secret,
    form: String,
}

pub(super) struct Token {
    pub(super) value: String,
    pub(super) principal: String,
    /// Since the Unix epoch.
    pub(super) expires_ms: i64,
}

impl Tokens {
    /// The settings must have passed `check` each by itself. The error is for the operator, without secrets.
    pub(super) fn new(settings: &BTreeMap<String, Secret>) -> Result<Tokens, String> {
        let any = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| settings.get(*name));
            values.find(|value| !value.reveal().is_empty())
        };
        if any(&[METHOD]).is_none() {
            return Err(only_oidc());
        }
        let (url, client_id, client_secret) = (any(&[ENDPOINT]), any(&CLIENT_ID), any(&CLIENT_SECRET));
        let (Some(url), Some(client_id), Some(client_secret)) = (url, client_id, client_secret) else {
            let needed = [
                (ENDPOINT, url),
                (CLIENT_ID[0], client_id),
                (CLIENT_SECRET[0], client_secret),
            ];
            let missing: Vec<String> = needed
                .iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("{name:?}"))
                .collect();
            return Err(format!(
                "option \"{METHOD}\" = \"oidc\" needs {} too",
                missing.join(" and ")
            ));
        };
        let file = any(&[CA_FILE]).map(Secret::reveal);
        let trusted = match (file, any(&[CA_TEXT])) {
            (Some(_), Some(_)) => {
                return Err(format!(
                    "options \"{CA_FILE}\" and \"{CA_TEXT}\" exclude each other"
                ));
            }
            (Some(file), None) => authorities_in(file)?,
            (None, Some(text)) => Some(authorities(CA_TEXT, text.reveal())?),
            (None, None) => None,
        };
        let scope = any(&[SCOPE]).map(Secret::reveal);
        Ok(Tokens {
            endpoint: Endpoint {
                http: client(trusted)?,
                url: endpoint(url.reveal())?,
                client_id: client_id.reveal().to_owned(),
                client_secret: client_secret.clone(),
                form: form(scope),
            },
            known: Mutex::default(),
            told: Condvar::new(),
        })
    }

    /// From now on there is a token that lives, as far as the endpoint gives any; until nobody holds these any more. Only
    /// inside a runtime.
    pub(super) fn keep_fresh(self: &Arc<Self>, destination: DestinationName) {
        tokio::spawn(keep_fresh(Arc::downgrade(self), destination));
    }

    /// Asks for a token now. The error is for the operator, without secrets.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        let fetched = self.endpoint.fetch().await;
        let mut known = self.known.lock();
        let result = match fetched {
            Ok(token) => {
                *known = Known {
                    token: Some(token),
                    failure: None,
                };
                Ok(())
            }
            Err(cause) => {
                known.failure = Some(cause.clone());
                Err(cause)
            }
        };
        drop(known);
        self.told.notify_all();
        result
    }

    /// The last token if it lives, else why there is none; blocks for up to a second where none was ever asked for.
    pub(super) fn current(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let mut known = self.known.lock();
        let is_open = |known: &mut Known| known.token.is_none() && known.failure.is_none();
        self.told.wait_while_for(&mut known, is_open, FIRST_TIMEOUT);
        match &known.token {
            Some(token) if token.expires_ms > now_ms() => Ok(OAuthToken {
                token: token.value.clone(),
                principal_name: token.principal.clone(),
                lifetime_ms: token.expires_ms,
            }),
            _ => {
                let cause = known.failure.as_deref();
                Err(cause.unwrap_or("the token endpoint has not answered yet").into())
            }
        }
    }

    /// When another token should be asked for, in ms since the Unix epoch.
    fn due_ms(&self) -> i64 {
        let (known, now) = (self.known.lock(), now_ms());
        match &*known {
            Known {
                token: Some(token),
                failure: None,
            } => now + refresh_pause_ms(token.expires_ms - now),
            _ => now + RETRY_PAUSE_MS,
        }
    }
}

async fn keep_fresh(tokens: Weak<Tokens>, destination: DestinationName) {
    let mut due_ms = 0;
    while let Some(tokens) = tokens.upgrade() {
        if now_ms() >= due_ms {
            if let Err(error) = tokens.refresh().await {
                tracing::warn!(%destination, error, "no token for the brokers; the last one is used while it lives");
            }
            due_ms = tokens.due_ms();
        }
        drop(tokens);
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

pub(super) fn refresh_pause_ms(lifetime_ms: i64) -> i64 {
    (lifetime_ms / 10 * REFRESH_AFTER_TENTHS).clamp(REFRESH_PAUSE_MIN_MS, REFRESH_PAUSE_MAX_MS)
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn client(trusted: Option<Vec<Certificate>>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .timeout(FETCH_TIMEOUT)
        // Who gets the secret is the operator's to say, not the provider's.
        .redirect(reqwest::redirect::Policy::none());
    if let Some(trusted) = trusted {
        builder = builder.tls_certs_only(trusted);
    }
    builder.build().map_err(|error| causes(&error.without_url()))
}

pub(super) fn form(scope: Option<&str>) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    if let Some(scope) = scope {
        form.push_str("&scope=");
        form.extend(utf8_percent_encode(scope, SCOPE_ENCODED));
    }
    form
}

impl Endpoint {
    async fn fetch(&self) -> Result<Token, String> {
        let said = |error: reqwest::Error| format!("the token endpoint: {}", causes(&error.without_url()));
        let request = self
            .http
            .post(self.url.clone())
            .basic_auth(&self.client_id, Some(self.client_secret.reveal()))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form.clone());
        let mut answer = request.send().await.map_err(said)?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(said)? {
            if text.len() + chunk.len() > ANSWER_BYTES_MAX {
                let most = ByteSize(ANSWER_BYTES_MAX as u64);
                return Err(format!("the token endpoint's answer is larger than {most}"));
            }
            text.extend_from_slice(&chunk);
        }
        if !answer.status().is_success() {
            let code = error_code(&text).map_or_else(String::new, |code| format!(" ({code})"));
            return Err(format!("the token endpoint answers {}{code}", answer.status()));
        }
        Token::read(&text, now_ms(), &self.client_id)
    }
}

impl Token {
    /// The answer of an endpoint at `now_ms` after the Unix epoch. The token is only passed on, so its signature is not
    /// checked. The error is for the operator, and says nothing of what the answer holds.
    pub(super) fn read(answer: &[u8], now_ms: i64, client_id: &str) -> Result<Token, String> {
        let fault = |what: &str| format!("the token endpoint's answer {what}");
        let answer: Map<String, Value> =
            serde_json::from_slice(answer).map_err(|_| fault("is no object in JSON"))?;
        let value = answer.get("access_token").and_then(Value::as_str);
        let value = value.ok_or_else(|| fault("has no \"access_token\""))?;
        // librdkafka would show such a token when it refuses it.
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fault("has an \"access_token\" that can be none"));
        }
        let claims = claims(value).unwrap_or_default();
        let at_ms = |from_ms: i64, seconds: f64| from_ms.saturating_add((seconds * 1000.0) as i64);
        let expires_ms = match (seconds(claims.get("exp")), seconds(answer.get("expires_in"))) {
            (Some(at), _) => at_ms(0, at),
            (None, Some(lifetime)) => at_ms(now_ms, lifetime),
            (None, None) => return Err(fault("does not say when the token expires")),
        };
        if expires_ms <= now_ms {
            return Err(fault(
                "has a token that has expired already; do the clocks agree?",
            ));
        }
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.filter(|name| !name.is_empty() && !name.contains(char::is_control));
        Ok(Token {
            value: value.to_owned(),
            principal: subject.unwrap_or(client_id).to_owned(),
            expires_ms: expires_ms.min(now_ms.saturating_add(LIFETIME_MAX_MS)),
        })
    }
}

/// A number, also where it stands in a text, as some providers write it.
fn seconds(value: Option<&Value>) -> Option<f64> {
    let value = value?;
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| number.is_finite())
}

/// What a JWT says; None where the token is of another kind.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// What RFC 6749 has an endpoint say; nothing else of an answer is shown, as it may repeat what was sent.
fn error_code(answer: &[u8]) -> Option<String> {
    let answer: Map<String, Value> = serde_json::from_slice(answer).ok()?;
    let code = answer.get("error")?.as_str()?;
    let is_code = code.len() <= ERROR_CODE_BYTES_MAX
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_code.then(|| code.to_owned())
}

/// What was at the bottom of it.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", FETCH_TIMEOUT.as_secs());
    }
    let mut deepest = error.source();
    while let Some(source) = deepest.and_then(Error::source) {
        deepest = Some(source);
    }
    deepest.map_or_else(|| error.to_string(), ToString::to_string)
}
