//! Keys of all kinds over real sockets, and what becomes of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::gateway::{Answer, Gateway, Options, eventually};

/// `order.paid` has a schema and a route.
async fn with_orders() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway.partner("shop", json!({})).await;
    gateway.put("/v1/schemas/order.paid/1.0.0", json!({})).await;
    let route = json!({"match": {"type": "*"}, "to": [{"destination": "files", "topic": "orders"}]});
    gateway.put("/v1/routes/orders", route).await;
    gateway
}

async fn key(gateway: &Gateway, body: Value) -> Value {
    let answer = gateway.admin("POST", "/v1/partners/shop/keys", Some(body)).await;
    answer.expect(201)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = crate::harness::client()
        .post(format!("http://{}{path}", gateway.data_address()))
        .header("content-type", "application/json")
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.send().await.expect("the gateway answers")).await
}

struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    async fn new(gateway: &Gateway) -> Hook {
        let made = key(gateway, json!({"kind": "signing"})).await;
        Hook {
            id: text(&made["id"]),
            secret: text(&made["secret"]),
        }
    }

    async fn deliver(&self, gateway: &Gateway, id: &str, at_s: i64, signed: &str, sent: &str) -> Answer {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let secret = STANDARD
            .decode(self.secret.trim_start_matches("whsec_"))
            .expect("base64");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let tag = hmac::sign(&secret, format!("{id}.{at_s}.{signed}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(tag));
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", &at_s.to_string()),
            ("webhook-signature", &signature),
        ];
        let path = format!("/v1/events/order.paid?key_id={}", self.id);
        post(gateway, &path, &headers, sent).await
    }
}

fn now_s() -> i64 {
    Timestamp::now().as_second()
}

#[tokio::test]
async fn a_signed_request_is_taken_once_across_a_restart_too() {
    let mut gateway = with_orders().await;
    let hook = Hook::new(&gateway).await;
    let taken = hook.deliver(&gateway, "msg_1", now_s(), "{}", "{}").await;
    assert_eq!(taken.expect(202), json!({"id": "msg_1", "status": "accepted"}));
    let again = hook.deliver(&gateway, "msg_1", now_s(), "{}", "{}").await;
    assert_eq!(again.expect(202)["status"], "duplicate");
    gateway.kill();
    gateway.start_again().await;
    let later = hook.deliver(&gateway, "msg_1", now_s(), "{}", "{}").await;
    assert_eq!(later.expect(202)["status"], "duplicate");
    let other = hook.deliver(&gateway, "msg_2", now_s(), "{}", "{}").await;
    assert_eq!(other.expect(202)["status"], "accepted");
    assert_eq!(gateway.wait_for_records("orders", 2).await.len(), 2);
}

#[tokio::test]
async fn of_the_same_signed_request_at_the_same_moment_one_is_taken() {
    const AT_ONCE: usize = 12;
    let mut gateway = with_orders().await;
    let hook = Hook::new(&gateway).await;
    for round in 0..5 {
        let id = format!("msg_{round}");
        let now_s = now_s();
        let deliveries = (0..AT_ONCE).map(|_| hook.deliver(&gateway, &id, now_s, "{}", "{}"));
        let answers = futures::future::join_all(deliveries).await;
        let statuses: Vec<Value> = answers
            .iter()
            .map(|answer| answer.expect(202)["status"].clone())
            .collect();
        let count = |status: &str| statuses.iter().filter(|found| *found == status).count();
        assert_eq!(
            (count("accepted"), count("duplicate")),
            (1, AT_ONCE - 1),
            "{statuses:?}"
        );
    }
    gateway.wait_for_records("orders", 5).await;
    gateway.terminate().await;
    assert_eq!(gateway.records("orders").len(), 5);
}

