//! What a check says of events, and a deletion of app versions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answered, Api, send};
use crate::{
    event::{Attributes, Decoded, Outcome, Reason},
    json::Document,
    problem::Code,
    quarantine::Kept,
    recent::Memo,
    registry::{model::Role, now},
};

const TYPE: &str = "order.paid";

fn event(source: &str, version: Option<&str>, data: &Value) -> Decoded {
    Decoded {
        partner: "shop".parse().expect("a name"),
        attributes: Attributes {
            client_ip: None,
            user_agent: None,
            id: "event".into(),
            source: source.to_owned(),
            event_type: TYPE.parse().expect("a type"),
            time: "2026-01-02T03:04:05Z".to_owned(),
            subject: None,
            app_version: version.map(str::to_owned),
        }
        .into(),
        data: Document::parse(Bytes::from(data.to_string()), 64).expect("JSON"),
        received: now(),
        id_generated: false,
        traceparent: None,
    }
}

fn pass(api: &Api, source: &str, version: Option<&str>, data: &Value) {
    let event = event(source, version, data);
    let sample = api.recent.observe(&event, &mut Memo::default());
    api.recent
        .remember(sample.expect("few are all kept"), &Outcome::Accepted);
}

/// Enough events of newer versions that older ones are not among the newest that are looked at.
fn pass_busy_newer_versions(api: &Api) {
    for minor in 0..12 {
        for _ in 0..100 {
            pass(api, "/shop", Some(&format!("9.{minor}")), &json!({}));
        }
    }
}

async fn keep(api: &Api, version: &str, data: &Value) {
    let reason = Reason::new(Code::SchemaUnknown, "no schema is registered");
    let kept = Kept::new(event("/shop", Some(version), data), reason, None);
    let (done, durable) = tokio::sync::oneshot::channel();
    api.quarantine.keep(kept, move |result| {
        let _ = done.send(result);
    });
    durable.await.expect("answered").expect("durable");
}

async fn register(api: &Api, version: &str, schema: Value) -> Answered {
    let answer = api.put(&format!("/v1/schemas/{TYPE}/{version}"), schema).await;
    assert!(answer.status < 300, "{version}: {:?}", answer.body);
    answer
}

async fn check(api: &Api, version: &str, schema: Value) -> Answered {
    let (version, query) = version.split_once('?').unwrap_or((version, ""));
    let path = format!("/v1/schemas/{TYPE}/{version}/check?{query}");
    let answer = send(api.request(Role::Publisher, "POST", &path).json(&schema)).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer
}

async fn deletion(api: &Api, version: &str) -> Value {
    let (version, query) = version.split_once('?').unwrap_or((version, ""));
    let path = format!("/v1/schemas/{TYPE}/{version}?dry_run=true&{query}");
    let answer = api.delete(&path).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

#[tokio::test]
async fn a_refusal_shows_an_old_versions_event_masked_among_busy_newer_ones() {
    let api = Api::start().await;
    api.put(&format!("/v1/types/{TYPE}"), json!({"mask": ["/card"]}))
        .await;
    let with = |pattern: &str| {
        json!({
            "type": "object",
            "properties": {"note": {"type": "string", "pattern": pattern}, "card": {"type": "string"}},
        })
    };
    let old = with("^([a-z]+ )+[a-z]+$");
    // No prover makes up what only this sender says.
    let new = with("^(?!correct horse battery staple$).*$");
    register(&api, "1", old.clone()).await;
    register(&api, "9", json!({})).await;
    let told = json!({"note": "correct horse battery staple", "card": "4111 1111"});
    pass(&api, "/shop", Some("1.5"), &told);
    pass_busy_newer_versions(&api);
    let shown = json!({"note": "correct horse battery staple", "card": "***"});
    let expect = |answer: &Answered, at: &str| {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains("4111"), "{text}");
        assert_eq!(
            answer
                .json()
                .pointer(at)
                .and_then(|one| one.pointer("/refuses/backward/example")),
            Some(&shown),
            "{text}"
        );
    };
    let checked = check(&api, "1", new.clone()).await;
    expect(&checked, "/compatibility/0");
    let refused = api.put(&format!("/v1/schemas/{TYPE}/1"), new.clone()).await;
    assert_eq!(refused.code(), "schema-incompatible");
    expect(&refused, "/compatibility/0");
    let added = register(&api, "2", new).await;
    expect(&added, "/compatibility/0");
}

#[tokio::test]
async fn a_check_finds_an_old_versions_events_among_busy_newer_ones() {
    let api = Api::start().await;
    register(&api, "9", json!({})).await;
    pass(&api, "/shop", Some("5.2"), &json!({}));
    pass_busy_newer_versions(&api);
    for number in 0..210 {
        keep(&api, "9.0", &json!({ "n": number })).await;
    }
    keep(&api, "5.2", &json!({})).await;
    let checked = check(&api, "5", json!({"type": "string"})).await.json();
    for place in ["recent", "quarantined"] {
        let tried = &checked[place];
        assert_eq!(
            (&tried["accepted"], &tried["refused"], &tried["total"]),
            (&json!(0), &json!(1), &json!(1)),
            "{place}: {checked}"
        );
    }
    let checked = check(&api, "9", json!(true)).await.json();
    let (recent, quarantined) = (&checked["recent"], &checked["quarantined"]);
    assert_eq!(
        (&recent["accepted"], &recent["total"]),
        (&json!(1000), &json!(1200)),
        "what was left out is said"
    );
    assert_eq!(
        (&quarantined["accepted"], &quarantined["total"]),
        (&json!(200), &json!(210))
    );
}

