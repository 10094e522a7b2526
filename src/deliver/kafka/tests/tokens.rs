//! Which options ask for tokens, and what an identity provider's answers are taken for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    super::{
        options::{faults, options},
        tokens::{Token, form, refresh_pause_ms},
    },
    refusal, settings,
};

const NOW_MS: i64 = 1_800_000_000_000;

type Pair = (&'static str, &'static str);

const PROTOCOL: Pair = ("security.protocol", "SASL_SSL");
const MECHANISM: Pair = ("sasl.mechanism", "OAUTHBEARER");
const METHOD: Pair = ("sasl.oauthbearer.method", "oidc");
const ENDPOINT: Pair = (
    "sasl.oauthbearer.token.endpoint.url",
    "https://login.example/token",
);
const CLIENT_ID: Pair = ("sasl.oauthbearer.client.id", "gateway");
const CLIENT_SECRET: Pair = ("sasl.oauthbearer.client.secret", "hunter2");

const WHOLE: [Pair; 6] = [PROTOCOL, MECHANISM, METHOD, ENDPOINT, CLIENT_ID, CLIENT_SECRET];

fn whole_and(more: &[Pair]) -> Vec<Pair> {
    [&WHOLE[..], more].concat()
}

fn without(option: &str) -> Vec<Pair> {
    WHOLE.into_iter().filter(|(name, _)| *name != option).collect()
}

#[test]
fn options_for_tokens_are_the_gateways_and_librdkafka_gets_none_of_them() {
    let more = [
        ("sasl.oauthbearer.scope", "kafka"),
        ("sasl.oauthbearer.grant.type", "client_credentials"),
        ("sasl.oauthbearer.metadata.authentication.type", "none"),
        ("https.ca.location", "probe"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "false"),
    ];
    let pairs = whole_and(&more);
    let taken = options("localhost:1", &settings(&pairs)).expect("taken");
    assert!(taken.tokens.is_some());
    assert_eq!(taken.config.get("sasl.mechanism"), Some("OAUTHBEARER"));
    for name in ["sasl.oauthbearer.method", "sasl.oauthbearer.client.secret"] {
        assert_eq!(taken.config.get(name), None, "{name}");
    }
    assert_eq!(faults("localhost:1", &settings(&pairs)), Vec::<String>::new());
    let aliases = [
        ("sasl.oauthbearer.client.credentials.client.id", "gateway"),
        ("sasl.oauthbearer.client.credentials.client.secret", "hunter2"),
    ];
    let pairs = [&[PROTOCOL, MECHANISM, METHOD, ENDPOINT][..], &aliases[..]].concat();
    assert!(
        options("localhost:1", &settings(&pairs))
            .expect("taken")
            .tokens
            .is_some()
    );
    // They stand idle where another mechanism is used.
    let idle = [PROTOCOL, ("sasl.mechanism", "PLAIN"), METHOD, CLIENT_ID];
    assert!(
        options("localhost:1", &settings(&idle))
            .expect("taken")
            .tokens
            .is_none()
    );
}

#[test]
fn what_is_missing_for_tokens_is_named() {
    for name in [ENDPOINT.0, CLIENT_ID.0, CLIENT_SECRET.0] {
        let faults = faults("localhost:1", &settings(&without(name)));
        assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
        assert!(!faults[0].contains("hunter2"), "{faults:?}");
    }
    let all = refusal(&[PROTOCOL, MECHANISM, METHOD]);
    assert!(
        [ENDPOINT.0, CLIENT_ID.0, CLIENT_SECRET.0]
            .iter()
            .all(|name| all.contains(name)),
        "{all}"
    );
    let method = refusal(&without(METHOD.0));
    assert!(
        method.contains(METHOD.0) && method.contains("\"oidc\""),
        "{method}"
    );
}

