use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Outline, References, uri_of};
use crate::{
    event::EventType,
    registry::{
        model::{Digest, Schema, SchemaKey},
        put_schema,
    },
    validate::check_schema,
};

type Registered = BTreeMap<EventType, std::sync::Arc<crate::registry::model::TypeSchemas>>;

fn key(name: &str) -> SchemaKey {
    let (event_type, since) = name.split_once('@').unwrap();
    SchemaKey {
        event_type: event_type.parse().unwrap(),
        source: None,
        since: since.to_owned(),
    }
}

fn put(registered: &mut Registered, name: &str, text: &str) {
    let schema = Schema {
        digest: Digest::of(text.as_bytes()),
        text: text.into(),
        created: Timestamp::UNIX_EPOCH,
        by: String::new(),
    };
    put_schema(registered, 0, key(name), schema);
}

fn registered(schemas: &[(&str, &str)]) -> Registered {
    let mut registered = Registered::new();
    for (name, text) in schemas {
        put(&mut registered, name, text);
    }
    registered
}

fn references(schemas: &[(&str, &str)]) -> References {
    References::default().update(&registered(schemas)).0
}

fn uris(references: &References, name: &str) -> Vec<String> {
    let texts = references
        .texts(&key(name))
        .unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
    texts.iter().map(|(uri, _)| uri.clone()).collect()
}

#[test]
fn an_outline_knows_what_leads_out_and_where() {
    let outline = Outline::of(
        r##"{"$id":"https://acme.example/order.json","$ref":"#/$defs/own",
        "properties":{"$ref":{"type":"string"},"to":{"$ref":"address.json#/$defs/street"},"by":{"$ref":"headworks:user@5.2"}},
        "items":{"$ref":"embedded.json"},"const":{"$ref":"https://data.example/"},
        "$defs":{"own":true,"inner":{"$id":"embedded.json","$ref":"https://json-schema.org/draft/2020-12/schema"}}}"##,
    );
    assert_eq!(outline.id.as_deref(), Some("https://acme.example/order.json"));
    let refers: Vec<(&str, &str)> = outline
        .refers
        .iter()
        .map(|(uri, pointer)| (uri.as_str(), pointer.as_str()))
        .collect();
    let expected = [
        ("headworks:user@5.2", "/properties/by/$ref"),
        ("https://acme.example/address.json", "/properties/to/$ref"),
    ];
    assert_eq!(refers, expected);
    for plain in [
        r#"{"type":"object"}"#,
        r##"{"items":{"$ref": "#/$defs/a"}}"##,
        "true",
        "no JSON",
    ] {
        assert!(Outline::of(plain).is_empty(), "{plain}");
    }
    let spelt = Outline::of(r#"{"\u0024ref" : "headworks:user@1"}"#);
    assert!(
        spelt.refers.contains_key("headworks:user@1"),
        "an escape hides nothing"
    );
}

#[test]
fn references_lead_through_others_and_in_circles() {
    let node = r##"{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"next":{"$ref":"headworks:tree@1"}}}}}"##;
    let references = references(&[
        (
            "order@1",
            r#"{"properties":{"by":{"$ref":"headworks:user@5.2.0"},"tree":{"$ref":"urn:tree"}}}"#,
        ),
        (
            "user@5.2",
            r#"{"properties":{"home":{"$ref":"https://acme.example/address"}}}"#,
        ),
        (
            "address@1",
            r#"{"$id":"https://acme.example/address","type":"object"}"#,
        ),
        (
            "tree@1",
            r#"{"$id":"urn:tree","properties":{"node":{"$ref":"headworks:node@1"}}}"#,
        ),
        ("node@1", node),
    ]);
    let expected = [
        "headworks:node@1",
        "headworks:tree@1",
        "headworks:user@5.2.0",
        "https://acme.example/address",
        "urn:tree",
    ];
    assert_eq!(uris(&references, "order@1"), expected);
    assert_eq!(uris(&references, "address@1"), [""; 0]);
    assert_eq!(
        uris(&references, "node@1"),
        ["headworks:node@1", "headworks:tree@1"]
    );
    let texts = references.texts(&key("order@1")).unwrap();
    check_schema(
        r#"{"properties":{"by":{"$ref":"headworks:user@5.2.0"}}}"#,
        &texts,
        1 << 20,
    )
    .unwrap();
    let referrers: Vec<String> = references
        .referrers(&key("user@5.2"))
        .iter()
        .map(uri_of)
        .collect();
    assert_eq!(referrers, ["headworks:order@1"]);
    let referrers: Vec<String> = references.referrers(&key("tree@1")).iter().map(uri_of).collect();
    assert_eq!(referrers, ["headworks:node@1", "headworks:order@1"]);
}