#[tokio::test]
async fn an_upgrade_is_tried_on_an_old_versions_events_among_busy_newer_ones() {
    let api = Api::start().await;
    register(&api, "1", json!({"type": "object", "required": ["uid"]})).await;
    register(
        &api,
        "2",
        json!({"type": "object", "properties": {"id": {}}, "required": ["id"], "additionalProperties": false}),
    )
    .await;
    register(&api, "9", json!({})).await;
    pass(&api, "/shop", Some("1.5"), &json!({"uid": 7, "extra": true}));
    pass_busy_newer_versions(&api);
    let steps = json!({"steps": [{"rename": "/uid", "to": "id"}]});
    let refused = api.put(&format!("/v1/schemas/{TYPE}/2/upgrade"), steps).await;
    assert_eq!(refused.code(), "upgrade-refused");
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("recent event"), "{detail}");
}

#[tokio::test]
async fn a_check_shows_the_most_frequent_failures_masked() {
    let api = Api::start().await;
    api.put(&format!("/v1/types/{TYPE}"), json!({"mask": ["/card"]}))
        .await;
    for number in 0..25 {
        let mut data = json!({"card": "4111 1111"});
        data[format!("p{number:02}")] = json!(number);
        for _ in 0..=number {
            pass(&api, "/shop", Some(&format!("5.{number}")), &data);
        }
    }
    keep(&api, "5.2", &json!({"p07": 7, "card": "4111 1111"})).await;
    let schema = json!({"patternProperties": {"^p": {"type": "string"}}});
    let checked = check(&api, "5", schema).await;
    assert!(!String::from_utf8_lossy(&checked.body).contains("4111"));
    let checked = checked.json();
    let failures = checked["recent"]["failures"].as_array().expect("failures");
    assert_eq!(failures.len(), 20, "{failures:?}");
    assert_eq!(
        failures[0],
        json!({"pointer": "/p24", "keyword": "type", "count": 25, "example": {"card": "***", "p24": 24}})
    );
    assert_eq!(
        checked["quarantined"]["failures"],
        json!([{"pointer": "/p07", "keyword": "type", "count": 1, "example": {"card": "***", "p07": 7}}])
    );
}

#[tokio::test]
async fn a_deletion_and_a_check_ask_the_gateways_own_resolution() {
    let api = Api::start().await;
    register(&api, "5", json!({})).await;
    register(&api, "5?source=/shop", json!({})).await;
    pass(&api, "/shop", Some("5.2"), &json!({}));
    pass(&api, "/web", Some("5.2"), &json!({}));
    let falls = |more: Value| {
        let mut row = json!({"partner": "shop", "appversion": "5.2", "events": 1});
        for (name, value) in more.as_object().into_iter().flatten() {
            row[name] = value.clone();
        }
        json!([row])
    };
    let of_source = deletion(&api, "5?source=/shop").await;
    assert_eq!(
        of_source["falls"],
        falls(json!({"to": "5"})),
        "those for any source take over"
    );
    let of_any = deletion(&api, "5").await;
    assert_eq!(
        of_any["falls"],
        falls(json!({"code": "schema-unknown"})),
        "/shop has its own"
    );

    // The first schema for a source takes all of it out of the hands of those for any.
    let checked = check(&api, "6?source=/web", json!({})).await.json();
    assert_eq!(checked["falls"], falls(json!({"code": "version-unknown"})));
    assert_eq!(checked["recent"]["total"], 0);
    let checked = check(&api, "5.1?source=/web", json!({})).await.json();
    assert_eq!(checked["falls"], falls(json!({"to": "5.1", "source": "/web"})));
    assert_eq!(checked["recent"]["accepted"], 1);
}

#[tokio::test]
async fn every_event_that_falls_is_counted() {
    let api = Api::start().await;
    register(&api, "5", json!({})).await;
    register(&api, "5?source=/shop", json!({})).await;
    pass_busy_newer_versions(&api);
    let deleted = deletion(&api, "5?source=/shop").await;
    let falls = deleted["falls"].as_array().expect("a list");
    let events: u64 = falls.iter().filter_map(|row| row["events"].as_u64()).sum();
    assert_eq!((falls.len(), events), (12, 1200), "{deleted}");
}

#[tokio::test]
async fn versions_that_cannot_be_read_fall_as_their_type_says() {
    let api = Api::start().await;
    for version in ["5", "6"] {
        register(&api, version, json!({})).await;
    }
    pass(&api, "/shop", Some("nightly"), &json!({}));
    let falls = json!([{"partner": "shop", "appversion": "nightly", "events": 1, "to": "5"}]);
    assert_eq!(deletion(&api, "6").await["falls"], falls);
    let checked = check(&api, "7", json!({})).await.json();
    assert_eq!(
        (&checked["recent"]["total"], &checked["falls"][0]["to"]),
        (&json!(1), &json!("7"))
    );

    let kept = json!({"unreadable_version": "quarantine"});
    api.put(&format!("/v1/types/{TYPE}"), kept).await;
    assert_eq!(deletion(&api, "6").await["falls"], json!([]));
    let checked = check(&api, "7", json!({})).await.json();
    assert_eq!(
        (&checked["recent"]["total"], &checked["falls"]),
        (&json!(0), &json!([]))
    );
}