#[test]
fn what_the_gateway_does_not_do_about_tokens_is_refused_and_never_ignored() {
    for (name, value, word) in [
        ("sasl.oauthbearer.method", "default", "oidc"),
        ("sasl.oauthbearer.extensions", "traceId=1", "extensions"),
        (
            "sasl.oauthbearer.grant.type",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "client_credentials",
        ),
        ("sasl.oauthbearer.assertion.file", "a.jwt", "client credentials"),
        (
            "sasl.oauthbearer.metadata.authentication.type",
            "azure_imds",
            "none",
        ),
        (
            "sasl.oauthbearer.token.endpoint.url",
            "ldap://login.example",
            "https://",
        ),
        ("sasl.oauthbearer.token.endpoint.url", "login", "https://"),
        (
            "sasl.oauthbearer.token.endpoint.url",
            "https://ann:hunter2@login.example",
            "user",
        ),
        ("https.ca.location", "/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("https.ca.pem", "hunter2", "PEM"),
    ] {
        let faults = faults("localhost:1", &settings(&[(name, value)]));
        assert!(
            faults.len() == 1 && faults[0].contains(name) && faults[0].contains(word),
            "{faults:?}"
        );
        assert!(!faults[0].contains("hunter2"), "{faults:?}");
    }
    let unsecured = refusal(&whole_and(&[("enable.sasl.oauthbearer.unsecure.jwt", "true")]));
    assert!(unsecured.contains("unsecure"), "{unsecured}");
}

#[test]
fn a_scope_is_sent_in_a_form_whether_it_was_written_encoded_or_not() {
    assert_eq!(form(None), "grant_type=client_credentials");
    for scope in [
        "api://kafka/.default write",
        "api%3A%2F%2Fkafka%2F.default%20write",
    ] {
        assert_eq!(
            form(Some(scope)),
            "grant_type=client_credentials&scope=api%3A%2F%2Fkafka%2F.default%20write"
        );
    }
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "ES256"})), part(claims))
}

fn read(answer: &Value) -> Result<(String, i64), String> {
    Token::read(answer.to_string().as_bytes(), NOW_MS, "gateway")
        .map(|token| (token.principal, token.expires_ms - NOW_MS))
}

#[test]
fn a_token_lives_as_long_as_it_says_itself_or_else_its_answer() {
    let at = |after_s: i64| NOW_MS / 1000 + after_s;
    let whole = jwt(&json!({"sub": "events", "exp": at(60)}));
    let answer = json!({"access_token": whole, "expires_in": 3600, "token_type": "Bearer"});
    assert_eq!(read(&answer), Ok(("events".to_owned(), 60_000)));
    let answered = Token::read(answer.to_string().as_bytes(), NOW_MS, "gateway");
    assert_eq!(answered.map(|token| token.value), Ok(whole));
    let nameless = json!({"access_token": jwt(&json!({"exp": at(60)}))});
    assert_eq!(read(&nameless), Ok(("gateway".to_owned(), 60_000)));
    let endless = json!({"access_token": jwt(&json!({"sub": "a\u{0}b"})), "expires_in": "90"});
    assert_eq!(read(&endless), Ok(("gateway".to_owned(), 90_000)));
    for opaque in ["2YotnFZFEjr1zCsicMWpAA", "a.b.c", "...."] {
        let answer = json!({"access_token": opaque, "expires_in": 10.5});
        assert_eq!(read(&answer), Ok(("gateway".to_owned(), 10_500)), "{opaque}");
    }
    let far = read(&json!({"access_token": "t", "expires_in": 1e300}));
    assert!(far.is_ok_and(|(_, lifetime_ms)| lifetime_ms > 0 && lifetime_ms < 1 << 40));
}

#[test]
fn an_answer_without_a_token_of_use_is_refused_and_not_repeated() {
    for (answer, word) in [
        (json!({"expires_in": 60}), "access_token"),
        (json!({"access_token": 7, "expires_in": 60}), "access_token"),
        (
            json!({"access_token": "hunter2\n", "expires_in": 60}),
            "access_token",
        ),
        (json!({"access_token": "", "expires_in": 60}), "access_token"),
        (json!({"access_token": "hunter2"}), "expires"),
        (
            json!({"access_token": "hunter2", "expires_in": "soon"}),
            "expires",
        ),
        (json!({"access_token": "hunter2", "expires_in": 0}), "expired"),
        (
            json!({"access_token": jwt(&json!({"exp": 1})), "expires_in": 60}),
            "expired",
        ),
        (json!(["hunter2"]), "JSON"),
    ] {
        let refused = read(&answer).expect_err("refused");
        assert!(
            refused.contains(word) && !refused.contains("hunter2"),
            "{refused}"
        );
    }
}

#[test]
fn another_token_is_asked_for_before_librdkafka_asks() {
    assert_eq!(refresh_pause_ms(60_000), 42_000);
    assert_eq!(refresh_pause_ms(300), 1_000, "not all the time");
    assert_eq!(refresh_pause_ms(i64::MAX), 24 * 3600 * 1000);
}