#[tokio::test]
async fn a_signature_that_is_not_right_is_refused() {
    let gateway = with_orders().await;
    let hook = Hook::new(&gateway).await;
    let changed = hook.deliver(&gateway, "m", now_s(), "{}", "{ }").await;
    assert_eq!(changed.expect(401)["code"], "signature-invalid");
    for offset_s in [-310, 310] {
        let stale = hook.deliver(&gateway, "m", now_s() + offset_s, "{}", "{}").await;
        let stale = stale.expect(401);
        assert!(
            stale["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("tolerated")),
            "{stale}"
        );
    }
    let unsigned = post(
        &gateway,
        &format!("/v1/events/order.paid?key_id={}", hook.id),
        &[],
        "{}",
    )
    .await;
    assert_eq!(unsigned.expect(401)["code"], "signature-invalid");
    let stranger = Hook {
        id: "0123456789abcdef".to_owned(),
        secret: hook.secret.clone(),
    };
    let unknown = stranger
        .deliver(&gateway, "m", now_s(), "{}", "{}")
        .await
        .expect(401);
    assert_eq!(
        unknown["detail"],
        changed.json()["detail"],
        "an unknown key reads like a wrong signature"
    );
    let good = hook.deliver(&gateway, "m", now_s(), "{}", "{}").await;
    assert_eq!(
        good.expect(202)["status"],
        "accepted",
        "what was refused is not remembered"
    );
}

#[tokio::test]
async fn signing_secrets_lie_sealed_and_shown_nowhere() {
    let gateway = with_orders().await;
    let hook = Hook::new(&gateway).await;
    let taken = hook.deliver(&gateway, "m", now_s(), "{}", "{}").await;
    assert_eq!(taken.status, 202);
    let mut folders = vec![gateway.path("data/store")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = std::fs::read(entry.path()).expect("readable");
            let secret = hook.secret.trim_start_matches("whsec_").as_bytes();
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret),
                "{:?}",
                entry.path()
            );
        }
    }
    assert!(files > 0);
    assert!(!gateway.log().contains(&hook.secret));
    let changes = gateway.admin("GET", "/v1/changes?limit=1000", None).await;
    assert!(!changes.text.contains("c1."), "not even sealed");
}