#[test]
fn what_leads_nowhere_is_refused_with_its_place_and_the_reason() {
    let same = r#"{"$id":"https://acme.example/two","type":"object"}"#;
    let references = references(&[
        ("a@1", r#"{"$ref":"headworks:missing@1"}"#),
        ("b@1", r#"{"items":{"$ref":"headworks:a@1"}}"#),
        ("two@1", same),
        ("two@2", r#"{"$id":"https://acme.example/two"}"#),
        ("once@1", r#"{"$id":"https://acme.example/once"}"#),
        ("once@2", r#"{"$id":"https://acme.example/once"}"#),
    ]);
    let fault = |text: &str| {
        let mut faults = references.texts_of(&Outline::of(text)).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let fault = faults.remove(0);
        (fault.pointer, fault.message)
    };
    for (text, pointer, reason) in [
        (
            r#"{"items":{"$ref":"file:///etc/passwd"}}"#,
            "/items/$ref",
            "nothing is fetched",
        ),
        (
            r#"{"items":[{"$ref":"http://127.0.0.1:1/a"}]}"#,
            "/items/0/$ref",
            "nor from a file",
        ),
        (r#"{"not":{"$ref":"other.json"}}"#, "/not/$ref", "has no $id"),
        (
            r#"{"not":{"$ref":"headworks:a@9"}}"#,
            "/not/$ref",
            "no schema a@9",
        ),
        (
            r#"{"not":{"$ref":"headworks:b@1"}}"#,
            "/not/$ref",
            "headworks:a@1, which is referred to here",
        ),
        (
            r#"{"$ref":"https://acme.example/two"}"#,
            "/$ref",
            "headworks:two@1 or headworks:two@2",
        ),
    ] {
        let (at, message) = fault(text);
        assert!(
            at == pointer && message.contains(reason),
            "{text}: {at} {message}"
        );
    }
    let once = Outline::of(r#"{"$ref":"https://acme.example/once"}"#);
    references
        .texts_of(&once)
        .expect("the same text under one $id is one schema");
}

#[test]
fn a_change_affects_all_that_lead_to_it() {
    let mut schemas = registered(&[
        ("order@1", r#"{"items":{"$ref":"headworks:user@1"}}"#),
        ("user@1", r#"{"items":{"$ref":"urn:address"}}"#),
        ("address@1", r#"{"$id":"urn:address"}"#),
        ("other@1", "{}"),
    ]);
    let (first, _) = References::default().update(&schemas);
    let before = first.texts(&key("order@1")).unwrap().digest(Digest([0; 32]));
    put(
        &mut schemas,
        "address@1",
        r#"{"$id":"urn:address","type":"object"}"#,
    );
    let (second, affected) = first.update(&schemas);
    let names: Vec<&str> = affected.iter().map(EventType::as_str).collect();
    assert_eq!(names, ["address", "order", "user"]);
    let after = second.texts(&key("order@1")).unwrap().digest(Digest([0; 32]));
    assert_ne!(before, after);
    schemas.remove("address");
    let (third, affected) = second.update(&schemas);
    assert_eq!(affected.len(), 3);
    let faults = third.texts(&key("order@1")).unwrap_err();
    assert!(
        faults[0].message.contains("urn:address is not registered"),
        "{faults:?}"
    );
    assert!(third.update(&schemas).1.is_empty());
}

#[test]
fn an_index_that_was_updated_is_the_index_made_anew() {
    let mut schemas = Registered::new();
    let mut updated = References::default();
    for step in 0..60_u32 {
        let name = format!("t{}@{}", step % 5, 1 + step % 3);
        if step % 7 == 6 {
            schemas.remove(name.split_once('@').unwrap().0);
        } else {
            let text = format!(
                r#"{{"$id":"urn:s{}","items":{{"$ref":"urn:s{}"}},"not":{{"$ref":"headworks:t{}@1"}}}}"#,
                step % 11,
                (step * 3) % 11,
                (step * 7) % 5
            );
            put(&mut schemas, &name, &text);
        }
        updated = updated.update(&schemas).0;
        let anew = References::default().update(&schemas).0;
        assert_eq!(updated.by_id, anew.by_id, "step {step}");
        assert_eq!(updated.referrers, anew.referrers, "step {step}");
    }
}
