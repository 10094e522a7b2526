//! Recent events: lists, filters, and what is hidden.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Api, send};
use crate::{
    event::{Attributes, Decoded, Outcome, Reason},
    json::Document,
    problem::Code,
    recent::Memo,
    registry::{model::Role, now},
};

pub(super) fn pass(api: &Api, number: usize, version: &str, outcome: &Outcome) {
    pass_of(api, number, version, outcome, None);
}

fn pass_of(api: &Api, number: usize, version: &str, outcome: &Outcome, subject: Option<&str>) {
    let text = format!("{{ \"n\": {number}.50, \"user\": {{\"mail\": \"a@b.c\"}} }}");
    let event = Decoded {
        partner: "shop".parse().expect("a name"),
        attributes: Attributes {
            client_ip: None,
            user_agent: None,
            id: format!("event-{number}").into(),
            source: "/shop".to_owned(),
            event_type: "order.paid".parse().expect("a type"),
            time: "2026-01-02T03:04:05Z".to_owned(),
            subject: subject.map(str::to_owned),
            app_version: Some(version.to_owned()),
        }
        .into(),
        data: Document::parse(Bytes::from(text), 64).expect("JSON"),
        received: now(),
        id_generated: false,
        traceparent: None,
    };
    let sample = api.recent.observe(&event, &mut Memo::default());
    api.recent.remember(sample.expect("few are all kept"), outcome);
}

fn ids(listing: &Value) -> Vec<&str> {
    let items = listing["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["attributes"]["id"].as_str().expect("an id"))
        .collect()
}

#[tokio::test]
async fn recent_events_are_listed_newest_first_page_by_page() {
    let api = Api::start().await;
    for number in 0..3 {
        pass(&api, number, "5.2", &Outcome::Accepted);
    }
    let reason = Reason::new(Code::SchemaViolation, "it breaks its schema");
    pass(&api, 3, "6.0", &Outcome::Quarantined(reason));
    let page = send(api.request(Role::Viewer, "GET", "/v1/recent?limit=3")).await;
    assert_eq!(page.status, 200);
    let page = page.json();
    assert_eq!(ids(&page), ["event-3", "event-2", "event-1"]);
    let first = &page["items"][0];
    assert_eq!(
        (&first["status"], &first["code"]),
        (&json!("quarantined"), &json!("schema-violation"))
    );
    assert_eq!(first["attributes"]["appversion"], "6.0");
    let next = page["next"].as_str().expect("more");
    let page = api.get(&format!("/v1/recent?limit=3&after={next}")).await.json();
    assert_eq!(ids(&page), ["event-0"]);
    assert_eq!(page.get("next"), None);
    for (query, expected) in [
        ("appversion=6.0", vec!["event-3"]),
        ("status=quarantined", vec!["event-3"]),
        (
            "code=schema-violation&type=order.paid&partner=shop&source=/shop",
            vec!["event-3"],
        ),
        ("partner=other", vec![]),
        ("to=2020-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(
            ids(&api.get(&format!("/v1/recent?{query}")).await.json()),
            expected,
            "{query}"
        );
    }
    let refused = api.get("/v1/recent?status=lost&after=x&kind=1").await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "input-invalid"));
    assert_eq!(refused.pointers().len(), 3);
}

#[tokio::test]
async fn what_the_type_masks_is_never_shown() {
    let api = Api::start().await;
    pass(&api, 7, "5.2", &Outcome::Accepted);
    let shown = api.get("/v1/recent").await;
    assert!(
        String::from_utf8_lossy(&shown.body).contains("{ \"n\": 7.50, \"user\": {\"mail\": \"a@b.c\"} }")
    );
    let entry = json!({"mask": ["/user/mail"]});
    assert_eq!(api.put("/v1/types/order.paid", entry).await.status, 201);
    let shown = api.get("/v1/recent").await;
    let text = String::from_utf8_lossy(&shown.body);
    assert!(
        text.contains("{ \"n\": 7.50, \"user\": {\"mail\": \"***\"} }"),
        "{text}"
    );
    assert!(!text.contains("a@b.c"));
    for subject in ["user/a@b.c", "key hw_1_secret"] {
        pass_of(&api, 8, "5.2", &Outcome::Accepted, Some(subject));
        let shown = api.get("/v1/recent?limit=1").await.json();
        let attributes = &shown["items"][0]["attributes"];
        assert_eq!(
            (&attributes["subject"], &attributes["id"]),
            (&json!("***"), &json!("event-8"))
        );
    }
    let refused = api
        .put("/v1/types/order.paid", json!({"mask": ["mail", 7]}))
        .await;
    assert_eq!(refused.pointers(), ["/mask/0", "/mask/1"]);
}