#[tokio::test]
async fn a_key_is_held_to_its_types_its_time_and_its_revocation() {
    let gateway = with_orders().await;
    let narrow = key(&gateway, json!({"kind": "secret", "types": ["order.*"]})).await;
    let bearer = format!("Bearer {}", text(&narrow["key"]));
    let headers = [("authorization", bearer.as_str())];
    let taken = post(&gateway, "/v1/events/order.paid", &headers, "{}").await;
    assert_eq!(taken.status, 202, "{}", taken.text);
    let refused = post(&gateway, "/v1/events/invoice.paid", &headers, "{}").await;
    assert_eq!(refused.expect(403)["code"], "key-forbidden");
    let mixed = r#"[{"type":"order.paid","data":1},{"type":"invoice.paid","data":2}]"#;
    let mixed = post(&gateway, "/v1/events", &headers, mixed).await.expect(207);
    assert_eq!((&mixed["accepted"], &mixed["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(mixed["results"][0]["code"], "key-forbidden");

    let listed = gateway
        .admin("GET", "/v1/partners/shop/keys", None)
        .await
        .expect(200);
    let items = listed["items"].as_array().expect("a list");
    let shown = items
        .iter()
        .find(|item| item["id"] == narrow["id"])
        .expect("listed");
    let used: Timestamp = text(&shown["last_used"]).parse().expect("a time");
    assert!(now_s() - used.as_second() < 60);
    assert_eq!(shown["types"], json!(["order.*"]));
    assert!(items.iter().any(|item| item.get("last_used").is_none()));

    let expires = Timestamp::from_second(now_s() + 2).expect("in range");
    let brief = key(
        &gateway,
        json!({"kind": "secret", "expires": expires.to_string()}),
    )
    .await;
    let brief = format!("Bearer {}", text(&brief["key"]));
    let brief = [("authorization", brief.as_str())];
    assert_eq!(
        post(&gateway, "/v1/events/order.paid", &brief, "{}").await.status,
        202
    );
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let expired = post(&gateway, "/v1/events/order.paid", &brief, "{}").await;
    assert_eq!(expired.expect(401)["code"], "key-invalid");

    let path = format!("/v1/partners/shop/keys/{}", text(&narrow["id"]));
    assert_eq!(gateway.admin("DELETE", &path, None).await.status, 204);
    let began = Instant::now();
    while post(&gateway, "/v1/events/order.paid", &headers, "{}")
        .await
        .status
        != 401
    {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "a revoked key stops within 5 s"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stops_on_every_gateway() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let node = async || {
        Gateway::start_with(Options {
            configuration: format!("[store]\nurl = \"file:{}\"\n", folder.path().display()),
            ..Options::default()
        })
        .await
    };
    let mut one = node().await;
    one.partner("shop", json!({})).await;
    let other = node().await;
    let made = key(&one, json!({"kind": "secret"})).await;
    let bearer = format!("Bearer {}", text(&made["key"]));
    let send = async |gateway: &Gateway| {
        let headers = [("authorization", bearer.as_str())];
        post(gateway, "/v1/events/order.paid", &headers, "{}").await
    };
    eventually("the other gateway knows the key", async || {
        (send(&other).await.status == 202).then_some(())
    })
    .await;
    let path = format!("/v1/partners/shop/keys/{}", text(&made["id"]));
    assert_eq!(one.admin("DELETE", &path, None).await.status, 204);
    let revoked = Instant::now();
    assert_eq!(
        send(&one).await.expect(401)["code"],
        "key-invalid",
        "at once, here"
    );
    let refused = loop {
        let answer = send(&other).await;
        if answer.status != 202 {
            break answer;
        }
        assert!(
            revoked.elapsed() < Duration::from_secs(5),
            "it goes on at the other"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(refused.expect(401)["code"], "key-invalid");
    assert!(
        revoked.elapsed() < Duration::from_secs(5),
        "{:?}",
        revoked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_two_places_must_agree_and_a_secret_one_stays_out_of_urls() {
    let gateway = with_orders().await;
    let one = text(&key(&gateway, json!({"kind": "publishable"})).await["key"]);
    let other = text(&key(&gateway, json!({"kind": "publishable"})).await["key"]);
    let path = format!("/v1/events/order.paid?key={one}");
    assert_eq!(
        post(&gateway, &path, &[("x-api-key", &one)], "{}").await.status,
        202
    );
    let two = post(&gateway, &path, &[("x-api-key", &other)], "{}").await;
    assert_eq!(two.expect(401)["code"], "key-conflict");
    let prefix = format!("/k/{one}/v1/events/order.paid");
    assert_eq!(post(&gateway, &prefix, &[], "{}").await.status, 202);
    let secret = text(&key(&gateway, json!({"kind": "secret"})).await["key"]);
    for path in [
        format!("/v1/events/order.paid?key={secret}"),
        format!("/k/{secret}/v1/events/order.paid"),
    ] {
        assert_eq!(
            post(&gateway, &path, &[], "{}").await.expect(403)["code"],
            "key-forbidden"
        );
    }
}

const SERVICE_SECRET: &str = "a secret that the service made";

/// One webhook of a service that signs in its own way.
struct Service {
    name: &'static str,
    body: &'static str,
    event_type: &'static str,
    id: &'static str,
}

const SERVICES: [Service; 3] = [
    Service {
        name: "github",
        body: r#"{"repository":{"full_name":"acme/shop"}}"#,
        event_type: "push",
        id: "d-1",
    },
    Service {
        name: "stripe",
        body: r#"{"id":"evt_1","type":"charge.succeeded","created":1700000000}"#,
        event_type: "charge.succeeded",
        id: "evt_1",
    },
    Service {
        name: "slack",
        body: r#"{"event_id":"Ev1","event_time":1700000000,"event":{"type":"message","user":"U1"}}"#,
        event_type: "message",
        id: "Ev1",
    },
];

impl Service {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, SERVICE_SECRET.as_bytes());
        let sign = |text: String| hex::encode(hmac::sign(&secret, text.as_bytes()));
        let (body, now_s) = (self.body, now_s());
        match self.name {
            "github" => vec![
                ("x-github-event", self.event_type.to_owned()),
                ("x-github-delivery", self.id.to_owned()),
                ("x-hub-signature-256", format!("sha256={}", sign(body.to_owned()))),
            ],
            "stripe" => vec![(
                "stripe-signature",
                format!("t={now_s},v1={}", sign(format!("{now_s}.{body}"))),
            )],
            _ => vec![
                ("x-slack-request-timestamp", now_s.to_string()),
                (
                    "x-slack-signature",
                    format!("v0={}", sign(format!("v0:{now_s}:{body}"))),
                ),
            ],
        }
    }
}

#[tokio::test]
async fn services_that_sign_in_their_own_way_deliver_directly() {
    let gateway = with_orders().await;
    for service in &SERVICES {
        let name = service.name;
        gateway
            .put(&format!("/v1/partners/{name}"), json!({"envelope": name}))
            .await;
        let schema = format!("/v1/schemas/{}/1.0.0", service.event_type);
        gateway.put(&schema, json!({})).await;
        let wanted = json!({"kind": "signing", "secret": SERVICE_SECRET});
        let made = gateway
            .admin("POST", &format!("/v1/partners/{name}/keys"), Some(wanted))
            .await
            .expect(201);
        let path = format!("/{name}?key_id={}", text(&made["id"]));
        let headers = service.headers();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let taken = post(&gateway, &path, &headers, service.body).await;
        assert_eq!(taken.status / 100, 2, "{name}: {}", taken.text);
        let forged = post(&gateway, &path, &headers, &format!("{} ", service.body)).await;
        assert_eq!(forged.expect(401)["code"], "signature-invalid", "{name}");
        let unsigned = post(&gateway, &path, &[], service.body).await;
        assert_eq!(unsigned.status, 401, "{name}");
    }
    let records = gateway.wait_for_records("orders", SERVICES.len()).await;
    for Service {
        name, event_type, id, ..
    } in &SERVICES
    {
        let is_it = |record: &&Value| record["id"] == *id && record["type"] == *event_type;
        let found = records.iter().find(is_it);
        assert!(
            found.is_some_and(|record| record["hwpartner"] == *name),
            "{name}: {records:?}"
        );
    }
}

#[tokio::test]
async fn a_service_that_asks_first_reads_its_challenge_back() {
    let gateway = with_orders().await;
    gateway
        .put("/v1/partners/slack", json!({"envelope": "slack"}))
        .await;
    let wanted = json!({"kind": "signing", "secret": SERVICE_SECRET});
    let made = gateway
        .admin("POST", "/v1/partners/slack/keys", Some(wanted))
        .await
        .expect(201);
    let service = Service {
        name: "slack",
        body: r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#,
        event_type: "",
        id: "",
    };
    let headers = service.headers();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let path = format!("/slack?key_id={}", text(&made["id"]));
    let answer = post(&gateway, &path, &headers, service.body).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "3eZbrw1a"));
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert!(gateway.quarantine().await.is_empty());
}

#[tokio::test]
async fn over_https_a_partners_keys_need_its_certificate() {
    use sha2::{Digest as _, Sha256};
    let folder = tempfile::tempdir().expect("a folder can be made");
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let [server, own, other] = ["localhost", "shop", "stranger"].map(made);
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let certificate = write("server.pem", server.cert.pem());
    let key_file = write("server.key", server.signing_key.serialize_pem());
    let authorities = write("clients.pem", own.cert.pem() + &other.cert.pem());
    let mut gateway = Gateway::start_with(Options {
        configuration: format!(
            "[server.tls]\ncertificate = {certificate:?}\nkey = {key_file:?}\nclient_ca = {authorities:?}\n"
        ),
        ..Options::default()
    })
    .await;
    let fingerprint = hex::encode(Sha256::digest(own.cert.der()));
    let key = gateway
        .partner("shop", json!({"client_certificates": [fingerprint]}))
        .await;
    gateway.put("/v1/schemas/order.paid/1", json!({})).await;
    let route = json!({"match": {"type": "*"}, "to": [{"destination": "files", "topic": "orders"}]});
    gateway.put("/v1/routes/orders", route).await;
    let url = format!("https://{}/v1/events/order.paid", gateway.data_address());
    for (shown, status, code) in [
        (Some(&own), 202, None),
        (None, 403, Some("key-forbidden")),
        (Some(&other), 403, Some("key-forbidden")),
    ] {
        // The server's certificate is of no authority; here it is about the client's.
        let mut client = reqwest::Client::builder().danger_accept_invalid_certs(true);
        if let Some(shown) = shown {
            let identity = reqwest::Identity::from_pkcs8_pem(
                shown.cert.pem().as_bytes(),
                shown.signing_key.serialize_pem().as_bytes(),
            );
            client = client.identity(identity.expect("an identity"));
        }
        let client = client.build().expect("a client");
        let sent = client
            .post(&url)
            .header("x-api-key", &key)
            .body("{}")
            .send()
            .await;
        let answer = Answer::read(sent.expect("answered")).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["code"].as_str(), code);
    }
    assert_eq!(gateway.wait_for_records("orders", 1).await.len(), 1);
}
